"""Inserts: the same bytes until they are in; what is refused for good is found and handed back."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimize.clickhouse.insert import ClickHouseConfig, Failed, Inserter


def insert(urls, rows, deadline=None, **config):
    async def run():
        inserter = Inserter(ClickHouseConfig(urls=urls, **config), "optimize.events_write", ("a", "b"))
        try:
            return await inserter.insert_rows(rows, deadline)
        finally:
            await inserter.close()

    return asyncio.run(run())


def bad_rows(body: bytes):
    return (400, "Code: 27, e.displayText() = DB::Exception: Cannot parse input") if b"bad" in body else None


def test_an_insert_names_its_columns_and_is_synchronous(clickhouse):
    server = clickhouse()
    assert insert([server.url], [b'{"a":1}', b'{"a":2}'], settings={"max_threads": "1"}) == []
    assert server.bodies == [b'{"a":1}\n{"a":2}\n']
    assert server.queries == [
        {"query": ["INSERT INTO optimize.events_write (a, b) FORMAT JSONEachRow"], "insert_distributed_sync": ["1"], "max_threads": ["1"]}
    ]


@pytest.mark.parametrize(
    "text", ["Code: 242, e.displayText() = DB::Exception: Table is in readonly mode", "Code: 252. DB::Exception: Too many parts", "oops"]
)
def test_what_fails_goes_to_another_node_with_the_same_bytes(clickhouse, text):
    first, second = clickhouse(lambda body: (500, text)), clickhouse()
    assert insert([first.url, second.url], [b"1", b"2"]) == []
    assert first.bodies == second.stored == [b"1\n2\n"]


def test_a_node_that_is_gone_is_passed_over_and_then_tried_last(clickhouse):
    gone, there = clickhouse(), clickhouse()
    gone.close()

    async def run():
        inserter = Inserter(ClickHouseConfig(urls=[gone.url, there.url], connect_seconds=0.5), "t", ("a",))
        await inserter.insert_rows([b"1"])
        started = time.monotonic()
        await inserter.insert_rows([b"2"])
        assert inserter._order()[0] == there.url
        await inserter.close()
        return time.monotonic() - started

    assert asyncio.run(run()) < 0.5
    assert there.stored == [b"1\n", b"2\n"]


def test_it_is_tried_until_it_is_in(clickhouse):
    answers = iter([(500, "x"), (503, "y"), None])
    server = clickhouse(lambda body: next(answers))
    assert insert([server.url], [b"1"]) == []
    assert server.bodies == [b"1\n"] * 3


def test_a_deadline_ends_the_attempts(clickhouse):
    server = clickhouse(lambda body: (500, "Code: 999"))
    with pytest.raises(Failed, match="Code: 999"):
        insert([server.url], [b"1"], time.monotonic() + 0.3)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([b"good", b"bad"]), min_size=1, max_size=12))
def test_rows_at_fault_are_alone_in_the_dead_letters(rows):
    from fake_clickhouse import FakeClickHouse

    rows = [b"%s-%d" % (row, number) for number, row in enumerate(rows)]
    server = FakeClickHouse(bad_rows)
    found = insert([server.url], rows)
    assert [(item.place, item.row) for item in found] == [(number, row) for number, row in enumerate(rows) if b"bad" in row]
    assert all("Cannot parse input" in item.reason for item in found)
    assert b"".join(server.stored).split() == [row for row in rows if b"good" in row]
    # Divided the same way again: the same blocks.
    once = list(server.stored)
    insert([server.url], rows)
    assert server.stored == once * 2
    server.close()


def test_a_schema_that_does_not_fit_is_no_row_s_fault(clickhouse):
    server = clickhouse(
        lambda body: (400, "Code: 117, e.displayText() = DB::Exception: Unknown field found while parsing JSONEachRow format: b")
    )
    with pytest.raises(Failed):
        insert([server.url], [b"1", b"2"], time.monotonic())
    assert set(server.bodies) == {b"1\n2\n"}
