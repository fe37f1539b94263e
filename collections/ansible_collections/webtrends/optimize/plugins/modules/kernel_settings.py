#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_settings
short_description: A sysctl.d file, and the running kernel with the same values
description:
  - Writes C(/etc/sysctl.d/60-NAME.conf) and sets what differs in the running kernel, so that both agree after every run.
  - In a container it writes the file, but sets only what the container has of its own. The rest belongs to the machine below, is left
    alone, and is returned as RV(left_alone).
options:
  name:
    description: Name of the file; the role that owns the settings.
    type: str
    required: true
  settings:
    description: Kernel settings and their values.
    type: dict
    required: true
  comments:
    description: For each setting, why it has its value; written above it.
    type: dict
    default: {}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: configure | Set what the engine asks of the kernel
  webtrends.optimize.kernel_settings:
    name: clickhouse
    settings: {vm.overcommit_memory: 0}
    comments: {vm.overcommit_memory: ClickHouse documentation, usage recommendations}
"""

RETURN = r"""
set: {description: "Settings of the running kernel that were changed.", type: list, elements: str, returned: success}
left_alone: {description: "Settings that are the machine's and not this container's.", type: list, elements: str, returned: success}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import host_base


def read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def differing(settings: dict[str, str], in_container: bool) -> tuple[dict[str, str], list[str]]:
    """Path under /proc/sys -> value to set, and the settings that are not this host's to set."""
    to_set, left_alone = {}, []
    for name, value in sorted(settings.items()):
        path = host_base.sysctl_path(name)
        if not host_base.settable(name, in_container):
            left_alone.append(name)
        elif not host_base.same_value(value, read(path)):
            to_set[path] = value
    return to_set, left_alone


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "settings": {"type": "dict", "required": True},
            "comments": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    name = module.params["name"]
    settings = {key: str(value) for key, value in module.params["settings"].items()}
    path = f"/etc/sysctl.d/60-{os.path.basename(name)}.conf"
    text = host_base.sysctl_file(settings, f"Ansible managed: role {name}", module.params["comments"])
    try:
        before = read(path) if os.path.exists(path) else ""
        to_set, left_alone = differing(settings, os.path.exists("/run/systemd/container"))
        if not module.check_mode:
            if text != before:
                write(f"{path}.new", text)
                os.chmod(f"{path}.new", 0o644)
                os.replace(f"{path}.new", path)
            for setting, value in to_set.items():
                write(setting, value)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"kernel settings of {name}: {error}. Is the setting one of this kernel's, and its value one that it takes?")
    module.exit_json(
        changed=text != before or bool(to_set),
        set=[setting.removeprefix("/proc/sys/").replace("/", ".") for setting in to_set],
        left_alone=left_alone,
        diff={"before_header": path, "after_header": path, "before": before, "after": text},
    )


if __name__ == "__main__":
    main()
