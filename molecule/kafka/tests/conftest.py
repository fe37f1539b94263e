import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))
from scenario import Scenario


@pytest.fixture(scope="session")
def scenario():
    quick = {"kafka_health_samples": 2, "kafka_health_interval": 0.5, "kafka_health_timeout": 8}
    return Scenario(Path(__file__).resolve().parents[1], "kafka", quick)


@pytest.fixture(scope="session")
def brokers(scenario):
    return scenario.hosts("euw-kafka-1", "euw-kafka-2", "euw-kafka-3")
