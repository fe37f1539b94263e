"""The hosts' image: a Debian release unpacked from the archive that this machine uses, with the little that makes it a host."""

from __future__ import annotations

import fcntl
import hashlib
import re
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from tools.fleet import ROOT, machine
from tools.fleet.podman import podman
from tools.fleet.shell import FleetProblem, run

DEFINITION = Path(__file__).parent / "image"
REPOSITORY = "localhost/optimize-host"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def codename(os_release: str) -> str:
    """VERSION_CODENAME of the text of /etc/os-release."""
    match = re.search(r"^VERSION_CODENAME=(\w+)$", os_release, re.MULTILINE)
    if match is None:
        raise FleetProblem("/etc/os-release has no VERSION_CODENAME; use a Debian 12 or 13 machine")
    return match.group(1)


def sources_for(release: str, targets: str, machine_release: str) -> str:
    """The machine's own Debian sources, for `release`, in deb822 form.

    `targets` is what apt says of its sources, a line for each index: uri|suite|component. Whatever else the machine has
    (vendors' repositories) is left out: a suite counts when it is the machine's release, or one of its -updates, -security.
    """
    suites: dict[str, list[str]] = {}
    for line in targets.splitlines():
        uri, suite, component = line.split("|")
        match = re.fullmatch(rf"(?:{re.escape(machine_release)}|stable|oldstable)(-updates|-security)?", suite)
        if match and component == "main":
            entry = suites.setdefault(uri, [])
            wanted = release + (match.group(1) or "")
            if wanted not in entry:
                entry.append(wanted)
    if not suites:
        raise FleetProblem(
            f"apt on this machine has no source of {machine_release} main; add the Debian archive to /etc/apt/sources.list.d"
        )
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(names)}\nComponents: main\nSigned-By: {KEYRING}\n"
        for uri, names in sorted(suites.items())
    )


def _apt_options() -> str:
    """The machine's proxy settings for apt, if any, for the hosts."""
    dump = run(["apt-config", "dump"]).stdout
    return "".join(line + "\n" for line in dump.splitlines() if re.match(r'Acquire::https?::Proxy(::\S+)? ".+";', line))


def _definition(release: str) -> tuple[str, str, list[str], str]:
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"]).stdout
    sources = sources_for(release, targets, codename(Path("/etc/os-release").read_text(encoding="utf-8")))
    options = _apt_options()
    packages = [line for line in (DEFINITION / "packages").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    digest = hashlib.sha256("\0".join([release, sources, options, *packages]).encode())
    for path in sorted(path for path in DEFINITION.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(DEFINITION)).encode() + b"\0" + path.read_bytes())
    return sources, options, packages, f"{REPOSITORY}:{release}-{digest.hexdigest()[:12]}"


def name(release: str) -> str:
    """The image's name: its tag changes with its definition and with the machine's sources."""
    return _definition(release)[3]


def ensure(release: str) -> str:
    """Build the image of `release` unless it is there; returns its name."""
    sources, options, packages, image = _definition(release)
    machine.STORAGE.mkdir(parents=True, exist_ok=True)
    with (machine.STORAGE / f"building-{release}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if podman("images", "--quiet", image).strip():
            return image
        started = time.monotonic()
        click.echo(f"image: building {image} from the machine's Debian sources")
        with tempfile.TemporaryDirectory(prefix="optimize-image-") as directory:
            _build(release, Path(directory), sources, options, packages, image)
        for line in podman("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).splitlines():
            if line.startswith(f"{REPOSITORY}:{release}-") and line != image:
                podman("rmi", line, check=False)  # refused while another checkout's host uses it, which is right
        click.echo(f"image: {image} built in {time.monotonic() - started:.0f} s")
        return image


def _build(release: str, directory: Path, sources: str, options: str, packages: list[str], image: str) -> None:
    (directory / "debian.sources").write_text(sources, encoding="utf-8")
    command = [
        "env", "-C", str(DEFINITION), "mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}",
        *(f"--aptopt={line.rstrip(';')}" for line in options.splitlines()), '--customize-hook=./customize.sh "$1"',
        release, str(directory / "host.tar"), str(directory / "debian.sources"),
    ]  # fmt: skip
    run(command, log=ROOT / ".cache" / f"image-{release}.log")
    podman("import", "--change", 'CMD ["/sbin/init"]', "--change", "STOPSIGNAL SIGRTMIN+3", str(directory / "host.tar"), image)


def ensure_all(releases: Iterable[str]) -> dict[str, str]:
    """Build what is missing of several releases, side by side; returns release -> image name."""
    names = sorted(releases)
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(ensure, names), strict=True))
