"""XML that ClickHouse reads back as it was meant."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ElementTree

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse_config import ConfigError, nodes, shards, users, xml
from hypothesis import given
from hypothesis import strategies as st

PASSWORDS = {"writer": "w", "reader": "r"}


def read(settings):
    return ElementTree.fromstring(xml(settings, "yandex", "Ansible managed").encode())


def test_data_becomes_elements():
    root = read({"b": True, "a": {"@replace": 1, "c": [1, {"d": "x<y"}]}, "gone": None, "empty": ""})
    assert root.tag == "yandex"
    assert [child.tag for child in root] == ["a", "b", "empty"]
    assert root.find("a").get("replace") == "1"
    assert root.findtext("b") == "1"
    assert [one.tag for one in root.find("a")] == ["c", "c"]
    assert root.findtext("a/c/d") == "x<y"


def test_a_profile_overrides_the_one_that_it_takes_over():
    assert [one.tag for one in read({"reader": {"max_memory_usage": 1, "profile": "default", "readonly": 1}})[0]] == [
        "profile",
        "max_memory_usage",
        "readonly",
    ]


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True), st.integers() | st.booleans()))
def test_order_of_keys_is_nothing(settings):
    assert xml(settings, "r", "c") == xml(dict(reversed(settings.items())), "r", "c")


@pytest.mark.parametrize("settings", [{"a b": 1}, {"a": {"1": 2}}, {"a": object()}, {"a": [[1]]}])
def test_what_is_no_xml_is_refused_with_its_path(settings):
    with pytest.raises(ConfigError, match="r"):
        xml(settings, "r", "c")


def test_a_comment_cannot_end_early():
    ElementTree.fromstring(xml({}, "r", "a --> b").encode())


def test_shards_come_by_number_and_replicas_by_name():
    made = shards({"n-4": 2, "n-2": 1, "n-1": 1, "n-3": 2}, 9000, "replication", "p")
    assert [[replica["host"] for replica in shard["replica"]] for shard in made] == [["n-1", "n-2"], ["n-3", "n-4"]]
    assert all(shard["internal_replication"] is True for shard in made)


def test_a_gap_between_shards_is_refused():
    with pytest.raises(ConfigError, match="without a gap"):
        shards({"n-1": 1, "n-5": 3}, 9000, "u", "p")


def test_endpoints_become_nodes():
    assert nodes(["zk-1:2181"]) == [{"host": "zk-1", "port": 2181}]
    with pytest.raises(ConfigError, match="host:port"):
        nodes(["zk-1"])


def test_users_have_hashes_and_their_own_host_only():
    made = users(PASSWORDS, {"writer": {"host": ["lb-2", "lb-1"]}}, {"writer": ["optimize"]})
    assert made["writer"]["password_sha256_hex"] == hashlib.sha256(b"w").hexdigest()
    assert "w" not in made["writer"].values()
    assert made["writer"]["networks"] == {"host": ["lb-1", "lb-2"], "ip": ["127.0.0.1", "::1"]}
    assert made["reader"]["networks"]["host"] == []
    assert "allow_databases" not in made["reader"]


def test_networks_of_nobody_are_refused():
    with pytest.raises(ConfigError, match="ghost"):
        users(PASSWORDS, {"ghost": {"ip": ["::/0"]}}, {})
