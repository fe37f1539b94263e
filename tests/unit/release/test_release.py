"""The release: its name follows from its content, its bytes from its input, and the store's manifest says what is there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tools import release
from tools.release import TARGETS, ReleaseError


def make_tree(directory: Path) -> Path:
    tree = directory / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "lib" / "b").mkdir(parents=True)
    (tree / "VERSION").write_text("1\n")
    (tree / "lib" / "b" / "m.py").write_text("x = 1\n")
    (tree / "bin" / "optimize-x").write_text("#!/bin/sh\n")
    (tree / "bin" / "optimize-x").chmod(0o755)
    return tree


def test_the_archive_depends_on_names_and_content_alone(tmp_path):
    one, two = make_tree(tmp_path / "one"), make_tree(tmp_path / "two")
    os.utime(two / "VERSION", (1, 1))
    (two / "VERSION").chmod(0o600)
    assert release.pack(one, "1.0-abc") == release.pack(two, "1.0-abc")
    (two / "VERSION").write_text("2\n")
    assert release.pack(one, "1.0-abc") != release.pack(two, "1.0-abc")


def test_the_archive_lies_below_its_version_and_belongs_to_root(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(release.pack(make_tree(tmp_path), "1.0-abc"))
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert list(members) == sorted(members, key=lambda name: name.split("/"))
    assert all(
        name.split("/")[0] == "1.0-abc" and (member.uid, member.gid, member.mtime) == (0, 0, release.EPOCH)
        for name, member in members.items()
    )
    assert members["1.0-abc/bin/optimize-x"].mode == 0o755
    assert members["1.0-abc/VERSION"].mode == 0o644


def test_the_version_changes_with_any_input(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    for path in files:
        path.write_text("x")
    first = release.version(files)
    assert first == release.version(files) and first.startswith("0.")
    files[1].write_text("y")
    assert release.version(files) != first
    assert release.version() == release.version()


def test_a_build_is_skipped_while_the_store_has_it_and_repeated_when_it_was_altered(tmp_path, monkeypatch):
    built = []

    def lay_out(tree, target, name):
        built.append(name)
        (tree / "VERSION").write_text(name)
        return True

    monkeypatch.setattr(release, "lay_out", lay_out)
    target = TARGETS["bookworm"]
    name, fresh = release.build(target, tmp_path)
    assert fresh and release.build(target, tmp_path) == (name, False)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    entry = manifest["versions"][name]["bookworm"]
    assert manifest["latest"] == name
    assert entry["sha256"] == hashlib.sha256((tmp_path / entry["file"]).read_bytes()).hexdigest()
    assert (tmp_path / f"{entry['file']}.sha256").read_text() == f"{entry['sha256']}  {entry['file']}\n"
    (tmp_path / entry["file"]).write_bytes(b"altered")
    assert release.build(target, tmp_path) == (name, True)
    release.build(TARGETS["trixie"], tmp_path)
    assert set(json.loads((tmp_path / "manifest.json").read_text())["versions"][name]) == {"bookworm", "trixie"}
    assert len(built) == 3


def test_old_releases_leave_the_store_and_their_neighbours_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "lay_out", lambda tree, target, name: bool((tree / "VERSION").write_text(name)))
    for number in range(release.KEEP + 2):
        monkeypatch.setattr(release, "version", lambda number=number: f"0.1.0-{number}")
        release.build(TARGETS["bookworm"], tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest["versions"]) == [f"0.1.0-{number}" for number in range(2, release.KEEP + 2)]
    assert len(list(tmp_path.glob("*.tar.gz"))) == release.KEEP


def test_wheels_are_those_of_the_hosts(tmp_path):
    arguments = release.pip_arguments(TARGETS["bookworm"])
    assert {"--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_36_x86_64"} <= set(arguments)
    assert "--platform=manylinux_2_41_x86_64" not in arguments


def test_the_launcher_keeps_to_the_release_it_was_started_from(tmp_path):
    """The link that it was started by may lead elsewhere later, and nothing of the environment gets in."""
    for version in ("one", "two"):
        package = tmp_path / version / "lib" / "x"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(
            f"import sys\n\ndef main():\n    print({version!r}, any('site-packages' in p for p in sys.path))\n    return 3\n"
        )
        program = tmp_path / version / "bin" / "optimize-x"
        program.parent.mkdir()
        program.write_text(release._launcher(TARGETS["bookworm"], "x:main"))
    (tmp_path / "current").symlink_to("two")
    done = subprocess.run(
        [sys.executable, "-IS", str(tmp_path / "current" / "bin" / "optimize-x")],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path / "one" / "lib")},
    )
    assert (done.returncode, done.stdout) == (3, "two False\n"), done.stderr


def test_a_lock_that_depends_on_the_installing_python_is_refused():
    release.check_lock("a==1 \\\n    --hash=sha256:0\ncolorama==1 ; sys_platform == 'win32' \\\n")
    with pytest.raises(ReleaseError, match="b==1 ; python_version"):
        release.check_lock("a==1\nb==1 ; python_version < '3.12' \\\n    --hash=sha256:0\n")


def test_the_locks_have_hashes_and_no_addresses():
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (release.SERVICES / name).read_text(encoding="utf-8")
        assert "://" not in text and "--index-url" not in text
        assert text.count("==") <= text.count("--hash=sha256:")
    release.check_lock((release.SERVICES / "requirements.txt").read_text(encoding="utf-8"))


def test_a_python_for_other_hosts_is_refused_in_a_sentence(capsys):
    assert release.main(["build", "--distribution", "trixie", "--python", "3.11"]) == 1
    assert "trixie has Python 3.13, not 3.11" in capsys.readouterr().err
