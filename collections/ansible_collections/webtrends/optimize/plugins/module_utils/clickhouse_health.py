# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""May a ClickHouse cluster lose one of its members now? Answered from what every member says of its replicated tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.webtrends.optimize.plugins.module_utils.clickhouse import Client
from ansible_collections.webtrends.optimize.plugins.module_utils.gate import Answer

REPLICAS = """
SELECT database, table, is_readonly, is_session_expired, absolute_delay, queue_size, total_replicas, active_replicas
FROM system.replicas ORDER BY database, table"""


@dataclass(frozen=True)
class Limits:
    """What still counts as caught up.

    Attributes:
        delay: seconds that a replica may be behind the shard's newest part.
        queue: entries that may wait in a table's replication queue.
    """

    delay: int = 10
    queue: int = 50


@dataclass(frozen=True)
class State:
    version: str
    tables: dict[str, dict[str, Any]]


def ask(client: Client) -> State:
    """What one member says. Raises ClickHouseError when it says nothing."""
    version = client.execute("SELECT version()").strip()
    return State(version, {f"{row['database']}.{row['table']}": row for row in client.rows(REPLICAS)})


def look(member: str, shards: Mapping[str, int], question: Callable[[str], State], limits: Limits) -> Answer:
    """One look at the whole cluster.

    Args:
        member: the one that is to be lost.
        shards: host name -> shard, of all members.
        question: asks one member; what it raises is that member's silence.
    """
    answer = Answer(leader=False)
    if member not in shards:
        answer.reasons.append(f"{member} is none of the members {', '.join(sorted(shards))}")
        return answer
    states: dict[str, State] = {}
    silent: dict[str, str] = {}
    for host in sorted(shards):
        try:
            states[host] = question(host)
        except Exception as problem:  # whatever keeps the question from being answered blocks
            silent[host] = f"{host} gives no answer: {problem}"
    own = _problems(member, states[member], limits, 0, shards, member) if member in states else [silent[member]]
    answer.running = not own
    # The others can't count a member as active that is not; that alone doesn't make them unfit to go on without it.
    absent = 0 if answer.running else 1
    for host in sorted(set(shards) - {member}):
        if host in silent:
            answer.reasons.append(silent[host])
        else:
            answer.reasons += _problems(host, states[host], limits, absent, shards, member)
    partners = [host for host in shards if host != member and shards[host] == shards[member]]
    if not partners:
        answer.reasons.append(f"{member} is the only replica of shard {shards[member]}")
    for host in partners:
        if member in states and host in states and (lacking := sorted(set(states[member].tables) - set(states[host].tables))):
            answer.reasons.append(f"{host} lacks {', '.join(lacking)}, which {member} has")
        if answer.running and host in states and (lacking := sorted(set(states[host].tables) - set(states[member].tables))):
            own.append(f"{member} lacks {', '.join(lacking)}, which {host} has: its tables are not loaded")
            answer.running = False
    answer.details = {
        "version": states[member].version if member in states else "",
        "problems": own,
        "versions": {host: state.version for host, state in sorted(states.items())},
    }
    return answer


def _problems(host: str, state: State, limits: Limits, absent: int, shards: Mapping[str, int], member: str) -> list[str]:
    """Why this host can't be relied on; `absent` is 1 where the member in question is known not to be active."""
    if not state.tables:
        return [f"{host} has no replicated table: none is loaded, or the schema is missing"]
    problems = []
    for name, table in state.tables.items():
        # A table of all members' counts the absent one wherever it is asked, a shard's own only in the member's shard.
        concerned = shards[host] == shards[member] or table["total_replicas"] == len(shards)
        expected = table["total_replicas"] - (absent if concerned else 0)
        if table["is_readonly"]:
            problems.append(f"{host}: {name} is read-only")
        if table["is_session_expired"]:
            problems.append(f"{host}: the ZooKeeper session of {name} has expired")
        if table["active_replicas"] < expected:
            problems.append(f"{host}: {name} has {table['active_replicas']} active replicas, expected {expected}")
        if table["absolute_delay"] > limits.delay:
            problems.append(f"{host}: {name} is {table['absolute_delay']} s behind, at most {limits.delay} are fine")
        if table["queue_size"] > limits.queue:
            problems.append(f"{host}: {name} has {table['queue_size']} entries in its queue, at most {limits.queue} are fine")
    return problems
