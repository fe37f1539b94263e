# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The questions and orders that the Kafka modules have, through Debian's python3-confluent-kafka (1.7 on Debian 12): no JVM is started."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from ansible_collections.webtrends.optimize.plugins.module_utils.kafka import Partition, Plan, Topic, View

try:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, NewPartitions, NewTopic

    HAS_CONFLUENT_KAFKA = True
except ImportError:
    HAS_CONFLUENT_KAFKA = False
    KafkaException = Exception

#: Topics that Kafka makes for itself.
INTERNAL = "__"


class Cluster:
    """A cluster, asked through any of its brokers.

    Args:
        bootstrap: `host:port` of the brokers.
        timeout: seconds for each question.
    """

    def __init__(self, bootstrap: Sequence[str], timeout: float) -> None:
        self.timeout = timeout
        settings = {"bootstrap.servers": ",".join(bootstrap), "socket.timeout.ms": int(timeout * 1000), "log_level": 2}
        # Brokers that are away are the answer here, not news for standard error.
        self.admin = AdminClient({**settings, "logger": _silent()})

    def brokers(self) -> dict[int, str]:
        """Registered brokers, id -> host."""
        return {one.id: one.host for one in self.admin.list_topics(timeout=self.timeout).brokers.values()}

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those of the topics that exist, with the overrides that are set on them."""
        metadata = self.admin.list_topics(timeout=self.timeout)
        present = [name for name in names if name in metadata.topics and metadata.topics[name].error is None]
        configs = self._configs(present)
        found = {}
        for name in present:
            partitions = metadata.topics[name].partitions.values()
            overrides = {
                key: entry.value for key, entry in configs[name].items() if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
            }
            found[name] = Topic(name, len(partitions), frozenset(len(one.replicas) for one in partitions), overrides)
        return found

    def view(self, members: Mapping[int, tuple[str, int]]) -> View:
        """Everything that the gate looks at.

        Args:
            members: broker id -> host and port, of the brokers that the inventory has.
        """
        metadata = self.admin.list_topics(timeout=self.timeout)
        partitions = [
            Partition(name, number, one.leader, frozenset(one.replicas), frozenset(one.isrs))
            for name, topic in metadata.topics.items()
            for number, one in topic.partitions.items()
        ]
        configs = self._configs(list(metadata.topics))
        return View(
            metadata.controller_id,
            frozenset(metadata.brokers),
            frozenset(one for one, (host, port) in members.items() if _answers(host, port)),
            partitions,
            {name: int(entries["min.insync.replicas"].value) for name, entries in configs.items()},
        )

    def apply(self, steps: Plan) -> None:
        """Carry a plan out; the first order that the cluster refuses raises KafkaException."""
        if steps.create:
            new = [NewTopic(one.name, one.partitions, next(iter(one.replication)), config=_set(one.config)) for one in steps.create]
            self._wait(self.admin.create_topics(new, operation_timeout=self.timeout))
        if steps.extend:
            self._wait(self.admin.create_partitions([NewPartitions(*one) for one in steps.extend.items()], operation_timeout=self.timeout))
        if steps.configure:
            # The order replaces all overrides of a topic, so the plan carries those that are not managed as well.
            resources = [ConfigResource(ConfigResource.Type.TOPIC, name, set_config=values) for name, values in steps.configure.items()]
            self._wait(self.admin.alter_configs(resources))

    def _configs(self, names):
        if not names:
            return {}
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        answers = self.admin.describe_configs(resources, request_timeout=self.timeout)
        return {resource.name: future.result() for resource, future in answers.items()}

    def _wait(self, futures):
        for future in futures.values():
            future.result()


def _set(config):
    return {key: value for key, value in config.items() if value is not None}


def _answers(host, port):
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False


def _silent():
    import logging

    logger = logging.getLogger("optimize.kafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger
