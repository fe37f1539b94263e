"""Publishes rows and tells when all in-sync replicas have them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec import Meta
from prometheus_client import Counter, Gauge

from optimize.common.config import Name, Section
from optimize.common.logs import fields
from optimize.events.schema import RowKey

log = logging.getLogger(__name__)
#: What librdkafka reports of its connections; thinned out.
client_log = logging.getLogger("optimize.kafka.client")

DELIVERED = Counter("optimize_kafka_delivered_total", "Messages that Kafka has acknowledged", ["topic"])
UNDELIVERED = Counter("optimize_kafka_failed_total", "Messages that Kafka has not acknowledged in time", ["topic"])
WAITING = Gauge("optimize_kafka_in_flight", "Messages that wait for Kafka's acknowledgement")

Broker = Annotated[str, Meta(pattern=r"^[^:\s]+:\d+$")]
Setting = str | int | float | bool
_key = msgspec.json.Decoder(RowKey)


class KafkaConfig(Section, frozen=True, kw_only=True):
    """Where messages go.

    Args:
        brokers: `host:port` of the cluster's members.
        topic: must exist.
        settings: of librdkafka (CONFIGURATION.md), over the service's own.
    """

    brokers: Annotated[list[Broker], Meta(min_length=1)]
    topic: Name
    settings: dict[str, Setting] = {}


#: No acknowledged message is lost or doubled by the producer itself. The timeout is what a visitor's request may wait before the
#: events go to the spool instead; the rest bounds memory and finds a restarted broker quickly.
SETTINGS: dict[str, Setting] = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 3000,
    "request.timeout.ms": 2000,
    "socket.timeout.ms": 3000,
    "linger.ms": 5,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 65_536,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2000,
    "topic.metadata.refresh.interval.ms": 30_000,
    "log_level": 4,
}


class NotDelivered(Exception):
    """Kafka has not acknowledged all; some may be there all the same."""


class _Delivery:
    """Counts the reports of the messages of one request; in librdkafka's thread."""

    __slots__ = ("_future", "_left", "_loop", "problem")

    def __init__(self, count: int, future: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> None:
        self._left, self._future, self._loop = count, future, loop
        self.problem = ""

    def report(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.problem = str(error)
        self.done(1)

    def done(self, count: int) -> None:
        self._left -= count
        if self._left == 0:
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self._future.done():
            if self.problem:
                self._future.set_exception(NotDelivered(self.problem))
            else:
                self._future.set_result(None)


class Publisher:
    """A producer for one topic. `send` is for the event loop's thread."""

    def __init__(self, config: KafkaConfig, client_id: str) -> None:
        self.config = config
        self._settings: dict[str, Any] = {
            **SETTINGS,
            **config.settings,
            "bootstrap.servers": ",".join(config.brokers),
            "client.id": client_id,
            "error_cb": self._error,
            "logger": logging.getLogger("librdkafka"),
        }
        self._fatal = ""
        self._producer = Producer(self._settings)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-reports", daemon=True)
        self._thread.start()

    def _error(self, error: KafkaError) -> None:
        client_log.warning("kafka", extra=fields(problem=str(error), fatal=error.fatal()))
        if error.fatal():
            self._fatal = str(error)

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(0.1)
            WAITING.set(len(self._producer))

    async def send(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        """Publish (key, value) pairs, in their order.

        Raises:
            NotDelivered: not all were acknowledged.
        """
        if self._fatal:
            # An idempotent producer that has met a fatal error (its sequence is lost) takes nothing more.
            log.error("kafka producer is made anew", extra=fields(problem=self._fatal))
            self._fatal = ""
            self._producer = Producer(self._settings)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        delivery = _Delivery(len(messages), future, loop)
        produce, topic, report = self._producer.produce, self.config.topic, delivery.report
        sent = 0
        try:
            for key, value in messages:
                produce(topic, value, key, on_delivery=report)
                sent += 1
        except (BufferError, KafkaException) as error:
            delivery.problem = str(error)
            # The rest was never handed over.
            delivery.done(len(messages) - sent)
        try:
            await future
        except NotDelivered:
            UNDELIVERED.labels(topic).inc(len(messages))
            raise
        DELIVERED.labels(topic).inc(len(messages))

    async def probe(self) -> None:
        """Raises unless the topic has a leader for each partition."""
        metadata = await asyncio.to_thread(self._producer.list_topics, self.config.topic, 3.0)
        topic = metadata.topics[self.config.topic]
        if topic.error is not None:
            raise NotDelivered(f"topic {self.config.topic}: {topic.error}")
        headless = [number for number, partition in topic.partitions.items() if partition.leader < 0]
        if headless:
            raise NotDelivered(f"topic {self.config.topic}: partitions without leader: {headless}")

    async def close(self, seconds: float) -> None:
        """Wait for what is under way, and end."""
        await asyncio.to_thread(self._producer.flush, seconds)
        self._ended.set()
        await asyncio.to_thread(self._thread.join, 2.0)


def messages_of(payload: bytes) -> list[tuple[bytes, bytes]]:
    """Messages of a payload's rows: the key is the visitor, so that a visitor's events stay in order."""
    lines = payload.split(b"\n")
    lines.pop()
    return [(_key.decode(line).visitor.encode(), line) for line in lines]
