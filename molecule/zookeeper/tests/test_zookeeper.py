"""An ensemble that keeps its data, its quorum and its disk, and whose verbs say so."""

import re
import socket
import urllib.request

import pytest
from scenario import address, pid, until

testinfra_hosts = ["ansible://core-zookeeper-1"]
NAMES = ["core-zookeeper-1", "core-zookeeper-2", "core-zookeeper-3"]


@pytest.fixture(scope="module")
def members(scenario):
    return scenario.hosts(*NAMES)


def state(member):
    """leader, follower, or nothing where the member does not serve; asked from here."""
    try:
        with socket.create_connection((address(member), 2181), 2) as connection:
            connection.sendall(b"srvr")
            found = re.search(r"^Mode: (\w+)$", connection.makefile().read(), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1) if found else ""


def leader(members):
    return next((name for name, member in members.items() if state(member) == "leader"), "")


def whole(members):
    return sorted(map(state, members.values())) == ["follower", "follower", "leader"]


def test_roots_of_the_clients_are_there(host):
    nodes = host.check_output("zkCli.sh ls / </dev/null 2>/dev/null | tail -1")
    assert set(nodes.strip("[]").split(", ")) == {"clickhouse", "kafka-eun", "kafka-euw", "kafka-ue2", "zookeeper"}


def test_metrics_can_be_scraped(members):
    for member in members.values():
        text = urllib.request.urlopen(f"http://{address(member)}:7000/metrics", timeout=5).read().decode()
        assert "quorum_size 3.0" in text and "jvm_memory_bytes_used" in text


def test_a_write_survives_the_killed_leader_which_comes_back(members):
    until(lambda: whole(members), 30, "a leader and two followers")
    first = leader(members)
    other = members[next(name for name in NAMES if name != first)]
    other.check_output("zkCli.sh create /survives yes </dev/null")
    assert members[first].run("systemctl kill --signal=KILL zookeeper").rc == 0
    second = until(lambda: leader({name: member for name, member in members.items() if name != first}), 20, "another leader")
    assert second != first
    until(lambda: whole(members), 30, "the killed member serves again")
    assert "yes" in members[first].check_output("zkCli.sh get /survives </dev/null")
    other.check_output("zkCli.sh delete /survives </dev/null")


def test_old_snapshots_are_purged(members):
    member = members["core-zookeeper-3"]
    directory = "/var/lib/zookeeper/data/version-2"
    newest = member.check_output(f"ls -t {directory} | grep snapshot | head -1")
    member.check_output(f"sh -c 'for n in 1 2 3 4 5 6 7 8; do cp --preserve {directory}/{newest} {directory}/snapshot.$n; done'")
    member.check_output("systemctl restart zookeeper")
    until(lambda: int(member.check_output(f"ls {directory} | grep --count snapshot")) <= 5, 30, "at most five snapshots")
    until(lambda: whole(members), 30, "whole again")


def test_health_opens_for_a_whole_ensemble_and_says_who_leads(scenario, members, tmp_path):
    answer = scenario.verb(tmp_path, "core-zookeeper-2", "health")
    assert answer["healthy"] and answer["running"] and answer["version"].startswith("3.9")
    assert answer["leader"] == (leader(members) == "core-zookeeper-2")


def test_health_blocks_while_another_member_is_down_and_opens_for_the_one_that_is(scenario, members, tmp_path):
    members["core-zookeeper-3"].check_output("systemctl stop zookeeper")
    try:
        said = scenario.verb(tmp_path, "core-zookeeper-2", "health", expect=2)
        assert "the ensemble cannot lose core-zookeeper-2 now" in said and "core-zookeeper-3:2181 does not answer" in said
        assert scenario.verb(tmp_path, "core-zookeeper-2", "member")["healthy"] is False
        answer = scenario.verb(tmp_path, "core-zookeeper-3", "drain")
        assert answer["healthy"] and not answer["running"]
        assert "core-zookeeper-3 does not serve yet" in scenario.verb(tmp_path, "core-zookeeper-3", "undrain", expect=2)
    finally:
        members["core-zookeeper-3"].check_output("systemctl start zookeeper")
    until(lambda: whole(members), 30, "whole again")
    scenario.verb(tmp_path, "core-zookeeper-3", "undrain")


def test_a_changed_setting_is_written_and_restarts_nothing(scenario, members, tmp_path):
    before = {name: pid(member, "zookeeper") for name, member in members.items()}
    scenario.converge({"zookeeper_settings": {"preAllocSize": 4096, "maxClientCnxns": 77}})
    assert members["core-zookeeper-2"].file("/etc/zookeeper/zoo.cfg").contains("^maxClientCnxns=77$")
    assert {name: pid(member, "zookeeper") for name, member in members.items()} == before
    answer = scenario.verb(tmp_path, "core-zookeeper-2", "restart_needed")
    assert answer["restart_needed"] and "/etc/zookeeper/zoo.cfg changed" in answer["reasons"][0]
    scenario.converge()
    assert not scenario.verb(tmp_path, "core-zookeeper-2", "restart_needed")["restart_needed"]


def test_another_version_on_a_running_member_is_refused_with_the_command_to_type(scenario, members):
    before = {name: pid(member, "zookeeper") for name, member in members.items()}
    said = scenario.converge({"zookeeper_version": "3.8.3"}, expect=2)
    assert "core-zookeeper-1 (zookeeper) runs ZooKeeper 3.9.4, zookeeper_version is 3.8.3" in said
    assert "playbooks/rolling-upgrade.yml -e component=zookeeper -e version=3.8.3 -l core" in said
    assert "changed=0" in said and "changed=1" not in said
    assert {name: pid(member, "zookeeper") for name, member in members.items()} == before
    assert not members["core-zookeeper-1"].file("/opt/zookeeper/3.8.3").exists


def test_an_altered_artifact_is_refused_and_nothing_changes(scenario, members):
    member, jar = members["core-zookeeper-1"], "/opt/zookeeper/current/lib/commons-cli-1.5.0.jar"
    member.check_output(f"touch {jar}")
    try:
        said = scenario.converge(None, "-l", "core-zookeeper-1", expect=2)
        assert "changed=0" in said
        assert "zookeeper 3.9.4: /opt/zookeeper/3.9.4 was altered since it was unpacked: expected fingerprint" in said
    finally:
        member.check_output(f"touch --date=@0 {jar}")
    scenario.converge(None, "-l", "core-zookeeper-1")
