"""The services' release: one archive for all services, built once here, unpacked on each host.

    python -m tools.release build [--distribution bookworm]...   the archive and the manifest, into the store
    python -m tools.release environment                          .venv-services, for the services' tests
    python -m tools.release lock                                 services/requirements*.txt

A release is a relocatable tree: the services and their locked dependencies for the hosts' Python, with bytecode, whatever
Python runs here. Its version is the project's and a digest of what goes into it, so that two releases can lie side by
side, and the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ROOT / "services"
NAME = "optimize-services"
#: Where a release lies on a host (CONTRIBUTING.md); only tracebacks name it.
PREFIX = "/opt/optimize"
#: Every file's time: 1980-01-01, the first that a wheel (a zip archive) can say.
EPOCH = 315532800
#: Releases of the store that are kept: what a host runs, what it could go back to, and a few to compare.
KEEP = 6


@dataclass(frozen=True)
class Target:
    """A distribution that hosts have.

    Attributes:
        python: its version of Python, as major.minor.
        glibc: the minor version of its glibc 2.x, which says which binary wheels run (packages.debian.org).
    """

    distribution: str
    python: str
    glibc: int


TARGETS = {target.distribution: target for target in (Target("bookworm", "3.11", 36), Target("trixie", "3.13", 41))}


class ReleaseError(Exception):
    """The release can't be built; the text says what is missing and the mend."""


def store_directory() -> Path:
    """The artifact store's directory of the releases."""
    return Path(os.environ.get("OPTIMIZE_STORE") or ROOT / ".cache" / "store") / NAME


def inputs() -> Iterator[Path]:
    """Every file that a release follows from."""
    yield Path(__file__)
    yield SERVICES / "pyproject.toml"
    yield SERVICES / "requirements.txt"
    yield from sorted(path for path in (SERVICES / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def version(files: Sequence[Path] | None = None) -> str:
    """The release's name: the project's version and ten digits of a digest of all inputs."""
    digest = hashlib.sha256()
    for path in files if files is not None else inputs():
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return f"{_project()['version']}-{digest.hexdigest()[:10]}"


def _project() -> dict[str, Any]:
    return dict(tomllib.loads((SERVICES / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def _run(what: str, command: Sequence[str], **environment: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, cwd=SERVICES, check=False)
    if done.returncode:
        raise ReleaseError(f"{what} failed (exit code {done.returncode}):\n{(done.stderr.strip() or done.stdout.strip())[-3000:]}")


# -- the tree


def pip_arguments(target: Target, machine: str = "x86_64") -> list[str]:
    """What makes pip choose wheels for a distribution's Python instead of its own."""
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(target.glibc, 16, -1)] + [f"manylinux2014_{machine}"]
    return [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={target.python}",
        *(f"--platform={platform}" for platform in platforms),
    ]


def lay_out(tree: Path, target: Target, name: str) -> bool:
    """Make the release's tree; whether it has bytecode."""
    library = tree / "lib"
    _run(
        "installing the locked dependencies",
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--require-hashes"),
            *(f"--target={library}", f"--requirement={SERVICES / 'requirements.txt'}", *pip_arguments(target)),
        ],
    )
    # Programs of the dependencies, made for this machine's Python.
    shutil.rmtree(library / "bin", ignore_errors=True)
    for record in library.glob("*.dist-info/*"):
        if record.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
            record.unlink()
    _add_services(library)
    (tree / "VERSION").write_text(f"{name}\n", encoding="utf-8")
    (tree / "bin").mkdir()
    for program, entry in sorted(_project()["scripts"].items()):
        launcher = tree / "bin" / program
        launcher.write_text(_launcher(target, entry), encoding="utf-8")
        launcher.chmod(0o755)
    return _compile(tree, target, name)


def _add_services(library: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _run(
            "building the wheel (flit_core is in requirements/control.in)",
            [sys.executable, "-m", "flit_core.wheel", f"--outdir={scratch}"],
            SOURCE_DATE_EPOCH=str(EPOCH),
        )
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(library)
    for record in library.glob("optimize_services-*.dist-info/RECORD"):
        record.unlink()


def _launcher(target: Target, entry: str) -> str:
    module, function = entry.split(":")
    # -I and -S: nothing but the release and the standard library is ever imported. The directory is resolved once, so a process
    # keeps to its release although the link that it was started by leads elsewhere later.
    return (
        f"#!/usr/bin/python{target.python} -IS\n"
        "import os.path\n"
        "import sys\n\n"
        "sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), 'lib'))\n"
        f"from {module} import {function}\n\n"
        f"sys.exit({function}())\n"
    )


def find_python(target: Target) -> str | None:
    """A Python of the hosts' version that runs here (a version manager's stub may be on the path and not run)."""
    for candidate in (sys.executable, f"/usr/bin/python{target.python}", f"python{target.python}"):
        try:
            says = subprocess.run(
                [candidate, "-IS", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
            )
        except OSError:
            continue
        if says.stdout.strip() == target.python:
            return candidate
    return None


def _compile(tree: Path, target: Target, name: str) -> bool:
    """Compile with the hosts' version of Python, where this machine has it, and see that every service can be imported.

    With bytecode services start a second sooner, and root's runs leave nothing behind.
    """
    python = find_python(target)
    if python is None:
        return False
    # unchecked-hash: files' times don't matter. A fixed hash seed: sets in constants have one order.
    _run(
        f"compiling with {python}",
        [
            *(python, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash"),
            *("-s", str(tree), "-p", f"{PREFIX}/{name}", str(tree / "lib")),
        ],
        PYTHONHASHSEED="0",
    )
    for entry in _project()["scripts"].values():
        module = entry.split(":")[0]
        _run(f"importing {module}", [python, "-ISB", "-c", f"import sys; sys.path.insert(0, {str(tree / 'lib')!r}); import {module}"])
    return True


# -- the archive


def pack(tree: Path, top: str) -> bytes:
    """The tree as tar.gz below `top`: sorted, with fixed times, owners and modes."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in [tree, *sorted(tree.rglob("*"))]:
            relative = path.relative_to(tree).as_posix()
            member = archive.gettarinfo(str(path), top if relative == "." else f"{top}/{relative}")
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            member.mtime = EPOCH
            member.mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            if path.is_file():
                with path.open("rb") as file:
                    archive.addfile(member, file)
            else:
                archive.addfile(member)
    return buffer.getvalue()


def _read_manifest(store: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((store / "manifest.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {"latest": "", "versions": {}}


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    temporary.replace(path)


def _intact(store: Path, entry: dict[str, Any] | None) -> bool:
    path = store / entry["file"] if entry else None
    return bool(path and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]) if entry else False


def build(target: Target, store: Path) -> tuple[str, bool]:
    """Build a release for a distribution into the store, unless it is there.

    Returns:
        The release's version, and whether it was built now.

    Raises:
        ReleaseError: a tool failed.
    """
    name = version()
    store.mkdir(parents=True, exist_ok=True)
    manifest = _read_manifest(store)
    built = not _intact(store, manifest["versions"].get(name, {}).get(target.distribution))
    if built:
        with tempfile.TemporaryDirectory(prefix="release-", dir=store) as scratch:
            tree = Path(scratch) / "tree"
            tree.mkdir()
            bytecode = lay_out(tree, target, name)
            data = pack(tree, name)
        file = f"{NAME}-{name}-{target.distribution}.tar.gz"
        digest = hashlib.sha256(data).hexdigest()
        _write(store / file, data)
        _write(store / f"{file}.sha256", f"{digest}  {file}\n".encode())
        manifest["versions"].setdefault(name, {})[target.distribution] = {
            "file": file,
            "sha256": digest,
            "python": target.python,
            "bytecode": bytecode,
        }
    # The newest is last.
    manifest["versions"][name] = manifest["versions"].pop(name)
    manifest["latest"] = name
    for old in list(manifest["versions"])[:-KEEP]:
        for entry in manifest["versions"].pop(old).values():
            (store / entry["file"]).unlink(missing_ok=True)
            (store / f"{entry['file']}.sha256").unlink(missing_ok=True)
    _write(store / "manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")
    return name, built


# -- the tests' environment, and the locks


def environment(directory: Path) -> bool:
    """Make the environment for the services' tests from services/requirements-dev.txt; whether anything was to be done."""
    lock = SERVICES / "requirements-dev.txt"
    stamp = directory / "requirements.sha256"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return False
    _run("making the environment", [sys.executable, "-m", "venv", "--clear", str(directory)])
    python = directory / "bin" / "python"
    _run("installing", [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", f"--requirement={lock}"])
    (packages,) = (directory / "lib").glob("python*/site-packages")
    (packages / "optimize-services.pth").write_text(f"{SERVICES / 'src'}\n", encoding="utf-8")
    stamp.write_text(wanted, encoding="utf-8")
    return True


def lock() -> None:
    """Renew the lock files: hashes for every Python from 3.11 on, no addresses."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise ReleaseError("uv is missing; install it into this environment: python -m pip install uv")
    options = [
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-header",
        "--no-annotate",
        "--upgrade",
        "-q",
    ]
    _run("locking", [uv, "pip", "compile", *options, "requirements.in", "-o", "requirements.txt"])
    _run("locking", [uv, "pip", "compile", *options, "-c", "requirements.txt", "requirements-dev.in", "-o", "requirements-dev.txt"])
    check_lock((SERVICES / "requirements.txt").read_text(encoding="utf-8"))


def check_lock(text: str) -> None:
    """Refuse a lock whose choice follows from the Python that installs: that is not the hosts'.

    Raises:
        ReleaseError: names the line.
    """
    found = re.search(r"^.*;.*\bpython_(full_)?version\b.*$", text, re.MULTILINE)
    if found:
        line = found[0].rstrip("\\ ")
        raise ReleaseError(f"services/requirements.txt: {line} depends on the Python that installs; constrain it in requirements.in")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build the release into the store, unless it is there")
    building.add_argument(
        "--distribution", action="append", choices=sorted(TARGETS), help="of the hosts; may be repeated; default bookworm"
    )
    building.add_argument("--python", help="of the hosts, as a check: must be the distribution's")
    commands.add_parser("environment", help="make .venv-services for the services' tests")
    commands.add_parser("lock", help="renew services/requirements*.txt")
    options = parser.parse_args(arguments)
    try:
        if options.command == "lock":
            lock()
        elif options.command == "environment":
            print(".venv-services: " + ("made" if environment(ROOT / ".venv-services") else "up to date"))
        else:
            for distribution in options.distribution or ["bookworm"]:
                target = TARGETS[distribution]
                if options.python and options.python != target.python:
                    raise ReleaseError(f"{distribution} has Python {target.python}, not {options.python}")
                name, built = build(target, store_directory())
                print(f"{NAME} {name} for {distribution}: {'built' if built else 'unchanged'}")
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
