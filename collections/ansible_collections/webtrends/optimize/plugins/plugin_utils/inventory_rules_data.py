# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory check's rules about replication, secrets and the reach of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import EVERY_HOST
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_rules import Inventory, Problem, Unreadable, listed, rule
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import CORE

# The keys of server.properties that say how often a topic is there. Where an inventory sets none of them, role kafka takes 3 replicas with
# a minimum of 2, or what a smaller cluster allows (roles/kafka/vars/main/settings.yml).
REPLICATION = ("default.replication.factor", "offsets.topic.replication.factor", "transaction.state.log.replication.factor")
# Which replication factor a minimum is held against.
AGAINST = {"min.insync.replicas": "default.replication.factor", "transaction.state.log.min.isr": "transaction.state.log.replication.factor"}
NOT_A_PASSWORD = {"changeme", "password", "secret", "default", "admin", "optimize", "webtrends", "12345678"}
SHORTEST_PASSWORD = 8
MEND_SECRET = (
    'Supply it in the inventory\'s vault file: docs/inventory.md, "Secrets" '
    "(those of the local fleet are made by `python -m tools.fleet up`)"
)


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


@rule("replication")
def replication(inventory: Inventory) -> Iterator[Problem]:
    """Kafka: no replication factor above the number of brokers, every minimum of in-sync replicas below its replication factor."""
    for (region, pool), hosts in inventory.estate.leaves.items():
        if pool != "kafka" or not hosts:
            continue
        variables = inventory.hosts[hosts[0]]
        where, brokers = f"group {region}_kafka ({listed(hosts)})", len(hosts)
        settings = _mapping(variables.get("kafka_settings"))
        factors = {name: settings.get(name) or min(3, brokers) for name in REPLICATION}
        minimums = {name: settings.get(name) or (2 if brokers > 2 else 1) for name in AGAINST}
        for name, factor in factors.items():
            least = next((least for least, against in AGAINST.items() if against == name), None)
            yield from _replicas(where, "kafka_settings", name, factor, least, minimums.get(least or ""), brokers)
        topics = variables.get("kafka_topics") or []
        for topic in topics if isinstance(topics, Sequence) and not isinstance(topics, str) else []:
            name = f"topic {topic.get('name')}"
            factor = topic.get("replication_factor", factors["default.replication.factor"])
            minimum = _mapping(topic.get("config")).get("min.insync.replicas", minimums["min.insync.replicas"])
            yield from _replicas(where, "kafka_topics", name, factor, f"{name}'s min.insync.replicas", minimum, brokers)


def _replicas(where: str, variable: str, name: str, factor: Any, least: str | None, minimum: Any, brokers: int) -> Iterator[Problem]:
    replicas = _number(factor)
    if replicas is None or replicas < 1:
        yield Problem(where, f"the replication factor of {name} is {factor!r}", f"Set a whole number from 1 in {variable}")
        return
    if replicas > brokers:
        yield Problem(
            where,
            f"{name} has replication factor {replicas}, but there are {brokers} brokers",
            f"Add brokers, or lower it in {variable}",
        )
    if least is None:
        return
    needed = _number(minimum)
    if needed is None or needed < 1 or (needed >= replicas and replicas > 1):
        yield Problem(
            where,
            f"{least} is {minimum!r} with replication factor {replicas}: the loss of one broker would stop writes",
            f"Lower it below {replicas} in {variable}, or raise the replication factor",
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@rule("shards")
def shards(inventory: Inventory) -> Iterator[Problem]:
    """ClickHouse: shards times replicas is the number of hosts, each place is taken once, and a shard's replicas are in distinct zones."""
    for (region, pool), hosts in inventory.estate.leaves.items():
        if pool != "clickhouse" or not hosts:
            continue
        places: dict[tuple[Any, Any], str] = {}
        group = f"{region}_clickhouse"
        wrong = False
        for host in hosts:
            place = (inventory.hosts[host].get("shard"), inventory.hosts[host].get("replica"))
            if any(isinstance(number, bool) or not isinstance(number, int) or number < 1 for number in place):
                wrong = True
                yield Problem(
                    f"host {host} of group {group}",
                    "its variables shard and replica are not both whole numbers from 1",
                    "Set them on the host: they are its identity",
                )
            elif other := places.get(place):
                wrong = True
                yield Problem(
                    f"host {host} of group {group}",
                    f"is replica {place[1]} of shard {place[0]}, as {other} is",
                    "Give one of them another place",
                )
            places[place] = host
        if wrong:
            continue
        by_shard: dict[int, list[str]] = {}
        for (shard, _), host in sorted(places.items()):
            by_shard.setdefault(shard, []).append(host)
        replicas = max(len(members) for members in by_shard.values())
        if max(by_shard) * replicas != len(hosts) or any(len(members) != replicas for members in by_shard.values()):
            shown = ", ".join(f"shard {shard}: {len(members)}" for shard, members in by_shard.items())
            yield Problem(
                f"group {group} ({listed(hosts)})",
                f"{len(hosts)} hosts are not {max(by_shard)} shards x {replicas} replicas ({shown})",
                "Number shards from 1 without a gap and give each the same number of replicas",
            )
        for shard, members in by_shard.items():
            in_zones = [inventory.hosts[host].get("zone") for host in members]
            if len(set(map(str, in_zones))) != len(members):
                yield Problem(
                    f"group {group} ({listed(members)})",
                    f"the replicas of shard {shard} are not in distinct zones ({listed(in_zones)})",
                    "Move one of them to another zone",
                )


@rule("secrets")
def secrets(inventory: Inventory) -> Iterator[Problem]:
    """Each pool has the secrets that secrets.yml says it uses, of the right kind. No value appears in a finding."""
    if not inventory.secrets_expected:
        return
    for spec in inventory.documents["secrets"]["secrets"]:
        missing: dict[str, list[str]] = {}
        for (region, pool), hosts in inventory.estate.leaves.items():
            if not hosts or not {pool, EVERY_HOST} & set(spec["used_by"]):
                continue
            if problem := secret_problem(spec, inventory.hosts[hosts[0]].get(spec["name"]), region):
                missing.setdefault(problem, []).append(f"{hosts[0]} of group {region}_{pool}")
        for problem, hosts in missing.items():
            yield Problem(
                f"host {listed(hosts, 3)}",
                f"{spec['name']} {problem} ({spec['purpose']})",
                MEND_SECRET,
            )


def secret_problem(spec: Mapping[str, Any], value: Any, region: str) -> str | None:
    """What is wrong with a secret's value, without the value; None where nothing is."""
    kind = spec["kind"]
    if value is None:
        return "is missing"
    if isinstance(value, Unreadable):
        return "cannot be read (is the vault's password given?)"
    if kind == "password":
        return _password_problem(spec, value)
    if kind == "certificate":
        return None if "-----BEGIN CERTIFICATE-----" in str(value) else "holds no PEM certificate"
    if not isinstance(value, Mapping):
        return f"is no mapping, which kind {kind} is"
    if kind == "certificates":
        pem = value.get(region)
        if pem is None:
            return f"has no certificate for region {region}"
        lacking = [what for what in ("PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----") if what not in str(pem)]
        return f"has no PEM private key with its certificate for region {region}" if lacking else None
    for key in spec["keys"]:
        if key not in value:
            return f"has no entry {key}"
        if problem := _password_problem(spec, value[key]):
            return f"entry {key} {problem}"
    return None


def _password_problem(spec: Mapping[str, Any], value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return "is empty or no text"
    if len(value) < SHORTEST_PASSWORD:
        return f"is shorter than {SHORTEST_PASSWORD} characters"
    if len(value) > spec.get("maximum_length", len(value)):
        return f"is longer than {spec['maximum_length']} characters"
    return "is a password that everybody tries" if value.lower() in NOT_A_PASSWORD else None


@rule("one-region")
def one_region(inventory: Inventory) -> Iterator[Problem]:
    """A run touches one region (the core counts as one) unless it says otherwise, where the inventory asks for that."""
    if inventory.play_hosts is None or inventory.regions_confirmed or not inventory.settings.get("regions_require_confirmation"):
        return
    places = inventory.estate.places
    touched = [host for host in inventory.play_hosts if host in places]
    regions = sorted({places[host][0][0] for host in touched}, key=lambda region: region == CORE)
    if len(regions) > 1:
        yield Problem(
            f"host {touched[0]} and {len(touched) - 1} more",
            f"this run would touch {len(regions)} regions: {listed(regions)}",
            f"Limit it to one (-l {regions[0]}), or confirm with -e regions_confirmed=all",
        )
