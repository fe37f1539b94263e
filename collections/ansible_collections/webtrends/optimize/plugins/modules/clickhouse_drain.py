#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_drain
short_description: A ClickHouse node is out of its load balancer, or back in it
description:
  - Writes or removes the lease that C(clickhouse-probe) reads, which the load balancer asks. Then waits until the load balancer has noticed
    and no client's query runs, or until the probe says that the node takes traffic.
  - The lease ends by itself, so a controller that died leaves no node drained for ever.
options:
  drained:
    description: Out of traffic, or in it.
    type: bool
    required: true
  lease:
    description: File of the lease.
    type: path
    default: /run/optimize/clickhouse.drain
  ttl:
    description: Seconds after which the lease ends.
    type: int
    default: 1800
  settle:
    description: Seconds in which every load balancer has asked often enough to let go.
    type: float
    default: 6
  timeout:
    description: Seconds for the rest of the queries, or for the probe to say that the node takes traffic.
    type: int
    default: 120
  probe_port:
    description: Port of C(clickhouse-probe).
    type: int
    default: 8125
  port:
    description: HTTP port of the server.
    type: int
    default: 8123
  user:
    description: A user that may read C(system.processes).
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
attributes:
  check_mode: {support: full, description: Says whether there is a lease.}
  diff_mode: {support: none, description: One state or the other.}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- webtrends.optimize.clickhouse_drain:
    drained: true
    user: operator
    password: "{{ secret_clickhouse_passwords.operator }}"
"""

RETURN = r"""
until: {description: Until when the lease holds, in epoch seconds; 0 without one., type: float, returned: success}
"""

import http.client
import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import clickhouse, clickhouse_lease


def probe(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/replicas_status")
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return 0, f"the probe does not answer on port {port}: {error}"
    finally:
        connection.close()


def wait_probe(port: int, healthy: bool, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        status, text = probe(port)
        if (status == 200) == healthy and status:
            return
        if time.monotonic() >= deadline:
            raise clickhouse_lease.DrainError(f"the probe answers {status or 'nothing'} after {timeout:.0f} s: {text}")
        time.sleep(0.5)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "drained": {"type": "bool", "required": True},
            "lease": {"type": "path", "default": "/run/optimize/clickhouse.drain"},
            "ttl": {"type": "int", "default": 1800},
            "settle": {"type": "float", "default": 6.0},
            "timeout": {"type": "int", "default": 120},
            "probe_port": {"type": "int", "default": 8125},
            **clickhouse.CONNECTION_OPTIONS,
        },
        supports_check_mode=True,
    )
    given = module.params
    lease = Path(given["lease"])
    held = clickhouse_lease.until(lease)
    now = time.time()
    if module.check_mode:
        module.exit_json(changed=(held is not None and held > now) != given["drained"], until=held or 0)
    try:
        if given["drained"]:
            clickhouse_lease.write(lease, now + given["ttl"], os.environ.get("SUDO_USER", "root"))
            wait_probe(given["probe_port"], False, 5)
            time.sleep(given["settle"])
            client = clickhouse.Client("127.0.0.1", given["port"], given["user"], given["password"])
            clickhouse_lease.wait_quiet(client, given["timeout"])
        else:
            lease.unlink(missing_ok=True)
            wait_probe(given["probe_port"], True, given["timeout"])
    except (clickhouse_lease.DrainError, clickhouse.ClickHouseError) as error:
        module.fail_json(msg=f"{'drain' if given['drained'] else 'undrain'}: {error}", until=clickhouse_lease.until(lease) or 0)
    module.exit_json(changed=given["drained"] or held is not None, until=clickhouse_lease.until(lease) or 0)


if __name__ == "__main__":
    main()
