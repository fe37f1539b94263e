"""Ingestion by one collect and one pat host of the running fleet: accepted and stored events per second, latency, CPU.

Load goes to the addresses of the fleet's own hosts only, bounded in count and time.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from typing import Any

import aiohttp

from bench import results
from tools.hosts import on_host, state_directory
from tools.platform import fleet_inventory, reader_of
from tools.traffic import make_event

#: Batch size -> events sent; a bound, and long enough for a steady state.
EVENTS = {1: 3_000, 20: 20_000, 500: 50_000}
IN_FLIGHT = 16
#: Seconds after which a measurement is given up.
LONGEST = 180


def process_cpu_seconds(host: str, unit: str) -> float:
    """CPU time of a unit's main process with its threads (a container need not have CPU accounting per unit)."""
    command = f"p=$(systemctl show -p MainPID --value {unit}); awk -v hz=$(getconf CLK_TCK) '{{print ($14+$15)/hz}}' /proc/$p/stat"
    return float(on_host(host, command))


async def load(address: str, pipeline: str, size: int, site: str) -> dict[str, Any]:
    """Send the events of one batch size to one host and measure each request."""
    rng = random.Random(site)  # event ids of their own: what another run sent would be stored once
    now_ms = int(time.time() * 1000)
    events = [json.dumps(make_event(rng, site, now_ms)) for _ in range(EVENTS[size])]
    bodies = iter(["[" + ",".join(events[i : i + size]) + "]" for i in range(0, len(events), size)])
    latencies: list[float] = []
    refused = 0

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:

        async def worker() -> None:
            nonlocal refused
            for body in bodies:
                while True:
                    started = time.monotonic()
                    async with session.post(
                        f"http://{address}:8080/{pipeline}/v1/events", data=body, headers={"Content-Type": "application/json"}
                    ) as response:
                        await response.read()
                    latencies.append((time.monotonic() - started) * 1000)
                    if response.status == 202:
                        break
                    assert response.status == 503, response.status
                    refused += 1
                    await asyncio.sleep(0.2)

        started = time.monotonic()
        await asyncio.wait_for(asyncio.gather(*(worker() for _ in range(IN_FLIGHT))), LONGEST)
        accepted_seconds = time.monotonic() - started
    quantiles = statistics.quantiles(latencies, n=100)
    return {
        "events": len(events),
        "accepted_per_second": round(len(events) / accepted_seconds),
        "p50_ms": round(quantiles[49], 1),
        "p99_ms": round(quantiles[98], 1),
        "refused_503": refused,
        "started": started,
    }


def run() -> None:
    """Measure both pipelines at every batch size."""
    hostvars = fleet_inventory()["_meta"]["hostvars"]
    reader = reader_of(state_directory(), hostvars)
    figures: dict[str, Any] = {}
    for pipeline in ("collect", "pat"):
        host = f"euw-{pipeline}-1"
        unit = f"optimize-{pipeline}"
        for size in EVENTS:
            site = f"bench-{pipeline}-{size}-{random.SystemRandom().randrange(2**32):08x}"
            before = process_cpu_seconds(host, unit)
            entry = asyncio.run(load(hostvars[host]["ansible_host"], pipeline, size, site))
            started = entry.pop("started")
            while int(asyncio.run(reader.query(f"SELECT count() FROM optimize.events WHERE site = '{site}'"))) < entry["events"]:
                if time.monotonic() - started > LONGEST:
                    raise SystemExit(f"{pipeline}: the events of {site} were not all stored within {LONGEST} s")
                time.sleep(0.2)
            entry["stored_per_second"] = round(entry["events"] / (time.monotonic() - started))
            cpu = process_cpu_seconds(host, unit) - before
            entry["cpu_seconds_per_1000_events"] = round(cpu / entry["events"] * 1000, 3)
            figures[f"{pipeline} batch {size}"] = entry
            print(f"{pipeline:>8} batch {size:>3}: {entry}")
    results.write("ingest", {"in_flight": IN_FLIGHT, "figures": figures})
