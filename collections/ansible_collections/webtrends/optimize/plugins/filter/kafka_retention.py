# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = """
name: kafka_retention
short_description: Why what a broker may keep does not fit on its disk
description:
  - A partition grows to its C(retention.bytes) and the segment that is being written. What all replicas on a broker may grow to is compared
    with the file system that holds the data. Time-based retention bounds nothing, so a topic without a size is refused.
options:
  _input:
    description: The topics, as for M(webtrends.optimize.kafka_topics).
    type: list
    elements: dict
    required: true
  settings:
    description: The broker's properties; of them C(log.retention.bytes) and C(log.segment.bytes).
    type: dict
    required: true
  brokers:
    description: Brokers of the cluster, over which replicas are spread evenly.
    type: int
    required: true
  mounts:
    description: Mounts of the host, as in the facts of M(webtrends.optimize.preflight).
    type: list
    elements: dict
    required: true
  path:
    description: Directory of the data.
    type: str
    required: true
  usable_percent:
    description: Part of the file system that the topics may take; the rest is for internal topics, indexes and the file system.
    type: int
    default: 80
author: [Webtrends Optimize platform maintainers]
"""

EXAMPLES = """
- ansible.builtin.assert:
    that: problems | length == 0
  vars:
    problems: "{{ kafka_topics | webtrends.optimize.kafka_retention(settings, 3, ansible_facts['host']['mounts'], '/var/lib/kafka') }}"
"""

RETURN = """
_value:
  description: A sentence for each problem; none when it fits.
  type: list
  elements: str
"""

from ansible.errors import AnsibleFilterError

MIB = 1024 * 1024
# Kafka 3.9 documentation, "Broker Configs": the defaults of log.retention.bytes and log.segment.bytes.
UNBOUNDED, SEGMENT = -1, 1024 * MIB


def kafka_retention(topics, settings, brokers, mounts, path, usable_percent=80):
    """Why it does not fit; see DOCUMENTATION."""
    if brokers < 1:
        raise AnsibleFilterError("kafka_retention: a cluster has at least one broker")
    problems, needed, parts = [], 0, []
    for topic in topics:
        config = topic.get("config") or {}
        size = int(config.get("retention.bytes", settings.get("log.retention.bytes", UNBOUNDED)))
        segment = int(config.get("segment.bytes", settings.get("log.segment.bytes", SEGMENT)))
        if size < 0:
            problems.append(
                f"topic {topic['name']} has no retention.bytes, so nothing bounds it before the disk is full; "
                "set it for the topic, or log.retention.bytes in kafka_settings"
            )
            continue
        replicas = -(-topic["partitions"] * topic["replication_factor"] // brokers)
        needed += replicas * (size + segment)
        parts.append(f"{topic['name']} {replicas} x ({size // MIB} + {segment // MIB}) MiB")
    mount = holding(mounts, path)
    usable = mount["size_mb"] * usable_percent // 100
    if needed > usable * MIB:
        problems.append(
            f"topics may grow to {-(-needed // MIB)} MiB on a broker ({', '.join(parts)}), but {usable_percent} % of {mount['path']} is "
            f"{usable} MiB; take a larger disk, fewer partitions, or a smaller retention.bytes"
        )
    return problems


def holding(mounts, path):
    """The mount that holds a path: the one with the longest prefix."""
    fitting = [one for one in mounts if one["path"] == "/" or (path + "/").startswith(one["path"].rstrip("/") + "/")]
    if not fitting:
        raise AnsibleFilterError(f"kafka_retention: no mount holds {path}")
    return max(fitting, key=lambda one: len(one["path"]))


class FilterModule:
    def filters(self):
        return {"kafka_retention": kafka_retention}
