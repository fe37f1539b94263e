"""A cluster that keeps every event once, refuses whom it must, comes back by itself, and whose verbs say the truth."""

import contextlib
import datetime
import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import pytest
import testinfra
import yaml

SCENARIO = Path(__file__).resolve().parents[1]
PROJECT = SCENARIO.parents[1]
STATE = PROJECT / ".cache" / "molecule" / "clickhouse"
testinfra_hosts = ["core-clickhouse-1"]
NODES = [f"core-clickhouse-{number}" for number in (1, 2, 3, 4)]
LIBRARY = "core-clickhouse-library-1"
# Sites of this run alone, so that the tests can be repeated on the same hosts.
RUN = uuid.uuid4().hex[:8]


class Refused(Exception):
    """ClickHouse's answer to what it does not do; status 0 where nobody answered."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Clients:
    """HTTP as a client of the cluster. The users may come from its hosts only, so it goes through one of them."""

    def __init__(self, ports, passwords):
        self.ports = ports
        self.passwords = passwords

    def get(self, node, path="/", port=8123):
        return self._open(urllib.request.Request(f"http://127.0.0.1:{self.ports[node, port]}{path}"))

    def query(self, node, sql, data=None, user="reader", password=None, **settings):
        if data is not None:
            settings["query"] = sql
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[node, 8123]}/?{urllib.parse.urlencode(settings)}",
            data=(sql if data is None else data).encode(),
            headers={"X-ClickHouse-User": user, "X-ClickHouse-Key": password or self.passwords.get(user, "")},
        )
        return self._open(request)

    def insert(self, node, data, table="events_write"):
        return self.query(node, f"INSERT INTO optimize.{table} FORMAT JSONEachRow", data, user="writer")

    def count(self, node, where="1", table="events"):
        return int(self.query(node, f"SELECT count() FROM optimize.{table} WHERE {where}"))

    def _open(self, request):
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode()) from error
        except OSError as error:
            raise Refused(0, str(error)) from error


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def hosts():
    inventory = str(SCENARIO / "inventory.yml")
    names = [*NODES, LIBRARY, "core-zookeeper-1"]
    return {name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory) for name in names}


@pytest.fixture(scope="module")
def clients():
    passwords = yaml.safe_load((STATE / "secrets.yml").read_text())["secret_clickhouse_passwords"]
    ports = {(node, port): free_port() for node in [*NODES, LIBRARY] for port in (8123, 8125)}
    forwards = [word for (node, port), local in ports.items() for word in ("-L", f"127.0.0.1:{local}:{node}:{port}")]
    command = ["ssh", "-F", str(STATE / "ssh_config"), "-S", "none", "-N", "-o", "ExitOnForwardFailure=yes", *forwards, NODES[0]]
    with subprocess.Popen(command) as tunnel:
        found = Clients(ports, passwords)
        until(lambda: found.get(NODES[0], "/ping"), 15, "the way through the first node")
        yield found
        tunnel.terminate()


def until(condition, seconds, what):
    """Wait for a condition; a refusal counts as "not yet"."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Refused):
            if found := condition():
                return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.3)


def play(playbook, **variables):
    command = ["ansible-playbook", "-i", str(SCENARIO / "inventory.yml"), str(playbook), "-e", json.dumps(variables)]
    if limit := variables.get("limit"):
        command += ["-l", limit]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_BECOME": "false"}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


VERBS = """
- hosts: "{{ limit }}"
  become: true
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: clickhouse, tasks_from: "{{ item }}"}
      loop: "{{ verbs }}"
    - ansible.builtin.copy:
        content: "{{ {'member': clickhouse_member | default({}), 'restart': clickhouse_restart_needed | default({})} | to_json }}"
        dest: "{{ answer }}"
      delegate_to: localhost
      become: false
"""


@pytest.fixture
def verb(tmp_path):
    """Run verbs of the role on a node: their answers, or what a refusal said."""

    def run(node, *verbs, expect=0, **variables):
        (tmp_path / "verb.yml").write_text(VERBS)
        answer = tmp_path / "answer.json"
        quick = {"clickhouse_health_samples": 2, "clickhouse_health_interval": 0.5, "clickhouse_health_timeout": 40}
        done = play(tmp_path / "verb.yml", limit=node, verbs=verbs, answer=str(answer), **{**quick, **variables})
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout if expect else json.loads(answer.read_text())

    return run


def event(**fields):
    return {"event_id": str(uuid.uuid4()), "site": f"{RUN}-any", "visitor": "v", "type": "pageview", "received_at": 1790000000000, **fields}


def lines(events):
    return "".join(json.dumps(one) + "\n" for one in events)


def insert_anywhere(clients, data, first=0):
    """What a service does: the same bytes, on the next node, until one has stored them."""
    for attempt in range(first, first + 60):
        try:
            return clients.insert(NODES[attempt % len(NODES)], data)
        except Refused:
            time.sleep(0.5)
    raise AssertionError("no node took the events within 30 s")


def pid(host):
    return host.check_output("systemctl show --value --property MainPID clickhouse-server")


@pytest.mark.parametrize("nodes", [NODES, [LIBRARY]], ids=["cluster", "today's engine"])
def test_an_event_is_read_from_any_node_as_it_was_written_to_any(clients, nodes):
    full = event(session="x", url="https://e/?a=1", experiment="e", variation="b", value=-12.5, ts=1790000000123, attr_keys=["k"],
                 attr_values=["'\\\t"], region="euw", pipeline="pat")  # fmt: skip
    events = [full, *(event() for _ in range(40))]
    for number, one in enumerate(events):
        clients.insert(nodes[number % len(nodes)], lines([one]))
    for node in nodes:
        until(lambda node=node: clients.count(node, f"site = '{RUN}-any'") == len(events), 10, f"all events on {node}")
        columns = ", ".join(full)
        mine = f"event_id = '{full['event_id']}'"
        row = json.loads(clients.query(node, f"SELECT {columns} FROM optimize.events WHERE {mine} FORMAT JSONEachRow"))
        # Decimals and 64-bit integers are quoted by one engine and not by the other.
        assert {**row, "value": float(row["value"]), "ts": int(row["ts"]), "received_at": int(row["received_at"])} == full


def test_both_shards_hold_events_and_each_on_two_nodes(clients, hosts):
    held = {node: int(hosts[node].check_output("clickhouse-client -q 'SELECT count() FROM optimize.events_local'")) for node in NODES}
    assert held[NODES[0]] == held[NODES[1]] > 0
    assert held[NODES[2]] == held[NODES[3]] > 0


def test_the_same_bytes_on_another_node_are_stored_once(clients):
    data = lines([event(site=f"{RUN}-retry") for _ in range(200)])
    clients.insert(NODES[0], data)
    clients.insert(NODES[3], data)
    until(lambda: clients.count(NODES[1], f"site = '{RUN}-retry'", "events_write") == 200, 10, "each row once, before any merge")


@pytest.mark.parametrize("nodes", [NODES, [LIBRARY]], ids=["cluster", "today's engine"])
def test_of_a_resent_event_the_first_row_stays_also_across_months_and_under_a_filter(clients, nodes):
    site = f"{RUN}-months"
    december, january = 1767225599000, 1767225601000
    ids = [str(uuid.uuid4()) for _ in range(100)]
    for moment, variation in ((january, "second"), (december, "first"), (january + 1, "third")):
        events = [event(site=site, event_id=one, received_at=moment, variation=variation) for one in ids]
        clients.insert(nodes[0], lines(events))
    raw = until(lambda: clients.count(nodes[-1], f"site = '{site}'", "events_write") >= 200, 10, "both months on the far replica")
    assert raw
    for node in nodes:
        seen = until(lambda node=node: clients.count(node, f"site = '{site}' AND variation = 'first'") == 100, 10, "the first rows")
        assert seen
        assert clients.count(node, f"site = '{site}'") == 100
        # The month of the later row can be pruned by this filter, or the earlier one's by the other: neither may bring a second row back.
        assert clients.count(node, f"site = '{site}' AND received_at >= {january}") == 0
        assert clients.count(node, f"site = '{site}' AND received_at < {january}") == 100


def test_a_bad_event_stores_nothing_of_its_insert(clients):
    before = clients.count(NODES[0], f"site = '{RUN}-bad'")
    with pytest.raises(Refused, match=r"Cannot parse|Unknown field"):
        clients.insert(NODES[0], lines([event(site=f"{RUN}-bad"), {"event_id": "no uuid", "site": f"{RUN}-bad"}]))
    assert clients.count(NODES[0], f"site = '{RUN}-bad'") == before


def test_dead_letters_are_one_row_for_each_place_in_kafka(clients):
    letter = {"reason": "no JSON", "topic": "pat-events", "partition": 3, "offset": time.time_ns(), "payload": "{", "received_at": 0}
    for node, reason in ((NODES[0], "no JSON"), (NODES[2], "consumed again")):
        clients.insert(node, lines([{**letter, "reason": reason}]), "events_dead_letter")
    count = f"SELECT count() FROM optimize.events_dead_letter FINAL WHERE offset = {letter['offset']}"
    until(lambda: clients.query(NODES[1], count).strip() == "1", 10, "one dead letter")


@pytest.mark.parametrize("node", [NODES[0], LIBRARY])
def test_who_may_not_is_refused(clients, node):
    with pytest.raises(Refused, match=r"(?i)password"):
        clients.query(node, "SELECT 1", password="wrong")
    with pytest.raises(Refused, match="default"):
        clients.query(node, "SELECT 1", user="default", password="x")
    with pytest.raises(Refused, match=r"Code: 19[25]|Code: 516"):
        # Root's user comes from the host itself only.
        clients.query(NODES[1] if node != LIBRARY else node, "SELECT 1", user="operator")
    with pytest.raises(Refused, match="readonly"):
        clients.query(node, "INSERT INTO optimize.events_write FORMAT JSONEachRow", lines([event()]), user="reader")
    with pytest.raises(Refused, match=r"Code: (392|497)"):
        clients.query(node, "DROP TABLE optimize.events_local", user="writer")


def test_a_query_can_neither_exceed_its_limits_nor_lift_them(clients):
    with pytest.raises(Refused, match="Memory limit"):
        clients.query(NODES[0], "SELECT groupArray(number) FROM (SELECT number FROM system.numbers LIMIT 60000000)")
    with pytest.raises(Refused, match="readonly"):
        clients.query(NODES[0], "SELECT 1", max_memory_usage=0)


def test_root_needs_no_flag(hosts):
    for node in NODES:
        assert hosts[node].check_output("clickhouse-client -q 'SELECT 1'") == "1"


def test_metrics_of_todays_engine(clients):
    assert "ClickHouseMetrics_Query" in clients.get(LIBRARY, "/metrics")


def test_migrations_are_recorded_with_who_and_when_for_every_replica(hosts):
    rows = hosts[NODES[3]].check_output(
        "clickhouse-client -q \"SELECT place, groupArray(version), min(length(applied_by)) > 0, max(applied_at) > now() - 86400 "
        'FROM (SELECT * FROM optimize.schema_migrations ORDER BY version) GROUP BY place ORDER BY place"'
    ).splitlines()
    assert rows == [f"replica {node}\t[1,2,3]\t1\t1" for node in NODES]


def test_an_applied_migration_that_was_altered_is_refused(hosts, tmp_path):
    book = tmp_path / "altered.yml"
    book.write_text("""
- hosts: core-clickhouse-2
  become: true
  gather_facts: false
  tasks:
    - webtrends.optimize.clickhouse_migrate:
        migrations: {0001-events.sql.j2: "-- scope: replica\\nCREATE TABLE optimize.other (a Int8) ENGINE = Memory"}
        replica: "{{ inventory_hostname }}"
        shard: "1"
        engine: ReplicatedMergeTree('/tables/schema_migrations', '{replica}')
        user: operator
        password: "{{ secret_clickhouse_passwords.operator }}"
""")
    done = play(book)
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "0001-events was applied" in said
    assert "An applied migration never changes" in said
    assert hosts["core-clickhouse-2"].check_output("clickhouse-client -q 'EXISTS TABLE optimize.other'") == "0"


def test_retention_drops_old_months_on_every_replica_and_nothing_else(clients, hosts):
    today = datetime.datetime.now(datetime.UTC)
    months = [today.year * 12 + today.month - 1 - back for back in (0, 13, 14)]
    moments = [int(datetime.datetime(month // 12, month % 12 + 1, 1, tzinfo=datetime.UTC).timestamp() * 1000) for month in months]
    clients.insert(NODES[0], lines([event(site=f"{RUN}-old", received_at=moment) for moment in moments for _ in range(50)]))
    until(lambda: clients.count(NODES[1], f"site = '{RUN}-old'") == 150, 10, "events of three months")
    program = "/usr/local/libexec/optimize/clickhouse-retention --config /etc/optimize/clickhouse-retention.json"
    assert "would drop partition" in hosts[NODES[0]].check_output(f"{program} --dry-run")
    assert clients.count(NODES[0], f"site = '{RUN}-old'") == 150
    for node in NODES[::2]:
        hosts[node].check_output("systemctl start clickhouse-retention")
    until(lambda: clients.count(NODES[3], f"site = '{RUN}-old'") == 100, 10, "the oldest month to be gone")
    for node in NODES:
        assert clients.count(node, f"site = '{RUN}-old' AND received_at >= {moments[1]}") == 100


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
    until(lambda: clients.query(node, threads).strip() == "3", 15, "the changed profile")
    done = play(PROJECT / "playbooks" / "clickhouse.yml", limit=node)
    assert done.returncode == 0, done.stdout
    assert not verb(node, "restart_needed")["restart"]["restart_needed"]
