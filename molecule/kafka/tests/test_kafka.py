"""A cluster that loses nothing it acknowledged, topics that are what the data says, and verbs that block when they must."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest
from scenario import address, pid, until

testinfra_hosts = ["ansible://euw-kafka-1"]
LEDGER = (Path(__file__).parent / "ledger.py").read_text()
TOPIC = {"name": "ledger", "partitions": 6, "replication_factor": 3, "config": {"min.insync.replicas": 2, "retention.ms": 3600000}}
WHOLE = {"kafka_health_timeout": 60}


@pytest.fixture(scope="module")
def ledger(scenario):
    """A topic for the tests beside those of the platform, gone afterwards."""
    scenario.converge({"kafka_topics": [TOPIC]})
    yield TOPIC["name"]
    host = scenario.hosts("euw-kafka-1")["euw-kafka-1"]
    host.check_output(f"kafka-topics.sh --delete --topic {TOPIC['name']}")


def program(host, *arguments):
    """The ledger's program on a host, as a running process."""
    variables = host.ansible.get_variables()
    configuration = Path(variables["ansible_ssh_private_key_file"]).parents[1] / "ssh_config"
    command = ["ssh", "-F", str(configuration), variables["inventory_hostname"], "python3", "-", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(LEDGER)
    process.stdin.close()
    process.stdin = None
    return process


def result(process):
    output, _ = process.communicate(timeout=150)
    assert process.returncode == 0
    return json.loads(output)


def controller(scenario, directory):
    return scenario.verb(directory, "euw-kafka-2", "member")["controller"]


def test_tools_work_for_root_without_flags(host, ledger):
    assert {"collect-events", "pat-events", ledger} <= set(host.check_output("kafka-topics.sh --list").split())
    sent = host.run("echo hello | kafka-console-producer.sh --topic pat-events --request-required-acks -1")
    assert sent.rc == 0, sent.stderr
    read = host.run("kafka-console-consumer.sh --topic pat-events --from-beginning --max-messages 1 --timeout-ms 20000 --group tools")
    assert read.stdout.strip() == "hello", read.stderr
    assert "tools" in host.check_output("kafka-consumer-groups.sh --list").split()
    assert "retention.ms=3600000" in host.check_output(f"kafka-configs.sh --describe --entity-type topics --entity-name {ledger}")
    # Without an authorizer the broker itself says so: it was reached.
    acls = host.run("kafka-acls.sh --list")
    assert "No Authorizer is configured" in acls.stdout + acls.stderr
    host.check_output("kafka-consumer-groups.sh --delete --group tools")


def test_topics_that_nobody_declared_do_not_appear(host):
    failed = host.run("echo x | timeout 20 kafka-console-producer.sh --topic mistyped --max-block-ms 3000 --sync")
    assert "UNKNOWN_TOPIC_OR_PARTITION" in failed.stderr + failed.stdout
    assert "mistyped" not in host.check_output("kafka-topics.sh --list")


def test_metrics_can_be_scraped(brokers):
    for host in brokers.values():
        text = urllib.request.urlopen(f"http://{address(host)}:7071/metrics", timeout=15).read().decode()
        assert "kafka_server_replicamanager_underreplicatedpartitions 0.0" in text
        assert 'kafka_log_size_bytes{partition="0",topic="pat-events"' in text
        assert 'kafka_network_request_total_time_ms{quantile="0.99",request="Produce"' in text
        assert "kafka_server_request_handler_idle_ratio" in text and "jvm_memory_used_bytes" in text


def test_a_killed_controller_is_replaced_and_no_acknowledged_write_is_lost(scenario, brokers, ledger, tmp_path):
    first = controller(scenario, tmp_path)
    other = next(host for name, host in brokers.items() if name != first)
    producing = program(other, "produce", ledger, "4000")
    assert brokers[first].run("sleep 3; systemctl kill --signal=KILL kafka").rc == 0
    sent = result(producing)
    assert sent["failed"] == [] and len(sent["acknowledged"]) == 4000
    until(lambda: controller(scenario, tmp_path) not in (first, "-1"), 40, "another controller")
    scenario.verb(tmp_path, first, "undrain", **WHOLE)
    read = result(program(other, "consume", ledger))["read"]
    assert sorted(read) == list(range(4000)), "each acknowledged record once"


def test_a_stop_is_a_controlled_shutdown(scenario, brokers, tmp_path):
    host = brokers["euw-kafka-3"]
    host.check_output("systemctl stop kafka")
    try:
        assert "Controlled shutdown request returned successfully" in host.check_output("journalctl --unit kafka --lines 400 --no-pager")
        # The gate: nothing may go while one is away, except the one that is.
        said = scenario.verb(tmp_path, "euw-kafka-2", "health", expect=2)
        assert "the cluster cannot lose euw-kafka-2 now: other brokers are away: euw-kafka-3 (3)" in said
        assert "would fall below min.insync.replicas" in said
        answer = scenario.verb(tmp_path, "euw-kafka-3", "health")
        assert answer["healthy"] and not answer["running"]
        assert "euw-kafka-3 does not serve yet" in scenario.verb(tmp_path, "euw-kafka-3", "undrain", expect=2)
    finally:
        host.check_output("systemctl start kafka")
    scenario.verb(tmp_path, "euw-kafka-3", "undrain", **WHOLE)
    answer = scenario.verb(tmp_path, "euw-kafka-2", "drain", **WHOLE)
    assert answer["healthy"] and answer["brokers"] == [1, 2, 3]


def test_topics_that_never_survive_a_broker_block_unless_waived(scenario, host, tmp_path):
    host.check_output("kafka-topics.sh --create --topic single --replica-assignment 2")
    try:
        said = scenario.verb(tmp_path, "euw-kafka-2", "health", expect=2)
        assert "never survive one broker" in said and "single (RF 1, min ISR 2)" in said
        assert scenario.verb(tmp_path, "euw-kafka-2", "health", kafka_waived_topics=["single"])["healthy"]
    finally:
        host.check_output("kafka-topics.sh --delete --topic single")


def test_topics_grow_and_drift_is_repaired(scenario, host):
    grown = {**TOPIC, "name": "grown", "partitions": 2}
    scenario.converge({"kafka_topics": [grown]})
    try:
        alter = "kafka-configs.sh --alter --entity-type topics --entity-name grown --add-config"
        host.check_output(f"{alter} retention.ms=1000,max.message.bytes=2000000")
        said = scenario.converge({"kafka_topics": [{**grown, "partitions": 4}]})
        assert "changed=1" in said
        found = host.check_output("kafka-topics.sh --describe --topic grown")
        assert "PartitionCount: 4" in found and "retention.ms=3600000" in found
        assert "max.message.bytes=2000000" in found, "a key that is not managed stays"
        assert "changed=1" not in scenario.converge({"kafka_topics": [{**grown, "partitions": 4}]})
        said = scenario.converge({"kafka_topics": [{**grown, "replication_factor": 2}]}, expect=2)
        assert "grown has 4 partitions, 2 are wished for: partitions cannot be taken away" in said
        assert "grown has 3 replicas, 2 are wished for" in said and "kafka-reassign-partitions.sh" in said
    finally:
        host.check_output("kafka-topics.sh --delete --topic grown")


def test_a_changed_setting_is_written_and_restarts_nothing(scenario, brokers, tmp_path):
    before = {name: pid(host, "kafka") for name, host in brokers.items()}
    settings = scenario.hosts("euw-kafka-2")["euw-kafka-2"].ansible.get_variables()["kafka_settings"]
    scenario.converge({"kafka_settings": {**settings, "num.io.threads": 5}})
    assert brokers["euw-kafka-2"].file("/etc/kafka/server.properties").contains("^num.io.threads=5$")
    answer = scenario.verb(tmp_path, "euw-kafka-2", "restart_needed")
    assert answer["restart_needed"] and "/etc/kafka/server.properties changed" in answer["reasons"][0]
    assert "changed=1" in scenario.converge()
    assert not scenario.verb(tmp_path, "euw-kafka-2", "restart_needed")["restart_needed"]
    assert {name: pid(host, "kafka") for name, host in brokers.items()} == before


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"kafka_version": "3.8.1"},
            "euw-kafka-1 (kafka): runs Kafka 3.9.2, kafka_version is 3.8.1. A converge never changes the version of a running broker. "
            "Roll it, or set kafka_version back: ansible-playbook playbooks/rolling-upgrade.yml -e component=kafka -e version=3.8.1 -l euw",
        ),
        ({"kafka_settings": {"log.retention.bytes": 10**13}}, "topics may grow to"),
        ({"kafka_jmx_exporter_version": "0.1"}, "jmx-exporter 0.1: not in artifacts.yml; it has 1.0.1"),
        ({"kafka_broker_id": "one"}, "kafka_broker_id"),
    ],
)
def test_what_must_not_be_done_is_refused_before_anything_changes(scenario, brokers, variables, said):
    before = {name: pid(host, "kafka") for name, host in brokers.items()}
    output = scenario.converge(variables, expect=2)
    assert said in output
    assert "changed=0" in output and "changed=1" not in output
    assert {name: pid(host, "kafka") for name, host in brokers.items()} == before
