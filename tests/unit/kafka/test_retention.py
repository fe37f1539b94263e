"""What a broker may keep is bounded, and fits its disk; refused with the figures otherwise."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.webtrends.optimize.plugins.filter.kafka_retention import MIB, kafka_retention

MOUNTS = [{"path": "/", "size_mb": 1000}, {"path": "/var/lib/kafka", "size_mb": 10000}, {"path": "/var/lib/kafka2", "size_mb": 1}]
SETTINGS = {"log.retention.bytes": 100 * MIB, "log.segment.bytes": 10 * MIB}


def topic(partitions=6, **config):
    return {"name": "t", "partitions": partitions, "replication_factor": 3, "config": {k.replace("_", "."): v for k, v in config.items()}}


def problems(*topics, settings=SETTINGS, path="/var/lib/kafka/data", brokers=3, mounts=MOUNTS):
    return kafka_retention(topics, settings, brokers, mounts, path)


def test_what_fits_is_no_problem():
    assert problems(topic()) == []
    assert problems(topic(72)) == []  # 72 x 110 = 7920 of 8000


def test_what_does_not_fit_names_the_figures():
    (said,) = problems(topic(73))
    assert "8030 MiB on a broker (t 73 x (100 + 10) MiB), but 80 % of /var/lib/kafka is 8000 MiB" in said


def test_the_root_holds_what_no_other_mount_does():
    assert "of / is 800 MiB" in problems(topic(20), path="/srv/kafka")[0]


def test_topics_override_the_broker():
    assert problems(topic(100, retention_bytes=MIB, segment_bytes=MIB)) == []
    assert len(problems(topic(1, retention_bytes=9000 * MIB))) == 1


def test_replicas_are_spread_over_the_brokers_and_rounded_up():
    (said,) = problems(topic(50), brokers=2, mounts=[{"path": "/", "size_mb": 1}])
    assert "t 75 x" in said


@pytest.mark.parametrize("settings", [{}, {"log.retention.bytes": -1}])
def test_without_a_size_nothing_is_bounded(settings):
    assert "topic t has no retention.bytes" in problems(topic(), settings=settings)[0]


def test_nonsense_is_refused():
    with pytest.raises(AnsibleFilterError):
        problems(topic(), brokers=0)
    with pytest.raises(AnsibleFilterError):
        problems(topic(), mounts=[])
