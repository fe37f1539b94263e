# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program that runs a batch on a host. It is a file of the library (`optimize_batch_remote`), compiled once there.

Modules are run by the loader that ansible-core ships for its own wrapper, each in a child forked from this process, which
has the shared parts imported already. It stops at the first item that failed. One line is written per item, when it ends,
so that what ran is known even when this process is killed.
"""

from __future__ import annotations

import atexit
import base64
import gc
import hashlib
import importlib
import json
import os
import select
import shutil
import sys
import tempfile
import time


def run(header, blob, library, emit):
    _limit_open_files(header["rlimit_nofile"])
    os.utime(library)  # pruning keeps the libraries used last
    batch = _Batch(header, blob, library, _preload(library))
    gc.freeze()  # children share these objects' pages for as long as no collector looks at them
    try:
        changed = set()
        for item in header["items"]:
            if _controller_is_gone():
                return
            wanted = item.get("when_changed")
            if wanted is not None and not changed.intersection(wanted):
                emit({"item": item["number"], "not_needed": True})
                continue
            emit({"start": item["number"]})
            answer = batch.run(item)
            answer["item"] = item["number"]
            emit(answer)
            verdict = _verdict(answer)
            if verdict.get("failed"):
                return
            if item.get("changed_when", verdict.get("changed")):
                changed.add(item["number"])
        emit({"end": True})
    finally:
        batch.clean()


def _preload(library):
    """Import what every module needs, once for all children; returns the loader."""
    import ansible.module_utils.basic  # noqa: F401  imported for the children that are forked
    from ansible.module_utils._internal._ansiballz import _loader

    profiles = "ansible.module_utils._internal._json._profiles"
    for name in os.listdir(os.path.join(library, *profiles.split("."))):
        if name.startswith("_module_") and name.endswith(".py"):
            importlib.import_module(profiles + "." + name[: -len(".py")])
    return _loader


class _Batch:
    def __init__(self, header, blob, library, loader):
        self.header = header
        self.blob = blob
        self.library = library
        self.loader = loader
        self.scratch = None

    def run(self, item):
        if "put" not in item:
            return self._before(item) or self._module(item["module"], item["params"].encode())
        answer = {}
        put = item["put"]
        try:
            chosen = self._choose(put, answer)
        except OSError as error:
            message = f"{error.filename or put['dest']}: {error.strerror}"
            return {"out": json.dumps({"failed": True, "msg": message}), "err": "", "rc": 1}
        if isinstance(chosen, dict):
            answer.update(out=json.dumps(chosen), err="", rc=0)
            return answer
        answer["ran"] = True
        module, params = chosen
        answer.update(self._module(module, json.dumps(params).encode()))
        return answer

    def _before(self, item):
        """What a stock action asks the host about before its module runs; a finished answer, or none."""
        exists, directory = item.get("unless_exists"), item.get("needs_directory")
        if exists and os.path.lexists(os.path.expanduser(exists)):
            result = {"changed": False, "skipped": True, "msg": f"skipped, since {exists} exists"}
        elif directory and not os.path.isdir(os.path.expanduser(directory)):
            result = {"failed": True, "msg": f"dest '{directory}' must be an existing dir"}
        elif item.get("packages"):
            result = _all_installed(**item["packages"])
            if result is None:
                return None
        else:
            return None
        return {"out": json.dumps(result), "err": "", "rc": 0}

    def _choose(self, put, answer):
        """What the stock copy action does on the controller, here: compare, then choose the module that does the work.

        Returns a finished result, or the module and its parameters.
        """
        dest = os.path.expanduser(put["dest"])
        target = os.path.join(dest, put["name"]) if dest.endswith("/") else dest
        state = _state(target, put["follow"])
        if state == "directory":
            if put["literal"]:
                return {"failed": True, "msg": "can not use content with a dir as dest"}
            target = os.path.join(target, put["name"])
            state = _state(target, put["follow"])
        if state != "absent" and not put["force"]:
            answer["kept"] = True
            return {"changed": False, "dest": dest}
        if state == "absent" or _sha1(target, state) != put["sha1"]:
            if put["diff"] is not None:
                answer["before"] = dict(_content_before(target, put["diff"]), dest=target)
            if put["check"]:
                return {"changed": True}
            params = json.loads(put["copy_params"])
            params["ANSIBLE_MODULE_ARGS"].update(src=self._source(put, target), dest=dest)
            return put["copy"], params
        if put["follow"] and os.path.islink(target):
            dest = os.path.realpath(target)
        params = json.loads(put["file_params"])
        params["ANSIBLE_MODULE_ARGS"].update(dest=dest)
        return put["file"], params

    def _source(self, put, target):
        if self.scratch is None:
            self.scratch = tempfile.mkdtemp(prefix="scratch-", dir=self.header.get("scratch"))
        # The destination's suffix stays: a `validate` command may look at it.
        descriptor, path = tempfile.mkstemp(prefix="source", suffix=os.path.splitext(target)[1], dir=self.scratch)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(self.blob[put["start"] : put["end"]])
        return path

    def _module(self, module, params):
        """Run one module in a child; its output goes to files: a daemon that it starts can't hold them open for us."""
        out, err = _memory_file("out"), _memory_file("err")
        child = os.fork()
        if child == 0:
            self._child(module, params, out, err)
        status = os.waitpid(child, 0)[1]
        answer = {"out": _content(out), "err": _content(err), "rc": os.waitstatus_to_exitcode(status)}
        if os.WIFSIGNALED(status):
            answer["signal"] = os.WTERMSIG(status)
        return answer

    def _child(self, module, params, out, err):
        code = 1
        try:
            gc.enable()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            # Run as `__main__`, ended by SystemExit: as under Ansible's own wrapper.
            self.loader.run_module(
                json_params=params, profile=module["profile"], module_fqn=module["fqn"], modlib_path=self.library, extensions={}
            )
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            try:
                if "threading" in sys.modules:
                    sys.modules["threading"]._shutdown()
                atexit._run_exitfuncs()  # modules remove their temporary directories there
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def clean(self):
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)


def _all_installed(names, lists_age):
    """The answer of the module apt where all packages are installed by wish and the lists are young enough; otherwise none."""
    # Without python3-apt the module installs it; that is its own work.
    if not _installed_by_wish().issuperset([*names, "python3-apt"]):
        return None
    for stamp in ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists"):
        if os.path.exists(stamp):
            updated = int(os.stat(stamp).st_mtime)
            break
    else:
        updated = 0
    if lists_age is not None and updated + lists_age < time.time():
        return None
    return {"changed": False, "cache_updated": False, "cache_update_time": updated}


def _installed_by_wish(dpkg="/var/lib/dpkg", automatic="/var/lib/apt/extended_states"):
    """Names of the packages that dpkg has installed, without those that apt took in for the sake of others."""
    try:
        if os.path.exists(dpkg + "/arch"):
            with open(dpkg + "/arch", encoding="utf-8") as architectures:
                if len(architectures.read().split()) > 1:  # a name may stand for a package of another architecture
                    return set()
        with open(dpkg + "/status", encoding="utf-8", errors="replace") as status:
            installed = set(_names(status.read(), "Status: ", " installed"))
        if os.path.exists(automatic):
            with open(automatic, encoding="utf-8") as states:
                installed.difference_update(_names(states.read(), "Auto-Installed: ", "1"))
    except OSError:
        return set()
    return installed


def _names(text, field, value):
    """Names of the stanzas whose field ends with the value."""
    for stanza in text.split("\n\n"):
        lines = stanza.split("\n", 2)
        if not lines[0].startswith("Package: "):
            continue
        at = stanza.find("\n" + field)
        if at >= 0 and stanza[at + 1 + len(field) :].split("\n", 1)[0].endswith(value):
            yield lines[0][len("Package: ") :]


def _limit_open_files(wanted):
    if wanted:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if min(hard, wanted) != soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted), hard))


def _controller_is_gone(output=1):
    """Nobody reads any more: the connection broke. What has begun has ended; the next item must not begin."""
    poll = select.poll()
    poll.register(output, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _descriptor, event in poll.poll(0))


def _memory_file(name):
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor


def _content(descriptor):
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(0)
        return stream.read().decode("utf-8", "surrogateescape")


def _verdict(answer):
    """As much of the result as decides whether to go on; the controller reads it with Ansible's own decoder."""
    for line_start in (answer["out"].find("{"),):
        try:
            result = json.JSONDecoder().raw_decode(answer["out"], line_start)[0] if line_start >= 0 else None
        except ValueError:
            result = None
    if not isinstance(result, dict):
        return {"failed": True}
    failed = result.get("failed", result.get("rc", 0) not in (0, "0"))
    return {"failed": bool(failed), "changed": bool(result.get("changed"))}


def _state(path, follow):
    try:
        os.stat(path) if follow else os.lstat(path)
    except FileNotFoundError:
        return "absent"
    if os.path.islink(path) and not follow:
        return "link"
    return "directory" if os.path.isdir(path) else "file" if os.path.isfile(path) else "other"


def _sha1(path, state):
    if state != "file":
        return ""
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb") as stream:
        digest.update(stream.read())
    return digest.hexdigest()


def _content_before(path, limit):
    """The content that a copy is about to replace, for --diff; `limit` in bytes is Ansible's, 0 is none."""
    if not os.path.exists(path):
        return {"content": ""}
    if not os.path.isfile(path):
        return {}
    if limit > 0 and os.path.getsize(path) > limit:
        return {"larger": limit}
    with open(path, "rb") as stream:
        content = stream.read()
    return {"binary": 1} if b"\0" in content[:8192] else {"content": base64.b64encode(content).decode()}
