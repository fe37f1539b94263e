"""python -m tools.store fill|verify|list|lock: see docs/artifacts.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import Artifact, Catalog, CatalogError

from . import ROOT
from .fill import fill, lock


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.store", description=__doc__)
    parser.add_argument("--catalog", type=Path, default=ROOT / "artifacts.yml", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("fill", "bring what is missing from the registries, verify, resume"),
        ("verify", "compare every file of the store with artifacts.yml"),
        ("list", "what there is, and whether the store holds it"),
    ):
        commands.add_parser(name, help=text).add_argument("names", nargs="*", metavar="NAME[==VERSION]", help="default: every artifact")
    locking = commands.add_parser("lock", help="for a new version: write the lock of its parts and print its sha256")
    locking.add_argument("names", nargs="+", metavar="NAME==VERSION")
    args = parser.parse_args(argv)
    try:
        catalog = Catalog(args.catalog)
        artifacts = select(catalog, args.names)
        if args.command == "list":
            for artifact in artifacts:
                print(f"{artifact.label:34} {artifact.kind:6} {'in the store' if catalog.file(artifact).is_file() else 'absent'}")
        elif args.command == "verify":
            for artifact in artifacts:
                print(f"{artifact.label}: {catalog.verify(artifact)} is whole")
        elif args.command == "lock":
            for artifact in artifacts:
                lock(catalog, artifact)
        else:
            fill(catalog, artifacts)
    except CatalogError as error:
        print(f"store: {error}", file=sys.stderr)
        return 1
    return 0


def select(catalog: Catalog, names: list[str]) -> list[Artifact]:
    """The artifacts that `names` (NAME or NAME==VERSION) mean; all of them without any."""
    if not names:
        return catalog.all()
    chosen = []
    for text in names:
        name, _, version = text.partition("==")
        versions = [version] if version else catalog.versions(name)
        found = [catalog.get(name, one) for one in versions]
        if version and not found[0].kind:
            raise CatalogError(f"{text}: no registry serves it; only its vendor has it.")
        chosen += [artifact for artifact in found if artifact.kind]
    return chosen


if __name__ == "__main__":
    sys.exit(main())
