#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: data_disk
short_description: A data disk with a file system, mounted by its UUID
description:
  - Formats a blank disk, and mounts it by UUID in C(/etc/fstab).
  - A disk that holds anything (a signature of any kind, partitions, or unknown data at its start or end), is mounted elsewhere or is in use
    is refused, with what was found and what mends it. A file system is known as this path's by its label, so that the disk of a host that
    was built anew is mounted with its data. Nothing is ever formatted by force, resized or unmounted.
options:
  device:
    description: The disk by a name that stays with it (under C(/dev/disk), such as C(/dev/disk/azure/scsi1/lun0)).
    type: str
    required: true
  path:
    description: Where it is mounted. An existing directory there must be empty.
    type: str
    required: true
  fstype:
    description: The file system.
    type: str
    choices: [ext4, xfs]
    default: xfs
  options:
    description: Mount options.
    type: list
    elements: str
    default: [noatime, nofail, x-systemd.device-timeout=60s]
  owner:
    description: Owner of the mounted file system's top directory; left as it is by default, since an engine's role makes its account later.
    type: str
  group:
    description: Its group.
    type: str
  mode:
    description: Its mode, in octal.
    type: str
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: Mount the brokers' data disk
  webtrends.optimize.data_disk:
    device: /dev/disk/azure/scsi1/lun0
    path: /var/lib/kafka
"""

RETURN = r"""
action: {description: "C(format), C(mount) or C(keep).", type: str, returned: success}
uuid: {description: "The file system's UUID; empty in check mode for a disk that would be formatted.", type: str, returned: success}
device: {description: "The disk's present name.", type: str, returned: success}
diff: {description: "Of /etc/fstab.", type: dict, returned: success}
"""

import grp
import os
import pwd
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import data_disk
from ansible_collections.webtrends.optimize.plugins.module_utils.data_disk import Disk, Refused

FSTAB = "/etc/fstab"
MIB = 1024 * 1024


def is_blank(device: str) -> bool:
    """Are the first and the last MiB zero? No file system, volume manager or encryption that blkid doesn't know leaves both empty."""
    with open(device, "rb") as disk:
        size = disk.seek(0, os.SEEK_END)
        for start in (0, max(0, size - MIB)):
            disk.seek(start)
            if any(disk.read(MIB)):
                return False
    return True


def probe(module: AnsibleModule, device: str) -> Disk:
    """Asks the disk itself (no udev database, no cache)."""
    lsblk = ["lsblk", "--json", "--paths", "--output", "PATH,TYPE,RO,MOUNTPOINTS", device]
    found = data_disk.read_lsblk(module.run_command(lsblk, check_rc=True)[1])
    code, text, problem = module.run_command(["blkid", "--probe", "--output", "export", device])
    # 2: nothing known; 8: several signatures at once, which wipefs lists.
    if code not in (0, 2, 8):
        raise Refused(f"it can't be read: {problem.strip() or text.strip()}")
    known = data_disk.read_blkid(text if code == 0 else "")
    holders = f"/sys/class/block/{os.path.basename(device)}/holders"
    return Disk(
        device=device,
        **found,
        holders=sorted(os.listdir(holders)) if os.path.isdir(holders) else [],
        signatures=data_disk.read_wipefs(module.run_command(["wipefs", "--no-act", "--json", device], check_rc=True)[1]),
        blank=not found["mounted_at"] and is_blank(device),
        fstype=known["fstype"],
        label=known["label"],
        uuid=known["uuid"],
    )


def usable_mount_point(path: str) -> None:
    """Refused where mounting would hide files, or another file system."""
    if os.path.ismount(path):
        raise Refused(f"something else is mounted at {path}: unmount it, or correct storage_disks")
    if os.path.isdir(path) and os.listdir(path):
        names = ", ".join(sorted(os.listdir(path))[:3])
        raise Refused(f"{path} already has files ({names}), which mounting would hide: stop what writes there and move them away first")


def write_fstab(text: str) -> None:
    with open(f"{FSTAB}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(f"{FSTAB}.new", 0o644)
    os.replace(f"{FSTAB}.new", FSTAB)


def ownership(module: AnsibleModule, path: str) -> bool:
    """Owner, group and mode of the mounted top directory; was anything changed?"""
    owner, group, mode = (module.params[name] for name in ("owner", "group", "mode"))
    now = os.stat(path)
    try:
        user = now.st_uid if owner is None else pwd.getpwnam(owner).pw_uid
        members = now.st_gid if group is None else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise Refused(f"{path} can't be given away: {error.args[0]}; leave owner and group to the role that makes the account") from error
    bits = now.st_mode & 0o7777 if mode is None else int(mode, 8)
    if (user, members, bits) == (now.st_uid, now.st_gid, now.st_mode & 0o7777):
        return False
    if not module.check_mode:
        os.chown(path, user, members)
        os.chmod(path, bits)
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "device": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "fstype": {"type": "str", "choices": ["ext4", "xfs"], "default": "xfs"},
            "options": {"type": "list", "elements": "str", "default": ["noatime", "nofail", "x-systemd.device-timeout=60s"]},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "str"},
        },
        supports_check_mode=True,
    )
    name, path, fstype = module.params["device"], os.path.normpath(module.params["path"]), module.params["fstype"]
    try:
        module.exit_json(**ensure(module, name, path, fstype))
    except (Refused, OSError) as reason:
        module.fail_json(msg=f"{os.uname().nodename}: disk {name} ({os.path.realpath(name)}) for {path}: {reason}")


def ensure(module: AnsibleModule, name: str, path: str, fstype: str) -> dict:
    if not data_disk.stable(name):
        raise Refused("its name may be another disk's after the next boot, expected one under /dev/disk (by-id, azure): ls -l /dev/disk/*")
    if not os.path.exists(name):
        raise Refused("it is not there: attach it, or correct storage_disks (lsblk shows what there is)")
    device = os.path.realpath(name)
    disk = probe(module, device)
    action = data_disk.judge(disk, path, fstype)
    if action != "keep":
        usable_mount_point(path)
    if action == "format" and not module.check_mode:
        if shutil.which(data_disk.MAKE[fstype][0]) is None:
            raise Refused(f"{data_disk.MAKE[fstype][0]} is not installed: install the package of {fstype}'s tools")
        module.run_command([*data_disk.MAKE[fstype], data_disk.label_of(path), device], check_rc=True)
        disk = probe(module, device)

    with open(FSTAB, encoding="utf-8") if os.path.exists(FSTAB) else open(os.devnull, encoding="utf-8") as file:
        before = file.read()
    after = before if not disk.uuid else data_disk.fstab_with(before, disk.uuid, path, fstype, module.params["options"])
    changed = action != "keep" or after != before
    if not module.check_mode:
        if after != before:
            write_fstab(after)
            module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        if action != "keep":
            os.makedirs(path, exist_ok=True)
            module.run_command(["mount", path], check_rc=True)
        elif after != before:
            module.run_command(["mount", "-o", "remount", path], check_rc=True)
    if os.path.ismount(path):
        changed = ownership(module, path) or changed
    diff = {"before_header": FSTAB, "after_header": FSTAB, "before": before, "after": after}
    return {"changed": changed, "action": action, "uuid": disk.uuid, "device": device, "diff": diff}


if __name__ == "__main__":
    main()
