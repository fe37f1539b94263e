# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.webtrends.optimize.plugins.plugin_utils import artifact_check
from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import CATALOG, Catalog, CatalogError
from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import FILES, Table, TableError, find_directory, read_yaml
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_check import RULES, check
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_rules import Finding, Inventory, Unreadable
from ansible_collections.webtrends.optimize.plugins.plugin_utils.inventory_rules_connections import shape_problems

SETTINGS = ("managed_endpoints", "pools_left_out", "regions", "regions_require_confirmation")
DOCUMENTS = ("connections", "pools", "secrets")


class ActionModule(ActionBase):
    """Looks at the whole inventory once, on the controller."""

    BYPASS_HOST_LOOP = True
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "one_region": {"type": "bool", "default": False},
                "regions_confirmed": {"type": "str"},
                "secrets": {"type": "bool", "default": True},
                "artifacts": {"type": "bool", "default": False},
            }
        )
        try:
            findings = self._findings(arguments, task_vars)
        except (TableError, CatalogError) as error:
            return result | {"failed": True, "msg": str(error)}
        if findings:
            count = "1 problem" if len(findings) == 1 else f"{len(findings)} problems"
            return result | {"failed": True, "msg": "\n".join([f"The inventory has {count}; no host was touched.", *map(str, findings)])}
        hosts = len(task_vars["hostvars"])
        message = f"{hosts} hosts, {len(RULES)} rules: nothing to mend."
        return result | {"changed": False, "rules": sorted(RULES), "hosts": hosts, "msg": message}

    def _findings(self, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]) -> list[Finding]:
        directory = Path(
            task_vars.get("connections_directory") or find_directory((task_vars.get("inventory_dir"), task_vars.get("playbook_dir")))
        )
        documents = {name: read_yaml(directory / f"{name}.yml") for name in DOCUMENTS}
        schemas = {file.stem: json.loads(file.read_text("utf-8")) for file in (directory / "schema").glob("*.json")}
        broken = [
            Finding("data-shape", f"inventories/{name}.yml", problem, f"See inventories/schema/{name}.json and docs/inventory.md")
            for name in DOCUMENTS
            for problem in shape_problems(schemas[name], documents[name])
        ]
        if broken:
            # The other rules read these files as what the schemas promise.
            return broken
        hostvars = task_vars["hostvars"]
        variables = {host: Variables(host, hostvars) for host in hostvars if host != "localhost"}
        anyone: Mapping[str, Any] = next(iter(variables.values()), {})
        inventory = Inventory(
            groups={name: hosts for name, hosts in task_vars["groups"].items() if name != "all"},
            hosts=variables,
            table=Table.from_data(*(documents[name.removesuffix(".yml")] for name in FILES)),
            documents=documents,
            schemas=schemas,
            settings={name: anyone.get(name) for name in SETTINGS},
            templated=lambda host, name: self._templar.is_template(variables[host].raw.get(name)),
            play_hosts=task_vars["ansible_play_hosts_all"] if arguments["one_region"] else None,
            regions_confirmed=arguments["regions_confirmed"] == "all",
            secrets_expected=arguments["secrets"],
        )
        found = check(inventory)
        if arguments["artifacts"]:
            found += artifact_check.findings(Catalog(Path(anyone.get("artifact_catalog") or CATALOG)), inventory)
        return found


class Variables(Mapping[str, Any]):
    """A host's variables, rendered when asked for; one that cannot be rendered is Unreadable, so that all findings can be listed."""

    # A secret is the same text for every host as a rule, and costly to render: once for each text is enough.
    _secrets: dict[tuple[str, int], Any] = {}

    def __init__(self, host: str, hostvars: Mapping[str, Any]) -> None:
        # HostVars has raw_get beside what a Mapping has; core publishes no type of it.
        self.raw = hostvars.raw_get(host)  # type: ignore[attr-defined]
        self._rendered = hostvars[host]

    def __getitem__(self, name: str) -> Any:
        if name.startswith("secret_") and name in self.raw:
            key = (name, hash(str(self.raw[name])))
            if key not in self._secrets:
                self._secrets[key] = self._render(name)
            return self._secrets[key]
        return self._render(name)

    def _render(self, name: str) -> Any:
        try:
            return self._rendered[name]
        except AnsibleError as error:
            return Unreadable(str(error))

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)
