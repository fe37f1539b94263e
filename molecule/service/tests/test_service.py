"""What every service gets from the role, tried on collect with everything away that it needs."""

import json
import re
import socket
import threading
import time

import pytest

HOSTS = ["euw-collect-1", "euw-collect-2"]
UNIT = "optimize-collect"
CONVERGE = "molecule/service/converge.yml"
SPOOL = {"max_bytes": 268435456, "min_free_bytes": 67108864, "segment_bytes": 8388608}
BACKLOG = 'optimize_spool_backlog_rows{cursor="clickhouse"}'


def started(fleet, host):
    return fleet.run(host, f"systemctl show --value -p InvocationID {UNIT}")


@pytest.fixture
def as_converged(fleet):
    """Whatever a test left: the scenario's configuration, running."""
    yield
    fleet.play(CONVERGE)
    for host in HOSTS:
        fleet.until(lambda host=host: fleet.ready(host)[0] == 200, 30, f"{host} is ready")


def test_it_is_ready_and_says_what_is_away(fleet):
    for host in HOSTS:
        status, document = fleet.ready(host)
        assert (status, document["ready"], document["service"]) == (200, True, "collect")
        assert {name: (one["kind"], one["ok"]) for name, one in document["dependencies"].items()} == {
            "spool": ("hard", True),
            "clickhouse": ("soft", False),
            "kafka": ("soft", False),
        }


def test_what_was_accepted_survives_a_kill(fleet):
    host = HOSTS[0]
    before = fleet.metric(host, BACKLOG)
    status, text = fleet.http(host, "/collect/v1/events", json.dumps(fleet.events(7)))
    assert (status, json.loads(text)["accepted"]) == (202, 7)
    fleet.run(host, f"systemctl kill --signal=KILL {UNIT}")
    fleet.until(lambda: fleet.ready(host)[0] == 200, 20, "systemd has started it again")
    assert fleet.metric(host, BACKLOG) == before + 7


def test_the_sandbox_is_tight(fleet):
    text = fleet.run(HOSTS[0], f"systemd-analyze security --no-pager {UNIT}")
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", text)[1]) <= 1.5
    process = fleet.run(HOSTS[0], f"systemctl show --value -p MainPID {UNIT}")
    assert fleet.run(HOSTS[0], f"ps -o user:32= -p {process}") == UNIT
    assert fleet.run(HOSTS[0], f"grep NoNewPrivs /proc/{process}/status").split()[1] == "1"
    assert fleet.run(HOSTS[0], f"grep CapBnd /proc/{process}/status").split()[1] == "0" * 16


def test_configuration_and_credentials_are_the_services_alone(fleet):
    assert fleet.run(HOSTS[0], "stat -c %U:%G:%a /etc/optimize/collect.json") == f"root:{UNIT}:640"
    assert fleet.run(HOSTS[0], "stat -c %U:%G:%a /etc/optimize/credentials/collect/clickhouse") == f"root:{UNIT}:640"
    assert "cannot" in fleet.run(
        HOSTS[0], "runuser -u nobody cat /etc/optimize/credentials/collect/clickhouse 2>&1 | sed s/Permission/cannot/", False
    )


def test_a_drain_is_a_lease_and_serves_on(fleet):
    host = HOSTS[0]
    fleet.verb("collect", host, "drain", service_drain_lease=30, service_drain_settle=1)
    status, document = fleet.ready(host)
    assert (status, document["draining"]) == (503, True)
    assert fleet.http(host, "/collect/v1/events", json.dumps(fleet.events(1)))[0] == 202
    assert fleet.verb("collect", host, "health", check=False).returncode != 0
    fleet.until(lambda: fleet.ready(host)[0] == 200, 40, "the lease has ended")
    fleet.verb("collect", host, "drain", service_drain_settle=0)
    fleet.verb("collect", host, "undrain")
    assert fleet.ready(host)[0] == 200


def test_a_stop_finishes_what_is_in_flight(fleet):
    host = HOSTS[0]
    body = json.dumps(fleet.events(3)).encode()
    with socket.create_connection((fleet.addresses[host], 8080), timeout=20) as connection:
        head = f"POST /collect/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:50])
        time.sleep(0.5)
        stop = threading.Thread(target=fleet.run, args=(host, f"systemctl stop {UNIT}"))
        stop.start()
        time.sleep(2)
        connection.sendall(body[50:])
        answer = connection.recv(65536).decode()
    stop.join()
    assert answer.startswith("HTTP/1.1 202"), answer
    assert fleet.run(host, f"systemctl show --value -p ExecMainStatus -p Result {UNIT}").split() == ["success", "0"]
    fleet.run(host, f"systemctl start {UNIT}")


def test_a_change_restarts_one_after_the_other(fleet, as_converged):
    before = {host: started(fleet, host) for host in HOSTS}
    fingerprints = {host: fleet.ready(host)[1]["config"] for host in HOSTS}
    ready, end = [], threading.Event()

    def look():
        while not end.is_set():
            seen = []
            for host in HOSTS:
                try:
                    seen.append(fleet.ready(host)[0] == 200)
                except OSError:
                    seen.append(False)
            ready.append(seen)
            time.sleep(0.1)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        fleet.play(CONVERGE, collect_settings={"spool": SPOOL, "stop_seconds": 15}, service_drain_settle=1)
    finally:
        end.set()
        watcher.join()
    assert all(started(fleet, host) != before[host] for host in HOSTS)
    assert all(fleet.ready(host)[1]["config"] != fingerprints[host] for host in HOSTS)
    assert all(any(seen) for seen in ready), "no host was ready at some moment"
    assert any(not seen[0] for seen in ready) and any(not seen[1] for seen in ready), "the watcher saw no drain"

    fleet.verb("collect", HOSTS[0], "rollback", service_drain_settle=0)
    assert fleet.ready(HOSTS[0])[1]["config"] == fingerprints[HOSTS[0]]
    assert fleet.ready(HOSTS[1])[1]["config"] != fingerprints[HOSTS[1]]


def test_a_configuration_that_the_service_refuses_changes_nothing(fleet):
    before = [started(fleet, HOSTS[0]), fleet.run(HOSTS[0], "md5sum /etc/optimize/collect.json")]
    refused = fleet.play(CONVERGE, check=False, collect_settings={"spool": SPOOL, "nonsense": 1})
    assert refused.returncode != 0
    assert "nonsense" in refused.stdout
    assert [started(fleet, HOSTS[0]), fleet.run(HOSTS[0], "md5sum /etc/optimize/collect.json")] == before


def test_what_does_not_start_is_taken_back_and_stops_there(fleet, as_converged):
    before = {host: started(fleet, host) for host in HOSTS}
    fingerprint = fleet.ready(HOSTS[0])[1]["config"]
    refused = fleet.play(CONVERGE, check=False, collect_settings={"spool": SPOOL | {"directory": "/proc/no"}}, service_drain_settle=0)
    assert refused.returncode != 0
    assert "What ran before is back and ready" in refused.stdout
    status, document = fleet.ready(HOSTS[0])
    assert (status, document["config"]) == (200, fingerprint)
    assert started(fleet, HOSTS[1]) == before[HOSTS[1]], "the next host was touched after the first one failed"


def test_a_release_is_one_services_own_and_there_is_a_way_back(fleet, as_converged):
    host = HOSTS[0]
    now = fleet.ready(host)[1]["version"]
    fleet.run(host, f"cp -a /opt/optimize/{now} /opt/optimize/next; echo next > /opt/optimize/next/VERSION")
    files = ["/etc/optimize/collect.json", "/etc/optimize/credentials/collect/*", f"/etc/systemd/system/{UNIT}.service"]
    fleet.run(host, f"ln -sfn {now} /opt/optimize/current-other")
    fleet.module(host, "webtrends.optimize.service_release", service="collect", version="next", files=files)
    assert fleet.ready(host)[1]["version"] == now, "choosing a release touched the running process"
    fleet.verb("collect", host, "restart", service_drain_settle=0)
    assert fleet.ready(host)[1]["version"] == "next"
    assert fleet.run(host, "readlink /opt/optimize/current-other") == now
    fleet.verb("collect", host, "rollback", service_drain_settle=0)
    assert fleet.ready(host)[1]["version"] == now
    fleet.run(host, "rm /opt/optimize/current-other")
