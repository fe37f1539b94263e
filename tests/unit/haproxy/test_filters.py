# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sections of haproxy.cfg and servers from data."""

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.webtrends.optimize.plugins.filter.haproxy_section import ORDER, haproxy_section
from ansible_collections.webtrends.optimize.plugins.filter.haproxy_servers import haproxy_servers
from hypothesis import given
from hypothesis import strategies as st


def test_rules_come_in_the_order_that_haproxy_asks_for():
    section = {
        "server": {"euw-pat-10": "euw-pat-10:8080", "euw-pat-9": "euw-pat-9:8080"},
        "use_backend": ["pat if is_pat"],
        "default-server": "check",
        "http-request": ["set-header X-Forwarded-For %[src]", "deny if is_pat"],
        "acl": {"is_pat": "path_beg /pat/"},
        "timeout": {"server": "20s", "connect": "2s"},
        "mode": "http",
    }
    assert haproxy_section(section) == [
        "mode http",
        "timeout connect 2s",
        "timeout server 20s",
        "acl is_pat path_beg /pat/",
        "http-request set-header X-Forwarded-For %[src]",
        "http-request deny if is_pat",
        "use_backend pat if is_pat",
        "default-server check",
        "server euw-pat-9 euw-pat-9:8080",
        "server euw-pat-10 euw-pat-10:8080",
    ]


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ({"daemon": True, "option": {"redispatch": True, "dontlognull": False}}, ["daemon", "option redispatch"]),
        ({"log": None, "maxconn": 0}, ["maxconn 0"]),
        ({"option httpchk": True}, ["option httpchk"]),
    ],
)
def test_true_stands_alone_and_false_takes_away(section, lines):
    assert haproxy_section(section) == lines


@pytest.mark.parametrize("section", [{"log": "a\nuser root"}, {"server": {"a": "b\rc"}}, {"acl": ["x", "y\nz"]}])
def test_a_line_break_is_refused(section):
    with pytest.raises(AnsibleFilterError, match="has a line break"):
        haproxy_section(section)


@pytest.mark.parametrize("section", [["mode http"], "mode http"])
def test_a_section_is_a_dictionary(section):
    with pytest.raises(AnsibleFilterError, match="expected a dictionary"):
        haproxy_section(section)


def test_a_nested_value_is_refused_by_its_name():
    with pytest.raises(AnsibleFilterError, match=r"timeout\.server is a list"):
        haproxy_section({"timeout": {"server": ["1s"]}})


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


@given(st.dictionaries(st.one_of(words, st.sampled_from(sorted(ORDER))), st.one_of(words, st.lists(words), st.dictionaries(words, words))))
def test_every_value_is_one_line_and_order_of_writing_does_not_matter(section):
    lines = haproxy_section(section)
    assert len(lines) == sum(len(value) if isinstance(value, (list, dict)) else 1 for value in section.values())
    assert lines == haproxy_section(dict(reversed(section.items())))


def test_servers_have_their_hosts_names():
    assert haproxy_servers(["euw-pat-1:8080", "euw-pat-2:8080"], options="maxconn 5") == {
        "euw-pat-1": "euw-pat-1:8080 maxconn 5",
        "euw-pat-2": "euw-pat-2:8080 maxconn 5",
    }


@pytest.mark.parametrize("endpoints", ["a:1", ["a"], ["a:b"], [":80"], ["a:1", "a:2"]])
def test_endpoints_that_are_none_are_refused(endpoints):
    with pytest.raises(AnsibleFilterError, match="haproxy_servers"):
        haproxy_servers(endpoints)
