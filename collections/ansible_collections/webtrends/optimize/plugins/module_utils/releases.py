# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a service runs as one set: its release and its files. The last sets that ran are kept, so that there is a way back.

/opt/optimize/<version>            a release; several services share it
/opt/optimize/current-<service>    the release of one service: rolling one changes no other
/opt/optimize/current              the release that was chosen last, for people
<store>/<digest>/{manifest.json,0,1,…}    a set that ran
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass

MANIFEST = "manifest.json"


class ReleaseError(Exception):
    """There is no such release, or no way back; the text says what is there."""


@dataclass(frozen=True)
class Kept:
    """A file of a set."""

    path: str
    mode: int
    uid: int
    gid: int
    content: bytes


@dataclass(frozen=True)
class RunSet:
    """A release and the files that its service runs with."""

    version: str
    files: tuple[Kept, ...]

    @property
    def digest(self) -> str:
        known = hashlib.sha256(self.version.encode())
        for one in self.files:
            known.update(json.dumps([one.path, one.mode, one.uid, one.gid, hashlib.sha256(one.content).hexdigest()]).encode())
        return known.hexdigest()[:16]


def link(root: str, service: str) -> str:
    return os.path.join(root, f"current-{service}")


def linked(root: str, service: str) -> str:
    """The version to which the service's link leads; empty without a link."""
    path = link(root, service)
    return os.path.basename(os.readlink(path)) if os.path.islink(path) else ""


def present(root: str, service: str, patterns: list[str]) -> RunSet:
    """What is on disk now. Raises OSError for a file that can't be read."""
    files = []
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern) if os.path.isfile(path)}):
        found = os.stat(path)
        with open(path, "rb") as file:
            files.append(Kept(path, found.st_mode & 0o7777, found.st_uid, found.st_gid, file.read()))
    return RunSet(linked(root, service), tuple(files))


def keep(store: str, run_set: RunSet, generations: int) -> None:
    """Keeps the set as the newest one and ``generations - 1`` of the others. Only root can read them: secrets are among the files."""
    os.makedirs(store, mode=0o700, exist_ok=True)
    path = os.path.join(store, run_set.digest)
    if os.path.isdir(path):
        os.utime(os.path.join(path, MANIFEST))
    else:
        new = tempfile.mkdtemp(dir=store, prefix=".new-")
        entries = []
        for number, one in enumerate(run_set.files):
            with open(os.path.join(new, str(number)), "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(one.content)
            entries.append({key: value for key, value in asdict(one).items() if key != "content"})
        with open(os.path.join(new, MANIFEST), "w", encoding="utf-8") as file:
            json.dump({"version": run_set.version, "files": entries}, file)
        os.rename(new, path)
    for old in newest_first(store)[generations:]:
        shutil.rmtree(os.path.join(store, old))


def newest_first(store: str) -> list[str]:
    """The digests of the sets that are kept; unfinished ones don't count."""
    names = [name for name in (os.listdir(store) if os.path.isdir(store) else []) if not name.startswith(".")]
    return sorted(names, key=lambda name: os.stat(os.path.join(store, name, MANIFEST)).st_mtime_ns, reverse=True)


def load(store: str, digest: str) -> RunSet:
    path = os.path.join(store, digest)
    with open(os.path.join(path, MANIFEST), encoding="utf-8") as file:
        manifest = json.load(file)
    files = []
    for number, entry in enumerate(manifest["files"]):
        with open(os.path.join(path, str(number)), "rb") as content:
            files.append(Kept(content=content.read(), **entry))
    return RunSet(manifest["version"], tuple(files))


def previous(store: str, now: RunSet) -> RunSet:
    """The newest set that ran and is not what is on disk now."""
    for digest in newest_first(store):
        if digest != now.digest:
            return load(store, digest)
    raise ReleaseError(f"no release and configuration before this one ({now.version or 'none'}) is kept in {store}: nothing to go back to")


def switch(root: str, name: str, version: str) -> bool:
    """Points the link ``name`` at the version's directory, at once; whether that changed it."""
    path = os.path.join(root, name)
    if os.path.islink(path) and os.readlink(path) == version:
        return False
    os.symlink(version, f"{path}.new")
    os.replace(f"{path}.new", path)
    return True


def restore(root: str, service: str, run_set: RunSet) -> None:
    """Puts a set back on disk. Each file is replaced as a whole."""
    if not os.path.isdir(os.path.join(root, run_set.version)):
        raise ReleaseError(f"release {run_set.version} of {service} is no longer in {root}: install it again to go back to it")
    for one in run_set.files:
        new = f"{one.path}.restored"
        with open(new, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(one.content)
        os.chown(new, one.uid, one.gid)
        os.chmod(new, one.mode)
        os.replace(new, one.path)
    switch(root, f"current-{service}", run_set.version)
    switch(root, "current", run_set.version)


def unneeded(root: str, stores: str, generations: int) -> list[str]:
    """Directories of releases that no service runs, could go back to, or that are among the newest ones."""
    directories = [entry for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")]
    directories.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    needed = {entry.name for entry in directories[:generations]}
    needed |= {os.path.basename(os.readlink(entry.path)) for entry in os.scandir(root) if entry.is_symlink()}
    for service in os.listdir(stores) if os.path.isdir(stores) else []:
        needed |= {load(os.path.join(stores, service), digest).version for digest in newest_first(os.path.join(stores, service))}
    return [entry.path for entry in directories if entry.name not in needed]
