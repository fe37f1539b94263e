"""The items of the benchmark, as plain tasks, as a batch and for pyinfra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DIRECTORIES = ["/etc/bench", "/var/lib/bench", "/var/log/bench", "/opt/bench"]
PACKAGES = ["procps", "iproute2", "ca-certificates"]
UNITS = ["ssh", "systemd-journald"]


def layout(count: int) -> tuple[list[str], list[str]]:
    """Directories and files for `count` items: group, user, packages and two units are five of them."""
    extra = count - 14
    directories = DIRECTORIES + [f"/opt/bench/d{number:02}" for number in range(extra // 3)]
    files = [f"/etc/bench/f{number:02}.conf" for number in range(5 + extra - extra // 3)]
    assert len(directories) + len(files) + 5 == count
    return directories, files


def content(path: str) -> str:
    return f"# a configuration\nname={path}\nvalue=1\n"


def tasks(count: int) -> list[dict[str, Any]]:
    directories, files = layout(count)
    user = {"name": "bench", "group": "bench", "system": True, "home": "/var/lib/bench", "shell": "/usr/sbin/nologin", "create_home": False}
    own = {"owner": "bench", "group": "bench", "mode": "0750"}
    read = {"owner": "root", "group": "bench", "mode": "0640"}
    return [
        {"name": "Group", "ansible.builtin.group": {"name": "bench", "system": True}},
        {"name": "User", "ansible.builtin.user": user},
        *({"name": f"Directory {path}", "ansible.builtin.file": {"path": path, "state": "directory", **own}} for path in directories),
        *({"name": f"File {path}", "ansible.builtin.copy": {"content": content(path), "dest": path, **read}} for path in files),
        {"name": "Packages", "ansible.builtin.apt": {"name": PACKAGES, "state": "present"}},
        *({"name": f"Unit {unit}", "ansible.builtin.systemd_service": {"name": unit, "state": "started"}} for unit in UNITS),
    ]


def play(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": "Lay down the node", "hosts": "all", "gather_facts": False, "become": True, "tasks": listed}]


def plain(count: int) -> list[dict[str, Any]]:
    return play(tasks(count))


def batch(count: int) -> list[dict[str, Any]]:
    return play([{"name": "All of it", "webtrends.optimize.batch": {"tasks": tasks(count)}}])


def pyinfra(count: int) -> str:
    """A deploy of pyinfra with the same items."""
    directories, files = layout(count)
    contents = {path: content(path) for path in files}
    return f"""import io
from pyinfra.operations import apt, files, server, systemd

server.group(group="bench", system=True, _sudo=True)
server.user(user="bench", group="bench", system=True, home="/var/lib/bench", shell="/usr/sbin/nologin", ensure_home=False,
            create_home=False, _sudo=True)
for path in {directories!r}:
    files.directory(path=path, user="bench", group="bench", mode="750", _sudo=True)
for path, content in {contents!r}.items():
    files.put(src=io.StringIO(content), dest=path, user="root", group="bench", mode="640", _sudo=True)
apt.packages(packages={PACKAGES!r}, _sudo=True)
for unit in {UNITS!r}:
    systemd.service(service=unit, running=True, _sudo=True)
"""


def hosts(root: Path, fleet: Path) -> dict[str, dict[str, Any]]:
    """The hosts' variables, as the fleet's inventory gives them."""
    listed = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(root / fleet), "--list"],
        cwd=root,
        env=os.environ | {"ANSIBLE_CONFIG": str(root / "ansible.cfg")},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(listed.stdout)["_meta"]["hostvars"]


def pyinfra_inventory(known: dict[str, dict[str, Any]]) -> str:
    entries = []
    for name, variables in known.items():
        option = next(word for word in variables["ansible_ssh_common_args"].split() if word.startswith("UserKnownHostsFile="))
        data = {
            "ssh_hostname": variables["ansible_host"],
            "ssh_user": variables["ansible_user"],
            "ssh_key": variables["ansible_ssh_private_key_file"],
            "ssh_known_hosts_file": option.partition("=")[2],
            "ssh_strict_host_key_checking": "yes",
        }
        entries.append((name, data))
    return f"hosts = {entries!r}\n"
