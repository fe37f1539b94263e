# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host is, read from the texts that the kernel and the tools give, and whether that is enough."""

from __future__ import annotations

import json
import re
from typing import Any

# File systems that hold data. The rest of a host's mounts are the kernel's own views; a network mount could hang the question.
DATA_FILE_SYSTEMS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "overlay", "f2fs", "vfat"}
MIB = 1024 * 1024


def parse_os_release(text: str) -> dict[str, str]:
    """``/etc/os-release``: distribution ("debian"), version ("12") and release ("bookworm"); empty where it doesn't say."""
    values = dict(re.findall(r'^(\w+)=["\']?(.*?)["\']?$', text, re.MULTILINE))
    return {"distribution": values.get("ID", ""), "version": values.get("VERSION_ID", ""), "release": values.get("VERSION_CODENAME", "")}


def memory_mb(meminfo: str, limits: list[str]) -> int:
    """MiB that processes of this host may use: the memory, or less where a cgroup limits it (``limits``: texts of memory.max)."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    if not match:
        raise ValueError("/proc/meminfo has no MemTotal")
    sizes = [int(match[1]) * 1024] + [int(limit) for limit in limits if limit.strip().isdigit()]
    return min(sizes) // MIB


def cpu_count(usable: int, quotas: list[str]) -> int:
    """CPUs that processes of this host may use (``quotas``: texts of cpu.max, "max 100000" or "150000 100000")."""
    for quota in quotas:
        match = re.match(r"(\d+) (\d+)$", quota.strip())
        if match and int(match[2]):
            usable = min(usable, max(1, int(match[1]) // int(match[2])))
    return usable


def parse_mountinfo(text: str) -> list[dict[str, str]]:
    """``/proc/self/mountinfo``: path, device and type of each mounted data file system, in the order of mounting.

    A later mount on the same path hides an earlier one.
    """
    mounts: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if len(fields) < 6 or len(tail) < 2:
            continue
        path, kind, device = _unescape(fields[4]), tail[0], _unescape(tail[1])
        mounts.pop(path, None)
        if kind in DATA_FILE_SYSTEMS:
            mounts[path] = {"path": path, "device": device, "fstype": kind}
    return list(mounts.values())


def _unescape(field: str) -> str:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def parse_lsblk(text: str, links: dict[str, list[str]]) -> list[dict[str, Any]]:
    """``lsblk -b -J`` flattened: path, type, size_mb, stable names (``links``: device -> names under /dev/disk), and what it holds."""
    devices: list[dict[str, Any]] = []

    def add(device: dict[str, Any]) -> None:
        children = device.get("children") or []
        mounted = [path for path in device.get("mountpoints") or [] if path]
        holds = [f"partition {child['path']}" for child in children]
        holds += [f"{device['pttype']} partition table"] if device.get("pttype") else []
        holds += [device["fstype"]] if device.get("fstype") else []
        devices.append(
            {
                "path": device["path"],
                "ids": sorted(links.get(device["path"], [])),
                "type": device["type"],
                "size_mb": int(device["size"] or 0) // MIB,
                "uuid": device.get("uuid"),
                "holds": holds,
                "mounted_at": mounted,
            }
        )
        for child in children:
            add(child)

    for device in json.loads(text)["blockdevices"]:
        add(device)
    return devices


def parse_packages(shown: str) -> dict[str, str]:
    """Name to version of what is installed, from dpkg-query's lines `<state> <package> <version>`."""
    found = (line.split() for line in shown.splitlines())
    return {words[1]: words[2] for words in found if len(words) == 3 and words[0] in ("ii", "hi")}


def parse_units(text: str) -> list[str]:
    """``systemctl list-units --plain --no-legend``: names without ``.service``."""
    return sorted(line.split()[0].removesuffix(".service") for line in text.splitlines() if line.strip())


def mount_of(mounts: list[dict[str, Any]], path: str) -> dict[str, Any] | None:
    """The mount that holds ``path``, or would if it existed."""
    holding = [mount for mount in mounts if (path.rstrip("/") + "/").startswith(mount["path"].rstrip("/") + "/")]
    return max(holding, key=lambda mount: len(mount["path"]), default=None)


def refusals(host: dict[str, Any], required: dict[str, Any]) -> list[str]:
    """A sentence (found, expected, mend) for each requirement that the host doesn't meet.

    ``required``: memory_mb, disk_mb (path -> free MiB), releases, clock_skew_s. A key that is absent or None asks nothing.
    """
    problems = []
    releases = required.get("releases")
    if releases and host["release"] not in releases:
        problems.append(
            f"runs {host['distribution'] or 'an unknown distribution'} {host['release'] or host['version'] or 'of unknown release'},"
            f" expected {' or '.join(releases)}: install one of these, or take the host out of the inventory"
        )
    if required.get("memory_mb") and host["memory_mb"] < required["memory_mb"]:
        problems.append(
            f"has {host['memory_mb']} MiB of memory, expected at least {required['memory_mb']}:"
            " give it more, or lower the sizes of what it runs in its group_vars"
        )
    for path, wanted in sorted((required.get("disk_mb") or {}).items()):
        mount = mount_of(host["mounts"], path)
        if mount is None:
            problems.append(f"has no known file system that would hold {path}: mount one there, or name another path")
        elif mount["free_mb"] < wanted:
            problems.append(
                f"has {mount['free_mb']} MiB free for {path} (on {mount['device']} mounted at {mount['path']}), expected at least {wanted}:"
                " free some, or give it a data disk (storage_disks)"
            )
    allowed, skew = required.get("clock_skew_s"), host.get("clock", {}).get("skew_s")
    if allowed and skew is not None and abs(skew) > allowed:
        problems.append(
            f"has a clock {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the control node's, expected at most {allowed}:"
            " ask chronyc tracking on it why, then chronyc makestep"
        )
    return problems


def skew_s(started: float, host_epoch: float, ended: float) -> float:
    """By how much the host's clock is certainly off: 0 where it lies between the question and the answer (s, positive: ahead)."""
    if host_epoch > ended:
        return round(host_epoch - ended, 3)
    return round(min(host_epoch - started, 0.0), 3)


def without_python(rc: Any, stderr: str, interpreter: str) -> str | None:
    """The sentence for a host where no module can run, from how the attempt ended; None where that was not the reason."""
    if rc != 127 and "not found" not in stderr and "No such file" not in stderr:
        return None
    if re.search(r"\bsudo: (command )?not found", stderr):
        return "has no sudo, which become needs: apt-get install sudo, as root on it"
    if interpreter in stderr:
        return f"has no Python at {interpreter}: apt-get install python3, as root on it, or name another in ansible_python_interpreter"
    return None
