"""Health of a service: what lives, what is ready, and on what it depends.

Only a hard dependency makes a service unready. Probes run in the background; a request for /readyz gets the last answers
at once, so a dependency that hangs does not hang the load balancer's check.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from prometheus_client import Gauge

from optimize.common.drain import Drain
from optimize.common.logs import fields
from optimize.common.tasks import background, cancel

log = logging.getLogger(__name__)

READY = Gauge("optimize_ready", "1 while /readyz answers 200")
DRAINING = Gauge("optimize_draining", "1 while a drain's lease runs")
DEPENDENCY = Gauge("optimize_dependency_up", "1 while the dependency's last probe succeeded", ["dependency", "kind"])

#: Seconds between two probes of a dependency, and the longest that one may take.
PROBE_INTERVAL = 5.0
PROBE_TIMEOUT = 4.0


class Dependency:
    """Something that the service needs.

    Args:
        name: shown in /readyz.
        kind: `hard` makes the service unready.
        probe: raises, with a text for the operator, when the dependency can't be used.
        live: ask the probe at every /readyz (for what costs nothing and must be exact) instead of in the background.
    """

    def __init__(self, name: str, kind: Literal["hard", "soft"], probe: Callable[[], Awaitable[None]], live: bool = False) -> None:
        self.name, self.kind, self.live, self._probe = name, kind, live, probe
        self.ok = False
        self.problem = "not probed yet"
        self.latency_ms = 0.0

    async def check(self) -> None:
        """Probe once and remember the answer."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await self._probe()
            ok, problem = True, ""
        except TimeoutError:
            ok, problem = False, f"no answer within {PROBE_TIMEOUT:.0f} s"
        except Exception as error:
            ok, problem = False, str(error) or type(error).__name__
        self.latency_ms = round((time.perf_counter() - started) * 1000, 3)
        if ok != self.ok:
            log.log(
                logging.INFO if ok else logging.WARNING,
                "dependency is up" if ok else "dependency is away",
                extra=fields(dependency=self.name, kind=self.kind, problem=problem),
            )
        self.ok, self.problem = ok, problem
        DEPENDENCY.labels(self.name, self.kind).set(ok)

    def state(self) -> dict[str, Any]:
        return {"kind": self.kind, "ok": self.ok, "latency_ms": self.latency_ms, "problem": self.problem}


class Health:
    """The service's state for /readyz and the metrics."""

    def __init__(self, service: str, version: str, config: str, drain: Drain, dependencies: list[Dependency]) -> None:
        self.service, self.version, self.config, self.drain = service, version, config, drain
        self.dependencies = dependencies
        self.stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Probe everything once, then go on in the background."""
        await asyncio.gather(*(dependency.check() for dependency in self.dependencies))
        self._tasks = [
            background(self._repeat(dependency), f"probe {dependency.name}") for dependency in self.dependencies if not dependency.live
        ]

    async def stop(self) -> None:
        await cancel(self._tasks)

    @staticmethod
    async def _repeat(dependency: Dependency) -> None:
        while True:
            await asyncio.sleep(PROBE_INTERVAL)
            await dependency.check()

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether the load balancer may send requests, and why."""
        for dependency in self.dependencies:
            if dependency.live:
                await dependency.check()
        draining = self.drain.active
        ready = not draining and not self.stopping and all(d.ok for d in self.dependencies if d.kind == "hard")
        READY.set(ready)
        DRAINING.set(draining)
        return ready, {
            "service": self.service,
            "version": self.version,
            "config": self.config,
            "ready": ready,
            "draining": draining,
            "stopping": self.stopping,
            "dependencies": {dependency.name: dependency.state() for dependency in self.dependencies},
        }
