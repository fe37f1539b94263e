"""A batch does what the plain tasks that it stands for do, whichever way it runs them.

Three equal hosts: plain tasks on the first, a batch in one remote execution on the second, one by one on the third. What their results,
differences, warnings and facts say is compared, item by item, in check mode and not, changed and unchanged.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.batch import lab

ITEMS = yaml.safe_load((lab.HERE / "items.yml").read_text())
FAILURES = yaml.safe_load((lab.HERE / "failures.yml").read_text())
# On blank hosts in check mode; on blank hosts; on hosts on which some things were changed and most were not.
PHASES = {"check": ["--check", "--diff"], "blank": ["--diff"], "drifted": ["--diff"]}
# One by one is core's own actions, in turn: a run on blank hosts, and the failures below, tell that they are called rightly.
METHODS = {"check": ["one_execution"], "blank": ["one_execution", "one_by_one"], "drifted": ["one_execution"]}
CASES = [(phase, method) for phase, methods in METHODS.items() for method in methods]
WAYS = {"plain": None, "one_execution": "one_execution", "one_by_one": "one_by_one"}
DRIFT = "cd /srv/lab; chmod 0777 made content.txt settings.conf; echo drift >> content.txt; echo drift >> settings.conf; rm -r bare link"
VARIABLES = {"item_name": "lab", "numbers": [1, 2, 3], "ansible_managed": "Managed by the lab"}
# What differs from run to run or host to host, and says nothing of what an item did.
VOLATILE = {
    "start",
    "end",
    "delta",
    "atime",
    "mtime",
    "ctime",
    "inode",
    "dev",
    "version",
    "pid",
    "invocation",
    "cache_update_time",
    "warnings",
    "deprecations",
    "ansible_facts",
    "exception",
    "_ansible_parsed",
    "access_time",
    "modification_time",
    "elapsed",
    "status",
}


def store(variable: str, name: str) -> dict:
    return {
        "name": "Keep what it came to",
        "ansible.builtin.copy": {"content": "{{ " + variable + " | to_json }}", "dest": "{{ playbook_dir }}/out/" + name, "mode": "0600"},
        "delegate_to": "localhost", "connection": "local", "become": False, "check_mode": False, "diff": False,
    }  # fmt: skip


def play(host: str, tasks: list[dict]) -> dict:
    return {"hosts": host, "gather_facts": False, "become": True, "vars": VARIABLES, "environment": {"LAB": "in the lab"}, "tasks": tasks}


def plays(controller: lab.Controller, phase: str) -> list[dict]:
    plain = [dict(item, register=f"r{number}") for number, item in enumerate(ITEMS)]
    gathered = "[" + ", ".join(f"r{number}" for number in range(len(ITEMS))) + "]"
    made = [play(controller.names[0], [*plain, store(gathered, "plain.json")])]
    for host, method in zip(controller.names[1:], METHODS[phase], strict=False):
        batch = {"name": "All of them", "webtrends.optimize.batch": {"tasks": ITEMS, "method": method}, "register": "batch"}
        made.append(play(host, [batch, store("batch", f"{method}.json")]))
    return made


def normal(value: Any, host: str) -> Any:
    """A result without what differs between any two runs."""
    if isinstance(value, dict):
        kept = {key: normal(inner, host) for key, inner in value.items() if key not in VOLATILE}
        return {key: inner for key, inner in kept.items() if (key, inner) != ("src", "<temporary>")}
    if isinstance(value, list):
        return [normal(inner, host) for inner in value]
    if isinstance(value, str):
        value = value.replace(host, "<host>")
        value = re.sub(r"/[^\s'\"]*(ansible-tmp-|ansible-local-|scratch-|ansible-moduletmp-)[^\s'\"/]*(/[^\s'\"/]+)*", "<temporary>", value)
        return re.sub(r"\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~", "<backup>", value)
    return value


def without_names(diff: Any, name: str) -> Any:
    """A batch's differences carry the item's name where the plain ones have no header."""
    if isinstance(diff, list):
        return [without_names(one, name) for one in diff if one]
    return {key: value for key, value in diff.items() if value != name} if isinstance(diff, dict) else diff


@pytest.fixture(scope="module")
def outcome(controller: lab.Controller) -> dict:
    """Results of every phase, way and item."""
    script = (lab.HERE / "reset.sh").read_bytes()
    for host in controller.names:
        lab.ssh(host, "sh -s", data=script)
    found: dict = {}
    for phase, arguments in PHASES.items():
        if phase == "drifted":
            for host in controller.names:
                lab.ssh(host, DRIFT)
        done = controller.playbook(plays(controller, phase), *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        plain = controller.result("plain.json")
        found[phase] = {"plain": {"results": plain}, **{way: controller.result(f"{way}.json") for way in METHODS[phase]}}
        found[phase]["output"] = done.stdout + done.stderr
    return found


@pytest.mark.parametrize(("phase", "method"), CASES)
@pytest.mark.parametrize("number", range(len(ITEMS)), ids=[item["name"].replace(" ", "-") for item in ITEMS])
def test_an_item_comes_to_the_same(controller: lab.Controller, outcome: dict, phase: str, number: int, method: str) -> None:
    host = controller.names[1 if method == "one_execution" else 2]
    name = ITEMS[number]["name"]
    plain = normal(outcome[phase]["plain"]["results"][number], controller.names[0])
    batched = normal(outcome[phase][method]["results"][number], host)
    assert batched.pop("name") in (name, plain.get("name"))
    batched.pop("module")
    plain.pop("name", None)
    for result in (plain, batched):
        result.setdefault("failed", False)
        diff = without_names(result.pop("diff", None), name)
        result["diff"] = [one for one in (diff if isinstance(diff, list) else [diff]) if one]
    assert batched == plain


@pytest.mark.parametrize(("phase", "method"), CASES)
def test_a_batch_sums_up(outcome: dict, phase: str, method: str) -> None:
    plain, batch = outcome[phase]["plain"]["results"], outcome[phase][method]
    names = [item["name"] for item, result in zip(ITEMS, plain, strict=True) if result["changed"]]
    assert batch["changed_names"] == names
    assert batch["changed"] == bool(names)
    facts: dict = {}
    for result in plain:
        facts.update(result.get("ansible_facts", {}))
    assert batch.get("ansible_facts", {}) == facts
    for kind in ("warnings", "deprecations"):
        told = {str(message) for result in plain for message in result.get(kind, [])}
        assert {str(message) for message in batch.get(kind, [])} == told, kind


@pytest.mark.parametrize(("method", "opened"), [("one_execution", False), ("one_by_one", True)])
def test_packages_that_are_there_need_no_index(controller: lab.Controller, outcome: dict, method: str, opened: bool) -> None:
    """Whoever opens apt's index keeps it in a file, so the file's absence tells that the answer came from dpkg's records."""
    host = controller.names[1]
    index = "/var/cache/apt/pkgcache.bin"
    lab.ssh(host, f"apt-mark manual procps && rm -f {index}")
    item = {"name": "There", "ansible.builtin.apt": {"name": "procps", "policy_rc_d": 101}}
    done = controller.playbook([play(host, [{"name": "Ask", "webtrends.optimize.batch": {"tasks": [item], "method": method}}])])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (lab.ssh(host, f"test -e {index}", check=False).returncode == 0) is opened


def failing_plays(controller: lab.Controller) -> list[dict]:
    made = []
    for host, method in zip(controller.names, WAYS.values(), strict=True):
        tasks: list[dict] = []
        for number, item in enumerate(FAILURES):
            called = {"name": item["name"], "webtrends.optimize.batch": {"tasks": [item], "method": method}} if method else item
            tasks.append({"block": [dict(called, register=f"r{number}")], "rescue": [{"ansible.builtin.meta": "noop"}]})
        gathered = "[" + ", ".join(f"r{number}" for number in range(len(FAILURES))) + "]"
        made.append(play(host, [*tasks, store(gathered, f"failing-{method or 'plain'}.json")]))
    return made


@pytest.fixture(scope="module")
def failing(controller: lab.Controller, outcome: dict) -> dict:
    done = controller.playbook(failing_plays(controller))
    assert done.returncode == 0, done.stdout + done.stderr
    return {way: controller.result(f"failing-{way}.json") for way in WAYS}


@pytest.mark.parametrize("number", range(len(FAILURES)), ids=[item["name"].replace(" ", "-") for item in FAILURES])
@pytest.mark.parametrize("method", ["one_execution", "one_by_one"])
def test_a_failure_comes_to_the_same(controller: lab.Controller, failing: dict, number: int, method: str) -> None:
    item = FAILURES[number]
    host = controller.names[1 if method == "one_execution" else 2]
    module = next(key for key in item if key != "name")
    plain, batch = normal(failing["plain"][number], controller.names[0]), normal(failing[method][number], host)
    assert plain["failed"] and batch["failed"]
    assert batch["failed_name"] == item["name"] and batch["failed_module"] == module
    said = plain.pop("msg").removeprefix("Task failed: Module failed: ")
    assert batch.pop("msg") == f"{item['name']} ({module}) on <host>: {said}"
    own = {"failed_name", "failed_module", "failed_at", "results", "changed_names", "changed", "diff"}
    assert {key: value for key, value in batch.items() if key not in own} == {
        key: value for key, value in plain.items() if key not in {"changed", "diff"}
    }
