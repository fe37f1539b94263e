"""Topics as data: made, extended, configured; never taken away; judged as a whole before anything is done."""

from __future__ import annotations

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils.kafka import Topic, TopicProblem, after, describe, plan, wish
from hypothesis import given
from hypothesis import strategies as st


def topic(name="pat-events", partitions=6, replication=(3,), **config):
    return Topic(name, partitions, frozenset(replication), {key.replace("_", "."): value for key, value in config.items()})


def test_absent_topics_are_made():
    steps = plan([topic()], {})
    assert (steps.changed, [one.name for one in steps.create]) == (True, ["pat-events"])


def test_nothing_to_do_is_nothing():
    assert not plan([topic(retention_ms="1")], {"pat-events": topic(retention_ms="1", cleanup_policy="compact")}).changed


def test_partitions_are_added():
    assert plan([topic(partitions=12)], {"pat-events": topic()}).extend == {"pat-events": 12}


def test_only_named_keys_are_set_and_the_others_stay():
    steps = plan([topic(retention_ms="2")], {"pat-events": topic(retention_ms="1", cleanup_policy="compact")})
    assert steps.configure == {"pat-events": {"retention.ms": "2", "cleanup.policy": "compact"}}


def test_null_takes_an_override_away():
    assert plan([topic(retention_ms=None)], {"pat-events": topic(retention_ms="1")}).configure == {"pat-events": {}}
    assert not plan([topic(retention_ms=None)], {"pat-events": topic()}).changed


def test_values_are_written_as_kafka_writes_them():
    config = {"a": True, "b": 2, "c": ["x", "y"], "d": None, "e": 0.5}
    assert wish({"name": "t", "partitions": 1, "replication_factor": 1, "config": config}).config == {
        "a": "true", "b": "2", "c": "x,y", "d": None, "e": "0.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wished", "said"),
    [
        (topic(partitions=3), "pat-events has 6 partitions, 3 are wished for: partitions cannot be taken away. Set 6, or make a new topic"),
        (topic(replication=(2,)), "pat-events has 3 replicas, 2 are wished for.*kafka-reassign-partitions.sh"),
    ],
)
def test_what_cannot_be_done_in_place_is_refused_with_the_mend(wished, said):
    with pytest.raises(TopicProblem, match=said):
        plan([wished], {"pat-events": topic()})


def test_all_problems_are_named_at_once_and_a_mixed_replication_too():
    found = {"a": topic("a"), "b": topic("b", replication=(2, 3))}
    with pytest.raises(TopicProblem, match=r"a has 6 partitions.*; b has 2/3 replicas"):
        plan([topic("a", partitions=1), topic("b")], found)


def test_a_topic_named_twice_is_refused():
    with pytest.raises(TopicProblem, match="pat-events is named twice"):
        plan([topic(), topic()], {})


names = st.sampled_from(["a", "b", "c"])
configs = st.dictionaries(st.sampled_from(["x", "y", "z"]), st.sampled_from(["1", "2"]))


@given(st.dictionaries(names, configs), st.dictionaries(names, configs))
def test_a_carried_out_plan_leaves_nothing_to_do_and_loses_nothing(wished, present):
    wishes = [Topic(name, 3, frozenset({3}), config) for name, config in wished.items()]
    found = {name: Topic(name, 2, frozenset({3}), config) for name, config in present.items()}
    result = after(found, plan(wishes, found))
    assert not plan(wishes, result).changed
    assert result.keys() == found.keys() | wished.keys()
    for name, config in present.items():
        assert config.items() <= {**result[name].config, **{k: v for k, v in config.items() if k in wished.get(name, {})}}.items()


def test_the_diff_shows_managed_topics():
    found = {"a": topic("a"), "other": topic("other")}
    assert describe(found, ["a", "b"]) == {"a": {"partitions": 6, "replication_factor": [3], "config": {}}}
