"""What an event is, and how the bytes of a request become rows.

The rows are made once, when the request is accepted: whatever is derived (id, times) is fixed in them, so every later
resend, retry and replay has the same bytes.
"""

from __future__ import annotations

import decimal
import time
import uuid
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from optimize.common.app import Problem

#: Problems named in one answer; the first of a request that is wrong throughout.
MAX_PROBLEMS = 100
#: `value` is Decimal(18, 4) in ClickHouse: 14 digits before the point.
MAX_VALUE = Decimal(10) ** 14
QUANTUM = Decimal("0.0001")
MAX_ATTR_BYTES = 256

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Text64 = Annotated[str, Meta(max_length=64)]
Url = Annotated[str, Meta(max_length=2048)]
TypeName = Annotated[str, Meta(pattern=r"\A[a-z0-9_.-]{1,64}\Z")]
Attrs = Annotated[dict[Annotated[str, Meta(min_length=1)], str], Meta(max_length=32)]
Rfc3339 = Annotated[datetime, Meta(tz=True)]


class Event(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An event as visitors send it. Lengths in characters, those of `attrs` in bytes of UTF-8."""

    site: Id
    visitor: Id
    type: TypeName
    event_id: uuid.UUID | None = None
    session: Text64 | None = None
    url: Url | None = None
    experiment: Text64 | None = None
    variation: Text64 | None = None
    value: Decimal | None = None
    ts: int | str | None = None
    attrs: Attrs | None = None


class Row(msgspec.Struct, gc=False):
    """A row of optimize.events_write, in the order of its columns; also the message in Kafka."""

    event_id: str
    site: str
    visitor: str
    session: str
    type: str
    url: str
    experiment: str
    variation: str
    value: Decimal | None
    ts: int
    attr_keys: list[str]
    attr_values: list[str]
    region: str
    pipeline: str
    received_at: int


class RowKey(msgspec.Struct, gc=False):
    """What is read of a stored row to publish it."""

    visitor: str


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one request.

    Args:
        max_events: events in a request.
        max_bytes: bytes of its body.
        max_ahead_seconds, max_behind_seconds: how far `ts` may be from the server's time.
    """

    max_events: Annotated[int, Meta(ge=1)] = 500
    max_bytes: Annotated[int, Meta(ge=1024)] = 1_048_576
    max_ahead_seconds: Annotated[int, Meta(ge=0)] = 86_400
    max_behind_seconds: Annotated[int, Meta(ge=0)] = 2_592_000


class Rejected(Exception):
    """The request is refused as a whole; nothing of it is stored."""

    def __init__(self, status: int, problems: list[Problem]) -> None:
        super().__init__(problems[0].problem if problems else str(status))
        self.status, self.problems = status, problems[:MAX_PROBLEMS]


class Accepted(msgspec.Struct):
    """The rows of one accepted request. `payload` is NDJSON: one line per row, each ended by a line break."""

    rows: list[Row]
    payload: bytes
    received_ms: int

    @property
    def ids(self) -> list[str]:
        return [row.event_id for row in self.rows]


_encoder = msgspec.json.Encoder(decimal_format="number")
_one = msgspec.json.Decoder(Event)
_many = msgspec.json.Decoder(list[Event])
_raw = msgspec.json.Decoder()
_fields = msgspec.structs.fields(Event)
_context = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)


def too_large(limits: Limits) -> Rejected:
    return Rejected(413, [Problem(0, "body", f"too large: at most {limits.max_events} events and {limits.max_bytes} bytes in a request")])


class Acceptor:
    """Turns requests into rows.

    Args:
        region, pipeline: go into every row.
        limits: see `Limits`.
    """

    def __init__(self, region: str, pipeline: str, limits: Limits) -> None:
        self.region, self.pipeline, self.limits = region, pipeline, limits

    def body(self, body: bytes | bytearray, now_ms: int | None = None) -> Accepted:
        """The rows of a JSON object, a JSON array or newline-delimited JSON.

        Raises:
            Rejected: 400 with every event's problems, or 413.
        """
        if len(body) > self.limits.max_bytes:
            raise too_large(self.limits)
        try:
            events = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._explain(body) from None
        return self._accept(events, now_ms)

    def query(self, parameters: Iterable[tuple[str, str]], now_ms: int | None = None) -> Accepted:
        """The row of a pixel's parameters: fields by their names, attributes as `attrs.<key>`.

        Raises:
            Rejected: 400.
        """
        raw: dict[str, Any] = {}
        attrs: dict[str, str] = {}
        for name, text in parameters:
            target, key = (attrs, name[6:]) if name.startswith("attrs.") else (raw, name)
            if key in target or name == "attrs":
                raise Rejected(400, [Problem(0, name, "given more than once" if key in target else "write attrs.<key>=<text>")])
            target[key] = text
        if attrs:
            raw["attrs"] = attrs
        try:
            event = msgspec.convert(raw, Event)
        except msgspec.ValidationError:
            raise Rejected(400, _event_problems(0, raw)) from None
        return self._accept([event], now_ms)

    def _decode(self, body: bytes | bytearray) -> list[Event]:
        if body.lstrip()[:1] == b"[":
            return self._counted(_many.decode(body))
        try:
            return [_one.decode(body)]
        except msgspec.DecodeError as error:
            if isinstance(error, msgspec.ValidationError) or b"\n" not in body.strip():
                raise
        return self._counted(_one.decode_lines(body))

    def _counted(self, events: list[Any]) -> list[Any]:
        if len(events) > self.limits.max_events:
            raise too_large(self.limits)
        if not events:
            raise Rejected(400, [Problem(0, "body", "no event in it")])
        return events

    def _accept(self, events: list[Event], now_ms: int | None) -> Accepted:
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        rows: list[Row] = []
        problems: list[Problem] = []
        for index, event in enumerate(events):
            try:
                rows.append(self._row(event, now))
            except _FieldProblem as found:
                problems.append(Problem(index, found.field, found.problem))
        if problems:
            raise Rejected(400, problems)
        try:
            payload = _encoder.encode_lines(rows)
        except UnicodeEncodeError:
            raise Rejected(400, [Problem(0, "body", "text that is not Unicode (a lone surrogate)")]) from None
        return Accepted(rows, payload, now)

    def _row(self, event: Event, now: int) -> Row:
        attrs = event.attrs
        if attrs:
            for key, text in attrs.items():
                if len(key.encode("utf-8", "replace")) > MAX_ATTR_BYTES or len(text.encode("utf-8", "replace")) > MAX_ATTR_BYTES:
                    raise _FieldProblem("attrs", f"a key or text of more than {MAX_ATTR_BYTES} bytes")
        return Row(
            str(event.event_id or uuid.uuid4()),
            event.site,
            event.visitor,
            event.session or "",
            event.type,
            event.url or "",
            event.experiment or "",
            event.variation or "",
            None if event.value is None else _value(event.value),
            now if event.ts is None else self._ts(event.ts, now),
            list(attrs) if attrs else [],
            list(attrs.values()) if attrs else [],
            self.region,
            self.pipeline,
            now,
        )

    def _ts(self, ts: int | str, now: int) -> int:
        if isinstance(ts, str):
            if ts.isascii() and ts.isdigit() and len(ts) < 20:
                ts = int(ts)
            else:
                try:
                    ts = int(msgspec.convert(ts, Rfc3339).timestamp() * 1000)
                except (msgspec.ValidationError, OverflowError, ValueError):
                    raise _FieldProblem("ts", "neither RFC 3339 with its zone nor epoch milliseconds") from None
        if ts > now + self.limits.max_ahead_seconds * 1000:
            raise _FieldProblem("ts", f"more than {self.limits.max_ahead_seconds} s ahead of the server's time")
        if ts < now - self.limits.max_behind_seconds * 1000:
            raise _FieldProblem("ts", f"more than {self.limits.max_behind_seconds} s behind the server's time")
        return ts

    def _explain(self, body: bytes | bytearray) -> Rejected:
        """Why a body was not taken: each event's fields one by one."""
        try:
            raws = self._raw_events(bytes(body))
        except Rejected as rejected:
            return rejected
        found: list[Problem] = []
        for index, raw in enumerate(raws):
            found += _event_problems(index, raw)
            if len(found) >= MAX_PROBLEMS:
                break
        return Rejected(400, found or [Problem(0, "body", "not an event")])

    def _raw_events(self, body: bytes) -> list[Any]:
        try:
            value = _raw.decode(body)
            return self._counted(value) if isinstance(value, list) else [value]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            whole = str(error) if not isinstance(error, RecursionError) else "nested too deep"
        lines = [line for line in body.split(b"\n") if line.strip()]
        if len(lines) < 2 or body.lstrip()[:1] != b"{":
            raise Rejected(400, [Problem(0, "body", whole)])
        self._counted(lines)
        values = []
        for index, line in enumerate(lines):
            try:
                values.append(_raw.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Rejected(400, [Problem(index, "body", str(error))]) from None
        return values


class _FieldProblem(Exception):
    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field, self.problem = field, problem


def _value(value: Decimal) -> Decimal:
    if not value.is_finite() or abs(value) >= MAX_VALUE:
        raise _FieldProblem("value", "not a number with at most 14 digits before the point")
    value = _context.quantize(value, QUANTUM)
    if abs(value) >= MAX_VALUE:
        raise _FieldProblem("value", "not a number with at most 14 digits before the point")
    return value


def _event_problems(index: int, raw: Any) -> list[Problem]:
    if not isinstance(raw, dict):
        return [Problem(index, "event", "not a JSON object")]
    names = {field.name for field in _fields}
    found = [Problem(index, str(name)[:64], "unknown field; data of your own goes into attrs") for name in raw if name not in names]
    for field in _fields:
        if field.name not in raw:
            if field.required:
                found.append(Problem(index, field.name, "is required"))
            continue
        try:
            msgspec.convert(raw[field.name], field.type)
        except (msgspec.ValidationError, decimal.InvalidOperation) as error:
            found.append(Problem(index, field.name, str(error).removesuffix(" - at `$`")))
    return found
