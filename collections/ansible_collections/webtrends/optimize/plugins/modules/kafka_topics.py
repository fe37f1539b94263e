#!/usr/bin/python
# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
module: kafka_topics
short_description: The topics of a Kafka cluster as data
description:
  - Creates the topics that are absent, adds partitions, and sets the configuration keys that are named; others stay as they are.
  - Deletes nothing, neither topics nor partitions.
  - Fewer partitions and another replication factor are refused, with what to do instead, before anything is changed.
  - Run once for each cluster.
requirements: [confluent-kafka >= 1.7 (python3-confluent-kafka)]
options:
  bootstrap:
    description: C(host:port) of the brokers.
    type: list
    elements: str
    required: true
  topics:
    description: The topics that are managed; others are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the topic.
        type: str
        required: true
      partitions:
        description: Partitions that it has.
        type: int
        required: true
      replication_factor:
        description: Replicas of each partition.
        type: int
        required: true
      config:
        description: Configuration keys of the topic (Kafka 3.9 documentation, "Topic Configs"). Null takes an override away.
        type: dict
        default: {}
  timeout:
    description: Seconds for each question, and in which as many brokers as the largest replication factor must have come up.
    type: int
    default: 60
attributes:
  check_mode: {support: full, description: Says what would be done; refusals are the same.}
  diff_mode: {support: full, description: Shows the topics before and after.}
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = """
- webtrends.optimize.kafka_topics:
    bootstrap: ["euw-kafka-1:9092"]
    topics:
      - name: pat-events
        partitions: 12
        replication_factor: 3
        config: {min.insync.replicas: 2}
"""

RETURN = """
created: {description: Topics that were made., type: list, elements: str, returned: success}
extended: {description: Topics that got partitions., type: list, elements: str, returned: success}
configured: {description: Topics whose configuration was set., type: list, elements: str, returned: success}
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.webtrends.optimize.plugins.module_utils import kafka, kafka_client

TOPIC = {
    "name": {"type": "str", "required": True},
    "partitions": {"type": "int", "required": True},
    "replication_factor": {"type": "int", "required": True},
    "config": {"type": "dict", "default": {}},
}


def wait_for_brokers(cluster, wanted, timeout):
    """A cluster that was just started is complete a moment later; a topic made before that would be refused, or lie on too few brokers."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            present = len(cluster.brokers())
        except kafka_client.KafkaException as error:
            present, why = 0, f" ({error})"
        else:
            why = ""
        if present >= wanted:
            return
        if time.monotonic() > deadline:
            raise kafka.TopicProblem(
                f"{present} brokers came up within {timeout} s, {wanted} are needed{why}; see `systemctl status kafka` on each"
            )
        time.sleep(0.5)


def text(topics):
    """Topics as the lines of a diff."""
    return json.dumps(topics, indent=2, sort_keys=True) + "\n"


def main():
    module = AnsibleModule(
        argument_spec={
            "bootstrap": {"type": "list", "elements": "str", "required": True},
            "topics": {"type": "list", "elements": "dict", "required": True, "options": TOPIC},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if not kafka_client.HAS_CONFLUENT_KAFKA:
        module.fail_json(msg=missing_required_lib("confluent-kafka"))
    wishes = [kafka.wish(one) for one in module.params["topics"]]
    names = [one.name for one in wishes]
    cluster = kafka_client.Cluster(module.params["bootstrap"], timeout=10)
    try:
        wait_for_brokers(cluster, max((max(one.replication) for one in wishes), default=1), module.params["timeout"])
        found = cluster.topics(names)
        steps = kafka.plan(wishes, found)
        if steps.changed and not module.check_mode:
            cluster.apply(steps)
    except (kafka.TopicProblem, kafka_client.KafkaException) as problem:
        module.fail_json(msg=f"topics of {', '.join(module.params['bootstrap'])}: {problem}")
    module.exit_json(
        changed=steps.changed,
        created=[one.name for one in steps.create],
        extended=sorted(steps.extend),
        configured=sorted(steps.configure),
        diff={
            "before": text(kafka.describe(found, names)),
            "after": text(kafka.describe(kafka.after(found, steps), names)),
        },
    )


if __name__ == "__main__":
    main()
