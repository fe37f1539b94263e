import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))
from scenario import Scenario


@pytest.fixture(scope="session")
def scenario():
    quick = {"zookeeper_health_samples": 2, "zookeeper_health_interval": 0.5, "zookeeper_health_timeout": 5}
    return Scenario(Path(__file__).resolve().parents[1], "zookeeper", quick)
