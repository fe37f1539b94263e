"""Each rule of the inventory check refuses an inventory that breaks it, in a sentence with host, group and mend."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import Table, read_yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_check import RULES, check
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_rules import Inventory, Unreadable

INVENTORIES = Path(__file__).parents[3] / "inventories"
NAMES = ("connections", "pools", "secrets")
DOCUMENTS = {name: read_yaml(INVENTORIES / f"{name}.yml") for name in NAMES}
SCHEMAS = {name: json.loads((INVENTORIES / "schema" / f"{name}.json").read_text()) for name in (*NAMES, "managed_endpoints")}
PRESENT = {
    "euw": {"collect": 1, "pat": 1, "kafka": 3, "app_gateway": 2},
    "eun": {"collect": 1, "pat": 1, "kafka": 3},
    "core": {"zookeeper": 3, "clickhouse": 4, "lb_clickhouse": 2},
}
PASSWORD = "canary-pw"  # what no finding may show
PEM = "-----BEGIN PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----"
SECRETS = {
    "secret_clickhouse_passwords": dict.fromkeys(("writer", "reader", "operator", "replication"), PASSWORD),
    "secret_keepalived_password": PASSWORD[:8],
    "secret_edge_certificates": {"euw": PEM},
    "secret_ca_certificate": PEM,
}


class Draft:
    """A sound inventory, to be broken by a test."""

    def __init__(self) -> None:
        self.groups: dict[str, list[str]] = {"ungrouped": []}
        self.hosts: dict[str, dict[str, Any]] = {}
        self.documents = copy.deepcopy(DOCUMENTS)
        self.settings: dict[str, Any] = {
            "regions": {"euw": {}, "eun": {}, "core": {}},
            "managed_endpoints": {"app_gateway": {"eun": {"address": "eun.edge.test"}}},
            "regions_require_confirmation": True,
        }
        self.options: dict[str, Any] = {}
        for region, pools in PRESENT.items():
            for pool, count in pools.items():
                for number in range(1, count + 1):
                    self.add(region, pool, f"{region}-{pool.replace('_', '-')}-{number}", number)
        present = {pool for pools in PRESENT.values() for pool in pools}
        self.settings["pools_left_out"] = [pool for pool in DOCUMENTS["pools"]["pools"] if pool not in present]

    def add(self, region: str, pool: str, host: str, number: int = 1) -> dict[str, Any]:
        variables: dict[str, Any] = {"region": region, "ansible_host": f"10.0.{len(self.hosts)}.1", **copy.deepcopy(SECRETS)}
        zones = DOCUMENTS["pools"]["pools"][pool].get("zones")
        if zones:
            variables["zone"] = zones[(number - 1) % len(zones)]
        if pool == "clickhouse":
            variables |= {"shard": (number - 1) // 2 + 1, "replica": (number - 1) % 2 + 1}
        if pool in ("app_gateway", "lb_clickhouse"):
            variables |= {"virtual_name": f"{region}-{pool}", "virtual_address": f"10.1.{len(region)}.{len(pool)}"}
        self.hosts[host] = variables
        for group in (region, pool, f"{region}_{pool}"):
            self.groups.setdefault(group, []).append(host)
        return variables

    def remove(self, host: str) -> None:
        del self.hosts[host]
        for hosts in self.groups.values():
            if host in hosts:
                hosts.remove(host)

    def connection(self, name: str) -> dict[str, Any]:
        return next(row for row in self.documents["connections"]["connections"] if row["name"] == name)

    def check(self) -> list[str]:
        table = Table.from_data(self.documents["connections"], self.documents["pools"])
        return [
            str(finding)
            for finding in check(
                Inventory(self.groups, self.hosts, table, self.documents, SCHEMAS, self.settings, **self.options)  # type: ignore[arg-type]
            )
        ]


def test_a_sound_inventory_has_no_finding():
    assert Draft().check() == []


def two_pools(draft):
    draft.groups["euw_pat"].append("euw-collect-1")
    draft.groups["pat"].append("euw-collect-1")


def topic(**values):
    def set_topic(draft):
        for host in draft.groups["euw_kafka"]:
            draft.hosts[host]["kafka_topics"] = [{"name": "pat-events", "partitions": 6, **values}]

    return set_topic


def setting(**values):
    def set_setting(draft):
        for host in draft.groups["euw_kafka"]:
            draft.hosts[host]["kafka_settings"] = {name.replace("_", "."): value for name, value in values.items()}

    return set_setting


def host(name, /, **values):
    return lambda draft: draft.hosts[name].update(values)


def secret(name, value):
    return lambda draft: [variables.update({name: value}) for variables in draft.hosts.values()]


def templated_identity(draft):
    draft.hosts["euw-kafka-1"]["kafka_broker_id"] = 7
    draft.options["templated"] = lambda host, name: host == "euw-kafka-1"


def play(hosts):
    return lambda draft: draft.options.update(play_hosts=hosts)


def row(name, /, **values):
    return lambda draft: draft.connection(name).update({key.rstrip("_"): value for key, value in values.items()})


def pool(name, /, **values):
    return lambda draft: draft.documents["pools"]["pools"][name].update(values)


def managed(**places):
    return lambda draft: draft.settings["managed_endpoints"].update(places)


BROKEN = [
    ("host-name", lambda d: d.add("euw", "collect", "euw-collect-02"), "host euw-collect-02 of group euw_collect.*Rename it"),
    ("host-name", lambda d: d.add("euw", "collect", "euw-pat-9"), "host euw-pat-9 of group euw_collect.*Move it to group euw_pat"),
    ("host-place", two_pools, "host euw-collect-1: is in 2 pools .collect, pat.*List it once"),
    ("host-place", lambda d: d.groups["eun"].append("euw-pat-1"), "host euw-pat-1: is in 2 regions .*euw, eun"),
    ("host-place", lambda d: d.groups["kafka"].remove("euw-kafka-1"), "host euw-kafka-1: is in 0 pools .none"),
    ("host-place", lambda d: d.hosts.update({"stray": {}}), "host stray: is in 0 groups <region>_<pool>"),
    ("pool-place", lambda d: d.add("core", "kafka", "core-kafka-1"), "core_kafka .host core-kafka-1.*belongs to a region.*Move"),
    ("pool-place", lambda d: d.add("euw", "clickhouse", "euw-clickhouse-1"), "euw_clickhouse .*belongs to core, found it in euw"),
    ("region-variable", host("euw-pat-1", region="eun"), "euw-pat-1 of group euw_pat: its variable region is 'eun', expected euw. Set"),
    ("region-variable", host("euw-pat-1", region=None), "euw-pat-1 of group euw_pat: its variable region is not set"),
    (
        "member-number",
        host("euw-kafka-1", kafka_broker_id=2),
        "euw-kafka-2 of group euw_kafka: kafka_broker_id 2 is also that of euw-kafka-1",
    ),
    ("member-number", templated_identity, "euw-kafka-1 of group euw_kafka: .*computed as 7, .*number of its name .1.*host_number"),
    ("member-number", host("core-zookeeper-1", zookeeper_myid=256), "core-zookeeper-1 of group core_zookeeper: .*from 1 to 255"),
    ("member-number", host("euw-kafka-1", kafka_broker_id="1"), "euw-kafka-1 .*kafka_broker_id is '1', expected a whole number"),
    ("member-number", host("euw-kafka-1", kafka_broker_id=Unreadable("undefined")), "euw-kafka-1 .*unreadable .undefined"),
    ("quorum", lambda d: d.remove("core-zookeeper-3"), "group core_zookeeper .core-zookeeper-1, core-zookeeper-2.*2 hosts.*odd.*take"),
    ("zones", host("euw-kafka-1", zone=None), "host euw-kafka-1 of group euw_kafka: its zone is not set, expected one of 1, 2, 3. Set"),
    ("zones", host("euw-kafka-1", zone=1), "host euw-kafka-1 of group euw_kafka: its zone is 1, .*quoted"),
    ("zones", host("euw-kafka-1", zone="2"), "group euw_kafka .*out of balance .1: 0, 2: 2, 3: 1.*Move a host from zone 2 to zone 1"),
    ("zones", host("core-clickhouse-4", zone="A"), "group core_clickhouse .*one host in each zone, found A: 2.*Give"),
    ("zones", lambda d: d.remove("core-clickhouse-4"), "group core_clickhouse .*found A: 1, B: 1, C: 1, D: 0"),
    (
        "replication",
        topic(replication_factor=4),
        "group euw_kafka .*topic pat-events has replication factor 4, but there are 3 brokers. Add",
    ),
    ("replication", setting(offsets_topic_replication_factor=5), "euw_kafka .*offsets.topic.replication.factor has replication factor 5"),
    ("replication", setting(min_insync_replicas=3), "euw_kafka .*min.insync.replicas is 3 with replication factor 3.*Lower it below 3"),
    ("replication", topic(config={"min.insync.replicas": 3}), "euw_kafka .*topic pat-events's min.insync.replicas is 3"),
    ("replication", topic(replication_factor="many"), "euw_kafka .*topic pat-events is 'many'"),
    (
        "replication",
        lambda d: topic(replication_factor=3)(d) or d.remove("euw-kafka-3"),
        "group euw_kafka .euw-kafka-1, euw-kafka-2.*there are 2 brokers",
    ),
    ("shards", host("core-clickhouse-1", shard=None), "core-clickhouse-1 of group core_clickhouse: .*shard and replica.*Set them"),
    (
        "shards",
        host("core-clickhouse-2", replica=1),
        "core-clickhouse-2 of group core_clickhouse: is replica 1 of shard 1, as core-clickhouse-1",
    ),
    ("shards", lambda d: d.remove("core-clickhouse-4"), "core_clickhouse .*3 hosts are not 2 shards x 2 replicas .shard 1: 2, shard 2: 1"),
    ("shards", host("core-clickhouse-2", zone="A"), "core_clickhouse .core-clickhouse-1, core-clickhouse-2.*distinct zones .A, A.*Move"),
    (
        "secrets",
        secret("secret_clickhouse_passwords", None),
        "core-clickhouse-1 of group core_clickhouse.*secret_clickhouse_passwords is missing.*Supply",
    ),
    ("secrets", secret("secret_clickhouse_passwords", {"writer": PASSWORD}), "core-clickhouse-1 .*has no entry reader"),
    ("secrets", secret("secret_clickhouse_passwords", PASSWORD), "is no mapping"),
    ("secrets", secret("secret_keepalived_password", PASSWORD), "lb-clickhouse-1 of group core_lb_clickhouse.*longer than 8"),
    ("secrets", secret("secret_keepalived_password", "short"), "shorter than 8"),
    ("secrets", secret("secret_keepalived_password", "password"), "everybody tries"),
    ("secrets", secret("secret_keepalived_password", Unreadable("Attempting to decrypt")), "is the vault's password given"),
    (
        "secrets",
        secret("secret_edge_certificates", {"eun": PEM}),
        "euw-app-gateway-1 of group euw_app_gateway.*no certificate for region euw",
    ),
    ("secrets", secret("secret_edge_certificates", {"euw": "x"}), "no PEM private key with its certificate for region euw"),
    ("secrets", secret("secret_ca_certificate", "x"), "holds no PEM certificate"),
    ("one-region", play(["euw-pat-1", "core-zookeeper-1"]), "host euw-pat-1 and 1 more: .*2 regions: euw, core. Limit it to one .-l euw"),
    (
        "pools-present",
        lambda d: d.remove("euw-collect-1"),
        "group euw_collect: there is no host of pool collect in euw.*Add hosts to euw_collect",
    ),
    ("pools-present", lambda d: d.settings["managed_endpoints"].clear(), "group eun_app_gateway: .*managed_endpoints.app_gateway.eun"),
    (
        "pools-present",
        lambda d: d.settings["pools_left_out"].append("pat"),
        "group euw_pat .host euw-pat-1.*is in pools_left_out.*Take pat off",
    ),
    ("pools-present", lambda d: d.settings["pools_left_out"].append("tea"), "tea is no pool"),
    (
        "connection-ends",
        lambda d: d.remove("euw-pat-1") or [d.remove(f"eun-kafka-{n}") for n in (1, 2, 3)],
        "host eun-pat-1 of group eun_pat: opens connection pat_to_kafka, but eun has neither .*pool kafka. Add hosts to group eun_kafka",
    ),
    ("managed-endpoints", managed(kafka={"euw": {"address": "x"}}), "managed_endpoints.kafka: .*not a pool that Azure manages. Name hosts"),
    ("managed-endpoints", managed(app_gateway={"core": {"address": "x"}}), "managed_endpoints.app_gateway.core: .*no place core. Use"),
    ("managed-endpoints", managed(traffic_manager={"core": {"address": {"pat": "x"}}}), "addresses for pat, expected collect, pat. Give"),
    ("data-shape", managed(app_gateway={"euw": {"adress": "x"}}), "managed_endpoints.yml: app_gateway.euw.*adress.*See inventories/schema"),
    ("data-shape", managed(app_gateway={"euw": {"address": "https://x"}}), "managed_endpoints.yml: app_gateway.euw.address"),
    ("data-shape", lambda d: d.settings.update(managed_endpoints=Unreadable("no such variable")), "cannot be read: no such variable"),
    ("data-shape", row("origin_to_acs", protocol="smoke"), "connections.yml: connections.*smoke"),
    ("data-shape", row("origin_to_acs", reason="x"), "connections.yml: connections"),
    ("table", row("origin_to_acs", name="origin_to_dss"), "connection origin_to_dss: is there 2 times"),
    ("table", row("origin_to_acs", row=14), "rows 13 of the design are missing"),
    ("table", row("origin_to_acs", to="nowhere"), "origin_to_acs: its end nowhere is no pool"),
    (
        "table",
        row("origin_to_acs", opened_by="dss"),
        "origin_to_acs: is opened by dss, which is neither end. Set opened_by to origin or acs",
    ),
    ("table", row("origin_to_acs", ports=["tea"]), "origin_to_acs: its port tea is not one that acs listens on .service"),
    ("table", row("origin_to_acs", scope="outside"), "origin_to_acs: its scope is outside"),
    ("table", row("origin_to_acs", scope="same_region"), "origin_to_acs: its scope is same_region, but acs is in the core"),
    ("table", row("pat_to_kafka", scope="core"), "pat_to_kafka: its scope is core, but kafka is a regional pool"),
    ("table", row("pat_to_kafka", members={"collect": [1]}), "pat_to_kafka: `members` names collect"),
    (
        "ports",
        pool("kafka", listens={"broker": 9092, "metrics": 9092, "sentinel": 1}),
        "host euw-kafka-1 of group euw_kafka: port 9092 .*twice",
    ),
    (
        "ports",
        pool("pat", listens={"service": 9100}),
        "euw-pat-1 of group euw_pat: port 9100 is taken twice, by node_metrics and by service",
    ),
    (
        "ports",
        host("euw-pat-1", also_listens={"tea": 8080}),
        "euw-pat-1 .*port 8080 is taken twice, by service and by tea. Give tea another",
    ),
    ("ports", host("euw-pat-1", also_listens=[8080]), "euw-pat-1 of group euw_pat: also_listens is no mapping"),
    ("addresses", host("euw-pat-1", ansible_host="10.0.0.1"), "host euw-pat-1: .*10.0.0.1, which is also that of euw-collect-1. Correct"),
    (
        "addresses",
        host("euw-app-gateway-1", virtual_address="10.0.0.1"),
        "euw-app-gateway-1 of group euw_app_gateway: .*address of host euw-coll",
    ),
    ("addresses", host("euw-app-gateway-2", virtual_address="10.9.9.9"), "group euw_app_gateway .*different virtual addresses.*Set one"),
    ("addresses", host("euw-app-gateway-2", virtual_address=None), "euw-app-gateway-2 of group euw_app_gateway: .*no virtual_address. Set"),
    ("addresses", host("euw-app-gateway-2", virtual_address="pair"), "euw-app-gateway-2 .*no IP address"),
    (
        "addresses",
        lambda d: [d.hosts[f"euw-app-gateway-{n}"].update(virtual_address="10.1.4.13") for n in (1, 2)],
        "virtual_address 10.1.4.13 is also that of group",
    ),
]


@pytest.mark.parametrize(("identifier", "breaks", "words"), BROKEN, ids=[f"{case[0]}-{n}" for n, case in enumerate(BROKEN)])
def test_a_broken_inventory_is_refused_by_the_rule(identifier, breaks, words):
    draft = Draft()
    breaks(draft)
    findings = draft.check()
    assert any(re.search(rf"\[{identifier}\] .*{words}", finding) for finding in findings), findings
    assert not any(PASSWORD in finding or PASSWORD[:8] in finding for finding in findings)


def test_every_rule_has_an_inventory_that_it_refuses():
    assert {case[0] for case in BROKEN} == set(RULES)


def test_all_findings_are_listed_at_once():
    draft = Draft()
    draft.remove("core-zookeeper-3")
    draft.hosts["euw-pat-1"]["region"] = "eun"
    draft.hosts["euw-kafka-1"]["zone"] = None
    assert {re.match(r"\[(.*?)\]", finding)[1] for finding in draft.check()} == {"quorum", "region-variable", "zones"}  # type: ignore[index]


@pytest.mark.parametrize(
    "options",
    [
        {"play_hosts": ["euw-pat-1", "euw-kafka-1"]},
        {"play_hosts": ["core-zookeeper-1"]},
        {"play_hosts": ["euw-pat-1", "eun-pat-1", "core-zookeeper-1"], "regions_confirmed": True},
        {"play_hosts": None},
    ],
)
def test_one_region_or_a_confirmed_run_is_let_through(options):
    draft = Draft()
    draft.options.update(options)
    assert draft.check() == []


def test_an_estate_without_confirmation_lets_all_regions_through():
    draft = Draft()
    draft.settings["regions_require_confirmation"] = False
    draft.options["play_hosts"] = list(draft.hosts)
    assert draft.check() == []


def test_a_small_cluster_replicates_as_far_as_it_can():
    draft = Draft()
    draft.remove("euw-kafka-3")
    assert draft.check() == []


def test_secrets_are_not_asked_for_where_nobody_has_them():
    draft = Draft()
    secret("secret_clickhouse_passwords", None)(draft)
    draft.options["secrets_expected"] = False
    assert draft.check() == []


def test_a_host_variable_may_name_a_member_otherwise():
    draft = Draft()
    draft.hosts["euw-kafka-1"]["kafka_broker_id"] = 17
    assert draft.check() == []


def test_every_rule_is_explained():
    page = (INVENTORIES.parent / "docs" / "inventory.md").read_text(encoding="utf-8")
    assert {name for name in re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) if name in RULES} == set(RULES)
