# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Unpack an artifact whole or not at all, and tell later whether anything in it was altered."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile

#: Written beside what was unpacked: the artifact's checksums and the fingerprint of its files.
MARKER = ".artifact.json"


class ArtifactProblem(Exception):
    """What was found is not what was expected; the text names both and the mend."""


def checksum_of(path, algorithm):
    """Hex digest of a file."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check(label, path, expected):
    """Compare a file with `<algorithm>:<hex>`.

    Raises:
        ArtifactProblem: it differs.
    """
    algorithm, _, digest = expected.partition(":")
    found = checksum_of(path, algorithm)
    if found != digest:
        raise ArtifactProblem(
            f"{label}: expected {algorithm} {digest}, found {found}. Nothing was unpacked. "
            "Either the transfer or the source is bad: fetch it anew, and look into it if it stays so."
        )


def fingerprint(directory):
    """A digest of every file's name, size, mode, owner and time of change of content: a stat per file, so it costs next to nothing."""
    digest = hashlib.sha256()
    for base, directories, files in os.walk(directory):
        directories.sort()
        # Python writes bytecode beside its modules when root runs them; that alters nothing that was unpacked.
        directories[:] = [name for name in directories if name != "__pycache__"]
        for name in sorted(files):
            path = os.path.join(base, name)
            relative = os.path.relpath(path, directory)
            if relative == MARKER:
                continue
            stat = os.lstat(path)
            target = os.readlink(path) if os.path.islink(path) else ""
            digest.update(f"{relative}\0{stat.st_mode:o}\0{stat.st_uid}\0{stat.st_size}\0{stat.st_mtime_ns}\0{target}\n".encode())
    return digest.hexdigest()


def installed(label, dest, checksums):
    """Whether `dest` holds this artifact, whole.

    Raises:
        ArtifactProblem: it holds another one, or was altered since.
    """
    if not os.path.lexists(dest):
        return False
    mend = f"If no process uses it, remove it and run again: rm -r {dest}"
    try:
        with open(os.path.join(dest, MARKER), encoding="utf-8") as handle:
            marker = json.load(handle)
    except (OSError, ValueError) as error:
        raise ArtifactProblem(f"{label}: {dest} exists, but what was unpacked there is not recorded ({error}). {mend}") from error
    if marker.get("checksums") != list(checksums):
        raise ArtifactProblem(
            f"{label}: {dest} was unpacked from another artifact: expected {', '.join(checksums)}, "
            f"found {', '.join(marker.get('checksums', []))}. {mend}"
        )
    found = fingerprint(dest)
    if marker.get("fingerprint") != found:
        raise ArtifactProblem(
            f"{label}: {dest} was altered since it was unpacked: expected fingerprint {marker.get('fingerprint')}, found {found}. {mend}"
        )
    return True


def unpack(label, files, dest, checksums, owner=0):
    """Lay the files down in `dest`: archives unpacked, others copied; complete or absent, whatever interrupts.

    Args:
        files: (path, name): where the verified file lies and how it is called. An archive loses a top directory that all its members share.
        owner: uid and gid of everything laid down.
    """
    parent = os.path.dirname(dest)
    os.makedirs(parent, mode=0o755, exist_ok=True)
    work = tempfile.mkdtemp(prefix=".unpacking-", dir=parent)
    try:
        for path, name in files:
            if name.endswith((".tar", ".tgz", ".tar.gz")):
                _extract(label, path, work, owner)
            else:
                target = os.path.join(work, name)
                shutil.copyfile(path, target)
                os.chmod(target, 0o644)
                os.chown(target, owner, owner)
        os.chmod(work, 0o755)
        marker = os.path.join(work, MARKER)
        with open(marker, "w", encoding="utf-8") as handle:
            json.dump({"artifact": label, "checksums": list(checksums), "fingerprint": fingerprint(work)}, handle, indent=1)
        os.chmod(marker, 0o644)
        # What a crash could lose must not be named by a marker that survives.
        os.sync()
        os.rename(work, dest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(label, path, directory, owner):
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        strip = _shared_top(members)
        for member in members:
            if member.isdev() or member.name.startswith("/") or ".." in member.name.split("/"):
                raise ArtifactProblem(f"{label}: {path} has a member that may not be unpacked: {member.name}.")
            if strip:
                member.name = member.name.partition("/")[2]
                if member.islnk():
                    member.linkname = member.linkname.partition("/")[2]
            if not member.name:
                continue
            member.uid = member.gid = owner
            member.uname = member.gname = ""
            # Nobody but the owner writes what a service runs.
            member.mode = (member.mode & 0o755) | 0o444 | (0o111 if member.isdir() else 0)
            archive.extract(member, directory, numeric_owner=True, **_TRUSTED)


# The checksum vouches for the content, and a relocatable environment links to the host's interpreter by an absolute path.
_TRUSTED = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}


def _shared_top(members):
    """Whether all members lie below one directory, as in a vendor's archive."""
    tops = {member.name.partition("/")[0] for member in members}
    return len(tops) == 1 and all(member.isdir() or "/" in member.name for member in members) and _is_release_directory(tops.pop())


def _is_release_directory(name):
    """A vendor's top directory carries the version (kafka_2.13-3.9.2); one named libs or lib is part of the layout. npm's is `package`."""
    return name == "package" or any(character.isdigit() for character in name)
