# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be done with a disk: the decision of the module data_disk, apart from the commands that carry it out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import Any

# mkfs options: quiet and not over anything that mkfs itself knows (no force flag, on purpose).
MAKE = {"ext4": ["mkfs.ext4", "-q", "-L"], "xfs": ["mkfs.xfs", "-q", "-L"]}
LABEL_LENGTH = 12  # xfs; ext4 would take 16


class Refused(Exception):
    """The disk is not touched; the text says what was found, what was expected, and the mend."""


@dataclasses.dataclass
class Disk:
    """What was found on a disk."""

    device: str
    kind: str
    mounted_at: list[str]
    children: list[str]
    holders: list[str]
    signatures: list[str]
    blank: bool
    read_only: bool = False
    fstype: str = ""
    label: str = ""
    uuid: str = ""


def stable(device: str) -> bool:
    """Is this a name that stays with the disk? /dev/sdb is another disk after the next boot."""
    return bool(re.fullmatch(r"/dev/(disk|mapper)/[^/].*", device)) and ".." not in device


def label_of(path: str) -> str:
    """The file system's label, by which a disk that was attached to a rebuilt host is known again: from the path, at most 12 characters."""
    name = re.sub(r"[^a-z0-9]+", "-", path.rstrip("/").rpartition("/")[2].lower()).strip("-")[: LABEL_LENGTH - 5]
    return f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:4]}"


def read_lsblk(text: str) -> dict[str, Any]:
    """kind, mounted_at, children and read_only from ``lsblk --json`` of one device."""
    (device,) = json.loads(text)["blockdevices"]
    return {
        "kind": device["type"],
        "mounted_at": [path for path in device.get("mountpoints") or [] if path],
        "children": [child["path"] for child in device.get("children") or []],
        "read_only": device.get("ro") in (True, "1", 1),
    }


def read_wipefs(text: str) -> list[str]:
    """Types of all signatures from ``wipefs --no-act --json`` (no output where there is none)."""
    return [entry["type"] for entry in json.loads(text)["signatures"]] if text.strip() else []


def read_blkid(text: str) -> dict[str, str]:
    """fstype, label and uuid from ``blkid --probe --output export``."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {"fstype": values.get("TYPE", ""), "label": values.get("LABEL", ""), "uuid": values.get("UUID", "")}


def judge(disk: Disk, path: str, fstype: str) -> str:
    """``format``, ``mount`` or ``keep``; Refused for everything else. A disk is formatted only where it is blank and nobody's."""
    label = label_of(path)
    ours = disk.fstype == fstype and disk.label == label
    if disk.kind not in ("disk", "part", "loop", "lvm", "crypt", "mpath", "dm"):
        raise Refused(f"it is a {disk.kind}, expected a disk: name the data disk's own id")
    if disk.read_only:
        raise Refused("it is read-only: attach it writable")
    if disk.mounted_at:
        if path in disk.mounted_at and disk.fstype == fstype:
            return "keep"
        raise Refused(
            f"it is mounted at {', '.join(disk.mounted_at)} with {disk.fstype or 'an unknown file system'}, expected {fstype} at {path}:"
            " name another disk, or correct storage_disks"
        )
    if disk.children:
        raise Refused(f"it has partitions ({', '.join(disk.children)}): name another disk, or remove them by hand if their data may go")
    if disk.holders:
        raise Refused(f"it is in use by {', '.join(disk.holders)}: name another disk")
    if ours:
        return "mount"
    if disk.signatures:
        raise Refused(
            f"it holds {', '.join(disk.signatures)}{f' labelled {disk.label!r}' if disk.label else ''}, expected a blank disk or {fstype}"
            f" labelled {label!r}. If its data may go: wipefs --all {disk.device}. If it is the data of {path}, give it that label"
            f" ({'e2label' if disk.fstype == 'ext4' else 'xfs_admin -L'})"
        )
    if not disk.blank:
        raise Refused(
            "it has no known signature, but its start or end is not empty (it may be encrypted, or used raw), expected a blank disk."
            f" If its data may go: blkdiscard or dd zeros over its first and last MiB ({disk.device})"
        )
    return "format"


def fstab_with(fstab: str, uuid: str, path: str, fstype: str, options: list[str]) -> str:
    """The fstab with one entry for ``path``, in the place of an earlier one; all other lines as they are."""
    entry = f"UUID={uuid} {escape(path)} {fstype} {','.join(options) or 'defaults'} 0 2"
    lines, placed = [], False
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) >= 2 and not fields[0].startswith("#") and fields[1] == escape(path):
            if not placed:
                lines.append(entry)
            placed = True
        else:
            lines.append(line)
    return "\n".join(lines if placed else [*lines, entry]) + "\n"


def escape(path: str) -> str:
    """fstab(5): a space is written as an octal number."""
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
