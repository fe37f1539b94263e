"""What collect takes and refuses, on Debian 13."""

import base64
import json

import pytest

HOST = "euw-collect-1"
PATH = "/collect/v1/events"
ACCEPTED = "optimize_events_accepted_total"


def test_one_many_and_lines_are_taken(fleet):
    before = fleet.metric(HOST, ACCEPTED)
    events = fleet.events(5)
    for body, number in ((json.dumps(events[0]), 1), (json.dumps(events[1:3]), 2), ("\n".join(map(json.dumps, events[3:])), 2)):
        status, text = fleet.http(HOST, PATH, body, headers={"Content-Type": "text/plain"})
        assert (status, json.loads(text)["accepted"]) == (202, number)
    assert fleet.metric(HOST, ACCEPTED) == before + 5


def test_a_pixel_is_an_event(fleet):
    before = fleet.metric(HOST, ACCEPTED)
    status, _ = fleet.http(HOST, "/collect/v1/pixel.gif?site=shop&visitor=v&type=pageview&attrs.page=home")
    assert status == 200
    assert fleet.metric(HOST, ACCEPTED) == before + 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"site": "x" * 65}, "site"),
        ({"type": "NOT A TYPE"}, "type"),
        ({"event_id": "no-uuid"}, "event_id"),
        ({"ts": "2001-01-01T00:00:00Z"}, "ts"),
        ({"attrs": {"k": "v" * 257}}, "attrs"),
    ],
)
def test_a_bad_event_is_named_and_nothing_of_its_request_is_kept(fleet, change, field):
    before = fleet.metric(HOST, ACCEPTED)
    status, text = fleet.http(HOST, PATH, json.dumps([*fleet.events(2), fleet.events(1)[0] | change]))
    assert status == 400
    (error,) = json.loads(text)["errors"]
    assert (error["index"], error["field"].split(".")[0]) == (2, field)
    assert fleet.metric(HOST, ACCEPTED) == before


@pytest.mark.parametrize(("body", "status"), [("{", 400), ("[]", 400), ("[" + "0," * 600_000 + "0]", 413)])
def test_what_is_no_event_at_all_is_refused(fleet, body, status):
    assert fleet.http(HOST, PATH, body)[0] == status


def test_more_than_500_events_are_too_many(fleet):
    assert fleet.http(HOST, PATH, json.dumps(fleet.events(500)))[0] == 202
    assert fleet.http(HOST, PATH, json.dumps(fleet.events(501)))[0] in (400, 413)


def test_neither_visitor_nor_secret_is_logged(fleet):
    fleet.http(HOST, PATH, json.dumps(fleet.events(1, visitor="canary-visitor-1")))
    fleet.http(HOST, PATH, json.dumps(fleet.events(1, visitor="canary-visitor-1", site="x" * 65)))
    journal = fleet.run(HOST, "journalctl -q -u optimize-collect -o cat --no-pager")
    assert "canary-visitor-1" not in journal
    assert base64.b64encode(b"canary-visitor-1").decode() not in journal
