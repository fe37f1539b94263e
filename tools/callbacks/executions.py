# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Counts, per host, the tasks that ran or were skipped and the remote executions they took.

Remote executions are counted where every one of them passes: the action plugins' low-level command. The plugins run in
forked workers, so each one is a line appended to a file (short appends do not mix).
"""

from __future__ import annotations

DOCUMENTATION = """
name: executions
type: aggregate
short_description: count tasks and remote executions per host
description: Enabled by C(make bench); writes JSON to the file named by the environment variable EXECUTIONS_FILE.
"""

import json
import os
from collections import Counter
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "executions"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.target = Path(os.environ["EXECUTIONS_FILE"])
        self.lines = self.target.with_suffix(".lines")
        self.lines.write_text("", encoding="utf-8")
        self.tasks: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        original, lines = ActionBase._low_level_execute_command, self.lines

        def counted(action, cmd, *args, **kwargs):
            with lines.open("a", encoding="utf-8") as out:
                out.write(f"{action._task.get_name()[:60]}\t{action._play_context.remote_addr}\n")
            return original(action, cmd, *args, **kwargs)

        ActionBase._low_level_execute_command = counted

    def v2_runner_on_ok(self, result) -> None:
        self.tasks[result.host.get_name() if hasattr(result, "host") else result._host.get_name()] += 1

    def v2_runner_on_skipped(self, result) -> None:
        self.skipped[result.host.get_name() if hasattr(result, "host") else result._host.get_name()] += 1

    def v2_playbook_on_stats(self, stats) -> None:
        lines = [line.split("\t") for line in self.lines.read_text(encoding="utf-8").splitlines()]
        report = {
            "hosts": len(stats.processed),
            "changed": sum(stats.changed.values()),
            "tasks": dict(self.tasks),
            "skipped": dict(self.skipped),
            "executions": dict(Counter(address for _, address in lines)),
            "executions_by_task": dict(Counter(task for task, _ in lines).most_common()),
        }
        self.target.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        self.lines.unlink()
