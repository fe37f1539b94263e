"""Structured logs: one JSON object a line on standard error, from where systemd takes them to the journal.

A message is a fixed sentence; what varies is in fields (`extra={"fields": {...}}`). Neither secrets nor visitors are
logged above debug.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import msgspec


class JsonFormatter(logging.Formatter):
    """Renders a record as one line of JSON; names the service and its version."""

    def __init__(self, service: str, version: str) -> None:
        super().__init__()
        self._fixed = {"service": service, "version": version}

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            **self._fixed,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class Sparse(logging.Filter):
    """Lets a client's complaint through once in a while: librdkafka says at each attempt that a broker can't be reached.

    Args:
        seconds: between two records of one kind; a record's kind is its first word, and the problem's first word.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        problem = str(getattr(record, "fields", {}).get("problem", ""))
        kind = f"{record.getMessage().partition(' ')[0]} {problem.partition(',')[0]}"
        if record.created - self._last.get(kind, 0.0) < self._seconds:
            return False
        self._last[kind] = record.created
        return True


def configure(service: str, version: str, level: str) -> None:
    """Send every logger's records through one JSON handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service, version))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Every request and every connection of the clients would be a line each.
    for noisy in ("httpx", "httpcore", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for client in ("librdkafka", "optimize.kafka.client"):
        logging.getLogger(client).addFilter(Sparse())


def fields(**values: Any) -> dict[str, Any]:
    """For a logging call's `extra`."""
    return {"fields": values}
