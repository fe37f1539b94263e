# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many stock modules in one remote execution; docs/batch.md says how and why."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleActionSkip, AnsibleConnectionFailure, AnsibleError, AnsibleTemplateError
from ansible.plugins.action import ActionBase
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_core as core
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_files as files
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_host as on_host
from ansible_collections.webtrends.optimize.plugins.plugin_utils.batch_items import Item, Reader, failing
from ansible_collections.webtrends.optimize.plugins.plugin_utils.batch_results import Report

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
        report = Report(self, items, task_vars)
        todo = [item for item in items if item.skipped is None]
        puts = self._read_files(todo, task_vars)
        if todo:
            self._run_items(todo, puts, report, task_vars, method)
        result.update(report.result())
        return result

    def _read_files(self, todo: list[Item], task_vars: dict) -> dict[int, files.Put]:
        """Read and render before anything runs, whichever way that will be: a template that is wrong stops a batch at once."""
        puts = {}
        for item in todo:
            with failing(item.where, item.no_log, item.task):
                if files.is_put(item):
                    puts[item.number] = files.read(self, item, task_vars)
        return puts

    def _run_items(self, todo: list[Item], puts: dict, report: Report, task_vars: dict, method: str) -> None:
        if method != "one_by_one":
            try:
                on_host.Execution(self, todo, puts, task_vars).run(report)
                return
            except core.Unknown as reason:
                if method == "one_execution":
                    raise AnsibleActionFail(f"this batch can't be one remote execution: {reason}.") from reason
                self._display.warning(f"The items of a batch run one by one, which is slow, because {reason}.")
        self._one_by_one(todo, report, task_vars)

    def _one_by_one(self, todo: list[Item], report: Report, task_vars: dict) -> None:
        """Each item as the task that it is, through the actions of core."""
        for item in todo:
            if not report.is_wanted(item):
                report.not_needed(item)
            elif not report.add(item, self._as_task(item, task_vars)):
                return

    def _as_task(self, item: Item, task_vars: dict) -> dict:
        task = self._task.copy()
        task.args = dict(item.args)
        task.action = item.action
        task.no_log = bool(task.no_log or item.no_log)
        name = item.action if item.kind else "ansible.legacy.normal"
        plugin = self._shared_loader_obj.action_loader.get(
            name,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        try:
            with core.unlogged(self, item.no_log):
                return plugin.run(task_vars=dict(item.variables or task_vars))
        except AnsibleConnectionFailure:
            raise
        except AnsibleActionSkip as skip:
            return {"changed": False, "skipped": True, "msg": skip.message}
        except AnsibleError as error:
            return {**(getattr(error, "result", None) or {}), "failed": True, "msg": error.message}
        finally:
            plugin.cleanup()
