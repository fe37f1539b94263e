#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packaged_unit
short_description: A stateless unit of the distribution, running, and with the files as they are now
description:
  - Enables and starts the unit, and restarts or reloads it where a file that it reads is newer than its last start or reload. So a run
    that failed between writing the file and telling the unit is made good by the next run, which a handler would not do.
  - For what may restart at any time (chrony, sshd, journald). What must not restart by itself has M(webtrends.optimize.loaded_state).
  - In check mode a unit that isn't installed yet is reported as one that would be started.
options:
  unit:
    description: The unit, with its suffix or, for a service, without.
    type: str
    required: true
  running:
    description: Enabled and running, or disabled and stopped.
    type: bool
    default: true
  files:
    description: The files (globs) that the process reads when it starts or reloads. A directory stands for what is added to it or removed.
    type: list
    elements: str
    default: []
  reaction:
    description: What a newer file needs.
    type: str
    choices: [restart, reload]
    default: restart
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: run | Keep sshd running with its configuration
  webtrends.optimize.packaged_unit:
    unit: ssh
    files: [/etc/ssh/sshd_config, /etc/ssh/sshd_config.d, /etc/ssh/sshd_config.d/*]
    reaction: reload
"""

RETURN = r"""
actions: {description: "What was done, or in check mode would be.", type: list, elements: str, returned: success}
"""

import glob
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import host_base, loaded_state

ASKED = "LoadState,ActiveState,UnitFileState,NeedDaemonReload,StateChangeTimestampMonotonic"


def ask(module: AnsibleModule, unit: str) -> dict[str, str]:
    return loaded_state.parse_show(module.run_command(["systemctl", "show", f"--property={ASKED}", "--", unit], check_rc=True)[1])


def is_stale(patterns: list[str], state_changed_us: int) -> bool:
    paths = {path for pattern in patterns for path in glob.glob(pattern)}
    changed_ago = [time.time() - os.stat(path).st_ctime for path in paths]
    return host_base.newer_than(changed_ago, time.clock_gettime(time.CLOCK_MONOTONIC) - state_changed_us / 1e6)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "running": {"type": "bool", "default": True},
            "files": {"type": "list", "elements": "str", "default": []},
            "reaction": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
        },
        supports_check_mode=True,
    )
    unit = module.params["unit"]
    shown = ask(module, unit)
    if shown["LoadState"] == "not-found" and not module.check_mode:
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        shown = ask(module, unit)
    if shown["LoadState"] != "loaded":
        wanted = module.params["running"]
        if module.check_mode or not wanted:
            module.exit_json(changed=wanted, actions=["enable", "start"] if wanted else [])
        module.fail_json(msg=f"{unit} can't run: systemd finds it {shown['LoadState']}, expected loaded; look at: systemctl status {unit}")

    stale = is_stale(module.params["files"], int(shown["StateChangeTimestampMonotonic"] or 0))
    actions = host_base.unit_actions(shown, module.params["running"], stale, module.params["reaction"])
    for action in [] if module.check_mode else actions:
        code, _, problem = module.run_command(["systemctl", action, *([] if action == "daemon-reload" else ["--", unit])])
        if code != 0:
            module.fail_json(msg=f"{action} of {unit} failed: {problem.strip()}; look at: journalctl -u {unit}", actions=actions)
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
