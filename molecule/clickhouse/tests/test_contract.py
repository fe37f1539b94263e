"""What contracts.md promises of events, and whom the cluster refuses."""

import datetime
import json
import time
import uuid

import pytest
from cluster import LIBRARY, NODES, RUN, Refused, event, lines, play, until

testinfra_hosts = ["core-clickhouse-1"]


@pytest.mark.parametrize("nodes", [NODES, [LIBRARY]], ids=["cluster", "today's engine"])
def test_an_event_is_read_from_any_node_as_it_was_written_to_any(clients, nodes):
    full = event(session="x", url="https://e/?a=1", experiment="e", variation="b", value=-12.5, ts=1790000000123, attr_keys=["k"],
                 attr_values=["'\\\t"], region="euw", pipeline="pat")  # fmt: skip
    events = [full, *(event() for _ in range(40))]
    for number, one in enumerate(events):
        clients.insert(nodes[number % len(nodes)], lines([one]))
    for node in nodes:
        until(lambda node=node: clients.count(node, f"site = '{RUN}-any'") == len(events), 30, f"all events on {node}")
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
    until(lambda: clients.count(NODES[1], f"site = '{RUN}-retry'", "events_write") == 200, 30, "each row once, before any merge")


@pytest.mark.parametrize("nodes", [NODES, [LIBRARY]], ids=["cluster", "today's engine"])
def test_of_a_resent_event_the_first_row_stays_also_across_months_and_under_a_filter(clients, nodes):
    site = f"{RUN}-months"
    december, january = 1767225599000, 1767225601000
    ids = [str(uuid.uuid4()) for _ in range(100)]
    for moment, variation in ((january, "second"), (december, "first"), (january + 1, "third")):
        events = [event(site=site, event_id=one, received_at=moment, variation=variation) for one in ids]
        clients.insert(nodes[0], lines(events))
    raw = until(lambda: clients.count(nodes[-1], f"site = '{site}'", "events_write") >= 200, 30, "both months on the far replica")
    assert raw
    for node in nodes:
        seen = until(lambda node=node: clients.count(node, f"site = '{site}' AND variation = 'first'") == 100, 30, "the first rows")
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
    until(lambda: clients.query(NODES[1], count).strip() == "1", 30, "one dead letter")


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
    rows = (
        hosts[NODES[3]]
        .check_output(
            'clickhouse-client -q "SELECT place, groupArray(version), min(length(applied_by)) > 0, max(applied_at) > now() - 86400 '
            'FROM (SELECT * FROM optimize.schema_migrations ORDER BY version) GROUP BY place ORDER BY place"'
        )
        .splitlines()
    )
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
    until(lambda: clients.count(NODES[1], f"site = '{RUN}-old'") == 150, 30, "events of three months")
    program = "/usr/local/libexec/optimize/clickhouse-retention --config /etc/optimize/clickhouse-retention.json"
    assert "would drop partition" in hosts[NODES[0]].check_output(f"{program} --dry-run")
    assert clients.count(NODES[0], f"site = '{RUN}-old'") == 150
    for node in NODES[::2]:
        hosts[node].check_output("systemctl start clickhouse-retention")
    until(lambda: clients.count(NODES[3], f"site = '{RUN}-old'") == 100, 30, "the oldest month to be gone")
    for node in NODES:
        assert clients.count(node, f"site = '{RUN}-old' AND received_at >= {moments[1]}") == 100
