"""Every event that the edge acknowledged is read back from ClickHouse, once, with all its columns right."""

from __future__ import annotations

import asyncio
import random

from tools.traffic import Visitors, make_requests

#: Events of the undisturbed run.
EVENTS = 20_000


def test_events_sent_are_the_events_stored(edges, state, reader, seed):
    rng = random.Random(seed)
    site = f"e2e-{seed:08x}"
    visitors = Visitors(edges, state / "ca.pem")
    asyncio.run(visitors.send(make_requests(rng, site, EVENTS), rng, resend=0.05))
    ledger = visitors.ledger
    assert len(ledger.acknowledged) == len(ledger.sent) == EVENTS
    assert ledger.resent >= EVENTS * 0.02, "the resending of acknowledged events did not happen"
    comparison = asyncio.run(reader.settled(ledger, site))
    print(f"\n{EVENTS} sent, {ledger.resent} resent: {comparison}")
    assert comparison.exact, comparison


def test_a_plain_count_is_exact_on_both_pipelines(edges, state, reader, seed):
    rng = random.Random(seed + 1)
    site = f"count-{seed:08x}"
    visitors = Visitors(edges, state / "ca.pem")
    asyncio.run(visitors.send(make_requests(rng, site, 600), rng, resend=1.0))
    asyncio.run(reader.settled(visitors.ledger, site))
    for pipeline in ("collect", "pat"):
        sent = sum(1 for _, found, _ in visitors.ledger.sent.values() if found == pipeline)
        text = asyncio.run(reader.query(f"SELECT count() FROM optimize.events WHERE site = '{site}' AND pipeline = '{pipeline}'"))
        assert int(text) == sent > 0
