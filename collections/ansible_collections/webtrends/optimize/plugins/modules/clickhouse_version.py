#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_version
short_description: A running ClickHouse keeps its version
description:
  - Fails where the unit runs and the package is installed in another version than the one that is wanted. Packages can't live side by side,
    so installing the other one would change files under the running process; a roll does that, one node after the other.
options:
  package:
    description: Name of the package.
    type: str
    default: clickhouse-server
  version:
    description: The wanted version, as apt names it.
    type: str
    required: true
  unit:
    description: The unit that would have to be stopped.
    type: str
    default: clickhouse-server
  roll:
    description: The command that changes the version, for the message.
    type: str
    required: true
attributes:
  check_mode: {support: full, description: Changes nothing.}
  diff_mode: {support: none, description: Changes nothing.}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- webtrends.optimize.clickhouse_version:
    version: 25.8.2.29
    roll: ansible-playbook playbooks/rolling-upgrade.yml -e component=clickhouse
"""

RETURN = r"""
installed: {description: The installed version; empty where it is not installed., type: str, returned: always}
running: {description: The unit runs or is about to., type: bool, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "package": {"type": "str", "default": "clickhouse-server"},
            "version": {"type": "str", "required": True},
            "unit": {"type": "str", "default": "clickhouse-server"},
            "roll": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    # An unknown package is an error of dpkg-query with nothing on its output.
    _, installed, _ = module.run_command(["dpkg-query", "--show", "--showformat", "${Version}", given["package"]])
    _, state, _ = module.run_command(["systemctl", "is-active", given["unit"]])
    running = state.strip() in ("active", "activating", "reloading")
    result = {"installed": installed.strip(), "running": running}
    if running and installed and installed.strip() != given["version"]:
        module.fail_json(
            msg=f"{given['unit']} runs and {given['package']} is installed as {installed.strip()}, wanted is {given['version']}."
            f" A converge never changes the version of a running node. Roll it, or set the version back: {given['roll']}",
            **result,
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
