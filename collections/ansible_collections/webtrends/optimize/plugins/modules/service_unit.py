#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: service_unit
short_description: A unit enabled and started, that reloads what it can reload and says what only a restart would load
description:
  - Asks systemd once. Reads unit files again where systemd says that they changed, enables and starts where needed, and never restarts.
  - What the process loaded is compared with the disk as in M(webtrends.optimize.loaded_state). So nothing is lost when a run failed
    between writing a file and telling the process.
options:
  unit:
    description: The service, without C(.service).
    type: str
    required: true
  stale:
    description:
      - What to do with a running process that loaded something else than is on disk. V(reload) for units whose C(ExecReload) loads all of
        it (and records it again), V(report) for the others.
    type: str
    choices: [reload, report]
    default: report
author: [Webtrends Optimize platform maintainers]
seealso:
  - module: webtrends.optimize.loaded_state
"""

EXAMPLES = r"""
- name: run | Start haproxy, reload what changed
  webtrends.optimize.service_unit:
    unit: haproxy
    stale: reload
"""

RETURN = r"""
actions: {description: "What was done, of C(daemon-reload), C(enable), C(start), C(reload).", type: list, elements: str, returned: success}
restart_needed: {description: "The process runs with something else than is on disk.", type: bool, returned: success}
reasons: {description: "A sentence for each difference.", type: list, elements: str, returned: success}
"""

import glob
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import loaded_state

ASKED = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "DropInPaths")


def ask(module: AnsibleModule, unit: str) -> dict[str, str]:
    command = ["systemctl", "show", f"--property={','.join(ASKED)}", "--", f"{unit}.service"]
    return loaded_state.parse_show(module.run_command(command, check_rc=True)[1])


def needed(shown: dict[str, str], drop_ins: list[str]) -> list[str]:
    """The actions, in order, that bring a unit up; a unit that fails is started too, one that is about to run is left alone."""
    actions = []
    # systemd doesn't notice a drop-in in a directory that is new since it last read unit files.
    if shown.get("NeedDaemonReload") == "yes" or not set(drop_ins) <= set(shown.get("DropInPaths", "").split()):
        actions.append("daemon-reload")
    # static, generated and the like can't be enabled and need not be.
    if shown.get("UnitFileState") in ("disabled", "", None):
        actions.append("enable")
    if shown.get("ActiveState") not in ("active", "activating", "reloading", "refreshing"):
        actions.append("start")
    return actions


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "stale": {"type": "str", "choices": ["reload", "report"], "default": "report"},
        },
        supports_check_mode=True,
    )
    unit = loaded_state.unit_name(module.params["unit"])
    shown = ask(module, unit)
    if shown.get("LoadState") != "loaded" and not module.check_mode:
        # A unit file written a moment ago, that systemd has not seen.
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        shown = ask(module, unit)
        if shown.get("LoadState") != "loaded":
            module.fail_json(msg=f"unit {unit} can't be loaded: systemd says {shown.get('LoadState')}; look at: systemctl status {unit}")
    actions = needed(shown, glob.glob(f"/etc/systemd/system/{glob.escape(unit)}.service.d/*.conf"))
    try:
        verdict = loaded_state.assess(unit) if shown.get("LoadState") == "loaded" else {"restart_needed": False, "reasons": []}
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"cannot tell what {unit} loaded: {error}")
    if "start" in actions:
        verdict = {"restart_needed": False, "reasons": []}
    elif verdict["restart_needed"] and module.params["stale"] == "reload":
        actions.append("reload")
    if not module.check_mode:
        for action in actions:
            name = [] if action == "daemon-reload" else ["--", f"{unit}.service"]
            code, _, problem = module.run_command(["systemctl", action, *name])
            if code != 0:
                module.fail_json(msg=f"{action} of {unit} failed: {problem.strip()}; look at: journalctl -u {unit}", actions=actions)
        if "reload" in actions:
            verdict = loaded_state.assess(unit)
            if verdict["restart_needed"]:
                reasons = "; ".join(verdict["reasons"])
                module.fail_json(msg=f"{unit} was reloaded and still differs from the disk: {reasons}", actions=actions)
    restart_needed = verdict["restart_needed"] and "reload" not in actions
    module.exit_json(changed=bool(actions), actions=actions, restart_needed=restart_needed, reasons=verdict["reasons"])


if __name__ == "__main__":
    main()
