"""Background work that must not end: where it fails unforeseen, the process ends with exit code 1 and systemd starts it anew."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine, Iterable
from typing import Any

from optimize.common.logs import fields

log = logging.getLogger(__name__)

#: What failed; the server's exit code follows from it.
failures: list[str] = []


def background(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run a coroutine as a task whose failure ends the process gracefully."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.critical("background work failed", exc_info=error, extra=fields(task=task.get_name()))
        failures.append(task.get_name())
        os.kill(os.getpid(), signal.SIGTERM)


async def cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    for task in tasks:
        # A failure was logged when it happened.
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
