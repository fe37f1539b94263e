"""What a host is, from recorded texts; and the sentences that refuse one."""

from __future__ import annotations

import json

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils import preflight
from hypothesis import given
from hypothesis import strategies as st

HOST = {
    "distribution": "debian",
    "version": "12",
    "release": "bookworm",
    "memory_mb": 2000,
    "mounts": [
        {"path": "/", "device": "/dev/sda1", "free_mb": 500},
        {"path": "/var/lib/kafka", "device": "/dev/sdc1", "free_mb": 90000},
    ],
    "clock": {"skew_s": 0.0},
}

# Azure's VM with a data disk, as bookworm's lsblk writes it.
LSBLK = json.dumps(
    {
        "blockdevices": [
            {
                "name": "sda", "path": "/dev/sda", "type": "disk", "size": 32213303296, "fstype": None, "uuid": None, "pttype": "gpt",
                "mountpoints": [None],
                "children": [
                    {"name": "sda1", "path": "/dev/sda1", "type": "part", "size": 32000000000, "fstype": "ext4", "uuid": "aa-bb",
                     "pttype": "gpt", "mountpoints": ["/"]}
                ],
            },
            {"name": "sdc", "path": "/dev/sdc", "type": "disk", "size": 1099511627776, "fstype": None, "uuid": None, "pttype": None,
             "mountpoints": [None]},
        ]
    }
)  # fmt: skip

MOUNTINFO = r"""
21 26 0:20 / /proc rw,relatime shared:12 - proc proc rw
26 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 26 8:33 / /var/lib/ka\040fka rw,noatime shared:5 master:1 - xfs /dev/sdc1 rw
31 26 0:40 / /mnt rw - nfs4 far:/x rw
32 26 8:49 / /over rw - ext4 /dev/sdd1 rw
33 26 0:50 / /over rw - tmpfs tmpfs rw
bad line
"""


def test_mounts_are_those_that_hold_data_and_are_not_hidden():
    assert preflight.parse_mountinfo(MOUNTINFO) == [
        {"path": "/", "device": "/dev/sda1", "fstype": "ext4"},
        {"path": "/var/lib/ka fka", "device": "/dev/sdc1", "fstype": "xfs"},
    ]


def test_block_devices_with_their_stable_names_and_what_they_hold():
    devices = preflight.parse_lsblk(LSBLK, {"/dev/sdc": ["/dev/disk/azure/scsi1/lun0"]})
    assert [device["path"] for device in devices] == ["/dev/sda", "/dev/sda1", "/dev/sdc"]
    assert devices[0]["holds"] == ["partition /dev/sda1", "gpt partition table"]
    assert devices[1]["mounted_at"] == ["/"]
    assert devices[2] == {
        "path": "/dev/sdc", "ids": ["/dev/disk/azure/scsi1/lun0"], "type": "disk", "size_mb": 1048576, "uuid": None, "holds": [],
        "mounted_at": [],
    }  # fmt: skip


def test_os_release():
    text = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_ID="13"\nVERSION_CODENAME=trixie\nID=debian\n'
    assert preflight.parse_os_release(text) == {"distribution": "debian", "version": "13", "release": "trixie"}
    assert preflight.parse_os_release("") == {"distribution": "", "version": "", "release": ""}


LIMITS = [([], 2048), (["max\n"], 2048), (["1073741824\n"], 1024), ([""], 2048), (["9" * 19], 2048)]
QUOTAS = [("max 100000", 4), ("150000 100000", 1), ("50000 100000", 1), ("800000 100000", 4), ("", 4)]


@pytest.mark.parametrize(("limits", "expected"), LIMITS)
def test_memory_is_the_smaller_of_what_is_there_and_what_is_allowed(limits, expected):
    assert preflight.memory_mb("MemTotal:        2097152 kB\nMemFree: 1 kB\n", limits) == expected


def test_memory_that_is_not_told_is_an_error():
    with pytest.raises(ValueError, match="MemTotal"):
        preflight.memory_mb("", [])


@pytest.mark.parametrize(("quota", "expected"), QUOTAS)
def test_cpus(quota, expected):
    assert preflight.cpu_count(4, [quota]) == expected


def test_units():
    text = "kafka.service loaded active running Kafka\npatroni@17-main.service loaded active running P\n\n"
    assert preflight.parse_units(text) == ["kafka", "patroni@17-main"]


@pytest.mark.parametrize(
    ("path", "mount"),
    [("/var/lib/kafka", "/var/lib/kafka"), ("/var/lib/kafka/logs", "/var/lib/kafka"), ("/var/lib/kafka2", "/"), ("/", "/"), ("/x/", "/")],
)
def test_the_mount_that_holds_a_path(path, mount):
    assert preflight.mount_of(HOST["mounts"], path)["path"] == mount


@given(st.integers(0, 5000), st.dictionaries(st.sampled_from(["/a", "/var/lib/kafka", "/var/lib/kafka/x"]), st.integers(0, 100000)))
def test_a_host_is_refused_exactly_for_what_it_lacks(memory, disk):
    free = {"/a": 500, "/var/lib/kafka": 90000, "/var/lib/kafka/x": 90000}
    lacking = (memory > 2000) + sum(free[path] < wanted for path, wanted in disk.items())
    assert len(preflight.refusals(HOST, {"memory_mb": memory, "disk_mb": disk})) == lacking


def test_a_refusal_says_found_expected_and_mend():
    problems = preflight.refusals(
        {**HOST, "clock": {"skew_s": -7.0}},
        {"memory_mb": 4000, "disk_mb": {"/opt/kafka": 600}, "releases": ["trixie"], "clock_skew_s": 5},
    )
    assert problems == [
        "runs debian bookworm, expected trixie: install one of these, or take the host out of the inventory",
        "has 2000 MiB of memory, expected at least 4000: give it more, or lower the sizes of what it runs in its group_vars",
        "has 500 MiB free for /opt/kafka (on /dev/sda1 mounted at /), expected at least 600:"
        " free some, or give it a data disk (storage_disks)",
        "has a clock 7.0 s behind the control node's, expected at most 5: ask chronyc tracking on it why, then chronyc makestep",
    ]
    assert "no known file system" in preflight.refusals({**HOST, "mounts": []}, {"disk_mb": {"/x": 0}})[0]


def test_nothing_required_refuses_nothing():
    assert preflight.refusals(HOST, {}) == []
    assert preflight.refusals(HOST, {"memory_mb": None, "disk_mb": {}, "releases": ["bookworm"], "clock_skew_s": None}) == []


@given(st.floats(1e9, 2e9), st.floats(0, 100), st.floats(-1000, 1000))
def test_skew_is_only_what_is_certain(started, took, offset):
    ended = started + took
    skew = preflight.skew_s(started, started + offset, ended)
    if 0 <= offset <= took:
        assert abs(skew) < 0.002
    else:
        assert skew == pytest.approx(offset - took if offset > 0 else offset, abs=0.002)


@pytest.mark.parametrize(
    ("rc", "stderr", "sentence"),
    [
        (127, "/bin/sh: 1: /usr/bin/python3: not found", "has no Python at /usr/bin/python3"),
        (127, "sudo: /usr/bin/python3: command not found", "has no Python at /usr/bin/python3"),
        (127, "/bin/sh: 1: sudo: not found", "has no sudo"),
        (1, "bash: line 1: /usr/bin/python3: No such file or directory", "has no Python at /usr/bin/python3"),
        (1, "Traceback", None),
        (None, "", None),
    ],
)
def test_why_no_module_runs(rc, stderr, sentence):
    answer = preflight.without_python(rc, stderr, "/usr/bin/python3")
    assert answer is None if sentence is None else answer.startswith(sentence)
