"""Disks: formatted only when blank, known again by their label, and refused with a sentence for everything else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

testinfra_hosts = ["all"]

SCENARIO = Path(__file__).resolve().parents[1]
KAFKA = {"device": "/dev/disk/by-id/blank-xfs", "path": "/var/lib/kafka", "owner": "daemon", "mode": "0750"}


def converge(*disks: dict, extra: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "ansible-playbook"
    wanted = json.dumps({"storage_disks": list(disks)})
    command = [str(program), f"--inventory={SCENARIO / 'inventory.yml'}", str(SCENARIO / "converge.yml"), "--extra-vars", wanted]
    return subprocess.run(command + (extra or []), capture_output=True, text=True, cwd=SCENARIO.parents[1], timeout=300)


def said(run: subprocess.CompletedProcess[str]) -> str:
    return " ".join((run.stdout + run.stderr).split())


def test_disks_are_mounted_by_uuid_with_their_options(host):
    for path, fstype, option in (("/var/lib/kafka", "xfs", "noatime"), ("/srv/with space", "ext4", "noatime")):
        mount = json.loads(host.check_output(f"findmnt --json --output FSTYPE,OPTIONS,UUID --mountpoint '{path}'"))["filesystems"][0]
        assert mount["fstype"] == fstype
        assert option in mount["options"]
    assert host.run("findmnt --verify").rc == 0
    top = host.file("/var/lib/kafka")
    assert (top.user, top.mode) == ("daemon", 0o750)
    assert "/dev/loop" not in host.file("/etc/fstab").content_string


def test_what_is_written_outlives_a_host_that_forgot_its_disk(host):
    """As when a VM is built anew and its data disk attached to it."""
    host.check_output("echo kept > /var/lib/kafka/file && umount /var/lib/kafka && sed -i /kafka/d /etc/fstab")
    run = converge(KAFKA)
    assert run.returncode == 0, said(run)
    assert host.file("/var/lib/kafka/file").content_string == "kept\n"


@pytest.mark.parametrize(
    ("disk", "sentence"),
    [
        ({"device": "/dev/disk/by-id/foreign", "path": "/srv/a"}, "it holds ext4 labelled 'photos', expected a blank disk or xfs"),
        ({"device": "/dev/disk/by-id/foreign", "path": "/srv/a", "fstype": "ext4"}, "it holds ext4 labelled 'photos'"),
        ({"device": "/dev/disk/by-id/unknown", "path": "/srv/a"}, "its start or end is not empty"),
        ({"device": "/dev/disk/by-id/partitioned", "path": "/srv/a"}, "it holds dos"),
        ({"device": "/dev/disk/by-id/absent", "path": "/srv/a"}, "it is not there"),
        ({"device": "/dev/loop0", "path": "/srv/a"}, "another disk's after the next boot"),
        ({"device": "/dev/disk/by-id/blank-xfs", "path": "/srv/a"}, "it is mounted at /var/lib/kafka with xfs, expected xfs at /srv/a"),
        ({"device": "/dev/disk/by-id/blank-ext4", "path": "/etc"}, "it is mounted at /srv/with space"),
    ],
)
def test_a_disk_that_holds_something_is_refused_and_left_as_it_is(host, disk, sentence):
    def start() -> str:
        return host.run(f"head -c 8M {disk['device']} | sha256sum").stdout

    before = start()
    run = converge(disk)
    assert run.returncode == 2
    assert "core-plain-1: disk" in said(run)
    assert sentence in said(run)
    if "mounted" not in sentence:
        assert start() == before
    assert host.run("grep -c /srv/a /etc/fstab").stdout == "0\n"


def test_a_directory_with_files_is_not_hidden(host):
    host.check_output("umount '/srv/with space' && touch '/srv/with space/there'")
    run = converge({"device": "/dev/disk/by-id/blank-ext4", "path": "/srv/with space", "fstype": "ext4"})
    assert run.returncode == 2
    assert "already has files (there), which mounting would hide" in said(run)
    host.check_output("rm '/srv/with space/there' && mount '/srv/with space'")


def test_without_disks_nothing_is_asked_of_the_host():
    """It ends well although no connection could be made."""
    run = converge(extra=["--extra-vars", "ansible_port=1", "--start-at-task", "storage : Mount data disks"])
    assert run.returncode == 0, said(run)
