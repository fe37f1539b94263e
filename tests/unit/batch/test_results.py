"""What an operator sees of a batch: names, failures, differences, handlers, and nothing of what is secret."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils.batch_items import Item
from ansible_collections.webtrends.optimize.plugins.plugin_utils.batch_results import Report

SECRET = "hunter2"


def item(number: int, **more: Any) -> Item:
    return Item({}, f"Item {number}", number, f"Item {number}", "ansible.builtin.copy", "ansible.builtin.copy", "/copy.py", {}, **more)


def report(action: Any, *items: Item) -> Report:
    return Report(action, list(items), {"inventory_hostname": "euw-kafka-1"})


def test_it_sums_up(action: Any) -> None:
    made = report(action, item(0), item(1))
    assert made.add(made.items[0], {"changed": True, "dest": "/x"}) and made.add(made.items[1], {"changed": False})
    result = made.result()
    assert (result["changed"], result["changed_names"], result["msg"]) == (True, ["Item 0"], "1 of 2 items changed: Item 0")
    assert result["results"][0] == {"name": "Item 0", "module": "ansible.builtin.copy", "changed": True, "failed": False, "dest": "/x"}
    assert action._display.shown == ["changed: [euw-kafka-1] => (item=Item 0)"]


def test_a_failure_names_item_module_and_host(action: Any) -> None:
    made = report(action, item(0), item(1), item(2))
    made.add(made.items[0], {"changed": True, "diff": {"before": "a", "after": "b"}, "stdout": "much"})
    assert not made.add(made.items[1], {"failed": True, "msg": "no space", "rc": 7, "stderr": "words"})
    result = made.result()
    assert result["msg"] == "Item 1 (ansible.builtin.copy) on euw-kafka-1: no space"
    assert (result["failed"], result["changed"], result["failed_name"], result["rc"], result["stderr"]) == (
        True,
        True,
        "Item 1",
        7,
        "words",
    )
    assert [entry["name"] for entry in result["results"]] == ["Item 0", "Item 1"]
    assert "stdout" not in result["results"][0]


def test_an_exception_is_the_message(action: Any) -> None:
    made = report(action, item(0))
    made.add(made.items[0], {"failed": True, "exception": SimpleNamespace(event=SimpleNamespace(msg="it broke"))})
    assert made.result()["msg"].endswith(": it broke")


def test_a_return_code_fails_as_in_a_task(action: Any) -> None:
    made = report(action, item(0))
    assert not made.add(made.items[0], {"rc": 1})


def test_a_delegated_failure_names_both_hosts(action: Any) -> None:
    action._task.delegate_to = "core-zookeeper-1"
    made = report(action, item(0))
    made.add(made.items[0], {"failed": True, "msg": "m"})
    assert "on euw-kafka-1 -> core-zookeeper-1: m" in made.result()["msg"]


@pytest.mark.parametrize("failed", [True, False])
def test_a_secret_item_shows_that_it_changed_and_nothing_else(action: Any, failed: bool) -> None:
    action._display.verbosity = 3
    made = report(action, item(0, no_log=True))
    made.add(
        made.items[0],
        {"changed": True, "failed": failed, "msg": SECRET, "stdout": SECRET, "invocation": {"x": SECRET}, "diff": {"after": SECRET}},
    )
    result = made.result()
    assert SECRET not in str(result) + str(action._display.shown)
    assert result["changed_names"] == ["Item 0"] and "censored" in result["results"][0]
    if failed:
        assert result["msg"].endswith("hidden due to its no_log")


def test_a_secret_task_shows_no_items(action: Any) -> None:
    action._task.no_log = True
    made = report(action, item(0))
    made.add(made.items[0], {"changed": True})
    assert action._display.shown == []


def test_differences_are_under_their_names_and_of_changes_only(action: Any) -> None:
    made = report(action, item(0), item(1))
    made.add(
        made.items[0], {"changed": True, "diff": [{"before": "a", "after": "b"}, {}, {"before_header": "/x", "before": "c", "after": "d"}]}
    )
    made.add(made.items[1], {"changed": False, "diff": {"before": "a", "after": "b"}})
    assert [one["before_header"] for one in made.result()["diff"]] == ["Item 0", "/x"]


def test_handlers_of_what_changed_are_notified_once(action: Any) -> None:
    action._task.notify = ["Reload a"]
    made = report(action, item(0, notify=["Reload a", "Reload b"]), item(1, notify=["Reload c"]))
    made.add(made.items[0], {"changed": True})
    made.add(made.items[1], {"changed": False})
    made.result()
    assert action._task.notify == ["Reload a", "Reload b"]


def test_a_task_without_handlers_keeps_none(action: Any) -> None:
    made = report(action, item(0))
    made.add(made.items[0], {"changed": True})
    made.result()
    assert action._task.notify is None


def test_changed_when_decides(action: Any) -> None:
    made = report(action, item(0, changed_when=False), item(1, changed_when=True), item(2, changed_when=True))
    made.add(made.items[0], {"changed": True})
    made.add(made.items[1], {"changed": False})
    made.add(made.items[2], {"changed": False, "failed": True, "msg": "m"})
    assert made.result()["changed_names"] == ["Item 1"]


def test_messages_are_told_once_and_facts_are_set(action: Any) -> None:
    made = report(action, item(0), item(1))
    for one in made.items:
        made.add(one, {"warnings": ["low"], "deprecations": [{"msg": "old"}], "ansible_facts": {f"fact{one.number}": 1}})
    result = made.result()
    assert (result["warnings"], result["deprecations"]) == (["low"], [{"msg": "old"}])
    assert result["ansible_facts"] == {"fact0": 1, "fact1": 1}


def test_a_batch_of_which_nothing_ran_is_skipped(action: Any) -> None:
    made = report(action, item(0, skipped={"changed": False, "skipped": True}), item(1, when_changed=[0]))
    assert not made.is_wanted(made.items[1])
    made.not_needed(made.items[1])
    assert made.result()["skipped"] is True


def test_arguments_are_shown_as_core_shows_them(action: Any) -> None:
    for verbosity, shown in ((0, False), (2, False), (3, True)):
        action._display.verbosity = verbosity
        made = report(action, item(0))
        made.add(made.items[0], {"changed": False, "invocation": {"module_args": {}}})
        assert ("invocation" in made.result()["results"][0]) is shown
