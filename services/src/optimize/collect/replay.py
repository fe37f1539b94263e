"""Sends retained segments into ClickHouse once more, after a loss there. What is there already stays one row."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from datetime import datetime
from pathlib import Path

from optimize.clickhouse.insert import Inserter
from optimize.collect.service import COLUMNS, CollectConfig
from optimize.collect.writer import DeadLetters
from optimize.spool import frame

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def moment(text: str) -> int:
    """A time as epoch milliseconds: RFC 3339 with its zone, or how long ago (`90m`, `2h`, `1d`).

    Raises:
        ValueError: it is neither.
    """
    ago = re.fullmatch(r"(\d+)([smhd])", text)
    if ago:
        return int((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text}: give its zone, such as Z or +01:00")
    return int(at.timestamp() * 1000)


async def replay(config: CollectConfig, since: int, until: int) -> int:
    """Insert the rows that were accepted from `since` up to before `until` (epoch milliseconds). Reads only; the service may run."""
    inserter = Inserter(config.clickhouse, config.clickhouse.table, COLUMNS)
    dead = DeadLetters(Path(config.dead_letters))
    sent = refused = 0
    rows: list[bytes] = []

    async def flush() -> None:
        nonlocal sent, refused
        bad = await inserter.insert_rows(rows)
        if bad:
            dead.add(bad)
        sent, refused = sent + len(rows) - len(bad), refused + len(bad)
        rows.clear()

    for path in sorted(Path(config.spool.directory).glob("*.seg")):
        if path.stat().st_mtime * 1000 < since:
            continue
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # Its time to be kept ended meanwhile.
            continue
        for found in frame.scan(data):
            if since <= found.received_ms < until:
                rows += bytes(found.payload).split(b"\n")[:-1]
            if len(rows) >= config.clickhouse.max_rows:
                await flush()
    if rows:
        await flush()
    await inserter.close()
    print(f"replayed {sent} rows, {refused} refused", file=sys.stderr)
    return 1 if refused else 0


def run(config: CollectConfig, since: str, until: str) -> int:
    try:
        begin, end = moment(since), moment(until) if until else time.time_ns() // 1_000_000
    except ValueError as error:
        print(f"optimize-collect: {error}", file=sys.stderr)
        return 64
    return asyncio.run(replay(config, begin, end))
