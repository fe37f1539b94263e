# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inventory check's rules about the connection table: its shape, its ends, ports, managed endpoints, shared addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import EVERY_HOST, Connection, Table
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_rules import Inventory, Problem, Unreadable, listed, rule
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import CORE, is_address

ROWS = range(1, 21)


def shape_problems(schema: Mapping[str, Any], document: Any) -> Iterator[str]:
    """What a schema has against a document, as `path: problem`."""
    validator = jsonschema.Draft202012Validator(schema)
    for error in sorted(validator.iter_errors(document), key=lambda error: [str(part) for part in error.absolute_path]):
        yield f"{'.'.join(str(part) for part in error.absolute_path) or 'the whole'}: {error.message}"


@rule("data-shape")
def data_shape(inventory: Inventory) -> Iterator[Problem]:
    """connections.yml, pools.yml, secrets.yml and the variable managed_endpoints have the shape that their schemas say."""
    for name, document in {**inventory.documents, "managed_endpoints": inventory.settings.get("managed_endpoints") or {}}.items():
        file = "group_vars/all/managed_endpoints.yml" if name == "managed_endpoints" else f"inventories/{name}.yml"
        if isinstance(document, Unreadable):
            yield Problem(file, f"cannot be read: {document.problem}", "Mend the template or the file")
            continue
        for problem in shape_problems(inventory.schemas[name], document):
            yield Problem(file, problem, f"See inventories/schema/{name}.json and docs/inventory.md")


@rule("table")
def table_sense(inventory: Inventory) -> Iterator[Problem]:
    """The table's rows name ends and ports that exist, no name twice, and the design's rows are all there."""
    table = inventory.table
    rows = inventory.documents["connections"]["connections"]
    names = [row.get("name") for row in rows]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(
            f"connection {name}", f"is there {names.count(name)} times", "Give each a name of its own in inventories/connections.yml"
        )
    missing = sorted(set(ROWS) - {connection.row for connection in table.connections.values()})
    if missing:
        yield Problem("inventories/connections.yml", f"rows {listed(missing)} of the design are missing", "Add a connection for each")
    for connection in table.connections.values():
        for found, mend in _row_problems(table, connection):
            yield Problem(f"connection {connection.name}", found, f"{mend} in inventories/connections.yml")


def _row_problems(table: Table, connection: Connection) -> Iterator[tuple[str, str]]:
    ends = [*table.pools, *table.outside, EVERY_HOST]
    for end in dict.fromkeys((connection.source, connection.target)):
        if end not in ends:
            yield f"its end {end} is no pool and no end outside (inventories/pools.yml)", "Name one that is"
            return
    if connection.opened_by not in (connection.source, connection.target):
        yield f"is opened by {connection.opened_by}, which is neither end", f"Set opened_by to {connection.source} or {connection.target}"
        return
    if connection.listener != EVERY_HOST:
        listens = table.end(connection.listener).get("listens", {})
        for port in connection.ports:
            if port not in listens:
                yield (
                    f"its port {port} is not one that {connection.listener} listens on ({listed(list(listens)) or 'none'})",
                    "Name one that is",
                )
    place = table.pools.get(connection.listener, {}).get("place")
    if (connection.scope == "outside") != (connection.listener in table.outside):
        yield (
            f"its scope is {connection.scope}, but {connection.listener} listens",
            "Scope `outside` is for ends outside, and for all of them",
        )
    elif place == "region" and connection.scope == CORE:
        yield f"its scope is core, but {connection.listener} is a regional pool", "Set scope same_region or each_region"
    elif place == CORE and connection.scope == "same_region" and connection.opened_by in table.pools:
        yield f"its scope is same_region, but {connection.listener} is in the core", "Set scope core"
    for pool in connection.members:
        if pool not in (connection.source, connection.target):
            yield f"`members` names {pool}, which is neither end", "Name one of its ends"


@rule("pools-present")
def pools_present(inventory: Inventory) -> Iterator[Problem]:
    """Every pool has hosts or a managed endpoint, or is left out on purpose."""
    estate, pools, left_out = inventory.estate, inventory.table.pools, inventory.left_out
    for pool in left_out:
        if pool not in pools:
            yield Problem("variable pools_left_out", f"{pool} is no pool of inventories/pools.yml", f"Take {pool} off the list")
        elif hosts := estate.pool_hosts(pool):
            group = "_".join(estate.places[hosts[0]][0])
            yield Problem(
                f"group {group} (host {hosts[0]})",
                f"pool {pool} has hosts and is in pools_left_out",
                f"Take {pool} off pools_left_out in group_vars/all, or its hosts out of the inventory",
            )
    for pool, entry in pools.items():
        if pool in left_out:
            continue
        for region in [CORE] if entry["place"] == CORE else [region for region in estate.regions if region != CORE]:
            if not estate.hosts(pool, region) and region not in inventory.managed.get(pool, {}):
                managed = f", managed_endpoints.{pool}.{region} in group_vars/all" if entry["kind"] == "managed" else ""
                yield Problem(
                    f"group {region}_{pool}",
                    f"there is no host of pool {pool} in {region}, and no managed endpoint",
                    f"Add hosts to {region}_{pool}{managed}, or name {pool} in pools_left_out",
                )


@rule("connection-ends")
def connection_ends(inventory: Inventory) -> Iterator[Problem]:
    """Whoever opens a connection finds its listener: hosts or a managed endpoint in the place that the connection's scope says."""
    estate, table = inventory.estate, inventory.table
    for connection in table.connections.values():
        listener = connection.listener
        if connection.scope == "outside" or listener not in table.pools or listener in inventory.left_out:
            continue
        if table.pools[listener]["kind"] == "managed" and connection.source == connection.target:
            continue
        for region in estate.regions:
            openers = estate.hosts(connection.opened_by, region)
            if not openers:
                continue
            managed = inventory.managed.get(listener, {})
            places = {"same_region": [region], "core": [CORE]}.get(connection.scope, [*estate.regions, *managed])
            if not any(estate.hosts(listener, place) or place in managed for place in places):
                where, group = (places[0], f"{places[0]}_{listener}") if len(places) == 1 else ("any region", f"<region>_{listener}")
                yield Problem(
                    f"host {openers[0]} of group {region}_{connection.opened_by}",
                    f"opens connection {connection.name}, but {where} has neither a host nor a managed endpoint of pool {listener}",
                    f"Add hosts to group {group}, or managed_endpoints.{listener} in group_vars/all",
                )


@rule("managed-endpoints")
def managed_endpoints(inventory: Inventory) -> Iterator[Problem]:
    """Managed endpoints are of pools that Azure manages, in places where the pool can be, with an address for each part."""
    pools = inventory.table.pools
    regions = set(inventory.settings.get("regions") or {}) | set(inventory.estate.regions)
    for pool, places in inventory.managed.items():
        where = f"managed_endpoints.{pool}"
        if pools.get(pool, {}).get("kind") != "managed":
            yield Problem(where, f"{pool} is not a pool that Azure manages", "Name hosts for it; take the entry out")
            continue
        for region, endpoint in places.items() if isinstance(places, Mapping) else ():
            if region not in regions or (region == CORE) != (pools[pool]["place"] == CORE):
                yield Problem(f"{where}.{region}", f"pool {pool} has no place {region}", f"Use one of {listed(sorted(regions))}")
            address = endpoint.get("address") if isinstance(endpoint, Mapping) else None
            parts = pools[pool].get("parts", {})
            if isinstance(address, Mapping) and set(address) != set(parts):
                yield Problem(
                    f"{where}.{region}",
                    f"has addresses for {listed(list(address))}, expected {listed(list(parts)) or 'one'}",
                    "Give an address for each part that inventories/pools.yml names",
                )


@rule("ports")
def ports(inventory: Inventory) -> Iterator[Problem]:
    """No two programs of a host listen on one port: its pool's, those of every host, and the host's own `also_listens`."""
    table = inventory.table
    for (region, pool), hosts in inventory.estate.leaves.items():
        for host in hosts:
            also = inventory.hosts[host].get("also_listens") or {}
            if not isinstance(also, Mapping):
                yield Problem(
                    f"host {host} of group {region}_{pool}",
                    "also_listens is no mapping of names to ports",
                    "Write `also_listens: {name: 1234}`",
                )
                continue
            seen: dict[int, str] = {}
            for source in (table.every_host.get("listens", {}), table.pools[pool].get("listens", {}), also):
                for name, number in source.items():
                    if other := seen.get(number):
                        yield Problem(
                            f"host {host} of group {region}_{pool}",
                            f"port {number} is taken twice, by {other} and by {name}",
                            f"Give {name} another port (inventories/pools.yml, or also_listens of the host)",
                        )
                    seen.setdefault(number, name)


@rule("addresses")
def addresses(inventory: Inventory) -> Iterator[Problem]:
    """No address is two hosts', and the address that a pair shares is that pair's alone, the same on all of its hosts."""
    owner: dict[str, str] = {}
    for host, variables in inventory.hosts.items():
        for address in dict.fromkeys((variables.get("private_address"), variables.get("ansible_host"))):
            # A name, or the loopback of a forwarded port, is an address that hosts may well share.
            if not is_address(address) or str(address).startswith("127."):
                continue
            if (other := owner.get(str(address))) and other != host:
                yield Problem(f"host {host}", f"has the address {address}, which is also that of {other}", "Correct one of the two")
            owner[str(address)] = host
    virtual: dict[str, str] = {}
    for (region, pool), hosts in inventory.estate.leaves.items():
        group = f"{region}_{pool}"
        found = {host: inventory.hosts[host].get("virtual_address") for host in hosts}
        if len(hosts) > 1 and inventory.table.pools[pool].get("shared_address") and None in found.values():
            lacking = [host for host, address in found.items() if address is None]
            yield Problem(
                f"host {lacking[0]} of group {group}", "shares an address and has no virtual_address", f"Set it for group {group}"
            )
        for host, address in found.items():
            where = f"host {host} of group {group}"
            if address is None:
                continue
            if not is_address(address):
                yield Problem(where, "its virtual_address is no IP address", f"Set an IP address for group {group}")
                continue
            if address in owner:
                yield Problem(where, f"its virtual_address {address} is the address of host {owner[address]}", "Take a free one")
            if virtual.setdefault(address, group) != group:
                yield Problem(where, f"its virtual_address {address} is also that of group {virtual[address]}", "Take a free one")
        if len({address for address in found.values() if isinstance(address, str)}) > 1:
            yield Problem(
                f"group {group} ({listed(hosts)})",
                f"its hosts have different virtual addresses ({listed(list(found.values()))})",
                "Set one virtual_address, for the group",
            )
