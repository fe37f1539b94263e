"""The ClickHouse load balancer: who gets writes and reads, and what happens to requests when a node goes."""

import json
import threading

import pytest

NODES = ["core-clickhouse-1", "core-clickhouse-2"]
BALANCERS = ["core-lb-clickhouse-1", "core-lb-clickhouse-2"]
WRITERS, READERS = 8123, 8124
ADMIN = "/usr/local/libexec/optimize/haproxy-admin /run/haproxy/admin.sock"


@pytest.fixture(autouse=True)
def all_serve(fleet):
    yield
    for node in NODES:
        fleet.answers(node, ping="200 Ok.", replicas_status="200 Ok.")
        fleet.run(node, "pkill -CONT -x backend; systemctl start backend")
    for balancer in BALANCERS:
        commands = " ".join(f'"set server {backend}/{node} state ready"' for backend in ("writers", "readers") for node in NODES)
        fleet.run(balancer, f"{ADMIN} {commands}")
    for port in (WRITERS, READERS):
        fleet.until(lambda port=port: fleet.hosts_behind(port) == set(NODES), 15, f"both nodes serve port {port}")


def test_a_lagging_replica_gets_no_writes_although_it_answers_200(fleet):
    fleet.answers(NODES[0], replicas_status="200 optimize.events: Absolute delay: 400.")
    fleet.until(lambda: fleet.hosts_behind(WRITERS) == {NODES[1]}, 10, "writes avoid the lagging replica")
    assert fleet.hosts_behind(READERS) == set(NODES)


def test_a_node_that_fails_its_ping_gets_no_reads(fleet):
    fleet.answers(NODES[0], ping="500 no")
    fleet.until(lambda: fleet.hosts_behind(READERS) == {NODES[1]}, 10, "reads avoid it")
    assert fleet.hosts_behind(WRITERS) == set(NODES)


def test_a_frozen_node_is_fenced_and_what_hung_there_is_answered(fleet):
    with fleet.stream(WRITERS) as stream:
        fleet.until(lambda: len(stream.results) > 5, 5, "requests run")
        # By its unit's process group, so that nothing of it runs on.
        fleet.run(NODES[0], "systemctl kill --signal=STOP backend")
        fleet.until(lambda: fleet_without(fleet, NODES[0]), 12, "the frozen node is out")
        fleet.run(NODES[0], "systemctl kill --signal=CONT backend")
    # A request waits 2 s here: those that hung may time out on this side; there is no other failure, and it is soon over.
    assert stream.gap < 9, f"longest gap {stream.gap:.1f} s"


def fleet_without(fleet, node):
    statistics = fleet.run(BALANCERS[0], f'{ADMIN} "show stat -1 4 -1"')
    return all(",DOWN," in line for line in statistics.splitlines() if f",{node}," in line)


def test_a_write_whose_node_dies_is_sent_to_another(fleet):
    answers = []

    def write():
        answers.append(fleet.get(WRITERS, "/?seconds=2", body="rows", timeout=20))

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    fleet.run(NODES[0], "sleep 0.7; systemctl kill --signal=KILL backend")
    for thread in threads:
        thread.join()
    assert [status for status, _ in answers] == [200] * 6
    assert {json.loads(body)["host"] for _, body in answers} == {NODES[1]}
    assert all(json.loads(body)["bytes"] == 4 for _, body in answers)


def test_a_drain_waits_for_what_is_in_flight(fleet):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(fleet.get(WRITERS, "/?seconds=9", timeout=30))) for _ in range(2)]
    for thread in threads:
        thread.start()
    fleet.until(lambda: in_flight(fleet, NODES[0]) > 0, 5, "a request is with the node")
    fleet.verb(NODES[0], "server_drain", haproxy_server_hosts=BALANCERS)
    assert in_flight(fleet, NODES[0]) == 0, "the drain ended before the request did"
    assert fleet.hosts_behind(WRITERS) == fleet.hosts_behind(READERS) == {NODES[1]}
    for thread in threads:
        thread.join()
    assert [status for status, _ in answers] == [200, 200]

    refused = fleet.verb(NODES[1], "server_drain", check=False, haproxy_server_hosts=BALANCERS)
    assert refused.returncode != 0
    assert "heal the others first" in refused.stdout

    fleet.run(BALANCERS[0], "systemctl reload haproxy")
    fleet.run(BALANCERS[1], "systemctl reload haproxy")
    assert fleet.hosts_behind(WRITERS) == {NODES[1]}, "a reload forgot the drain"

    fleet.verb(NODES[0], "server_undrain", haproxy_server_hosts=BALANCERS)
    assert fleet.hosts_behind(WRITERS) == set(NODES)


def in_flight(fleet, node):
    holder = fleet.holder("core-lb-clickhouse")
    lines = fleet.run(holder, f'{ADMIN} "show stat -1 4 -1"').splitlines()
    column = lines[0].removeprefix("# ").split(",").index("scur")
    return sum(int(line.split(",")[column]) for line in lines if f",{node}," in line)


def test_a_server_drain_is_a_lease(fleet):
    fleet.verb(NODES[0], "server_drain", haproxy_server_hosts=BALANCERS, haproxy_server_lease=5)
    fleet.until(lambda: fleet.hosts_behind(WRITERS) == set(NODES), 15, "the lease has ended")


def test_a_balancer_that_gives_no_answer_blocks(fleet):
    fleet.run(BALANCERS[1], "systemctl stop haproxy")
    try:
        refused = fleet.verb(NODES[0], "server_drain", check=False, haproxy_server_hosts=BALANCERS)
        assert refused.returncode != 0
        assert "does not answer" in refused.stdout
    finally:
        fleet.run(BALANCERS[1], "systemctl start haproxy")


def test_a_reload_drops_nothing(fleet):
    holder = fleet.holder("core-lb-clickhouse")
    answers = []
    slow = threading.Thread(target=lambda: answers.append(fleet.get(WRITERS, "/?seconds=3", timeout=20)))
    with fleet.stream(WRITERS) as stream:
        slow.start()
        for _ in range(4):
            fleet.run(holder, "systemctl reload haproxy; sleep 0.5")
    slow.join()
    assert len(stream.results) > 20
    assert stream.failed == []
    assert answers[0][0] == 200


def test_a_configuration_that_haproxy_refuses_changes_nothing(fleet):
    before = fleet.run(BALANCERS[0], "md5sum /etc/haproxy/haproxy.cfg")
    refused = fleet.play("converge.yml", check=False, haproxy_extra="backend x\n  no such keyword")
    assert refused.returncode != 0
    assert "Write haproxy.cfg" in refused.stdout
    assert fleet.run(BALANCERS[0], "md5sum /etc/haproxy/haproxy.cfg") == before
    assert fleet.get(WRITERS)[0] == 200


def test_metrics_are_haproxys_own(fleet):
    status, text = fleet.get(8404, "/metrics")
    assert status == 200
    assert 'haproxy_server_status{proxy="writers",server="core-clickhouse-1",state="UP"} 1' in text


def test_no_query_and_no_client_address_reaches_the_journal(fleet):
    fleet.get(WRITERS, "/insert?visitor=canary-4711")
    holder = fleet.holder("core-lb-clickhouse")
    fleet.until(lambda: "/insert" in fleet.run(holder, "journalctl -q -t haproxy --no-pager -o cat"), 5, "requests are logged")
    journal = fleet.run(holder, "journalctl -q -t haproxy --no-pager -o cat -g /insert")
    assert "canary-4711" not in journal
    assert "10.92.160.1:" not in journal
