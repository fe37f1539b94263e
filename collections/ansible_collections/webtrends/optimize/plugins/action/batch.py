# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many stock modules in one remote execution; docs/batch.md says how and why."""
from __future__ import annotations

import hashlib
import json
import os
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleTemplateError
from ansible.plugins.action import ActionBase
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_core as core
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_files as files
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_results as results
from ansible_collections.webtrends.optimize.plugins.plugin_utils.batch_items import Item, Reader

MARK = "optimize-batch "
METHODS = ("auto", "one_execution", "one_by_one")


class ActionModule(ActionBase):
    _VALID_ARGS = frozenset({"tasks", "method"})

    @classmethod
    def finalize_task_arg(cls, name: str, value: t.Any, templar: t.Any, context: t.Any) -> t.Any:
        """Leave the items' templates alone: each is rendered when its condition holds, with its loop's variables."""
        if name != "tasks":
            return super().finalize_task_arg(name, value, templar, context)
        if isinstance(value, str):
            try:
                return templar.resolve_to_container(value)
            except AnsibleTemplateError:
                return templar.template(value)  # tells what is wrong with it
        return value

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        method = self._task.args.get("method") or os.environ.get("OPTIMIZE_BATCH_METHOD") or "auto"
        if method not in METHODS:
            raise AnsibleActionFail(f"method (or OPTIMIZE_BATCH_METHOD) of a batch is {method!r}; expected one of {', '.join(METHODS)}.")
        if "tasks" not in self._task.args:
            raise AnsibleActionFail("a batch needs `tasks`, a list of tasks.")
        items = Reader(self, task_vars).read(self._task.args["tasks"])
        report = results.Report(self, items)
        if any(item.skipped is None for item in items):
            self._run_items(items, report, task_vars, method)
        else:
            report.skip_rest()
        result.update(report.result())
        return result

    def _run_items(self, items: list[Item], report: results.Report, task_vars: dict, method: str) -> None:
        if method != "one_by_one":
            try:
                core.may_pipeline(self)
                self._one_execution(items, report, task_vars)
                return
            except core.Unknown as reason:
                if method == "one_execution":
                    raise AnsibleActionFail(f"this batch can't be one remote execution: {reason}.") from reason
                self._display.v(f"batch: items run one by one, because {reason}.", host=task_vars.get("inventory_hostname"))
        self._one_by_one(items, report, task_vars)

    def _one_by_one(self, items: list[Item], report: results.Report, task_vars: dict) -> None:
        """Each item as the task that it is, through the actions of core."""
        for item in items:
            if item.skipped is not None or not report.is_wanted(item):
                report.skip(item)
                continue
            task = self._task.copy()
            task.args = dict(item.args)
            task.action = item.action
            task.no_log = bool(task.no_log or item.no_log)
            name = item.action if item.kind else "ansible.legacy.normal"
            plugin = self._shared_loader_obj.action_loader.get(
                name, task=task, connection=self._connection, play_context=self._play_context, loader=self._loader, templar=self._templar,
                shared_loader_obj=self._shared_loader_obj)
            try:
                answer = plugin.run(task_vars=dict(item.variables or task_vars))
            finally:
                plugin.cleanup()
            if not report.add(item, answer):
                return

    def _one_execution(self, items: list[Item], report: results.Report, task_vars: dict) -> None:
        puts = {item.number: files.read(self, item, task_vars) for item in items if item.skipped is None and files.is_put(item)}
        host = core.host(self, task_vars)
        library = core.describe(self, self._modules(items, puts), task_vars)
        common = core.parameters(self, task_vars)
        blob = bytearray()
        orders = [self._order(item, puts.get(item.number), library, common, blob) for item in items if item.skipped is None]
        header = {"id": library.identity, "remote_tmp": common["_ansible_remote_tmp"], "rlimit_nofile": host.rlimit_nofile, "items": orders}
        output = core.execute(self, host, header, bytes(blob))
        lines = _lines(output["stdout"])
        if lines and "need" in lines[0]:
            _library, content = core.assemble(self, library.modules, task_vars)
            self._display.vvv(f"batch: sending library {library.identity[:12]} to the host")
            output = core.execute(self, host, header, bytes(blob), core.archive(content, set(lines[0]["have"])))
            lines = _lines(output["stdout"])
        self._read(items, puts, library, core.Decoder(self, host.built), lines, output, report, task_vars)

    def _modules(self, items: list[Item], puts: dict) -> dict[str, str]:
        """The distinct modules that must be on the host, and the files they are made of."""
        modules = {item.module: item.path for item in items if item.skipped is None and item.number not in puts}
        if puts:
            for name in ("ansible.legacy.copy", "ansible.legacy.file"):
                modules[name] = self._shared_loader_obj.module_loader.find_plugin_with_context(name).plugin_resolved_path
        return modules

    def _order(self, item: Item, put: files.Put | None, library: core.Library, common: dict, blob: bytearray) -> dict:
        order: dict[str, t.Any] = {"number": item.number}
        if item.when_changed is not None:
            order["when_changed"] = item.when_changed
        if item.changed_when is not None:
            order["changed_when"] = item.changed_when
        if put is None:
            args = dict(item.args, _uses_shell=True) if item.kind == "shell" else item.args
            module = library.modules[item.module]
            order["module"] = module._asdict()
            order["params"] = core.encode(common, item.module, args, item.no_log, module.profile)
            return order
        order["put"] = spec = {
            "dest": put.args["dest"], "name": put.name, "content": put.literal, "check": bool(self._task.check_mode),
            "follow": bool(put.args.get("follow", False)), "force": bool(put.args.get("force", True)),
            "sha1": hashlib.sha1(put.content, usedforsecurity=False).hexdigest(),
            "diff": max(C.MAX_FILE_SIZE_FOR_DIFF, 0) if self._task.diff else None, "start": len(blob), "end": len(blob) + len(put.content)}
        blob += put.content
        for name, args in zip(("copy", "file"), files.arguments(put), strict=True):
            module = library.modules[f"ansible.legacy.{name}"]
            spec[name] = module._asdict()
            spec[f"{name}_params"] = core.encode(common, f"ansible.legacy.{name}", args, item.no_log, module.profile)
        return order

    def _read(self, items: list[Item], puts: dict, library: core.Library, decoder: core.Decoder, lines: list[dict], output: dict,
              report: results.Report, task_vars: dict) -> None:
        if lines and "refused" in lines[0]:
            raise AnsibleActionFail(
                f"the directory {lines[0]['refused']} can't hold the library: found {lines[0]['found']}, expected {lines[0]['expected']}; "
                "look who made it so, then mend or remove it.")
        if lines and "no_library" in lines[0]:
            raise core.Unknown(f"the host can't keep the library ({lines[0]['no_library']})")
        answers = {line["item"]: line for line in lines if "item" in line}
        begun = [line["start"] for line in lines if "start" in line]
        for item in items:
            if item.skipped is not None:
                report.skip(item)
                continue
            answer = answers.get(item.number)
            if answer is None:
                where = item.name if item.number in begun else None
                answer = {"out": output["stdout"], "err": output["stderr"], "rc": output["rc"]}
                failed = decoder.decode(item.module, answer, "legacy", task_vars)
                report.broken(item, where, failed)
                return
            if answer.get("not_needed"):
                report.skip(item)
                continue
            put = puts.get(item.number)
            module = "ansible.legacy.copy" if put else item.module
            result = decoder.decode(module, answer, library.modules[module].profile, task_vars)
            if put:
                result = _as_copy(result, put, answer)
            if "signal" in answer:
                result["msg"] = f"The module was killed by signal {answer['signal']}."
            if not report.add(item, result):
                return


def _as_copy(result: dict, put: files.Put, answer: dict) -> dict:
    """The keys that the stock copy action adds to what its modules return."""
    if "before" in answer:
        result = {"diff": [files.diff(put, answer["before"])], **result}
    if not result.get("failed") and result.get("path") and "dest" not in result:
        result["dest"] = result["path"]
    if "invocation" in result:
        result.setdefault("checksum", hashlib.sha1(put.content, usedforsecurity=False).hexdigest())
    return result


def _lines(output: str) -> list[dict]:
    return [json.loads(line[len(MARK):]) for line in output.splitlines() if line.startswith(MARK)]
