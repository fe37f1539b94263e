"""The .deb files and package lists that the hosts of one checkout share.

Each host sees the shared directories through an overlay: it reads what is there and writes its own, so that any number of
hosts can install at once. What they downloaded is harvested: copied from their overlays into the shared directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import click

from tools.fleet import machine
from tools.fleet.podman import podman

CACHE = "/var/cache/apt"  # archives/ and apt's own index of the lists, which takes each host 2 s to make
LISTS = "/var/lib/apt/lists"
LISTS_FRESH_S = 6 * 3600  # older lists may name packages that the archive has replaced
OVERLAYS = machine.STORAGE / "storage" / "overlay-containers"  # podman keeps a container's volume overlays there


def directories(root: Path, release: str) -> tuple[Path, Path]:
    """Shared cache and lists of a release; made when absent."""
    base = root / ".cache" / "apt" / release
    cache, lists = base / "cache", base / "lists"
    (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    return cache, lists


def mounts(root: Path, release: str) -> list[str]:
    """podman's arguments that give a host the two directories."""
    cache, lists = directories(root, release)
    return ["--volume", f"{cache}:{CACHE}:O", "--volume", f"{lists}:{LISTS}:O"]


def refresh(root: Path, release: str, image: str, network: str) -> None:
    """Renew the shared package lists when they are old, by one throw-away host: sixty would fetch and index them sixty times.

    They must be there before a host starts: a blank host in check mode could not tell whether a package exists.
    """
    cache, lists = directories(root, release)
    stamp = lists.parent / "refreshed"
    with (lists.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_FRESH_S:
            return
        click.echo(f"packages: fetching the lists of {release}")
        podman(
            "run",
            "--rm",
            "--pull",
            "never",
            "--network",
            network,
            "--privileged",
            "--pids-limit=-1",
            *machine.ulimit_arguments(),
            "--volume",
            f"{cache}:{CACHE}",
            "--volume",
            f"{lists}:{LISTS}",
            image,
            "sh",
            "-c",
            "apt-get --quiet=2 --error-on=any update && apt-get --quiet=2 check",
        )
        stamp.touch()


def _whole(package: Path) -> bool:
    """Whether a .deb is complete: one that a host was still fetching, or that a full disk cut off, would cost every host a retry."""
    return subprocess.run(["dpkg-deb", "--info", str(package)], capture_output=True, check=False).returncode == 0


def _keep(source: Path, target: Path) -> None:
    """Copy so that readers see nothing or the whole file."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy2(source, temporary)
    temporary.replace(target)


def harvest(root: Path, containers: Mapping[str, str]) -> int:
    """Copy what the containers (id -> release) downloaded into the shared directories; returns how many packages were new."""
    new = 0
    for container, release in containers.items():
        archives = directories(root, release)[0] / "archives"
        for package in sorted((OVERLAYS / container / "userdata" / "overlay").glob("*/upper/archives/*.deb")):
            target = archives / package.name
            if not target.exists() and _whole(package):
                _keep(package, target)
                new += 1
    return new
