"""The files of a fleet's state directory: keys, known hosts, what was made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.webtrends.optimize.plugins.plugin_utils.fleet import Fleet, Host
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tools.fleet import podman
from tools.fleet.shell import FleetProblem

RUNTIME = ("fleet.json", "ssh_config", "known_hosts", "podman", "seed", "ssh")


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file at once: a reader sees the old one or the new one, and never with a wider mode than `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    temporary.replace(path)


@contextlib.contextmanager
def exclusive(fleet: Fleet) -> Iterator[None]:
    """Refuse to change a fleet that another process is changing."""
    fleet.state.mkdir(parents=True, exist_ok=True)
    handle = os.open(fleet.state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FleetProblem(f"another process is making or removing the fleet of {fleet.state}; wait until it has ended") from None
    else:
        yield
    finally:
        os.close(handle)


def make_key(path: Path, comment: str) -> str:
    """An SSH key pair at `path` (made once); returns the public key's line."""
    public = path.with_name(path.name + ".pub")
    if not (path.exists() and public.exists()):
        key = Ed25519PrivateKey.generate()
        write(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), 0o600)
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        write(public, f"{line} {comment}\n")
    return public.read_text(encoding="utf-8").strip()


def seed(fleet: Fleet, host: Host) -> Path:
    """The directory with the keys of one host, which the host copies at its start."""
    return fleet.state / "seed" / host.name


def write_keys(fleet: Fleet) -> None:
    """The fleet's key, each host's key, and known_hosts, which is complete before a host exists."""
    authorized = make_key(fleet.key, f"ansible@{fleet.name}")
    known = []
    for host in fleet.hosts:
        directory = seed(fleet, host)
        kind, key, _ = make_key(directory / "ssh_host_ed25519_key", f"root@{host.name}").split()
        write(directory / "authorized_keys", authorized + "\n", 0o600)
        known.append(f"{host.name},{host.address} {kind} {key}\n")
    write(fleet.known_hosts, "".join(known))


def write_access(fleet: Fleet) -> None:
    """`ssh -F <state>/ssh_config <host>`, and `<state>/podman`: podman as this fleet uses it."""
    common = (
        f"Host *\n  User ansible\n  IdentityFile {fleet.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {fleet.known_hosts}\n"
        "  StrictHostKeyChecking yes\n"
    )
    hosts = "".join(f"\nHost {host.name}\n  HostName {host.address}\n" for host in fleet.hosts)
    write(fleet.state / "ssh_config", hosts.lstrip("\n") + "\n" + common)
    write(fleet.state / "podman", f'#!/bin/sh\nexec {" ".join(podman.command())} "$@"\n', 0o755)


def record(fleet: Fleet) -> None:
    """fleet.json: the regions, which the inventory reads, and the hosts with their containers' names."""
    content = {
        "fleet": fleet.name,
        "network": str(fleet.network),
        "regions": list(fleet.regions),
        "hosts": {host.name: {"address": host.address, "container": container(fleet, host)} for host in fleet.hosts},
    }
    write(fleet.state / "fleet.json", json.dumps(content, indent=2) + "\n")


def container(fleet: Fleet, host: Host) -> str:
    """The name of a host's container: the fleet first, since fleets share host names."""
    return f"{fleet.name}-{host.name}"


def forget(paths: Sequence[Path]) -> None:
    """Remove files and directories that may be absent."""
    for path in paths:
        if path.is_dir():
            forget(list(path.iterdir()))
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
