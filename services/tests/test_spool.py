"""The spool: what was acknowledged is there, whatever happened; the same bytes come out each time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimize.spool import frame
from optimize.spool.cursor import Cursor
from optimize.spool.segment import Position, SpoolConfig
from optimize.spool.spool import Spool, SpoolFull

payloads = st.lists(
    st.lists(st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\n", b"_")), min_size=1, max_size=4), min_size=1, max_size=8
)


def packed(rows: list[bytes]) -> tuple[bytes, bytes]:
    payload = b"".join(row + b"\n" for row in rows)
    return frame.pack(payload, len(rows), 1), payload


def open_spool(directory: Path, **config) -> Spool:
    return Spool(SpoolConfig(directory=str(directory), min_free_bytes=0, **config))


def everything(spool: Spool, position: Position | None = None, rows: int = 1000, size: int = 1 << 20) -> bytes:
    data, at = b"", position or spool.first
    while chunk := spool.read(at, rows, size):
        data, at = data + chunk.data, chunk.end
    return data


@settings(max_examples=80, deadline=None)
@given(payloads, st.data())
def test_a_torn_tail_loses_only_what_was_never_acknowledged(tmp_path_factory, requests, data):
    directory = tmp_path_factory.mktemp("spool")
    parts = [packed(rows) for rows in requests]
    whole = b"".join(header + payload for header, payload in parts)
    cut = data.draw(st.integers(0, len(whole)))
    (directory / "000000000001.seg").write_bytes(whole[:cut])
    spool = open_spool(directory)
    ends = list(accumulate(len(header) + len(payload) for header, payload in parts))
    assert everything(spool) == b"".join(payload for (_, payload), end in zip(parts, ends, strict=True) if end <= cut)
    asyncio.run(spool.stop())


@settings(max_examples=80, deadline=None)
@given(payloads, st.data())
def test_damage_hides_no_other_frame(tmp_path_factory, requests, data):
    directory = tmp_path_factory.mktemp("spool")
    parts = [packed(rows) for rows in requests]
    whole = bytearray(b"".join(header + payload for header, payload in parts))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    ends = list(accumulate(len(header) + len(payload) for header, payload in parts))
    hit = next(index for index, end in enumerate(ends) if at < end)
    (directory / "000000000001.seg").write_bytes(whole)
    spool = open_spool(directory)
    assert everything(spool) == b"".join(payload for index, (_, payload) in enumerate(parts) if index != hit)
    asyncio.run(spool.stop())


@settings(max_examples=40, deadline=None)
@given(payloads, st.integers(1, 10), st.integers(1, 200))
def test_chunks_are_whole_requests_and_leave_nothing_out(tmp_path_factory, requests, max_rows, max_bytes):
    async def run():
        spool = open_spool(tmp_path_factory.mktemp("spool"), segment_bytes=150)
        for rows in requests:
            payload = packed(rows)[1]
            await spool.append(payload, len(rows), 1)
        assert everything(spool, rows=max_rows, size=max_bytes) == b"".join(packed(rows)[1] for rows in requests)
        chunk = spool.read(spool.first, max_rows, max_bytes)
        assert spool.read_range(chunk.start, chunk.end).data == chunk.data
        assert chunk.rows == chunk.data.count(b"\n")
        await spool.stop()

    asyncio.run(run())


def test_one_fsync_serves_all_who_wait(tmp_path, monkeypatch):
    synced = []
    real = os.fdatasync

    def slow(fd):
        time.sleep(0.02)
        synced.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", slow)

    async def run():
        spool = open_spool(tmp_path)
        await asyncio.gather(*(spool.append(b"row\n", 1, 1) for _ in range(100)))
        assert spool.end.rows == 100
        await spool.stop()

    asyncio.run(run())
    assert len(synced) <= 3


def test_nothing_is_acknowledged_that_could_not_be_synced(tmp_path, monkeypatch):
    async def run():
        spool = open_spool(tmp_path)
        await spool.append(b"one\n", 1, 1)
        with monkeypatch.context() as broken:
            broken.setattr(os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(5, "Input/output error")))
            with pytest.raises(SpoolFull):
                await spool.append(b"two\n", 1, 1)
        with pytest.raises(SpoolFull, match="can't be written"):
            spool.check_room()
        spool._failure = ""
        await spool.append(b"three\n", 1, 1)
        assert everything(spool) == b"one\nthree\n"
        await spool.stop()

    asyncio.run(run())


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path):
    async def run():
        spool = open_spool(tmp_path, max_bytes=1000, segment_bytes=200)
        Cursor(spool, "clickhouse", hard=True)
        stored = 0
        with pytest.raises(SpoolFull, match="full"):
            for _ in range(100):
                await spool.append(b"x" * 50 + b"\n", 1, 1)
                stored += 1
        assert everything(spool).count(b"\n") == stored > 5
        await spool.stop()

    asyncio.run(run())


def test_full_of_what_is_done_makes_room_and_soft_cursors_give_way(tmp_path):
    async def run():
        spool = open_spool(tmp_path, max_bytes=1000, segment_bytes=100, keep_seconds=1000)
        hard, soft = Cursor(spool, "clickhouse", hard=True), Cursor(spool, "kafka", hard=False)
        for number in range(60):
            await spool.append(b"%03d" % number + b"x" * 40 + b"\n", 1, 1)
            chunk = spool.read(hard.next, 100, 10_000)
            await hard.begin(chunk)
            hard.finish(chunk.start)
        assert spool.bytes <= 1000
        assert soft.done.segment > 10
        left = everything(spool, soft.next)
        assert left.endswith(b"059" + b"x" * 40 + b"\n")
        await spool.stop()

    asyncio.run(run())


def test_segments_are_deleted_when_done_and_old_enough_and_numbers_never_come_again(tmp_path):
    async def run(keep: float) -> None:
        spool = open_spool(tmp_path, segment_bytes=10, keep_seconds=keep)
        cursor = Cursor(spool, "clickhouse", hard=True)
        await spool.append(b"a long enough row\n", 1, 1)
        await spool.append(b"another row\n", 1, 1)
        chunk = spool.read(cursor.next, 1, 1)
        spool._delete_done()
        assert len(spool.segments) == 2
        for _ in range(2):
            chunk = spool.read(cursor.next, 1, 1)
            await cursor.begin(chunk)
            cursor.finish(chunk.start)
        await cursor.save()
        spool.segments[max(spool.segments)].closed = True
        spool._delete_done()
        assert len(spool.segments) == (0 if keep == 0 else 2)
        highest = cursor.next.segment
        await spool.stop()
        # A new process over an emptied directory: what it takes is read.
        spool = open_spool(tmp_path)
        cursor = Cursor(spool, "clickhouse", hard=True)
        await spool.append(b"new\n", 1, 1)
        assert max(spool.segments) > highest
        assert everything(spool, cursor.next) == b"new\n"
        await spool.stop()

    asyncio.run(run(0))


def test_a_batch_that_was_begun_has_the_same_bytes_after_a_restart(tmp_path):
    async def first() -> bytes:
        spool = open_spool(tmp_path)
        cursor = Cursor(spool, "clickhouse", hard=True)
        for number in range(10):
            await spool.append(b"row %d\n" % number, 1, 1)
        chunk = spool.read(cursor.next, 3, 1000)
        await cursor.begin(chunk)
        other = spool.read(cursor.next, 3, 1000)
        await cursor.begin(other)
        cursor.finish(other.start)
        await spool.append(b"row 10\n", 1, 1)
        # As kill -9 leaves it: nothing saved, nothing closed.
        os.close(spool._lock)
        return chunk.data

    async def second(expected: bytes) -> None:
        spool = open_spool(tmp_path)
        cursor = Cursor(spool, "clickhouse", hard=True)
        assert cursor.done == Position(1, 0, 0)
        chunks = [spool.read_range(start, end).data for start, end in cursor.begun]
        assert expected in chunks
        rest = everything(spool, cursor.next)
        assert b"".join(chunks) + rest == b"".join(b"row %d\n" % number for number in range(11))
        await spool.stop()

    asyncio.run(second(asyncio.run(first())))


def test_a_cursor_that_can_t_be_read_begins_anew(tmp_path):
    async def run():
        (tmp_path / "clickhouse.cursor").write_text("{oops")
        spool = open_spool(tmp_path)
        await spool.append(b"row\n", 1, 1)
        assert everything(spool, Cursor(spool, "clickhouse", hard=True).next) == b"row\n"
        await spool.stop()

    asyncio.run(run())


def test_a_directory_has_one_process(tmp_path):
    spool = open_spool(tmp_path)
    with pytest.raises(BlockingIOError, match="in use"):
        open_spool(tmp_path)
    asyncio.run(spool.stop())


APPENDER = """
import asyncio, sys
from optimize.spool.spool import Spool, SpoolConfig
async def worker(spool, name):
    number = 0
    while True:
        await spool.append(b"%d-%d " % (name, number) + b"x" * 300 + b"\\n", 1, 1)
        sys.stdout.write(f"{name}-{number}\\n"); sys.stdout.flush()
        number += 1
async def main():
    spool = Spool(SpoolConfig(directory=sys.argv[1], min_free_bytes=0, segment_bytes=20_000))
    await asyncio.gather(*(worker(spool, name) for name in range(8)))
asyncio.run(main())
"""


@pytest.mark.parametrize("seconds", [0.3, 0.41, 0.57])
def test_kill_9_during_appends_loses_nothing_acknowledged(tmp_path, seconds):
    out = tmp_path / "acknowledged"
    with out.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path / "spool")], stdout=file)
        deadline = time.monotonic() + 15
        while not out.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    acknowledged = set(out.read_text().split("\n")[:-1])
    # What a power loss could have left of a write that nobody was told of.
    last = max((tmp_path / "spool").glob("*.seg"))
    with last.open("ab") as file:
        file.write(frame.pack(b"never whole\n", 1, 1) + b"never")
    spool = open_spool(tmp_path / "spool")
    found = {line.split()[0].decode() for line in everything(spool).splitlines()}
    assert len(acknowledged) > 20
    assert acknowledged <= found
    assert len(found - acknowledged) <= 8
    asyncio.run(spool.stop())
