# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs its items one by one (the slow way; the batched one follows)."""

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        results = []
        for item in self._task.args["tasks"]:
            item = dict(item)
            name = item.pop("name")
            when = item.pop("when", True)
            item.pop("no_log", None)
            ((action, args),) = item.items()
            if not when:
                results.append({"name": name, "changed": False, "skipped": True})
                continue
            task = self._task.copy()
            task.args = dict(args)
            task.action = action
            plugin = self._shared_loader_obj.action_loader.get(
                action if self._shared_loader_obj.action_loader.has_plugin(action) else "ansible.builtin.normal",
                task=task, connection=self._connection, play_context=self._play_context,
                loader=self._loader, templar=self._templar, shared_loader_obj=self._shared_loader_obj,
            )
            one = plugin.run(task_vars=task_vars)
            one["name"] = name
            results.append(one)
            if one.get("failed"):
                result.update(failed=True, msg=f"{name}: {one.get('msg')}")
                break
        result["results"] = results
        result["changed"] = any(r.get("changed") for r in results)
        result["changed_names"] = [r["name"] for r in results if r.get("changed")]
        return result
