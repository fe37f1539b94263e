"""Events in, rows out: exactly once, whatever is away for a while."""

import json
import time

import pytest

COLLECT, PAT, KAFKA = "euw-collect-1", "euw-pat-1", "euw-kafka-1"
NODES = ["core-clickhouse-1", "core-clickhouse-2"]
BALANCER = "core-lb-clickhouse-1"


def send(fleet, host, number, **fields):
    """Events that the service acknowledged; their ids."""
    events = fleet.events(number, **fields)
    path = f"/{host.split('-')[1]}/v1/events"
    for start in range(0, number, 100):
        status, text = fleet.http(host, path, json.dumps(events[start : start + 100]), timeout=30)
        assert status == 202, text
    return events


def ask(fleet, query):
    """The answer of the first node that gives one, by the reading name."""
    for node in NODES:
        answer = fleet.run(node, "clickhouse-client", check=False, stdin=query)
        if answer:
            return answer
    return ""


def stored(fleet, site):
    """Ids of a site's rows as a reader sees them; a doubled one is there twice."""
    return sorted(ask(fleet, f"SELECT toString(event_id) FROM optimize.events WHERE site = '{site}'").split())


def ids(events):
    return sorted(one["event_id"] for one in events)


def test_both_pipelines_store_each_event_once(fleet):
    events = send(fleet, COLLECT, 300, site="both") + send(fleet, PAT, 300, site="both")
    # Resent: the same ids, as a client does that saw no answer.
    again = json.dumps(events[:50])
    assert fleet.http(COLLECT, "/collect/v1/events", again)[0] == fleet.http(PAT, "/pat/v1/events", again)[0] == 202
    fleet.until(lambda: len(stored(fleet, "both")) >= 600, 60, "600 rows")
    time.sleep(5)
    assert stored(fleet, "both") == ids(events)


@pytest.mark.parametrize(
    ("site", "host", "unit", "away"),
    [
        ("kafka-away", PAT, "kafka", [KAFKA]),
        ("balancer-away", COLLECT, "haproxy", [BALANCER]),
        ("clickhouse-away", COLLECT, "clickhouse-server", NODES),
        ("sink-away", PAT, "optimize-sink", NODES),
    ],
)
def test_what_is_sent_while_something_is_away_arrives_once(fleet, site, host, unit, away):
    for one in away:
        fleet.run(one, f"systemctl stop {unit}")
    try:
        events = send(fleet, host, 200, site=site)
        assert fleet.ready(host)[0] == 200
    finally:
        for one in away:
            fleet.run(one, f"systemctl start {unit}")
    fleet.until(lambda: stored(fleet, site) == ids(events), 120, "each event is stored once")


def test_a_killed_sink_loses_and_doubles_nothing(fleet):
    events = []
    for number in range(6):
        events += send(fleet, PAT, 100, site="killed-sink")
        fleet.run(NODES[number % 2], "systemctl kill --signal=KILL optimize-sink")
    fleet.until(lambda: stored(fleet, "killed-sink") == ids(events), 120, "each event is stored once")


def test_a_message_that_is_no_event_goes_to_the_dead_letters(fleet):
    fleet.run(KAFKA, f"echo no-event | kafka-console-producer.sh --bootstrap-server {KAFKA}:9092 --topic pat-events")
    events = send(fleet, PAT, 10, site="after-a-bad-one")
    fleet.until(lambda: stored(fleet, "after-a-bad-one") == ids(events), 60, "the others go on")
    fleet.until(lambda: int(ask(fleet, "SELECT count() FROM optimize.events_dead_letter") or 0) > 0, 60, "it is kept")
