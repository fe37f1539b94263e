# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: endpoints
short_description: The addresses of the far end of a connection
version_added: 0.1.0
description:
  - Takes the name of a connection of C(inventories/connections.yml) and returns the C(host:port) list that the current host uses for it,
    from the inventory's groups, in the inventory's order.
  - The far end is the end that does not open the connection. Which of its hosts are meant follows from the connection's C(scope), its own
    region, the core, or all regions of the inventory. A run limited to one region gets the same answer.
  - A pool that shares an address is answered with its C(public_name) (the one in its certificate), or else its C(virtual_name).
  - A pool without hosts is answered with the inventory's C(managed_endpoints) entry.
  - Fails, naming host, connection and mend, where the host does not open the connection, or where neither host nor managed endpoint exists.
options:
  _terms:
    description: Names of connections; one, as a rule.
    required: true
    type: list
    elements: str
  port:
    description: Which of the connection's named ports; the first one where absent.
    type: str
  region:
    description: Only this region's part, of a connection with scope C(each_region).
    type: str
  exclude_self:
    description: Leave the current host out, of a connection among members. The list may then be empty.
    type: bool
    default: false
  optional:
    description: Return an empty list, rather than fail, where neither host nor managed endpoint exists.
    type: bool
    default: false
notes:
  - The table is found in, above or in an C(inventories) directory above the inventory's and the playbook's directories; the variable
    C(connections_directory) names it explicitly.
"""

EXAMPLES = r"""
- name: Where a Collect host writes
  ansible.builtin.debug:
    msg: "{{ lookup('webtrends.optimize.endpoints', 'collect_to_lb_clickhouse') }}"

- name: The sink's brokers in one region
  ansible.builtin.debug:
    msg: "{{ lookup('webtrends.optimize.endpoints', 'sink_to_kafka', region='euw') | join(',') }}"
"""

RETURN = r"""
_raw:
  description:
    - One list for each term, so that C(lookup) with one connection is its list.
    - Its elements are C(host:port); bare names for a connection without port (VRRP).
  type: list
  elements: list
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.webtrends.optimize.plugins.plugin_utils.connections import Query, Resolver, Table, TableError, find_directory
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import Estate, TopologyError


class LookupModule(LookupBase):
    """Answers from the table and the inventory; see plugin_utils/connections.py."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[list[str]]:
        self.set_options(var_options=variables, direct=kwargs)
        variables = variables or {}
        query = Query(**{option: self.get_option(option) for option in ("port", "region", "exclude_self", "optional")})
        try:
            table = Table.load(self._value(variables, "connections_directory") or find_directory(directories(variables)))
            resolver = Resolver(
                table=table,
                estate=Estate.from_groups(variables["groups"], table.pools),
                managed=self._value(variables, "managed_endpoints") or {},
                shared_name=lambda host: shared_name(variables["hostvars"][host]),
            )
            return [resolver.endpoints(term, variables["inventory_hostname"], query) for term in terms]
        except (TableError, TopologyError) as error:
            raise AnsibleLookupError(str(error)) from error

    def _value(self, variables: dict[str, Any], name: str) -> Any:
        return self._templar.template(variables[name]) if name in variables else None


def shared_name(hostvars: Mapping[str, Any]) -> str | None:
    """What a pair is called by those who connect to it."""
    return hostvars.get("public_name") or hostvars.get("virtual_name")


def directories(variables: dict[str, Any]) -> tuple[str | None, ...]:
    """Where the search for the table begins."""
    return variables.get("inventory_dir"), variables.get("playbook_dir")
