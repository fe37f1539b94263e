"""The project on the newest ansible-core: a cluster's roles and verbs, on Debian 13 hosts, from a controller that is one of them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.batch import lab

HEAP = {"zookeeper_heap_mb": 96, "zookeeper_java_options": ["-XX:+UseSerialGC"], "artifact_source": "store"}
ROLES = ("base", "java", "zookeeper")
#: What ansible-core says of code that a later version will not run, or not as it is meant.
COMPLAINTS = re.compile(r"\[(?:DEPRECATION WARNING|WARNING)\].*")
#: A check of a blank host has no account yet that a file could belong to.
EXPECTED = re.compile(r"failed to look up (user|group) zookeeper\. Create (user|group) up to this point in real play")


@pytest.fixture(scope="module")
def newest(hosts: None) -> lab.Inside:
    """A controller with the newest core, the project's roles and what they install."""
    subprocess.run([sys.executable, "-m", "tools.store", "fill", "zookeeper"], cwd=lab.ROOT, check=True)
    controller = lab.Inside(lab.NEWER[-1], "roles")
    store = lab.ROOT / ".cache/store/zookeeper"
    controller.bring({"roles": lab.ROOT / "roles", "artifacts.yml": lab.ROOT / "artifacts.yml", ".cache/store/zookeeper": store})
    return controller


def play(newest: lab.Inside, tasks: list[dict]) -> list[dict]:
    hosts = [{"address": str(lab.hosts()[name]["ansible_host"]), "names": [name]} for name in newest.names]
    members = {name: number for number, name in enumerate(newest.names, 1)}
    variables = HEAP | {
        "base_hosts": hosts,
        "zookeeper_members": members,
        "zookeeper_myid": "{{ zookeeper_members[inventory_hostname] }}",
        "zookeeper_chroots": ["/kafka-test"],
    }
    return [{"hosts": "all", "become": True, "gather_facts": False, "vars": variables, "tasks": tasks}]


def converge(newest: lab.Inside, *arguments: str) -> str:
    tasks: list[dict] = [{"name": "Know the hosts", "webtrends.optimize.preflight": None}]
    tasks += [{"name": f"Converge {role}", "ansible.builtin.import_role": {"name": role}} for role in ROLES]
    return said(newest, play(newest, tasks), *arguments)


def said(newest: lab.Inside, plays: list[dict], *arguments: str) -> str:
    done = newest.playbook(plays, *arguments, env={"ANSIBLE_ROLES_PATH": f"{lab.REMOTE}/roles"})
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    assert [line for line in COMPLAINTS.findall(output) if not ("--check" in arguments and EXPECTED.search(line))] == []
    return output


def test_a_cluster_converges_and_stays(newest: lab.Inside) -> None:
    converge(newest, "--check")
    converge(newest)
    again = converge(newest, "--diff")
    for host in newest.names:
        assert re.search(rf"^{host} .*changed=0 ", again, re.MULTILINE), again[-3000:]


def test_the_verbs_of_a_cluster(newest: lab.Inside) -> None:
    verbs = [
        {"name": f"Say {verb}", "ansible.builtin.include_role": {"name": "zookeeper", "tasks_from": verb}}
        for verb in ("member", "health", "drain", "undrain", "restart_needed")
    ]
    leads = {"name": "Who leads", "ansible.builtin.debug": {"msg": "leads={{ zookeeper_member.leader }}"}}
    output = said(newest, play(newest, [*verbs, leads]))
    assert (output.count("leads=True"), output.count("leads=False")) == (1, 2), output[-3000:]
