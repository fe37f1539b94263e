"""Inserts a batch of rows: retried with the same bytes on another node until ClickHouse has taken it.

ClickHouse drops a block that it already has (block deduplication), so a retry whose first attempt did arrive changes
nothing. What is refused because of a row's content is halved until the rows at fault are alone; they are handed back for
the dead letters, and all others are in.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
import time
from typing import Annotated, NamedTuple

import httpx
from msgspec import Meta
from prometheus_client import Counter, Histogram

from optimize.common.config import Positive, Seconds, Secret, Section
from optimize.common.logs import fields

log = logging.getLogger(__name__)

INSERTS = Counter("optimize_clickhouse_inserts_total", "Attempts to insert", ["outcome"])
ROWS = Counter("optimize_clickhouse_rows_total", "Rows that ClickHouse has taken, retries and resends included")
SECONDS = Histogram("optimize_clickhouse_insert_seconds", "One attempt", buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30))

#: ClickHouse's error codes (ErrorCodes.cpp of 18.16 and of 26.7) that speak of a row's content: another node would say the same.
#: CANNOT_PARSE_TEXT, _ESCAPE_SEQUENCE, _QUOTED_STRING, _INPUT_ASSERTION_FAILED, _DATE, _DATETIME, TYPE_MISMATCH,
#: ARGUMENT_OUT_OF_BOUND, CANNOT_PARSE_NUMBER, INCORRECT_DATA, CANNOT_READ_ARRAY_FROM_TEXT, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
#: CANNOT_PARSE_UUID, DECIMAL_OVERFLOW.
CONTENT_CODES = frozenset({6, 25, 26, 27, 38, 41, 53, 69, 72, 117, 130, 349, 376, 407})
_CODE = re.compile(r"Code: (\d+)")
#: A column that the table lacks speaks of the schema, not of a row, although it has INCORRECT_DATA's code.
_SCHEMA = "Unknown field"
#: Seconds for which a node that failed is tried last.
SHUN_SECONDS = 10.0

Url = Annotated[str, Meta(pattern=r"^https?://[^/\s]+/?$")]


#: Without it (its default is 0) an acknowledged insert would only be on the disk of the node that was asked, to be distributed later.
SETTINGS = {"insert_distributed_sync": "1"}


class ClickHouseConfig(Section, frozen=True, kw_only=True):
    """Where and how rows go.

    Args:
        urls: HTTP addresses, the preferred first.
        table: what is inserted into.
        settings: of the query, over the service's own.
        max_rows, max_bytes, linger_seconds: a batch is sent when it has as many, or when its first row has waited as long.
        concurrency: batches under way at once. Many small inserts are refused by ClickHouse ("too many parts").
        connect_seconds, answer_seconds: after which an attempt counts as failed.
        retry_seconds: the longest pause between two attempts.
        ca: file of the authority that https addresses must verify against; empty: the system's.
    """

    urls: Annotated[list[Url], Meta(min_length=1)]
    table: str = "optimize.events_write"
    user: str = "writer"
    password: Secret = Secret()
    settings: dict[str, str] = {}
    max_rows: Positive = 5000
    max_bytes: Positive = 8_388_608
    linger_seconds: Seconds = 1.0
    concurrency: Positive = 2
    connect_seconds: Seconds = 2.0
    answer_seconds: Seconds = 20.0
    retry_seconds: Seconds = 10.0
    ca: str = ""


class Refused(Exception):
    """ClickHouse will not take these bytes, anywhere."""


class Failed(Exception):
    """An attempt failed; another one may not."""


class Bad(NamedTuple):
    """A row that ClickHouse refuses."""

    place: int
    row: bytes
    reason: str


class Inserter:
    """Inserts into one table.

    Args:
        table, columns: where to, and which columns the rows have.
    """

    def __init__(self, config: ClickHouseConfig, table: str, columns: tuple[str, ...]) -> None:
        self.config, self.table = config, table
        self._parameters = {
            "query": f"INSERT INTO {table} ({', '.join(columns)}) FORMAT JSONEachRow",
            **SETTINGS,
            **config.settings,
        }
        self._client = httpx.AsyncClient(
            auth=(config.user, config.password.read()),
            verify=ssl.create_default_context(cafile=config.ca or None),
            timeout=httpx.Timeout(config.answer_seconds, connect=config.connect_seconds),
            limits=httpx.Limits(max_connections=config.concurrency * 2 + 2, keepalive_expiry=20),
            trust_env=False,
        )
        self._shunned: dict[str, float] = {}
        self.problem = ""

    async def close(self) -> None:
        await self._client.aclose()

    def _order(self) -> list[str]:
        """The addresses: in the order of the configuration, those that failed lately last."""
        now = time.monotonic()
        return sorted(self.config.urls, key=lambda url: self._shunned.get(url, 0) > now)

    async def ping(self) -> None:
        """Raises unless some address answers."""
        problem = ""
        for url in self._order():
            try:
                answer = await self._client.get(f"{url.rstrip('/')}/ping", timeout=2.0)
                if answer.status_code == 200:
                    return
                problem = f"{url} answers {answer.status_code}"
            except httpx.HTTPError as error:
                problem = f"{url}: {error or type(error).__name__}"
        raise Failed(problem)

    async def insert(self, data: bytes, rows: int, deadline: float | None = None) -> None:
        """Insert NDJSON, as often as it takes.

        Args:
            deadline: `time.monotonic()` after which no further attempt is begun.

        Raises:
            Refused: because of a row's content.
            Failed: the deadline is over.
        """
        pause = 0.2
        while True:
            for url in self._order():
                try:
                    await self._attempt(url, data)
                except Failed as error:
                    self._shunned[url] = time.monotonic() + SHUN_SECONDS
                    self.problem = str(error)
                    log.warning("insert failed", extra=fields(table=self.table, url=url, rows=rows, problem=str(error)))
                    if deadline is not None and time.monotonic() > deadline:
                        raise
                else:
                    self.problem = ""
                    ROWS.inc(rows)
                    return
            await asyncio.sleep(random.uniform(pause / 2, pause))
            pause = min(pause * 2, self.config.retry_seconds)

    async def _attempt(self, url: str, data: bytes) -> None:
        started = time.perf_counter()
        try:
            answer = await self._client.post(url, params=self._parameters, content=data)
        except httpx.HTTPError as error:
            INSERTS.labels("unreachable").inc()
            raise Failed(f"{type(error).__name__} {error}".strip()) from error
        finally:
            SECONDS.observe(time.perf_counter() - started)
        text = answer.text
        if answer.status_code == 200 and not text.startswith("Code:"):
            INSERTS.labels("ok").inc()
            return
        code = _CODE.search(text)
        if code and int(code[1]) in CONTENT_CODES and _SCHEMA not in text:
            INSERTS.labels("refused").inc()
            raise Refused(text[:500])
        INSERTS.labels("failed").inc()
        raise Failed(f"{answer.status_code} {text[:500]}")

    async def insert_rows(self, rows: list[bytes], deadline: float | None = None) -> list[Bad]:
        """Insert rows (each without its line break), all but those that ClickHouse refuses, which are returned.

        How a refused batch is divided follows from the batch alone, so that its parts too have the same bytes each time.
        """
        return await self._isolate(rows, 0, deadline)

    async def _isolate(self, rows: list[bytes], first: int, deadline: float | None) -> list[Bad]:
        try:
            await self.insert(b"\n".join(rows) + b"\n", len(rows), deadline)
        except Refused as error:
            if len(rows) == 1:
                log.error("row refused", extra=fields(table=self.table, reason=str(error)))
                return [Bad(first, rows[0], str(error))]
            half = len(rows) // 2
            left = await self._isolate(rows[:half], first, deadline)
            return left + await self._isolate(rows[half:], first + half, deadline)
        return []
