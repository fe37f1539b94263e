"""What is laid down on a host is whole, verified before, and recognised afterwards."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils import unpack as unit

OWNER = os.getuid()


def archive(path: Path, members: dict[str, str], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o666
            tar.addfile(info, io.BytesIO(content.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def lay(tmp_path: Path, tar: Path) -> Path:
    dest = tmp_path / "opt" / "tool" / "1.0"
    unit.unpack("tool 1.0", [(str(tar), tar.name)], str(dest), ["sha256:x"], owner=OWNER)
    return dest


def test_unpacked_whole_with_marker_and_without_write_permission_for_others(tmp_path):
    dest = lay(tmp_path, archive(tmp_path / "t.tar", {"libs/a.jar": "a"}, {"bin/python": "/usr/bin/python3"}))
    assert (dest / "libs/a.jar").read_text() == "a"
    assert (dest / "libs/a.jar").stat().st_mode & 0o777 == 0o644
    assert (dest / "bin/python").readlink() == Path("/usr/bin/python3")
    assert unit.installed("tool 1.0", str(dest), ["sha256:x"])
    assert [path.name for path in dest.parent.iterdir()] == ["1.0"]


def test_a_vendor_s_top_directory_goes_and_a_layout_s_own_stays(tmp_path):
    assert (lay(tmp_path, archive(tmp_path / "kafka.tgz", {"kafka_2.13-3.9.2/libs/a.jar": "a"})) / "libs/a.jar").exists()
    other = tmp_path / "other"
    unit.unpack("t", [(str(archive(tmp_path / "t.tar", {"libs/a.jar": "a"})), "t.tar")], str(other), [], owner=OWNER)
    assert (other / "libs/a.jar").exists()


def test_single_files_are_copied_under_their_name(tmp_path):
    (tmp_path / "agent-1.jar").write_text("x")
    unit.unpack("t", [(str(tmp_path / "agent-1.jar"), "agent-1.jar")], str(tmp_path / "d"), [], owner=OWNER)
    assert (tmp_path / "d" / "agent-1.jar").read_text() == "x"


@pytest.mark.parametrize("change", ["content", "removed", "added", "mode"])
def test_altered_content_is_refused_with_the_mend(tmp_path, change):
    dest = lay(tmp_path, archive(tmp_path / "t.tar", {"a": "1", "b": "2"}))
    if change == "content":
        (dest / "a").write_text("2")
    elif change == "removed":
        (dest / "a").unlink()
    elif change == "added":
        (dest / "c").write_text("3")
    else:
        (dest / "a").chmod(0o755)
    with pytest.raises(unit.ArtifactProblem, match=rf"tool 1.0: {dest} was altered .*expected fingerprint \w+, found \w+.*rm -r {dest}"):
        unit.installed("tool 1.0", str(dest), ["sha256:x"])


def test_bytecode_that_root_s_python_leaves_is_no_alteration(tmp_path):
    dest = lay(tmp_path, archive(tmp_path / "t.tar", {"a": "1"}))
    (dest / "__pycache__").mkdir()
    (dest / "__pycache__" / "a.pyc").write_text("x")
    assert unit.installed("tool 1.0", str(dest), ["sha256:x"])


def test_another_artifact_in_its_place_is_refused(tmp_path):
    dest = lay(tmp_path, archive(tmp_path / "t.tar", {"a": "1"}))
    with pytest.raises(unit.ArtifactProblem, match="expected sha256:y, found sha256:x"):
        unit.installed("tool 1.0", str(dest), ["sha256:y"])
    (dest / unit.MARKER).unlink()
    with pytest.raises(unit.ArtifactProblem, match="not recorded"):
        unit.installed("tool 1.0", str(dest), ["sha256:x"])


def test_a_wrong_checksum_names_expected_and_found(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(unit.ArtifactProblem, match=r"tool: expected sha256 00, found 2d711642\w+\. Nothing was unpacked"):
        unit.check("tool", str(tmp_path / "f"), "sha256:00")


def test_an_interrupted_unpacking_leaves_nothing_that_looks_installed(tmp_path, monkeypatch):
    tar = archive(tmp_path / "t.tar", {"a": "1"})

    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(unit.os, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        lay(tmp_path, tar)
    assert list((tmp_path / "opt" / "tool").iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(unit.ArtifactProblem, match="may not be unpacked"):
        lay(tmp_path, archive(tmp_path / "t.tar", {name: "x", "b": "y"}))
    assert not (tmp_path / "outside").exists()
