"""Visitors who send while something happens to the platform, and what is stored of what they sent."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from pathlib import Path

from tools.traffic import Edge, Reader, Visitors, make_requests

#: Visitors send at this pace (events per second) from before the event until after it, ...
RATE = 200
#: ... and this many events at most, whatever happens.
MOST_EVENTS = 40_000
#: Seconds of sending before and after.
MARGIN_SECONDS = 2


def nothing_is_lost_while(
    what: Callable[[], object], name: str, *, edges: list[Edge], state: Path, reader: Reader, seed: int, rate: int = RATE
) -> None:
    """Send without a pause while `what` runs; every event sent is acknowledged in the end, and stored exactly once."""
    rng = random.Random(f"{seed}-{name}")
    site = f"{name.replace(' ', '-')}-{seed:08x}"
    visitors = Visitors(edges, state / "ca.pem", workers=8)
    over = asyncio.Event()

    async def run() -> None:
        requests = itertools.takewhile(lambda _: not over.is_set(), make_requests(rng, site, MOST_EVENTS))
        sending = asyncio.create_task(visitors.send(requests, rng, rate=rate))
        await asyncio.sleep(MARGIN_SECONDS)
        assert visitors.ledger.acknowledged, "nothing was acknowledged before it began"
        try:
            await asyncio.to_thread(what)
            await asyncio.sleep(MARGIN_SECONDS)
            assert not sending.done(), "the sending ended before it was over"
        finally:
            over.set()
            await sending

    asyncio.run(run())
    ledger = visitors.ledger
    comparison = asyncio.run(reader.settled(ledger, site, seconds=180))
    print(
        f"\n{name}: {len(ledger.acknowledged)} acknowledged, answers {dict(ledger.answers)},"
        f" longest gap {ledger.longest_gap_s:.1f} s; {comparison}"
    )
    assert ledger.acknowledged == ledger.sent.keys()
    assert comparison.exact, comparison
