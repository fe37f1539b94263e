"""PAT's store: Kafka first, the spool from the first failure until the spool has been published, always in order."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from optimize.events.intake import Unavailable
from optimize.events.schema import Acceptor, Limits
from optimize.kafka.forward import Forwarder
from optimize.kafka.publish import NotDelivered, messages_of
from optimize.pat.service import Store
from optimize.spool.cursor import Cursor
from optimize.spool.segment import SpoolConfig
from optimize.spool.spool import Spool

ACCEPTOR = Acceptor("euw", "pat", Limits())


class FakePublisher:
    def __init__(self) -> None:
        self.away = False
        self.got: list[tuple[bytes, bytes]] = []

    async def send(self, messages):
        await asyncio.sleep(0)
        if self.away:
            raise NotDelivered("away")
        self.got += messages

    def visitors(self) -> list[str]:
        return [key.decode() for key, _ in self.got]


def events(*visitors: str):
    return ACCEPTOR.body(msgspec.json.encode([{"site": "s", "visitor": visitor, "type": "click"} for visitor in visitors]))


async def setup(directory, **config):
    spool = Spool(SpoolConfig(directory=str(directory), min_free_bytes=0, **config))
    cursor, publisher = Cursor(spool, "kafka", hard=True), FakePublisher()
    forwarder = Forwarder(spool, cursor, publisher)
    return spool, publisher, forwarder, Store(spool, publisher, forwarder)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def test_kafka_is_asked_first_and_the_key_is_the_visitor(tmp_path):
    async def run():
        spool, publisher, _, store = await setup(tmp_path)
        accepted = events("a", "b")
        await store(accepted)
        assert publisher.got == messages_of(accepted.payload)
        assert publisher.visitors() == ["a", "b"]
        assert spool.end.rows == 0
        await spool.stop()

    asyncio.run(run())


def test_what_kafka_did_not_take_is_spooled_and_published_later_in_order(tmp_path):
    async def run():
        spool, publisher, forwarder, store = await setup(tmp_path)
        publisher.away = True
        forwarding = asyncio.create_task(forwarder.run())
        for number in range(5):
            await store(events(f"away-{number}"))
        assert spool.end.rows == 5 and store.spooling
        publisher.away = False
        # Kafka is back, but the spool is not published yet: nothing overtakes it.
        await store(events("back-0"))
        await until(lambda: forwarder.idle)
        await store(events("back-1"))
        assert not store.spooling
        assert publisher.visitors() == [*(f"away-{number}" for number in range(5)), "back-0", "back-1"]
        forwarding.cancel()
        await spool.stop()

    asyncio.run(run())


def test_a_new_process_publishes_what_the_old_one_left(tmp_path):
    async def old():
        spool, publisher, _, store = await setup(tmp_path)
        publisher.away = True
        await store(events("left", "behind"))
        await spool.stop()

    async def new():
        spool, publisher, forwarder, store = await setup(tmp_path)
        assert store.spooling
        forwarding = asyncio.create_task(forwarder.run())
        await store(events("later"))
        await until(lambda: forwarder.idle)
        assert publisher.visitors() == ["left", "behind", "later"]
        forwarding.cancel()
        await spool.stop()

    asyncio.run(old())
    asyncio.run(new())


def test_without_kafka_and_room_nothing_is_acknowledged(tmp_path):
    async def run():
        spool, publisher, _, store = await setup(tmp_path, max_bytes=100)
        publisher.away = True
        with pytest.raises(Unavailable, match="full"):
            await store(events("x"))
        await spool.stop()

    asyncio.run(run())
