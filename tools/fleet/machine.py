"""What this machine offers and lacks, and the two things of it that a fleet changes while it runs.

Changed and put back when the last fleet goes: the sysctl fs.inotify.max_user_instances, and (only where the machine does not
run cgroup v2 alone) a mount namespace in which podman sees cgroup v2. Both are shared by every fleet of the machine and
recorded in RUN, which a lock guards.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.fleet.shell import FleetProblem, run

RUN = Path("/run/optimize-fleet")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_NEEDED = 8192  # each systemd takes several; 128, the kernel's default, is used up by 30 hosts
PROGRAMS = ("podman", "crun", "mmdebstrap", "nsenter", "unshare", "ssh")
STORAGE = Path("/var/lib/optimize-fleet")
DISK_MB_PER_HOST = 300  # packages and logs of a converged host; the artifacts come on top, once
# The most that a host gets. podman lowers its own nproc to 32768 before it starts a container, and cannot go above that without
# CAP_SYS_RESOURCE.
LIMITS = {"nofile": (resource.RLIMIT_NOFILE, 1_048_576), "nproc": (resource.RLIMIT_NPROC, 32_768)}


def cgroup_mode(root: Path = Path("/sys/fs/cgroup")) -> str:
    """`v2`, or else `hybrid` or `v1`, by what is mounted on /sys/fs/cgroup."""
    if (root / "cgroup.controllers").exists():
        return "v2"
    return "hybrid" if (root / "unified" / "cgroup.procs").exists() else "v1"


def ulimit_arguments() -> list[str]:
    """podman's limits at the machine's own: its defaults are higher, and raising them needs CAP_SYS_RESOURCE."""
    arguments = []
    for name, (number, most) in LIMITS.items():
        hard = resource.getrlimit(number)[1]
        value = most if hard == resource.RLIM_INFINITY else min(hard, most)
        arguments += ["--ulimit", f"{name}={value}:{value}"]
    return arguments


def available_memory_mb(meminfo: str) -> int:
    """MemAvailable of the text of /proc/meminfo, in MB."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise FleetProblem("/proc/meminfo has no MemAvailable; a kernel of 3.14 or newer is needed")


def require(memory_mb: int, hosts: int) -> None:
    """Refuse, in one line each, what would fail later: no root, programs missing, too little memory or disk for `hosts` more hosts."""
    if os.geteuid() != 0:
        raise FleetProblem("the fleet needs root (it makes networks, mounts and privileged containers); run it as root, or with sudo")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise FleetProblem(f"missing on this machine: {', '.join(missing)}; run tools/bootstrap.sh, which installs them")
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="utf-8"):
        raise FleetProblem(
            "this kernel offers no overlay file system, which the hosts' images need; `modprobe overlay`, or use another kernel"
        )
    free = available_memory_mb(Path("/proc/meminfo").read_text(encoding="utf-8"))
    if memory_mb > free:
        raise FleetProblem(
            f"the {hosts} hosts to start need about {memory_mb} MB of memory, {free} MB are available;"
            " name fewer regions, stop what else runs, or start them all the same with --ignore-memory"
        )
    existing = next(path for path in (STORAGE, *STORAGE.parents) if path.exists())
    disk = shutil.disk_usage(existing).free // 2**20
    if hosts * DISK_MB_PER_HOST > disk:
        raise FleetProblem(
            f"the {hosts} hosts to start need about {hosts * DISK_MB_PER_HOST} MB of disk in {STORAGE}, {disk} MB are free;"
            " free some, or name fewer regions"
        )


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """RUN, existing and locked. It is removed by its last user, so the lock counts only while the path still names it."""
    while True:
        RUN.mkdir(mode=0o700, exist_ok=True)
        try:
            handle = os.open(RUN, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == RUN.stat().st_ino and os.fstat(handle).st_dev == RUN.stat().st_dev:
                break
        os.close(handle)
    try:
        yield
    finally:
        os.close(handle)


def _user_file(state: Path) -> Path:
    return RUN / "users" / str(state).strip("/").replace("/", "+")


def _namespace() -> Path:
    return RUN / "mounts" / "namespace"


def podman_prefix() -> list[str]:
    """What precedes `podman` on this machine: nothing under cgroup v2 alone, else the way into the private namespace."""
    return ["nsenter", f"--mount={_namespace()}"] if _namespace().exists() else []


def enter(state: Path) -> None:
    """Prepare the machine for the fleet of `state` and record that it uses it. Safe to repeat."""
    with _locked():
        (RUN / "users").mkdir(exist_ok=True)
        _user_file(state).touch()
        saved = RUN / "saved.json"
        instances = int(INOTIFY.read_text(encoding="utf-8"))
        if instances < INOTIFY_NEEDED:
            if not saved.exists():
                saved.write_text(json.dumps({str(INOTIFY): instances}), encoding="utf-8")
            INOTIFY.write_text(str(INOTIFY_NEEDED), encoding="utf-8")
        # What is mounted in the namespace of podman's first start stays there, so it is made once and shared.
        if (
            cgroup_mode() != "v2"
            and run([*podman_prefix(), "test", "-e", "/sys/fs/cgroup/cgroup.controllers"], check=False).returncode != 0
        ):
            _remove_namespace()
            _make_namespace()


def leave(state: Path, *, purge: bool = False) -> bool:
    """Record that the fleet of `state` is gone; the last one puts everything back, and with `purge` removes the store of images.

    Returns whether it was the last.
    """
    if not RUN.exists():
        return True
    with _locked():
        _user_file(state).unlink(missing_ok=True)
        users = RUN / "users"
        if users.exists() and any(users.iterdir()):
            return False
        saved = RUN / "saved.json"
        if saved.exists():
            for path, value in json.loads(saved.read_text(encoding="utf-8")).items():
                Path(path).write_text(str(value), encoding="utf-8")
        _remove_namespace()
        for path in sorted(_mounts_below(RUN), reverse=True):
            run(["umount", "--lazy", path])
        shutil.rmtree(RUN)
        if purge:
            shutil.rmtree(STORAGE, ignore_errors=True)
        return True


def _make_namespace() -> None:
    mounts = _namespace().parent
    mounts.mkdir(exist_ok=True)
    run(["mount", "--bind", str(mounts), str(mounts)])
    run(["mount", "--make-private", str(mounts)])  # a namespace can be held by a file only on a private mount
    _namespace().touch()
    run(["unshare", f"--mount={_namespace()}", "--propagation", "slave", "mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])


def _remove_namespace() -> None:
    mounts = _namespace().parent
    if not mounts.exists():
        return
    for path in (_namespace(), mounts):
        while str(path) in _mounts_below(RUN):
            run(["umount", "--lazy", str(path)])
    shutil.rmtree(mounts)


def _mounts_below(directory: Path) -> list[str]:
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines())
    return [point for point in points if point.startswith(f"{directory}/")]
