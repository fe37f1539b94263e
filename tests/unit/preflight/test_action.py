"""The controller's half: one question per run, and refusals that name the host."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.webtrends.optimize.plugins.action.preflight import ActionModule

HOST = {
    "distribution": "debian", "version": "12", "release": "bookworm", "memory_mb": 2000, "clock": {"epoch": 0.0},
    "mounts": [{"path": "/", "device": "/dev/sda1", "free_mb": 500}],
}  # fmt: skip
WHERE = {"inventory_hostname": "euw-kafka-1", "group_names": ["kafka", "euw"], "ansible_python_interpreter": "/usr/bin/python3"}


@pytest.fixture
def preflight(monkeypatch):
    """Runs the action with arguments, variables and what the module on the host would answer; counts the questions."""

    def run(args, variables, answer=None):
        action = object.__new__(ActionModule)
        asked = []
        required = {"memory_mb": None, "disk_mb": {}, "releases": ["bookworm"], "clock_skew_s": None, "refresh": False, **args}
        monkeypatch.setattr(ActionModule.__mro__[1], "run", lambda self, tmp, task_vars: {})
        monkeypatch.setattr(action, "validate_argument_spec", lambda argument_spec: (None, required), raising=False)
        monkeypatch.setattr(action, "_execute_module", lambda **_: asked.append(1) or answer, raising=False)
        return SimpleNamespace(**{"failed": False, "msg": "", **action.run(task_vars={**WHERE, **variables})}, asked=len(asked))

    return run


def test_the_host_is_asked_once_in_a_run(preflight):
    first = preflight({}, {}, {"ansible_facts": {"host": dict(HOST, clock={"epoch": 0.0})}})
    assert (first.asked, first.failed, first.ansible_facts["host"]["memory_mb"]) == (1, False, 2000)
    again = preflight({"memory_mb": 1000}, {"ansible_facts": {"host": HOST}})
    assert (again.asked, again.failed) == (0, False)
    anew = preflight({"refresh": True}, {"ansible_facts": {"host": HOST}}, {"ansible_facts": {"host": dict(HOST, clock={"epoch": 0.0})}})
    assert anew.asked == 1


def test_requirements_hold_for_what_is_known_already_too(preflight):
    answer = preflight({"memory_mb": 4000, "disk_mb": {"/opt": "600"}}, {"ansible_facts": {"host": HOST}})
    assert answer.failed
    assert answer.msg.startswith("euw-kafka-1 (in euw, kafka) has 2000 MiB of memory, expected at least 4000")
    assert "; euw-kafka-1 (in euw, kafka) has 500 MiB free for /opt" in answer.msg


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"rc": 127, "module_stderr": "/bin/sh: 1: /usr/bin/python3: not found"}, "has no Python at /usr/bin/python3: apt-get"),
        ({"rc": 127, "module_stderr": "/bin/sh: 1: sudo: not found"}, "has no sudo"),
        ({"failed": True, "msg": "does not run systemd as its init"}, "does not run systemd as its init"),
        ({"rc": 1, "msg": "MODULE FAILURE", "module_stderr": "Traceback"}, "did not answer: MODULE FAILURE Traceback"),
    ],
)
def test_a_host_that_cannot_answer_is_named_with_the_reason(preflight, answer, sentence):
    result = preflight({}, {}, answer)
    assert result.failed
    assert result.msg.startswith(f"euw-kafka-1 (in euw, kafka) {sentence}")
