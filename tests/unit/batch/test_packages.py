"""Packages that are there already: which items ask for nothing else, and what dpkg's records say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible._internal._datatag._tags import Origin, TrustedAsTemplate
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_packages, batch_remote

STATUS = """Package: procps
Status: install ok installed
Priority: important
Architecture: amd64
Description: no
 Status: deinstall ok config-files

Package: held
Status: hold ok installed

Package: removed
Status: deinstall ok config-files

Package: half
Status: install ok half-configured

Package: library
Status: install ok installed
"""


@pytest.mark.parametrize(
    ("args", "names", "age"),
    [
        ({"name": "procps"}, ["procps"], None),
        ({"name": ["procps", "libstdc++6"], "state": "present"}, ["procps", "libstdc++6"], None),
        ({"pkg": ["procps"], "update_cache": False, "policy_rc_d": 101, "install_recommends": False}, ["procps"], None),
        ({"name": "procps", "cache_valid_time": 86400}, ["procps"], 86400),
        ({"name": "procps", "cache_valid_time": 0}, ["procps"], None),
    ],
)
def test_plain_names_may_be_answered_from_the_records(args: dict[str, Any], names: list[str], age: int | None) -> None:
    assert batch_packages.wanted(args) == {"names": names, "lists_age": age}


def test_values_tagged_by_ansible_are_what_they_are() -> None:
    tag = TrustedAsTemplate().tag
    args = {"name": [tag("procps")], "policy_rc_d": TrustedAsTemplate().try_tag(101), "cache_valid_time": Origin(path="/x").tag(60)}
    assert batch_packages.wanted(args) == {"names": ["procps"], "lists_age": 60}


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"name": []},
        {"name": "procps=2"},
        {"name": "procps:i386"},
        {"name": "python3*"},
        {"name": "a,b"},
        {"name": ["procps", 7]},
        {"name": "procps", "pkg": "ed"},
        {"name": "procps", "state": "latest"},
        {"name": "procps", "state": "absent"},
        {"name": "procps", "update_cache": True},
        {"name": "procps", "update_cache": "yes"},
        {"name": "procps", "cache_valid_time": "86400"},
        {"name": "procps", "default_release": "backports"},
        {"name": "procps", "policy_rc_d": "x"},
        {"name": "procps", "policy_rc_d": True},
        {"name": "procps", "install_recommends": 1},
        {"name": "procps", "cache_valid_time": True},
        {"name": "procps", "unknown": 1},
        {"deb": "/tmp/x.deb"},
    ],
)
def test_everything_else_is_the_modules_work(args: dict[str, Any]) -> None:
    assert batch_packages.wanted(args) is None


def records(tmp_path: Path, states: str | None = None) -> set[str]:
    (tmp_path / "status").write_text(STATUS, encoding="utf-8")
    if states is not None:
        (tmp_path / "states").write_text(states, encoding="utf-8")
    return batch_remote._installed_by_wish(str(tmp_path), str(tmp_path / "states"))


def test_installed_is_what_dpkg_configured(tmp_path: Path) -> None:
    assert records(tmp_path) == {"procps", "held", "library"}


def test_what_apt_took_in_for_others_is_not_by_wish(tmp_path: Path) -> None:
    states = "Package: library\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: procps\nArchitecture: amd64\nAuto-Installed: 0\n\n"
    assert records(tmp_path, states) == {"procps", "held"}


def test_with_a_foreign_architecture_a_name_says_too_little(tmp_path: Path) -> None:
    (tmp_path / "arch").write_text("amd64\ni386\n", encoding="utf-8")
    assert records(tmp_path) == set()


def test_the_hosts_own_architecture_alone_is_no_foreign_one(tmp_path: Path) -> None:
    (tmp_path / "arch").write_text("amd64\n", encoding="utf-8")
    assert records(tmp_path) == {"procps", "held", "library"}


def test_without_records_nothing_is_known(tmp_path: Path) -> None:
    assert batch_remote._installed_by_wish(str(tmp_path), "") == set()
