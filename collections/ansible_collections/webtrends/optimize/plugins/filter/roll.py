# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.webtrends.optimize.plugins.plugin_utils import roll


def _members(hostvars: list[dict[str, Any]], role: str) -> list[roll.Member]:
    try:
        return roll.members_of(hostvars, role)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def _roll_order(hostvars: list[dict[str, Any]], role: str, every_member: bool = False) -> list[str]:
    return [member.host for member in roll.order(_members(hostvars, role), every_member)]


def _roll_plan(hostvars: list[dict[str, Any]], role: str, component: str, every_member: bool = False) -> list[str]:
    return roll.plan(_members(hostvars, role), component, every_member)


class FilterModule:
    """Who needs a restart, in which order, and why."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "restart_needed": roll.restart_needed,
            "restart_needed_text": roll.restart_needed_text,
            "roll_order": _roll_order,
            "roll_plan": _roll_plan,
        }
