# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the items' results to the result of the batch: what an operator sees."""

from __future__ import annotations

import typing as t

from ansible import constants as C

from . import batch_core as core
from .batch_items import Item

CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this item"
# An item's own keys beside those of its module; and those of a failed one that are the batch's or say the same again.
_SUMMARY = ("changed", "skipped", "skip_reason", "censored")
_NOT_OF_FAILURE = frozenset({"diff", "changed", "results", "exception", "failed"})
_HUMAN_CALLBACKS = frozenset({"default", "ansible.builtin.default"})


class Report:
    """Collects what the items of one batch came to."""

    def __init__(self, action: t.Any, items: list[Item], task_vars: dict) -> None:
        self.action = action
        self.items = items
        self.host = _label(action._task.delegate_to, str(task_vars.get("inventory_hostname", "")))
        self.results: dict[int, dict] = {}
        self.changed: set[int] = set()
        self.failure: dict | None = None
        self.facts: dict = {}
        self.diffs: list[dict] = []
        self.messages: dict[str, list] = {"warnings": [], "deprecations": []}
        for item in items:
            if item.skipped is not None:
                self._keep(item, item.skipped)

    def is_wanted(self, item: Item) -> bool:
        return item.when_changed is None or bool(self.changed.intersection(item.when_changed))

    def not_needed(self, item: Item) -> None:
        self._keep(item, {"changed": False, "skipped": True, "skip_reason": "Nothing that it waits for has changed"})

    def add(self, item: Item, result: dict) -> bool:
        """Take one item's result; false when it failed and the batch stops."""
        result = dict(result)
        result.setdefault("failed", result.get("rc", 0) not in (0, "0"))
        changed = result.get("changed") if item.changed_when is None or result["failed"] else item.changed_when
        result["changed"] = bool(changed)
        for kind, collected in self.messages.items():
            collected.extend(message for message in result.pop(kind, None) or [] if message not in collected)
        self.facts.update(result.pop("ansible_facts", None) or {})
        if result["changed"]:
            self._changed(item, result)
        if result["failed"]:
            self._failed(item, result)
        self._keep(item, result)
        return not result["failed"]

    def broken(self, item: Item, began: bool, result: dict) -> None:
        """The remote execution ended without an answer for this item."""
        why = result.get("msg")
        if began:
            result["msg"] = f"it began and gave no result, because the remote execution ended: {why}"
        elif self.results:
            result["msg"] = f"it did not begin, because the remote execution ended: {why}"
        self.add(item, dict(result, failed=True))

    def _changed(self, item: Item, result: dict) -> None:
        self.changed.add(item.number)
        if not item.no_log:
            self.diffs.extend(_under_name(result.get("diff"), item.name))
        if not self.action._task.no_log and C.DEFAULT_STDOUT_CALLBACK in _HUMAN_CALLBACKS:
            # As core shows the items of a loop; other callbacks may write for machines, and find the names in the result.
            self.action._display.display(f"changed: [{self.host}] => (item={item.name})", color=C.COLOR_CHANGED)

    def _failed(self, item: Item, result: dict) -> None:
        shown = {} if item.no_log else {key: value for key, value in result.items() if key not in _NOT_OF_FAILURE}
        message = "hidden due to its no_log" if item.no_log else core.message(result)
        self.failure = shown | {
            "failed": True,
            "failed_name": item.name,
            "failed_module": item.action,
            "failed_at": core.origin(item.task),
            "msg": f"{item.name} ({item.action}) on {self.host}: {message}",
        }

    def _keep(self, item: Item, result: dict) -> None:
        if item.no_log:
            result = {key: result[key] for key in ("changed", "failed", "skipped") if key in result} | {"censored": CENSORED}
        if self.action._display.verbosity < 3:  # as core shows the arguments of a module from -vvv on
            result = {key: value for key, value in result.items() if key != "invocation"}
        self.results[item.number] = {"name": item.name, "module": item.action, **result}

    def result(self) -> dict:
        """The result of the task."""
        names = [item.name for item in self.items if item.number in self.changed]
        results = [self.results[number] for number in sorted(self.results)]
        result: dict[str, t.Any] = {"changed": bool(names), "changed_names": names}
        if self.failure:
            # What failed is to be seen at once: of the others, only what they came to.
            last = max(number for number in self.results if self.results[number].get("failed"))
            results = [
                entry if entry.get("failed") else {key: entry[key] for key in ("name", "module", *_SUMMARY) if key in entry}
                for number, entry in sorted(self.results.items())
                if number <= last
            ]
            result |= self.failure
        else:
            result["msg"] = f"{len(names)} of {len(self.items)} items changed" + (f": {'; '.join(names)}" if names else "")
        result["results"] = results
        if self.diffs:
            result["diff"] = self.diffs
        if self.facts:
            result["ansible_facts"] = self.facts
        result |= {kind: messages for kind, messages in self.messages.items() if messages}
        if self.items and all(entry.get("skipped") for entry in results):
            result["skipped"] = True
        self._notify()
        return result

    def _notify(self) -> None:
        """Have the handlers of the items that changed notified, as if the task had named them."""
        task = self.action._task
        wanted = dict.fromkeys(handler for item in self.items if item.number in self.changed for handler in item.notify)
        if wanted:
            task.notify = [*(task.notify or []), *(handler for handler in wanted if handler not in (task.notify or []))]


def _label(delegate: str | None, host: str) -> str:
    return f"{host} -> {delegate}" if delegate and delegate != host else host


def _under_name(diff: t.Any, name: str) -> list[dict]:
    """An item's differences, each under the item's name where it has no header of its own."""
    return [{"before_header": name, "after_header": name, **one} for one in (diff if isinstance(diff, list) else [diff]) if one]
