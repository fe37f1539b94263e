# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of preflight: one question per run, and refusals that name the host."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible_collections.webtrends.optimize.plugins.module_utils import preflight

REQUIREMENTS = {
    "memory_mb": {"type": "int"},
    "disk_mb": {"type": "dict", "default": {}},
    "releases": {"type": "list", "elements": "str", "default": ["bookworm", "trixie"]},
    "clock_skew_s": {"type": "float"},
    "refresh": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, required = self.validate_argument_spec(argument_spec=REQUIREMENTS)

        host = (task_vars.get("ansible_facts") or {}).get("host")
        if host is None or required["refresh"]:
            answer = self._ask(task_vars)
            if "host" not in answer.get("ansible_facts", {}):
                sentence = self._why_no_answer(answer, task_vars)
                return {**result, "failed": True, "msg": f"{self._who(task_vars)} {sentence}"}
            host = answer["ansible_facts"]["host"]
            result["ansible_facts"] = {"host": host}

        problems = preflight.refusals(host, {**required, "disk_mb": {path: int(size) for path, size in required["disk_mb"].items()}})
        result["changed"] = False
        if problems:
            result["failed"] = True
            result["msg"] = "; ".join(f"{self._who(task_vars)} {problem}" for problem in problems)
            result["problems"] = problems
        return result

    def _ask(self, task_vars):
        started = time.time()
        answer = self._execute_module(module_name="webtrends.optimize.preflight", module_args={}, task_vars=task_vars)
        host = answer.get("ansible_facts", {}).get("host")
        if host:
            host["clock"]["skew_s"] = preflight.skew_s(started, host["clock"]["epoch"], time.time())
        return answer

    @staticmethod
    def _why_no_answer(answer, task_vars):
        interpreter = str(task_vars.get("ansible_python_interpreter", "/usr/bin/python3"))
        said = f"{answer.get('module_stderr', '')}{answer.get('module_stdout', '')}".strip()
        if not said:
            return answer.get("msg")
        return preflight.without_python(answer.get("rc"), said, interpreter) or f"did not answer: {answer.get('msg')} {said}"

    @staticmethod
    def _who(task_vars):
        groups = sorted(task_vars.get("group_names") or [])
        return f"{task_vars.get('inventory_hostname')} (in {', '.join(groups) or 'no group'})"
