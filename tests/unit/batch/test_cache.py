"""What is kept of a library from run to run holds only while its sources do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible import constants as C
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_cache

LIBRARY = {"identity": "abc", "modules": {"thing": ["ansible.modules.thing", "legacy"]}}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    ask = C.config.get_config_value
    monkeypatch.setattr(C.config, "get_config_value", lambda name, **more: str(tmp_path) if name == "ANSIBLE_HOME" else ask(name, **more))
    made = tmp_path / "thing.py"
    made.write_bytes(b"THING = 1\n")
    return made


def entry(source: Path) -> batch_cache.Entry:
    return batch_cache.Entry({"thing": str(source)}, None)


def files(source: Path, **more: bytes) -> dict[str, Any]:
    return {"ansible/modules/thing.py": source.read_bytes(), "MANIFEST": b"x", "ansible/__init__.py": b"generated"} | more


def test_it_holds_while_sources_do(source: Path) -> None:
    assert entry(source).load() is None
    entry(source).save(LIBRARY, files(source))
    known = entry(source).load()
    assert known is not None and known["identity"] == "abc"


@pytest.mark.parametrize("change", ["content", "time", "gone"])
def test_a_change_of_a_source_ends_it(source: Path, change: str) -> None:
    entry(source).save(LIBRARY, files(source))
    if change == "content":
        source.write_bytes(b"THING = 22\n")
    elif change == "time":
        os.utime(source, (1, 1))
    else:
        source.unlink()
    assert entry(source).load() is None


def test_a_file_without_a_source_is_not_kept(source: Path) -> None:
    entry(source).save(LIBRARY, files(source, **{"ansible/module_utils/moved.py": b"made by core from a redirect"}))
    assert entry(source).load() is None


def test_another_set_of_modules_is_another_entry(source: Path) -> None:
    entry(source).save(LIBRARY, files(source))
    assert batch_cache.Entry({"thing": str(source), "other": "/other.py"}, None).load() is None


def test_a_damaged_entry_is_none(source: Path) -> None:
    entry(source).save(LIBRARY, files(source))
    (kept,) = (source.parent / "optimize_batch").iterdir()
    kept.write_text("{")
    assert entry(source).load() is None


def test_old_entries_go(source: Path) -> None:
    directory = source.parent / "optimize_batch"
    directory.mkdir()
    (directory / "old.json").write_text("{}")
    os.utime(directory / "old.json", (1, 1))
    entry(source).save(LIBRARY, files(source))
    assert len(list(directory.iterdir())) == 1
