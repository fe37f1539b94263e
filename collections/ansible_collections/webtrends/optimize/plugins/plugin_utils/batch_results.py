# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the items' results to the result of the batch: what an operator sees."""
from __future__ import annotations

import typing as t

from .batch_items import Item

CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this item"


class Report:
    """Collects what the items of one batch came to."""

    def __init__(self, action: t.Any, items: list[Item]) -> None:
        self.action = action
        self.items = items
        self.results: list[dict] = []
        self.changed: set[int] = set()
        self.failure: dict | None = None
        self.facts: dict = {}
        self.diffs: list[dict] = []
        self.messages: dict[str, list] = {"warnings": [], "deprecations": []}

    def is_wanted(self, item: Item) -> bool:
        return item.when_changed is None or bool(self.changed.intersection(item.when_changed))

    def skip(self, item: Item) -> None:
        skipped = item.skipped or {"changed": False, "skipped": True, "skip_reason": "Nothing that it waits for has changed"}
        self._keep(item, skipped)

    def skip_rest(self) -> None:
        for item in self.items:
            self.skip(item)

    def add(self, item: Item, result: dict) -> bool:
        """Take one item's result; false when it failed and the batch stops."""
        result = dict(result)
        if "failed" not in result:
            result["failed"] = result.get("rc", 0) not in (0, "0")
        result["changed"] = bool(result.get("changed")) if item.changed_when is None else item.changed_when
        if item.changed_when is not None and result["failed"]:
            result["changed"] = False
        for kind, collected in self.messages.items():
            collected.extend(result.pop(kind, None) or [])
        self.facts.update(result.pop("ansible_facts", None) or {})
        if result["changed"]:
            self.changed.add(item.number)
            if not item.no_log:
                self.diffs.extend(_named(result.get("diff"), item.name))
        if result["failed"]:
            self.failure = self._failure(item, result)
        self._keep(item, result)
        return not result["failed"]

    def broken(self, item: Item, began: str | None, result: dict) -> None:
        """The remote execution ended without an answer for this item."""
        if began is None:
            result["msg"] = f"nothing ran: {result.get('msg')}" if not self.results else f"it did not begin: {result.get('msg')}"
        else:
            result["msg"] = f"it began and gave no result: {result.get('msg')}"
        self.add(item, dict(result, failed=True))

    def _failure(self, item: Item, result: dict) -> dict:
        host = self.action._task.delegate_to or self.action._templar.available_variables.get("inventory_hostname", "")
        message = "hidden due to no_log" if item.no_log else result.get("msg", "no message")
        failure = {} if item.no_log else {key: value for key, value in result.items() if key not in ("diff", "changed", "results")}
        failure.update(
            failed=True, failed_name=item.name, failed_module=item.action, msg=f"{item.name} ({item.action}) on {host}: {message}")
        return failure

    def _keep(self, item: Item, result: dict) -> None:
        if item.no_log:
            result = {key: result[key] for key in ("changed", "failed", "skipped") if key in result} | {"censored": CENSORED}
        self.results.append({"name": item.name, "module": item.action, **result})

    def result(self) -> dict:
        names = [item.name for item in self.items if item.number in self.changed]
        result: dict[str, t.Any] = dict(self.failure or {})
        result.setdefault("msg", f"{len(names)} of {len(self.items)} items changed" + (f": {'; '.join(names)}" if names else ""))
        result.update(results=self.results, changed=bool(names), changed_names=names)
        if self.diffs:
            result["diff"] = self.diffs
        if self.facts:
            result["ansible_facts"] = self.facts
        result.update({kind: messages for kind, messages in self.messages.items() if messages})
        if self.results and all(entry.get("skipped") for entry in self.results):
            result["skipped"] = True
        if notify := self.notifications():
            self.action._task.notify = [*(self.action._task.notify or []), *notify]
        return result

    def notifications(self) -> list[str]:
        wanted = [handler for item in self.items if item.number in self.changed for handler in item.notify]
        return list(dict.fromkeys(wanted))


def _named(diff: t.Any, name: str) -> list[dict]:
    """An item's differences, each under the item's name where it has no header of its own."""
    named = []
    for one in diff if isinstance(diff, list) else [diff]:
        if one:
            named.append({"before_header": name, "after_header": name, **one})
    return named
