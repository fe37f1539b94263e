"""The format of a segment: frames one after another, each with its own checksum.

A frame is the rows of one request, so a request is in the spool as a whole or not at all:

    magic     4 bytes  b"OEV1"
    length    u32      bytes of the payload
    checksum  u32      CRC-32 of everything behind it
    rows      u32      lines in the payload
    received  u64      when the request was accepted, epoch milliseconds
    payload            NDJSON, each line ended by a line break

All numbers are little-endian. What kill -9 or a power loss leaves of a frame fails its checksum. Damage in the middle of
a segment does not hide the frames behind it: the reader goes on at the next magic whose checksum holds.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"OEV1"
_HEADER = struct.Struct("<4sIIIQ")
_TAIL = struct.Struct("<IQ")
HEADER_BYTES = _HEADER.size
#: No frame is longer: guards against a damaged length. A request is 1 MiB by default, and rows add some 200 bytes each.
MAX_PAYLOAD = 8 * 1024 * 1024


class Frame(NamedTuple):
    """A frame that was read. Offsets are those of the buffer it was found in."""

    start: int
    end: int
    rows: int
    received_ms: int
    payload: memoryview


def pack(payload: bytes, rows: int, received_ms: int) -> bytes:
    """The frame's header; the payload follows it."""
    checksum = zlib.crc32(payload, zlib.crc32(_TAIL.pack(rows, received_ms)))
    return _HEADER.pack(MAGIC, len(payload), checksum, rows, received_ms)


def read(buffer: memoryview, offset: int) -> Frame | None:
    """The frame at an offset; None where no whole, undamaged one is."""
    if len(buffer) - offset < HEADER_BYTES:
        return None
    magic, length, checksum, rows, received_ms = _HEADER.unpack_from(buffer, offset)
    start = offset + HEADER_BYTES
    if magic != MAGIC or length > MAX_PAYLOAD or start + length > len(buffer):
        return None
    payload = buffer[start : start + length]
    if zlib.crc32(payload, zlib.crc32(_TAIL.pack(rows, received_ms))) != checksum:
        return None
    return Frame(offset, start + length, rows, received_ms, payload)


def scan(data: bytes) -> Iterator[Frame]:
    """Every undamaged frame of a segment, in order."""
    buffer = memoryview(data)
    offset = 0
    while offset >= 0:
        frame = read(buffer, offset)
        if frame is None:
            offset = data.find(MAGIC, offset + 1)
        else:
            yield frame
            offset = frame.end
