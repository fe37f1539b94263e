"""What a batch does when something goes wrong, and what an operator reads then; and that secrets stay secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.batch import lab

SECRET = "hunter2"


def play(host: str, tasks: list[dict], **more: Any) -> list[dict]:
    return [{"hosts": host, "gather_facts": False, "become": True, "tasks": tasks, **more}]


def batch(*items: dict, **more: Any) -> dict:
    return {"name": "The batch", "webtrends.optimize.batch": {"tasks": list(items), "method": "one_execution"}, **more}


def misbehave(how: str, **more: Any) -> dict:
    return {"name": f"It {how}", "lab.things.misbehave": {"how": how, **more}}


@pytest.fixture(scope="module")
def here(hosts: None) -> lab.Controller:
    return lab.controller("2.19")


@pytest.fixture
def host(here: lab.Controller) -> str:
    return here.names[1]


def test_a_killed_module_is_told(here: lab.Controller, host: str) -> None:
    done = here.playbook(play(host, [batch(misbehave("killed"), misbehave("never"))]))
    assert done.returncode == 2
    assert "It killed (lab.things.misbehave) on core-node-2: The module was killed by signal 9." in done.stdout + done.stderr
    assert "It never" not in done.stdout


def test_a_killed_program_names_the_item_that_had_begun(here: lab.Controller, host: str) -> None:
    done = here.playbook(play(host, [batch({"name": "Good", "ansible.builtin.command": "true"}, misbehave("kill parent"))]))
    assert done.returncode == 2
    assert "It kill parent (lab.things.misbehave) on core-node-2: it began and gave no result" in done.stdout + done.stderr
    assert "changed: [core-node-2] => (item=Good)" in done.stdout


def test_a_host_without_the_interpreter(here: lab.Controller, host: str) -> None:
    done = here.playbook(play(host, [batch(misbehave("well"))], vars={"ansible_python_interpreter": "/usr/bin/python9"}))
    assert done.returncode == 2
    assert "The module interpreter '/usr/bin/python9' was not found." in done.stdout + done.stderr


def test_an_unreachable_host_is_unreachable(here: lab.Controller, host: str) -> None:
    done = here.playbook(play(host, [batch(misbehave("well"))], vars={"ansible_host": "127.0.0.2", "ansible_port": 9}))
    assert done.returncode == 4
    assert "UNREACHABLE" in done.stdout


def test_a_broken_connection_begins_nothing_more(here: lab.Controller, host: str) -> None:
    """sshd's session dies while an item runs: the host is unreachable, that item ends, the next never begins."""
    lab.ssh(host, "rm -f /srv/began /srv/never")
    cut = {
        "name": "Cut",
        "ansible.builtin.shell": "touch /srv/began; pkill -9 -o -f 'sshd: ansible@notty'; pkill -9 -f 'sshd: ansible@notty'; sleep 1",
    }
    never = {"name": "Never", "ansible.builtin.command": "touch /srv/never"}
    done = here.playbook(play(host, [batch(cut, never)]), env={"ANSIBLE_SSH_RETRIES": "0", "ANSIBLE_SSH_ARGS": "-o ControlMaster=no"})
    assert done.returncode == 4, done.stdout
    assert lab.ssh(host, "sleep 3; test -e /srv/began && test ! -e /srv/never", check=False).returncode == 0


def test_a_module_that_hangs_ends_with_the_task(here: lab.Controller, host: str) -> None:
    done = here.playbook(play(host, [batch(misbehave("sleep", argument="60"), timeout=5)]))
    assert done.returncode == 2
    assert "imed out" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", ["mount -t tmpfs -o size=16k,mode=0700 none ~root/.ansible", "mount -t tmpfs -o ro,mode=0700 none ~root/.ansible"]
)
def test_a_host_that_can_keep_no_library(here: lab.Controller, host: str, command: str) -> None:
    lab.ssh(host, f"mkdir -p ~root/.ansible; {command}")
    try:
        wanted = {"name": "The batch", "webtrends.optimize.batch": {"tasks": [misbehave("well")]}}
        done = here.playbook(play(host, [wanted]))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "run one by one, which is slow, because the host can't keep its library" in done.stderr + done.stdout
        forced = here.playbook(play(host, [batch(misbehave("well"))]))
        assert forced.returncode == 2 and "this batch can't be one remote execution" in forced.stdout + forced.stderr
    finally:
        lab.ssh(host, "umount ~root/.ansible")


def test_a_missing_and_a_noexec_remote_tmp(here: lab.Controller, host: str) -> None:
    lab.ssh(host, "rm -rf ~root/.ansible; mkdir -p ~root/.ansible; mount -t tmpfs -o noexec,mode=0700 none ~root/.ansible")
    try:
        done = here.playbook(play(host, [batch(misbehave("well"))]))
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        lab.ssh(host, "umount ~root/.ansible")


def test_a_library_directory_of_another_is_refused(here: lab.Controller, host: str) -> None:
    lab.ssh(
        host,
        "rm -rf ~root/.ansible; mkdir -p -m 0700 ~root/.ansible/tmp/optimize-batch-0; chown nobody ~root/.ansible/tmp/optimize-batch-0",
    )
    try:
        done = here.playbook(play(host, [batch(misbehave("well"))]))
        assert done.returncode == 2
        said = " ".join((done.stdout + done.stderr).split())
        assert "/.ansible/tmp/optimize-batch-0 can't hold the library of a batch: found directory of uid 65534" in said
    finally:
        lab.ssh(host, "rm -rf ~root/.ansible")


@pytest.mark.parametrize("method", ["one_execution", "one_by_one"])
def test_secrets_are_nowhere(here: lab.Controller, host: str, method: str) -> None:
    items = [
        {"name": "Content", "ansible.builtin.copy": {"content": "{{ secret }}", "dest": "/srv/secret", "mode": "0600"}, "no_log": True},
        {
            "name": "Template",
            "ansible.builtin.template": {"src": "settings.conf.j2", "dest": "/srv/secret2", "mode": "0600"},
            "no_log": True,
        },
        {"name": "Command", "ansible.builtin.command": {"cmd": "cat", "stdin": "{{ secret }}"}, "no_log": True},
        {"name": "Fails", "ansible.builtin.command": {"cmd": "sh -c 'cat; exit 1'", "stdin": "{{ secret }}"}, "no_log": True},
    ]
    variables = {"secret": SECRET, "item_name": SECRET, "numbers": []}
    # Earlier tests filled the journal; where it is not emptied, the search below only has more to look at.
    lab.ssh(host, "rm -f /srv/secret /srv/secret2; journalctl --rotate --vacuum-time=1s -q || true")
    wanted = batch(*items)
    wanted["webtrends.optimize.batch"]["method"] = method
    done = here.playbook(play(host, [wanted], vars=variables), "-vvv", "--diff")
    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr
    assert "Fails (ansible.builtin.command) on core-node-2: hidden due to its no_log" in " ".join((done.stdout + done.stderr).split())
    assert lab.ssh(host, "cat /srv/secret").stdout.decode() == SECRET
    assert SECRET.encode() not in lab.ssh(host, "journalctl -q --no-pager; find ~root/.ansible -type f -exec cat {} +", check=False).stdout


def test_handlers_conditions_and_loops_in_a_play(here: lab.Controller, host: str) -> None:
    lab.ssh(host, "rm -rf /srv/play; mkdir /srv/play")
    content = {"content": "x", "dest": "/srv/play/{{ item }}", "mode": "0644"}
    items = [
        {"name": "File {{ item }}", "ansible.builtin.copy": content, "loop": ["a", "b"], "notify": "Handler of files"},
        {"name": "After a", "ansible.builtin.command": "touch /srv/play/after", "when_changed": "File a"},
        {"name": "There", "ansible.builtin.file": {"path": "/srv/play", "state": "directory"}, "notify": "Handler of nothing"},
        {"name": "After nothing", "ansible.builtin.command": "touch /srv/play/never", "when_changed": "There"},
    ]
    handlers = [
        {"name": f"Handler of {what}", "ansible.builtin.command": f"touch /srv/play/handled-{what}"} for what in ("files", "nothing")
    ]
    done = here.playbook(play(host, [batch(*items)], handlers=handlers))
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.ssh(host, "ls /srv/play").stdout.split() == [b"a", b"after", b"b", b"handled-files"]
    again = here.playbook(play(host, [batch(*items)], handlers=handlers))
    assert "changed=0" in again.stdout


def test_delegation_once_and_another_user(here: lab.Controller) -> None:
    who = {"name": "Who", "ansible.builtin.shell": "id -un; hostname"}
    keep = {"content": "{{ r.results[0].stdout_lines | to_json }}", "dest": "{{ playbook_dir }}/out/who.json", "mode": "0600"}
    tasks = [
        batch(who, register="r", run_once=True, delegate_to=here.names[2], become_user="daemon"),
        {
            "name": "Keep it",
            "ansible.builtin.copy": keep,
            "delegate_to": "localhost",
            "connection": "local",
            "become": False,
            "run_once": True,
        },
    ]
    done = here.playbook(play(f"{here.names[0]},{here.names[1]}", tasks), env={"ANSIBLE_REMOTE_TMP": "/tmp/optimize-lab-tmp"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert here.result("who.json") == ["daemon", here.names[2]]


def test_an_interrupted_controller_leaves_a_usable_host(here: lab.Controller, host: str) -> None:
    """Half a library under a name of its own is not looked at."""
    listing = "cd ~root/.ansible/tmp/optimize-batch-0/*/ && ls -A | wc -l"
    assert here.playbook(play(host, [batch(misbehave("well"))])).returncode == 0
    lab.ssh(host, "cd ~root/.ansible/tmp/optimize-batch-0/*/ && mkdir .half && for d in ????????????????*; do rm -rf $d; done")
    assert here.playbook(play(host, [batch(misbehave("well"))])).returncode == 0
    assert json.loads(lab.ssh(host, listing).stdout) == 2
