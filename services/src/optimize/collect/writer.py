"""From the spool into ClickHouse: batches whose bounds are on disk before they are sent."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

import msgspec
from prometheus_client import Counter, Gauge

from optimize.clickhouse.insert import Bad, Inserter
from optimize.common.logs import fields
from optimize.common.tasks import background, cancel
from optimize.spool.cursor import Cursor
from optimize.spool.segment import Chunk
from optimize.spool.spool import Spool

log = logging.getLogger(__name__)

DEAD = Counter("optimize_dead_letters_total", "Rows that the store refused, and that are in the dead letters")
BATCHES = Gauge("optimize_batches_in_flight", "Batches on their way to ClickHouse")

#: Seconds between two looks for more rows while a batch lingers.
TICK = 0.05


class DeadLetters:
    """Refused rows, as one file of NDJSON a day: `{"time", "reason", "row"}`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def add(self, bad: list[Bad]) -> None:
        """Durable when it returns."""
        stamp = time.gmtime()
        lines = [{"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", stamp), "reason": item.reason, "row": item.row.decode()} for item in bad]
        path = self.directory / time.strftime("%Y-%m-%d.ndjson", stamp)
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o640)
        with os.fdopen(fd, "wb") as file:
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        DEAD.inc(len(bad))


class Writer:
    """Follows the spool with a cursor and an inserter."""

    def __init__(self, spool: Spool, cursor: Cursor, inserter: Inserter, dead: DeadLetters) -> None:
        self._spool, self._cursor, self._inserter, self._dead = spool, cursor, inserter, dead
        self._config = inserter.config
        self._slots = asyncio.Semaphore(self._config.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = background(self._run(), "clickhouse writer")

    async def stop(self, seconds: float) -> None:
        """Send what is there, as far as it goes in the time; the rest is in the spool."""
        self._stopping = True
        assert self._running is not None
        until = time.monotonic() + seconds
        # What fails is not waited for: the rest is sent after the next start, with the same bytes.
        while not self._running.done() and not self._inserter.problem and time.monotonic() < until:
            await asyncio.wait([self._running], timeout=TICK)
        await cancel([self._running])
        await cancel(self._tasks)
        await self._cursor.save()

    async def _run(self) -> None:
        for start, end in list(self._cursor.begun):
            chunk = await asyncio.to_thread(self._spool.read_range, start, end)
            if chunk is None or not chunk.data:
                log.error("a batch that was begun is gone", extra=fields(segment=start.segment, rows=end.rows - start.rows))
                self._cursor.finish(start)
                continue
            await self._slots.acquire()
            self._begin(chunk)
        while not (self._stopping and not self._spool.has_more(self._cursor.next)):
            if not await self._spool.wait(self._cursor.next, 0.5):
                await self._cursor.save()
                continue
            await self._linger()
            await self._slots.acquire()
            end = self._spool.end
            chunk = await asyncio.to_thread(self._spool.read, self._cursor.next, self._config.max_rows, self._config.max_bytes)
            if chunk is None:
                # Only damaged frames were left.
                self._cursor.skip_to(end)
                self._slots.release()
                continue
            await self._cursor.begin(chunk)
            self._begin(chunk)
        await asyncio.gather(*self._tasks)

    async def _linger(self) -> None:
        until = time.monotonic() + self._config.linger_seconds
        while not self._stopping and time.monotonic() < until and self._spool.rows_behind(self._cursor.next) < self._config.max_rows:
            await asyncio.sleep(TICK)

    def _begin(self, chunk: Chunk) -> None:
        task = background(self._send(chunk), "clickhouse batch")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        BATCHES.inc()

    async def _send(self, chunk: Chunk) -> None:
        try:
            rows = chunk.data.split(b"\n")
            rows.pop()
            bad = await self._inserter.insert_rows(rows)
            if bad:
                await asyncio.to_thread(self._dead.add, bad)
            self._cursor.finish(chunk.start)
        finally:
            BATCHES.dec()
            self._slots.release()
