# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The connection table (connections.yml, pools.yml) as objects, and what an inventory makes of a row of it. No Ansible in here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import CORE, Estate, host_number

EVERY_HOST = "every_host"
FILES = ("connections.yml", "pools.yml")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TableError(ValueError):
    """A connection that cannot be answered for; the message names host, connection and mend."""


@dataclass(frozen=True)
class Connection:
    """A row of the table. `ports` are names of the listener's ports; `row` is None for what the design does not draw."""

    name: str
    source: str
    target: str
    opened_by: str
    ports: tuple[str, ...]
    protocol: str
    scope: str
    purpose: str
    row: int | None = None
    reason: str | None = None
    via: str | None = None
    part: str | None = None
    transport: str = "tcp"
    both_ways: bool = False
    members: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def listener(self) -> str:
        """The end that the other one connects to."""
        return self.source if self.opened_by == self.target else self.target

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Connection:
        values = dict(data)
        values["source"], values["target"] = values.pop("from"), values.pop("to")
        values["ports"] = tuple(values["ports"])
        values["members"] = {pool: tuple(numbers) for pool, numbers in values.get("members", {}).items()}
        return cls(**values)


@dataclass(frozen=True)
class Table:
    """Both files. Their shape is held by the schemas in inventories/schema (the inventory check applies them)."""

    pools: Mapping[str, Mapping[str, Any]]
    outside: Mapping[str, Mapping[str, Any]]
    every_host: Mapping[str, Any]
    connections: Mapping[str, Connection]

    @classmethod
    def from_data(cls, connections: Mapping[str, Any], pools: Mapping[str, Any]) -> Table:
        rows = [Connection.from_data(row) for row in connections["connections"]]
        return cls(pools["pools"], pools["outside"], pools["every_host"], {row.name: row for row in rows})

    @classmethod
    def load(cls, directory: str) -> Table:
        """The table as its files are now; a process reads them once, however many endpoints a task asks for."""
        return _load(directory, *((Path(directory) / name).stat().st_mtime_ns for name in FILES))

    def connection(self, name: str) -> Connection:
        if name not in self.connections:
            raise TableError(f"no connection is named {name!r}: add it to inventories/connections.yml, or use one of its names")
        return self.connections[name]

    def end(self, name: str) -> Mapping[str, Any]:
        """The catalogue's entry of a pool, of every_host or of an end outside."""
        if name == EVERY_HOST:
            return self.every_host
        return self.pools.get(name) or self.outside[name]

    def port(self, listener: str, name: str) -> int:
        """The number of a listener's named port."""
        listens = self.end(listener).get("listens", {})
        if name not in listens:
            raise TableError(
                f"{listener} has no port named {name!r} (it has: {', '.join(listens) or 'none'}): mend `listens` in inventories/pools.yml"
            )
        return int(listens[name])


@functools.lru_cache(maxsize=2)
def _load(directory: str, *_modified: int) -> Table:
    return Table.from_data(*(read_yaml(Path(directory) / name) for name in FILES))


def read_yaml(path: Path) -> Any:
    """A data file of the inventories."""
    with path.open(encoding="utf-8") as stream:
        return yaml.load(stream, Loader=_Loader)


def find_directory(starts: Iterable[str | None]) -> str:
    """The directory with the table: the first of `starts`, its parents, or an `inventories` beside one of them, that has both files."""
    tried = [start for start in starts if start]
    for start in tried:
        for parent in (Path(start), *Path(start).parents):
            for directory in (parent, parent / "inventories"):
                if all((directory / name).is_file() for name in FILES):
                    return str(directory)
    raise TableError(
        f"no connection table ({' and '.join(FILES)}) in or above {', '.join(tried) or 'any directory'}: "
        f"set the variable connections_directory to the directory that holds it"
    )


@dataclass(frozen=True)
class Query:
    """What the lookup's options ask of a connection."""

    port: str | None = None
    region: str | None = None
    exclude_self: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Resolver:
    """Answers, for one inventory: which addresses does a host use for a connection?

    `managed` is the inventory's variable managed_endpoints; `shared_name` gives the name of the address that a host's pool shares, or None.
    """

    table: Table
    estate: Estate
    managed: Mapping[str, Any]
    shared_name: Callable[[str], str | None]

    def endpoints(self, name: str, host: str, query: Query | None = None) -> list[str]:
        """`host:port` of the far end of a connection, or the bare names where it has no port (VRRP).

        Raises TableError where the host does not open this connection, or where neither a host nor a managed endpoint exists.
        """
        query = query or Query()
        connection = self.table.connection(name)
        region, pool = self.estate.place(host)
        if connection.opened_by not in (pool, EVERY_HOST):
            raise TableError(
                f"host {host} (pool {pool}) does not open connection {name}: {connection.opened_by} does. "
                f"Use a connection that {pool} opens, or add one to inventories/connections.yml"
            )
        port = self._port(connection, query)
        found: list[str] = []
        for place in self._regions(connection, region, query):
            found += self._addresses(connection, place, host, query, port)
        if not found and not query.optional and not query.exclude_self:
            raise TableError(self._nobody(connection, host, region))
        return found

    def _port(self, connection: Connection, query: Query) -> str | None:
        if query.port is None:
            return connection.ports[0] if connection.ports else None
        if query.port not in connection.ports:
            raise TableError(
                f"connection {connection.name} has no port {query.port!r} (it has: {', '.join(connection.ports) or 'none'}): "
                f"ask for one of these, or add it to the connection in inventories/connections.yml"
            )
        return query.port

    def _regions(self, connection: Connection, own: str, query: Query) -> list[str]:
        if connection.scope == "outside":
            raise TableError(f"connection {connection.name} ends outside the estate: its addresses are not inventory data")
        if connection.scope == "core":
            return [CORE]
        if connection.scope == "same_region":
            if query.region not in (None, own):
                raise TableError(
                    f"connection {connection.name} stays in its region ({own}); region={query.region!r} cannot be asked of it. "
                    f"If it is to cross regions, give it scope each_region in inventories/connections.yml"
                )
            return [own]
        if query.region is not None:
            return [query.region]
        managed = self.managed.get(connection.listener, {})
        return [*self.estate.regions, *(region for region in managed if region not in self.estate.regions)]

    def _addresses(self, connection: Connection, region: str, host: str, query: Query, port: str | None) -> list[str]:
        pool = connection.listener
        hosts = self.estate.hosts(pool, region)
        if numbers := connection.members.get(pool):
            hosts = [name for name in hosts if host_number(name) in numbers]
        if not hosts:
            endpoint = self.managed.get(pool, {}).get(region)
            return [self._managed(connection, endpoint, region, port)] if endpoint else []
        if self.table.end(pool).get("shared_address") and pool != connection.opened_by:
            shared = self.shared_name(hosts[0])
            if shared is None and len(hosts) > 1:
                raise TableError(
                    f"connection {connection.name} of host {host}: {', '.join(hosts)} share an address, but their group {region}_{pool} "
                    f"has no virtual_name: set it in the group's variables"
                )
            hosts = [shared or hosts[0]]
        if query.exclude_self:
            hosts = [name for name in hosts if name != host]
        return [f"{name}:{self.table.port(pool, port)}" if port else name for name in hosts]

    def _managed(self, connection: Connection, endpoint: Mapping[str, Any], region: str, port: str | None) -> str:
        address = endpoint["address"]
        if isinstance(address, Mapping):
            if connection.part not in address:
                raise TableError(
                    f"managed endpoint {connection.listener} of {region} has an address for each of {', '.join(address)}, and connection "
                    f"{connection.name} names none of these: give it `part` in inventories/connections.yml"
                )
            address = address[connection.part]
        if port is None:
            return str(address)
        return f"{address}:{endpoint.get('ports', {}).get(port) or self.table.port(connection.listener, port)}"

    def _nobody(self, connection: Connection, host: str, own: str) -> str:
        where = {"core": CORE, "same_region": own}.get(connection.scope, "any region")
        pool = connection.listener
        group = f"{where}_{pool}" if where != "any region" else f"<region>_{pool}"
        return (
            f"host {host} has nobody to reach by connection {connection.name}: {where} has no host of pool {pool} and no managed endpoint. "
            f"Add hosts to group {group}, or managed_endpoints.{pool} in group_vars/all/managed_endpoints.yml"
        )
