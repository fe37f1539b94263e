"""The lab of the batch's tests: made for a session, and taken down after it unless OPTIMIZE_KEEP_LAB is set."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.batch import lab

CORES = ("2.19", *lab.NEWER)


@pytest.fixture(scope="session", autouse=True)
def hosts() -> Iterator[None]:
    lab.fleet("up")
    yield
    if not os.environ.get("OPTIMIZE_KEEP_LAB"):
        lab.fleet("down")


@pytest.fixture(scope="session", params=CORES)
def controller(request: pytest.FixtureRequest, hosts: None) -> lab.Controller:
    """A controller of each supported ansible-core; one that can't be had is a failure."""
    return lab.controller(request.param)
