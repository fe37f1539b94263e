# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: haproxy_servers
short_description: Endpoints as the C(server) dictionary of a backend
description:
  - What the lookup P(webtrends.optimize.endpoints#lookup) answers, as the value of the key C(server) for
    P(webtrends.optimize.haproxy_section#filter). A server has its host's name, so that logs, statistics and the admin socket speak of
    hosts.
positional: _input
options:
  _input:
    description: The endpoints, each C(host:port).
    type: list
    elements: str
    required: true
  options:
    description: Options of each server, as in HAProxy's manual.
    type: str
    default: ""
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
# ["euw-pat-1:8080"] -> {"euw-pat-1": "euw-pat-1:8080 maxconn 500"}
server: "{{ lookup('webtrends.optimize.endpoints', 'app_gateway_to_pat') | webtrends.optimize.haproxy_servers(options='maxconn 500') }}"
"""

RETURN = r"""
_value: {description: Server name to address and options., type: dict}
"""

from ansible.errors import AnsibleFilterError


def haproxy_servers(endpoints, options: str = "") -> dict[str, str]:
    if isinstance(endpoints, str) or not isinstance(endpoints, (list, tuple)):
        raise AnsibleFilterError(f"haproxy_servers: expected a list of host:port, found {endpoints!r}")
    servers: dict[str, str] = {}
    for endpoint in endpoints:
        host, colon, port = str(endpoint).rpartition(":")
        if not colon or not host or not port.isdigit():
            raise AnsibleFilterError(f"haproxy_servers: {endpoint!r} is not host:port")
        if host in servers:
            raise AnsibleFilterError(f"haproxy_servers: {host} comes twice; a server's name is its host's")
        servers[host] = f"{endpoint} {options}".rstrip()
    return servers


class FilterModule:
    def filters(self):
        return {"haproxy_servers": haproxy_servers}
