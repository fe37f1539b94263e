"""What the modules of role base decide."""

from __future__ import annotations

import time

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils import host_base as hb
from ansible_collections.webtrends.optimize.plugins.modules import kernel_settings, packaged_unit, trust_store
from hypothesis import given
from hypothesis import strategies as st

ENABLED = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
PEM = "-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("name", "in_container"),
    [
        ("net.ipv4.tcp_keepalive_time", True),
        ("net.core.somaxconn", True),
        ("kernel.shmmax", True),
        ("vm.overcommit_memory", False),
        ("kernel.panic", False),
        ("net.core.rmem_max", False),
        ("net.ipv4.tcp_mem", False),
        ("fs.nr_open", False),
    ],
)
def test_a_container_sets_only_what_is_its_own(name, in_container):
    assert hb.settable(name, in_container=True) is in_container
    assert hb.settable(name, in_container=False)


@pytest.mark.parametrize("name", ["../../etc/passwd", "vm/../../etc/x", "a b", ""])
def test_a_name_that_leads_out_of_the_kernel_settings_is_refused(name):
    with pytest.raises(ValueError, match="not the name of a kernel setting"):
        hb.sysctl_path(name)


def test_names_as_sysctl_takes_them():
    assert hb.sysctl_path("vm.swappiness") == "/proc/sys/vm/swappiness"
    assert hb.sysctl_path("net/ipv4/conf/eth0.100/rp_filter") == "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
def test_numbers_are_equal_however_they_are_parted(numbers):
    assert hb.same_value(" ".join(map(str, numbers)), "\t".join(map(str, numbers)) + "\n")
    assert not hb.same_value(" ".join(map(str, [*numbers, 1])), "\t".join(map(str, numbers)))


def test_the_sysctl_file_is_sorted_and_gives_reasons():
    text = hb.sysctl_file({"vm.swappiness": "1", "kernel.panic": "10"}, "Ansible managed: role x", {"vm.swappiness": "because"})
    assert text == "# Ansible managed: role x\nkernel.panic = 10\n# because\nvm.swappiness = 1\n"


def test_only_what_differs_is_set(monkeypatch):
    monkeypatch.setattr(kernel_settings, "read", lambda path: "10\n")
    settings = {"kernel.panic": "10", "kernel.panic_on_oops": "1", "net.ipv4.tcp_keepalive_time": "120"}
    assert kernel_settings.differing(settings, in_container=False) == (
        {"/proc/sys/kernel/panic_on_oops": "1", "/proc/sys/net/ipv4/tcp_keepalive_time": "120"},
        [],
    )
    assert kernel_settings.differing(settings, in_container=True) == (
        {"/proc/sys/net/ipv4/tcp_keepalive_time": "120"},
        ["kernel.panic", "kernel.panic_on_oops"],
    )


@pytest.mark.parametrize(
    ("shown", "stale", "actions"),
    [
        (ENABLED, False, []),
        (ENABLED, True, ["reload"]),
        ({**ENABLED, "ActiveState": "inactive"}, True, ["start"]),
        ({**ENABLED, "ActiveState": "failed", "UnitFileState": "disabled"}, False, ["enable", "start"]),
        ({**ENABLED, "UnitFileState": "static", "NeedDaemonReload": "yes"}, True, ["daemon-reload", "reload"]),
    ],
)
def test_what_a_unit_needs(shown, stale, actions):
    assert hb.unit_actions(shown, True, stale, "reload") == actions


def test_what_is_not_wanted_is_stopped():
    assert hb.unit_actions(ENABLED, False, True, "restart") == ["disable", "stop"]
    assert hb.unit_actions({"ActiveState": "inactive", "UnitFileState": "disabled"}, False, True, "restart") == []


def test_a_file_written_after_the_start_makes_a_unit_stale(tmp_path):

    file = tmp_path / "a.conf"
    file.write_text("")
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
    assert packaged_unit.is_stale([str(tmp_path / "*")], now - 60_000_000)
    assert not packaged_unit.is_stale([str(tmp_path / "*")], now + 1_000_000)
    assert not packaged_unit.is_stale([str(tmp_path / "absent*")], 0)


def test_certificates_are_found_whatever_stands_around_them():
    assert hb.certificates_in(f"subject=x\n{PEM}{PEM.replace('QUJD', 'R0hJ')}") == ["QUJDREVG", "R0hJREVG"]
    assert hb.certificates_in(PEM.replace("\n", "\r\n")) == hb.certificates_in(PEM)
    assert hb.certificates_in("") == []


@pytest.mark.parametrize(
    ("certificates", "problem"),
    [
        ([{"name": "../x", "pem": PEM}], "not a name for a file"),
        ([{"name": "x", "pem": PEM + PEM}], "x has 2 PEM certificates, expected one"),
        ([{"name": "x", "pem": "nothing"}], "x has 0 PEM certificates"),
    ],
)
def test_an_authority_that_would_be_taken_wrongly_is_refused(certificates, problem):
    with pytest.raises(ValueError, match=problem):
        trust_store.wanted_files(certificates)


def test_authorities_become_files():
    assert trust_store.wanted_files([{"name": "estate", "pem": f"\n{PEM}\n"}]) == {
        "/usr/local/share/ca-certificates/optimize-estate.crt": PEM
    }
