"""Run a command on a host of a running fleet, over the SSH that Ansible uses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tools.stages import ROOT

#: State directories of the fleets, by the value of OPTIMIZE_FLEET.
STATES = {"platform": ".fleet", "test": ".fleet-test"}


def state_directory() -> Path:
    """The state directory of the fleet that OPTIMIZE_FLEET names (default: platform)."""
    name = os.environ.get("OPTIMIZE_FLEET", "platform")
    if name not in STATES:
        raise SystemExit(f"OPTIMIZE_FLEET={name} is not a fleet; known: {', '.join(STATES)}")
    return ROOT / STATES[name]


def on_host(host: str, command: str, *, timeout: float = 60, check: bool = True) -> str:
    """Standard output of a shell command run as root on a host.

    Raises:
        RuntimeError: when it fails and `check` is set; with host, command and what it printed.
    """
    argv = ["ssh", "-F", str(state_directory() / "ssh_config"), host, "sudo", "-n", "bash", "-s"]
    done = subprocess.run(argv, input=command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{host}: `{command}` ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def power_off(host: str) -> None:
    """Take a host away as a power cut does; `python -m tools.fleet up` starts it again."""
    state = state_directory()
    fleet = next(name for name, directory in STATES.items() if directory == state.name)
    subprocess.run([str(state / "podman"), "kill", f"{fleet}-{host}"], check=True, capture_output=True, text=True)
