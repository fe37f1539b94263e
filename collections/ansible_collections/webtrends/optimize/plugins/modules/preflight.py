#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: What a host is, and refusal of one that is not enough
description:
  - The first task of a play, in place of gathering facts, with one short remote execution per run. What it finds is
    C(ansible_facts.host) from then on; a later play of the same run checks its own requirements against that, at no remote execution.
  - A host without Python, sudo, memory or disk is refused by name, with what was found, what was expected and what mends it.
  - Changes nothing, and is the same in check mode.
options:
  memory_mb:
    description: MiB of memory that the host needs (the cgroup's limit counts where there is one).
    type: int
  disk_mb:
    description: Free MiB that the host needs, by path. The path need not exist yet.
    type: dict
    default: {}
  releases:
    description: Debian releases on which the roles are tried.
    type: list
    elements: str
    default: [bookworm, trixie]
  clock_skew_s:
    description:
      - Refuse a host of which the clock is off the control node's by more seconds than this. For plays after the role C(base), which
        sets up time.
    type: float
  refresh:
    description: Ask the host anew even where this run knows it already.
    type: bool
    default: false
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: Know the hosts
  webtrends.optimize.preflight:
    memory_mb: "{{ kafka_preflight_memory_mb }}"
    disk_mb: {/var/lib/kafka: 1024}
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    host:
      description: What the host is.
      type: dict
      returned: success
      contains:
        distribution: {description: "C(debian).", type: str, returned: success}
        release: {description: "C(bookworm).", type: str, returned: success}
        version: {description: "C(12).", type: str, returned: success}
        python: {description: "Version of the interpreter that runs modules.", type: str, returned: success}
        account: {description: "The account that logged in, before become.", type: str, returned: success}
        kernel: {description: "Release of the kernel.", type: str, returned: success}
        architecture: {description: "C(x86_64).", type: str, returned: success}
        container: {description: "Name of the container manager (C(podman)); empty on a VM or machine.", type: str, returned: success}
        memory_mb: {description: "MiB.", type: int, returned: success}
        cpus: {description: "CPUs that may be used.", type: int, returned: success}
        mounts: {description: "path, device, fstype, uuid, size_mb, free_mb.", type: list, elements: dict, returned: success}
        block_devices:
          description: path, ids (stable names under /dev/disk), type, size_mb, uuid, holds, mounted_at. Empty in a container.
          type: list
          elements: dict
          returned: success
        opt:
          description: For each product of /opt its C(current) version (or null) and the unpacked C(versions).
          type: dict
          returned: success
        package_lists:
          description: The host has package lists. Without, apt can't answer in check mode, which fetches none.
          type: bool
          returned: success
        units_running: {description: "Active services, without C(.service).", type: list, elements: str, returned: success}
        packages:
          description: Version of each installed Debian package. Opening apt's cache takes a second of a host's time, this a hundredth.
          type: dict
          returned: success
        clock: {description: "epoch, synchronized (the kernel's word), skew_s against the control node.", type: dict, returned: success}
"""

import ctypes
import glob
import os
import platform
import pwd
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import preflight

# adjtimex(2): answers TIME_ERROR while nothing disciplines the clock.
TIME_ERROR = 5


def text_of(path: str) -> str:
    """The file's text; empty where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def container_manager() -> str:
    """The manager's name as systemd notes it at boot; empty on a VM."""
    return text_of("/run/systemd/container").strip()


def mounts() -> list[dict]:
    uuids = {os.path.realpath(link): os.path.basename(link) for link in glob.glob("/dev/disk/by-uuid/*")}
    found = []
    for mount in preflight.parse_mountinfo(text_of("/proc/self/mountinfo")):
        if not os.path.isdir(mount["path"]):
            continue  # a file bound over a file (a container's /etc/hosts)
        size = os.statvfs(mount["path"])
        found.append(
            {
                **mount,
                "uuid": uuids.get(os.path.realpath(mount["device"])),
                "size_mb": size.f_blocks * size.f_frsize // preflight.MIB,
                "free_mb": size.f_bavail * size.f_frsize // preflight.MIB,
            }
        )
    return found


def block_devices() -> list[dict]:
    links: dict[str, list[str]] = {}
    for link in glob.glob("/dev/disk/by-id/*") + glob.glob("/dev/disk/azure/**/*", recursive=True):
        if os.path.islink(link):
            links.setdefault(os.path.realpath(link), []).append(link)
    columns = "NAME,PATH,TYPE,SIZE,FSTYPE,UUID,PTTYPE,MOUNTPOINTS"
    command = ["lsblk", "--bytes", "--json", "--output", columns]
    return preflight.parse_lsblk(subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout, links)


def products() -> dict[str, dict]:
    """What is unpacked under /opt, by the convention /opt/<product>/<version> with /opt/<product>/current."""
    found = {}
    for product in sorted(glob.glob("/opt/*/")):
        versions = sorted(entry.name for entry in os.scandir(product) if entry.is_dir(follow_symlinks=False))
        current = os.path.join(product, "current")
        linked = os.path.basename(os.readlink(current).rstrip("/")) if os.path.islink(current) else None
        if versions or linked:
            found[os.path.basename(product.rstrip("/"))] = {"current": linked, "versions": versions}
    return found


def units_running() -> list[str]:
    command = ["systemctl", "list-units", "--type=service", "--state=active", "--plain", "--no-legend", "--no-pager"]
    return preflight.parse_units(subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout)


def packages() -> dict[str, str]:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package} ${Version}\\n"]
    return preflight.parse_packages(subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout)


def clock() -> dict:
    # A struct timex of zeros asks and sets nothing; it is smaller than 256 bytes on every architecture.
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256))
    return {"epoch": time.time(), "synchronized": 0 <= state != TIME_ERROR}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "memory_mb": {"type": "int"},
            "disk_mb": {"type": "dict", "default": {}},
            "releases": {"type": "list", "elements": "str", "default": ["bookworm", "trixie"]},
            "clock_skew_s": {"type": "float"},
            "refresh": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if not os.path.isdir("/run/systemd/system"):
        module.fail_json(msg="does not run systemd as its init: the roles manage systemd units; boot it with systemd")
    cgroup = "/sys/fs/cgroup/"
    container = container_manager()
    try:
        host = {
            **preflight.parse_os_release(text_of("/etc/os-release")),
            "python": platform.python_version(),
            "account": os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name,
            "kernel": os.uname().release,
            "architecture": os.uname().machine,
            "container": container,
            "memory_mb": preflight.memory_mb(text_of("/proc/meminfo"), [text_of(cgroup + "memory.max")]),
            "cpus": preflight.cpu_count(len(os.sched_getaffinity(0)), [text_of(cgroup + "cpu.max")]),
            "mounts": mounts(),
            # A container sees the devices of the machine that it shares; they are none of its own.
            "block_devices": [] if container else block_devices(),
            "opt": products(),
            "packages": packages(),
            "package_lists": bool(glob.glob("/var/lib/apt/lists/*_Packages*")),
            "units_running": units_running(),
            "clock": clock(),
        }
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"cannot tell what it is: {error} {getattr(error, 'stderr', None) or ''}".strip())
    module.exit_json(changed=False, ansible_facts={"host": host})


if __name__ == "__main__":
    main()
