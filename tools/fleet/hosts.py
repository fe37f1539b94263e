"""Making the machine's containers what a fleet's inventory says."""
from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import click
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import Fleet, Host

from tools.fleet import aptcache, image, machine, state
from tools.fleet.podman import LABEL, SPEC, containers, networks, podman, remove_containers
from tools.fleet.shell import FleetProblem, run

SSH_TIMEOUT_S = 60  # a host answers after 1-2 s; sixty starting at once on two cores, after 40 s
T = TypeVar("T")


def parallel(function: Callable[[T], object], items: Iterable[T]) -> None:
    """Call `function` for every item, several at a time; the first failure is raised after all have ended."""
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1) + 2) as pool:
        for result in [pool.submit(function, item) for item in items]:
            result.result()


def network_name(fleet: Fleet) -> str:
    return f"optimize-{fleet.name}"


def run_arguments(fleet: Fleet, host: Host, host_image: str) -> list[str]:
    """How the host's container is made. Everything that decides it is here: its digest tells whether a container still fits."""
    return [
        "--pull", "never", "--name", state.container(fleet, host), "--hostname", host.name, "--no-hosts",
        "--network", network_name(fleet), "--ip", host.address, "--privileged", "--pids-limit=-1", "--systemd=always",
        *machine.ulimit_arguments(), *aptcache.mounts(fleet.root, host.release),
        "--volume", f"{state.seed(fleet, host)}:/var/lib/fleet-seed:ro", "--label", f"{LABEL}={fleet.state}", host_image,
    ]


def _digest(arguments: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:16]


def ensure_network(fleet: Fleet) -> None:
    """The fleet's network, unless it is there; another owner or other use of its addresses is refused."""
    name = network_name(fleet)
    for network in networks():
        if network["name"] == name:
            owner = (network.get("labels") or {}).get(LABEL)
            if owner != str(fleet.state):
                raise FleetProblem(f"network {name} ({fleet.network}) belongs to the fleet of {owner}; take that one down first, from its checkout")
            if [subnet["subnet"] for subnet in network["subnets"]] == [str(fleet.network)]:
                return
            remove_containers([found["Names"][0] for found in containers() if name in found.get("Networks", [])])
            podman("network", "rm", "--force", name)
    for line in json.loads(run(["ip", "-json", "-4", "route", "show"]).stdout or "[]"):
        if line["dst"] != "default" and ipaddress.IPv4Network(line["dst"]).overlaps(fleet.network):
            raise FleetProblem(
                f"{fleet.network}, which fleet {fleet.name} needs, is in use on this machine: route {line['dst']} dev {line.get('dev')};"
                " remove that, or change 'network' in the fleet's file"
            )
    # The machine's resolvers serve the hosts directly, so that a name which `base` forgot is not found by podman's own name server.
    own_resolver = [] if _resolvers_reachable() else ["--disable-dns=false"]
    podman("network", "create", "--subnet", str(fleet.network), *(own_resolver or ["--disable-dns"]), "--label", f"{LABEL}={fleet.state}", name)


def _resolvers_reachable() -> bool:
    """Whether the machine names a resolver that a container can reach too, which one on loopback is not."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            words = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
            if any(len(word) > 1 and word[0] == "nameserver" and not word[1].startswith(("127.", "::1")) for word in words):
                return True
    return False


def up(fleet: Fleet, check_memory: bool = True) -> None:
    """Make, repair or leave alone: afterwards every host of the fleet runs and answers on port 22, and no other host exists."""
    started = time.monotonic()
    machine.require(0, 0)
    machine.enter(fleet.state)
    existing = {found["Names"][0]: found for found in containers()}
    wanted = {state.container(fleet, host): host for host in fleet.hosts}
    foreign = sorted(
        {found["Labels"].get(LABEL, "?") for name, found in existing.items() if name in wanted and found["Labels"].get(LABEL) != str(fleet.state)}
    )
    if foreign:
        raise FleetProblem(f"containers of fleet {fleet.name} exist already for {', '.join(foreign)}; take that fleet down first, from its checkout")
    state.write_keys(fleet)
    state.record(fleet)
    state.write_access(fleet)
    images = {release: image.ensure(release) for release in sorted({host.release for host in fleet.hosts})}
    arguments = {name: run_arguments(fleet, host, images[host.release]) for name, host in wanted.items()}
    own = {name: found for name, found in existing.items() if found["Labels"].get(LABEL) == str(fleet.state)}
    fits = {name for name, found in own.items() if name in wanted and found["Labels"].get(SPEC) == _digest(arguments[name])}
    running = {name for name in fits if own[name]["State"] == "running"}
    to_start = [host for name, host in wanted.items() if name not in running]
    machine.require(sum(host.memory for host in to_start) if check_memory else 0, len(to_start))
    remove_containers(sorted(set(own) - fits))
    ensure_network(fleet)

    def start(name: str) -> None:
        if name in fits:
            podman("start", name)
        else:
            podman("run", "--detach", "--label", f"{SPEC}={_digest(arguments[name])}", *arguments[name])

    parallel(start, [name for name in wanted if name not in running])
    wait_for_ssh(fleet)
    click.echo(
        f"fleet {fleet.name}: {len(wanted)} hosts up ({len(to_start)} started, {len(set(own) - fits)} removed) in {time.monotonic() - started:.0f} s"
    )


def _answers(host: Host) -> bool:
    try:
        with socket.create_connection((host.address, 22), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_for_ssh(fleet: Fleet) -> None:
    """Wait until every host's sshd greets; names those that do not."""
    deadline = time.monotonic() + SSH_TIMEOUT_S
    silent = list(fleet.hosts)
    while silent and time.monotonic() < deadline:
        silent = [host for host in silent if not _answers(host)]
        if silent:
            time.sleep(0.2)
    if silent:
        names = " ".join(state.container(fleet, host) for host in silent)
        raise FleetProblem(f"no answer on port 22 after {SSH_TIMEOUT_S} s from {names}; remove them with `{fleet.state}/podman rm -f {names}` and run up again")


def down(fleet: Fleet, everything: bool = False) -> None:
    """Remove the fleet's hosts, network and runtime files; with `everything` its secrets, the images and the caches too."""
    started = time.monotonic()
    machine.require(0, 0)
    machine.enter(fleet.state)  # the way to the containers, also after a restart of the machine
    own = [found["Names"][0] for found in containers() if found["Labels"].get(LABEL) == str(fleet.state)]
    remove_containers(own)
    for network in networks():
        if (network.get("labels") or {}).get(LABEL) == str(fleet.state):
            podman("network", "rm", "--force", network["name"])
    state.forget([fleet.state / name for name in state.RUNTIME])
    if everything:
        image.remove_all()
        state.forget([fleet.state])
    machine.leave(fleet.state)
    click.echo(f"fleet {fleet.name}: {len(own)} hosts removed in {time.monotonic() - started:.0f} s")
