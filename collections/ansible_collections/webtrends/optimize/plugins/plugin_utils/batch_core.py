# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that the batch knows of ansible-core's insides (2.19 to 2.21).

Where something does not look as known, `Unknown` is raised and the items are run one by one through public ways: slower,
with the same results. So a core that changes costs speed, never a run.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import typing as t
import zipfile
from pathlib import Path

from ansible import constants as C
from ansible.plugins.action import ActionBase

from . import batch_cache

PROGRAM = "optimize_batch_remote.py"


class Unknown(Exception):
    """Something of ansible-core, or of the connection, does not allow one remote execution; the text says what."""


class Module(t.NamedTuple):
    """A module as core packed it: what its loader on the host has to be told."""

    fqn: str
    profile: str


class Library(t.NamedTuple):
    """The files that a set of modules needs on a host, named by their content."""

    identity: str
    modules: dict[str, Module]


class Host(t.NamedTuple):
    """What packing a module says about the host rather than about the module."""

    built: t.Any
    rlimit_nofile: int


_HERE = Path(__file__).parent
_CALL = b"    _ansiballz_main(\n"
_NEEDED = {"zip_data", "module_fqn", "profile", "extensions"}
# A file without imports: core resolves the host's interpreter for it, and packs nothing.
_PROBE = "webtrends.optimize.batch"


def host(action: ActionBase, task_vars: dict) -> Host:
    """The host's interpreter (discovered, where it is to be) and limits, as core settles them for any module."""
    built, _path = action._configure_module(module_name=_PROBE, module_args={}, task_vars=task_vars)
    fields = {field.name for field in dataclasses.fields(built)} if dataclasses.is_dataclass(built) else set()
    if missing := {"module_style", "shebang", "serialization_profile"} - fields:
        raise Unknown(f"what core packs lacks {', '.join(sorted(missing))}")
    if not built.shebang:
        raise Unknown("core names no interpreter for this host")
    limit = C.config.get_config_value("PYTHON_MODULE_RLIMIT_NOFILE", variables=task_vars)
    return Host(dataclasses.replace(built, module_style="new"), int(action._templar.template(limit)))


def pack(action: ActionBase, name: str, task_vars: dict) -> dict:
    """Let core pack one module; returns the arguments of its wrapper's call."""
    built, _path = action._configure_module(module_name=name, module_args={}, task_vars=task_vars)
    _head, found, call = built.b_module_data.rpartition(_CALL)
    if built.module_style != "new" or not found:
        raise Unknown(f"{name} is no Python module of the present kind")
    arguments = {}
    for line in call.decode().splitlines():
        key, equals, value = line.partition("=")
        if equals and key in _NEEDED:
            arguments[key] = ast.literal_eval(value.rstrip(","))
    if missing := _NEEDED - set(arguments):
        raise Unknown(f"core's module wrapper lacks {', '.join(sorted(missing))}")
    if arguments["extensions"]:
        raise Unknown("a debugger or coverage is to be attached to modules")
    return arguments


def describe(action: ActionBase, modules: dict[str, str], task_vars: dict) -> Library:
    """The library for `modules` (name -> path of its file), from the cache while the files that it was made from are the same."""
    cached = batch_cache.Entry(modules, action._task.collections)
    if known := cached.load():
        return Library(known["identity"], {name: Module(*module) for name, module in known["modules"].items()})
    library, files = assemble(action, modules, task_vars)
    cached.save(library._asdict(), files)
    return library


def assemble(action: ActionBase, modules: t.Iterable[str], task_vars: dict) -> tuple[Library, dict[str, bytes]]:
    """Merge what core packed for each module; returns the library and its files, MANIFEST included."""
    files = {PROGRAM: (_HERE / "batch_remote.py").read_bytes()}
    known = {}
    for name in modules:
        arguments = pack(action, name, task_vars)
        known[name] = Module(arguments["module_fqn"], arguments["profile"])
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(arguments["zip_data"]))) as archive:
            for path in archive.namelist():
                content = archive.read(path)
                if files.setdefault(path, content) != content:
                    raise Unknown(f"two modules bring different files as {path}")
    manifest = "".join(f"{hashlib.sha256(content).hexdigest()} {path}\n" for path, content in sorted(files.items())).encode()
    files["MANIFEST"] = manifest
    return Library(hashlib.sha256(manifest).hexdigest(), known), files


def archive(files: dict[str, bytes], have: set[str]) -> bytes:
    """The library as a zip, without the files whose digest the host has."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as target:
        for path, content in sorted(files.items()):
            if hashlib.sha256(content).hexdigest() not in have:
                target.writestr(path, content)
    return output.getvalue()


def parameters(action: ActionBase, task_vars: dict) -> dict:
    """What core adds to the arguments of every module: check mode, diff, verbosity, remote_tmp ..."""
    common: dict = {}
    action._update_module_args("", common, task_vars)
    return common


def encode(common: dict, name: str, args: dict, no_log: bool, profile: str) -> str:
    """A module's parameters as its side decodes them."""
    try:
        from ansible.module_utils.common.json import Direction, get_module_encoder
    except ImportError as error:
        raise Unknown(f"core encodes parameters in a way that is not known here: {error}") from error
    full = dict(args, **common)
    full["_ansible_module_name"] = name
    full["_ansible_no_log"] = bool(no_log or common["_ansible_no_log"])
    return json.dumps({"ANSIBLE_MODULE_ARGS": full}, cls=get_module_encoder(profile, Direction.CONTROLLER_TO_MODULE))


class Decoder(ActionBase):
    """Core's own handling of what a module printed: an action whose modules have run already."""

    def __init__(self, action: t.Any, built: t.Any) -> None:
        super().__init__(
            task=action._task,
            connection=action._connection,
            play_context=action._play_context,
            loader=action._loader,
            templar=action._templar,
            shared_loader_obj=action._shared_loader_obj,
        )
        self._built = built
        self._profile = ""
        self._answer: dict = {}

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> dict:
        raise NotImplementedError

    def decode(self, name: str, answer: dict, profile: str, task_vars: dict) -> dict:
        """An answer of the host (`out`, `err`, `rc`) as `_execute_module` returns it."""
        self._answer = {"stdout": answer["out"], "stderr": answer["err"], "rc": answer["rc"]}
        self._profile = profile
        return self._execute_module(module_name=name, module_args={}, task_vars=task_vars)

    def _configure_module(self, module_name: str, module_args: dict, task_vars: dict) -> tuple:
        return dataclasses.replace(self._built, serialization_profile=self._profile), "-"

    def _low_level_execute_command(self, *_args: t.Any, **_kwargs: t.Any) -> dict:
        return self._answer


def copy_arguments(args: dict) -> tuple[dict, dict]:
    """Those of a copy's arguments that its action hands to the modules `copy` and `file`."""
    try:
        from ansible.plugins.action.copy import _create_remote_copy_args, _create_remote_file_args
    except ImportError as error:
        raise Unknown(f"core's copy action is not as known: {error}") from error
    return _create_remote_copy_args(args), _create_remote_file_args(args)


def with_defaults(action: ActionBase, resolved: str, args: dict) -> dict:
    """A module's arguments over its `module_defaults`."""
    if not action._task.module_defaults:
        return args
    from ansible.executor.module_common import _apply_action_arg_defaults

    return _apply_action_arg_defaults(resolved, action._task, args, action._templar)


def message(result: dict) -> str:
    """What a failed result says; a module that ended by an exception has its message there only."""
    event = getattr(result.get("exception"), "event", None)
    return str(result.get("msg") or getattr(event, "msg", None) or "it gave no message")


def origin(value: t.Any) -> str:
    """Where in which file a value stands, if core kept it."""
    try:
        from ansible._internal._datatag._tags import Origin

        tag = Origin.get_tag(value)
        return f"{tag.path}:{tag.line_num}" if tag and tag.path else ""
    except (ImportError, AttributeError):
        return ""


def may_pipeline(action: ActionBase) -> None:
    """One remote execution means standard input: refuse where the connection or a setting rules that out."""
    if not action._is_pipelining_enabled("new"):
        raise Unknown("the connection has no pipelining, or it is switched off (also by ANSIBLE_KEEP_REMOTE_FILES)")


@contextlib.contextmanager
def unlogged(action: ActionBase, secret: bool) -> t.Iterator[None]:
    """Connections show what a host answered from -vvv on, and in some errors, unless the play's context says no_log."""
    contexts = [action._play_context, getattr(action._connection, "_play_context", action._play_context)]
    before = [context.no_log for context in contexts]
    try:
        for context in contexts:
            context.no_log = context.no_log or secret
        yield
    finally:
        for context, value in zip(contexts, before, strict=True):
            context.no_log = value


def execute(action: ActionBase, host: Host, header: dict, blob: bytes, library: bytes = b"") -> dict:
    """One remote execution of the host's interpreter, with the program and all it needs on standard input."""
    environment = action._compute_environment_string()
    command = action._connection._shell.build_module_command(environment, host.built.shebang, "").strip()
    boot = (_HERE / "batch_boot.py").read_bytes()
    start = '"import sys; s = sys.stdin.buffer; exec(s.read(int(s.readline())))"'
    if library:
        header = dict(header, installer=(_HERE / "batch_install.py").read_text(), library=len(library))
    data = b"%d\n" % len(boot) + boot + json.dumps(dict(header, blob=len(blob))).encode() + b"\n" + blob + library
    return action._low_level_execute_command(f"{command} -c {start}", in_data=data)
