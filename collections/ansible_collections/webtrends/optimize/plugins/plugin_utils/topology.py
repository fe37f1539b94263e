# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What host and group names say: a host is `<region>-<pool>-<n>`, its group `<region>_<pool>`. Pure functions, no Ansible."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CORE = "core"
HOST_NAME = re.compile(r"(?P<region>[a-z][a-z0-9]*)-(?P<pool>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)-(?P<number>[1-9][0-9]*)")
REGION = re.compile(r"[a-z][a-z0-9]*")


class TopologyError(ValueError):
    """A name or an inventory that says nothing usable; the message names it and the mend."""


@dataclass(frozen=True)
class HostName:
    """The three things that a host's name says; `pool` with underscores, as the group is named."""

    region: str
    pool: str
    number: int

    @classmethod
    def parse(cls, name: str) -> HostName:
        match = HOST_NAME.fullmatch(name)
        if match is None:
            raise TopologyError(
                f"host {name!r} is not named <region>-<pool>-<n> (small letters, digits and dashes; n from 1, without leading zero): "
                f"rename it in its inventory, for example to euw-kafka-1"
            )
        return cls(match["region"], match["pool"].replace("-", "_"), int(match["number"]))

    def __str__(self) -> str:
        return f"{self.region}-{self.pool.replace('_', '-')}-{self.number}"


def host_number(name: str) -> int:
    """`euw-kafka-2` -> 2: the number that identifies a member (broker id, myid), whatever else is in the inventory.

    Raises TopologyError for a name without a number.
    """
    return HostName.parse(name).number


def split_leaf(group: str, pools: Iterable[str]) -> tuple[str, str] | None:
    """`core_lb_clickhouse` -> ("core", "lb_clickhouse"); None for a group that is not region x pool. The longest pool name wins."""
    names = sorted(pools, key=len, reverse=True)
    if group in names:  # `lb_clickhouse` is a pool, not region `lb`
        return None
    for pool in names:
        region = group.removesuffix(f"_{pool}")
        if region != group and REGION.fullmatch(region):
            return region, pool
    return None


@dataclass
class Estate:
    """An inventory's groups, read as regions and pools. Order of hosts and regions is the inventory's."""

    leaves: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    places: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def from_groups(cls, groups: Mapping[str, Sequence[str]], pools: Iterable[str]) -> Estate:
        """`groups` is Ansible's variable of that name: it holds the whole inventory, also in a run that is limited to a region."""
        estate = cls()
        names = list(pools)
        for group, hosts in groups.items():
            leaf = split_leaf(group, names)
            if leaf is None:
                continue
            estate.leaves[leaf] = list(hosts)
            for host in hosts:
                estate.places.setdefault(host, []).append(leaf)
        return estate

    @property
    def regions(self) -> list[str]:
        """Every region with a host, the core last: what is listed by region reads best so."""
        seen = list(dict.fromkeys(region for (region, _), hosts in self.leaves.items() if hosts))
        return sorted(seen, key=lambda region: region == CORE)

    def place(self, host: str) -> tuple[str, str]:
        """The region and the pool of a host. TopologyError unless it is in exactly one of each."""
        places = self.places.get(host, [])
        if len(places) != 1:
            found = ", ".join("_".join(place) for place in places) or "none"
            raise TopologyError(
                f"host {host} is in {len(places)} groups <region>_<pool> of pools that pools.yml names (found: {found}; expected: one): "
                f"list it in one such group of its region's inventory file"
            )
        return places[0]

    def hosts(self, pool: str, region: str) -> list[str]:
        """The hosts of one pool in one region, in the inventory's order; empty where there are none."""
        return self.leaves.get((region, pool), [])

    def pool_hosts(self, pool: str) -> list[str]:
        """The hosts of one pool in every region."""
        return [host for (_, name), hosts in self.leaves.items() if name == pool for host in hosts]


def address_of(variables: Mapping[str, Any]) -> str | None:
    """The IP address by which the rest of the estate reaches a host, or None where DNS knows it."""
    for name in ("private_address", "ansible_host"):
        if is_address(variables.get(name)):
            return str(variables[name])
    return None


def is_address(value: Any) -> bool:
    """Is this the text of an IP address?"""
    if not isinstance(value, str):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def host_entries(hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`{address, names}` of each host with an address and, after these, of each address that a pair shares.

    Raises TopologyError where hosts give one shared name two addresses.
    """
    entries = [{"address": address, "names": [host]} for host, variables in hosts.items() if (address := address_of(variables))]
    shared: dict[str, list[str]] = {}
    owners: dict[str, tuple[str, str]] = {}
    for host, variables in hosts.items():
        address = variables.get("virtual_address")
        if address is None:
            continue
        for name in (variables.get("virtual_name"), variables.get("public_name")):
            if name is None:
                continue
            if owners.setdefault(name, (address, host))[0] != address:
                raise TopologyError(
                    f"host {host} gives the shared name {name} the address {address}, host {owners[name][1]} gives it {owners[name][0]}: "
                    f"set one virtual_address for their group"
                )
            if name not in shared.setdefault(address, []):
                shared[address].append(name)
    return entries + [{"address": address, "names": names} for address, names in shared.items()]
