"""A convergence with nothing to do, on the running fleet: seconds, tasks and remote executions per host."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench import results
from tools.platform import playbook
from tools.stages import ROOT

RUNS = 3


def run() -> None:
    """Converge the running fleet three times; the first run brings it to rest and is not counted."""
    runs = []
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "executions.json"
        env = os.environ | {
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tools/callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "executions",
            "EXECUTIONS_FILE": str(report),
        }
        for number in range(RUNS + 1):
            started = time.monotonic()
            done = subprocess.run(playbook("site"), cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SystemExit(f"site.yml failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
            seconds = time.monotonic() - started
            if number:
                runs.append({"seconds": round(seconds, 1), **json.loads(report.read_text(encoding="utf-8"))})
    hosts = runs[0]["hosts"]
    seconds = statistics.median(entry["seconds"] for entry in runs)
    executions = runs[-1]["executions"]
    figures = {
        "hosts": hosts,
        "changed": sum(entry["changed"] for entry in runs),
        "seconds": [entry["seconds"] for entry in runs],
        "seconds_per_host": round(seconds / hosts, 2),
        "executions_per_host": round(sum(executions.values()) / hosts, 2),
        "executions_most": max(executions.values()),
        "tasks_per_host": round(sum(runs[-1]["tasks"].values()) / hosts, 1),
        "skipped_per_host": round(sum(runs[-1]["skipped"].values()) / hosts, 1),
        "executions_by_task": runs[-1]["executions_by_task"],
    }
    print(
        f"nothing to do: {hosts} hosts, {seconds:.1f} s ({figures['seconds_per_host']} s per host),"
        f" {figures['executions_per_host']} remote executions and {figures['tasks_per_host']} tasks per host, changed={figures['changed']}"
    )
    results.write("converge", figures)
