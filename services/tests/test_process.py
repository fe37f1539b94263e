"""Whole processes: collect and pat over HTTP, killed, stopped, drained, full; ClickHouse is a fake, Kafka is away."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Service:
    """A service in a process of its own."""

    def __init__(self, name: str, directory: Path, **config) -> None:
        self.name, self.directory, self.port = name, directory, free_port()
        self.drain = directory / "drain"
        self.config = directory / f"{name}.json"
        settings = {
            "region": "euw",
            "listen": {"host": "127.0.0.1", "port": self.port},
            "drain_file": str(self.drain),
            "stop_seconds": 5,
            "spool": {"directory": str(directory / "spool"), "min_free_bytes": 0, **config.pop("spool", {})},
            **config,
        }
        self.config.write_text(json.dumps(settings))
        self.log = directory / f"{name}.log"

    def start(self) -> Service:
        code = f"import sys; from optimize.{self.name}.main import main; sys.exit(main())"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", code, "--config", str(self.config)], stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.ask("GET", "/healthz")
                return self
            except OSError:
                time.sleep(0.03)
        raise AssertionError(self.log.read_text())

    def ask(self, method: str, path: str, body: object = None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if data is not None and "content-type" not in sent:
            sent["content-type"] = "application/json"
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text[:1] in b"{[" and text else text, dict(answer.getheaders())

    def end(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(20)


@pytest.fixture
def run():
    """Starts services and ends what is left of them."""
    started: list[Service] = []

    def make(name: str, directory: Path, **config) -> Service:
        started.append(Service(name, directory, **config))
        return started[-1].start()

    yield make
    for service in started:
        if service.process.poll() is None:
            service.end(signal.SIGKILL)


def collect(run, directory, *urls, **config):
    clickhouse = {"urls": list(urls), "linger_seconds": 0.1, "retry_seconds": 0.5, "connect_seconds": 0.5}
    return run("collect", directory, clickhouse=clickhouse, dead_letters=str(directory / "dead"), **config)


def event(**fields):
    return {"event_id": str(uuid.uuid4()), "site": "s", "visitor": "v", "type": "click", **fields}


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_contract_of_collect(run, tmp_path, clickhouse):
    server = clickhouse()
    service = collect(run, tmp_path, server.url)
    events = "/collect/v1/events"
    one = event()
    assert service.ask("POST", events, one)[:2] == (202, {"accepted": 1, "ids": [one["event_id"]]})
    status, answer, headers = service.ask(
        "POST", events, [event(), event()], content_type="text/plain;charset=UTF-8", origin="https://shop.example"
    )
    assert (status, answer["accepted"]) == (202, 2)
    assert headers["access-control-allow-origin"] == "https://shop.example"
    assert headers["access-control-allow-credentials"] == "true"
    lines = b"\n".join(json.dumps(event()).encode() for _ in range(3))
    assert service.ask("POST", events, lines)[1]["accepted"] == 3
    status, image, headers = service.ask("GET", "/collect/v1/pixel.gif?site=s&visitor=v&type=pageview&attrs.a=b%20c&url=%C5%82")
    assert (status, headers["content-type"], image[:6]) == (200, "image/gif", b"GIF89a")
    until(lambda: len(server.rows()) == 7)
    pixel = server.rows()[-1]
    assert (pixel["attr_keys"], pixel["attr_values"], pixel["url"]) == (["a"], ["b c"], "ł")

    status, answer, _ = service.ask("POST", events, [event(), event(site=5), event(colour="x")])
    assert (status, {(e["index"], e["field"]) for e in answer["errors"]}) == (400, {(1, "site"), (2, "colour")})
    assert service.ask("POST", events, [event()] * 501)[0] == 413
    assert service.ask("POST", events, b" " * 1_048_577)[0] == 413
    assert service.ask("POST", events, event(), content_type="text/html")[0] == 415
    assert service.ask("POST", events, event(), content_encoding="gzip")[0] == 415
    assert service.ask("GET", events)[0] == 405
    assert service.ask("GET", "/nowhere")[0] == 404
    assert service.ask("GET", "/collect/v1/pixel.gif?site=s")[0] == 400
    status, _, headers = service.ask(
        "OPTIONS", events, origin="https://a.example", access_control_request_method="POST", access_control_request_headers="content-type"
    )
    assert (status, headers["access-control-allow-origin"]) == (204, "https://a.example")
    assert "POST" in headers["access-control-allow-methods"] and "content-type" in headers["access-control-allow-headers"]

    status, state, _ = service.ask("GET", "/readyz")
    assert status == 200 and state["ready"] and not state["draining"] and len(state["config"]) == 16
    assert {name: item["kind"] for name, item in state["dependencies"].items()} == {"spool": "hard", "clickhouse": "soft"}
    _, metrics, _ = service.ask("GET", "/metrics")
    assert b"optimize_events_accepted_total 7.0" in metrics and b'optimize_event_requests_total{status="413"} 2.0' in metrics
    assert "/collect/v1/events" in service.ask("GET", "/openapi/openapi.json")[1]["paths"]
    assert service.end() == 0
    assert len(server.rows()) == 7


def test_chunked_bodies_are_limited_while_they_arrive(run, tmp_path, clickhouse):
    service = collect(run, tmp_path, clickhouse().url)
    with socket.create_connection(("127.0.0.1", service.port), 10) as client:
        client.sendall(
            b"POST /collect/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        # Far more than is read of it; the answer came before.
        with contextlib.suppress(OSError):
            for _ in range(400):
                client.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        assert b" 413 " in client.recv(1000)


def test_kill_9_loses_nothing_acknowledged_and_sends_the_same_bytes_again(run, tmp_path, clickhouse):
    refuse = True
    server = clickhouse(lambda body: (500, "Code: 242") if refuse else None)
    service = collect(run, tmp_path, server.url)
    acknowledged = []

    def send(_):
        while True:
            batch = [event() for _ in range(20)]
            try:
                status, answer, _ = service.ask("POST", "/collect/v1/events", batch)
            except (OSError, http.client.HTTPException):
                return
            assert status == 202
            acknowledged.extend(answer["ids"])

    with ThreadPoolExecutor(6) as pool:
        sending = pool.map(send, range(6))
        until(lambda: server.bodies)
        time.sleep(0.3)
        service.end(signal.SIGKILL)
        list(sending)
    tried = set(server.bodies)
    refuse = False
    service.start()
    until(lambda: set(acknowledged) <= {row["event_id"] for row in server.rows()})
    assert tried <= set(server.stored)
    assert len(server.rows()) == len({row["event_id"] for row in server.rows()})
    assert service.end() == 0


def test_stopping_finishes_what_is_in_flight_and_flushes(run, tmp_path, clickhouse):
    server = clickhouse()
    service = collect(run, tmp_path, server.url)
    statuses = []

    def send(_):
        for _ in range(200):
            try:
                statuses.append(service.ask("POST", "/collect/v1/events", [event() for _ in range(5)])[0])
            except (OSError, http.client.HTTPException):
                return

    with ThreadPoolExecutor(4) as pool:
        sending = pool.map(send, range(4))
        time.sleep(0.3)
        assert service.end() == 0
        list(sending)
    assert set(statuses) <= {202, 503}
    assert len(server.rows()) >= 5 * statuses.count(202)


def test_a_drain_turns_only_readiness(run, tmp_path, clickhouse):
    service = collect(run, tmp_path, clickhouse().url)
    service.drain.write_text(f"{time.time() + 60:.0f}\n")
    status, state, _ = service.ask("GET", "/readyz")
    assert (status, state["draining"]) == (503, True)
    assert service.ask("POST", "/collect/v1/events", event())[0] == 202
    assert service.ask("GET", "/healthz")[0] == 200
    service.drain.write_text(f"{time.time() - 1:.0f}\n")
    assert service.ask("GET", "/readyz")[0] == 200


def test_a_full_spool_answers_503_and_is_not_ready_until_there_is_room(run, tmp_path, clickhouse):
    refuse = True
    server = clickhouse(lambda body: (500, "Code: 252") if refuse else None)
    service = collect(run, tmp_path, server.url, spool={"max_bytes": 20_000, "segment_bytes": 4000})
    accepted = 0
    while (status := (answer := service.ask("POST", "/collect/v1/events", [event() for _ in range(5)]))[0]) == 202:
        accepted += 5
        assert accepted < 1000
    assert (status, answer[2]["retry-after"]) == (503, "1")
    assert service.ask("GET", "/readyz")[0] == 503
    refuse = False
    until(lambda: service.ask("GET", "/readyz")[0] == 200)
    assert service.ask("POST", "/collect/v1/events", event())[0] == 202
    until(lambda: len(server.rows()) == accepted + 1)


def test_refused_rows_are_in_the_dead_letters_and_the_others_are_in(run, tmp_path, clickhouse):
    server = clickhouse(lambda body: (400, "Code: 53, e.displayText() = Type mismatch") if b"poison" in body else None)
    service = collect(run, tmp_path, server.url)
    assert service.ask("POST", "/collect/v1/events", [event(), event(visitor="poison"), event()])[0] == 202
    until(lambda: len(server.rows()) == 2 and list((tmp_path / "dead").glob("*.ndjson")))
    (letter,) = [json.loads(line) for path in (tmp_path / "dead").glob("*.ndjson") for line in path.read_text().splitlines()]
    assert json.loads(letter["row"])["visitor"] == "poison" and "Type mismatch" in letter["reason"]
    assert b"optimize_dead_letters_total 1.0" in service.ask("GET", "/metrics")[1]


def test_replay_sends_what_was_kept_once_more(run, tmp_path, clickhouse):
    server = clickhouse()
    service = collect(run, tmp_path, server.url)
    sent = [event() for _ in range(7)]
    service.ask("POST", "/collect/v1/events", sent)
    until(lambda: len(server.rows()) == 7)
    before = server.rows()
    server.stored.clear()
    command = [
        sys.executable,
        "-c",
        "import sys; from optimize.collect.main import main; sys.exit(main())",
        "--config",
        str(service.config),
        "replay",
    ]
    done = subprocess.run([*command, "--since", "5m"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "replayed 7 rows, 0 refused")
    assert server.rows() == before
    assert (
        "replayed 0 rows"
        in subprocess.run([*command, "--since", "2h", "--until", "1h"], capture_output=True, text=True, check=False).stderr
    )
    assert subprocess.run([*command, "--since", "yesterday"], capture_output=True, check=False).returncode == 64


def test_too_fast_is_429(run, tmp_path, clickhouse):
    service = collect(run, tmp_path, clickhouse().url, intake={"per_site_per_second": 10})
    assert service.ask("POST", "/collect/v1/events", [event() for _ in range(10)])[0] == 202
    status, answer, headers = service.ask("POST", "/collect/v1/events", [event() for _ in range(9)])
    assert (status, answer["errors"][0]["field"], headers["retry-after"]) == (429, "site", "1")
    assert service.ask("POST", "/collect/v1/events", event(site="other"))[0] == 202


@pytest.mark.parametrize(("gateways", "client"), [(["127.0.0.0/8"], "203.0.113.9"), (["192.0.2.1"], "127.0.0.1"), ([], "127.0.0.1")])
def test_the_client_s_address_is_taken_from_the_gateway_only(run, tmp_path, clickhouse, gateways, client):
    service = collect(run, tmp_path, clickhouse().url, gateway_addresses=gateways, log_level="debug")
    service.ask("POST", "/collect/v1/events", {}, x_forwarded_for="203.0.113.9")
    until(lambda: "refused" in service.log.read_text())
    (line,) = [json.loads(line) for line in service.log.read_text().splitlines() if '"refused"' in line]
    assert line["client"] == client


def test_pat_decides_and_spools_while_everything_is_away(run, tmp_path):
    cache = tmp_path / "experiments.json"
    document = {"format": 1, "version": 4, "sites": {"shop": {"experiments": [
        {"id": "e1", "status": "running", "variations": [{"id": "A", "weight": 1}]}]}}}  # fmt: skip
    cache.write_text(json.dumps({"etag": '"4"', "document": json.dumps(document)}))
    service = run(
        "pat", tmp_path,
        kafka={"brokers": [f"127.0.0.1:{free_port()}"], "topic": "pat-events", "settings": {"message.timeout.ms": 300}},
        experiments={"url": f"http://127.0.0.1:{free_port()}/experiments.json", "cache": str(cache)},
    )  # fmt: skip
    decided = {"site": "shop", "visitor": "v", "decisions": [{"experiment": "e1", "variation": "A"}]}
    assert service.ask("GET", "/pat/v1/decisions?site=shop&visitor=v")[:2] == (200, decided)
    assert service.ask("GET", "/pat/v1/decisions?site=none&visitor=v")[1]["decisions"] == []
    status, answer, _ = service.ask("GET", "/pat/v1/decisions?site=shop")
    assert (status, answer["errors"][0]["field"]) == (400, "visitor")
    sent = [event() for _ in range(3)]
    assert service.ask("POST", "/pat/v1/events", sent)[:2] == (202, {"accepted": 3, "ids": [one["event_id"] for one in sent]})
    started = time.monotonic()
    assert service.ask("POST", "/pat/v1/events", event())[0] == 202
    assert time.monotonic() - started < 0.25
    status, state, _ = service.ask("GET", "/readyz")
    assert status == 200 and not state["dependencies"]["kafka"]["ok"]
    stored = b"".join(path.read_bytes() for path in (tmp_path / "spool").glob("*.seg"))
    assert all(one["event_id"].encode() in stored for one in sent)
    assert service.end() == 0


def test_a_wrong_configuration_ends_with_78_and_a_sentence(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"region": "euw", "sppol": {}}')
    for name in ("collect", "pat", "sink"):
        code = f"import sys; from optimize.{name}.main import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", str(path)], capture_output=True, text=True, check=False, env=os.environ
        )
        assert done.returncode == 78
        assert "`sppol`" in done.stderr
