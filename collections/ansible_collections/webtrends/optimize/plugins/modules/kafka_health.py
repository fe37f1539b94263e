#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
module: kafka_health
short_description: Whether a Kafka cluster can lose a broker now
description:
  - Asks the cluster for its metadata and its topics' settings. Clean is an answer in which all other brokers are registered and take
    connections, a controller is active, no partition is without leader or under-replicated on another broker, and each partition of the
    broker in question keeps C(min.insync.replicas) without it. A reassignment shows as partitions that are under-replicated.
  - What cannot be answered blocks. A broker that is itself down may be lost; so one that needs mending can be mended.
  - Run it on another broker than the one in question.
requirements: [confluent-kafka >= 1.7 (python3-confluent-kafka)]
options:
  member:
    description: Host name of the broker that is to be lost, as in O(members).
    type: str
    required: true
  members:
    description: Host name -> broker id, of the whole cluster.
    type: dict
    required: true
  port:
    description: Port of all brokers.
    type: int
    default: 9092
  waived_topics:
    description: Topics whose replication never survives a broker, and that are let go on purpose. Others like them block.
    type: list
    elements: str
    default: []
  samples:
    description: Clean answers in a row.
    type: int
    default: 12
  interval:
    description: Seconds between two answers.
    type: float
    default: 10
  timeout:
    description: Seconds in which the clean answers must come.
    type: int
    default: 600
  in_sync:
    description: Also wait until O(member) itself serves and is in sync with all its partitions.
    type: bool
    default: false
extends_documentation_fragment: [webtrends.optimize.gate]
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = """
- webtrends.optimize.kafka_health:
    member: euw-kafka-2
    members: {euw-kafka-1: 1, euw-kafka-2: 2, euw-kafka-3: 3}
  delegate_to: euw-kafka-1
"""

RETURN = """
healthy: {description: The cluster can lose the broker now., type: bool, returned: always}
leader: {description: The broker is the controller., type: bool, returned: always}
running: {description: The broker is registered and takes connections., type: bool, returned: always}
reasons: {description: Why it may not be lost., type: list, elements: str, returned: always}
controller: {description: Host name of the controller., type: str, returned: when there was an answer}
brokers: {description: Ids of the brokers that serve., type: list, elements: int, returned: when there was an answer}
clean_samples: {description: Clean answers in a row at the end., type: int, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.webtrends.optimize.plugins.module_utils import gate, kafka, kafka_client


def main():
    module = AnsibleModule(
        argument_spec={
            "member": {"type": "str", "required": True},
            "members": {"type": "dict", "required": True},
            "port": {"type": "int", "default": 9092},
            "waived_topics": {"type": "list", "elements": "str", "default": []},
            "in_sync": {"type": "bool", "default": False},
            **gate.OPTIONS,
            "samples": {"type": "int", "default": 12},
            "interval": {"type": "float", "default": 10.0},
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    if not kafka_client.HAS_CONFLUENT_KAFKA:
        module.fail_json(msg=missing_required_lib("confluent-kafka"))
    member = wanted["member"]
    if member not in wanted["members"]:
        module.fail_json(msg=f"{member} is not among members ({', '.join(wanted['members'])})")
    names = {int(number): host for host, number in wanted["members"].items()}
    addresses = {number: (host, wanted["port"]) for number, host in names.items()}
    cluster = kafka_client.Cluster([f"{host}:{port}" for host, port in addresses.values()], timeout=10)

    def look():
        return kafka.look(int(wanted["members"][member]), names, cluster.view(addresses), wanted["waived_topics"], wanted["in_sync"])

    gate.conclude(module, look, f"the cluster cannot lose {member} now")


if __name__ == "__main__":
    main()
