"""Nothing acknowledged is lost, what fell comes back by itself, and the verbs say the truth meanwhile."""

import threading
import time

import pytest
from cluster import NODES, PROJECT, RUN, Refused, event, insert_anywhere, lines, pid, play, until

testinfra_hosts = ["core-clickhouse-1"]


def test_a_drained_node_says_so_until_it_is_undrained(clients, verb):
    node = NODES[2]
    verb(node, "drain")
    for path in ("/ping", "/replicas_status"):
        with pytest.raises(Refused, match="503: drained"):
            clients.get(node, path, 8125)
    assert clients.get(node, "/ping").startswith("Ok.")
    answer = verb(node, "undrain")["member"]
    assert answer["healthy"]
    assert answer["running"]
    assert clients.get(node, "/replicas_status", 8125).startswith("Ok.")


def test_nothing_acknowledged_is_lost_when_nodes_are_killed_while_events_come(clients, hosts, verb):
    stored, stop, failures = [], threading.Event(), []

    def write(worker):
        try:
            while not stop.is_set():
                events = [event(site=f"{RUN}-kill") for _ in range(25)]
                insert_anywhere(clients, lines(events), worker)
                stored.extend(one["event_id"] for one in events)
                # More than a few small inserts a second are too many parts.
                time.sleep(0.25)
        except Exception as problem:
            failures.append(problem)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    for node in (NODES[0], NODES[3]):
        time.sleep(2)
        assert hosts[node].run("systemctl kill --signal=KILL clickhouse-server").rc == 0
        time.sleep(4)
    stop.set()
    for writer in writers:
        writer.join()
    assert not failures
    # Both come back by themselves, and only then the cluster says that it can lose another one.
    answer = verb(NODES[1], "health")["member"]
    assert answer["healthy"]
    for node in NODES:
        until(lambda node=node: clients.count(node, f"site = '{RUN}-kill'") == len(stored), 30, f"{len(stored)} events on {node}")
        seen = set(clients.query(node, f"SELECT toString(event_id) FROM optimize.events WHERE site = '{RUN}-kill'").split())
        assert seen == set(stored)


def test_health_blocks_while_another_member_is_down(hosts, verb):
    hosts[NODES[1]].check_output("systemctl stop clickhouse-server")
    try:
        said = " ".join(verb(NODES[0], "health", expect=2, clickhouse_health_timeout=3).split())
        assert "the cluster cannot lose core-clickhouse-1 now" in said
        assert "core-clickhouse-2 gives no answer" in said
        # The one that is down may be mended.
        assert verb(NODES[1], "member")["member"]["healthy"]
    finally:
        hosts[NODES[1]].check_output("systemctl start clickhouse-server")
    verb(NODES[1], "health")


def test_without_zookeeper_readers_stay_and_writers_go(clients, hosts, verb):
    zookeeper = hosts["core-zookeeper-1"]
    zookeeper.check_output("systemctl stop zookeeper")
    try:
        until(lambda: _refused(clients, NODES[0], "/replicas_status", 8123) == 500, 30, "/replicas_status to fail")
        assert _refused(clients, NODES[0], "/replicas_status", 8125) == 503
        assert clients.get(NODES[0], "/ping", 8125).startswith("Ok.")
        assert clients.count(NODES[0], f"site = '{RUN}-kill'") > 0
        # A server that is started now ends or hangs, and is tried again until it can.
        hosts[NODES[3]].check_output("systemctl restart --no-block clickhouse-server")
        time.sleep(8)
        assert _refused(clients, NODES[3], "/ping", 8123) == 0
    finally:
        zookeeper.check_output("systemctl start zookeeper")
    verb(NODES[0], "health", clickhouse_health_timeout=90)
    assert clients.get(NODES[3], "/replicas_status", 8125).startswith("Ok.")


def _refused(clients, node, path, port):
    """The status of a refusal; None where it answers."""
    try:
        clients.get(node, path, port)
    except Refused as refusal:
        return refusal.status
    return None


# Deaf to SIGTERM and without a port, as a server that started while ZooKeeper was away.
HUNG = """[Service]
ExecStart=
ExecStart=/bin/sh -c 'trap "" TERM; while :; do sleep 1000; done'
ExecStartPost=
ExecStartPost=+/usr/local/libexec/optimize/clickhouse-watchdog --port 8123 --grace 2 $MAINPID
RestartSec=1
TimeoutStopSec=1
"""


def test_a_process_that_is_active_with_closed_ports_is_killed_and_started_again(hosts, verb):
    host = hosts[NODES[3]]
    drop_in = "/run/systemd/system/clickhouse-server.service.d"
    host.check_output("systemctl stop clickhouse-server")
    host.check_output(f"mkdir -p {drop_in}")
    host.check_output("echo %s > %s", HUNG, f"{drop_in}/zz-hung.conf")
    try:
        host.check_output("systemctl daemon-reload")
        host.check_output("systemctl start --no-block clickhouse-server")
        until(lambda: int(host.check_output("systemctl show --value --property NRestarts clickhouse-server")) >= 1, 20, "a restart")
        assert "has done nothing for 2 s: killed" in host.check_output("journalctl --unit clickhouse-server --output cat --lines 40")
    finally:
        host.check_output(f"rm {drop_in}/zz-hung.conf")
        host.check_output("systemctl daemon-reload")
        host.run("systemctl kill --signal=KILL clickhouse-server")
        host.check_output("systemctl reset-failed clickhouse-server")
        host.check_output("systemctl restart clickhouse-server")
    verb(NODES[0], "health")


def test_a_changed_configuration_leaves_the_server_running_and_says_restart_needed(clients, hosts, verb):
    node = NODES[1]
    before = pid(hosts[node])
    assert not verb(node, "restart_needed")["restart"]["restart_needed"]
    changed = {"clickhouse_settings": {"max_connections": 1000}, "clickhouse_users_settings": {"profiles": {"reader": {"max_threads": 3}}}}
    done = play(PROJECT / "playbooks" / "clickhouse.yml", limit=node, **changed)
    assert done.returncode == 0, done.stdout
    assert pid(hosts[node]) == before
    answer = verb(node, "restart_needed")["restart"]
    assert answer["restart_needed"]
    assert ["config.xml" in reason for reason in answer["reasons"]] == [True]
    # Users are taken up while it runs.
    threads = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    until(lambda: clients.query(node, threads).strip() == "3", 30, "the changed profile")
    done = play(PROJECT / "playbooks" / "clickhouse.yml", limit=node)
    assert done.returncode == 0, done.stdout
    assert not verb(node, "restart_needed")["restart"]["restart_needed"]


def test_another_version_of_a_running_node_is_refused(hosts):
    before = pid(hosts[NODES[1]])
    done = play(PROJECT / "playbooks" / "clickhouse.yml", limit=NODES[1], clickhouse_version="18.16.1+ds-9")
    assert done.returncode == 2
    assert "A converge never changes the version of a running node" in " ".join(done.stdout.split())
    assert pid(hosts[NODES[1]]) == before


def test_a_node_with_an_empty_disk_gets_schema_and_events_from_its_replica(clients, hosts, verb):
    node = NODES[3]
    count = "clickhouse-client -q 'SELECT count() FROM optimize.events_local FINAL'"
    expected = hosts[NODES[2]].check_output(count)
    hosts[node].check_output("systemctl stop clickhouse-server")
    hosts[node].check_output("find /var/lib/clickhouse -mindepth 1 -delete")
    tables = ["2/events_local", "2/events_dead_letter_local", "2/verify_local", "schema_migrations"]
    gone = "".join(f"deleteall /clickhouse/tables/{table}/replicas/{node}\\n" for table in tables)
    hosts["core-zookeeper-1"].check_output(f"printf '{gone}' | zkCli.sh")
    done = play(PROJECT / "playbooks" / "clickhouse.yml", limit=node)
    assert done.returncode == 0, done.stdout
    verb(NODES[0], "health")
    until(lambda: hosts[node].check_output(count) == expected, 30, "the events of its shard")
