# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: estate_hosts
short_description: Names and addresses of the whole estate
version_added: 0.1.0
description:
  - Returns what a hosts file needs in order to resolve every name that a connection may use. These are the hosts, and the shared names of
    pairs (C(virtual_name), C(public_name)) with their C(virtual_address).
  - A host's address is its C(private_address), or else its C(ansible_host), where that is an IP address. A host that is reached by a DNS
    name is left out; the private DNS zone resolves it.
  - The whole inventory counts, also in a run that is limited to a region.
options:
  _terms:
    description: None are taken.
    required: false
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: The lines of a hosts file
  ansible.builtin.debug:
    msg: "{{ item.address }} {{ item.names | join(' ') }}"
  loop: "{{ query('webtrends.optimize.estate_hosts') }}"
"""

RETURN = r"""
_raw:
  description: An entry for each address, in the inventory's order; pairs' shared addresses last.
  type: list
  elements: dict
  sample: [{address: 10.90.1.31, names: [euw-kafka-1]}, {address: 10.90.1.41, names: [euw-app-gateway, euw.edge.optimize.test]}]
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.webtrends.optimize.plugins.plugin_utils.topology import TopologyError, host_entries


class LookupModule(LookupBase):
    """Collects the addresses; what they make together is plugin_utils/topology.py."""

    def run(self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        hostvars = (variables or {})["hostvars"]
        try:
            return host_entries({host: hostvars[host] for host in hostvars if host != "localhost"})
        except TopologyError as error:
            raise AnsibleLookupError(str(error)) from error
