"""The running one-region fleet, seen from outside: its edge, its readers' port, its hosts."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest
import yaml

from tools.hosts import state_directory
from tools.stages import ROOT
from tools.traffic import Edge, Reader, load_edges


@pytest.fixture(scope="session")
def state() -> Path:
    return state_directory()


@pytest.fixture(scope="session")
def edges(state: Path) -> list[Edge]:
    return load_edges(state)


@pytest.fixture(scope="session")
def inventory() -> dict:
    """What `ansible-inventory --list` says of the fleet."""
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-inventory", "-i", "inventories/local", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def hosts(inventory: dict):
    """Hosts of a pool."""

    def of(pool: str) -> list[str]:
        group = inventory[pool]
        found = list(group.get("hosts", []))
        for child in group.get("children", []):
            found += of(child)
        return found

    return of


@pytest.fixture(scope="session")
def address(inventory: dict):
    """A variable of a host: its address, or the address that its pool shares."""

    def of(host: str, variable: str = "ansible_host") -> str:
        return inventory["_meta"]["hostvars"][host][variable]

    return of


@pytest.fixture(scope="session")
def reader(state: Path, hosts, address) -> Reader:
    """The readers' port of the ClickHouse load balancer, as the user `reader`."""
    passwords = yaml.safe_load((state / "secrets.yml").read_text(encoding="utf-8"))["secret_clickhouse_passwords"]
    return Reader(f"http://{address(hosts('lb_clickhouse')[0], 'virtual_address')}:8124/", "reader", passwords["reader"])


@pytest.fixture(scope="session")
def seed() -> int:
    """One seed for the whole run, printed so that a failure can be repeated."""
    value = random.SystemRandom().randrange(2**32)
    print(f"\nseed {value}")
    return value
