"""The library directory on a host: whose it must be, what an interrupted or altered write leaves, what is kept."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_core, batch_install

PLUGINS = Path(batch_install.__file__).parent
FILES = {"ansible/a.py": b"A = 1\n", "ansible/b.py": b"B = 2\n"}


def library(files: dict[str, bytes]) -> tuple[str, dict[str, bytes]]:
    manifest = "".join(f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in sorted(files.items())).encode()
    return hashlib.sha256(manifest).hexdigest(), dict(files, MANIFEST=manifest)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    made = tmp_path / "library" / "this-boot"
    made.mkdir(parents=True)
    return made


def install(shelf: Path, files: dict[str, bytes], have: set[str] = frozenset()) -> Path:  # type: ignore[assignment]
    identity, whole = library(files)
    batch_install.install(str(shelf), identity, batch_core.archive(whole, set(have)))
    return shelf / identity


def boot(remote_tmp: Path, header: dict[str, Any] | None = None) -> list[dict]:
    """Run the first code of a batch as a host does; what it said."""
    program = (PLUGINS / "batch_boot.py").read_bytes()
    sent = json.dumps({"id": "0" * 64, "remote_tmp": str(remote_tmp), "blob": 0} | (header or {})).encode() + b"\n"
    start = "import sys; s = sys.stdin.buffer; exec(s.read(int(s.readline())))"
    done = subprocess.run([sys.executable, "-c", start], input=b"%d\n" % len(program) + program + sent, capture_output=True, check=False)
    assert not done.stderr, done.stderr
    return [json.loads(line.removeprefix(b"optimize-batch ")) for line in done.stdout.splitlines()]


def test_a_library_holds_what_its_name_says(shelf: Path) -> None:
    made = install(shelf, FILES)
    assert {path: (made / path).read_bytes() for path in FILES} == FILES
    assert hashlib.sha256((made / "MANIFEST").read_bytes()).hexdigest() == made.name


def test_sources_are_compiled_once(shelf: Path) -> None:
    made = install(shelf, FILES)
    assert Path(importlib.util.cache_from_source(str(made / "ansible/a.py"))).exists()


def test_what_another_library_has_is_linked(shelf: Path) -> None:
    first = install(shelf, FILES)
    have = {hashlib.sha256(content).hexdigest() for content in FILES.values()}
    second = install(shelf, dict(FILES, **{"ansible/c.py": b"C = 3\n"}), have)
    for path in ("ansible/a.py", importlib.util.cache_from_source("ansible/a.py")):
        assert (first / path).samefile(second / path)
    assert (second / "ansible/c.py").read_bytes() == b"C = 3\n"


@pytest.mark.parametrize("altered", ["ansible/a.py", "MANIFEST"])
def test_an_altered_library_is_refused_and_leaves_nothing(shelf: Path, altered: str) -> None:
    identity, whole = library(FILES)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in whole.items():
            archive.writestr(path, content + b"#" if path == altered else content)
    with pytest.raises(OSError, match="altered"):
        batch_install.install(str(shelf), identity, packed.getvalue())
    assert list(shelf.iterdir()) == []


def test_a_full_disk_leaves_nothing(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch_install, "_compile", full)
    with pytest.raises(OSError, match="No space"):
        install(shelf, FILES)
    assert list(shelf.iterdir()) == []


def test_a_killed_write_is_no_library_and_goes_later(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "rename", lambda *_: os._exit(9))
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            install(shelf, FILES)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    (left,) = shelf.iterdir()
    assert left.name.startswith(".")
    assert [path for path in shelf.iterdir() if len(path.name) == 64] == []
    os.utime(left, (0, 0))
    made = install(shelf, FILES)
    assert list(shelf.iterdir()) == [made]


def test_two_writers_of_one_library(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one was faster, between our look and our rename."""
    rename = os.rename

    def faster(staging: str, final: str) -> None:
        monkeypatch.setattr(os, "rename", rename)
        (Path(final) / "ansible").mkdir(parents=True)
        rename(staging, final)

    monkeypatch.setattr(os, "rename", faster)
    made = install(shelf, FILES)
    assert list(shelf.iterdir()) == [made]


def test_the_libraries_used_last_are_kept(shelf: Path) -> None:
    for number in range(batch_install.KEEP + 3):
        made = install(shelf, {"ansible/n.py": b"N = %d\n" % number})
        os.utime(made, (number, number))
    kept = install(shelf, FILES)
    names = {path.name for path in shelf.iterdir()}
    assert len(names) == batch_install.KEEP and kept.name in names and made.name in names


def test_a_library_in_use_by_another_run_is_kept(shelf: Path) -> None:
    for number in range(batch_install.KEEP + 3):
        install(shelf, {"ansible/n.py": b"N = %d\n" % number})
    assert len(list(shelf.iterdir())) == batch_install.KEEP + 3


def test_libraries_of_earlier_boots_go(shelf: Path) -> None:
    earlier = shelf.parent / "earlier-boot"
    earlier.mkdir()
    (earlier / "0123").mkdir()
    install(shelf, FILES)
    assert list(shelf.parent.iterdir()) == [shelf]


def test_the_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    said = boot(tmp_path / "new" / "tmp")
    assert said == [{"need": "0" * 64, "have": []}]
    root = tmp_path / "new/tmp" / f"optimize-batch-{os.geteuid()}"
    assert [oct(path.stat().st_mode & 0o777) for path in (root, root.parent, root.parent.parent)] == ["0o700"] * 3


def test_the_host_says_which_files_it_has(tmp_path: Path) -> None:
    root = tmp_path / f"optimize-batch-{os.geteuid()}"
    shelf = root / Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for directory in (root, shelf):
        directory.mkdir(mode=0o700)
    install(shelf, FILES)
    assert set(boot(tmp_path)[0]["have"]) == {hashlib.sha256(content).hexdigest() for content in FILES.values()}


def test_another_mode_is_refused(tmp_path: Path) -> None:
    root = tmp_path / f"optimize-batch-{os.geteuid()}"
    root.mkdir()
    root.chmod(0o755)
    (said,) = boot(tmp_path)
    assert said["refused"] == str(root) and "0755" in said["found"] and "0700" in said["expected"]


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"optimize-batch-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    (said,) = boot(tmp_path)
    assert said["found"].startswith("no directory")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_owner_is_refused(tmp_path: Path) -> None:
    root = tmp_path / f"optimize-batch-{os.geteuid()}"
    root.mkdir(mode=0o700)
    os.chown(root, 65534, 65534)
    (said,) = boot(tmp_path)
    assert "uid 65534" in said["found"] and "uid 0" in said["expected"]


def test_a_directory_above_that_others_write_holds_none(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (said,) = boot(shared / "tmp")
    assert "others could replace" in said["no_library"]
    shared.chmod(0o1777)
    assert "need" in boot(shared / "tmp")[0]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (said,) = boot(tmp_path / "file" / "tmp")
    assert "Not a directory" in said["no_library"]
