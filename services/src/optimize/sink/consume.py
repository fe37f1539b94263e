"""One region's consumer: reads, inserts, commits; in a thread of its own for what blocks in librdkafka."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from prometheus_client import Counter, Gauge

from optimize.clickhouse.insert import Failed, Inserter
from optimize.common.logs import fields
from optimize.kafka.publish import client_log
from optimize.sink.batch import Batch, Buffer, Intention, Item, intention
from optimize.sink.config import Region, SinkConfig

log = logging.getLogger(__name__)

CONSUMED = Counter("optimize_sink_rows_total", "Messages whose rows are in and whose offsets are committed", ["region"])
DEAD = Counter("optimize_sink_dead_letters_total", "Messages that went to the dead letters", ["region"])
PARTITIONS = Gauge("optimize_sink_partitions", "Partitions that are assigned to this process", ["region"])
LAG = Gauge("optimize_sink_lag", "Messages behind the partition's end", ["region", "partition"])

#: Seconds of vain attempts after which the consumer polls Kafka, so that it stays in its group, before it goes on.
ATTEMPT_SECONDS = 30.0
#: Seconds for which a batch that was intended before a crash is waited for; its messages may have been deleted.
INTENTION_SECONDS = 20.0
#: Or until as many batches' rows wait behind it.
MAX_BUFFERED = 10

#: The eager assignor: with cooperative-sticky Debian's librdkafka lost events. Offsets are committed by hand, after the insert.
SETTINGS: dict[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "range,roundrobin",
    "session.timeout.ms": 10_000,
    "max.poll.interval.ms": 300_000,
    "fetch.wait.max.ms": 200,
    "queued.max.messages.kbytes": 16_384,
    "fetch.message.max.bytes": 1_048_576,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2000,
    "socket.timeout.ms": 10_000,
    "log_level": 4,
}


class RegionConsumer:
    """Consumes one region's topic into ClickHouse."""

    def __init__(self, config: SinkConfig, region: Region, events: Inserter, dead: Inserter) -> None:
        self.region, self._config, self._events, self._dead = region, config, events, dead
        self._buffer = Buffer(config.clickhouse.max_rows)
        self._thread = ThreadPoolExecutor(1, f"kafka-{region.name}")
        self._generation = 0
        self._assigned: list[TopicPartition] = []
        self._stopping = False
        self._since = 0.0
        self._intended_since = 0.0
        self.problem = "not joined yet"
        self._consumer = Consumer(
            {
                **SETTINGS,
                **config.settings,
                "bootstrap.servers": ",".join(region.brokers),
                "group.id": config.group,
                "client.id": "optimize-sink",
                "error_cb": self._error,
                "logger": logging.getLogger("librdkafka"),
            }
        )

    def _error(self, error: KafkaError) -> None:
        client_log.warning("kafka", extra=fields(region=self.region.name, problem=str(error)))
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.problem = str(error)

    # -- in the consumer's thread

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._generation += 1
        self._buffer.clear()
        self._assigned = partitions
        PARTITIONS.labels(self.region.name).set(len(partitions))
        if partitions:
            for found in consumer.committed(partitions, 10.0):
                intended = intention(found.metadata)
                if intended is not None and intended.end > found.offset >= 0:
                    self._buffer.intentions[found.topic, found.partition] = intended
        self._intended_since = time.monotonic()
        log.info(
            "partitions assigned",
            extra=fields(region=self.region.name, partitions=[p.partition for p in partitions], unfinished=len(self._buffer.intentions)),
        )

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Eager: all are revoked. What is not inserted is read again by whoever gets the partition.
        self._generation += 1
        self._buffer.clear()
        self._assigned = []
        PARTITIONS.labels(self.region.name).set(0)
        log.info("partitions revoked", extra=fields(region=self.region.name, partitions=[p.partition for p in partitions]))

    def _poll(self, seconds: float) -> None:
        messages: list[Message] = self._consumer.consume(self._config.clickhouse.max_rows, seconds)
        items = []
        for message in messages:
            error = message.error()
            if error is not None:
                self.problem = str(error)
                client_log.warning("kafka", extra=fields(region=self.region.name, problem=str(error)))
                continue
            self.problem = ""
            items.append(
                Item(
                    str(message.topic()),
                    int(message.partition() or 0),
                    int(message.offset() or 0),
                    message.timestamp()[1],
                    message.value() or b"",
                )
            )
        if items and not len(self._buffer):
            self._since = time.monotonic()
        self._buffer.add(items)

    def _stay(self) -> None:
        """Stay in the group without taking messages, while an insert is tried again."""
        held = list(self._assigned)
        self._consumer.pause(held)
        try:
            self._poll(0.0)
        finally:
            # All that was paused, whatever the poll assigned: librdkafka keeps a partition paused over a rebalance, and one that
            # comes back to this member would never be read again.
            self._consumer.resume(held)

    def _commit(self, offsets: dict[tuple[str, int], int], intended: dict[tuple[str, int], Intention] | None = None) -> None:
        committed = self._consumer.commit(
            offsets=[
                TopicPartition(topic, partition, offset, metadata=msgspec.json.encode((intended or {})[topic, partition]).decode())
                if intended
                else TopicPartition(topic, partition, offset)
                for (topic, partition), offset in offsets.items()
            ],
            asynchronous=False,
        )
        for found in committed or []:
            if found.error is not None:
                raise KafkaException(found.error)

    def _measure(self) -> None:
        for partition in self._assigned:
            _, high = self._consumer.get_watermark_offsets(partition, cached=True)
            position = self._consumer.position([partition])[0].offset
            if high >= 0 and position >= 0:
                LAG.labels(self.region.name, partition.partition).set(high - position)

    # -- in the event loop

    async def run(self) -> None:
        """Consume until `stop`."""
        call = self._call
        await call(self._consumer.subscribe, [self._config.topic], self._on_assign, self._on_revoke)
        measured = 0.0
        try:
            while not self._stopping:
                try:
                    wait = self._config.clickhouse.linger_seconds if not len(self._buffer) else 0.05
                    await call(self._poll, min(wait, 0.2))
                    await self._turn()
                    if time.monotonic() - measured > 5:
                        measured = time.monotonic()
                        await call(self._measure)
                except KafkaException as error:
                    self._failed(error)
                    await asyncio.sleep(1.0)
        finally:
            await call(self._consumer.close)
            self._thread.shutdown()

    def stop(self) -> None:
        self._stopping = True

    async def _call(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _turn(self) -> None:
        """Take a batch, if it is time for one, and bring it to its end: in and committed, or its partitions taken away."""
        buffer, settings = self._buffer, self._config.clickhouse
        lost = time.monotonic() - self._intended_since > INTENTION_SECONDS or len(buffer) > MAX_BUFFERED * settings.max_rows
        if buffer.intentions and lost:
            log.warning("an unfinished batch can't be found again", extra=fields(region=self.region.name))
            buffer.intentions.clear()
        batch = buffer.take(time.monotonic() - self._since >= settings.linger_seconds)
        if batch is None:
            return
        self._since = time.monotonic()
        generation, inserted = self._generation, False
        starts, ends, name = batch.starts(), batch.ends(), batch.name
        intended = {place: Intention(name, end) for place, end in ends.items()}
        while self._generation == generation and not self._stopping:
            try:
                if not inserted:
                    await self._call(self._commit, starts, intended)
                    inserted = await self._insert(batch, generation)
                if inserted:
                    await self._call(self._commit, ends)
                    CONSUMED.labels(self.region.name).inc(len(batch.items))
                    return
            except KafkaException as error:
                # The batch is kept: going on without it would commit past it. Where the group went on without this member, the
                # poll says so, the generation changes, and the batch is read again by whoever has its partitions then.
                self._failed(error)
                await asyncio.sleep(1.0)
                await self._call(self._stay)

    def _failed(self, error: KafkaException) -> None:
        self.problem = str(error)
        client_log.warning("kafka", extra=fields(region=self.region.name, problem=str(error)))

    async def _insert(self, batch: Batch, generation: int) -> bool:
        """Whether the batch is in; False where its partitions were taken away meanwhile."""
        good, bad = batch.good, list(batch.bad)
        while True:
            deadline = time.monotonic() + ATTEMPT_SECONDS
            try:
                if good:
                    refused = await self._events.insert_rows([item.value for item in good], deadline)
                    bad += [(good[found.place], found.reason) for found in refused]
                    good = []
                if bad:
                    # Its own table: what is wrong with them must not stop the others.
                    refused = await self._dead.insert_rows([self._letter(item, reason) for item, reason in sorted(bad)], deadline)
                    if refused:
                        raise Failed(f"dead letter refused: {refused[0].reason}")
                    DEAD.labels(self.region.name).inc(len(bad))
                return True
            except Failed as error:
                self.problem = str(error)
                if self._stopping:
                    return False
                await self._call(self._stay)
                if self._generation != generation:
                    return False

    def _letter(self, item: Item, reason: str) -> bytes:
        log.error("message refused", extra=fields(region=self.region.name, partition=item.partition, offset=item.offset, reason=reason))
        return msgspec.json.encode(
            {
                "reason": reason,
                # Every region's topic has the same name: a place is one in all regions' letters.
                "topic": f"{self.region.name}/{item.topic}",
                "partition": item.partition,
                "offset": item.offset,
                "payload": item.value.decode("utf-8", "backslashreplace"),
                "received_at": item.timestamp_ms,
            }
        )
