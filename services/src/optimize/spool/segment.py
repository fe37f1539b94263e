"""The parts of a spool: its configuration, segments, and places in them."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta
from prometheus_client import Counter

from optimize.common.config import Positive, Seconds, Section
from optimize.common.logs import fields
from optimize.spool import frame

log = logging.getLogger(__name__)

DAMAGED = Counter("optimize_spool_damaged_bytes_total", "Bytes of segments that are no whole frame")


class SpoolConfig(Section, frozen=True, kw_only=True):
    """Where and how much.

    Args:
        directory: of this service alone.
        max_bytes: of all segments.
        min_free_bytes: left free on the file system; below it nothing is taken.
        segment_bytes, segment_seconds: when a new segment is begun.
        keep_seconds: how long a segment is kept for replays after all cursors have done with it.
        pending_bytes: appends waiting for their fsync; above it they are refused: bounds the memory.
    """

    directory: Annotated[str, Meta(min_length=1)]
    max_bytes: Positive = 8_589_934_592
    min_free_bytes: Annotated[int, Meta(ge=0)] = 268_435_456
    segment_bytes: Positive = 33_554_432
    segment_seconds: Seconds = 300.0
    keep_seconds: Annotated[float, Meta(ge=0)] = 86_400.0
    pending_bytes: Positive = 67_108_864


class Position(NamedTuple):
    """A place between two frames: segment, offset of the byte, rows of the segment before it."""

    segment: int
    offset: int
    rows: int


class Chunk(NamedTuple):
    """Consecutive whole frames of one segment."""

    start: Position
    end: Position
    data: bytes

    @property
    def rows(self) -> int:
        return self.end.rows - self.start.rows


class Segment:
    """A segment as it is known: what is durable of it."""

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number = path, number
        self.size = 0
        self.rows = 0
        self.closed = False
        self.opened = time.monotonic()


class CursorLike:
    """What the spool knows of a cursor."""

    name: str
    hard: bool

    @property
    def done(self) -> Position:
        """Everything before it has been done with."""
        raise NotImplementedError

    def skip_to(self, position: Position) -> None:
        """Go on there."""
        raise NotImplementedError


def recover(path: Path) -> Segment:
    """A segment that another process has left: its torn tail, which was never acknowledged, is cut off."""
    segment = Segment(path, int(path.stem))
    data = path.read_bytes()
    good = 0
    for found in frame.scan(data):
        segment.size = found.end
        segment.rows += found.rows
        good += found.end - found.start
    if good < len(data):
        DAMAGED.inc(len(data) - good)
        log.warning("spool segment repaired", extra=fields(segment=path.name, bytes=len(data), damaged=len(data) - good))
    if segment.size < len(data):
        times = path.stat()
        os.truncate(path, segment.size)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    segment.closed = True
    return segment


def done_since(segment: Segment) -> float:
    """When a segment was found done with: its file's time of modification, which outlives the process.

    The mark that it was found so is that nobody may write it any more.
    """
    with contextlib.suppress(OSError):
        if segment.path.stat().st_mode & 0o200:
            segment.path.chmod(0o440)
            os.utime(segment.path)
        return segment.path.stat().st_mtime
    return 0.0


def pread(path: Path, offset: int, count: int) -> bytes:
    """Bytes of a file from an offset."""
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), count, offset)


def sync_directory(path: Path) -> None:
    """Make a directory's entries durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
