"""The sink: batches with bounds that can be found again; nothing is committed before it is in."""

from __future__ import annotations

import asyncio
import json
import uuid

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st
from optimize.clickhouse.insert import Inserter
from optimize.events.schema import Row
from optimize.sink import consume
from optimize.sink.batch import Batch, Buffer, Intention, Item, intention, problem_of
from optimize.sink.config import SinkConfig
from optimize.sink.service import DEAD_COLUMNS


def row(visitor="v", **fields) -> bytes:
    made = Row(str(uuid.uuid4()), "s", visitor, "", "click", "", "", "", None, 1, [], [], "euw", "pat", 1)
    return msgspec.json.encode(msgspec.structs.replace(made, **fields))


ROW = row()


def item(partition: int, offset: int, value: bytes = ROW) -> Item:
    return Item("pat-events", partition, offset, 1, value)


def test_a_batch_is_ordered_by_partition_and_knows_its_bounds():
    batch = Batch([item(1, 7), item(0, 3), item(1, 8), item(0, 4, b"oops")])
    assert [(one.partition, one.offset) for one in batch.items] == [(0, 3), (0, 4), (1, 7), (1, 8)]
    assert batch.starts() == {("pat-events", 0): 3, ("pat-events", 1): 7}
    assert batch.ends() == {("pat-events", 0): 5, ("pat-events", 1): 9}
    assert [one.offset for one, _ in batch.bad] == [4]


@pytest.mark.parametrize(
    "value", [b"", b"{}", b"[]", b"\xff", ROW + b"\n" + ROW, ROW.replace(b'"ts":1', b'"ts":"x"'), row(attr_keys=["k"]), b"[" * 100_000]
)
def test_what_is_no_row_has_a_reason(value):
    assert problem_of(value)


def test_a_row_has_none():
    assert problem_of(ROW) == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 7), st.randoms())
def test_a_crash_before_the_commit_gives_the_same_batch_again(partitions, size, random):
    """Whatever order the messages arrive in the second time, the batch that was intended comes out again."""
    offsets = dict.fromkeys(range(3), 0)
    messages = []
    for partition in partitions:
        messages.append(item(partition, offsets[partition], row(f"{partition}-{offsets[partition]}")))
        offsets[partition] += 1
    buffer = Buffer(size)
    buffer.add(messages)
    batch = buffer.take(overdue=True)
    committed = {place: (start, Intention(batch.name, batch.ends()[place])) for place, start in batch.starts().items()}
    # The next process: partitions arrive in another interleaving, each in its own order.
    again = Buffer(size)
    again.intentions = {place: intended for place, (_, intended) in committed.items()}
    queues = {number: [one for one in messages if one.partition == number] for number in range(3)}
    while any(queues.values()):
        again.add([queues[random.choice([number for number in queues if queues[number]])].pop(0)])
        repeated = again.take(overdue=True)
        if repeated is not None:
            break
    assert [one.value for one in repeated.items] == [one.value for one in batch.items]


def test_foreign_metadata_are_no_intention():
    assert intention("") is intention(None) is intention("by hand") is intention("{}") is None
    assert intention(msgspec.json.encode(Intention("0:5", 9)).decode()) == Intention("0:5", 9)


class FakeConsumer:
    """Kafka's side: one partition with messages; commits may fail, and a member that the group forgot has to join anew."""

    messages: list[bytes] = []
    commits: list[tuple[int, str | None]] = []
    failures: list[Exception] = []

    def __init__(self, _: dict) -> None:
        self.position_ = -1
        self.closed = self.paused = self.forgotten = False

    def subscribe(self, topics, on_assign, on_revoke):
        self._assign, self._revoke = on_assign, on_revoke

    def committed(self, partitions, timeout):
        offset, metadata = self.commits[-1] if self.commits else (-1001, None)
        return [TopicPartition("pat-events", 0, offset, metadata or "")]

    def consume(self, count, timeout):
        if self.forgotten:
            self.forgotten, self.position_ = False, -1
            self._revoke(self, [TopicPartition("pat-events", 0)])
            return []
        if self.position_ < 0:
            self.position_ = max(0, self.commits[-1][0] if self.commits else 0)
            self._assign(self, [TopicPartition("pat-events", 0)])
            return []
        if self.paused:
            return []
        values = self.messages[self.position_ : self.position_ + count]
        found = [FakeMessage(self.position_ + number, value) for number, value in enumerate(values)]
        self.position_ += len(found)
        return found

    def commit(self, offsets, asynchronous):
        if self.failures:
            failure = self.failures.pop(0)
            self.forgotten = failure.args[0].code() == KafkaError.UNKNOWN_MEMBER_ID
            raise failure
        self.commits.append((offsets[0].offset, offsets[0].metadata))
        return []

    def pause(self, partitions):
        self.paused = self.paused or bool(partitions)

    def resume(self, partitions):
        # As librdkafka: a partition stays paused over a rebalance until it is resumed itself.
        self.paused = self.paused and not partitions

    def position(self, partitions):
        return [TopicPartition("pat-events", 0, self.position_)]

    def get_watermark_offsets(self, partition, cached):
        return 0, len(self.messages)

    def close(self):
        self.closed = True


class FakeMessage:
    def __init__(self, offset: int, value: bytes) -> None:
        self._offset, self._value = offset, value

    def error(self):
        return None

    def topic(self):
        return "pat-events"

    def partition(self):
        return 0

    def offset(self):
        return self._offset

    def timestamp(self):
        return 1, 1_790_000_000_000

    def value(self):
        return self._value


@pytest.fixture
def kafka(monkeypatch):
    FakeConsumer.messages, FakeConsumer.commits, FakeConsumer.failures = [], [], []
    monkeypatch.setattr(consume, "Consumer", FakeConsumer)
    return FakeConsumer


def run_sink(server, until, seconds=10.0):
    config = msgspec.convert(
        {
            "region": "core",
            "regions": [{"name": "euw", "brokers": ["kafka:9092"]}],
            "clickhouse": {"urls": [server.url], "max_rows": 4, "linger_seconds": 0.05},
        },
        SinkConfig,
    )

    async def run():
        events = Inserter(config.clickhouse, config.clickhouse.table, Row.__struct_fields__)
        dead = Inserter(config.clickhouse, config.dead_letter_table, DEAD_COLUMNS)
        consumer = consume.RegionConsumer(config, config.regions[0], events, dead)
        task = asyncio.create_task(consumer.run())
        async with asyncio.timeout(seconds):
            while not until():
                await asyncio.sleep(0.01)
        consumer.stop()
        await task
        await events.close()
        await dead.close()

    asyncio.run(run())


def test_offsets_are_committed_after_the_rows_are_in(kafka, clickhouse):
    server = clickhouse()
    kafka.messages = [row(str(number)) for number in range(10)]
    run_sink(server, lambda: kafka.commits and kafka.commits[-1] == (10, None))
    assert [line["visitor"] for line in server.rows()] == [str(number) for number in range(10)]
    # Before each insert its intention, afterwards its end.
    assert [offset for offset, metadata in kafka.commits if metadata is None] == [4, 8, 10]
    assert [json.loads(metadata)["end"] for _, metadata in kafka.commits if metadata] == [4, 8, 10]


def test_a_failed_commit_skips_nothing_and_doubles_only_the_same_bytes(kafka, clickhouse):
    server = clickhouse()
    kafka.messages = [row(str(number)) for number in range(6)]
    error = KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))
    kafka.failures = [error]
    run_sink(server, lambda: kafka.commits and kafka.commits[-1] == (6, None))
    assert [line["visitor"] for line in server.rows()] == [str(number) for number in range(6)]


def test_a_member_that_the_group_forgot_reads_on_when_it_has_its_partitions_again(kafka, clickhouse):
    server = clickhouse()
    kafka.messages = [row(str(number)) for number in range(6)]
    kafka.failures = [KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))]
    run_sink(server, lambda: kafka.commits and kafka.commits[-1] == (6, None))
    assert [line["visitor"] for line in server.rows()] == [str(number) for number in range(6)]


def test_while_clickhouse_refuses_nothing_is_committed(kafka, clickhouse):
    failing = True
    server = clickhouse(lambda body: (500, "Code: 242 readonly") if failing else None)
    kafka.messages = [row(str(number)) for number in range(3)]

    def until():
        nonlocal failing
        if failing and len(server.bodies) >= 3:
            assert all(metadata for _, metadata in kafka.commits)
            failing = False
        return kafka.commits and kafka.commits[-1] == (3, None)

    run_sink(server, until)
    assert len(set(server.bodies)) == 1


def test_bad_messages_go_to_the_dead_letters_and_the_others_on(kafka, clickhouse):
    server = clickhouse(lambda body: (400, "Code: 27 Cannot parse") if b"poison" in body and b"payload" not in body else None)
    kafka.messages = [row("a"), b"\xffno row", row("poison"), row("b")]
    run_sink(server, lambda: kafka.commits and kafka.commits[-1] == (4, None))
    letters = {line["offset"]: line for line in server.rows() if "payload" in line}
    assert sorted(line["visitor"] for line in server.rows() if "visitor" in line) == ["a", "b"]
    assert set(letters) == {1, 2}
    assert letters[1]["payload"] == "\\xffno row" and letters[1]["topic"] == "euw/pat-events"
    assert "Cannot parse" in letters[2]["reason"] and "poison" in letters[2]["payload"]


def test_after_a_crash_the_intended_batch_is_sent_with_the_same_bytes(kafka, clickhouse):
    server = clickhouse()
    kafka.messages = [row(str(number)) for number in range(9)]
    # Three had been read together when the process died between insert and commit.
    kafka.commits = [(2, msgspec.json.encode(Intention("0:2", 5)).decode())]
    run_sink(server, lambda: kafka.commits[-1] == (9, None))
    assert server.stored[0] == b"".join(value + b"\n" for value in kafka.messages[2:5])
