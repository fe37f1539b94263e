"""What host and group names say."""

from __future__ import annotations

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import (
    Estate,
    HostName,
    TopologyError,
    host_entries,
    host_number,
    split_leaf,
)
from hypothesis import given
from hypothesis import strategies as st

POOLS = ["kafka", "clickhouse", "lb_clickhouse", "redis_geo"]
WORD = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)


@given(WORD, st.lists(WORD, min_size=1, max_size=3), st.integers(1, 10**6))
def test_a_name_says_region_pool_and_number(region, words, number):
    name = HostName(region, "_".join(words), number)
    assert HostName.parse(str(name)) == name
    assert host_number(str(name)) == number


@pytest.mark.parametrize(
    "name", ["euw-kafka-0", "euw-kafka-01", "euw-kafka", "kafka-1", "EUW-kafka-1", "euw_kafka_1", "euw-kafka-1 ", "", "euw--1"]
)
def test_a_name_that_says_nothing_is_refused_by_name(name):
    with pytest.raises(TopologyError, match="rename it") as error:
        host_number(name)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize(
    ("group", "leaf"),
    [
        ("euw_kafka", ("euw", "kafka")),
        ("core_clickhouse", ("core", "clickhouse")),
        ("core_lb_clickhouse", ("core", "lb_clickhouse")),
        ("euw_redis_geo", ("euw", "redis_geo")),
        ("kafka", None),
        ("euw", None),
        ("a_b_kafka", None),
        ("_kafka", None),
    ],
)
def test_a_leaf_group_is_a_region_and_the_longest_pool(group, leaf):
    assert split_leaf(group, POOLS) == leaf


def test_order_is_the_inventorys_and_the_core_comes_last():
    estate = Estate.from_groups(
        {
            "core_clickhouse": ["core-clickhouse-2", "core-clickhouse-1"],
            "ue2_kafka": ["ue2-kafka-1"],
            "euw_kafka": [],
            "eun_kafka": ["eun-kafka-1"],
        },
        POOLS,
    )
    assert estate.regions == ["ue2", "eun", "core"]
    assert estate.hosts("clickhouse", "core") == ["core-clickhouse-2", "core-clickhouse-1"]
    assert estate.hosts("kafka", "euw") == []
    assert estate.pool_hosts("kafka") == ["ue2-kafka-1", "eun-kafka-1"]


def test_a_host_in_two_pools_has_no_place():
    estate = Estate.from_groups({"euw_kafka": ["x"], "euw_redis_geo": ["x"]}, POOLS)
    with pytest.raises(TopologyError, match=r"x is in 2 groups .*euw_kafka, euw_redis_geo"):
        estate.place("x")


def test_entries_are_hosts_with_an_address_then_shared_addresses():
    pair = {"virtual_name": "euw-app-gateway", "public_name": "euw.edge.test", "virtual_address": "10.0.0.9"}
    entries = host_entries(
        {
            "euw-app-gateway-1": {"ansible_host": "10.0.0.1", **pair},
            "euw-app-gateway-2": {"ansible_host": "10.0.0.2", **pair},
            "euw-kafka-1": {"ansible_host": "20.0.0.3", "private_address": "10.0.0.3"},
            "euw-kafka-2": {"ansible_host": "euw-kafka-2.private.test"},
        }
    )
    assert entries == [
        {"address": "10.0.0.1", "names": ["euw-app-gateway-1"]},
        {"address": "10.0.0.2", "names": ["euw-app-gateway-2"]},
        {"address": "10.0.0.3", "names": ["euw-kafka-1"]},
        {"address": "10.0.0.9", "names": ["euw-app-gateway", "euw.edge.test"]},
    ]


def test_one_shared_name_with_two_addresses_is_refused():
    with pytest.raises(TopologyError, match=r"euw-lb-2 .*euw-lb .*10\.0\.0\.9.*euw-lb-1.*10\.0\.0\.8"):
        host_entries(
            {
                "euw-lb-1": {"virtual_name": "euw-lb", "virtual_address": "10.0.0.8"},
                "euw-lb-2": {"virtual_name": "euw-lb", "virtual_address": "10.0.0.9"},
            }
        )
