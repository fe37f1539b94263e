"""What role base promises, seen from outside and on the host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

testinfra_hosts = ["all"]

SCENARIO = Path(__file__).resolve().parents[1]
PROBE = "probe"
PROBE_UNIT = f"""\
[Service]
ExecStartPre=-+/usr/local/libexec/optimize/loaded-state record {PROBE}
ExecStart=/usr/bin/sleep infinity
EnvironmentFile=-/etc/probe/environment
"""


def ssh(inventory_host: str, user: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A new connection of its own, as a person makes one."""
    state = SCENARIO.parents[1] / ".cache" / "molecule" / SCENARIO.name
    arguments = ["ssh", "-F", str(state / "ssh_config"), "-o", "ControlPath=none", "-o", "BatchMode=yes", *options]
    return subprocess.run([*arguments, f"{user}@{inventory_host}", command], capture_output=True, text=True, timeout=60)


def playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), f"--inventory={SCENARIO / 'inventory.yml'}", str(SCENARIO / "converge.yml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=SCENARIO.parents[1], timeout=300)


@pytest.fixture
def name(host):
    return host.run("hostname").stdout.strip()


def test_an_administrator_logs_in_with_a_key_and_becomes_root(name):
    answer = ssh(name, "ada", "sudo -n id -un")
    assert (answer.returncode, answer.stdout) == (0, "root\n"), answer.stderr


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_others_do_not(name, user):
    assert ssh(name, user, "true").returncode == 255


def test_no_password_is_asked_for(name):
    answer = ssh(name, "ada", "true", "-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=password,keyboard-interactive")
    assert answer.returncode == 255
    assert "Permission denied (publickey)" in answer.stderr


def test_a_login_has_its_limits_and_reads_what_the_host_is(name):
    soft = int(ssh(name, "ada", "ulimit -Sn").stdout)
    hard = int(ssh(name, "ada", "ulimit -Hn").stdout)
    assert soft == min(65536, hard)
    assert name in ssh(name, "ada", "cat /etc/motd").stdout


def test_the_estate_resolves_by_name(host, name):
    for other in ("core-plain-1", "euw-plain-1"):
        address = host.check_output(f"getent ahostsv4 {other}").split()[0]
        assert address.startswith("10.94.10."), f"{name} resolves {other} as {address}"


def test_the_clock_is_watched_and_not_set(host):
    assert host.check_output("chronyc -n tracking")
    assert all("-x" in process.args.split() for process in host.process.filter(comm="chronyd"))


def test_the_estates_authority_is_trusted(host):
    file = "/usr/local/share/ca-certificates/optimize-estate.crt"
    assert host.run(f"openssl verify -CApath /etc/ssl/certs -no-CAfile {file}").rc == 0 or host.run("command -v openssl").rc != 0
    body = host.file(file).content_string.strip()
    assert body in host.file("/etc/ssl/certs/ca-certificates.crt").content_string


def test_the_journal_is_on_disk_and_holds_what_is_written_now(host):
    host.check_output("logger -t base-test written-now && journalctl --sync")
    assert "written-now" in host.check_output("journalctl --directory=/var/log/journal -t base-test -o cat")


def test_the_kernel_has_what_a_container_may_have_and_the_file_has_all(host):
    assert host.check_output("cat /proc/sys/net/ipv4/tcp_keepalive_time") == "120"
    assert "kernel.panic = 10" in host.file("/etc/sysctl.d/60-base.conf").content_string
    # At a reboot the file must not reach the machine below.
    assert host.check_output("systemctl show -p LoadState --value systemd-sysctl") == "masked"


@pytest.fixture
def probe(host):
    host.check_output("mkdir -p /etc/probe && printf A=1 > /etc/probe/environment && printf x > /etc/probe/a.conf")
    host.check_output(f"echo '/etc/probe/*.conf' > /etc/optimize/loaded-state/{PROBE}.list")
    host.run(f"cat > /etc/systemd/system/{PROBE}.service <<'END'\n{PROBE_UNIT}END")
    host.check_output(f"systemctl daemon-reload && systemctl restart {PROBE}")
    yield
    host.check_output(f"systemctl stop {PROBE}; rm -rf /etc/probe /etc/systemd/system/{PROBE}.service; systemctl daemon-reload")
    host.check_output(f"rm -f /run/optimize/loaded-state/{PROBE}.json /etc/optimize/loaded-state/{PROBE}.list")


def check(host) -> tuple[int, str]:
    answer = host.run(f"/usr/local/libexec/optimize/loaded-state check {PROBE}")
    return answer.rc, answer.stdout


def test_what_a_process_loaded_is_compared_with_the_disk(host, probe):
    assert check(host) == (0, f"{PROBE}: as loaded\n")
    assert host.file("/run/optimize/loaded-state").mode == 0o700

    host.check_output("printf y > /etc/probe/a.conf")
    assert check(host) == (1, f"{PROBE}: restart needed\n  /etc/probe/a.conf changed since the process started\n")
    host.check_output("printf x > /etc/probe/a.conf")
    assert check(host)[0] == 0, "what is as it was needs no restart"

    host.check_output("printf A=2 > /etc/probe/environment && printf z > /etc/probe/b.conf")
    assert "/etc/probe/environment changed" in check(host)[1]
    assert "/etc/probe/b.conf was not there" in check(host)[1]
    host.check_output(f"systemctl restart {PROBE}")
    assert check(host)[0] == 0

    drop_ins = f"/etc/systemd/system/{PROBE}.service.d"
    host.check_output(f"mkdir -p {drop_ins} && printf '[Service]\\nNice=1\\n' > {drop_ins}/n.conf && systemctl daemon-reload")
    assert f"{PROBE}.service.d/n.conf was not there" in check(host)[1]
    host.check_output(f"rm -r /etc/systemd/system/{PROBE}.service.d && systemctl daemon-reload")

    host.check_output(f"rm /run/optimize/loaded-state/{PROBE}.json")
    assert "what it loaded is unknown" in check(host)[1]
    host.check_output(f"systemctl stop {PROBE}")
    assert check(host) == (0, f"{PROBE}: not running\n")


def test_a_replaced_binary_is_seen(host, probe):
    host.check_output("cp /usr/bin/sleep /usr/local/bin/probe-sleep")
    host.check_output(f"sed -i s,/usr/bin/sleep,/usr/local/bin/probe-sleep, /etc/systemd/system/{PROBE}.service")
    host.check_output(f"systemctl daemon-reload && systemctl restart {PROBE}")
    assert check(host)[0] == 0
    host.check_output("cp /usr/bin/sleep /usr/local/bin/new && mv /usr/local/bin/new /usr/local/bin/probe-sleep")
    assert "the binary /usr/local/bin/probe-sleep was replaced" in check(host)[1]
    host.check_output("rm /usr/local/bin/probe-sleep")


def test_a_run_that_stopped_before_its_reload_is_made_good(host, name):
    before = host.check_output("systemctl show -p StateChangeTimestampMonotonic --value chrony")
    host.check_output("touch /etc/chrony/chrony.conf")
    run = playbook("--limit", name)
    assert run.returncode == 0, run.stdout
    assert host.check_output("systemctl show -p StateChangeTimestampMonotonic --value chrony") != before


def test_who_left_is_taken_away_with_keys_and_rights(host, name):
    host.check_output("useradd -m -s /bin/bash bob && touch /etc/ssh/authorized_keys/bob /etc/sudoers.d/optimize-bob")
    run = playbook("--limit", name, "--extra-vars", json.dumps({"people_who_left": [{"name": "bob", "state": "absent"}]}))
    assert run.returncode == 0, run.stdout
    assert not host.user("bob").exists
    assert not host.file("/etc/ssh/authorized_keys/bob").exists
    assert not host.file("/etc/sudoers.d/optimize-bob").exists


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"people_who_left": [{"name": "ansible", "state": "absent"}]}, "could not log in again: ansible is to be removed"),
        ({"base_sshd_settings": {"AllowUsers": "ada"}}, "it is not among AllowUsers"),
        ({"ansible_python_interpreter": "/usr/bin/python9"}, "has no Python at /usr/bin/python9: apt-get install python3"),
        ({"base_limits": "many"}, "base_limits"),
    ],
)
def test_what_would_do_harm_is_refused_by_name(name, extra, sentence):
    run = playbook("--limit", name, "--extra-vars", json.dumps(extra))
    assert run.returncode == 2
    assert name in run.stdout
    assert sentence in " ".join((run.stdout + run.stderr).split())
