"""An ensemble that keeps its data, its quorum and its disk, and whose verbs say so."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["core-zookeeper-1"]
SCENARIO = Path(__file__).resolve().parents[1]
PROJECT = SCENARIO.parents[1]
NAMES = ["core-zookeeper-1", "core-zookeeper-2", "core-zookeeper-3"]

VERB = """
- hosts: core-zookeeper-2
  become: true
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: zookeeper, tasks_from: "{{ verb }}"}
    - ansible.builtin.copy:
        content: "{{ {'member': zookeeper_member | default({}), 'restart': zookeeper_restart_needed | default({})} | to_json }}"
        dest: "{{ answer }}"
      delegate_to: localhost
      become: false
"""


@pytest.fixture(scope="module")
def members():
    inventory = str(SCENARIO / "inventory.yml")
    return {name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory) for name in NAMES}


def play(playbook, *arguments):
    command = ["ansible-playbook", "-i", str(SCENARIO / "inventory.yml"), str(playbook), *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_BECOME": "false"}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def converge(*arguments):
    return play(PROJECT / "playbooks" / "zookeeper.yml", *arguments)


def verb(tmp_path, name, expect=0):
    """Run a verb of the role on core-zookeeper-2; its answer, or what it said when it refused."""
    (tmp_path / "verb.yml").write_text(VERB)
    answer = tmp_path / "answer.json"
    quick = {"zookeeper_health_samples": 2, "zookeeper_health_interval": 0.5, "zookeeper_health_timeout": 5}
    done = play(tmp_path / "verb.yml", "-e", json.dumps({"verb": name, "answer": str(answer), **quick}))
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout if expect else json.loads(answer.read_text())


def address(member):
    return member.ansible.get_variables()["ansible_host"]


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


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} s: {what}")


def whole(members):
    return sorted(map(state, members.values())) == ["follower", "follower", "leader"]


def pid(member):
    return member.check_output("systemctl show --value --property MainPID zookeeper")


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


def test_health_opens_for_a_whole_ensemble_and_says_who_leads(members, tmp_path):
    answer = verb(tmp_path, "health")["member"]
    assert answer["healthy"] and answer["running"] and answer["version"].startswith("3.9")
    assert answer["leader"] == (leader(members) == "core-zookeeper-2")


def test_health_blocks_while_another_member_is_down_and_opens_for_the_one_that_is(members, tmp_path):
    members["core-zookeeper-3"].check_output("systemctl stop zookeeper")
    try:
        said = verb(tmp_path, "health", expect=2)
        assert "the ensemble cannot lose core-zookeeper-2 now" in said and "core-zookeeper-3:2181 does not answer" in " ".join(said.split())
        assert verb(tmp_path, "member")["member"]["healthy"] is False
    finally:
        members["core-zookeeper-3"].check_output("systemctl start zookeeper")
    until(lambda: whole(members), 30, "whole again")
    members["core-zookeeper-2"].check_output("systemctl stop zookeeper")
    try:
        until(lambda: leader(members), 20, "the others elect")
        answer = verb(tmp_path, "health")["member"]
        assert answer["healthy"] and not answer["running"]
        verb(tmp_path, "undrain", expect=2)
    finally:
        members["core-zookeeper-2"].check_output("systemctl start zookeeper")
    until(lambda: whole(members), 30, "whole again")
    verb(tmp_path, "undrain")


def test_a_changed_setting_is_written_and_restarts_nothing(members, tmp_path):
    before = {name: pid(member) for name, member in members.items()}
    changed = json.dumps({"zookeeper_settings": {"preAllocSize": 4096, "maxClientCnxns": 77}})
    assert converge("-e", changed).returncode == 0
    assert "maxClientCnxns=77" in members["core-zookeeper-2"].check_output("cat /etc/zookeeper/zoo.cfg")
    assert {name: pid(member) for name, member in members.items()} == before
    answer = verb(tmp_path, "restart_needed")["restart"]
    assert answer["restart_needed"] and "/etc/zookeeper/zoo.cfg changed" in answer["reasons"][0]
    assert converge().returncode == 0
    assert not verb(tmp_path, "restart_needed")["restart"]["restart_needed"]


def test_another_version_on_a_running_member_is_refused_with_the_command_to_type(members):
    before = {name: pid(member) for name, member in members.items()}
    done = converge("-e", "zookeeper_version=3.8.3")
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "core-zookeeper-1 (zookeeper) runs ZooKeeper 3.9.4, zookeeper_version is 3.8.3" in said
    assert "playbooks/rolling-upgrade.yml -e component=zookeeper -e version=3.8.3 -l core" in said
    assert "changed=0" in done.stdout and "changed=1" not in done.stdout
    assert {name: pid(member) for name, member in members.items()} == before
    assert not members["core-zookeeper-1"].file("/opt/zookeeper/3.8.3").exists


def test_an_altered_artifact_is_refused_and_nothing_changes(members):
    member = members["core-zookeeper-1"]
    member.check_output("touch /opt/zookeeper/current/lib/commons-cli-1.5.0.jar")
    try:
        done = converge("-l", "core-zookeeper-1")
        said = " ".join(done.stdout.split())
        assert done.returncode == 2 and "changed=0" in said
        assert "zookeeper 3.9.4: /opt/zookeeper/3.9.4 was altered since it was unpacked: expected fingerprint" in said
    finally:
        member.check_output("touch --date=@0 /opt/zookeeper/current/lib/commons-cli-1.5.0.jar")
    assert converge("-l", "core-zookeeper-1").returncode == 0
