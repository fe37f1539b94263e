"""When a disk may be formatted, when it is mounted as it is, and when it is refused."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils import data_disk as dd
from ansible_collections.webtrends.optimize.plugins.modules.data_disk import is_blank
from hypothesis import given
from hypothesis import strategies as st

PATH = "/var/lib/kafka"
BLANK = dd.Disk(device="/dev/sdc", kind="disk", mounted_at=[], children=[], holders=[], signatures=[], blank=True)
OURS = dataclasses.replace(BLANK, signatures=["xfs"], blank=False, fstype="xfs", label=dd.label_of(PATH), uuid="u-1")

disks = st.builds(
    dd.Disk,
    device=st.just("/dev/sdc"),
    kind=st.sampled_from(["disk", "part", "loop", "rom"]),
    mounted_at=st.lists(st.sampled_from(["/", PATH, "/mnt"]), max_size=2, unique=True),
    children=st.lists(st.just("/dev/sdc1"), max_size=1),
    holders=st.lists(st.just("dm-0"), max_size=1),
    signatures=st.lists(st.sampled_from(["xfs", "ext4", "gpt", "LVM2_member", "crypto_LUKS", "swap"]), max_size=2),
    blank=st.booleans(),
    read_only=st.booleans(),
    fstype=st.sampled_from(["", "xfs", "ext4"]),
    label=st.sampled_from(["", dd.label_of(PATH), "other"]),
    uuid=st.just("u-1"),
)


@given(disks, st.sampled_from(["xfs", "ext4"]))
def test_only_a_disk_on_which_nothing_is_and_that_nobody_uses_is_ever_formatted(disk, fstype):
    try:
        action = dd.judge(disk, PATH, fstype)
    except dd.Refused:
        return
    if action == "format":
        assert disk.blank
        assert not (disk.signatures or disk.mounted_at or disk.children or disk.holders or disk.read_only)
    else:
        assert disk.fstype == fstype
        assert disk.mounted_at or disk.label == dd.label_of(PATH)


def test_blank_ours_and_mounted():
    assert dd.judge(BLANK, PATH, "xfs") == "format"
    assert dd.judge(OURS, PATH, "xfs") == "mount"
    assert dd.judge(dataclasses.replace(OURS, mounted_at=[PATH]), PATH, "xfs") == "keep"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({"signatures": ["ext4"], "fstype": "ext4", "label": "photos"}, "holds ext4 labelled 'photos', expected a blank disk or xfs"),
        ({"signatures": ["gpt", "PMBR"]}, "wipefs --all /dev/sdc"),
        ({"signatures": ["crypto_LUKS"]}, "holds crypto_LUKS"),
        ({"blank": False}, "start or end is not empty"),
        ({"mounted_at": ["/mnt"], "fstype": "xfs"}, "mounted at /mnt with xfs, expected xfs at /var/lib/kafka"),
        ({"children": ["/dev/sdc1"]}, "has partitions (/dev/sdc1)"),
        ({"holders": ["md0"]}, "in use by md0"),
        ({"kind": "rom"}, "is a rom"),
        ({"read_only": True}, "read-only"),
    ],
)
def test_a_refusal_says_what_was_found_and_what_mends_it(found, sentence):
    with pytest.raises(dd.Refused, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        dd.judge(dataclasses.replace(BLANK, **found), PATH, "xfs")


@pytest.mark.parametrize(
    ("name", "stable"),
    [
        ("/dev/disk/azure/scsi1/lun0", True),
        ("/dev/disk/by-id/scsi-3600", True),
        ("/dev/mapper/data", True),
        ("/dev/sdc", False),
        ("/dev/disk/../sdc", False),
        ("/dev/loop3", False),
    ],
)
def test_names_that_stay_with_a_disk(name, stable):
    assert dd.stable(name) is stable


parts = st.text("abcdefghijklmnopqrstuvwxyz 0123456789", min_size=1, max_size=12)
paths = st.lists(parts, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))


@given(paths)
def test_a_label_fits_both_file_systems_and_shows_where_it_belongs(path):
    label = dd.label_of(path)
    assert 0 < len(label) <= dd.LABEL_LENGTH
    assert re.fullmatch(r"[a-z0-9-]+", label)


def test_labels_of_like_names_differ():
    assert dd.label_of("/var/lib/kafka") == "kafka-f81f"
    assert dd.label_of("/srv/kafka") != dd.label_of("/var/lib/kafka")


FSTAB = """\
# the system's
UUID=root / ext4 defaults 0 1
UUID=old /var/lib/kafka ext4 defaults 0 2

UUID=x /var/lib/kafka2 xfs noatime 0 2
"""


def test_an_entry_takes_the_place_of_the_earlier_one_and_nothing_else_changes():
    assert dd.fstab_with(FSTAB, "new", PATH, "xfs", ["noatime", "nofail"]) == FSTAB.replace(
        "UUID=old /var/lib/kafka ext4 defaults 0 2", "UUID=new /var/lib/kafka xfs noatime,nofail 0 2"
    )


@given(paths, st.lists(st.sampled_from(["noatime", "nofail"]), max_size=2))
def test_writing_an_entry_twice_is_writing_it_once(path, options):
    once = dd.fstab_with(FSTAB, "new", path, "xfs", options)
    assert dd.fstab_with(once, "new", path, "xfs", options) == once
    assert once.count("UUID=new") == 1
    assert all(len(line.split()) == 6 for line in once.splitlines() if "new" in line)


# As bookworm's util-linux 2.38 writes them.
def test_what_the_tools_answer():
    disk = {"path": "/dev/sdc", "type": "disk", "ro": False, "mountpoints": [None], "children": [{"path": "/dev/sdc1"}]}
    read = dd.read_lsblk(json.dumps({"blockdevices": [disk]}))
    assert read == {"kind": "disk", "mounted_at": [], "children": ["/dev/sdc1"], "read_only": False}
    wipefs = {"signatures": [{"device": "loop0", "offset": "0x438", "type": "ext4", "uuid": "u", "label": None}]}
    assert dd.read_wipefs(json.dumps(wipefs)) == ["ext4"]
    assert dd.read_wipefs("") == []
    blkid = "DEVNAME=/dev/loop0\nLABEL=a=b\nUUID=u-1\nVERSION=1.0\nBLOCK_SIZE=4096\nTYPE=ext4\nUSAGE=filesystem\n"
    assert dd.read_blkid(blkid) == {"fstype": "ext4", "label": "a=b", "uuid": "u-1"}
    assert dd.read_blkid("") == {"fstype": "", "label": "", "uuid": ""}


@pytest.mark.parametrize("at", [0, 1048575, 5 * 1048576 - 1])
def test_a_single_byte_at_start_or_end_makes_a_disk_not_blank(tmp_path, at):
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(5 * 1048576)
    assert is_blank(str(disk))
    with disk.open("r+b") as file:
        file.seek(at)
        file.write(b"\x01")
    assert not is_blank(str(disk))
