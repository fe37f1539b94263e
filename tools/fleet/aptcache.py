"""The .deb files and package lists that the hosts of one checkout share.

Each host sees the shared directories through an overlay: it reads what is there and writes its own, so that any number of
hosts can install at once. What they downloaded is harvested: copied from their overlays into the shared directory.
"""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tools.fleet.podman import podman
from tools.fleet.shell import run

ARCHIVES = "/var/cache/apt/archives"
LISTS = "/var/lib/apt/lists"
LISTS_FRESH_S = 6 * 3600  # older lists may name packages that the archive has replaced


def directories(root: Path, release: str) -> tuple[Path, Path]:
    """Shared archives and lists of a release; made when absent."""
    base = root / ".cache" / "apt" / release
    both = base / "archives", base / "lists"
    for directory in both:
        (directory / "partial").mkdir(parents=True, exist_ok=True)
    return both


def mounts(root: Path, release: str) -> list[str]:
    """podman's arguments that give a host the two directories."""
    archives, lists = directories(root, release)
    return ["--volume", f"{archives}:{ARCHIVES}:O", "--volume", f"{lists}:{LISTS}:O"]
