"""The program on a host: how it chooses what a copy comes to, and when it stops."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_remote


def put(dest: Path | str, content: bytes = b"new\n", **more: Any) -> dict[str, Any]:
    params = json.dumps({"ANSIBLE_MODULE_ARGS": {"mode": "0644"}})
    return {
        "dest": str(dest), "name": "name.txt", "literal": True, "follow": False, "force": True, "check": False, "diff": 0,
        "sha1": hashlib.sha1(content).hexdigest(), "start": 0, "end": len(content), "copy": {"fqn": "copy"}, "file": {"fqn": "file"},
        "copy_params": params, "file_params": params,
    } | more  # fmt: skip


def choose(order: dict[str, Any], content: bytes = b"new\n") -> tuple[Any, dict[str, Any]]:
    batch = batch_remote._Batch({}, content, "/library", None)
    answer: dict[str, Any] = {}
    try:
        chosen = batch._choose(order, answer)
        if isinstance(chosen, tuple):
            arguments = chosen[1]["ANSIBLE_MODULE_ARGS"]
            if "src" in arguments:
                arguments["src"] = (
                    Path(arguments["src"]).read_bytes(),
                    Path(arguments["src"]).suffix,
                    Path(arguments["src"]).stat().st_mode & 0o777,
                )
            return (chosen[0]["fqn"], arguments), answer
        return chosen, answer
    finally:
        batch.clean()
        assert batch.scratch is None or not Path(batch.scratch).exists()


def test_a_missing_file_is_copied(tmp_path: Path) -> None:
    (module, arguments), answer = choose(put(tmp_path / "x.conf"))
    assert (module, arguments["dest"], arguments["src"]) == ("copy", str(tmp_path / "x.conf"), (b"new\n", ".conf", 0o600))
    assert answer["before"] == {"content": "", "dest": str(tmp_path / "x.conf")}


def test_a_file_that_is_equal_has_its_attributes_seen_to(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"new\n")
    (module, arguments), answer = choose(put(tmp_path / "x"))
    assert (module, "src" in arguments, answer) == ("file", False, {})


def test_check_mode_ends_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old\n")
    chosen, answer = choose(put(tmp_path / "x", check=True))
    assert chosen == {"changed": True} and answer["before"]["content"] == "b2xkCg=="


def test_what_is_not_forced_stays(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old\n")
    assert choose(put(tmp_path / "x", force=False))[0] == {"changed": False, "dest": str(tmp_path / "x")}


def test_content_onto_a_directory_fails(tmp_path: Path) -> None:
    assert choose(put(tmp_path))[0]["failed"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_file_goes_into_a_directory(tmp_path: Path, slash: str) -> None:
    (tmp_path / "name.txt").write_bytes(b"new\n")
    (module, _arguments), _answer = choose(put(f"{tmp_path}{slash}", literal=False))
    assert module == "file"


def test_a_link_is_followed_where_it_is_to_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"new\n")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert choose(put(tmp_path / "link"))[0][0] == "copy"
    (module, arguments), _answer = choose(put(tmp_path / "link", follow=True))
    assert (module, arguments["dest"]) == ("file", str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("content", "limit", "shown"), [(b"a\0b", 0, {"binary": 1}), (b"long" * 10, 8, {"larger": 8}), (b"abc", 8, {"content": "YWJj"})]
)
def test_what_was_there_is_shown(tmp_path: Path, content: bytes, limit: int, shown: dict[str, Any]) -> None:
    (tmp_path / "x").write_bytes(content)
    assert choose(put(tmp_path / "x", diff=limit))[1]["before"] == shown | {"dest": str(tmp_path / "x")}


def test_without_diff_nothing_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old\n")
    assert "before" not in choose(put(tmp_path / "x", diff=None))[1]


@pytest.mark.parametrize(
    ("out", "verdict"),
    [
        ('{"changed": true}', {"failed": False, "changed": True}),
        ('noise\n{"changed": false}', {"failed": False, "changed": False}),
        ('{"failed": true}', {"failed": True, "changed": False}),
        ('{"rc": 1}', {"failed": True, "changed": False}),
        ('{"rc": 0, "changed": true}', {"failed": False, "changed": True}),
        ("no json", {"failed": True}),
        ("", {"failed": True}),
        ('{"cut', {"failed": True}),
    ],
)
def test_a_verdict(out: str, verdict: dict[str, bool]) -> None:
    assert batch_remote._verdict({"out": out}) == verdict


def test_it_notices_that_nobody_reads() -> None:
    reader, writer = os.pipe()
    assert not batch_remote._controller_is_gone(writer)
    os.close(reader)
    assert batch_remote._controller_is_gone(writer)
    os.close(writer)
