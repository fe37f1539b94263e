"""What the sink makes of Kafka's messages: batches by partition, whose bounds can be found again after a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from optimize.events.schema import Row

_decoder = msgspec.json.Decoder(Row)

Place = tuple[str, int]


class Item(NamedTuple):
    """A message: where it was, when it came, what is in it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes


class Intention(msgspec.Struct):
    """Kept with a partition's committed offset before a batch is inserted: the batch's name, and where it ends in this partition.

    After a crash whoever reads the partition first takes what has the same name up to there: the same rows in the same
    order, so the same bytes, which ClickHouse drops as a block that it has.
    """

    batch: str
    end: int


def intention(metadata: str | None) -> Intention | None:
    """What the commit's metadata say; None where it was not the sink that wrote them."""
    if not metadata:
        return None
    try:
        return msgspec.json.decode(metadata, type=Intention)
    except msgspec.DecodeError:
        return None


def problem_of(value: bytes) -> str:
    """Why a message is no event; empty where it is one. Whoever else writes to the topic must keep to the rows' columns."""
    if b"\n" in value:
        return "more than one line"
    try:
        row = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)[:500]
    if len(row.attr_keys) != len(row.attr_values):
        return "attr_keys and attr_values differ in length"
    return ""


class Batch:
    """Messages of one or more partitions, in the order of topic, partition and offset."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = sorted(items, key=lambda item: item[:3])
        self.good: list[Item] = []
        self.bad: list[tuple[Item, str]] = []
        for item in self.items:
            problem = problem_of(item.value)
            if problem:
                self.bad.append((item, problem))
            else:
                self.good.append(item)

    def starts(self) -> dict[Place, int]:
        """First offset by partition."""
        return {(item.topic, item.partition): item.offset for item in reversed(self.items)}

    def ends(self) -> dict[Place, int]:
        """Behind the last offset by partition: what is committed in the end."""
        return {(item.topic, item.partition): item.offset + 1 for item in self.items}

    @property
    def name(self) -> str:
        """Names the batch by where it begins."""
        return "+".join(f"{partition}:{offset}" for (_, partition), offset in sorted(self.starts().items()))[:200]


class Buffer:
    """Messages that wait to become a batch.

    Args:
        max_rows: of a batch.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._items: list[Item] = []
        self.intentions: dict[Place, Intention] = {}
        self._reached: dict[Place, int] = {}

    def clear(self) -> None:
        """Forget everything: the partitions are read anew from what was committed."""
        self._items.clear()
        self.intentions.clear()
        self._reached.clear()

    def add(self, items: Iterable[Item]) -> None:
        for item in items:
            self._items.append(item)
            self._reached[item.topic, item.partition] = item.offset + 1

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        return len(self._items) >= self.max_rows

    def take(self, overdue: bool) -> Batch | None:
        """The next batch; None while it is not yet time for one.

        Args:
            overdue: the oldest message has waited long enough. A batch that was intended before a crash is waited for all the same,
                until all of it is there.
        """
        if self.intentions:
            name = min(intended.batch for intended in self.intentions.values())
            places = {place: intended.end for place, intended in self.intentions.items() if intended.batch == name}
            if all(self._reached.get(place, -1) >= end for place, end in places.items()):
                for place in places:
                    del self.intentions[place]
                return self._cut(lambda item: item.offset < places.get((item.topic, item.partition), -1))
            return None
        if self._items and (overdue or self.full):
            first = set(map(id, self._items[: self.max_rows]))
            return self._cut(lambda item: id(item) in first)
        return None

    def _cut(self, wanted: Callable[[Item], bool]) -> Batch | None:
        taken = [item for item in self._items if wanted(item)]
        self._items = [item for item in self._items if not wanted(item)]
        return Batch(taken) if taken else None
