"""Watchdog, probe and retention: what they decide."""

from __future__ import annotations

import datetime
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.clickhouse.programs import load

watchdog = load("clickhouse-watchdog")
retention = load("clickhouse-retention")
probe = load("clickhouse-probe")
TODAY = datetime.date(2026, 11, 23)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def watch(served, worked, grace=10):
    clock = Clock()
    return watchdog.watch(1, grace, served, worked, clock, clock.sleep), clock.now


def test_a_server_that_serves_is_left_alone():
    assert watch(lambda: True, None) == (None, 0)


def test_a_server_that_neither_serves_nor_works_is_hung():
    assert watch(lambda: False, lambda pid: (3.0, 10**9))[0] == "hung"


@pytest.mark.parametrize("step", [(0.2, 0), (0.0, 10**6)])
def test_loading_is_no_hanging_however_long_it_takes(step):
    looks = iter(range(1000))
    answers = iter([False] * 500 + [True])
    problem, seconds = watch(lambda: next(answers), lambda pid: tuple(one * number for one in step for number in [next(looks)]))
    assert problem is None
    assert seconds == 500


def test_a_server_that_ended_is_gone():
    def ended(pid):
        raise ProcessLookupError

    assert watch(lambda: False, ended)[0] == "gone"


@pytest.mark.parametrize(
    ("partition", "end"),
    [
        ("202612", datetime.date(2027, 1, 1)),
        ("202602", datetime.date(2026, 3, 1)),
        ("20260228", datetime.date(2026, 3, 1)),
        ("202613", None),
        ("tuple()", None),
        ("20260230", None),
    ],
)
def test_a_partition_ends_where_its_name_says(partition, end):
    assert retention.end_of(partition) == end


def test_months_are_kept_besides_the_current_one():
    names = ["202508", "202509", "202510", "202611", "all"]
    assert retention.expired(names, {"months": 13}, TODAY) == (["202508", "202509"], ["all"])


def test_days_are_kept_whole():
    assert retention.expired(["20261120", "20261121", "20261122", "20261123"], {"days": 2}, TODAY) == (["20261120"], [])


@given(st.dates(datetime.date(2000, 1, 1), datetime.date(2100, 1, 1)), st.integers(0, 120))
def test_nothing_of_the_months_to_keep_is_ever_dropped(today, months):
    kept = []
    month = today.replace(day=1)
    for _ in range(months + 1):
        kept.append(month.strftime("%Y%m"))
        month = (month - datetime.timedelta(days=1)).replace(day=1)
    assert retention.expired([*kept, month.strftime("%Y%m")], {"months": months}, today) == ([month.strftime("%Y%m")], [])


@pytest.fixture
def server():
    """A ClickHouse that answers what it is told to."""

    class Handler(BaseHTTPRequestHandler):
        reply = (200, b"Ok.\n")

        def do_GET(self):
            status, body = self.reply
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield Handler, listener.server_address[1]
    listener.shutdown()
    listener.server_close()


@pytest.fixture
def ask(server, tmp_path):
    class Probe(probe.Probe):
        lease = tmp_path / "lease"
        server_port = server[1]
        patience = 1

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Probe)
    threading.Thread(target=listener.serve_forever, daemon=True).start()

    def question(path="/replicas_status"):
        connection = http.client.HTTPConnection("127.0.0.1", listener.server_address[1], timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    yield question
    listener.shutdown()
    listener.server_close()


def test_the_probe_says_what_the_server_says(ask):
    assert ask() == (200, "Ok.\n")
    assert ask("/ping")[0] == 200
    assert ask("/secret")[0] == 404


@pytest.mark.parametrize("reply", [(200, b"optimize.events_local:\tAbsolute delay: 400.\n"), (500, b"Code: 999")])
def test_a_lagging_or_broken_server_is_503(ask, server, reply):
    server[0].reply = reply
    status, body = ask()
    assert status == 503
    assert reply[1].decode().strip() in body


def test_a_drain_holds_until_its_lease_ends(ask, tmp_path):
    (tmp_path / "lease").write_text(json.dumps({"until": 4_000_000_000}))
    assert ask()[0] == 503
    assert ask("/ping")[0] == 503
    (tmp_path / "lease").write_text(json.dumps({"until": 1}))
    assert ask()[0] == 200
    (tmp_path / "lease").write_text("{")
    assert ask()[0] == 503
