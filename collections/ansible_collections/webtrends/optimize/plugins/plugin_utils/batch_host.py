# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The conversation with the host: what a batch asks of it, and what it answers."""

from __future__ import annotations

import json
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean

from . import batch_core as core
from . import batch_files as files
from . import batch_packages as packages
from .batch_items import Item

if t.TYPE_CHECKING:
    from .batch_results import Report

MARK = "optimize-batch "


class Execution:
    """One remote execution of the items that are to run; raises `core.Unknown`, before anything ran, where it can't be."""

    def __init__(self, action: t.Any, todo: list[Item], puts: dict[int, files.Put], task_vars: dict) -> None:
        core.may_pipeline(action)
        self.action = action
        self.todo = todo
        self.puts = puts
        self.task_vars = task_vars
        self.host = core.host(action, task_vars)
        self.library = core.describe(action, self._modules(), task_vars)
        self.decoder = core.Decoder(action, self.host.built)
        self.common = core.parameters(action, task_vars)
        self.blob = bytearray()

    def run(self, report: Report) -> None:
        """Run them, and tell `report` what each came to."""
        with core.unlogged(self.action, any(item.no_log for item in self.todo)):
            lines, output = self._converse()
        self._read(lines, output, report)

    def _converse(self) -> tuple[list[dict], dict]:
        header = {
            "id": self.library.identity,
            "remote_tmp": self.common["_ansible_remote_tmp"],
            "rlimit_nofile": self.host.rlimit_nofile,
            "items": [self._order(item) for item in self.todo],
        }
        output = core.execute(self.action, self.host, header, bytes(self.blob))
        lines = _lines(output["stdout"])
        if lines and "need" in lines[0]:
            self.action._display.vvv(f"batch: {self.task_vars.get('inventory_hostname')} gets library {self.library.identity[:12]}")
            _library, content = core.assemble(self.action, self.library.modules, self.task_vars)
            output = core.execute(self.action, self.host, header, bytes(self.blob), core.archive(content, set(lines[0]["have"])))
            lines = _lines(output["stdout"])
        return lines, output

    def _modules(self) -> dict[str, str]:
        """The distinct modules that must be on the host, and the files they are made of."""
        modules = {item.module: item.path for item in self.todo if item.number not in self.puts}
        if self.puts:
            for name in (files.COPY, files.FILE):
                modules[name] = self.action._shared_loader_obj.module_loader.find_plugin_with_context(name).plugin_resolved_path
        return modules

    def _order(self, item: Item) -> dict:
        order: dict[str, t.Any] = {"number": item.number}
        if item.when_changed is not None:
            order["when_changed"] = item.when_changed
        if item.changed_when is not None:
            order["changed_when"] = item.changed_when
        if put := self.puts.get(item.number):
            order["put"] = self._put(item, put)
            return order
        args = dict(item.args, _uses_shell=True) if item.kind == "shell" else item.args
        order["module"], order["params"] = self._call(item, item.module, args)
        if item.kind == "unarchive":  # what its action asks before the module runs
            order["unless_exists"] = item.args.get("creates")
            order["needs_directory"] = item.args.get("dest")
        if item.is_core and item.module.endswith(".apt") and self.action._display.verbosity < 3:  # from -vvv on, see the module's arguments
            order["packages"] = packages.wanted(item.args)
        return order

    def _call(self, item: Item, name: str, args: dict) -> tuple[dict, str]:
        module = self.library.modules[name]
        return module._asdict(), core.encode(self.common, name, args, item.no_log, module.profile)

    def _put(self, item: Item, put: files.Put) -> dict:
        start = len(self.blob)
        self.blob += put.content
        order = {
            "dest": put.args["dest"],
            "name": put.name,
            "literal": put.literal,
            "check": bool(self.action._task.check_mode),
            "follow": boolean(put.args.get("follow", False), strict=False),
            "force": boolean(put.args.get("force", True), strict=False),
            "sha1": put.sha1,
            "diff": max(C.MAX_FILE_SIZE_FOR_DIFF, 0) if self.action._task.diff and not item.no_log else None,
            "start": start,
            "end": len(self.blob),
        }
        copy, file = files.arguments(put)
        order["copy"], order["copy_params"] = self._call(item, files.COPY, copy)
        order["file"], order["file_params"] = self._call(item, files.FILE, file)
        return order

    def _read(self, lines: list[dict], output: dict, report: Report) -> None:
        if lines and "refused" in lines[0]:
            raise AnsibleActionFail(
                f"the directory {lines[0]['refused']} can't hold the library of a batch: found {lines[0]['found']}, expected "
                f"{lines[0]['expected']}; look who made it so, then mend or remove it."
            )
        if lines and "no_library" in lines[0]:
            raise core.Unknown(f"the host can't keep its library ({lines[0]['no_library']})")
        answers = {line["item"]: line for line in lines if "item" in line}
        begun = {line["start"] for line in lines if "start" in line}
        for item in self.todo:
            answer = answers.get(item.number)
            if answer is None:
                # Our own lines say nothing of why there is none for this item, and may hold what others keep secret.
                said = "\n".join(line for line in output["stdout"].splitlines() if not line.startswith(MARK))
                broken = {"out": said, "err": output["stderr"], "rc": output["rc"]}
                report.broken(item, item.number in begun, self.decoder.decode(item.module, broken, "legacy", self.task_vars))
                return
            if answer.get("not_needed"):
                report.not_needed(item)
            elif not report.add(item, self._result(item, answer)):
                return

    def _result(self, item: Item, answer: dict) -> dict:
        put = self.puts.get(item.number)
        name = files.COPY if put else item.module
        result = self.decoder.decode(name, answer, self.library.modules[name].profile, self.task_vars)
        if "signal" in answer:
            result.update(failed=True, msg=f"The module was killed by signal {answer['signal']}.")
        return files.as_copy(result, put, answer) if put else result


def _lines(output: str) -> list[dict]:
    """The host's messages; a line that was cut short is none."""
    lines = []
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                lines.append(json.loads(line[len(MARK) :]))
            except ValueError:
                break
    return lines
