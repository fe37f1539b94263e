"""The gate opens only for a cluster that goes on without the member; every other case blocks and says why."""

from __future__ import annotations

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse import Unreachable
from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse_health import Limits, State, look

SHARDS = {"n-1": 1, "n-2": 1, "n-3": 2, "n-4": 2}
LIMITS = Limits()


def row(total=2, active=2, **other):
    fine = {"is_readonly": 0, "is_session_expired": 0, "absolute_delay": 0, "queue_size": 0}
    return {**fine, "total_replicas": total, "active_replicas": active, **other}


def tables(**events):
    return State("18.16.1", {"optimize.events_local": row(**events), "optimize.schema_migrations": row(4, 4)})


def cluster(**changed):
    """A question to a fake cluster; n1=... replaces what n-1 says, with an exception for silence."""
    states = {host: tables() for host in SHARDS}
    states.update({f"{name[0]}-{name[1]}": state for name, state in changed.items()})

    def question(host):
        if isinstance(states[host], Exception):
            raise states[host]
        return states[host]

    return question


def reasons(question, member="n-1", shards=SHARDS):
    return "; ".join(look(member, shards, question, LIMITS).reasons)


def test_a_whole_cluster_can_lose_a_member():
    answer = look("n-1", SHARDS, cluster(), LIMITS)
    assert answer.healthy
    assert answer.running
    assert answer.details["version"] == "18.16.1"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"is_readonly": 1}, "read-only"),
        ({"is_session_expired": 1}, "session"),
        ({"active": 1}, "1 active replicas, expected 2"),
        ({"absolute_delay": 11}, "11 s behind"),
        ({"queue_size": 51}, "51 entries"),
    ],
)
@pytest.mark.parametrize("host", ["n2", "n3"])
def test_another_member_that_is_not_well_blocks(host, change, says):
    assert says in reasons(cluster(**{host: tables(**change)}))


def test_silence_blocks():
    assert "n-2 gives no answer" in reasons(cluster(n2=Unreachable("refused")))
    assert "n-4 gives no answer" in reasons(cluster(n4=ValueError("nonsense")))


def test_a_member_without_tables_is_not_loaded_and_blocks():
    assert "n-2 has no replicated table" in reasons(cluster(n2=State("18.16.1", {})))


def test_a_replica_that_lacks_a_table_blocks():
    more = State("18.16.1", {**tables().tables, "optimize.new_local": row()})
    assert "n-2 lacks optimize.new_local" in reasons(cluster(n1=more))


def test_a_member_that_is_down_may_be_lost_and_its_replica_may_not_count_it():
    gone = State("18.16.1", {"optimize.events_local": row(active=1), "optimize.schema_migrations": row(4, 3)})
    far = State("18.16.1", {"optimize.events_local": row(), "optimize.schema_migrations": row(4, 3)})
    question = cluster(n1=Unreachable("refused"), n2=gone, n3=far, n4=far)
    answer = look("n-1", SHARDS, question, LIMITS)
    assert answer.healthy
    assert not answer.running
    assert "n-2" in reasons(question, "n-3")


def test_a_member_down_does_not_excuse_another_shard():
    assert "n-3" in reasons(cluster(n1=Unreachable("refused"), n3=tables(active=1)))


def test_the_only_replica_of_a_shard_is_never_lost():
    assert "only replica of shard 3" in reasons(lambda host: tables(), "n-5", {**SHARDS, "n-5": 3})


def test_a_restarted_member_is_not_well_before_it_has_its_tables():
    loading = State("18.16.1", {"optimize.schema_migrations": row(4, 4)})
    answer = look("n-1", SHARDS, cluster(n1=loading), LIMITS)
    assert not answer.running
    assert "not loaded" in answer.details["problems"][0]


def test_a_stranger_is_no_member():
    assert "none of the members" in reasons(cluster(), "n-9")
