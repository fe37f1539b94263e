"""From a list of tasks to items: conditions, loops, templates, names, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.webtrends.optimize.plugins.plugin_utils.batch_items import Item, Reader

from tests.unit.batch.conftest import trusted

FILE = "ansible.builtin.file"


@pytest.fixture
def read(action: Any, variables: dict[str, Any]) -> Any:
    def reader(*tasks: dict[str, Any]) -> list[Item]:
        return Reader(action, variables).read(trusted(list(tasks)))

    return reader


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items if item.skipped is None]


def test_arguments_are_rendered(read: Any) -> None:
    (item,) = read(
        {"name": "Make {{ word }}", FILE: {"path": "/{{ indirect }}", "state": "directory", "mode": "{{ none_such | default(omit) }}"}}
    )
    assert (item.name, item.args) == ("Make text", {"path": "/text", "state": "directory"})


def test_a_loop_is_several_items(read: Any) -> None:
    items = read({"name": "Make {{ item }}", FILE: {"path": "{{ item }}"}, "loop": "{{ paths }}"})
    assert [(item.name, item.args["path"]) for item in items] == [("Make /a", "/a"), ("Make /b", "/b")]


def test_a_loop_has_its_variable_and_label(read: Any) -> None:
    items = read(
        {
            "name": "Make",
            FILE: {"path": "{{ entry.path }}"},
            "loop": [{"path": "/x"}, {"path": "/y"}],
            "loop_control": {"loop_var": "entry", "label": "{{ entry.path }}"},
            "when": "entry.path != '/y'",
        }
    )
    assert names(items) == ["Make (/x)"]


def test_an_empty_loop_is_no_item(read: Any) -> None:
    assert read({"name": "Make", FILE: {"path": "{{ item }}"}, "loop": []}) == []


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        (True, True),
        (False, False),
        ("yes_please", True),
        ("not yes_please", False),
        ("{{ yes_please }}", True),
        ("{{ not yes_please }}", False),
        ("paths | length == 2", True),
        (["yes_please", "word == 'other'"], False),
        (["yes_please", True], True),
    ],
)
def test_a_condition(read: Any, when: Any, runs: bool) -> None:
    (item,) = read({"name": "Make", FILE: {"path": "/x"}, "when": when})
    assert (item.skipped is None) is runs


def test_what_is_skipped_is_not_rendered(read: Any) -> None:
    (item,) = read({"name": "Make", FILE: {"path": "{{ undefined_variable }}"}, "when": False})
    assert item.skipped == {"changed": False, "skipped": True, "skip_reason": "Conditional result was False", "false_condition": False}


def test_variables_of_an_item(read: Any) -> None:
    (item,) = read({"name": "Make", FILE: {"path": "{{ base }}/x"}, "vars": {"base": "/{{ word }}"}})
    assert item.args["path"] == "/text/x"


def test_an_untrusted_value_is_no_template(action: Any, variables: dict[str, Any]) -> None:
    variables["from_a_host"] = "{{ word }}"  # as facts come: without trust
    (item,) = Reader(action, variables).read(trusted([{"name": "Make", FILE: {"path": "{{ from_a_host }}"}}]))
    assert item.args["path"] == "{{ word }}"


def test_when_changed_finds_earlier_items(read: Any) -> None:
    items = read(
        {"name": "Make {{ item }}", FILE: {"path": "{{ item }}"}, "loop": "{{ paths }}"},
        {"name": "One", FILE: {"path": "/x"}, "when_changed": "Make /b"},
        {"name": "Both", FILE: {"path": "/x"}, "when_changed": ["Make /a", "One"]},
    )
    assert [item.when_changed for item in items] == [None, None, [1], [0, 2]]


def test_when_changed_names_all_of_a_loop(read: Any) -> None:
    items = read(
        {"name": "Make them", FILE: {"path": "{{ item }}"}, "loop": "{{ paths }}"},
        {"name": "After", FILE: {"path": "/x"}, "when_changed": "Make them"},
    )
    assert items[2].when_changed == [0, 1]


@pytest.mark.parametrize(
    ("module", "arguments", "expected"),
    [
        ("ansible.builtin.command", "echo 'a b' creates=/x", {"_raw_params": "echo 'a b'", "creates": "/x"}),
        ("ansible.builtin.shell", "echo a | cat", {"_raw_params": "echo a | cat"}),
        ("command", {"cmd": "echo {{ word }}", "chdir": "/"}, {"_raw_params": "echo text", "chdir": "/"}),
        ("ansible.builtin.command", {"argv": ["a", "{{ word }}"]}, {"argv": ["a", "text"]}),
        ("ansible.builtin.ping", None, {}),
    ],
)
def test_the_forms_of_arguments(read: Any, module: str, arguments: Any, expected: dict[str, Any]) -> None:
    (item,) = read({"name": "Run", module: arguments})
    assert item.args == expected


@pytest.mark.parametrize(
    ("written", "module", "resolved"),
    [
        ("file", "file", "ansible.builtin.file"),
        ("ansible.legacy.file", "ansible.legacy.file", "ansible.legacy.file"),
        ("shell", "ansible.legacy.command", "ansible.builtin.shell"),
        ("ansible.builtin.systemd", "ansible.builtin.systemd", "ansible.builtin.systemd"),
    ],
)
def test_names_resolve_as_those_of_tasks(read: Any, written: str, module: str, resolved: str) -> None:
    (item,) = read({"name": "Run", written: {}})
    assert item.module == module
    assert item.resolved.rpartition(".")[2] == resolved.rpartition(".")[2]


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({FILE: {}}, "Item 1: it has no name"),
        ({"name": "X"}, "Item 1 'X': it names 0 modules \\(none\\); expected one besides the keywords"),
        ({"name": "X", FILE: {}, "ansible.builtin.stat": {}}, "it names 2 modules"),
        ({"name": "X", FILE: {}, "register": "r"}, "it names 2 modules .*register"),
        ({"name": "X", "no.such.module": {}}, "no module no.such.module was found"),
        ({"name": "X", "ansible.builtin.debug": {}}, "has a part that runs on the controller"),
        ({"name": "X", "ansible.builtin.service": {}}, "use ansible.builtin.systemd_service"),
        ({"name": "X", "package": {}}, "use ansible.builtin.apt"),
        ({"name": "X", "ansible.builtin.fetch": {}}, "make it a task of its own"),
        ({"name": "X", "ansible.builtin.unarchive": {"src": "a", "dest": "/b"}}, "works on files of the host"),
        ({"name": "X", "ansible.builtin.assemble": {"src": "a", "dest": "/b", "remote_src": False}}, "works on files of the host"),
        ({"name": "X", "ansible.builtin.uri": {"url": "http://x", "src": "file"}}, "sends no files of the controller"),
        ({"name": "X", FILE: {"path": "{{ undefined_variable }}"}}, "Item 1 'X': .*undefined_variable"),
        ({"name": "X", FILE: {}, "loop": "word"}, "its loop is str; expected a list"),
        ({"name": "X", FILE: {}, "loop": [1], "loop_control": {"pause": 1}}, "loop_control has pause"),
        ({"name": "X", FILE: {}, "when_changed": "Y"}, "when_changed names 'Y', and no earlier item has that name"),
        ({"name": "X", FILE: {}, "when": "word"}, "Item 1 'X'"),
        ({"name": "X", FILE: ["path"]}, "are list; expected a dictionary"),
    ],
)
def test_what_is_refused_is_named(read: Any, task: dict[str, Any], says: str) -> None:
    with pytest.raises(AnsibleActionFail, match=says):
        read(task)


def test_an_error_of_a_secret_item_says_nothing_of_it(read: Any) -> None:
    with pytest.raises(AnsibleActionFail, match="hidden by its no_log") as caught:
        read({"name": "X", FILE: {"path": "{{ word | no_such_filter_hunter2 }}"}, "no_log": True})
    assert "hunter2" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.parametrize("tasks", [None, "text", [1], {"name": "x"}])
def test_tasks_is_a_list_of_tasks(action: Any, variables: dict[str, Any], tasks: Any) -> None:
    with pytest.raises(AnsibleActionFail, match="is a list of tasks"):
        Reader(action, variables).read(tasks)


def test_uri_is_skipped_in_check_mode_as_its_action_is(action: Any, read: Any) -> None:
    action._task.check_mode = True
    (item,) = read({"name": "Ask", "ansible.builtin.uri": {"url": "http://localhost"}})
    assert item.skipped and item.skipped["skipped"]
