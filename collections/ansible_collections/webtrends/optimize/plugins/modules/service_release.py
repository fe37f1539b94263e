#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: service_release
short_description: Choose the release that a service runs, or go back to what it ran before
description:
  - Each service has a link of its own, C(/opt/optimize/current-SERVICE), so that rolling one service of a host changes no other. A running
    process isn't touched; it runs from the directory to which the link led when it started.
  - Before it changes anything, V(chosen) keeps what the running process loaded (release, configuration, credentials, unit) as a set, if
    the disk still has it. V(previous) puts the newest kept set back that isn't what is on disk. Both leave the restart to others.
  - Releases that nobody runs or could go back to are removed.
options:
  service:
    description: Name of the service; its unit is C(optimize-SERVICE).
    type: str
    required: true
  state:
    description: The release given, or the set that ran before.
    type: str
    choices: [chosen, previous]
    default: chosen
  version:
    description: The release. Required for V(chosen).
    type: str
  files:
    description: Files (globs) that belong to the release's set.
    type: list
    elements: str
    required: true
  root:
    description: Directory of the releases.
    type: path
    default: /opt/optimize
  store:
    description: Directory of the kept sets.
    type: path
    default: /var/lib/optimize-releases
  generations:
    description: How many sets and releases are kept.
    type: int
    default: 3
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: install | Choose the release
  webtrends.optimize.service_release:
    service: collect
    version: 0.1.0
    files: [/etc/optimize/collect.json, /etc/systemd/system/optimize-collect.service]
"""

RETURN = r"""
version: {description: "The release that the link leads to now.", type: str, returned: success}
before: {description: "The release that it led to before; empty for none.", type: str, returned: success}
kept: {description: "What the process runs was on disk and is kept.", type: bool, returned: success}
removed: {description: "Directories of releases that were removed.", type: list, elements: str, returned: success}
"""

import os
import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import loaded_state, releases


def choose(module: AnsibleModule, now: releases.RunSet) -> dict:
    service, version, root = module.params["service"], module.params["version"], module.params["root"]
    verdict = loaded_state.assess(f"optimize-{service}")
    good = verdict["running"] and not verdict["restart_needed"]
    removed: list[str] = []
    changed = now.version != version
    if not module.check_mode:
        if not os.path.isdir(os.path.join(root, version)):
            raise releases.ReleaseError(f"release {version} is not in {root}; the artifact optimize-services has to be installed first")
        if good:
            releases.keep(os.path.join(module.params["store"], service), now, module.params["generations"])
        changed = releases.switch(root, f"current-{service}", version)
        # With several services on a host the link for people follows the one whose release changed last.
        if changed or not os.path.islink(os.path.join(root, "current")):
            releases.switch(root, "current", version)
        removed = releases.unneeded(root, module.params["store"], module.params["generations"])
        for path in removed:
            shutil.rmtree(path)
    return {"changed": changed or bool(removed), "version": version, "before": now.version, "kept": good, "removed": removed}


def go_back(module: AnsibleModule, now: releases.RunSet) -> dict:
    service = module.params["service"]
    before = releases.previous(os.path.join(module.params["store"], service), now)
    if not module.check_mode:
        releases.restore(module.params["root"], service, before)
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    return {"changed": True, "version": before.version, "before": now.version, "kept": False, "removed": []}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["chosen", "previous"], "default": "chosen"},
            "version": {"type": "str"},
            "files": {"type": "list", "elements": "str", "required": True},
            "root": {"type": "path", "default": "/opt/optimize"},
            "store": {"type": "path", "default": "/var/lib/optimize-releases"},
            "generations": {"type": "int", "default": 3},
        },
        required_if=[("state", "chosen", ["version"])],
        supports_check_mode=True,
    )
    try:
        now = releases.present(module.params["root"], module.params["service"], module.params["files"])
        module.exit_json(**(choose if module.params["state"] == "chosen" else go_back)(module, now))
    except (OSError, ValueError, subprocess.SubprocessError, releases.ReleaseError) as error:
        module.fail_json(msg=f"optimize-{module.params['service']}: {error}")


if __name__ == "__main__":
    main()
