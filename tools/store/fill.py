"""Fill the store: parts from the registries, compared with their lock, assembled the same way on every machine."""

from __future__ import annotations

import fcntl
import shutil
import tarfile
import time
from pathlib import Path

from ansible_collections.webtrends.optimize.plugins.plugin_utils.catalog import Artifact, Catalog, CatalogError, sha256_of

from .sources import SOURCES

LOCKS = Path(__file__).resolve().parent / "locks"


def fill(catalog: Catalog, artifacts: list[Artifact], locks: Path = LOCKS) -> None:
    """Bring every artifact that the store lacks; a whole one is left alone, so a broken-off fill goes on where it was.

    Raises:
        CatalogError: what a registry serves, or what lies in the store, is not what the catalogue says.
    """
    catalog.store.mkdir(parents=True, exist_ok=True)
    # Two runs at once would work in the same directory; the second one finds everything there.
    with (catalog.store / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        for artifact in artifacts:
            _bring(catalog, artifact, locks)


def _bring(catalog: Catalog, artifact: Artifact, locks: Path) -> None:
    """One artifact, unless the store has it."""
    if artifact.kind == "built":
        catalog.verify(artifact)
        return
    if catalog.file(artifact).is_file():
        catalog.verify(artifact)
        print(f"store: {artifact.label} is there", flush=True)
        return
    started = time.monotonic()
    if not artifact.sha256:
        raise CatalogError(
            f"{artifact.label}: {catalog.path.name} has no sha256 for it, so nothing can be verified. "
            f"For a new version: python -m tools.store lock {artifact.name}=={artifact.version}"
        )
    work, parts = _fetch(catalog, artifact)
    expected = read_lock(locks / f"{artifact.name}-{artifact.version}.sha256")
    compare(artifact, expected, digest(parts))
    size = _assemble(catalog, artifact, parts)
    catalog.verify(artifact)
    shutil.rmtree(work)
    print(f"store: {artifact.label}, {size / 1e6:.0f} MB in {time.monotonic() - started:.1f} s", flush=True)


def lock(catalog: Catalog, artifact: Artifact, locks: Path = LOCKS) -> None:
    """Write the lock of a version's parts as the registries serve them now, and print the sha256 that artifacts.yml must hold."""
    if artifact.kind not in SOURCES:
        raise CatalogError(f"{artifact.label}: comes from no registry; nothing to lock.")
    work, parts = _fetch(catalog, artifact)
    locks.mkdir(exist_ok=True)
    lines = [f"{checksum}  {name}\n" for name, checksum in digest(parts).items()]
    (locks / f"{artifact.name}-{artifact.version}.sha256").write_text("".join(lines), encoding="utf-8")
    _assemble(catalog, artifact, parts)
    shutil.rmtree(work)
    print(f"{artifact.label}: sha256: {sha256_of(catalog.file(artifact))}", flush=True)


def digest(parts: Path) -> dict[str, str]:
    """Relative name -> sha256 of every file below a directory, by name."""
    return {str(path.relative_to(parts)): sha256_of(path) for path in sorted(parts.rglob("*")) if path.is_file()}


def read_lock(path: Path) -> dict[str, str]:
    """A lock in the format of sha256sum."""
    if not path.is_file():
        raise CatalogError(f"{path}: is missing; it holds the sha256 of each part of the artifact. Restore it from git.")
    pairs = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return {name: checksum for checksum, name in pairs}


def compare(artifact: Artifact, expected: dict[str, str], found: dict[str, str]) -> None:
    """Every part is what its lock says.

    Raises:
        CatalogError: with each part's name, the expected and the found sha256.
    """
    problems = [
        f"  {name}: expected {expected.get(name, 'no such file')}, found {found.get(name, 'nothing')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    if problems:
        raise CatalogError(
            f"{artifact.label}: the registry served other files than its lock names; nothing was stored.\n" + "\n".join(problems) + "\n"
            f"Look into why. If the change is wanted: python -m tools.store lock {artifact.name}=={artifact.version}"
        )


def pack(parts: Path, target: Path) -> None:
    """A tar whose bytes depend on the files' names, content and execute bit only."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(parts.rglob("*"), key=lambda one: str(one.relative_to(parts))):
            info = tar.gettarinfo(path, arcname=str(path.relative_to(parts)))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = "root"
            info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
            if info.isfile():
                with path.open("rb") as handle:
                    tar.addfile(info, handle)
            else:
                tar.addfile(info)


def _fetch(catalog: Catalog, artifact: Artifact) -> tuple[Path, Path]:
    """The parts, in a directory of this artifact's own that a failed try leaves for no one."""
    work = catalog.store / ".work" / f"{artifact.name}-{artifact.version}"
    shutil.rmtree(work, ignore_errors=True)
    parts = work / "parts"
    parts.mkdir(parents=True)
    SOURCES[artifact.kind](artifact, parts.resolve(), work.resolve())
    return work, parts


def _assemble(catalog: Catalog, artifact: Artifact, parts: Path) -> int:
    """The store's file, put in place whole; returns its size in bytes."""
    target = catalog.file(artifact)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.part")
    if artifact.kind == "npm":
        (tarball,) = parts.iterdir()
        tarball.replace(unfinished)
    else:
        pack(parts, unfinished)
    unfinished.replace(target)
    return target.stat().st_size
