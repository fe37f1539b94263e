"""The same items on the same hosts: plain tasks, mitogen, pyinfra and a batch, in turn, with nothing to do.

Twelve hosts of their own; every way converges them once before it is measured, and what each leaves is compared, so all have the same
end state. The ways take turns, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from bench import results
from bench.batch import items
from tools.stages import ROOT

WORK = ROOT / ".cache" / "bench_batch"
FLEET = Path("bench/batch/fleet.yml")
ROUNDS = 3
FORKS = 12
COUNTS = (14, 40)


def environment(name: str) -> Path:
    """A peer's own environment, from its lock file; returns its directory of programs."""
    directory, lock = ROOT / f".venv-bench-{name}", ROOT / "requirements" / f"bench-{name}.txt"
    stamp = directory / "lock.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != lock.read_text(encoding="utf-8"):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
        subprocess.run([str(directory / "bin/pip"), "install", "-q", "--require-hashes", "-r", str(lock)], check=True)
        shutil.copy(lock, stamp)
    return directory / "bin"


def ways() -> dict[str, tuple[list[str], dict[str, str]]]:
    """Command (without its deploy file) and environment of each way."""
    own = str(Path(sys.executable).with_name("ansible-playbook"))
    mitogen = environment("mitogen")
    (plugins,) = (mitogen.parent / "lib").glob("python3*/site-packages/ansible_mitogen/plugins/strategy")
    ansible = ["-i", str(ROOT / FLEET), "-f", str(FORKS)]
    strategy = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(plugins), "ANSIBLE_DEPRECATION_WARNINGS": "0"}
    return {
        "plain": ([own, *ansible], {}),
        "mitogen": ([str(mitogen / "ansible-playbook"), *ansible], strategy),
        "pyinfra": ([str(environment("pyinfra") / "pyinfra"), "-y", str(WORK / "inventory.py")], {}),
        "batch": ([own, *ansible], {"OPTIMIZE_BATCH_METHOD": "one_execution"}),
    }


def deploy_files(count: int, hosts: dict[str, dict[str, Any]]) -> dict[str, Path]:
    """What each way runs, for so many items."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name, text in {
        f"plain-{count}.yml": yaml.safe_dump(items.plain(count), sort_keys=False),
        f"batch-{count}.yml": yaml.safe_dump(items.batch(count), sort_keys=False),
        f"pyinfra-{count}.py": items.pyinfra(count),
        "inventory.py": items.pyinfra_inventory(hosts),
    }.items():
        (WORK / name).write_text(text, encoding="utf-8")
    plain = WORK / f"plain-{count}.yml"
    return {"plain": plain, "mitogen": plain, "pyinfra": WORK / f"pyinfra-{count}.py", "batch": WORK / f"batch-{count}.yml"}


def once(way: tuple[list[str], dict[str, str]], deploy: Path) -> dict[str, float]:
    """Seconds, and the controller's CPU seconds, of one run that must succeed."""
    before, started = os.times(), time.monotonic()
    env = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")} | way[1]
    done = subprocess.run([*way[0], str(deploy)], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{way[0][0]} {deploy.name} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": time.monotonic() - started, "cpu": cpu}


def end_state(hosts: dict[str, dict[str, Any]]) -> str:
    """Owners, modes, types and contents of what the items lay down, on all hosts."""
    command = (
        "sudo sh -c 'getent passwd bench; getent group bench; find /etc/bench /var/lib/bench /var/log/bench /opt/bench"
        ' -printf "%p %y %u %g %m\\n" | sort; cat /etc/bench/*.conf; systemctl is-active ssh systemd-journald\''
    )
    shown = ""
    for name, known in sorted(hosts.items()):
        address = f"{known['ansible_user']}@{known['ansible_host']}"
        line = ["ssh", "-q", "-i", known["ansible_ssh_private_key_file"], *known["ansible_ssh_common_args"].split(), address, command]
        shown += name + subprocess.run(line, check=True, capture_output=True, text=True).stdout
    return shown


def measure(count: int, hosts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    deploys, commands = deploy_files(count, hosts), ways()
    states = {}
    for name, command in commands.items():
        once(command, deploys[name])
        states[name] = end_state(hosts)
    if differing := [name for name, state in states.items() if state != states["plain"]]:
        raise SystemExit(f"the end state differs from that of plain tasks: {', '.join(differing)}")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for _round in range(ROUNDS):
        for name, command in commands.items():
            runs[name].append(once(command, deploys[name]))
    figures: dict[str, Any] = {}
    plain = statistics.median(run["seconds"] for run in runs["plain"])
    for name, measured in runs.items():
        seconds = statistics.median(run["seconds"] for run in measured)
        figures[name] = {
            "seconds": [round(run["seconds"], 2) for run in measured],
            "median": round(seconds, 2),
            "times_faster_than_plain": round(plain / seconds, 1),
            "controller_cpu_s_per_host": round(statistics.median(run["cpu"] for run in measured) / len(hosts), 3),
        }
        print(f"{count} items, {len(hosts)} hosts, {name:8}: {seconds:6.2f} s   {plain / seconds:5.1f} x   "
              f"controller {figures[name]['controller_cpu_s_per_host']} CPU s per host", flush=True)  # fmt: skip
    return figures


def versions() -> dict[str, str]:
    """Of the peers."""
    found = {}
    for name, package in (("mitogen", "mitogen"), ("pyinfra", "pyinfra")):
        program = f"import importlib.metadata as m; print(m.version({package!r}))"
        found[name] = subprocess.run(
            [str(environment(name) / "python"), "-c", program], check=True, capture_output=True, text=True
        ).stdout.strip()  # fmt: skip
    return found


def run() -> None:
    """Make the hosts, measure, write bench/results/batch.json, remove the hosts."""
    fleet = [sys.executable, "-m", "tools.fleet"]
    subprocess.run([*fleet, "up", "-i", str(FLEET)], cwd=ROOT, check=True)
    try:
        hosts = items.hosts(ROOT, FLEET)
        figures = {f"items_{count}": measure(count, hosts) for count in COUNTS}
        results.write("batch", {"hosts": len(hosts), "forks": FORKS, "load": os.getloadavg(), "peers": versions(), **figures})
    finally:
        subprocess.run([*fleet, "down", "-i", str(FLEET)], cwd=ROOT, check=True)
