# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The items with a part on the controller: `copy` and `template` are read or rendered here, the rest of their work is on the host."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import typing as t
from pathlib import Path

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.module_utils.parsing.convert_bool import boolean

from . import batch_core as core
from .batch_items import Item

COPY, FILE = "ansible.legacy.copy", "ansible.legacy.file"
LIMIT = 1024 * 1024  # bytes of one file in a batch: it travels with every run, also when the host has it


class Put(t.NamedTuple):
    """A file to be put on the host: what `copy` and `template` come to."""

    content: bytes
    source: str  # where it is from, for the header of a diff
    name: str  # its name, where the destination is a directory
    args: dict  # of the stock copy
    literal: bool  # the content was given as such, so the destination can't be a directory

    @property
    def sha1(self) -> str:
        """The checksum by which Ansible compares files."""
        return hashlib.sha1(self.content, usedforsecurity=False).hexdigest()


def is_put(item: Item) -> bool:
    return item.kind == "template" or (item.kind == "copy" and not boolean(item.args.get("remote_src", False), strict=False))


def read(action: t.Any, item: Item, task_vars: dict) -> Put:
    """The content of a `copy` or `template` item, and the arguments of the stock copy that lays it down."""
    put = _rendered(action, item, task_vars) if item.kind == "template" else _copied(action, item)
    if len(put.content) > LIMIT:
        raise AnsibleActionFail(
            f"its file has {len(put.content)} bytes; a batch carries {LIMIT} at most: make it a task of its own, or an artifact."
        )
    return put


def _copied(action: t.Any, item: Item) -> Put:
    args = item.args
    source, content, dest = args.get("src"), args.get("content"), args.get("dest")
    for internal in ("_original_basename", "_diff_peek", "raw"):
        if args.get(internal) is not None:
            raise AnsibleActionFail(f'Invalid parameter specified: "{internal}"')
    if not source and content is None:
        raise AnsibleActionFail("src (or content) is required")
    if not dest:
        raise AnsibleActionFail("dest is required")
    if source and content is not None:
        raise AnsibleActionFail("src and content are mutually exclusive")
    if content is not None:
        if dest.endswith("/"):
            raise AnsibleActionFail("can not use content with a dir as dest")
        text = json.dumps(content) if isinstance(content, (dict, list)) else content
        return Put(to_bytes(text), "", "content", dict(args), True)
    found = action._find_needle("files", source)
    if Path(found).is_dir():
        raise AnsibleActionFail(f"src {source} is a directory; a batch copies single files: make it a task of its own.")
    real = action._loader.get_real_file(found, decrypt=boolean(args.get("decrypt", True), strict=False))
    try:
        args = dict(args)
        if args.get("mode") == "preserve":
            args["mode"] = f"0{stat.S_IMODE(os.stat(real).st_mode):03o}"
        return Put(Path(real).read_bytes(), real, os.path.basename(found), args, False)
    finally:
        action._loader.cleanup_tmp_file(real)


class _Captured:
    """Stands where the stock template action looks for the copy action, and keeps what it would have been given."""

    def __init__(self) -> None:
        self.put: Put | None = None
        self.action_loader = self

    def get(self, _name: str, *, task: t.Any, **_others: t.Any) -> _Captured:
        self.task = task
        return self

    def run(self, task_vars: dict | None = None) -> dict:
        args = dict(self.task.args)
        source = args["src"]
        self.put = Put(Path(source).read_bytes(), source, os.path.basename(source), args, False)
        return {}


def _rendered(action: t.Any, item: Item, task_vars: dict) -> Put:
    """Let the stock template action render, so that every option of it means what it means there."""
    variables = item.variables if item.variables is not None else task_vars
    task = action._task.copy()
    task.args = dict(item.args)
    task.action = item.action
    stock = action._shared_loader_obj.action_loader.get(
        "ansible.builtin.template",
        task=task,
        connection=action._connection,
        play_context=action._play_context,
        loader=action._loader,
        templar=action._templar,
        shared_loader_obj=action._shared_loader_obj,
    )
    stock.TRANSFERS_FILES = False  # it would make a temporary directory on the host, that nothing needs
    captured = _Captured()
    stock._shared_loader_obj = captured
    stock.run(task_vars=dict(variables, ansible_search_path=list(variables.get("ansible_search_path", []))))
    if captured.put is None:
        raise AnsibleActionFail("core's template action did not hand over what it rendered.")
    return captured.put


def arguments(put: Put) -> tuple[dict, dict]:
    """Arguments of the stock `copy` module (content differs) and `file` module (only attributes may)."""
    copy, file = core.copy_arguments(put.args)
    copy.update(_original_basename=put.name, follow=boolean(put.args.get("follow", False), strict=False))
    if not copy.get("checksum"):
        copy["checksum"] = put.sha1
    file.update(_original_basename=put.name, recurse=False, state="file")
    file.pop("src", None)
    return copy, file


def as_copy(result: dict, put: Put, answer: dict) -> dict:
    """The result of a put as the stock copy action gives it: with the difference of the content, `dest` and `checksum`."""
    if "before" in answer:
        result = {"diff": [_diff(put, answer["before"])], **result}
    if not result.get("failed") and result.get("path") and "dest" not in result:
        result["dest"] = result["path"]
    if answer.get("kept") and not put.literal:
        result["src"] = put.source
    if answer.get("ran") and not result.get("checksum"):
        result["checksum"] = put.sha1
    return result


def _diff(put: Put, before: dict) -> dict:
    """The content's difference as the stock copy action shows it; `before` is what the host said of the old content."""
    shown: dict[str, t.Any] = {}
    limit = C.MAX_FILE_SIZE_FOR_DIFF
    if "content" in before:
        if before["content"]:
            shown["before_header"] = before["dest"]
        shown["before"] = to_text(base64.b64decode(before["content"]))
    elif "binary" in before:
        shown["dst_binary"] = 1
    elif "larger" in before:
        shown["dst_larger"] = before["larger"]
    if limit > 0 and len(put.content) > limit:
        shown["src_larger"] = limit
    elif b"\0" in put.content:
        shown["src_binary"] = 1
    else:
        shown["after_header"] = before["dest"] if put.literal else put.source
        shown["after"] = to_text(put.content)
    return shown
