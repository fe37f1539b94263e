"""While visitors send, one member after another is taken away; not one acknowledged event is lost."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import time

import pytest

from tools.hosts import on_host
from tools.traffic import Visitors, make_requests

#: Visitors send at this pace (events per second) from before the fault until after the member's return, ...
RATE = 200
#: ... and this many events at most, whatever happens.
MOST_EVENTS = 40_000
#: Seconds of sending before the fault and after the return.
MARGIN_SECONDS = 2
#: The load balancer stays away for as long.
AWAY_SECONDS = 20
#: A killed member must serve again within this many seconds, started by its own unit.
RETURN_SECONDS = 90


def kill_unit(host: str, unit: str) -> None:
    """kill -9 of the unit's main process."""
    pid = on_host(host, f"systemctl show -p MainPID --value {unit}").strip()
    assert pid not in ("", "0"), f"{host}: {unit} is not running"
    on_host(host, f"kill -9 {pid}")


def wait_for_port(address: str, port: int, seconds: float = RETURN_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((address, port), timeout=2):
                return
        except OSError:
            assert time.monotonic() < deadline, f"{address}:{port} did not come back within {seconds:.0f} s"
            time.sleep(0.5)


def zookeeper_leader(hosts: list[str], address) -> str:
    for host in hosts:
        with socket.create_connection((address(host), 2181), timeout=5) as connection:
            connection.sendall(b"srvr")
            answer = b"".join(iter(lambda connection=connection: connection.recv(4096), b""))
        if b"Mode: leader" in answer:
            return host
    raise AssertionError(f"none of {hosts} leads the ensemble")


def active_load_balancer(hosts: list[str], address) -> str:
    shared = address(hosts[0], "virtual_address")
    holders = [host for host in hosts if f" {shared}/" in on_host(host, "ip -4 -o address")]
    assert len(holders) == 1, f"{shared} is held by {holders}, expected exactly one of {hosts}"
    return holders[0]


@pytest.fixture
def faults(hosts, address, seed):
    """The faults by name; each takes its member away and comes back when that member serves again."""
    rng = random.Random(seed)

    def member(pool: str, unit: str, port: int):
        host = rng.choice(hosts(pool))

        def fault():
            kill_unit(host, unit)
            wait_for_port(address(host), port)

        return host, fault

    def leader():
        host = zookeeper_leader(hosts("zookeeper"), address)

        def fault():
            kill_unit(host, "zookeeper")
            wait_for_port(address(host), 2181)

        return host, fault

    def load_balancer():
        host = active_load_balancer(hosts("lb_clickhouse"), address)

        def fault():
            on_host(host, "systemctl stop haproxy")
            try:
                time.sleep(AWAY_SECONDS)
            finally:
                on_host(host, "systemctl start haproxy")
            wait_for_port(address(host), 8123)

        return host, fault

    return {
        "collect": lambda: member("collect", "optimize-collect", 8080),
        "pat": lambda: member("pat", "optimize-pat", 8080),
        "sink": lambda: member("clickhouse", "optimize-sink", 8080),
        "kafka": lambda: member("kafka", "kafka", 9092),
        "clickhouse": lambda: member("clickhouse", "clickhouse-server", 8123),
        "zookeeper leader": leader,
        "load balancer": load_balancer,
    }


@pytest.mark.parametrize("name", ["collect", "pat", "sink", "kafka", "clickhouse", "zookeeper leader", "load balancer"])
def test_nothing_acknowledged_is_lost(name, faults, edges, state, reader, seed):
    host, fault = faults[name]()
    rng = random.Random(f"{seed}-{name}")
    site = f"fault-{name.replace(' ', '-')}-{seed:08x}"
    visitors = Visitors(edges, state / "ca.pem", workers=8)

    over = asyncio.Event()

    async def run() -> None:
        requests = itertools.takewhile(lambda _: not over.is_set(), make_requests(rng, site, MOST_EVENTS))
        sending = asyncio.create_task(visitors.send(requests, rng, rate=RATE))
        await asyncio.sleep(MARGIN_SECONDS)
        before = len(visitors.ledger.acknowledged)
        assert before, "nothing was acknowledged before the fault"
        await asyncio.to_thread(fault)
        await asyncio.sleep(MARGIN_SECONDS)
        assert not sending.done(), "the sending ended before the fault was over"
        over.set()
        await sending

    asyncio.run(run())
    ledger = visitors.ledger
    comparison = asyncio.run(reader.settled(ledger, site, seconds=180))
    print(
        f"\n{name} ({host}): {len(ledger.acknowledged)} acknowledged, answers {dict(ledger.answers)},"
        f" longest gap {ledger.longest_gap_s:.1f} s; {comparison}"
    )
    assert ledger.acknowledged == ledger.sent.keys()
    assert comparison.exact, comparison
