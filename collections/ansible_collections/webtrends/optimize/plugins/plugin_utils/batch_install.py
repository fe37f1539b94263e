# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lays a library down on a host: sent along with it, run by the first code of a batch.

A library is a directory named by the SHA-256 of its MANIFEST, whose lines are `<sha256> <path>`. It is written beside
its place, every file compared with its digest, and renamed into place: what has the name is whole. That holds while the
host is up; so it lies on a shelf that is named by the boot, and the shelves of earlier boots are cleared.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import py_compile
import shutil
import time
import zipfile

KEEP = 12  # libraries: as many as a host has batches of different modules in one release of the roles, with room
GRACE = 3600  # seconds in which a library or a half-written one may still be in use by another run


def install(shelf, identity, data):
    """Write library `identity` from the zip `data`; files that it leaves out are linked from libraries already here."""
    final = os.path.join(shelf, identity)
    if os.path.isdir(final):
        return
    archive = zipfile.ZipFile(io.BytesIO(data))
    manifest = archive.read("MANIFEST")
    if hashlib.sha256(manifest).hexdigest() != identity:
        raise OSError(5, "the library arrived altered: its MANIFEST is not " + identity, shelf)
    lines = [line.split(" ", 1) for line in manifest.decode().splitlines()]
    sent = set(archive.namelist())
    here = _files_by_digest(shelf)
    staging = os.path.join(shelf, f".{identity}.{os.getpid()}")
    os.mkdir(staging, 0o700)
    try:
        for digest, path in lines:
            target = os.path.join(staging, *path.split("/"))
            os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
            if path in sent:
                content = archive.read(path)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise OSError(5, f"the library arrived altered: {path} is not {digest}", shelf)
                with open(target, "wb") as stream:
                    stream.write(content)
                _compile(target)
            else:
                _link(here[digest], target)
        with open(os.path.join(staging, "MANIFEST"), "wb") as stream:
            stream.write(manifest)
        os.rename(staging, final)
    except OSError:
        shutil.rmtree(staging, ignore_errors=True)
        if not os.path.isdir(final):  # it is there when another run was faster with the same one
            raise
    _prune(shelf, identity)


def _files_by_digest(shelf):
    files = {}
    for name in os.listdir(shelf):
        if len(name) == 64:
            with open(os.path.join(shelf, name, "MANIFEST")) as manifest:
                for line in manifest.read().splitlines():
                    digest, path = line.split(" ", 1)
                    files[digest] = os.path.join(shelf, name, *path.split("/"))
    return files


def _compile(source):
    """Compile it here and now, whatever the environment says of writing bytecode; unchecked, since a library never changes."""
    if source.endswith(".py"):
        py_compile.compile(source, _compiled(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def _compiled(source):
    return importlib.util.cache_from_source(source)


def _link(source, target):
    """Link a source file and what was compiled from it; another version of Python compiles for itself."""
    os.link(source, target)
    if os.path.exists(_compiled(source)):
        os.makedirs(os.path.dirname(_compiled(target)), 0o700, exist_ok=True)
        os.link(_compiled(source), _compiled(target))
    else:
        _compile(target)


def _prune(shelf, identity):
    """Keep the libraries used last (a batch touches the one it uses), and of this boot only."""
    libraries = []
    for path in _entries(shelf):
        used = os.stat(path).st_mtime
        if time.time() - used > GRACE:
            if os.path.basename(path).startswith("."):
                shutil.rmtree(path, ignore_errors=True)
            elif os.path.basename(path) != identity:
                libraries.append((used, path))
    excess = len(os.listdir(shelf)) - KEEP
    for _used, path in sorted(libraries)[: max(excess, 0)]:
        shutil.rmtree(path, ignore_errors=True)
    for path in _entries(os.path.dirname(shelf)):
        if path != shelf:
            shutil.rmtree(path, ignore_errors=True)


def _entries(directory):
    return [os.path.join(directory, name) for name in os.listdir(directory)]
