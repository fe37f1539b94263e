"""What every host of every scenario must have, driven by the inventory alone.

A pool's wiring may name `expect_units` (units that run) and `expect_ports` (TCP ports that listen); the secrets are those of the
fleet's state directory.
"""

import re
import shlex
import subprocess
from pathlib import Path

import yaml

testinfra_hosts = ["all"]


# Prints where a secret shows: readable files, the journal, argument lists. The secrets come on standard input: as arguments they
# would be in argument lists and, through sudo's log, in the journal.
SEARCH = r"""
umask 077
cat > /run/secrets-sought
find /etc /opt /var/lib /home /tmp -xdev -type f -perm -o=r -size -256k -print0 |
    xargs --null --no-run-if-empty grep --files-with-matches --fixed-strings --file=/run/secrets-sought | sed 's/^/readable by all: /'
journalctl --no-pager --quiet --output=cat --fields=MESSAGE > /run/journal-sought
grep --quiet --fixed-strings --file=/run/secrets-sought /run/journal-sought && echo 'in the journal'
ps axww -o args > /run/arguments-sought
grep --quiet --fixed-strings --file=/run/secrets-sought /run/arguments-sought && echo 'in an argument list'
rm /run/*-sought
"""


def _secrets(state):
    """Every line that must not show: passwords, and the lines of private keys."""
    lines = set()
    for value in yaml.safe_load((state / "secrets.yml").read_text(encoding="utf-8")).values():
        for text in value.values() if isinstance(value, dict) else [value]:
            if "-----BEGIN" not in text:
                lines.add(text)
            for block in re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", text, re.DOTALL):
                lines.update(block.split())
    return lines


def test_no_unit_has_failed(host):
    failed = host.check_output("systemctl list-units --failed --plain --no-legend")
    assert failed == "", f"failed units: {failed}"


def test_expected_units_run(host):
    for unit in host.ansible.get_variables().get("expect_units", []):
        assert host.service(unit).is_running, f"{unit} does not run"


def test_expected_ports_listen(host):
    listening = host.check_output("ss --listening --tcp --numeric --no-header")
    for port in host.ansible.get_variables().get("expect_ports", []):
        assert re.search(rf"[\]*.:\d]:{port}\s", listening), f"nothing listens on port {port}"


def test_no_secret_shows(host):
    variables = host.ansible.get_variables()
    state = Path(variables["ansible_ssh_private_key_file"]).parents[1]
    command = ["ssh", "-F", str(state / "ssh_config"), variables["inventory_hostname"], "sudo", "sh", "-c", shlex.quote(SEARCH)]
    found = subprocess.run(command, input="\n".join(_secrets(state)) + "\n", capture_output=True, text=True, check=True)
    assert found.stdout == ""
