"""A scenario's service hosts from outside: commands over SSH, plays, and requests to the services (for collect, pat and sink too)."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest


class Fleet:
    def __init__(self, scenario):
        self.scenario, self.project = scenario, scenario.parents[1]
        self.state = self.project / ".cache" / "molecule" / scenario.name
        text = (self.state / "ssh_config").read_text(encoding="utf-8")
        self.addresses = dict(re.findall(r"^Host (\S+)$.*?^\s*HostName (\S+)$", text, re.MULTILINE | re.DOTALL))

    def run(self, host, command, check=True, stdin=""):
        ssh = ["ssh", "-F", str(self.state / "ssh_config"), host, "sudo", "sh", "-c", f"'{command}'"]
        done = subprocess.run(ssh, input=stdin, capture_output=True, text=True)
        assert done.returncode == 0 or not check, f"{host}: {command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ansible(self, program, *arguments, check=True):
        command = [str(Path(sys.executable).parent / program), "-i", str(self.scenario / "inventory.yml"), *arguments]
        environment = os.environ | {"ANSIBLE_CONFIG": str(self.project / "ansible.cfg")}
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.project, env=environment)
        assert done.returncode == 0 or not check, done.stdout[-3000:] + done.stderr[-1000:]
        return done

    def play(self, book, check=True, **variables):
        return self.ansible("ansible-playbook", str(self.project / book), "-e", json.dumps(variables), check=check)

    def verb(self, role, target, verb, check=True, **variables):
        return self.play("molecule/service/verb.yml", check, role=role, target=target, verb=verb, **variables)

    def module(self, host, name, **arguments):
        return self.ansible("ansible", host, "--become", "-m", name, "-a", json.dumps(arguments))

    def http(self, host, path, body=None, timeout=10, headers=None):
        """Status and text of one request to the service on a host."""
        connection = http.client.HTTPConnection(self.addresses[host], 8080, timeout=timeout)
        try:
            connection.request("GET" if body is None else "POST", path, body, {"Content-Type": "application/json"} | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def ready(self, host):
        """Status and document of /readyz."""
        status, text = self.http(host, "/readyz")
        return status, json.loads(text)

    def metric(self, host, name):
        """A metric by its name with labels; 0 where it is not there."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.http(host, "/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    @staticmethod
    def events(number, **fields):
        return [{"event_id": str(uuid.uuid4()), "site": "shop", "visitor": f"v{n}", "type": "pageview"} | fields for n in range(number)]

    @staticmethod
    def until(condition, seconds, what):
        """Wait until it is so; no connection is not so."""

        def so():
            try:
                return condition()
            except (OSError, http.client.HTTPException):
                return False

        start = time.monotonic()
        while not so():
            assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def fleet(request):
    return Fleet(request.path.parents[1])
