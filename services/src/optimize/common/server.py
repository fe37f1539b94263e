"""Runs a service: starts it, serves HTTP, stops it gracefully on SIGTERM with exit code 0."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import uvicorn
import uvloop
from litestar import Litestar
from prometheus_client import Info, disable_created_metrics

from optimize.common import tasks
from optimize.common.config import ConfigError, Service
from optimize.common.drain import Drain
from optimize.common.health import Health
from optimize.common.logs import fields

log = logging.getLogger(__name__)

# A second series for each counter, with the time of its first use. The library leaves this function untyped.
disable_created_metrics()  # type: ignore[no-untyped-call]
BUILD = Info("optimize_build", "What runs")


class Runnable(Protocol):
    """A service, as the server sees it."""

    health: Health
    app: Litestar

    @property
    def config(self) -> Service:
        """What it was configured with."""

    async def start(self) -> None:
        """Begin the background work; raises when the service can't do its job at all."""

    async def stop(self, seconds: float) -> None:
        """Flush, as far as it goes in the time; requests have ended by now."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own would raise the signal again after the shutdown: the exit code must be 0.
        yield


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing where it did not ask."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.sendall(state.encode())


async def serve(service: Runnable) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config = service.config
    await service.start()
    await service.health.start()
    server = _Server(
        uvicorn.Config(
            service.app,
            host=config.listen.host,
            port=config.listen.port,
            backlog=config.listen.backlog,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=bool(config.gateway_addresses),
            forwarded_allow_ips=config.gateway_addresses,
            timeout_graceful_shutdown=max(1, int(config.stop_seconds)),
        )
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    watching = asyncio.create_task(_watchdog())
    BUILD.info({"service": service.health.service, "version": service.health.version, "config": service.health.config})
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        notify("READY=1")
        log.info("serving", extra=fields(host=config.listen.host, port=config.listen.port, config=service.health.config))
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    until = loop.time() + config.stop_seconds
    service.health.stopping = True
    notify("STOPPING=1")
    log.info("stopping")
    server.should_exit = True
    stopping.cancel()
    watching.cancel()
    try:
        await serving
    finally:
        await service.health.stop()
        await service.stop(max(1.0, until - loop.time()))
    log.info("stopped")


async def _watchdog() -> None:
    """A sign of life for systemd's WatchdogSec=, from the loop that serves requests."""
    interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
    while interval:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)


def parser(service: str) -> argparse.ArgumentParser:
    """The command line that all services share."""
    result = argparse.ArgumentParser(prog=f"optimize-{service}")
    result.add_argument("--config", type=Path, required=True, help="configuration file, JSON or (by its name) TOML")
    result.add_argument("--check", action="store_true", help="check the configuration, print its fingerprint and end")
    return result


def drain_of(config: Service, service: str) -> Drain:
    return Drain(Path(config.drain_file or f"/run/optimize-{service}/drain"))


def run(make: Callable[[], Runnable]) -> int:
    """Make a service (in the loop that it will run in) and serve; the process's exit code."""

    async def main() -> None:
        await serve(make())

    try:
        uvloop.run(main())
    except (ConfigError, OSError) as error:
        log.error("cannot start", extra=fields(problem=str(error)))
        return 1
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 1 if tasks.failures else 0


def refuse(error: ConfigError) -> int:
    """A wrong configuration in one sentence; exit code 78 (EX_CONFIG, sysexits.h)."""
    print(f"optimize: {error}", file=sys.stderr)
    return 78
