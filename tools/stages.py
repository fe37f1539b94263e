"""Stages of a long command: what runs, how far it is, how long it took; on failure, where to look."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Lines of a failed stage's log that are shown.
TAIL = 40
#: Seconds between two signs of life of a running stage.
HEARTBEAT = 30.0


class StageFailed(Exception):
    """A stage did not do its job; the text says which and shows the end of its log."""


class Stages:
    """Runs the stages of one command and remembers their times.

    Args:
        title: the command, as typed.
        total: how many stages there will be.
        logs: directory for one log file per stage.
    """

    def __init__(self, title: str, total: int, logs: Path) -> None:
        self.title, self.total, self.logs = title, total, logs
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()
        self._number = 0
        self._lock = threading.Lock()
        logs.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        with self._lock:
            print(text, flush=True)

    def command(self, name: str, argv: list[str], env: Mapping[str, str] | None = None) -> Path:
        """Run one program as a stage, its output in a log file, which is returned.

        Raises:
            StageFailed: with the end of the log.
        """
        log = self.logs / f"{name.replace(' ', '-')}.log"

        def work() -> None:
            with log.open("wb") as out:
                process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT, env=env)
                started = last = time.monotonic()
                while process.poll() is None:
                    time.sleep(0.05)
                    if time.monotonic() - last > HEARTBEAT:
                        last = time.monotonic()
                        self.say(f"      {name}: {last - started:.0f} s so far; {_last_line(log)}")
            if process.returncode != 0:
                tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:])
                raise StageFailed(f"{name} failed with exit code {process.returncode}. The end of {log}:\n{tail}")

        self.call(name, work)
        return log

    def call(self, name: str, function: Callable[[], object]) -> None:
        """Run a function as a stage."""
        with self._lock:
            self._number += 1
            print(f"[{self._number}/{self.total}] {name}", flush=True)
        started = time.monotonic()
        function()
        self.seconds[name] = time.monotonic() - started
        self.say(f"      {name}: done in {self.seconds[name]:.1f} s")

    def together(self, *functions: Callable[[], object]) -> None:
        """Run stages that do not depend on each other side by side; the first failure is raised when all have ended."""
        with ThreadPoolExecutor(len(functions)) as pool:
            futures = [pool.submit(function) for function in functions]
        for future in futures:
            future.result()

    def summary(self) -> str:
        """The table of stages and their seconds."""
        width = max(map(len, self.seconds), default=0)
        rows = [f"  {name:<{width}}  {seconds:7.1f} s" for name, seconds in self.seconds.items()]
        rows.append(f"  {'in all':<{width}}  {time.monotonic() - self._started:7.1f} s")
        return "\n".join(rows)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:120] if lines else "no output yet"


def fail(message: str) -> None:
    """End the program with a message and exit code 1."""
    print(f"\n{message}", file=sys.stderr, flush=True)
    raise SystemExit(1)
