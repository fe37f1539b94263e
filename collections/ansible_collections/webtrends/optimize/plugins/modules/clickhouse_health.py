#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: clickhouse_health
short_description: Whether a ClickHouse cluster can lose a member now
description:
  - Asks every member over HTTP. Clean is an answer in which each other member serves, none of its replicated tables is read-only, has an
    expired session, lags or has a long queue, all their replicas are active, and the member's shard has another replica with all its
    tables.
  - What cannot be answered blocks. A member that is itself down may be lost; so one that needs mending can be mended.
  - Run it on another member than the one in question.
options:
  member:
    description: The member that is to be lost, as in O(members).
    type: str
    required: true
  members:
    description: Host name to shard, of all members.
    type: dict
    required: true
  port:
    description: HTTP port of all members.
    type: int
    default: 8123
  user:
    description: A user that may read C(system.replicas) from another member.
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
  max_delay:
    description: Seconds that a replica may be behind.
    type: int
    default: 10
  max_queue:
    description: Entries that may wait in the replication queue of a table.
    type: int
    default: 50
  running:
    description: Also wait until O(member) itself is well, with all the tables of its shard.
    type: bool
    default: false
extends_documentation_fragment: [webtrends.optimize.gate]
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = r"""
- webtrends.optimize.clickhouse_health:
    member: core-clickhouse-2
    members: {core-clickhouse-1: 1, core-clickhouse-2: 1}
    user: replication
    password: "{{ secret_clickhouse_passwords.replication }}"
  delegate_to: core-clickhouse-1
"""

RETURN = r"""
healthy: {description: The cluster can lose the member now., type: bool, returned: always}
leader: {description: Always false; no member leads., type: bool, returned: always}
running: {description: The member itself is well., type: bool, returned: always}
reasons: {description: Why it may not be lost., type: list, elements: str, returned: always}
problems: {description: What is wrong with the member itself., type: list, elements: str, returned: always}
version: {description: What the member runs; empty when it gives no answer., type: str, returned: always}
versions: {description: What each member runs that answers., type: dict, returned: always}
clean_samples: {description: Clean answers in a row at the end., type: int, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import clickhouse, clickhouse_health, gate

# Seconds after which a member counts as silent: above a busy node's answer, below what makes a look at a frozen one long.
PATIENCE = 5


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "member": {"type": "str", "required": True},
            "members": {"type": "dict", "required": True},
            "max_delay": {"type": "int", "default": 10},
            "max_queue": {"type": "int", "default": 50},
            "running": {"type": "bool", "default": False},
            **gate.OPTIONS,
            **clickhouse.CONNECTION_OPTIONS,
        },
        supports_check_mode=True,
    )
    given = module.params
    member = given["member"]
    limits = clickhouse_health.Limits(given["max_delay"], given["max_queue"])
    shards = {host: int(shard) for host, shard in given["members"].items()}

    def question(host: str) -> clickhouse_health.State:
        return clickhouse_health.ask(clickhouse.Client(host, given["port"], given["user"], given["password"], PATIENCE))

    def one_look() -> gate.Answer:
        answer = clickhouse_health.look(member, shards, question, limits)
        if given["running"] and not answer.running:
            answer.reasons += answer.details.get("problems") or [f"{member} is not well yet"]
        return answer

    gate.conclude(module, one_look, f"the cluster cannot lose {member} now")


if __name__ == "__main__":
    main()
