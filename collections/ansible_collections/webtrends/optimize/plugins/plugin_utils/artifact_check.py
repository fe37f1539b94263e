# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Before any host is touched: is all that the hosts of an inventory would install there, and whole?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import Artifact, Catalog, CatalogError
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_rules import Finding, Inventory, Unreadable

RULE = "artifacts"


def findings(catalog: Catalog, inventory: Inventory) -> list[Finding]:
    """What is missing, altered, unknown or unverifiable; once for each version, with the group of hosts that would install it."""
    found: dict[tuple[str, str, str], Finding | None] = {}
    for group, name, version, source in _wanted(catalog, inventory):
        if (name, version, source) not in found:
            try:
                for artifact in catalog.builds(name, version):
                    _judge(catalog, artifact, source)
                found[name, version, source] = None
            except CatalogError as error:
                found[name, version, source] = Finding(RULE, f"group {group}", str(error).rstrip("."), "Then run the same command again")
    return [finding for finding in found.values() if finding]


def _wanted(catalog: Catalog, inventory: Inventory) -> Iterator[tuple[str, str, str, str]]:
    for pool in inventory.table.pools:
        for name, variable in catalog.used_by(pool).items():
            for host in inventory.groups.get(pool, []):
                variables: Mapping[str, Any] = inventory.hosts[host]
                chosen = variables.get(variable) if variable in variables else catalog.first(name)
                if not isinstance(chosen, Unreadable):  # which other rules tell
                    yield pool, name, str(chosen), str(variables["artifact_source"])


def _judge(catalog: Catalog, artifact: Artifact, source: str) -> None:
    # The project has no vendor for what it builds itself.
    if source == "vendor" and artifact.kind != "built":
        catalog.need_vendor(artifact)
    else:
        catalog.verify(artifact)
