"""The scenario's cluster as clients and operators see it."""

import contextlib
import json
import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import pytest
import testinfra
import yaml

SCENARIO = Path(__file__).resolve().parents[1]
PROJECT = SCENARIO.parents[1]
STATE = PROJECT / ".cache" / "molecule" / "clickhouse"
NODES = [f"core-clickhouse-{number}" for number in (1, 2, 3, 4)]
LIBRARY = "core-clickhouse-library-1"
# Sites of this run alone, so that the tests can be repeated on the same hosts.
RUN = uuid.uuid4().hex[:8]


class Refused(Exception):
    """ClickHouse's answer to what it does not do; status 0 where nobody answered."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Clients:
    """HTTP as a client of the cluster. The users may come from its hosts only, so it goes through one of them."""

    def __init__(self, ports, passwords):
        self.ports = ports
        self.passwords = passwords

    def get(self, node, path="/", port=8123):
        return self._open(urllib.request.Request(f"http://127.0.0.1:{self.ports[node, port]}{path}"))

    def query(self, node, sql, data=None, user="reader", password=None, **settings):
        if data is not None:
            settings["query"] = sql
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[node, 8123]}/?{urllib.parse.urlencode(settings)}",
            data=(sql if data is None else data).encode(),
            headers={"X-ClickHouse-User": user, "X-ClickHouse-Key": password or self.passwords.get(user, "")},
        )
        return self._open(request)

    def insert(self, node, data, table="events_write"):
        return self.query(node, f"INSERT INTO optimize.{table} FORMAT JSONEachRow", data, user="writer")

    def count(self, node, where="1", table="events"):
        return int(self.query(node, f"SELECT count() FROM optimize.{table} WHERE {where}"))

    def _open(self, request):
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode()) from error
        except OSError as error:
            raise Refused(0, str(error)) from error


def free_ports(count):
    """Ports below 32768: from there on the kernel gives them to outgoing connections, of which other tests make many in the meantime."""
    found = []
    for port in random.sample(range(20000, 32768), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"fewer than {count} free ports")


@pytest.fixture(scope="module")
def hosts():
    inventory = str(SCENARIO / "inventory.yml")
    names = [*NODES, LIBRARY, "core-zookeeper-1"]
    return {name: testinfra.get_host(f"ansible://{name}", ansible_inventory=inventory) for name in names}


@pytest.fixture(scope="module")
def clients():
    passwords = yaml.safe_load((STATE / "secrets.yml").read_text())["secret_clickhouse_passwords"]
    ends = [(node, port) for node in [*NODES, LIBRARY] for port in (8123, 8125)]
    ports = dict(zip(ends, free_ports(len(ends)), strict=True))
    forwards = [word for (node, port), local in ports.items() for word in ("-L", f"127.0.0.1:{local}:{node}:{port}")]
    command = ["ssh", "-F", str(STATE / "ssh_config"), "-S", "none", "-N", "-o", "ExitOnForwardFailure=yes", *forwards, NODES[0]]
    with subprocess.Popen(command) as tunnel:
        found = Clients(ports, passwords)
        until(lambda: found.get(NODES[0], "/ping"), 30, "the way through the first node")
        yield found
        tunnel.terminate()


def until(condition, seconds, what):
    """Wait for a condition; a refusal counts as "not yet"."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Refused):
            if found := condition():
                return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.3)


def play(playbook, **variables):
    command = ["ansible-playbook", "-i", str(SCENARIO / "inventory.yml"), str(playbook), "-e", json.dumps(variables)]
    if limit := variables.get("limit"):
        command += ["-l", limit]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_BECOME": "false"}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


VERBS = """
- hosts: "{{ limit }}"
  become: true
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: clickhouse, tasks_from: "{{ item }}"}
      loop: "{{ verbs }}"
    - ansible.builtin.copy:
        content: "{{ {'member': clickhouse_member | default({}), 'restart': clickhouse_restart_needed | default({})} | to_json }}"
        dest: "{{ answer }}"
      delegate_to: localhost
      become: false
"""


@pytest.fixture
def verb(tmp_path):
    """Run verbs of the role on a node: their answers, or what a refusal said."""

    def run(node, *verbs, expect=0, **variables):
        (tmp_path / "verb.yml").write_text(VERBS)
        answer = tmp_path / "answer.json"
        quick = {"clickhouse_health_samples": 2, "clickhouse_health_interval": 0.5, "clickhouse_health_timeout": 90}
        done = play(tmp_path / "verb.yml", limit=node, verbs=verbs, answer=str(answer), **{**quick, **variables})
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout if expect else json.loads(answer.read_text())

    return run


def event(**fields):
    return {"event_id": str(uuid.uuid4()), "site": f"{RUN}-any", "visitor": "v", "type": "pageview", "received_at": 1790000000000, **fields}


def lines(events):
    return "".join(json.dumps(one) + "\n" for one in events)


def insert_anywhere(clients, data, first=0):
    """What a service does: the same bytes, on the next node, until one has stored them."""
    for attempt in range(first, first + 120):
        try:
            return clients.insert(NODES[attempt % len(NODES)], data)
        except Refused:
            time.sleep(0.5)
    raise AssertionError("no node took the events within a minute")


def pid(host):
    return host.check_output("systemctl show --value --property MainPID clickhouse-server")
