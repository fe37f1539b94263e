"""Visitors' events: made, sent through the edge, and compared with what ClickHouse holds.

Used by `make platform` (a few hundred events) and by the end-to-end test (tens of thousands, under faults). What is
remembered for each event is what the contract promises about it: once its request was answered 202, one row with
exactly these columns must be found by a reader.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

#: Columns that a reader of optimize.events sees and the sender determines.
COLUMNS = ("site", "visitor", "session", "type", "url", "experiment", "variation", "value", "ts", "attrs")
PIPELINES = ("collect", "pat")
#: Share of requests by kind; the pixel exists for collect only and is replaced by a beacon for pat.
KINDS = {"single": 40, "batch": 25, "ndjson": 10, "beacon": 15, "pixel": 10}
#: A visitor's client gives up on one try after this many seconds and tries again with the same ids.
TRY_SECONDS = 15.0


@dataclass(frozen=True)
class Edge:
    """One region's public entry: its name (certificate, Host) and the address where it is reached."""

    region: str
    name: str
    address: str
    port: int = 443


class EdgeResolver(AbstractResolver):
    """Names of the edge without touching this machine's name resolution."""

    def __init__(self, edges: list[Edge]) -> None:
        self._addresses = {edge.name: edge.address for edge in edges}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        address = self._addresses.get(host)
        if address is None:
            raise OSError(f"{host} is not a name of the edge; known: {', '.join(sorted(self._addresses))}")
        return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""


def load_edges(state: Path) -> list[Edge]:
    """The edges of a running fleet, from its `edge.json`.

    Raises:
        SystemExit: when the fleet has not been started.
    """
    path = state / "edge.json"
    if not path.exists():
        raise SystemExit(f"{path} is missing: the fleet is not running. Start it with `make platform`.")
    return [
        Edge(region=region, name=edge["name"], address=edge["address"], port=edge.get("port", 443))
        for region, edge in json.loads(path.read_text(encoding="utf-8")).items()
    ]


@dataclass
class Request:
    """One HTTP request of a visitor, with the events in it."""

    pipeline: str
    kind: str
    events: list[dict[str, Any]]

    def http(self) -> tuple[str, str, bytes | None, dict[str, str]]:
        """Method, path with query, body and headers."""
        base = f"/{self.pipeline}/v1"
        if self.kind == "pixel":
            (event,) = self.events
            query = {key: str(value) for key, value in event.items() if key != "attrs"}
            query |= {f"attrs.{key}": value for key, value in event.get("attrs", {}).items()}
            return "GET", f"{base}/pixel.gif?{urlencode(query)}", None, {}
        if self.kind == "ndjson":
            body = b"\n".join(json.dumps(event).encode() for event in self.events)
            return "POST", f"{base}/events", body, {"Content-Type": "application/json"}
        payload: Any = self.events[0] if self.kind == "single" else self.events
        content_type = "text/plain;charset=UTF-8" if self.kind == "beacon" else "application/json"
        return "POST", f"{base}/events", json.dumps(payload).encode(), {"Content-Type": content_type}


def make_event(rng: random.Random, site: str, now_ms: int) -> dict[str, Any]:
    """One visitor's event; every optional field is present in some events and absent in others."""
    event: dict[str, Any] = {
        "event_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "site": site,
        "visitor": f"v{rng.randrange(5000):05d}",
        "type": rng.choice(("pageview", "click", "impression", "conversion", "video.play")),
        "ts": now_ms - rng.randrange(3_600_000),
    }
    if rng.random() < 0.7:
        event["session"] = f"s{rng.randrange(20000)}"
    if rng.random() < 0.8:
        event["url"] = f"https://shop.example/{rng.choice(('', 'cart', 'p/łódź', 'search?q=a%20b&x=“y”'))}"
    if rng.random() < 0.5:
        event["experiment"], event["variation"] = f"exp-{rng.randrange(20)}", rng.choice("ABC")
    if event["type"] == "conversion":
        event["value"] = f"{Decimal(rng.randrange(1, 10_000_000)) / 10_000}"
    if rng.random() < 0.4:
        event["attrs"] = {f"k{n}": rng.choice(("", "x", "ü\t\\'\"", "λ" * 20)) for n in range(rng.randrange(1, 5))}
    return event


def make_requests(rng: random.Random, site: str, count: int) -> Iterator[Request]:
    """Requests with `count` events in all, mixed over kinds and both pipelines; bounded by `count`."""
    left = count
    pipelines = itertools.cycle(PIPELINES)
    while left > 0:
        pipeline = next(pipelines)
        kind = rng.choices(list(KINDS), weights=list(KINDS.values()))[0]
        if kind == "pixel" and pipeline == "pat":
            kind = "beacon"
        size = {"single": 1, "pixel": 1, "beacon": rng.randrange(1, 6), "ndjson": rng.randrange(2, 20)}.get(kind, rng.randrange(5, 60))
        size = min(size, left)
        now_ms = int(time.time() * 1000)
        yield Request(pipeline, kind, [make_event(rng, site, now_ms) for _ in range(size)])
        left -= size


def expected_row(event: dict[str, Any]) -> dict[str, Any]:
    """The columns that a reader must find for an event."""
    return {
        "site": event["site"],
        "visitor": event["visitor"],
        "session": event.get("session", ""),
        "type": event["type"],
        "url": event.get("url", ""),
        "experiment": event.get("experiment", ""),
        "variation": event.get("variation", ""),
        "value": None if event.get("value") is None else Decimal(str(event["value"])),
        "ts": event["ts"],
        "attrs": dict(event.get("attrs", {})),
    }


@dataclass
class Ledger:
    """What was sent, what was acknowledged, and how the requests went."""

    sent: dict[str, tuple[str, str, dict[str, Any]]] = field(default_factory=dict)  # id -> region, pipeline, columns
    acknowledged: set[str] = field(default_factory=set)
    resent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    longest_gap_s: float = 0.0
    _last_ack: float = 0.0

    def add(self, region: str, request: Request) -> None:
        for event in request.events:
            self.sent[event["event_id"]] = (region, request.pipeline, expected_row(event))

    def acknowledge(self, request: Request, milliseconds: float) -> None:
        now = time.monotonic()
        if self._last_ack:
            self.longest_gap_s = max(self.longest_gap_s, now - self._last_ack)
        self._last_ack = now
        self.acknowledged.update(event["event_id"] for event in request.events)
        self.latencies_ms.append(milliseconds)


class Visitors:
    """Sends requests through the edges, each until it is acknowledged, as a visitor's tag would.

    Args:
        edges: where to send to; requests go round over them.
        ca: the certificate authority file that the edge's certificate must verify against.
        workers: requests in flight at most.
        patience: seconds after which a request that was never acknowledged fails the run.
    """

    def __init__(self, edges: list[Edge], ca: Path, workers: int = 16, patience: float = 120.0) -> None:
        self.edges, self.workers, self.patience = edges, workers, patience
        self._tls = ssl.create_default_context(cafile=str(ca))
        self.ledger = Ledger()

    async def send(self, requests: Iterator[Request], rng: random.Random, resend: float = 0.05, rate: float = 0.0) -> None:
        """Send all; the share `resend` of them a second time after it was acknowledged.

        Args:
            requests: what to send; bounded by whoever makes it.
            rng: decides what is resent.
            resend: share of requests, 0 to 1.
            rate: events per second at most; 0 sends as fast as the edge answers.
        """
        source = iter(requests)
        edges = itertools.cycle(self.edges)
        connector = aiohttp.TCPConnector(resolver=EdgeResolver(self.edges), ssl=self._tls, limit=self.workers, use_dns_cache=False)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TRY_SECONDS)) as session:
            started, events = time.monotonic(), 0

            async def work() -> None:
                nonlocal events
                for request in source:
                    edge = next(edges)
                    events += len(request.events)
                    if rate:
                        await asyncio.sleep(max(0.0, started + events / rate - time.monotonic()))
                    self.ledger.add(edge.region, request)
                    await self._until_acknowledged(session, edge, request)
                    if rng.random() < resend:
                        self.ledger.resent += len(request.events)
                        await self._until_acknowledged(session, edge, request)

            await asyncio.gather(*(work() for _ in range(self.workers)))

    async def _until_acknowledged(self, session: aiohttp.ClientSession, edge: Edge, request: Request) -> None:
        method, path, body, headers = request.http()
        url = f"https://{edge.name}:{edge.port}{path}"
        deadline = time.monotonic() + self.patience
        pause = 0.05
        while True:
            started = time.monotonic()
            try:
                async with session.request(method, url, data=body, headers=headers) as response:
                    content = await response.read()
                    answer = str(response.status)
                    if response.status == (200 if request.kind == "pixel" else 202):
                        self._check_answer(request, content)
                        self.ledger.answers[answer] += 1
                        self.ledger.acknowledge(request, (time.monotonic() - started) * 1000)
                        return
                    if response.status < 500 and response.status != 429:
                        raise AssertionError(f"{method} {path[:80]} was refused: {response.status} {content[:300]!r}")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                answer = type(error).__name__
            self.ledger.answers[answer] += 1
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{method} {url[:100]} not acknowledged within {self.patience:.0f} s; answers so far: {dict(self.ledger.answers)}"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    @staticmethod
    def _check_answer(request: Request, content: bytes) -> None:
        if request.kind == "pixel":
            assert content.startswith(b"GIF8"), content[:20]
            return
        answer = json.loads(content)
        ids = [event["event_id"] for event in request.events]
        assert answer["accepted"] == len(ids), answer
        assert answer["ids"] == ids, answer


@dataclass
class Comparison:
    """The set of events sent against the rows that a reader finds."""

    lost: set[str]
    unexpected: set[str]
    doubled: set[str]
    wrong: list[str]
    stored: int

    @property
    def exact(self) -> bool:
        return not (self.lost or self.unexpected or self.doubled or self.wrong)

    def __str__(self) -> str:
        parts = [f"{self.stored} stored"]
        for name in ("lost", "unexpected", "doubled", "wrong"):
            found = getattr(self, name)
            parts.append(f"{len(found)} {name}" + (f" (such as {sorted(found)[:3]})" if found else ""))
        return ", ".join(parts)


class Reader:
    """Reads optimize.events through the ClickHouse load balancer's readers' port, as an analyst would."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url, self._headers = url, {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}

    async def query(self, sql: str) -> str:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session,
            session.post(self.url, data=sql.encode(), headers=self._headers) as response,
        ):
            text = await response.text()
            if response.status != 200:
                raise RuntimeError(f"{self.url} answered {response.status}: {text[:300]}")
            return text

    async def compare(self, ledger: Ledger, site: str) -> Comparison:
        """Compare every acknowledged event of a site with the stored rows, column by column."""
        text = await self.query(
            "SELECT toString(event_id) AS id, site, visitor, session, type, url, experiment, variation, toString(value) AS value, ts,"
            " attr_keys, attr_values, region, pipeline, received_at FROM optimize.events"
            f" WHERE site = '{site}' FORMAT JSONEachRow"
        )
        rows = [json.loads(line) for line in text.splitlines()]
        counts = Counter(row["id"] for row in rows)
        now_ms = time.time() * 1000
        wrong = []
        for row in rows:
            if row["id"] not in ledger.sent:
                continue
            region, pipeline, columns = ledger.sent[row["id"]]
            found = {key: row.get(key) for key in columns if key != "attrs"}
            found["value"] = None if row["value"] in (None, "") else Decimal(row["value"])
            found["ts"] = int(row["ts"])
            found["attrs"] = dict(zip(row["attr_keys"], row["attr_values"], strict=True))
            difference = [f"{key}: sent {columns[key]!r}, stored {found[key]!r}" for key in columns if found[key] != columns[key]]
            if (row["region"], row["pipeline"]) != (region, pipeline):
                difference.append(f"sent by {region}/{pipeline}, stored as {row['region']}/{row['pipeline']}")
            if not now_ms - 86_400_000 < int(row["received_at"]) < now_ms + 60_000:
                difference.append(f"received_at {row['received_at']} is not of today")
            if difference:
                wrong.append(f"{row['id']}: {'; '.join(difference)}")
        return Comparison(
            lost=ledger.acknowledged - counts.keys(),
            unexpected=set(counts) - ledger.sent.keys(),
            doubled={event_id for event_id, n in counts.items() if n > 1},
            wrong=wrong,
            stored=len(rows),
        )

    async def settled(self, ledger: Ledger, site: str, seconds: float = 90.0) -> Comparison:
        """Compare until everything acknowledged is there or the time is over; what counts is the last comparison."""
        deadline = time.monotonic() + seconds
        while True:
            comparison = await self.compare(ledger, site)
            if not comparison.lost or time.monotonic() > deadline:
                return comparison
            await asyncio.sleep(1.0)
