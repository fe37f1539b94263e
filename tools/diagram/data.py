"""What the diagram and the connection page are made from: the production inventory and the connection table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import EVERY_HOST, Connection, Table, read_yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import Estate

ROOT = Path(__file__).resolve().parents[2]
INVENTORIES = ROOT / "inventories"


@dataclass(frozen=True)
class Platform:
    """The estate as it is drawn. `zones` has a zone for each host that has one; `titles` a region's name and place."""

    table: Table
    estate: Estate
    zones: dict[str, str]
    titles: dict[str, dict[str, str]]

    @classmethod
    def load(cls, inventories: Path = INVENTORIES) -> Platform:
        table = Table.load(str(inventories))
        inventory = InventoryManager(DataLoader(), [str(inventories / "production")])
        zones = {host.name: str(host.vars["zone"]) for host in inventory.get_hosts() if "zone" in host.vars}
        titles = read_yaml(inventories / "production" / "group_vars" / "all" / "names.yml")["regions"]
        return cls(table, Estate.from_groups(inventory.get_groups_dict(), table.pools), zones, titles)

    @property
    def regions(self) -> list[str]:
        """The serving regions, in the order of names.yml."""
        return [region for region in self.titles if region in self.estate.regions and region != "core"]

    def title(self, end: str, part: str | None = None) -> str:
        """What an end is called by people."""
        entry = self.table.end(end)
        return str(entry["parts"][part]) if part and part in entry.get("parts", {}) else str(entry["title"])

    def ends(self, connection: Connection) -> tuple[str, str]:
        """The titles of both ends, as drawn."""
        return self.title(connection.source, connection.part), self.title(connection.target, connection.part)

    def rows(self) -> dict[int, list[Connection]]:
        """The design's rows in order, each with its connections."""
        found: dict[int, list[Connection]] = {}
        for connection in sorted(self.table.connections.values(), key=lambda connection: connection.row or 0):
            if connection.row:
                found.setdefault(connection.row, []).append(connection)
        return found

    def others(self) -> list[Connection]:
        """What the design does not draw, in the table's order."""
        return [connection for connection in self.table.connections.values() if not connection.row]

    def ports(self, connection: Connection) -> list[str]:
        """`8123` of each port; a named one where each pool has its own."""
        if connection.listener == EVERY_HOST:
            known = self.table.every_host["listens"]
            return [str(known[name]) if name in known else f"each pool's `{name}`" for name in connection.ports]
        return [str(self.table.port(connection.listener, name)) for name in connection.ports]
