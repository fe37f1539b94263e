"""The service `collect`."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response, get

from optimize.clickhouse.insert import ClickHouseConfig, Inserter
from optimize.collect.writer import DeadLetters, Writer
from optimize.common import app
from optimize.common.config import Service
from optimize.common.health import Dependency, Health
from optimize.common.server import drain_of
from optimize.common.tasks import background, cancel
from optimize.common.version import release
from optimize.events.intake import Intake, IntakeConfig, Unavailable, cors
from optimize.events.schema import Accepted, Acceptor, Rejected, Row
from optimize.kafka.forward import Forwarder
from optimize.kafka.publish import KafkaConfig, Publisher
from optimize.spool.cursor import Cursor
from optimize.spool.segment import SpoolConfig
from optimize.spool.spool import Spool, SpoolFull

NAME = "collect"
COLUMNS = Row.__struct_fields__
#: The smallest transparent GIF.
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


class CollectConfig(Service, frozen=True, kw_only=True):
    """Configuration of `collect`.

    Args:
        kafka: where accepted events are published; without it they are not.
        dead_letters: directory for rows that ClickHouse refuses.
    """

    spool: SpoolConfig
    clickhouse: ClickHouseConfig
    kafka: KafkaConfig | None = None
    intake: IntakeConfig = IntakeConfig()
    dead_letters: str = "/var/lib/optimize-collect/dead-letters"


class Collect:
    """Takes events; see `optimize.common.server.Runnable`."""

    def __init__(self, config: CollectConfig, fingerprint: str) -> None:
        self.config = config
        self.spool = Spool(config.spool)
        dependencies = [Dependency("spool", "hard", self._room, live=True), Dependency("clickhouse", "soft", self._clickhouse)]
        if config.kafka:
            dependencies.append(Dependency("kafka", "soft", self._kafka))
        self.health = Health(NAME, release(), fingerprint, drain_of(config, NAME), dependencies)
        self.intake = Intake(config.intake, Acceptor(config.region, NAME, config.intake.limits), self.health, self._store)
        self.app = app.create(
            self.health, [*self.intake.routes("/collect/v1/events"), self._pixel_route()], cors(config.intake.cors_origins)
        )
        self._publishing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        config = self.config
        cursor = Cursor(self.spool, "clickhouse", hard=True)
        self.inserter = Inserter(config.clickhouse, config.clickhouse.table, COLUMNS)
        self._writer = Writer(self.spool, cursor, self.inserter, DeadLetters(Path(config.dead_letters)))
        if config.kafka:
            self._kafka_cursor = Cursor(self.spool, "kafka", hard=False)
            self.publisher = Publisher(config.kafka, f"optimize-{NAME}")
            self._publishing = background(Forwarder(self.spool, self._kafka_cursor, self.publisher).run(), "kafka forwarder")
        await self.spool.start()
        self._writer.start()

    async def stop(self, seconds: float) -> None:
        await self._writer.stop(seconds)
        if self._publishing:
            await cancel([self._publishing])
            await self.publisher.close(2.0)
            await self._kafka_cursor.save()
        await self.spool.stop()
        await self.inserter.close()

    async def _store(self, accepted: Accepted) -> None:
        try:
            await self.spool.append(accepted.payload, len(accepted.rows), accepted.received_ms)
        except SpoolFull as error:
            raise Unavailable(str(error)) from error

    async def _room(self) -> None:
        self.spool.check_ready()

    async def _clickhouse(self) -> None:
        await self.inserter.ping()
        if self.inserter.problem:
            raise RuntimeError(self.inserter.problem)

    async def _kafka(self) -> None:
        await self.publisher.probe()

    def _pixel_route(self) -> Any:
        intake = self.intake

        @get("/collect/v1/pixel.gif", media_type="image/gif")
        async def pixel(request: Request[Any, Any, Any]) -> Response[bytes]:
            """An event in the query's parameters, for clients without script; 200 after it is durable."""

            async def read() -> Accepted:
                try:
                    text = request.scope["query_string"].decode("ascii")
                    parameters = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=100)
                except ValueError as error:
                    raise Rejected(400, [app.Problem(0, "query", f"not a query string: {error}")]) from None
                return intake.acceptor.query(parameters)

            def answer(_: Accepted) -> Response[bytes]:
                return Response(PIXEL, media_type="image/gif", headers={"cache-control": "no-store"})

            return await intake.take(request, read, answer)

        return pixel
