"""Running other programs, with failures that say what failed in one line."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import click


class FleetProblem(click.ClickException):
    """What is missing and what to do, in one line; the program ends with exit status 1."""


def run(command: Sequence[str], *, check: bool = True, log: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `command`; a failure becomes a FleetProblem with the last line that it wrote, and the log's name where there is one."""
    result = subprocess.run(list(command), capture_output=True, text=True, check=False)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(result.stdout + result.stderr, encoding="utf-8")
    if check and result.returncode != 0:
        lines = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
        last = lines[-1] if lines else "no output"
        where = f"; see {log}" if log else ""
        raise FleetProblem(f"`{' '.join(command)[:160]}` ended with {result.returncode}: {last}{where}")
    return result
