"""The service `sink`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from optimize.clickhouse.insert import Inserter
from optimize.common import app
from optimize.common.health import Dependency, Health
from optimize.common.server import drain_of
from optimize.common.tasks import background
from optimize.common.version import release
from optimize.events.schema import Row
from optimize.sink.config import SinkConfig
from optimize.sink.consume import RegionConsumer

NAME = "sink"
DEAD_COLUMNS = ("reason", "topic", "partition", "offset", "payload", "received_at")


class Sink:
    """Consumes; see `optimize.common.server.Runnable`."""

    def __init__(self, config: SinkConfig, fingerprint: str) -> None:
        self.config = config
        self._events = Inserter(config.clickhouse, config.clickhouse.table, Row.__struct_fields__)
        self._dead = Inserter(config.clickhouse, config.dead_letter_table, DEAD_COLUMNS)
        self.consumers = [RegionConsumer(config, region, self._events, self._dead) for region in config.regions]
        # Without ClickHouse it can do nothing; a region's Kafka may be away while the others' events go on.
        dependencies = [
            Dependency("clickhouse", "hard", self._events.ping),
            *(Dependency(f"kafka-{consumer.region.name}", "soft", self._probe(consumer)) for consumer in self.consumers),
        ]
        self.health = Health(NAME, release(), fingerprint, drain_of(config, NAME), dependencies)
        self.app = app.create(self.health, [])
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def _probe(consumer: RegionConsumer) -> Callable[[], Awaitable[None]]:
        async def probe() -> None:
            if consumer.problem:
                raise RuntimeError(consumer.problem)

        return probe

    async def start(self) -> None:
        self._tasks = [background(consumer.run(), f"consumer {consumer.region.name}") for consumer in self.consumers]

    async def stop(self, seconds: float) -> None:
        for consumer in self.consumers:
            consumer.stop()
        await asyncio.wait(self._tasks, timeout=seconds)
        await self._events.close()
        await self._dead.close()
