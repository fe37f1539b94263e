#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: loaded_state
short_description: Is what a unit's process loaded still what is on disk?
description:
  - Compares what a unit's process loaded when it started with what is on disk now, and so says whether a restart is needed. It holds
    after a run that failed half-way, where a handler's C(notify) is lost.
  - A unit records at its start by C(ExecStartPre=-+/usr/local/libexec/optimize/loaded-state record UNIT); the role C(base) installs
    that program. What is compared are the globs of C(/etc/optimize/loaded-state/UNIT.list), the unit file with its drop-ins and
    environment files, the running binary, and the libraries mapped from C(/usr) and C(/opt).
  - Files up to 4 MiB are compared by content, larger ones by size, mtime and inode; links also by where they lead, directories by
    where they lead and inode.
  - A process that runs without a record of its own start needs a restart, since what it loaded is unknown.
  - Changes nothing, and is the same in check mode.
options:
  unit:
    description:
      - The service, with or without C(.service). Without it, all units of the host that have a list, answered in RV(units).
    type: str
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: restart_needed | Ask what the broker loaded
  webtrends.optimize.loaded_state:
    unit: kafka
  register: __kafka_loaded
"""

RETURN = r"""
exists: {description: "systemd knows the unit.", type: bool, returned: with unit}
running: {description: "The unit is active or has a main process.", type: bool, returned: with unit}
recorded: {description: "What the running process loaded was recorded at its start.", type: bool, returned: with unit}
restart_needed:
  description: The running process loaded something else than is on disk; without unit, that of any unit of the host did.
  type: bool
  returned: success
reasons: {description: "A sentence for each file, link, binary or library that differs.", type: list, elements: str, returned: with unit}
fingerprint: {description: "Short name of what is on disk now.", type: str, returned: with unit}
loaded_fingerprint:
  description: Short name of what the process loaded; null where that is unknown or nothing runs.
  type: str
  returned: with unit
units: {description: "The same for each unit, by its name.", type: dict, returned: without unit}
"""

import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import loaded_state


def main() -> None:
    module = AnsibleModule(argument_spec={"unit": {"type": "str"}}, supports_check_mode=True)
    unit = module.params["unit"]
    try:
        if unit is not None:
            module.exit_json(changed=False, **loaded_state.assess(unit))
        units = {name: loaded_state.assess(name) for name in loaded_state.listed_units()}
        module.exit_json(changed=False, units=units, restart_needed=any(one["restart_needed"] for one in units.values()))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"cannot tell what {unit or 'the units of this host'} loaded: {error}")


if __name__ == "__main__":
    main()
