#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
module: zookeeper_health
short_description: Whether a ZooKeeper ensemble can lose a member now
description:
  - Asks every member with C(mntr). Clean is an answer in which all other members serve, exactly one leads, and every follower that serves
    is in sync with it.
  - What cannot be answered blocks. A member that is itself down may be lost; so one that needs mending can be mended.
  - Run it on another member than the one in question.
options:
  member:
    description: The member that is to be lost, as in O(members).
    type: str
    required: true
  members:
    description: Host names of all members.
    type: list
    elements: str
    required: true
  port:
    description: Client port of all members.
    type: int
    default: 2181
  running:
    description: Also wait until O(member) itself serves.
    type: bool
    default: false
extends_documentation_fragment: [webtrends.optimize.gate]
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = """
- webtrends.optimize.zookeeper_health:
    member: core-zookeeper-2
    members: [core-zookeeper-1, core-zookeeper-2, core-zookeeper-3]
  delegate_to: core-zookeeper-1
"""

RETURN = """
healthy: {description: The ensemble can lose the member now., type: bool, returned: always}
leader: {description: The member leads., type: bool, returned: always}
running: {description: The member serves., type: bool, returned: always}
reasons: {description: Why it may not be lost., type: list, elements: str, returned: always}
version: {description: What the member runs; empty when it does not., type: str, returned: always}
states: {description: State of each member that serves., type: dict, returned: always}
clean_samples: {description: Clean answers in a row at the end., type: int, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.webtrends.optimize.plugins.module_utils import gate, zookeeper


def main():
    module = AnsibleModule(
        argument_spec={
            "member": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
            "port": {"type": "int", "default": 2181},
            "running": {"type": "bool", "default": False},
            **gate.OPTIONS,
        },
        supports_check_mode=True,
    )
    wanted = module.params
    member = wanted["member"]

    def look():
        answer = zookeeper.look(member, wanted["members"], lambda host: zookeeper.ask(host, wanted["port"]))
        if wanted["running"] and not answer.running:
            answer.reasons.append(f"{member} does not serve yet")
        return answer

    gate.conclude(module, look, f"the ensemble cannot lose {member} now")


if __name__ == "__main__":
    main()
