"""Configuration of `sink`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from optimize.clickhouse.insert import ClickHouseConfig
from optimize.common.config import Name, Section, Service
from optimize.kafka.publish import Broker, Setting


class Region(Section, frozen=True, kw_only=True):
    """A region's Kafka cluster."""

    name: Name
    brokers: Annotated[list[Broker], Meta(min_length=1)]


class SinkConfig(Service, frozen=True, kw_only=True):
    """Configuration of `sink`. `region` is the host's own; what is consumed are the `regions`.

    Args:
        regions: the clusters to consume from.
        topic, group: the same in every cluster.
        settings: of librdkafka's consumer (CONFIGURATION.md), over the service's own.
        dead_letter_table: where messages go that are no events.
        clickhouse: this host's node first. `max_rows` and `linger_seconds` make the batches.
    """

    regions: Annotated[list[Region], Meta(min_length=1)]
    clickhouse: ClickHouseConfig
    topic: Name = "pat-events"
    group: Name = "optimize-sink"
    settings: dict[str, Setting] = {}
    dead_letter_table: str = "optimize.events_dead_letter"
