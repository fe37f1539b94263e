"""A reader's place in the spool, and the batches it has begun.

A batch is a range of the spool. The range is on disk before its first attempt, so after kill -9 the very same bytes are
sent again: what ClickHouse's block deduplication needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import msgspec

from optimize.common.logs import fields
from optimize.spool.segment import Chunk, CursorLike, Position, sync_directory
from optimize.spool.spool import Spool

log = logging.getLogger(__name__)


class _State(msgspec.Struct):
    next: Position
    begun: list[tuple[Position, Position]]


class Cursor(CursorLike):
    """A named place, kept in `<directory>/<name>.cursor`.

    Args:
        hard: the spool never gives up rows that this cursor has not done with.
    """

    def __init__(self, spool: Spool, name: str, hard: bool) -> None:
        self.name, self.hard, self._spool = name, hard, spool
        self._path = spool.directory / f"{name}.cursor"
        self._lock = asyncio.Lock()
        self._saved = b""
        state = self._load()
        self.next, self.begun = state.next, state.begun
        spool.reserve(self.next.segment)
        spool.cursors.append(self)

    def _load(self) -> _State:
        beginning = _State(Position(min(self._spool.segments, default=0), 0, 0), [])
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=_State)
        except FileNotFoundError:
            return beginning
        except msgspec.DecodeError as error:
            # Sending again is harmless, leaving out is not.
            log.error("cursor can't be read: from the beginning", extra=fields(cursor=self.name, problem=str(error)))
            return beginning
        segment = self._spool.segments.get(state.next.segment)
        if segment is not None and state.next.offset > segment.size:
            state.next = Position(segment.number, segment.size, segment.rows)
        state.begun = [(start, end) for start, end in state.begun if start.segment in self._spool.segments]
        return state

    @property
    def done(self) -> Position:
        """Everything before it has been done with."""
        return min([start for start, _ in self.begun], default=self.next)

    async def begin(self, chunk: Chunk) -> None:
        """Record a chunk as begun."""
        self.begun.append((chunk.start, chunk.end))
        self.next = max(self.next, chunk.end)
        await self.save()

    def finish(self, start: Position) -> None:
        """A chunk that was begun is done. It is on disk with the next `begin` or `save`: being done twice is harmless."""
        self.begun = [item for item in self.begun if item[0] != start]

    def skip_to(self, position: Position) -> None:
        self.begun = [item for item in self.begun if item[0] >= position]
        self.next = max(self.next, position)

    async def save(self) -> None:
        """Make the state durable."""
        async with self._lock:
            text = msgspec.json.encode(_State(self.next, self.begun))
            if text != self._saved:
                await asyncio.to_thread(write_durably, self._path, text)
                self._saved = text


def write_durably(path: Path, text: bytes, mode: int = 0o640) -> None:
    """Replace a file: after a crash it is the old one or the new one, whole."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    try:
        with contextlib.closing(os.fdopen(fd, "wb")) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
