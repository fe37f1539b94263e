# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Kafka cluster says of itself, whether it can lose a broker, and what its topics lack. Knows no client library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.webtrends.optimize.plugins.module_utils.gate import Answer

#: Reasons of one kind that are written out; more are counted.
SHOWN = 5


@dataclass(frozen=True)
class Partition:
    """One partition as the cluster's metadata has it; leader -1 is none."""

    topic: str
    number: int
    leader: int
    replicas: frozenset[int]
    isr: frozenset[int]

    @property
    def label(self) -> str:
        return f"{self.topic}-{self.number}"


@dataclass(frozen=True)
class View:
    """A cluster at one moment.

    Attributes:
        controller: id of the broker that is controller, -1 where none is known.
        registered: ids of the brokers in the metadata.
        answering: ids of the brokers whose port takes a connection.
        min_isr: topic -> effective min.insync.replicas.
    """

    controller: int
    registered: frozenset[int]
    answering: frozenset[int]
    partitions: Sequence[Partition]
    min_isr: Mapping[str, int]


def look(member: int, members: Mapping[int, str], view: View, waived: Iterable[str] = (), in_sync: bool = False) -> Answer:
    """Whether the cluster can lose broker `member` now.

    A broker that is down or lags may be lost: what its absence already costs is not held against mending it. Everything else blocks.

    Args:
        members: broker id -> host name, of the whole cluster as the inventory has it.
        waived: topics whose replication does not survive one broker, and that are let go on purpose.
        in_sync: also require that `member` itself serves and is in sync everywhere (after a start).
    """
    present = view.registered & view.answering
    reasons: list[str] = []
    answer = Answer(
        reasons,
        leader=view.controller == member,
        running=member in present,
        details={"controller": members.get(view.controller, str(view.controller)), "brokers": sorted(present)},
    )
    if member not in members:
        reasons.append(f"broker {member} is not of this cluster ({', '.join(map(str, sorted(members)))})")
        return answer
    absent = sorted(set(members) - present - {member})
    if absent:
        reasons.append(f"other brokers are away: {', '.join(f'{members[one]} ({one})' for one in absent)}")
    if view.controller not in present:
        reasons.append("no controller is active")
    hosted = [one for one in view.partitions if member in one.replicas]
    unknown = sorted({one.topic for one in hosted} - set(view.min_isr))
    if unknown:
        reasons.append(f"min.insync.replicas is not known of {_some(unknown)}")
    waived = set(waived)
    # A partition that only the absent member holds comes back with it.
    offline = [one.label for one in view.partitions if one.leader not in present and (answer.running or one.replicas != {member})]
    lagging = [one.label for one in view.partitions if one.replicas - one.isr - {member}]
    thin = [one for one in hosted if len(one.replicas) <= view.min_isr.get(one.topic, 0)]
    fixed = [f"{one.topic} (RF {len(one.replicas)}, min ISR {view.min_isr[one.topic]})" for one in thin if one.topic not in waived]
    tight = [
        f"{one.label} ({len(one.isr - {member})} of {view.min_isr[one.topic]})"
        for one in hosted
        if one not in thin and one.topic in view.min_isr and len(one.isr - {member}) < view.min_isr[one.topic]
    ]
    for found, said in (
        (offline, "without leader"),
        (lagging, "under-replicated on other brokers"),
        (sorted(set(fixed)), "never survive one broker (waive them, or give them more replicas)"),
        (tight, "would fall below min.insync.replicas"),
    ):
        if found:
            reasons.append(f"{len(found)} {said}: {_some(found)}")
    if in_sync:
        behind = [one.label for one in hosted if member not in one.isr]
        if not answer.running:
            reasons.append(f"{members[member]} does not serve yet")
        elif behind:
            reasons.append(f"{members[member]} is not in sync with {len(behind)} partitions: {_some(behind)}")
    return answer


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


class TopicProblem(Exception):
    """A wish that must not be carried out; the text says why and what to do."""


@dataclass(frozen=True)
class Topic:
    """A topic as wished for, or as found.

    Attributes:
        replication: replicas of each partition; a found topic may differ from partition to partition.
        config: overrides of the broker's defaults. In a wish, None means no override.
    """

    name: str
    partitions: int
    replication: frozenset[int]
    config: Mapping[str, str | None] = field(default_factory=dict)


@dataclass
class Plan:
    """What makes the cluster's topics as wished; nothing here deletes."""

    create: list[Topic] = field(default_factory=list)
    extend: dict[str, int] = field(default_factory=dict)
    #: Topic -> all of its overrides afterwards: managed keys as wished, the others as they were.
    configure: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.create or self.extend or self.configure)


def text_of(value: Any) -> str | None:
    """A configuration value as Kafka writes it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def wish(data: Mapping[str, Any]) -> Topic:
    """A topic of the module's arguments."""
    config = {str(key): text_of(value) for key, value in (data.get("config") or {}).items()}
    return Topic(data["name"], data["partitions"], frozenset({data["replication_factor"]}), config)


def plan(wishes: Sequence[Topic], found: Mapping[str, Topic]) -> Plan:
    """What has to be done, all of it judged before anything is.

    Raises:
        TopicProblem: every wish that must be refused, at once.
    """
    result, problems = Plan(), []
    names = [one.name for one in wishes]
    problems += [f"{name} is named twice" for name in sorted({one for one in names if names.count(one) > 1})]
    for one in wishes:
        present = found.get(one.name)
        if present is None:
            result.create.append(one)
            continue
        if one.partitions < present.partitions:
            problems.append(
                f"{one.name} has {present.partitions} partitions, {one.partitions} are wished for: partitions cannot be taken away. "
                f"Set {present.partitions}, or make a new topic and move to it"
            )
        elif one.partitions > present.partitions:
            result.extend[one.name] = one.partitions
        if present.replication != one.replication:
            has, wants = "/".join(map(str, sorted(present.replication))), "/".join(map(str, one.replication))
            problems.append(
                f"{one.name} has {has} replicas, {wants} are wished for: replicas are moved by a reassignment, under watch and "
                f"with a throttle, not by a converge. Set {has}, or run kafka-reassign-partitions.sh --generate and --execute first"
            )
        after = {**present.config, **one.config}
        kept = {key: value for key, value in after.items() if value is not None}
        if kept != present.config:
            result.configure[one.name] = kept
    if problems:
        raise TopicProblem("; ".join(problems))
    return result


def describe(topics: Mapping[str, Topic], names: Sequence[str]) -> dict[str, Any]:
    """Topics as a diff shows them."""
    return {
        name: {
            "partitions": topics[name].partitions,
            "replication_factor": sorted(topics[name].replication),
            "config": {key: value for key, value in sorted(topics[name].config.items()) if value is not None},
        }
        for name in sorted(names)
        if name in topics
    }


def after(found: Mapping[str, Topic], steps: Plan) -> dict[str, Topic]:
    """The topics once the plan is carried out."""
    result = dict(found) | {one.name: one for one in steps.create}
    for name in {*steps.extend, *steps.configure}:
        before = result[name]
        partitions = steps.extend.get(name, before.partitions)
        result[name] = Topic(name, partitions, before.replication, steps.configure.get(name, dict(before.config)))
    return result
