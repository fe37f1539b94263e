"""The gate opens only where every acknowledged write survives the broker; every other case blocks and says why."""

from __future__ import annotations

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils.kafka import Partition, View, look

MEMBERS = {1: "euw-kafka-1", 2: "euw-kafka-2", 3: "euw-kafka-3"}
ALL = frozenset(MEMBERS)


def partition(topic="pat-events", number=0, leader=1, replicas=(1, 2, 3), isr=(1, 2, 3)):
    return Partition(topic, number, leader, frozenset(replicas), frozenset(isr))


def view(*partitions, controller=3, registered=ALL, answering=ALL, min_isr=None):
    partitions = partitions or (partition(), partition(number=1, leader=2))
    if min_isr is None:
        min_isr = dict.fromkeys({one.topic for one in partitions}, 2)
    return View(controller, frozenset(registered), frozenset(answering), partitions, min_isr)


def test_a_whole_cluster_can_lose_a_broker_and_says_who_is_controller():
    answer = look(1, MEMBERS, view())
    assert (answer.healthy, answer.leader, answer.running) == (True, False, True)
    assert look(3, MEMBERS, view()).leader is True
    assert answer.details["controller"] == "euw-kafka-3"


@pytest.mark.parametrize("registered, answering", [({2, 3}, ALL), ({2, 3}, {2, 3}), (ALL, {2, 3})])
def test_a_broker_that_is_itself_away_may_be_lost(registered, answering):
    partitions = [partition(leader=2, isr=(2, 3)), partition(topic="own", leader=-1, replicas=(1,), isr=(1,))]
    found = view(*partitions, registered=registered, answering=answering, min_isr={"pat-events": 2, "own": 0})
    answer = look(1, MEMBERS, found)
    assert (answer.healthy, answer.running) == (True, False), answer.reasons


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (view(registered={1, 2}), "other brokers are away: euw-kafka-3 (3)"),
        (view(answering={1, 3}), "other brokers are away: euw-kafka-2 (2)"),
        (view(controller=-1), "no controller is active"),
        (view(controller=3, registered={1, 2}), "no controller is active"),
        (view(partition(leader=-1)), "1 without leader: pat-events-0"),
        (view(partition(topic="other", leader=-1, replicas=(2, 3), isr=())), "1 without leader: other-0"),
        (view(partition(isr=(1, 2))), "under-replicated on other brokers: pat-events-0"),
        (view(partition(topic="other", leader=2, replicas=(2, 3), isr=(2,))), "under-replicated on other brokers: other-0"),
        (view(partition(isr=(1, 2))), "1 would fall below min.insync.replicas: pat-events-0 (1 of 2)"),
        (view(partition(), min_isr={"pat-events": 3}), "never survive one broker"),
        (view(partition(topic="single", replicas=(1,), isr=(1,))), "single (RF 1, min ISR 2)"),
        (view(partition(topic="single", replicas=(1,), isr=(1,)), min_isr={"single": 1}), "single (RF 1, min ISR 1)"),
        (view(min_isr={}), "min.insync.replicas is not known of pat-events"),
        # A new replica is being brought in: the reassignment has not ended.
        (view(partition(replicas=(1, 2, 3, 4), isr=(1, 2, 3))), "under-replicated"),
    ],
)
def test_blocks(found, said):
    answer = look(1, MEMBERS, found)
    assert not answer.healthy
    assert said in "; ".join(answer.reasons)


def test_a_stranger_blocks():
    assert "broker 4 is not of this cluster (1, 2, 3)" in look(4, MEMBERS, view()).reasons[0]


def test_topics_that_never_survive_pass_only_when_waived():
    found = view(partition(topic="single", replicas=(1,), isr=(1,)), min_isr={"single": 1})
    assert look(1, MEMBERS, found, waived=["single"]).healthy
    assert not look(1, MEMBERS, found, waived=["other"]).healthy


def test_what_lies_elsewhere_does_not_hold_a_broker():
    assert look(1, MEMBERS, view(partition(topic="single", leader=2, replicas=(2,), isr=(2,)), min_isr={"single": 1})).healthy


def test_after_a_start_the_broker_must_serve_and_be_in_sync():
    behind = view(partition(leader=2, isr=(2, 3)))
    assert look(1, MEMBERS, behind).healthy
    assert "euw-kafka-1 is not in sync with 1 partitions: pat-events-0" in look(1, MEMBERS, behind, in_sync=True).reasons
    away = view(partition(leader=2, isr=(2, 3)), registered={2, 3})
    assert "euw-kafka-1 does not serve yet" in look(1, MEMBERS, away, in_sync=True).reasons
    assert look(1, MEMBERS, view(), in_sync=True).healthy


def test_long_lists_are_counted():
    answer = look(1, MEMBERS, view(*[partition(number=number, leader=-1) for number in range(9)]))
    assert "9 without leader: pat-events-0, pat-events-1, pat-events-2, pat-events-3, pat-events-4 and 4 more" in answer.reasons
