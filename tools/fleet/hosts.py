"""Making the machine's containers what a fleet's inventory says."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import click
from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import Fleet, Host

from tools.fleet import aptcache, credentials, image, machine, state
from tools.fleet.podman import LABEL, SPEC, command, containers, networks, podman, remove_containers
from tools.fleet.shell import FleetProblem, run

SSH_TIMEOUT_S = 60  # a host answers after 1-2 s; sixty starting at once on two cores, after 40 s
SETTLE_S = 5  # a host that runs and does not answer within this is restarted
T = TypeVar("T")


def parallel(function: Callable[[T], object], items: Iterable[T]) -> None:
    """Call `function` for every item, several at a time; the first failure is raised after all have ended."""
    with ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1) + 2) as pool:
        for result in [pool.submit(function, item) for item in items]:
            result.result()


def network_name(fleet: Fleet) -> str:
    return f"optimize-{fleet.name}"


def kernel_settings(root: Path = Path("/proc/sys")) -> list[str]:
    """podman's arguments that keep the machine's kernel out of a host's reach: its own network settings are all that a host may change.

    The hosts share the kernel, and systemd alone already raises fs.nr_open as its first act, before any unit could prevent it.
    """
    directories = [str(path) for path in sorted(root.iterdir()) if path.is_dir() and path.name != "net"]
    directories += [path for path in ("/sys/kernel", "/sys/module", "/sys/block") if Path(path).is_dir()]
    return [argument for path in directories for argument in ("--volume", f"{path}:{path}:ro")]


def mac_address(address: str) -> str:
    """The host's network card: locally administered, and the same after every start, so that no neighbour keeps an outdated one."""
    return ":".join(f"{octet:02x}" for octet in (0x02, 0x90, *ipaddress.IPv4Address(address).packed))


def run_arguments(fleet: Fleet, host: Host, host_image: str) -> list[str]:
    """How the host's container is made. Everything that decides it is here: its digest tells whether a container still fits."""
    return [
        "--pull=never",
        f"--name={state.container(fleet, host)}",
        f"--hostname={host.name}",
        "--no-hosts",  # /etc/hosts is a file of the host, which role base writes
        f"--network={network_name(fleet)}",
        f"--ip={host.address}",
        f"--mac-address={mac_address(host.address)}",
        "--privileged",
        "--pids-limit=-1",
        "--systemd=always",
        *machine.ulimit_arguments(),
        *kernel_settings(),
        *aptcache.mounts(fleet.root, host.release),
        f"--volume={state.seed(fleet, host)}:/var/lib/fleet-seed:ro",
        f"--label={LABEL}={fleet.state}",
        host_image,
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
                raise FleetProblem(
                    f"network {name} ({fleet.network}) belongs to the fleet of {owner}; take that one down first, from its checkout"
                )
            if [subnet["subnet"] for subnet in network["subnets"]] == [str(fleet.network)]:
                return
            remove_containers([found["Names"][0] for found in containers() if name in found.get("Networks", [])])
            podman("network", "rm", "--force", name)
        elif any(ipaddress.IPv4Network(subnet["subnet"]).overlaps(fleet.network) for subnet in network["subnets"]):
            owner = (network.get("labels") or {}).get(LABEL, "someone else")
            raise FleetProblem(
                f"{fleet.network}, which fleet {fleet.name} needs, overlaps network {network['name']} of {owner};"
                " take that fleet down, or change 'network' in the fleet's file"
            )
    for line in json.loads(run(["ip", "-json", "-4", "route", "show"]).stdout or "[]"):
        if line["dst"] != "default" and ipaddress.IPv4Network(line["dst"]).overlaps(fleet.network):
            raise FleetProblem(
                f"{fleet.network}, which fleet {fleet.name} needs, is in use on this machine: route {line['dst']} dev {line.get('dev')};"
                " remove that, or change 'network' in the fleet's file"
            )
    # The machine's resolvers serve the hosts directly, so that a name which `base` forgot is not found by podman's own name server.
    own_resolver = [] if _resolvers_reachable() else ["--disable-dns=false"]
    podman(
        "network", "create", "--subnet", str(fleet.network), *(own_resolver or ["--disable-dns"]), "--label", f"{LABEL}={fleet.state}", name
    )


def _resolvers_reachable() -> bool:
    """Whether the machine names a resolver that a container can reach too, which one on loopback is not."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            words = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
            if any(len(word) > 1 and word[0] == "nameserver" and not word[1].startswith(("127.", "::1")) for word in words):
                return True
    return False


VERBS = {"created": "start", "initialized": "start", "exited": "start", "stopped": "start", "paused": "unpause"}


def plan(
    wanted: Mapping[str, str], own: Mapping[str, Mapping[str, Any]], silent: Collection[str], fresh: bool
) -> tuple[list[str], dict[str, str]]:
    """What to do with a fleet's containers: those to remove, and for those to touch podman's command (`run` makes one anew).

    `wanted` is container -> digest of how it is made; `own`, what is there; `silent`, the running ones that do not answer.
    """
    remove, touch = [], {}
    for name, found in own.items():
        if fresh or name not in wanted or found["Labels"].get(SPEC) != wanted[name] or found["State"] not in {*VERBS, "running"}:
            remove.append(name)
        elif found["State"] != "running":
            touch[name] = VERBS[found["State"]]
        elif name in silent:
            touch[name] = "restart"
    touch |= {name: "run" for name in wanted if name not in own or name in remove}
    return sorted(remove), touch


def _refuse_foreign(fleet: Fleet, existing: Iterable[Mapping[str, Any]], names: Collection[str]) -> None:
    owners = {(found["Labels"] or {}).get(LABEL, "someone else") for found in existing if found["Names"][0] in names}
    if owners - {str(fleet.state)}:
        raise FleetProblem(
            f"containers with the names of fleet {fleet.name} belong to {', '.join(sorted(owners - {str(fleet.state)}))};"
            " take that fleet down first, from its checkout"
        )


def up(fleet: Fleet, *, check_memory: bool = True, fresh: bool = False) -> None:
    """Make, repair or leave alone: afterwards every host of the fleet runs and answers on port 22, and no other host exists.

    `fresh` makes every host anew.
    """
    started = time.monotonic()
    machine.enter(fleet.state)
    hosts = {state.container(fleet, host): host for host in fleet.hosts}
    try:
        _refuse_foreign(fleet, containers(), hosts)
        ensure_network(fleet)
    except FleetProblem:
        if not own_containers(fleet):
            machine.leave(fleet.state)  # nothing was made, so nothing may stay changed
        raise
    state.write_keys(fleet)
    credentials.ensure(fleet)
    state.record(fleet)
    state.write_access(fleet)
    images = image.ensure_all({host.release for host in fleet.hosts})
    arguments = {name: run_arguments(fleet, host, images[host.release]) for name, host in hosts.items()}
    own = own_containers(fleet)
    silent = _silent([host for name, host in hosts.items() if own.get(name, {}).get("State") == "running"], SETTLE_S)
    remove, touch = plan(
        {name: _digest(made) for name, made in arguments.items()}, own, {state.container(fleet, host) for host in silent}, fresh
    )
    to_start = [hosts[name] for name, verb in touch.items() if verb != "restart"]
    machine.require(sum(host.memory for host in to_start) if check_memory else 0, len(to_start))
    remove_containers(remove)
    for release, host_image in images.items():
        aptcache.refresh(fleet.root, release, host_image, network_name(fleet))

    def apply(name: str) -> None:
        if touch[name] == "run":
            podman("run", "--detach", f"--label={SPEC}={_digest(arguments[name])}", *arguments[name])
        else:
            podman(touch[name], *(["--time=0"] if touch[name] == "restart" else []), name)

    parallel(apply, list(touch))
    wait_for_ssh(fleet)
    click.echo(
        f"fleet {fleet.name}: {len(hosts)} hosts up ({len(touch)} started, {len(remove)} removed) in {time.monotonic() - started:.0f} s"
    )


def _answers(host: Host) -> bool:
    try:
        with socket.create_connection((host.address, 22), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _silent(hosts: Iterable[Host], timeout_s: float) -> list[Host]:
    """The hosts whose sshd has not greeted when the time is over."""
    deadline = time.monotonic() + timeout_s
    silent = list(hosts)
    while silent:
        with ThreadPoolExecutor(max_workers=16) as pool:
            silent = [host for host, answers in zip(silent, pool.map(_answers, silent), strict=True) if not answers]
        if time.monotonic() > deadline:
            break
        if silent:
            time.sleep(0.2)
    return silent


def wait_for_ssh(fleet: Fleet) -> None:
    """Wait until every host's sshd greets; names those that do not."""
    if silent := _silent(fleet.hosts, SSH_TIMEOUT_S):
        names = " ".join(state.container(fleet, host) for host in silent)
        raise FleetProblem(
            f"no answer on port 22 after {SSH_TIMEOUT_S} s from {names};"
            f" remove them with `{fleet.state}/podman rm -f {names}` and run up again"
        )


def own_containers(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """The fleet's containers by name, stopped ones and ones of other regions too."""
    return {found["Names"][0]: found for found in containers() if (found["Labels"] or {}).get(LABEL) == str(fleet.state)}


def harvest(fleet: Fleet) -> int:
    """Keep the packages that the fleet's hosts downloaded for later hosts; returns how many were new."""
    releases = {state.container(fleet, host): host.release for host in fleet.hosts}
    return aptcache.harvest(fleet.root, {found["Id"]: releases[name] for name, found in own_containers(fleet).items() if name in releases})


def journals(fleet: Fleet) -> Path:
    """Write each host's failed units and journal to <state>/journals/<host>.log; returns the directory."""
    directory = fleet.state / "journals"
    state.forget([directory])

    def collect(host: Host) -> None:
        script = "systemctl --failed --no-pager --full; journalctl --boot --no-pager --output=short-iso-precise"
        found = run(command("exec", state.container(fleet, host), "sh", "-c", script), check=False)
        state.write(directory / f"{host.name}.log", found.stdout + found.stderr, 0o600)

    parallel(collect, fleet.hosts)
    return directory


def status(fleet: Fleet) -> list[tuple[Host, str]]:
    """Each host with what its container does: running and answering, or else what is wrong."""
    if not machine.RUN.exists():
        return [(host, "absent") for host in fleet.hosts]
    own = own_containers(fleet)
    found = []
    for host in fleet.hosts:
        container = own.get(state.container(fleet, host))
        word = "absent" if container is None else container["State"]
        found.append((host, "no answer on port 22" if word == "running" and not _answers(host) else word))
    return found


def down(fleet: Fleet, everything: bool = False) -> None:
    """Remove the fleet's hosts, network and runtime files; with `everything` its secrets, the images and the caches too."""
    started = time.monotonic()
    machine.enter(fleet.state)  # the way to the containers, also after a restart of the machine
    own = own_containers(fleet)
    harvest(fleet)
    remove_containers(list(own))
    for network in networks():
        if (network.get("labels") or {}).get(LABEL) == str(fleet.state):
            podman("network", "rm", "--force", network["name"])
    state.forget([fleet.state / name for name in state.RUNTIME])
    if everything:
        state.forget([fleet.state])
    last = machine.leave(fleet.state, purge=everything)
    if everything and last:
        shutil.rmtree(fleet.root / ".cache" / "apt", ignore_errors=True)
    elif everything:
        click.echo("images and package cache stay: another fleet of this machine uses them")
    click.echo(f"fleet {fleet.name}: {len(own)} hosts removed in {time.monotonic() - started:.0f} s")
