# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order in which the members of a component are restarted, from what was asked of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Member:
    """What a plan knows of one member."""

    host: str
    leads: bool = False
    running: bool = True
    reasons: tuple[str, ...] = field(default=())

    @property
    def restart_needed(self) -> bool:
        return bool(self.reasons)


def members_of(hostvars: Iterable[Mapping[str, Any]], role: str) -> list[Member]:
    """Members from the variables of their hosts: `roll_loaded` (a result per unit) and `<role>_member` where the role knows a leader.

    Raises:
        ValueError: when a host has not answered; a plan must not be made without it.
    """
    members = []
    for variables in hostvars:
        host = variables["inventory_hostname"]
        results = (variables.get("roll_loaded") or {}).get("results")
        if not results or any("restart_needed" not in result for result in results):
            raise ValueError(f"{host} did not say what its processes loaded; no plan is made without every member")
        reasons = [f"{result['item']}: {reason}" for result in results for reason in result["reasons"] if result["restart_needed"]]
        members.append(
            Member(
                host=host,
                leads=bool((variables.get(f"{role}_member") or {}).get("leader", False)),
                running=all(result["running"] for result in results),
                reasons=tuple(reasons),
            )
        )
    return members


def order(members: Iterable[Member], every_member: bool = False) -> list[Member]:
    """Who is restarted, in order: what does not run first (it can only win), who leads last, in between as the inventory has them."""
    chosen = [member for member in members if every_member or member.restart_needed or not member.running]
    return sorted(chosen, key=lambda member: (member.running, member.leads))


def plan(members: list[Member], component: str, every_member: bool = False) -> list[str]:
    """The plan as lines that a person reads."""
    steps = order(members, every_member)
    if not steps:
        return [f"{component}: all {len(members)} members run what is on the disk; nothing to restart"]
    lines = [f"{component}: {len(steps)} of {len(members)} members, one at a time, at most one down at any moment"]
    for number, member in enumerate(steps, 1):
        why = "; ".join(member.reasons) or ("asked for by every_member" if member.running else "does not run")
        lines.append(f"{number}. {member.host}{' (leads)' if member.leads else ''}: {why}")
    return lines


def restart_needed(hostvars: Iterable[Mapping[str, Any]], components: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Component -> host -> reasons, in the order of `components`, from `loaded_units` (registered on every host) and `group_names`."""
    found: dict[str, dict[str, list[str]]] = {}
    hosts = list(hostvars)
    for name, component in components.items():
        for variables in hosts:
            if component["pool"] not in variables["group_names"]:
                continue
            units = variables["loaded_units"]["units"]
            stale = [unit for unit in component["units"] if units.get(unit, {}).get("restart_needed")]
            if stale:
                reasons = [reason for unit in stale for reason in units[unit]["reasons"]]
                found.setdefault(name, {})[variables["inventory_hostname"]] = reasons
    return found


def restart_needed_text(found: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    """The recap as lines that a person reads, each component with the command that mends it."""
    if not found:
        return ["Every process runs what is on the disk; no restart is needed."]
    lines = []
    for component, hosts in found.items():
        region = next(iter(hosts)).partition("-")[0]
        lines.append(f"restart needed: {component}; ansible-playbook playbooks/rolling-restart.yml -e component={component} -l {region}")
        lines += [f"  {host}: {'; '.join(reasons)}" for host, reasons in hosts.items()]
    return lines
