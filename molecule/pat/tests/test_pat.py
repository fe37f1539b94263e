"""Decisions from the gateway's document, with the gateway there and away; events with Kafka away."""

import json
from collections import Counter

HOST, GATEWAY = "euw-pat-1", "euw-app-gateway-1"
BACKLOG = 'optimize_spool_backlog_rows{cursor="kafka"}'


def decisions(fleet, visitor):
    status, text = fleet.http(HOST, f"/pat/v1/decisions?site=demo&visitor={visitor}")
    assert status == 200
    return {one["experiment"]: one["variation"] for one in json.loads(text)["decisions"]}


def test_the_document_comes_over_verified_tls(fleet):
    fleet.until(lambda: fleet.metric(HOST, "optimize_experiments_version") == 1, 30, "the document is there")


def test_decisions_stay_and_weights_are_obeyed(fleet):
    first = [decisions(fleet, f"visitor-{number}") for number in range(400)]
    assert first[:40] == [decisions(fleet, f"visitor-{number}") for number in range(40)]
    counted = Counter(one["headline"] for one in first)
    assert 150 < counted["bold"] < 250
    assert 150 < sum("checkout" in one for one in first) < 250, "half of the traffic takes part"


def test_it_decides_while_the_gateway_is_away_and_after_a_restart(fleet):
    before = [decisions(fleet, f"visitor-{number}") for number in range(20)]
    fleet.run(GATEWAY, "systemctl stop keepalived haproxy")
    try:
        fleet.run(HOST, "systemctl restart optimize-pat")
        fleet.until(lambda: fleet.ready(HOST)[0] == 200, 20, "it is ready")
        assert [decisions(fleet, f"visitor-{number}") for number in range(20)] == before
    finally:
        fleet.run(GATEWAY, "systemctl start haproxy keepalived")


def test_events_are_spooled_while_kafka_is_away(fleet):
    before = fleet.metric(HOST, BACKLOG)
    status, text = fleet.http(HOST, "/pat/v1/events", json.dumps(fleet.events(9, type="conversion")), timeout=20)
    assert (status, json.loads(text)["accepted"]) == (202, 9)
    fleet.until(lambda: fleet.metric(HOST, BACKLOG) == before + 9, 20, "they wait in the spool")
    assert fleet.ready(HOST)[0] == 200


def test_a_bad_event_is_refused_by_its_field(fleet):
    status, text = fleet.http(HOST, "/pat/v1/events", json.dumps(fleet.events(1, value="a lot")))
    assert status == 400
    assert json.loads(text)["errors"][0]["field"] == "value"
