#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_address
short_description: Hand a pair's shared address over to its other member, or be eligible for it again
description:
  - V(handed_over) makes keepalived of this host give the address up (its tracked file says so) and waits until the address is
    gone from here and answers elsewhere. V(eligible) lets this host take the address again when the other loses it; nothing moves then,
    since the pair does not preempt.
  - Fails, and takes back what it did, where no peer is healthy or the address answers nowhere.
  - A drain is a lease. A transient timer of systemd makes the host eligible again when O(lease) is over.
options:
  state:
    description: What this host shall be.
    type: str
    choices: [handed_over, eligible]
    required: true
  address:
    description: The shared address, without prefix.
    type: str
    required: true
  health_url:
    description: What answers 200 at the shared address.
    type: str
    required: true
  peer_urls:
    description: What answers 200 on each other member. All must.
    type: list
    elements: str
    required: true
  track_file:
    description: The file that keepalived watches; V(1) gives the address up.
    type: path
    default: /run/optimize-haproxy/handed-over
  wait:
    description: Seconds until the address must have moved.
    type: float
    default: 15
  lease:
    description: Seconds after which the host is eligible again by itself.
    type: int
    default: 900
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- name: Move the address away from here
  webtrends.optimize.haproxy_address:
    state: handed_over
    address: 10.0.0.10
    health_url: http://10.0.0.10:8404/healthz
    peer_urls: ["http://core-lb-clickhouse-2:8404/healthz"]
"""

RETURN = r"""
held: {description: "Whether this host holds the address now.", type: bool, returned: success}
waited: {description: "Seconds until the address answered elsewhere.", type: float, returned: success}
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

LEASE = "haproxy-address-eligible"
CLEAN_ANSWERS = 3


def healthy(url: str) -> str:
    """Nothing where ``url`` answers 200, or else why not."""
    try:
        # A new connection each time (the library's default), past any proxy: the question is who holds the address now.
        open_url(url, timeout=2, use_proxy=False).close()
    except Exception as error:  # urllib raises a family of unrelated classes
        return f"{url}: {error}"
    return ""


def holds(module: AnsibleModule, address: str) -> bool:
    shown = module.run_command(["ip", "-json", "address", "show"], check_rc=True)[1]
    return any(one.get("local") == address for link in json.loads(shown) for one in link.get("addr_info", []))


def flag(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return "0"


def set_flag(path: str, value: str) -> None:
    # In place: keepalived watches this inode.
    with open(path, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
        file.write(f"{value}\n")


def end_lease(module: AnsibleModule) -> None:
    # Neither need exist.
    module.run_command(["systemctl", "stop", f"{LEASE}.timer"])
    module.run_command(["systemctl", "reset-failed", f"{LEASE}.service"])


def set_lease(module: AnsibleModule, path: str) -> None:
    end_lease(module)
    timer = ["systemd-run", "--quiet", f"--unit={LEASE}", f"--on-active={module.params['lease']}", "--timer-property=AccuracySec=1s"]
    module.run_command(timer + ["/bin/sh", "-c", 'echo 0 > "$1"', "sh", path], check_rc=True)


def hand_over(module: AnsibleModule, path: str, address: str) -> None:
    set_lease(module, path)
    set_flag(path, "1")
    until = time.monotonic() + module.params["wait"]
    clean, last = 0, "this host still holds it"
    while clean < CLEAN_ANSWERS:
        last = "this host still holds it" if holds(module, address) else healthy(module.params["health_url"])
        clean = 0 if last else clean + 1
        if time.monotonic() > until:
            set_flag(path, "0")
            end_lease(module)
            module.fail_json(msg=f"{address} did not move within {module.params['wait']:g} s and was left here: {last}")
        time.sleep(0.2)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["handed_over", "eligible"], "required": True},
            "address": {"type": "str", "required": True},
            "health_url": {"type": "str", "required": True},
            "peer_urls": {"type": "list", "elements": "str", "required": True},
            "track_file": {"type": "path", "default": "/run/optimize-haproxy/handed-over"},
            "wait": {"type": "float", "default": 15},
            "lease": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    state, address, path = module.params["state"], module.params["address"], module.params["track_file"]
    changed = flag(path) != ("1" if state == "handed_over" else "0")
    start = time.monotonic()
    if state == "handed_over":
        away = [problem for problem in map(healthy, module.params["peer_urls"]) if problem]
        if away or not module.params["peer_urls"]:
            module.fail_json(msg=f"{address} stays here: no healthy peer to take it ({'; '.join(away) or 'the pair has one member'})")
        if not module.check_mode:
            hand_over(module, path, address)
    elif not module.check_mode:
        set_flag(path, "0")
        end_lease(module)
    module.exit_json(changed=changed, held=holds(module, address), waited=round(time.monotonic() - start, 2))


if __name__ == "__main__":
    main()
