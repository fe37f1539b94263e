"""What tests of a scenario do from the outside: run a playbook again, run a role's verb, wait for a condition."""

import json
import os
import subprocess
import time
from pathlib import Path

import testinfra
import yaml

PROJECT = Path(__file__).resolve().parents[2]


class Scenario:
    """A scenario's hosts and plays.

    Args:
        directory: the scenario's.
        role: whose verbs and playbook are meant.
        quick: extra variables for verbs, so that a gate needs seconds.
    """

    def __init__(self, directory, role, quick=None):
        self.inventory = str(Path(directory) / "inventory.yml")
        self.role, self.quick = role, quick or {}

    def hosts(self, *names):
        return {name: testinfra.get_host(f"ansible://{name}", ansible_inventory=self.inventory) for name in names}

    def play(self, playbook, variables=None, *arguments):
        command = ["ansible-playbook", "-i", self.inventory, str(playbook), "-e", json.dumps(variables or {}), *arguments]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_BECOME": "false"}
        return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)

    def converge(self, variables=None, *arguments, expect=0):
        """The role's playbook again; what it said, in one line."""
        done = self.play(PROJECT / "playbooks" / f"{self.role}.yml", variables, *arguments)
        assert done.returncode == expect, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    def verb(self, directory, host, name, expect=0, **variables):
        """A verb on one host: what it registered, or what it said when it refused.

        Args:
            directory: a temporary one.
        """
        answer = directory / "answer.json"
        registered = f"{self.role}_restart_needed" if name == "restart_needed" else f"{self.role}_member"
        write = {
            "ansible.builtin.copy": {"content": f"{{{{ {registered} | to_json }}}}", "dest": str(answer), "mode": "0600"},
            "delegate_to": "localhost",
            "become": False,
        }
        run = {"ansible.builtin.include_role": {"name": self.role, "tasks_from": name}}
        play = {"hosts": host, "become": True, "gather_facts": False, "tasks": [run, write]}
        (directory / "verb.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
        done = self.play(directory / "verb.yml", {**self.quick, **variables})
        assert done.returncode == expect, done.stdout + done.stderr
        return " ".join(done.stdout.split()) if expect else json.loads(answer.read_text(encoding="utf-8"))


def until(condition, seconds, what):
    """The first true value of a condition; an assertion that says what was waited for when time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {seconds} s: {what}")


def address(host):
    return host.ansible.get_variables()["ansible_host"]


def pid(host, unit):
    """Process id of a unit, as text."""
    return host.check_output(f"systemctl show --value --property MainPID {unit}")
