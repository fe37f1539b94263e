"""While visitors send, one member after another is taken away; not one acknowledged event is lost."""

from __future__ import annotations

import random
import socket
import time

import pytest

from tests.e2e.leaders import zookeeper_leader
from tests.e2e.sending import nothing_is_lost_while
from tools.hosts import on_host

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
    print(f"\n{name}: {host}")
    nothing_is_lost_while(fault, f"fault {name}", edges=edges, state=state, reader=reader, seed=seed)
