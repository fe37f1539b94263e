# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory check: what an inventory is, the list of its rules, and the rules about names and places. No Ansible, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import Table
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import CORE, Estate, HostName, TopologyError, split_leaf


@dataclass(frozen=True)
class Unreadable:
    """A variable that has a value which cannot be had: a template that fails, a vault without its password."""

    problem: str


class Problem(NamedTuple):
    """Something that an inventory must not have: where it is, what was found, and what mends it."""

    where: str
    found: str
    mend: str


class Finding(NamedTuple):
    """A problem with the name of the rule that found it."""

    rule: str
    where: str
    found: str
    mend: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.where}: {self.found}. {self.mend}"


@dataclass(frozen=True)
class Inventory:
    """What the rules look at. `hosts` holds each host's variables; values may be `Unreadable`.

    `documents` are the data files as they were read (connections, pools, secrets), `schemas` their JSON schemas, by the same names.
    `templated` says whether a host's variable is written as a template rather than as a value.
    `play_hosts` are the hosts that the run would touch; None where it touches none (the check by itself).
    """

    groups: Mapping[str, Sequence[str]]
    hosts: Mapping[str, Mapping[str, Any]]
    table: Table
    documents: Mapping[str, Any]
    schemas: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    templated: Callable[[str, str], bool] = lambda host, name: False
    play_hosts: Sequence[str] | None = None
    regions_confirmed: bool = False
    secrets_expected: bool = True

    @property
    def estate(self) -> Estate:
        return Estate.from_groups(self.groups, self.table.pools)

    @property
    def managed(self) -> Mapping[str, Any]:
        value = self.settings.get("managed_endpoints") or {}
        return value if isinstance(value, Mapping) else {}

    @property
    def left_out(self) -> list[str]:
        value = self.settings.get("pools_left_out") or []
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []

    def leaves(self, key: str) -> Iterator[tuple[str, str, list[str]]]:
        """Region, pool and hosts of every region x pool group with hosts whose pool has `key` in pools.yml."""
        for (region, pool), hosts in self.estate.leaves.items():
            if hosts and self.table.pools[pool].get(key):
                yield region, pool, hosts


Rule = Callable[[Inventory], Iterator[Problem]]
RULES: dict[str, Rule] = {}


def rule(identifier: str) -> Callable[[Rule], Rule]:
    """Enters a function into the list of rules, under the name that its findings carry."""

    def enter(function: Rule) -> Rule:
        RULES[identifier] = function
        return function

    return enter


def listed(names: Sequence[Any], most: int = 6) -> str:
    """`a, b, c and 3 more`: a sentence stays a sentence in an estate of hundreds."""
    texts = [str(name) for name in names]
    more = len(texts) - most
    return ", ".join(texts) if more <= 0 else f"{', '.join(texts[:most])} and {more} more"


def groups_of(inventory: Inventory) -> dict[str, list[str]]:
    """The groups that each host is in."""
    result: dict[str, list[str]] = {host: [] for host in inventory.hosts}
    for group, hosts in inventory.groups.items():
        for host in hosts:
            result.setdefault(host, []).append(group)
    return result


@rule("host-name")
def host_names(inventory: Inventory) -> Iterator[Problem]:
    """A host is named <region>-<pool>-<n> after the group that it is in."""
    estate = inventory.estate
    for host in inventory.hosts:
        try:
            name = HostName.parse(host)
        except TopologyError:
            groups = "_".join(estate.places.get(host, [("no", "pool")])[0])
            yield Problem(
                f"host {host} of group {groups}",
                "its name is not <region>-<pool>-<n> (n from 1, without leading zero)",
                "Rename it in its region's inventory file, for example to euw-kafka-1",
            )
            continue
        places = estate.places.get(host, [])
        if len(places) == 1 and places[0] != (name.region, name.pool):
            region, pool = places[0]
            yield Problem(
                f"host {host} of group {region}_{pool}",
                f"its name says region {name.region}, pool {name.pool}",
                f"Move it to group {name.region}_{name.pool}, or name it {HostName(region, pool, name.number)}",
            )


@rule("host-place")
def host_places(inventory: Inventory) -> Iterator[Problem]:
    """A host is in exactly one region and in exactly one pool, through exactly one group <region>_<pool>."""
    pools = inventory.table.pools
    regions = set(inventory.settings.get("regions") or {}) | {
        leaf[0] for leaf in (split_leaf(group, pools) for group in inventory.groups) if leaf
    }
    for host, groups in groups_of(inventory).items():
        leaves = [group for group in groups if split_leaf(group, pools)]
        for kind, found in (
            ("groups <region>_<pool>", leaves),
            ("regions", [group for group in groups if group in regions]),
            ("pools", [group for group in groups if group in pools]),
        ):
            if len(found) != 1:
                yield Problem(
                    f"host {host}",
                    f"is in {len(found)} {kind} ({listed(found) or 'none'}), expected one",
                    "List it once, in one group <region>_<pool>, a child of its region and of its pool (inventories/pools.yml names these)",
                )


@rule("pool-place")
def pool_places(inventory: Inventory) -> Iterator[Problem]:
    """A pool of the core has its hosts in the core, a regional one in regions."""
    for (region, pool), hosts in inventory.estate.leaves.items():
        place = inventory.table.pools[pool]["place"]
        if hosts and (region == CORE) != (place == CORE):
            expected = CORE if place == CORE else "a region"
            yield Problem(
                f"group {region}_{pool} (host {hosts[0]})",
                f"pool {pool} belongs to {expected}, found it in {region}",
                f"Move its hosts to {expected}'s inventory file, or change `place` of {pool} in inventories/pools.yml",
            )


@rule("region-variable")
def region_variables(inventory: Inventory) -> Iterator[Problem]:
    """The variable region says what the groups say."""
    for host, places in inventory.estate.places.items():
        region, pool = places[0]
        found = inventory.hosts[host].get("region")
        if found != region:
            yield Problem(
                f"host {host} of group {region}_{pool}",
                f"its variable region is {_shown(found)}, expected {region}",
                f"Set `region: {region}` in the variables of group {region}, and nowhere else",
            )


@rule("member-number")
def member_numbers(inventory: Inventory) -> Iterator[Problem]:
    """What identifies a member is the number of its name or a variable of the host, a whole number, and no other member's."""
    for region, pool, hosts in inventory.leaves("identity"):
        entry = inventory.table.pools[pool]
        variable, maximum = entry["identity"], entry.get("identity_maximum", 2**31 - 1)
        seen: dict[int, str] = {}
        for host in hosts:
            where = f"host {host} of group {region}_{pool}"
            try:
                number = HostName.parse(host).number
            except TopologyError:
                continue  # host-name says it
            found = inventory.hosts[host].get(variable, number)
            if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= maximum:
                yield Problem(
                    where,
                    f"{variable} is {_shown(found)}, expected a whole number from 1 to {maximum}",
                    f"Leave {variable} to the host's name, or set it as a variable of this host",
                )
                continue
            if found != number and inventory.templated(host, variable):
                yield Problem(
                    where,
                    f"{variable} is computed as {found}, which is not the number of its name ({number})",
                    f'Set `{variable}: "{{{{ inventory_hostname | webtrends.optimize.host_number }}}}"`, or a number on the host; '
                    "never a position in a list",
                )
            if other := seen.get(found):
                yield Problem(
                    where,
                    f"{variable} {found} is also that of {other}",
                    f"Give one of them another number or {variable}",
                )
            seen[found] = host


@rule("quorum")
def quorums(inventory: Inventory) -> Iterator[Problem]:
    """An ensemble has an odd number of members: an even one survives no more losses than the odd one below it."""
    for region, pool, hosts in inventory.leaves("quorum"):
        if len(hosts) % 2 == 0:
            yield Problem(
                f"group {region}_{pool} ({listed(hosts)})",
                f"has {len(hosts)} hosts, expected an odd number",
                f"Add one host or take {hosts[-1]} out",
            )


@rule("zones")
def zones(inventory: Inventory) -> Iterator[Problem]:
    """Where zones matter each host has one, and the hosts are spread evenly over them."""
    for region, pool, hosts in inventory.leaves("zones"):
        entry = inventory.table.pools[pool]
        known = [str(zone) for zone in entry["zones"]]
        found = {host: inventory.hosts[host].get("zone") for host in hosts}
        wrong = {host: zone for host, zone in found.items() if zone not in known}
        for host, zone in wrong.items():
            yield Problem(
                f"host {host} of group {region}_{pool}",
                f"its zone is {_shown(zone)}, expected one of {listed(known)}",
                f"Set the host's variable zone in {region}'s inventory file (quoted, where it is a number)",
            )
        if wrong:
            continue
        count = Counter(dict.fromkeys(known, 0))
        count.update(str(zone) for zone in found.values())
        shown = ", ".join(f"{zone}: {count[zone]}" for zone in known)
        if entry.get("zones_each_once"):
            if any(number != 1 for number in count.values()):
                yield Problem(
                    f"group {region}_{pool} ({listed(hosts)})",
                    f"expected one host in each zone, found {shown}",
                    f"Give its hosts the zones {listed(known)}, each once",
                )
        elif max(count.values()) - min(count.values()) > 1:
            crowd, empty = (choose(known, key=lambda zone: count[zone]) for choose in (max, min))
            yield Problem(
                f"group {region}_{pool} ({listed(hosts)})",
                f"its zones are out of balance ({shown})",
                f"Move a host from zone {crowd} to zone {empty}: the loss of one zone must not take a majority",
            )


def _shown(value: Any) -> str:
    """A value for a sentence; never called with a secret."""
    if value is None:
        return "not set"
    return f"unreadable ({value.problem})" if isinstance(value, Unreadable) else repr(value)
