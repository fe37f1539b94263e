#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: service_drain
short_description: Take a service out of its load balancer by readiness, or give it back
description:
  - V(drained) writes a lease, the Unix time of its end, into the file that the service's C(/readyz) reads, waits until C(/readyz) says
    that it drains, then for O(settle), in which every load balancer asks often enough to let go. The service goes on answering requests.
  - V(undrained) takes the lease away and waits until C(/readyz) answers 200.
  - A lease ends by itself, so that a controller that died leaves no service drained for ever.
  - A service that doesn't run gets no requests, and so counts as drained. One that runs and gives no answer is a failure.
options:
  service:
    description: Name of the service; its unit is C(optimize-SERVICE).
    type: str
    required: true
  state:
    description: Out of or in the load balancer.
    type: str
    choices: [drained, undrained]
    required: true
  port:
    description: The service's HTTP port on this host.
    type: int
    default: 8080
  lease:
    description: Seconds until the lease ends.
    type: int
    default: 600
  settle:
    description:
      - Seconds from the first unready answer until load balancers have let go. The gateway asks each 2 s, after a failure each 0.5 s, and
        waits 2 s for an answer (C(inventories/production/group_vars/app_gateway/haproxy.yml)). Twice that is the default.
    type: float
    default: 6
  wait:
    description: Seconds for C(/readyz) to say what it should.
    type: float
    default: 30
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: drain | Take this host out of the gateway
  webtrends.optimize.service_drain:
    service: collect
    state: drained
"""

RETURN = r"""
ready: {description: "What C(/readyz) answered last; absent where the service does not run.", type: dict, returned: success}
until: {description: "End of the lease as Unix time, 0 for none.", type: int, returned: success}
"""

import json
import os
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule


class NotRunning(Exception):
    """Nothing listens on the port."""


def ask(port: int) -> tuple[int, dict]:
    """Status and document of /readyz."""
    # Past any proxy: this is the host itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            raise NotRunning from error
        raise


def wait_for(module: AnsibleModule, done, what: str, may_be_away: bool) -> dict:
    """The document of the first answer that is ``done``."""
    port, until = module.params["port"], time.monotonic() + module.params["wait"]
    while True:
        seen = f"nothing listens on port {port}"
        try:
            status, document = ask(port)
            if document.get("service") != module.params["service"]:
                found = document.get("service")
                module.fail_json(msg=f"port {port} is {found!r}, expected {module.params['service']!r}: is the port right?")
            if done(status, document):
                return document
            away = {name: one.get("problem") for name, one in document.get("dependencies", {}).items() if not one.get("ok")}
            seen = f"/readyz answers {status}, draining {document.get('draining')}, dependencies away: {away or 'none'}"
        except NotRunning:
            if may_be_away:
                return {}
        except (OSError, ValueError) as error:
            seen = f"/readyz: {error}"
        if time.monotonic() > until:
            module.fail_json(msg=f"optimize-{module.params['service']} {what} within {module.params['wait']:g} s: {seen}")
        time.sleep(0.2)


def lease_of(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(float(file.read().strip() or 0))
    except (FileNotFoundError, ValueError):
        return 0


def drain(module: AnsibleModule, path: str) -> dict:
    until = int(time.time()) + module.params["lease"]
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(f"{until}\n")
    # The service's account reads it.
    os.chmod(f"{path}.new", 0o644)
    os.replace(f"{path}.new", path)
    document = wait_for(module, lambda status, seen: status == 503 and seen.get("draining"), "does not say that it drains", True)
    if document:
        time.sleep(module.params["settle"])
    return document


def undrain(module: AnsibleModule, path: str) -> dict:
    if os.path.exists(path):
        os.unlink(path)
    return wait_for(module, lambda status, _: status == 200, "is not ready", False)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "undrained"], "required": True},
            "port": {"type": "int", "default": 8080},
            "lease": {"type": "int", "default": 600},
            "settle": {"type": "float", "default": 6},
            "wait": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    path = f"/run/optimize-{module.params['service']}/drain"
    drained = lease_of(path) > time.time()
    changed = drained != (module.params["state"] == "drained")
    document: dict = {}
    try:
        if not module.check_mode:
            document = (drain if module.params["state"] == "drained" else undrain)(module, path)
    except OSError as error:
        hint = "has the service ever been started here?"
        module.fail_json(msg=f"optimize-{module.params['service']}: {path}: {error.strerror or error}; {hint}")
    module.exit_json(changed=changed, ready=document, until=lease_of(path))


if __name__ == "__main__":
    main()
