"""What is installed, and what a role would have to install."""

from __future__ import annotations

import pytest
from ansible_collections.webtrends.optimize.plugins.filter.lacking_packages import lacking_packages
from ansible_collections.webtrends.optimize.plugins.module_utils.preflight import parse_packages

SHOWN = """ii  haproxy 2.6.12-1+deb12u2
hi  clickhouse-server 18.16.1+ds-7.3+b2
rc  chrony 4.3-2
un  keepalived
ii  libc6 2.36-9
"""


def test_only_what_is_installed_is_listed_held_or_not():
    assert parse_packages(SHOWN) == {"haproxy": "2.6.12-1+deb12u2", "clickhouse-server": "18.16.1+ds-7.3+b2", "libc6": "2.36-9"}


@pytest.mark.parametrize(
    ("wanted", "lacking"),
    [
        ("haproxy", []),
        ("keepalived", ["keepalived"]),
        (["haproxy", "chrony"], ["chrony"]),
        (["clickhouse-server=18.16.1+ds-7.3+b2"], []),
        (["clickhouse-server=25.8.2.29", "libc6"], ["clickhouse-server=25.8.2.29"]),
    ],
)
def test_a_package_is_lacking_when_it_or_its_version_is_not_there(wanted, lacking):
    assert lacking_packages(wanted, parse_packages(SHOWN)) == lacking
