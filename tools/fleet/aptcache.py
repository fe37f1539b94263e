"""The .deb files and package lists that the hosts of one checkout share.

Each host sees the shared directories through an overlay: it reads what is there and writes its own, so that any number of
hosts can install at once. What they downloaded is harvested: copied from their overlays into the shared directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from tools.fleet import machine
from tools.fleet.podman import podman

CACHE = "/var/cache/apt"  # archives/ and apt's own index of the lists, which takes each host 2 s to make
LISTS = "/var/lib/apt/lists"
LISTS_FRESH_S = 6 * 3600  # older lists may name packages that the archive has replaced
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")
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


def _names(value: Any) -> Iterator[str]:
    """The package names in what a role says of packages: texts, lists and mappings of them; templates are no names."""
    if isinstance(value, str) and PACKAGE.fullmatch(value):
        yield value
    elif isinstance(value, Mapping):
        yield from itertools.chain.from_iterable(map(_names, value.values()))
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(_names, value))


def packages_of(data: Any) -> Iterator[str]:
    """The packages that a role's file names literally: `name` of the apt module, and variables called `...packages`."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if key == "ansible.builtin.apt" and isinstance(value, Mapping):
                yield from _names(value.get("name"))
            elif isinstance(key, str) and key.endswith("packages"):
                yield from _names(value)
            else:
                yield from packages_of(value)
    elif isinstance(data, list):
        yield from itertools.chain.from_iterable(map(packages_of, data))


def role_packages(root: Path) -> list[str]:
    """The packages that the project's roles name. What is missing here is not lost: hosts fetch it themselves."""
    found: set[str] = set()
    for path in sorted(path for part in ("defaults", "vars", "tasks") for path in root.glob(f"roles/*/{part}/**/*.yml")):
        with contextlib.suppress(yaml.YAMLError):  # the linters' business
            found.update(packages_of(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return sorted(found)


# The arguments are packages. A name that this release does not have is another release's.
FILL = """
apt-get --quiet=2 --error-on=any update && apt-get --quiet=2 check || exit 1
for package in "$@"; do
    apt-cache policy "$package" | grep --quiet 'Candidate: [0-9]' || continue
    apt-get --quiet=2 --yes --no-install-recommends --download-only install "$package" >/dev/null || exit 1
done
"""


def refresh(root: Path, release: str, image: str, network: str) -> None:
    """Renew the shared lists when they are old, and fetch the roles' packages, by one throw-away host: sixty would each do it.

    The lists must be there before a host starts: a blank host in check mode could not tell whether a package exists.
    """
    cache, lists = directories(root, release)
    stamp = lists.parent / "filled-with"
    packages = role_packages(root)
    with (lists.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_FRESH_S
        if fresh and stamp.read_text(encoding="utf-8").split() == packages:
            return
        started = time.monotonic()
        podman(
            "run", "--rm", "--pull=never", f"--network={network}", "--privileged", "--pids-limit=-1", *machine.ulimit_arguments(),
            f"--volume={cache}:{CACHE}", f"--volume={lists}:{LISTS}", image, "sh", "-c", FILL, "fill", *packages,
        )  # fmt: skip
        stamp.write_text("\n".join(packages), encoding="utf-8")
        click.echo(f"packages: lists and the roles' packages of {release} fetched in {time.monotonic() - started:.0f} s")


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
