"""podman, as this machine needs it to be called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tools.fleet import machine
from tools.fleet.shell import FleetProblem, run

LABEL = "optimize.state"  # on containers and networks: the state directory of the fleet that they belong to
SPEC = "optimize.spec"  # on containers: a digest of how they were made


def command(*arguments: str) -> list[str]:
    """The whole command line.

    The store is the fleets' own: podman's listing fails as soon as one container of its store lives in a mount namespace that
    it cannot see, so neither may the fleets spoil the machine's podman, nor the other way round.
    cgroupfs is the manager that works with and without systemd on the machine.
    """
    return [
        *machine.podman_prefix(),
        "podman",
        "--runtime",
        "crun",
        "--cgroup-manager",
        "cgroupfs",
        "--root",
        str(machine.STORAGE / "storage"),
        "--network-config-dir",
        str(machine.STORAGE / "networks"),
        "--runroot",
        str(machine.RUN / "storage"),
        "--tmpdir",
        str(machine.RUN / "libpod"),
        *arguments,
    ]


def podman(*arguments: str, check: bool = True) -> str:
    """Run one podman command and return what it wrote."""
    return run(command(*arguments), check=check).stdout


def containers() -> list[dict[str, Any]]:
    """All containers of the machine, stopped ones too."""
    return json.loads(podman("ps", "--all", "--format", "json") or "[]") or []


def networks() -> list[dict[str, Any]]:
    """All of podman's networks."""
    return json.loads(podman("network", "ls", "--format", "json") or "[]") or []


def remove_containers(names: Sequence[str]) -> None:
    """Remove at once, running or not; absent ones are no error.

    On a busy machine podman 4.3 may give up on a container whose processes are slow to go, and has removed it when it is asked again.
    """
    if not names:
        return
    removal = ("rm", "--force", "--ignore", "--time", "0", *names)
    try:
        podman(*removal)
    except FleetProblem:
        podman(*removal)
