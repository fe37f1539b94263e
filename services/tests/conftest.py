"""Fixtures of the services' tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fake_clickhouse import FakeClickHouse


@pytest.fixture
def clickhouse():
    """Makes fake ClickHouse nodes."""
    made = []

    def make(answer=None) -> FakeClickHouse:
        made.append(FakeClickHouse(answer))
        return made[-1]

    yield make
    for server in made:
        server.close()
