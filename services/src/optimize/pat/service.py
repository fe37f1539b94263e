"""The service `pat`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec
from litestar import MediaType, Response, get
from litestar.params import Parameter

from optimize.common import app
from optimize.common.config import Service
from optimize.common.health import Dependency, Health
from optimize.common.logs import fields
from optimize.common.server import drain_of
from optimize.common.tasks import background, cancel
from optimize.common.version import release
from optimize.events.intake import Intake, IntakeConfig, Unavailable, cors
from optimize.events.schema import Accepted, Acceptor
from optimize.kafka.forward import Forwarder
from optimize.kafka.publish import KafkaConfig, NotDelivered, Publisher
from optimize.pat.decide import Decision, decisions
from optimize.pat.experiments import ExperimentsConfig, Source
from optimize.spool.cursor import Cursor
from optimize.spool.segment import SpoolConfig
from optimize.spool.spool import Spool, SpoolFull

log = logging.getLogger(__name__)

NAME = "pat"


class PatConfig(Service, frozen=True, kw_only=True):
    """Configuration of `pat`. The spool holds what Kafka did not take."""

    spool: SpoolConfig
    kafka: KafkaConfig
    experiments: ExperimentsConfig
    intake: IntakeConfig = IntakeConfig()


class Decided(msgspec.Struct):
    """A visitor's decisions."""

    site: str
    visitor: str
    decisions: list[Decision]


class Store:
    """Makes events durable: in Kafka, and in the spool from the first failure until the spool has been published.

    While the spool is not empty everything goes through it, so that nothing overtakes what waits there.
    """

    def __init__(self, spool: Spool, publisher: Publisher, forwarder: Forwarder) -> None:
        self._spool, self._publisher, self._forwarder = spool, publisher, forwarder
        self.spooling = not forwarder.idle

    async def __call__(self, accepted: Accepted) -> None:
        if self.spooling and self._forwarder.idle:
            self.spooling = False
            log.info("kafka is back and the spool is published")
        if not self.spooling:
            lines = accepted.payload.split(b"\n")
            try:
                await self._publisher.send([(row.visitor.encode(), line) for row, line in zip(accepted.rows, lines, strict=False)])
                return
            except NotDelivered as error:
                if not self.spooling:
                    log.warning("kafka is away: events go to the spool", extra=fields(problem=str(error)))
                self.spooling = True
        try:
            await self._spool.append(accepted.payload, len(accepted.rows), accepted.received_ms)
        except SpoolFull as error:
            raise Unavailable(str(error)) from error


class Pat:
    """Decides, and takes events; see `optimize.common.server.Runnable`."""

    def __init__(self, config: PatConfig, fingerprint: str) -> None:
        self.config = config
        self.spool = Spool(config.spool)
        self.source = Source(config.experiments)
        dependencies = [
            Dependency("spool", "hard", self._room, live=True),
            Dependency("kafka", "soft", self._kafka),
            Dependency("experiments", "soft", self.source.probe),
        ]
        self.health = Health(NAME, release(), fingerprint, drain_of(config, NAME), dependencies)
        self.intake = Intake(config.intake, Acceptor(config.region, NAME, config.intake.limits), self.health, self._store)
        self.app = app.create(
            self.health, [*self.intake.routes("/pat/v1/events"), self._decisions_route()], cors(config.intake.cors_origins)
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._cursor = Cursor(self.spool, "kafka", hard=True)
        self.publisher = Publisher(self.config.kafka, f"optimize-{NAME}")
        self._forwarder = Forwarder(self.spool, self._cursor, self.publisher)
        self.store = Store(self.spool, self.publisher, self._forwarder)
        await self.spool.start()
        await self.source.fetch()
        self._tasks = [background(self._forwarder.run(), "kafka forwarder"), background(self.source.run(), "experiments")]

    async def stop(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        # What fails is not waited for: the rest is published after the next start.
        while not self._forwarder.idle and not self._forwarder.failing and time.monotonic() < until:
            await asyncio.sleep(0.05)
        await cancel(self._tasks)
        await self.publisher.close(2.0)
        await self._cursor.save()
        await self.spool.stop()
        await self.source.close()

    async def _store(self, accepted: Accepted) -> None:
        await self.store(accepted)

    async def _room(self) -> None:
        self.spool.check_ready()

    async def _kafka(self) -> None:
        await self.publisher.probe()

    def _decisions_route(self) -> Any:
        @get("/pat/v1/decisions", media_type=MediaType.JSON)
        async def decide(
            site: str = Parameter(default="", max_length=64),
            visitor: str = Parameter(default="", max_length=64),
        ) -> Response[Decided] | Response[bytes]:
            """The variations that a visitor sees on a site. Both parameters are required."""
            missing = [app.Problem(0, name, "is required") for name, text in (("site", site), ("visitor", visitor)) if not text]
            if missing:
                return app.problems(400, missing)
            decided = Decided(site, visitor, decisions(self.source.current, site, visitor))
            return Response(decided, headers={"cache-control": "no-store"})

        return decide
