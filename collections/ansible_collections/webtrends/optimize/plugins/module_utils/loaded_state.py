# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Is what a unit's process loaded still what is on disk?

This file is two things: the logic of the module ``webtrends.optimize.loaded_state``, and, as it is, the program
``/usr/local/libexec/optimize/loaded-state`` that units run before they start (standard library only, for that reason).

    loaded-state record UNIT     what is on disk now is what the process about to start loads
    loaded-state check [UNIT]    one line per unit; exit 1 where a restart is needed

What belongs to a unit: the globs of /etc/optimize/loaded-state/UNIT.list, and without being listed its unit file, drop-ins and
environment files, the binary that it runs and the libraries mapped from /usr and /opt.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import stat
import subprocess
import sys

LIST_DIR = "/etc/optimize/loaded-state"
RECORD_DIR = "/run/optimize/loaded-state"

# Above this a file is known by size, mtime and inode instead of its content: a check of a 500 MB binary has to stay under 50 ms.
# A package or an unpacked artifact replaces a file, which changes all three.
LARGE = 4 * 1024 * 1024

UNIT_NAME = re.compile(r"[A-Za-z0-9:_.@\\-]+")
SHOWN = ("LoadState", "ActiveState", "MainPID", "InvocationID", "FragmentPath", "DropInPaths", "EnvironmentFiles")
# Mapped code elsewhere is made by the process itself (native parts of jars unpacked in /tmp and deleted, memfd, /dev/zero).
CODE_PREFIXES = ("/usr/", "/opt/", "/lib/", "/lib64/", "/bin/", "/sbin/")


def unit_name(name: str) -> str:
    """``kafka.service`` and ``kafka`` are the same unit; anything that could leave the record's directory is refused."""
    name = name.removesuffix(".service")
    if not UNIT_NAME.fullmatch(name) or name.startswith("."):
        raise ValueError(f"{name!r} is not the name of a unit")
    return name


def globs_of(unit: str, list_dir: str = LIST_DIR) -> list[str]:
    """The globs listed for a unit; an instance without a list of its own has its template's (``redis@.list``, %i is the instance)."""
    template, at, instance = unit.partition("@")
    for name, replacement in ((unit, None), (f"{template}@" if at else None, instance)):
        if name is None:
            continue
        try:
            with open(os.path.join(list_dir, f"{name}.list"), encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except FileNotFoundError:
            continue
        lines = [line for line in lines if line and not line.startswith("#")]
        return lines if replacement is None else [line.replace("%i", replacement) for line in lines]
    return []


def identity(path: str) -> dict[str, str]:
    """What is at ``path``: a content digest, for large files size, mtime and inode, for directories where they are."""
    entry: dict[str, str] = {}
    target = os.path.realpath(path)
    if target != os.path.abspath(path):
        entry["target"] = target
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            # A version's directory is never changed in place; unpacked anew it has another inode.
            entry["is"] = f"directory inode {found.st_ino}"
        elif not stat.S_ISREG(found.st_mode):
            entry["is"] = "special"
        elif found.st_size > LARGE:
            entry["is"] = f"size {found.st_size} mtime {found.st_mtime_ns} inode {found.st_ino}"
        else:
            with open(path, "rb") as file:
                entry["is"] = "sha256 " + hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        entry["is"] = f"unreadable: {error.strerror}"
    return entry


def snapshot(patterns: list[str]) -> dict[str, dict[str, str]]:
    """Path -> identity of everything that the globs match now (a glob that matches nothing adds nothing)."""
    paths: set[str] = set()
    for pattern in patterns:
        paths.update(glob.glob(pattern, recursive=True))
        if os.path.islink(pattern):  # a dangling link matches no glob, and is a difference
            paths.add(pattern)
    return {path: identity(path) for path in sorted(paths)}


def fingerprint(files: dict[str, dict[str, str]]) -> str:
    """One short name for a snapshot: equal snapshots, equal fingerprints."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def differences(loaded: dict[str, dict[str, str]], present: dict[str, dict[str, str]]) -> list[str]:
    """A sentence per path that is not what the process loaded."""
    reasons = []
    for path in sorted(loaded.keys() | present.keys()):
        before, now = loaded.get(path), present.get(path)
        if before == now:
            continue
        if before is None:
            reasons.append(f"{path} was not there (or not watched) when the process started")
        elif now is None:
            reasons.append(f"{path} is gone since the process started")
        elif before.get("target") != now.get("target"):
            reasons.append(f"{path} led to {before.get('target', 'itself')}, now to {now.get('target', 'itself')}")
        else:
            reasons.append(f"{path} changed since the process started")
    return reasons


def replaced_code(exe: str, maps: str) -> list[str]:
    """What a process runs of which the file was replaced: from its /proc/PID/exe link and the text of /proc/PID/maps."""
    reasons = []
    deleted = " (deleted)"
    if exe.endswith(deleted):
        reasons.append(f"the binary {exe.removesuffix(deleted)} was replaced under the running process")
    libraries = set()
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].endswith(deleted):
            libraries.add(fields[5].removesuffix(deleted))
    libraries.discard(exe.removesuffix(deleted))
    shared = sorted(path for path in libraries if path.startswith(CODE_PREFIXES))
    return reasons + [f"the library {path} was replaced under the running process" for path in shared]


def parse_show(text: str) -> dict[str, str]:
    """``systemctl show`` as a dictionary; a key that comes more than once (EnvironmentFiles) has its values on lines of their own."""
    shown: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            shown[key] = f"{shown[key]}\n{value}" if key in shown else value
    return shown


def unit_files(shown: dict[str, str]) -> list[str]:
    """The files from which systemd starts the unit, as globs. Runtime drop-ins (``set-property``) take effect without a restart."""
    files = [shown.get("FragmentPath", "")]
    files += [path for path in shown.get("DropInPaths", "").split() if not path.startswith("/run/")]
    files += [line.split(" (ignore_errors=")[0] for line in shown.get("EnvironmentFiles", "").splitlines()]
    return [path for path in files if path]


def verdict(shown: dict[str, str], record: dict | None, present: dict[str, dict[str, str]], replaced: list[str]) -> dict:
    """The answer, from what systemd shows, what was recorded at the start, what is on disk, and what was replaced in the process."""
    running = shown.get("ActiveState") in ("active", "reloading", "refreshing") or int(shown.get("MainPID") or 0) > 0
    recorded = record is not None and record["invocation"] == shown.get("InvocationID", "")
    reasons: list[str] = []
    if running:
        if record is None:
            reasons.append("nothing was recorded when the process started: what it loaded is unknown")
        elif not recorded:
            reasons.append("the record is of an earlier start: what the process loaded is unknown")
        else:
            reasons += differences(record["files"], present)
        reasons += replaced
    return {
        "exists": shown.get("LoadState") not in ("not-found", "", None),
        "running": running,
        "recorded": running and recorded,
        "restart_needed": bool(reasons),
        "reasons": reasons,
        "fingerprint": fingerprint(present),
        "loaded_fingerprint": fingerprint(record["files"]) if running and recorded and record else None,
    }


def show(unit: str) -> dict[str, str]:
    """What systemd knows of the unit; OSError or CalledProcessError where it can't be asked."""
    command = ["systemctl", "show", f"--property={','.join(SHOWN)}", "--", f"{unit}.service"]
    return parse_show(subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout)


def read_record(unit: str, record_dir: str = RECORD_DIR) -> dict | None:
    """The record of the unit's start. A record that can't be read is no record."""
    try:
        with open(os.path.join(record_dir, f"{unit}.json"), encoding="utf-8") as file:
            record = json.load(file)
        return record if {"invocation", "files"} <= record.keys() else None
    except (FileNotFoundError, ValueError, AttributeError):
        return None


def process_code(pid: int) -> list[str]:
    """``replaced_code`` of a live process; nothing where it has just ended."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
            return replaced_code(os.readlink(f"/proc/{pid}/exe"), maps.read())
    except (FileNotFoundError, ProcessLookupError):
        return []


def assess(unit: str) -> dict:
    """The verdict on a unit of this host."""
    unit = unit_name(unit)
    shown = show(unit)
    pid = int(shown.get("MainPID") or 0)
    present = snapshot(unit_files(shown) + globs_of(unit))
    return {"unit": unit, **verdict(shown, read_record(unit), present, process_code(pid) if pid else [])}


def record_start(unit: str, invocation: str, record_dir: str = RECORD_DIR) -> None:
    """Writes what the process about to start loads. Only root reads it: a digest of a file with a short secret would give it away."""
    unit = unit_name(unit)
    files = snapshot(unit_files(show(unit)) + globs_of(unit))
    os.makedirs(record_dir, mode=0o700, exist_ok=True)
    path = os.path.join(record_dir, f"{unit}.json")
    with open(f"{path}.new", "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump({"unit": unit, "invocation": invocation, "files": files}, file)
    os.replace(f"{path}.new", path)


def _names(directory: str, ending: str) -> set[str]:
    found = os.listdir(directory) if os.path.isdir(directory) else []
    return {name.removesuffix(ending) for name in found if name.endswith(ending)}


def listed_units(list_dir: str = LIST_DIR, record_dir: str = RECORD_DIR) -> list[str]:
    """The units of this host: those with a list of their own, and instances of a listed template that were started."""
    names = _names(list_dir, ".list")
    instances = {name for name in _names(record_dir, ".json") if "@" in name and name.partition("@")[0] + "@" in names}
    return sorted({name for name in names if not name.endswith("@")} | instances)


def main(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] == "record":
        record_start(arguments[1], os.environ.get("INVOCATION_ID", ""))
        return 0
    if arguments and arguments[0] == "check" and len(arguments) <= 2:
        verdicts = [assess(unit) for unit in (arguments[1:] or listed_units())]
        for one in verdicts:
            state = "restart needed" if one["restart_needed"] else "as loaded" if one["running"] else "not running"
            print(f"{one['unit']}: {state}", *one["reasons"], sep="\n  ")
        return 1 if any(one["restart_needed"] for one in verdicts) else 0
    print("usage: loaded-state record UNIT | check [UNIT]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (OSError, ValueError, subprocess.SubprocessError) as failure:
        sys.exit(f"loaded-state: {failure}")
