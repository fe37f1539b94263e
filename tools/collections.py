"""Unpacks the external collections that collections/requirements.yml names: `python -m tools.collections`.

They come out of the `ansible` wheel, which requirements/collections.txt pins with its hash: one download from one registry, also
where no collection server can be reached. Each version must be the one that the wheel carries.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click
import yaml

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "collections" / "requirements.yml"
LOCK = ROOT / "requirements" / "collections.txt"
TARGET = ROOT / ".collections"


def wanted(text: str) -> dict[str, str]:
    """Collection -> version, of the text of a requirements file."""
    entries: list[dict[str, Any]] = (yaml.safe_load(text) or {}).get("collections") or []
    return {entry["name"]: str(entry["version"]) for entry in entries}


def unpack(wheel: Path, collections: dict[str, str], target: Path) -> None:
    """Extract the collections, and nothing else, below `target`; a version that the wheel does not carry is refused."""
    with zipfile.ZipFile(wheel) as archive:
        for name, version in collections.items():
            prefix = f"ansible_collections/{name.replace('.', '/')}/"
            members = [member for member in archive.namelist() if member.startswith(prefix)]
            if not members:
                raise click.ClickException(
                    f"{REQUIREMENTS}: {wheel.name} carries no collection {name}; see its release notes for what it has"
                )
            found = json.loads(archive.read(f"{prefix}MANIFEST.json"))["collection_info"]["version"]
            if found != version:
                raise click.ClickException(f"{REQUIREMENTS}: {name} is {found} in {wheel.name}, expected {version}; change one of the two")
            archive.extractall(target, members)


def main() -> None:
    """Replace .collections/ by what is wanted now."""
    collections = wanted(REQUIREMENTS.read_text(encoding="utf-8"))
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir()
    if not collections:
        return
    click.echo(f"collections: unpacking {', '.join(collections)}")
    with tempfile.TemporaryDirectory(prefix="optimize-collections-") as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", directory]
        if subprocess.run([*command, "--requirement", str(LOCK)], check=False).returncode != 0:
            raise click.ClickException(f"pip could not fetch the wheel of {LOCK}; is the package registry reachable?")
        unpack(next(Path(directory).glob("*.whl")), collections, TARGET)


if __name__ == "__main__":
    try:
        main()
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
