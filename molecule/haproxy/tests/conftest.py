"""The scenario's hosts from outside: commands over SSH, requests as a client makes them."""

import http.client
import itertools
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

SCENARIO = Path(__file__).parents[1]
PROJECT = SCENARIO.parents[1]
STATE = PROJECT / ".cache" / "molecule" / "haproxy"
EDGE = "euw.edge.optimize.test"


class Fleet:
    state = STATE
    edge_name = EDGE
    clickhouse = "10.92.160.11"
    gateway = "10.92.160.111"

    def run(self, host, command, check=True):
        ssh = ["ssh", "-F", str(STATE / "ssh_config"), host, "sudo", "sh", "-c", f"'{command}'"]
        done = subprocess.run(ssh, capture_output=True, text=True)
        assert done.returncode == 0 or not check, f"{host}: {command}: {done.stderr}"
        return done.stdout.strip()

    def play(self, book, check=True, **variables):
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(SCENARIO / "inventory.yml"), str(SCENARIO / book)]
        environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
        done = subprocess.run([*command, "-e", json.dumps(variables)], capture_output=True, text=True, cwd=PROJECT, env=environment)
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-1000:]
        return done

    def verb(self, target, verb, check=True, **variables):
        return self.play("verb.yml", check, target=target, verb=verb, **variables)

    def answers(self, host, **files):
        """What the host's backend answers to checks: readyz="503 no"."""
        for name, text in files.items():
            self.run(host, f'echo "{text}" > /run/backend/{name}')

    def get(self, port, path="/", body=None, timeout=10, address=None):
        connection = http.client.HTTPConnection(address or self.clickhouse, port, timeout=timeout)
        try:
            connection.request("POST" if body is not None else "GET", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def hosts_behind(self, port, requests=12):
        found = set()
        for _ in range(requests):
            status, body = self.get(port)
            assert status == 200
            found.add(json.loads(body)["host"])
        return found

    def edge(self, path, method="GET", body=None, headers=None, context=None):
        """One request by TLS, verified against the local authority, to the gateway's shared address."""
        context = context or ssl.create_default_context(cafile=STATE / "ca.pem")
        connection = http.client.HTTPSConnection(EDGE, timeout=10, context=context)
        # Name service is not what is tested.
        connection._create_connection = lambda *_, **__: socket.create_connection((self.gateway, 443), timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def stream(self, port=8124):
        return Stream(self, port)

    @staticmethod
    def until(condition, seconds, what):
        """Wait until it is so; no connection is not so."""

        def so():
            try:
                return condition()
            except OSError:
                return False

        start = time.monotonic()
        while not so():
            assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
            time.sleep(0.2)

    def holder(self, pair):
        """The member that holds the pair's address; both or none is wrong and fails."""
        address = self.clickhouse if "lb-clickhouse" in pair else self.gateway
        held = [f"{pair}-{n}" for n in (1, 2) if address + "/" in self.run(f"{pair}-{n}", "ip -o address show")]
        assert len(held) == 1, f"{address} is held by {held}"
        return held[0]


class Stream:
    """Requests one after another, each on a connection of its own, while something happens."""

    def __init__(self, fleet, port=8124):
        self.fleet, self.port = fleet, port
        self.results = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._end.is_set():
            begun = time.monotonic()
            try:
                ok = self.fleet.get(self.port, timeout=2)[0] == 200
            except OSError:
                ok = False
            self.results.append((begun, time.monotonic(), ok))
            time.sleep(0.02)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    @property
    def failed(self):
        return [one for one in self.results if not one[2]]

    @property
    def gap(self):
        """Seconds from the last success before the first failure until the next success."""
        good = [end for _, end, ok in self.results if ok]
        return max((after - before for before, after in itertools.pairwise(good)), default=0)


@pytest.fixture(scope="session")
def fleet():
    return Fleet()
