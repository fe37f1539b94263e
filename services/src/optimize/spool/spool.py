"""The spool: segments in a directory, appended to by one process.

Appending is a group commit: all requests that wait while a write and its fsync run are written together by the next one.
Reading is by position; what a cursor (`optimize.spool.cursor`) has done with is kept for a while, for replays.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from optimize.common.logs import fields
from optimize.common.tasks import background, cancel
from optimize.spool import frame
from optimize.spool.segment import Chunk, CursorLike, Position, Segment, SpoolConfig, done_since, pread, recover, sync_directory

log = logging.getLogger(__name__)

BYTES = Gauge("optimize_spool_bytes", "Bytes of all segments")
BACKLOG = Gauge("optimize_spool_backlog_rows", "Rows that a cursor has not done with", ["cursor"])
FSYNC = Histogram(
    "optimize_spool_commit_seconds",
    "One write with its fsync",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
COMMITS = Counter("optimize_spool_commits_total", "Writes with their fsync")
SKIPPED = Counter("optimize_spool_skipped_rows_total", "Rows that a soft cursor gave up because the spool was full", ["cursor"])
REFUSED = Counter("optimize_spool_refused_total", "Appends refused for want of room")


#: The room that makes a spool ready: a request's.
READY_BYTES = 2 * 1024 * 1024


class SpoolFull(Exception):
    """No room, or the disk fails: nothing was stored."""


class Spool:
    """Opens (and repairs) the directory; `start` begins its housekeeping.

    Raises:
        OSError: the directory can't be used; BlockingIOError where another process has it.
    """

    def __init__(self, config: SpoolConfig) -> None:
        self.config = config
        self.directory = Path(config.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise BlockingIOError(error.errno, f"{self.directory} is in use by another process") from error
        self.segments: dict[int, Segment] = {}
        self.cursors: list[CursorLike] = []
        self.bytes = 0
        self._pending: deque[tuple[bytes, bytes, int, asyncio.Future[None]]] = deque()
        self._pending_bytes = 0
        self._writing = False
        self._fd = -1
        self._active: Segment | None = None
        self._thread = ThreadPoolExecutor(1, "spool")
        self._grown = asyncio.Event()
        self._housekeeping: asyncio.Task[None] | None = None
        self._free_enough = True
        self._failure = ""
        for path in sorted(self.directory.glob("*.seg")):
            self._recover(path)
        self._next = max(self.segments, default=0) + 1
        self._look_at_disk()

    def _recover(self, path: Path) -> None:
        segment = recover(path)
        if segment.size:
            self.segments[segment.number] = segment
            self.bytes += segment.size
        else:
            path.unlink()

    def reserve(self, number: int) -> None:
        """Segments to come have higher numbers: what a cursor has passed is never begun again, even if its files are gone."""
        self._next = max(self._next, number + 1)

    async def start(self) -> None:
        self._housekeeping = background(self._keep_house(), "spool housekeeping")

    async def stop(self) -> None:
        """Wait until all that was appended is durable, and let go of the directory."""
        if self._housekeeping:
            await cancel([self._housekeeping])
        while self._writing:
            await asyncio.sleep(0.005)
        self._thread.shutdown()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        os.close(self._lock)

    # -- appending

    async def append(self, payload: bytes, rows: int, received_ms: int) -> None:
        """Return when the rows are on the disk.

        Raises:
            SpoolFull: they are not, and won't be sent.
        """
        try:
            self.check_room(len(payload) + frame.HEADER_BYTES)
            if self._pending_bytes + len(payload) > self.config.pending_bytes:
                raise SpoolFull("too many events wait for the disk")
        except SpoolFull:
            REFUSED.inc()
            raise
        done = asyncio.get_running_loop().create_future()
        self._pending.append((frame.pack(payload, rows, received_ms), payload, rows, done))
        self._pending_bytes += len(payload)
        if not self._writing:
            self._writing = True
            self._task = asyncio.create_task(self._write_all())
        await done

    @property
    def appending(self) -> bool:
        """Whether something waits for its fsync."""
        return self._writing

    def check_room(self, wanted: int = 0) -> None:
        """Make room where that is allowed.

        Raises:
            SpoolFull: there is none.
        """
        if self._failure:
            raise SpoolFull(self._failure)
        if not self._free_enough:
            self._delete_done(everything=True)
            self._look_at_disk()
        while self.bytes + self._pending_bytes + wanted > self.config.max_bytes:
            if not self._delete_done(oldest=True) and not self._skip_soft():
                break
        if self.bytes + self._pending_bytes + wanted > self.config.max_bytes or not self._free_enough:
            raise SpoolFull("the spool is full" if self._free_enough else "the disk is full")

    def check_ready(self) -> None:
        """Whether a request, be it the largest, would be taken.

        Raises:
            SpoolFull: not surely.
        """
        self.check_room(min(READY_BYTES, self.config.max_bytes // 10))

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            batch = list(self._pending)
            self._pending.clear()
            try:
                await loop.run_in_executor(
                    self._thread, self._commit, [part for item in batch for part in item[:2]], sum(item[2] for item in batch)
                )
                error: SpoolFull | None = None
                self.bytes += sum(len(part) for item in batch for part in item[:2])
            except Exception as failed:
                log.error("spool can't be written", extra=fields(problem=str(failed)))
                self._failure = f"the spool can't be written: {failed}"
                error = SpoolFull(self._failure)
            self._pending_bytes -= sum(len(item[1]) for item in batch)
            for *_, done in batch:
                if done.done():
                    continue
                if error:
                    done.set_exception(error)
                else:
                    done.set_result(None)
            self._grown.set()
        self._writing = False

    def _commit(self, parts: list[bytes], rows: int) -> None:
        """In the writer's thread: write, fsync, and only then let readers see it."""
        started = time.perf_counter()
        if self._active is None or self._active.closed or self._active.size >= self.config.segment_bytes:
            self._begin_segment()
        segment = self._active
        assert segment is not None
        data = b"".join(parts)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
        except OSError:
            # After a failed fsync the kernel may have dropped the pages: nothing more goes into this file.
            segment.closed = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, segment.size)
            raise
        segment.size += len(data)
        segment.rows += rows
        COMMITS.inc()
        FSYNC.observe(time.perf_counter() - started)

    def _begin_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._active is not None:
            self._active.closed = True
        path = self.directory / f"{self._next:012d}.seg"
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o640)
        sync_directory(self.directory)
        self._active = Segment(path, self._next)
        self.segments[self._next] = self._active
        self._next += 1

    # -- reading

    @property
    def first(self) -> Position:
        """Where the oldest segment begins."""
        return Position(min(self.segments, default=self._next), 0, 0)

    @property
    def end(self) -> Position:
        """Behind the last durable frame."""
        if not self.segments:
            return Position(self._next, 0, 0)
        last = self.segments[max(self.segments)]
        return Position(last.number, last.size, last.rows)

    def rows_behind(self, position: Position) -> int:
        """Rows from a position to the end."""
        return sum(s.rows for n, s in list(self.segments.items()) if n >= position.segment) - (
            position.rows if position.segment in self.segments else 0
        )

    def settle(self, position: Position) -> Position:
        """The same place, but never at the end of a segment that others follow, and never in one that is gone."""
        while True:
            segment = self.segments.get(position.segment)
            if segment is not None and (position.offset < segment.size or not segment.closed):
                return position
            later = [number for number in list(self.segments) if number > position.segment]
            if not later:
                return position
            position = Position(min(later), 0, 0)

    def read(self, position: Position, max_rows: int, max_bytes: int) -> Chunk | None:
        """Whole frames from a position, at least one where there is one. Blocks on the disk."""
        while True:
            position = self.settle(position)
            segment = self.segments.get(position.segment)
            if segment is None or position.offset >= segment.size:
                return None
            size = segment.size
            data = pread(segment.path, position.offset, min(size - position.offset, max_bytes + frame.HEADER_BYTES + frame.MAX_PAYLOAD))
            whole = position.offset + len(data) >= size
            view = memoryview(data)
            parts: list[memoryview] = []
            rows = taken = offset = 0
            while offset < len(data) and rows < max_rows and taken < max_bytes:
                found = frame.read(view, offset)
                if found is None:
                    if offset and not whole:
                        # Perhaps only cut off by the window, which the next one begins with.
                        break
                    log.error("damaged frame passed over", extra=fields(segment=segment.path.name, offset=position.offset + offset))
                    following = data.find(frame.MAGIC, offset + 1)
                    offset = following if following > 0 else len(data)
                    continue
                if parts and (rows + found.rows > max_rows or taken + len(found.payload) > max_bytes):
                    break
                parts.append(found.payload)
                rows, taken, offset = rows + found.rows, taken + len(found.payload), found.end
            end = Position(segment.number, position.offset + offset, position.rows + rows)
            if parts:
                return Chunk(position, end, b"".join(parts))
            position = end

    def read_range(self, start: Position, end: Position) -> Chunk | None:
        """The frames of a chunk that was read before: the same bytes. None where the segment is gone."""
        segment = self.segments.get(start.segment)
        if segment is None or end.offset > segment.size:
            return None
        data = pread(segment.path, start.offset, end.offset - start.offset)
        return Chunk(start, end, b"".join(found.payload for found in frame.scan(data)))

    def has_more(self, position: Position) -> bool:
        """Whether there is something behind a position."""
        position = self.settle(position)
        segment = self.segments.get(position.segment)
        return segment is not None and position.offset < segment.size

    async def wait(self, position: Position, timeout: float) -> bool:
        """Wait until there is something behind a position."""
        deadline = time.monotonic() + timeout
        while not self.has_more(position):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._grown.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._grown.wait(), left)
        return True

    # -- housekeeping

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            active = self._active
            if active is not None and active.size and not self._writing and time.monotonic() - active.opened > self.config.segment_seconds:
                active.closed = True
            self._look_at_disk()
            self._failure = ""
            self._delete_done()
            BYTES.set(self.bytes)
            for cursor in self.cursors:
                BACKLOG.labels(cursor.name).set(self.rows_behind(cursor.done))

    def _look_at_disk(self) -> None:
        disk = os.statvfs(self.directory)
        self._free_enough = disk.f_bavail * disk.f_frsize >= self.config.min_free_bytes

    def _done_segments(self) -> list[Segment]:
        if not self.cursors:
            return []
        behind = min(self.settle(cursor.done) for cursor in self.cursors)
        return [s for n, s in sorted(self.segments.items()) if s.closed and (n, s.size) <= behind[:2]]

    def _delete_done(self, oldest: bool = False, everything: bool = False) -> bool:
        """Delete segments that all cursors have done with: those older than `keep_seconds`, the oldest, or all."""
        deleted = False
        for segment in self._done_segments():
            if not (oldest or everything) and time.time() - done_since(segment) < self.config.keep_seconds:
                break
            segment.path.unlink(missing_ok=True)
            del self.segments[segment.number]
            self.bytes -= segment.size
            deleted = True
            if oldest:
                break
        return deleted

    def _skip_soft(self) -> bool:
        """Full: what only soft cursors wait for is given up, oldest segment first."""
        hard = min((self.settle(c.done).segment for c in self.cursors if c.hard), default=0)
        for cursor in self.cursors:
            at = self.settle(cursor.done)
            segment = self.segments.get(at.segment)
            if not cursor.hard and segment is not None and segment.closed and at.segment < hard:
                skipped = segment.rows - at.rows
                cursor.skip_to(Position(at.segment, segment.size, segment.rows))
                SKIPPED.labels(cursor.name).inc(skipped)
                log.error("spool is full: rows given up", extra=fields(cursor=cursor.name, rows=skipped))
                return True
        return False
