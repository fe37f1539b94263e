# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: Test hosts described as pools
version_added: 0.1.0
author: Webtrends Optimize platform maintainers
description:
  - Turns a few lines for each pool into hosts, groups and host variables.
  - The hosts are called V(<region>-<pool>-<n>) and are members of the groups region, pool and region_pool.
  - An address is the network plus the region's offset plus the pool's O(pools) C(first) plus the number minus one, so that adding a pool,
    a host or a region gives no other host another address.
  - The secrets of the fleet's state directory become variables of V(all). They are templates that read the file when they are used, so
    that C(ansible-inventory) prints no secret.
options:
  plugin:
    description: Marks the file as one for this plugin.
    required: true
    choices: [webtrends.optimize.fleet]
    type: str
  fleet:
    description: Name of the fleet; its state is in C(.cache/molecule/<name>). Excludes O(fleets).
    type: str
  network:
    description: The fleet's own network. Excludes O(fleets).
    type: str
  fleets:
    description:
      - Fleets that can be made from this file, each with C(network) and C(state) (a directory in the project).
      - The environment variable E(OPTIMIZE_FLEET) chooses one; the first is the default.
    type: dict
  release:
    description: Debian release of the hosts. A pool may have its own.
    choices: [bookworm, trixie]
    default: bookworm
    type: str
  regions:
    description: Each region's offset from the start of the network; C(core) holds the pools that exist once.
    required: true
    type: dict
  default_regions:
    description: Regions besides the core where the state directory records none; all of them by default.
    type: list
    elements: str
  pools:
    description:
      - C(core) and C(regional), each a mapping of pool to C(hosts) (how many), C(first) (the first host's address counted from the
        region's), and optionally C(zones) (dealt in turn; V(1), V(2), V(3) by default), C(shared) (the address that the pool's hosts share,
        counted alike), C(release), C(memory) (MB that a converged host takes, an estimate that is compared with the machine's),
        C(bare) (its hosts are there by name and address and do not run what the pool's C(expect_units) and C(expect_ports) say).
    required: true
    type: dict
  variables:
    description:
      - Variables of every host. They win over C(group_vars), so that a scenario which converges a part of its pools' roles can say so
        (C(expect_units), C(expect_ports)) and can have its own settings.
    type: dict
"""

EXAMPLES = r"""
plugin: webtrends.optimize.fleet
fleet: kafka
network: 10.92.3.0/24
regions: {core: 0, euw: 100}
pools:
  core:
    zookeeper: {hosts: 3, first: 11}
  regional:
    kafka: {hosts: 3, first: 11}
"""

import os
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.template import trust_as_template
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import (
    Fleet,
    FleetError,
    connection_variables,
    fleet_from_data,
    host_variables,
)


def secret_variables(fleet: Fleet) -> dict[str, str]:
    """Each secret's variable as a template that reads its value from the state directory when a task needs it."""
    try:
        text = fleet.secrets.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}  # before the fleet's first start: the inventory check names each secret that is missing
    # Only the names are wanted, and they stand at the start of a line: parsing the values would cost every run 50 ms.
    names = [line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()]
    return {name: f"{{{{ (lookup('ansible.builtin.file', '{fleet.secrets}') | from_yaml)['{name}'] }}}}" for name in names}


class InventoryModule(BaseInventoryPlugin):
    NAME = "webtrends.optimize.fleet"

    def verify_file(self, path: str) -> bool:
        """Any YAML file whose `plugin` is this one: scenarios call it inventory.yml, the local inventory fleet.yml."""
        return super().verify_file(path) and path.endswith((".yml", ".yaml"))

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        try:
            data = loader.load_from_file(path, cache="none", trusted_as_template=True)
            fleet = fleet_from_data(data, Path(path), variant=os.environ.get("OPTIMIZE_FLEET"))
        except FleetError as error:
            raise AnsibleParserError(str(error)) from error
        # Trusted as what a static inventory says is: templates are rendered, and `ansible-inventory` prints texts that testinfra can read.
        for name, value in (connection_variables(fleet) | secret_variables(fleet)).items():
            inventory.set_variable("all", name, trust_as_template(value))
        for host in fleet.hosts:
            region, pool, leaf = host.groups
            for group in host.groups:
                inventory.add_group(group)
            inventory.add_child(region, leaf)
            inventory.add_child(pool, leaf)
            inventory.add_host(host.name, group=leaf)
            for name, value in fleet.variables.items():
                inventory.set_variable(host.name, name, value)
            for name, value in host_variables(host).items():
                inventory.set_variable(host.name, name, trust_as_template(value) if isinstance(value, str) else value)
