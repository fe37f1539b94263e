"""The logic of loaded_state: what differs between a record and the disk, and what that means for a process."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.webtrends.optimize.plugins.lookup.loaded_state_program import LookupModule
from ansible_collections.webtrends.optimize.plugins.module_utils import loaded_state as ls
from hypothesis import given
from hypothesis import strategies as st

RUNNING = {"LoadState": "loaded", "ActiveState": "active", "MainPID": "42", "InvocationID": "abc"}
names = st.text(st.characters(whitelist_categories=("L", "N")), min_size=1, max_size=8)
snapshots = st.dictionaries(names, st.fixed_dictionaries({"is": names}, optional={"target": names}), max_size=6)


def record(files: dict, invocation: str = "abc") -> dict:
    return {"unit": "kafka", "invocation": invocation, "files": files}


@given(snapshots)
def test_what_was_loaded_and_is_still_there_needs_no_restart(files):
    answer = ls.verdict(RUNNING, record(files), files, [])
    assert answer["restart_needed"] is False
    assert answer["reasons"] == []
    assert answer["fingerprint"] == answer["loaded_fingerprint"]


@given(snapshots, snapshots)
def test_any_difference_is_a_reason_that_names_the_path(loaded, present):
    answer = ls.verdict(RUNNING, record(loaded), present, [])
    differing = {path for path in loaded.keys() | present.keys() if loaded.get(path) != present.get(path)}
    assert answer["restart_needed"] is bool(differing)
    assert len(answer["reasons"]) == len(differing)
    assert all(any(reason.startswith(f"{path} ") for reason in answer["reasons"]) for path in differing)
    assert (answer["fingerprint"] == answer["loaded_fingerprint"]) is not bool(differing)


@given(snapshots, st.sampled_from(["inactive", "failed", "activating"]))
def test_what_does_not_run_needs_no_restart(present, state):
    answer = ls.verdict({**RUNNING, "ActiveState": state, "MainPID": "0"}, None, present, [])
    assert (answer["running"], answer["restart_needed"], answer["recorded"]) == (False, False, False)


def test_a_process_without_a_record_of_its_own_start_needs_a_restart():
    unrecorded = ls.verdict(RUNNING, None, {}, [])
    earlier = ls.verdict(RUNNING, record({}, invocation="before"), {}, [])
    assert unrecorded["restart_needed"] and "unknown" in unrecorded["reasons"][0]
    assert earlier["restart_needed"] and "earlier start" in earlier["reasons"][0]
    assert earlier["loaded_fingerprint"] is None


def test_an_unknown_unit_does_not_exist_and_needs_nothing():
    answer = ls.verdict({"LoadState": "not-found", "ActiveState": "inactive", "MainPID": "0"}, None, {}, [])
    assert (answer["exists"], answer["running"], answer["restart_needed"]) == (False, False, False)


def test_content_link_absence_and_appearance_are_seen(tmp_path):
    config, current = tmp_path / "server.properties", tmp_path / "current"
    for version in ("1.0", "2.0"):
        (tmp_path / version).mkdir()
    config.write_text("a=1")
    current.symlink_to(tmp_path / "1.0")
    gone = tmp_path / "gone.properties"
    gone.write_text("")
    patterns = [str(tmp_path / "*.properties"), str(current)]
    before = ls.snapshot(patterns)

    config.write_text("a=2")
    gone.unlink()
    (tmp_path / "new.properties").write_text("")
    current.unlink()
    current.symlink_to(tmp_path / "2.0")
    reasons = ls.differences(before, ls.snapshot(patterns))

    assert reasons == [
        f"{current} led to {tmp_path}/1.0, now to {tmp_path}/2.0",
        f"{gone} is gone since the process started",
        f"{tmp_path}/new.properties was not there (or not watched) when the process started",
        f"{config} changed since the process started",
    ]


def test_a_rewrite_with_the_same_content_is_no_difference(tmp_path):
    config = tmp_path / "a.conf"
    config.write_text("same")
    before = ls.snapshot([str(config)])
    config.unlink()
    config.write_text("same")
    os.utime(config, (1, 1))
    assert ls.snapshot([str(config)]) == before


def test_a_link_that_leads_nowhere_is_a_difference(tmp_path):
    link = tmp_path / "current"
    (tmp_path / "1.0").mkdir()
    link.symlink_to(tmp_path / "1.0")
    before = ls.snapshot([str(link)])
    link.unlink()
    link.symlink_to(tmp_path / "nowhere")
    assert ls.differences(before, ls.snapshot([str(link)])) == [f"{link} led to {tmp_path}/1.0, now to {tmp_path}/nowhere"]


def test_a_large_binary_is_cheap_and_its_replacement_is_seen(tmp_path):
    binary = tmp_path / "clickhouse"
    with binary.open("wb") as file:
        file.truncate(2 * 1024**3)
    started = time.monotonic()
    before = ls.snapshot([str(binary)])
    assert "sha256" not in before[str(binary)]["is"]
    assert time.monotonic() - started < 1, "2 GiB were read"
    replacement = tmp_path / "new"
    with replacement.open("wb") as file:
        file.truncate(2 * 1024**3)
    replacement.replace(binary)
    assert ls.differences(before, ls.snapshot([str(binary)])) == [f"{binary} changed since the process started"]


MAPS = """\
55d0-55d1 r-xp 00000000 00:2c 1 /usr/sbin/haproxy (deleted)
7f00-7f01 r-xp 00000000 00:2c 2 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f01-7f02 r--p 00000000 00:2c 2 /usr/lib/x86_64-linux-gnu/libz.so.1 (deleted)
7f02-7f03 r-xp 00000000 00:2c 3 /tmp/snappy-1.1-libsnappyjava.so (deleted)
7f03-7f04 rwxp 00000000 00:01 4 /memfd:jit (deleted)
7f04-7f05 r-xp 00000000 00:2c 5 /usr/lib/x86_64-linux-gnu/libc.so.6
7f05-7f06 rw-p 00000000 00:00 0
"""


def test_replaced_binary_and_libraries_but_nothing_that_the_process_made_itself():
    assert ls.replaced_code("/usr/sbin/haproxy (deleted)", MAPS) == [
        "the binary /usr/sbin/haproxy was replaced under the running process",
        "the library /usr/lib/x86_64-linux-gnu/libssl.so.3 was replaced under the running process",
    ]
    assert ls.verdict(RUNNING, record({}), {}, ["the binary x was replaced"])["restart_needed"]


def test_own_process_has_nothing_replaced_and_an_ended_one_is_no_error():
    assert ls.process_code(os.getpid()) == []
    assert ls.process_code(2**22 + 1) == []


def test_lists_templates_and_comments(tmp_path):
    (tmp_path / "kafka.list").write_text("# Ansible managed\n\n/etc/kafka/*.properties\n  /opt/kafka/current \n")
    (tmp_path / "redis@.list").write_text("/etc/redis/%i.conf\n")
    assert ls.globs_of("kafka", str(tmp_path)) == ["/etc/kafka/*.properties", "/opt/kafka/current"]
    assert ls.globs_of("redis@6379", str(tmp_path)) == ["/etc/redis/6379.conf"]
    assert ls.globs_of("unlisted", str(tmp_path)) == []
    records = tmp_path / "run"
    records.mkdir()
    for unit in ("redis@6380", "other@1", "kafka"):
        (records / f"{unit}.json").write_text("{}")
    assert ls.listed_units(str(tmp_path), str(records)) == ["kafka", "redis@6380"]
    assert ls.listed_units(str(tmp_path / "absent"), str(records)) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", ".hidden", "a b", "kafka.service\n"])
def test_a_name_that_is_no_unit_is_refused(name):
    with pytest.raises(ValueError, match="not the name of a unit"):
        ls.unit_name(name)


def test_unit_names_are_understood_as_systemd_writes_them():
    assert [ls.unit_name(name) for name in ("kafka.service", "patroni@17-main", r"a\x2db")] == ["kafka", "patroni@17-main", r"a\x2db"]


def test_what_systemd_shows_becomes_files():
    shown = ls.parse_show(
        "LoadState=loaded\nFragmentPath=/etc/systemd/system/kafka.service\n"
        "DropInPaths=/etc/systemd/system/kafka.service.d/a.conf /run/systemd/system.control/kafka.service.d/50-MemoryMax.conf\n"
        "EnvironmentFiles=/etc/default/kafka (ignore_errors=yes)\nEnvironmentFiles=/etc/kafka/env (ignore_errors=no)\n"
    )
    assert ls.unit_files(shown) == [
        "/etc/systemd/system/kafka.service",
        "/etc/systemd/system/kafka.service.d/a.conf",
        "/etc/default/kafka",
        "/etc/kafka/env",
    ]
    assert ls.unit_files(ls.parse_show("FragmentPath=\nDropInPaths=\n")) == []


def test_a_record_is_read_back_and_only_root_reads_it(tmp_path, monkeypatch):
    config = tmp_path / "a.conf"
    config.write_text("x")
    records = tmp_path / "records"
    monkeypatch.setattr(ls, "show", lambda unit: {"FragmentPath": str(config), "DropInPaths": ""})
    ls.record_start("kafka", "abc", str(records))
    read = ls.read_record("kafka", str(records))
    assert read is not None and read["invocation"] == "abc" and set(read["files"]) == {str(config)}
    assert stat.S_IMODE(records.stat().st_mode) == 0o700
    assert stat.S_IMODE((records / "kafka.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"files": {}}'])
def test_a_broken_record_is_no_record(tmp_path, text):
    (tmp_path / "kafka.json").write_text(text)
    assert ls.read_record("kafka", str(tmp_path)) is None
    assert ls.read_record("absent", str(tmp_path)) is None


def test_the_program_is_the_module_utils_file():
    (text,) = LookupModule().run([])
    assert text.startswith("#!/usr/bin/python3 -IS\n")
    assert text.endswith(Path(ls.__file__).read_text(encoding="utf-8"))
    compile(text, "loaded-state", "exec")


def test_usage_is_an_error_of_its_own(capsys):
    assert ls.main([]) == 2
    assert ls.main(["record"]) == 2
    assert "usage" in capsys.readouterr().err


def test_check_says_per_unit_what_is_needed(monkeypatch, capsys):
    answers = {
        "a": {"unit": "a", "restart_needed": True, "running": True, "reasons": ["x changed"]},
        "b": {"unit": "b", "restart_needed": False, "running": False, "reasons": []},
    }
    monkeypatch.setattr(ls, "assess", answers.__getitem__)
    monkeypatch.setattr(ls, "listed_units", lambda: ["a", "b"])
    assert ls.main(["check"]) == 1
    assert capsys.readouterr().out == "a: restart needed\n  x changed\nb: not running\n"
    assert ls.main(["check", "b"]) == 0
