# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A drain of a ClickHouse node: a lease that the probe of its load balancer reads."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse import Client, Unreachable

RUNNING = "SELECT count() AS queries FROM system.processes WHERE is_initial_query AND user NOT IN ('operator', 'replication')"


class DrainError(Exception):
    """The node did not get out of traffic, or not back into it, in time."""


def write(path: Path, until: float, by: str) -> None:
    """Put the lease there whole, so that no reader sees half of it."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        json.dump({"until": until, "by": by}, file)
    os.chmod(name, 0o644)
    os.replace(name, path)


def until(path: Path) -> float | None:
    """Until when a lease holds (epoch seconds); None where there is none."""
    try:
        return float(json.loads(path.read_text())["until"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # The probe honours it as well.
        return float("inf")


def wait_quiet(
    client: Client,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until no client's query runs, in two looks a second apart.

    Raises:
        DrainError: some still ran after `timeout` seconds, with their number.
    """
    deadline = clock() + timeout
    quiet = 0
    while True:
        try:
            queries = int(client.rows(RUNNING)[0]["queries"])
        except Unreachable:
            # A node that is down has no traffic.
            return
        quiet = quiet + 1 if queries == 0 else 0
        if quiet == 2:
            return
        if clock() >= deadline:
            raise DrainError(f"{queries} queries of clients still run after {timeout:.0f} s")
        sleep(1)
