# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""First code of a batch on a host: find the library, install it when it came along, start the program in it.

Its source is sent with every batch and compiled there, so it is short. Standard input goes on after it: one line of
JSON (the header), then `blob` bytes of file contents, then `library` bytes (a zip; only when the host asked for it).
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import stat
import sys

MARK = "optimize-batch "


def emit(message):
    data = (MARK + json.dumps(message) + "\n").encode()
    while data:
        data = data[os.write(1, data) :]


def refuse(path, found, expected):
    emit({"refused": path, "found": found, "expected": expected})
    sys.exit(0)


def own_directory(path):
    """Make `path` for this user only, or refuse the one that is there: whoever owns it decides what runs as this user."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    there = os.lstat(path)
    kind = "directory" if stat.S_ISDIR(there.st_mode) else "no directory"
    found = f"{kind} of uid {there.st_uid} with mode {stat.S_IMODE(there.st_mode):04o}"
    expected = f"directory of uid {os.geteuid()} with mode 0700"
    if found != expected:
        refuse(path, found, expected)


def check_above(path):
    """Who may rename a directory above the library may put another one in its place."""
    while True:
        there = os.stat(path)
        sticky = there.st_mode & stat.S_ISVTX
        if there.st_uid not in (0, os.geteuid()) or (there.st_mode & 0o022 and not sticky):
            raise OSError(1, f"mode {stat.S_IMODE(there.st_mode):04o} of uid {there.st_uid}: others could replace what is below it", path)
        if path == "/":
            return
        path = os.path.dirname(path)


def held(shelf):
    """Digests of the files of every library here: what need not be sent again."""
    digests = set()
    for name in os.listdir(shelf):
        if len(name) == 64:
            with open(os.path.join(shelf, name, "MANIFEST")) as manifest:
                digests.update(line.split(" ", 1)[0] for line in manifest)
    return digests


def main(stream):
    gc.disable()  # until a module runs: there is nothing to collect while imports go on
    header = json.loads(stream.readline())
    blob = stream.read(header["blob"])
    sys.pycache_prefix = None  # what is compiled lies in the library, nowhere else
    parent = os.path.expandvars(os.path.expanduser(header["remote_tmp"]))
    root = os.path.join(parent, f"optimize-batch-{os.geteuid()}")
    # A library is trusted in the boot in which it was written: what a power cut left of one is never looked at.
    with open("/proc/sys/kernel/random/boot_id") as boot:
        shelf = os.path.join(root, boot.read().strip())
    library = os.path.join(shelf, header["id"])
    umask = os.umask(0o077)
    try:
        os.makedirs(parent, 0o700, exist_ok=True)
        check_above(os.path.realpath(parent))
        own_directory(root)
        own_directory(shelf)
        if "installer" in header:
            scope = {"__name__": "optimize_batch_install"}
            exec(compile(header["installer"], "batch_install", "exec"), scope)
            scope["install"](shelf, header["id"], stream.read(header["library"]))
        elif not os.path.isdir(library):
            emit({"need": header["id"], "have": sorted(held(shelf))})
            return
    except OSError as error:
        emit({"no_library": f"{error.filename or root}: {error.strerror}"})
        return
    os.umask(umask)
    # As Ansible's own wrapper does: nothing is imported from where the login happened to start.
    sys.path[:] = [library] + [path for path in sys.path if path not in ("", ".")]
    import optimize_batch_remote

    optimize_batch_remote.run(header, blob, library, emit)


main(sys.stdin.buffer)
