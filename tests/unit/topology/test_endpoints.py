"""What an inventory makes of a connection."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import Query, Resolver, Table, TableError, find_directory
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import Estate

INVENTORIES = Path(__file__).parents[3] / "inventories"
TABLE = Table.load(str(INVENTORIES))
COUNTS = {
    "euw_collect": 2, "euw_pat": 2, "euw_kafka": 3, "eun_collect": 1, "eun_pat": 1, "eun_kafka": 3,
    "core_zookeeper": 3, "core_clickhouse": 4, "core_lb_clickhouse": 2, "euw_app_gateway": 2,
}  # fmt: skip
GROUPS = {group: [f"{group.replace('_', '-')}-{n + 1}" for n in range(count)] for group, count in COUNTS.items()}
SHARED = {"core-lb-clickhouse-1": "core-lb-clickhouse", "euw-app-gateway-1": "euw.edge.test"}
MANAGED = {
    "app_gateway": {"eun": {"address": "eun.edge.test"}, "euw": {"address": "never.used"}},
    "wasdb": {"core": {"address": "was.db", "ports": {"postgresql": 6432}}},
}


def endpoints(name, host, groups=None, managed=None, **query):
    groups = GROUPS if groups is None else groups
    resolver = Resolver(TABLE, Estate.from_groups(groups, TABLE.pools), MANAGED if managed is None else managed, SHARED.get)
    return resolver.endpoints(name, host, Query(**query))


def numbered(stem, count, port):
    return [f"{stem}-{n + 1}:{port}" for n in range(count)]


def test_both_ends_regional_stays_in_the_region():
    assert endpoints("pat_to_kafka", "euw-pat-1") == numbered("euw-kafka", 3, 9092)
    assert endpoints("pat_to_kafka", "eun-pat-1") == numbered("eun-kafka", 3, 9092)


def test_the_core_is_reached_from_every_region():
    assert endpoints("kafka_to_zookeeper", "eun-kafka-2") == numbered("core-zookeeper", 3, 2181)


def test_the_listener_is_the_end_that_does_not_open_the_connection():
    assert TABLE.connection("sink_to_kafka").listener == "kafka"
    assert endpoints("sink_to_kafka", "core-clickhouse-1", region="eun") == numbered("eun-kafka", 3, 9092)


def test_each_region_means_all_regions_in_the_inventorys_order():
    assert endpoints("sink_to_kafka", "core-clickhouse-1") == numbered("euw-kafka", 3, 9092) + numbered("eun-kafka", 3, 9092)


def test_a_pair_is_called_by_its_shared_name_and_its_members_by_their_own():
    assert endpoints("collect_to_lb_clickhouse", "euw-collect-1") == ["core-lb-clickhouse:8123"]
    assert endpoints("pat_to_app_gateway", "euw-pat-1") == ["euw.edge.test:443"]
    assert endpoints("lb_clickhouse_members", "core-lb-clickhouse-2") == ["core-lb-clickhouse-1", "core-lb-clickhouse-2"]
    assert endpoints("lb_clickhouse_members", "core-lb-clickhouse-2", exclude_self=True) == ["core-lb-clickhouse-1"]


def test_a_single_load_balancer_needs_no_shared_name():
    groups = GROUPS | {"core_lb_clickhouse": ["core-lb-clickhouse-2"]}
    assert endpoints("collect_to_lb_clickhouse", "euw-collect-1", groups) == ["core-lb-clickhouse-2:8123"]


def test_a_pair_without_a_shared_name_is_refused():
    groups = GROUPS | {"eun_app_gateway": ["eun-app-gateway-1", "eun-app-gateway-2"]}
    with pytest.raises(TableError, match=r"pat_to_app_gateway.*eun-pat-1.*eun_app_gateway has no virtual_name: set it"):
        endpoints("pat_to_app_gateway", "eun-pat-1", groups)


def test_a_managed_endpoint_is_used_where_there_is_no_host():
    assert endpoints("pat_to_app_gateway", "eun-pat-1") == ["eun.edge.test:443"]
    assert endpoints("dss_to_wasdb", "core-dss-1", GROUPS | {"core_dss": ["core-dss-1"]}) == ["was.db:6432"]


def test_a_part_of_a_managed_service_has_its_own_address():
    managed = {"app_gateway": {"eun": {"address": {"collect": "c.test", "pat": "p.test"}}}}
    groups = {"core_traffic_manager": ["core-traffic-manager-1"]}
    assert endpoints("traffic_manager_pat_to_app_gateway", "core-traffic-manager-1", groups, managed) == ["p.test:443"]


def test_ports_have_names():
    assert endpoints("zookeeper_members", "core-zookeeper-1", port="election") == numbered("core-zookeeper", 3, 3888)
    groups = GROUPS | {"core_scheduler": ["core-scheduler-1"]}
    assert endpoints("scheduler_to_lb_clickhouse", "core-scheduler-1", groups) == ["core-lb-clickhouse:8124"]
    with pytest.raises(TableError, match="collect_to_lb_clickhouse has no port 'read'"):
        endpoints("collect_to_lb_clickhouse", "euw-collect-1", port="read")


def test_an_end_may_be_some_members_only():
    groups = GROUPS | {"euw_redis_geo": ["euw-redis-geo-1", "euw-redis-geo-2"]}
    assert endpoints("redis_geo_to_witness", "euw-redis-geo-2", groups) == ["euw-kafka-1:26379"]


@pytest.mark.parametrize(
    ("name", "host", "query", "words"),
    [
        ("dss_to_wasdb", "euw-pat-1", {}, "euw-pat-1 .pool pat. does not open connection dss_to_wasdb: dss does"),
        ("nothing", "euw-pat-1", {}, "no connection is named 'nothing'"),
        ("pat_to_redis_geo", "euw-pat-1", {}, "euw-pat-1 .*pat_to_redis_geo: euw has no host of pool redis_geo.*group euw_redis_geo"),
        ("pat_to_kafka", "euw-pat-1", {"region": "eun"}, "pat_to_kafka stays in its region"),
        ("every_host_to_time_servers", "euw-pat-1", {}, "every_host_to_time_servers ends outside"),
    ],
)
def test_what_cannot_be_answered_is_said_with_names(name, host, query, words):
    with pytest.raises(TableError, match=words):
        endpoints(name, host, **query)


def test_nobody_there_is_an_empty_list_where_that_was_asked_for():
    assert endpoints("pat_to_redis_geo", "euw-pat-1", optional=True) == []
    alone = GROUPS | {"euw_kafka": ["euw-kafka-1"]}
    assert endpoints("kafka_members", "euw-kafka-1", alone, exclude_self=True) == []


def test_dropping_a_host_gives_no_other_host_another_name():
    for kept in itertools.permutations(GROUPS["euw_kafka"], 2):
        found = endpoints("pat_to_kafka", "euw-pat-1", GROUPS | {"euw_kafka": list(kept)})
        assert found == [f"{host}:9092" for host in kept]


def test_the_table_is_found_from_a_scenario_an_inventory_and_a_playbook(tmp_path):
    root = INVENTORIES.parent
    for start in ("inventories/production", "molecule/kafka", "playbooks"):
        assert find_directory((str(root / start),)) == str(INVENTORIES)
    assert find_directory((str(tmp_path), str(root / "playbooks"))) == str(INVENTORIES)
    with pytest.raises(TableError, match="set the variable connections_directory"):
        find_directory((str(tmp_path), None))
