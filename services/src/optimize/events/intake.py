"""The HTTP side of taking events: reads a body within its limits, asks for durability, answers as the contract says."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, post
from litestar.config.cors import CORSConfig
from litestar.types import ControllerRouterHandler
from msgspec import Meta
from prometheus_client import Counter, Gauge, Histogram

from optimize.common.app import Problem, problems
from optimize.common.config import Positive, Seconds, Section
from optimize.common.health import Health
from optimize.common.logs import fields
from optimize.events.schema import Accepted, Acceptor, Limits, Rejected, Row, too_large

log = logging.getLogger(__name__)

ACCEPTED = Counter("optimize_events_accepted_total", "Events acknowledged as durable")
REQUESTS = Counter("optimize_event_requests_total", "Requests with events by their answer's status", ["status"])
SECONDS = Histogram(
    "optimize_event_request_seconds",
    "From the request's headers to its answer",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("optimize_event_bytes_in_flight", "Bytes of bodies that are read, but not answered")

CONTENT_TYPES = ("application/json", "text/plain", "application/x-ndjson")
#: Bytes of a refused body that are read and thrown away so that its sender sees the answer; then the connection is closed.
MAX_DISCARDED = 4 * 1024 * 1024
#: Seconds after which a client that got 429 or 503 may try again.
RETRY_AFTER = {"retry-after": "1"}


def cors(origins: list[str]) -> CORSConfig:
    """What lets pages of these origins send events and read the answers.

    `sendBeacon` sends with credentials, for which `*` is no valid answer: the origin itself is named, by a pattern that matches all.
    """
    return CORSConfig(
        allow_origins=[origin for origin in origins if origin != "*"],
        allow_origin_regex=".*" if "*" in origins else None,
        allow_credentials=True,
        allow_methods=["GET", "POST", "OPTIONS"],
        allow_headers=["content-type"],
        max_age=86_400,
    )


class Unavailable(Exception):
    """Events can't be made durable now; the text says why."""


class IntakeConfig(Section, frozen=True, kw_only=True):
    """How events are taken.

    Args:
        limits: limits of one request.
        per_site_per_second: events of one site per second in this process, above it 429; 0 is no limit. A second's worth may come at once.
        in_flight_bytes: bytes of bodies held at once, above it 503: bounds the memory.
        body_seconds: how long a client may take for a body, above it 408.
        cors_origins: origins whose pages may send; `*` is every one.
    """

    limits: Limits = Limits()
    per_site_per_second: Annotated[float, Meta(ge=0)] = 0.0
    in_flight_bytes: Positive = 67_108_864
    body_seconds: Seconds = 30.0
    cors_origins: list[str] = msgspec.field(default_factory=lambda: ["*"])


class SiteLimit:
    """A token bucket per site.

    Args:
        rate: tokens a second, and the bucket's size; 0 is no limit.
        sites: buckets kept; the one that was not used for longest is forgotten.
    """

    def __init__(self, rate: float, sites: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._sites, self._clock = rate, sites, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, rows: Sequence[Row]) -> str | None:
        """Take a token for each row; the site that has none left, or None. All or nothing. A request larger than the
        bucket passes when the bucket is full, and leaves it in debt."""
        if not self.rate:
            return None
        wanted: dict[str, int] = {}
        for row in rows:
            wanted[row.site] = wanted.get(row.site, 0) + 1
        now = self._clock()
        left = {}
        for site, count in wanted.items():
            tokens, since = self._buckets.get(site, (self.rate, now))
            tokens = min(self.rate, tokens + (now - since) * self.rate)
            if tokens < min(count, self.rate):
                return site
            left[site] = tokens - count
        for site, tokens in left.items():
            self._buckets[site] = (tokens, now)
            self._buckets.move_to_end(site)
        while len(self._buckets) > self._sites:
            self._buckets.popitem(last=False)
        return None


class Intake:
    """Takes events.

    Args:
        store: makes a request's rows durable, or raises `Unavailable`.
    """

    def __init__(self, config: IntakeConfig, acceptor: Acceptor, health: Health, store: Callable[[Accepted], Awaitable[None]]) -> None:
        self.config, self.acceptor, self.health, self._store = config, acceptor, health, store
        self._sites = SiteLimit(config.per_site_per_second)
        self._in_flight = 0

    def routes(self, path: str) -> list[ControllerRouterHandler]:
        """`POST path`; see `cors` for `OPTIONS`."""

        @post(path, status_code=202, media_type=MediaType.JSON)
        async def events(request: Request[Any, Any, Any]) -> Response[bytes]:
            """Take a JSON object, a JSON array or newline-delimited JSON; 202 after the events are durable."""
            return await self.take(request, lambda: self._read(request), _taken)

        return [events]

    async def take(
        self, request: Request[Any, Any, Any], read: Callable[[], Awaitable[Accepted]], answer: Callable[[Accepted], Response[bytes]]
    ) -> Response[bytes]:
        """Read, limit, store and answer."""
        started = time.perf_counter()
        try:
            if self.health.stopping:
                raise Unavailable("the service is stopping")
            accepted = await read()
            site = self._sites.take(accepted.rows)
            if site is not None:
                raise Rejected(429, [Problem(0, "site", f"more than {self.config.per_site_per_second:g} events a second of site {site}")])
            await self._store(accepted)
            ACCEPTED.inc(len(accepted.rows))
            response = answer(accepted)
        except Rejected as rejected:
            response = problems(rejected.status, rejected.problems, RETRY_AFTER if rejected.status == 429 else None)
            if rejected.status in (408, 413):
                response.headers["connection"] = "close"
            if log.isEnabledFor(logging.DEBUG):
                log.debug("refused", extra=fields(client=request.client and request.client.host, status=rejected.status, why=str(rejected)))
        except Unavailable as error:
            response = problems(503, [Problem(0, "request", str(error))], RETRY_AFTER)
        REQUESTS.labels(response.status_code).inc()
        SECONDS.observe(time.perf_counter() - started)
        return response

    async def _read(self, request: Request[Any, Any, Any]) -> Accepted:
        refusal = self._refusal(request)
        body = bytearray()
        seen = 0
        try:
            async with asyncio.timeout(self.config.body_seconds):
                async for chunk in request.stream():
                    seen += len(chunk)
                    if refusal is None and seen > self.config.limits.max_bytes:
                        refusal = too_large(self.config.limits)
                    if refusal is None:
                        self._hold(len(chunk))
                        body += chunk
                    elif seen > MAX_DISCARDED:
                        break
            if refusal is not None:
                raise refusal
            return self.acceptor.body(body)
        except TimeoutError:
            raise Rejected(408, [Problem(0, "body", f"did not arrive within {self.config.body_seconds:g} s")]) from None
        finally:
            self._release(len(body))

    def _refusal(self, request: Request[Any, Any, Any]) -> Rejected | None:
        """What the headers alone are refused for. The body is read all the same, but not kept: who is still sending sees no answer."""
        headers = request.headers
        content_type = headers.get("content-type", "")
        if content_type and content_type.split(";", 1)[0].strip().lower() not in CONTENT_TYPES:
            return Rejected(415, [Problem(0, "content-type", f"one of {', '.join(CONTENT_TYPES)}")])
        if headers.get("content-encoding", "identity") != "identity":
            return Rejected(415, [Problem(0, "content-encoding", "send the body as it is")])
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self.config.limits.max_bytes:
            return too_large(self.config.limits)
        return None

    def _hold(self, count: int) -> None:
        if self._in_flight + count > self.config.in_flight_bytes:
            raise Unavailable("too many requests at once")
        self._in_flight += count
        IN_FLIGHT.set(self._in_flight)

    def _release(self, count: int) -> None:
        self._in_flight -= count
        IN_FLIGHT.set(self._in_flight)


def _taken(accepted: Accepted) -> Response[bytes]:
    body = msgspec.json.encode({"accepted": len(accepted.rows), "ids": accepted.ids})
    return Response(body, status_code=202, media_type=MediaType.JSON)
