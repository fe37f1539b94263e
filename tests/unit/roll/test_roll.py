"""The order and the plan of a rolling restart."""

from __future__ import annotations

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils import roll
from hypothesis import given
from hypothesis import strategies as st

MEMBERS = st.lists(
    st.builds(
        roll.Member,
        host=st.text("abc123-", min_size=1, max_size=12),
        leads=st.booleans(),
        running=st.booleans(),
        reasons=st.lists(st.just("server.properties differs"), max_size=2).map(tuple),
    ),
    unique_by=lambda member: member.host,
    max_size=7,
)


def answer(host: str, *, reasons: tuple[str, ...] = (), running: bool = True, leader: bool | None = None) -> dict:
    """The variables of a host after the plan has asked it."""
    result = {"item": "kafka", "restart_needed": bool(reasons), "running": running, "reasons": list(reasons)}
    variables = {"inventory_hostname": host, "roll_loaded": {"results": [result]}}
    if leader is not None:
        variables["kafka_member"] = {"leader": leader}
    return variables


@given(MEMBERS, st.booleans())
def test_who_does_not_run_is_first_and_who_leads_is_last(members, every_member):
    steps = roll.order(members, every_member)
    ranks = [(member.running, member.leads) for member in steps]
    assert ranks == sorted(ranks)
    assert set(steps) == {member for member in members if every_member or member.reasons or not member.running}


def test_members_that_run_what_is_on_the_disk_are_left_alone():
    members = roll.members_of([answer("euw-kafka-1"), answer("euw-kafka-2", reasons=("x differs",))], "kafka")
    assert [member.host for member in roll.order(members)] == ["euw-kafka-2"]
    assert [member.host for member in roll.order(members, every_member=True)] == ["euw-kafka-1", "euw-kafka-2"]


def test_the_plan_says_who_leads_and_why_each_restarts():
    asked = [answer("euw-kafka-1", reasons=("server.properties differs",), leader=True), answer("euw-kafka-2", running=False, leader=False)]
    lines = roll.plan(roll.members_of(asked, "kafka"), "kafka")
    assert lines == [
        "kafka: 2 of 2 members, one at a time, at most one down at any moment",
        "1. euw-kafka-2: does not run",
        "2. euw-kafka-1 (leads): kafka: server.properties differs",
    ]
    assert roll.plan(roll.members_of([answer("euw-kafka-1")], "kafka"), "kafka") == [
        "kafka: all 1 members run what is on the disk; nothing to restart"
    ]


@pytest.mark.parametrize("silent", [{}, {"roll_loaded": {"results": []}}, {"roll_loaded": {"results": [{"item": "kafka", "msg": "lost"}]}}])
def test_no_plan_is_made_without_an_answer_of_every_member(silent):
    with pytest.raises(ValueError, match="euw-kafka-3 did not say"):
        roll.members_of([answer("euw-kafka-1"), {"inventory_hostname": "euw-kafka-3", **silent}], "kafka")


def test_what_needs_a_restart_is_listed_by_component_with_the_command_that_mends_it():
    components = {
        "kafka": {"pool": "kafka", "units": ["kafka"]},
        "sink": {"pool": "clickhouse", "units": ["optimize-sink"]},
    }
    stale = {"restart_needed": True, "reasons": ["server.properties differs"]}
    fresh = {"restart_needed": False, "reasons": []}
    hosts = [
        {"inventory_hostname": "euw-kafka-1", "group_names": ["euw", "kafka"], "loaded_units": {"units": {"kafka": stale}}},
        {"inventory_hostname": "euw-kafka-2", "group_names": ["euw", "kafka"], "loaded_units": {"units": {"kafka": fresh}}},
        # A blank host of a check-mode run has no units yet.
        {"inventory_hostname": "core-clickhouse-1", "group_names": ["clickhouse"], "loaded_units": {"units": {}}},
    ]
    found = roll.restart_needed(hosts, components)
    assert found == {"kafka": {"euw-kafka-1": ["server.properties differs"]}}
    assert roll.restart_needed_text(found) == [
        "restart needed: kafka; ansible-playbook playbooks/rolling-restart.yml -e component=kafka -l euw",
        "  euw-kafka-1: server.properties differs",
    ]
    assert roll.restart_needed_text({}) == ["Every process runs what is on the disk; no restart is needed."]
