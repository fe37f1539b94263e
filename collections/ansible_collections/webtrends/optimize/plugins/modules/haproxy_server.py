#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_server
short_description: Take a server out of a load balancer's backends, or put it back
description:
  - Speaks with HAProxy's admin socket on the host where it runs. V(drained) sends no new request to the server, then waits until
    what it has in flight has ended. V(ready) gives it back to its health check, then waits until it serves.
  - Fails where it can't get an answer, where the server is unknown, where too few others would be left, and where the wait ends.
  - A drain is a lease. A transient timer of systemd gives the server back when O(lease) is over, so that a controller that died leaves
    no server drained for ever. Draining again renews the lease.
  - The state survives a reload of HAProxy, not a restart, after which health checks alone decide.
options:
  server:
    description: The server's name, which is its host's name.
    type: str
    required: true
  backends:
    description: Backends in which to do it. Empty for every backend that has the server.
    type: list
    elements: str
    default: []
  state:
    description: What the server shall be.
    type: str
    choices: [drained, ready]
    required: true
  wait:
    description: Seconds to wait for the end of what is in flight, or for the server to serve.
    type: float
    default: 60
  lease:
    description: Seconds after which a drained server is given back by itself.
    type: int
    default: 900
  minimum_left:
    description: How many other servers must serve in each backend for a drain to be allowed.
    type: int
    default: 1
  socket:
    description: HAProxy's admin socket.
    type: path
    default: /run/haproxy/admin.sock
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: Take a ClickHouse node out of the load balancer
  webtrends.optimize.haproxy_server:
    server: core-clickhouse-1
    state: drained
"""

RETURN = r"""
servers: {description: "For each backend: status and sessions before and after.", type: list, elements: dict, returned: success}
waited: {description: "Seconds of waiting.", type: float, returned: success}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import haproxy

ADMIN_PROGRAM = "/usr/local/libexec/optimize/haproxy-admin"


def lease_unit(server: str) -> str:
    return f"haproxy-ready-{server}"


def set_lease(module: AnsibleModule, commands: list[str]) -> None:
    """The old timer goes, a new one counts from now; before the drain, so that there is no drain without its end."""
    end_lease(module)
    unit = lease_unit(module.params["server"])
    timer = ["systemd-run", "--quiet", f"--unit={unit}", f"--on-active={module.params['lease']}", "--timer-property=AccuracySec=1s"]
    module.run_command(timer + [ADMIN_PROGRAM, module.params["socket"]] + commands, check_rc=True)


def end_lease(module: AnsibleModule) -> None:
    # The service too: fired and failed, it would keep the name. Neither need exist.
    unit = lease_unit(module.params["server"])
    module.run_command(["systemctl", "stop", f"{unit}.timer"])
    module.run_command(["systemctl", "reset-failed", f"{unit}.service"])


def wait_until(module: AnsibleModule, admin: haproxy.Admin, done, problem: str) -> list[haproxy.Server]:
    until = time.monotonic() + module.params["wait"]
    while True:
        found = haproxy.choose(admin.servers(), module.params["server"], module.params["backends"])
        if all(done(one) for one in found):
            return found
        if time.monotonic() > until:
            seen = ", ".join(f"{one.backend}: {one.status} with {one.sessions} in flight" for one in found)
            module.fail_json(msg=f"{module.params['server']} {problem} within {module.params['wait']:g} s ({seen})")
        time.sleep(0.2)


def apply(module: AnsibleModule) -> dict:
    state, name = module.params["state"], module.params["server"]
    admin = haproxy.Admin(module.params["socket"])
    everything = admin.servers()
    before = haproxy.choose(everything, name, module.params["backends"])
    wrong = [one for one in before if one.admin_state != state]
    if state == "drained":
        # Only what serves can leave a gap: a server that is down already may always be taken out.
        problems = haproxy.too_few(everything, [one for one in wrong if one.serving], module.params["minimum_left"])
        if problems:
            module.fail_json(msg="; ".join(problems))
    start, after = time.monotonic(), before
    if not module.check_mode:
        commands = {to: [f"set server {one.backend}/{name} state {to}" for one in before] for to in ("drain", "ready")}
        if state == "drained":
            set_lease(module, commands["ready"])
            for one in wrong:
                admin.order(f"set server {one.backend}/{name} state drain")
            after = wait_until(module, admin, lambda one: one.sessions == 0, "still has requests in flight")
        else:
            for one in wrong:
                admin.order(f"set server {one.backend}/{name} state ready")
            end_lease(module)
            after = wait_until(module, admin, lambda one: one.serving, "was given back but does not serve")
    rows = [
        {"backend": one.backend, "before": one.status, "after": now.status, "sessions_before": one.sessions, "sessions": now.sessions}
        for one, now in zip(before, after, strict=False)
    ]
    return {"changed": bool(wrong), "waited": round(time.monotonic() - start, 2), "servers": rows}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "server": {"type": "str", "required": True},
            "backends": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["drained", "ready"], "required": True},
            "wait": {"type": "float", "default": 60},
            "lease": {"type": "int", "default": 900},
            "minimum_left": {"type": "int", "default": 1},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**apply(module))
    except haproxy.AdminError as error:
        module.fail_json(msg=f"{module.params['server']} is not {module.params['state']}: {error}")


if __name__ == "__main__":
    main()
