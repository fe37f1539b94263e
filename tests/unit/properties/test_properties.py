"""Whatever goes in, java.util.Properties reads the same out."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.webtrends.optimize.plugins.filter.properties import properties
from hypothesis import given
from hypothesis import strategies as st


def load(text: str) -> dict[str, str]:
    """java.util.Properties.load, as its documentation (Java 17) says: for the property test."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        line = line.lstrip(" \t\f")
        if not line or line[0] in "#!":
            continue
        ends = (i for i in range(len(line)) if line[i] in "=: \t\f" and (len(line[:i]) - len(line[:i].rstrip("\\"))) % 2 == 0)
        end = next(ends, len(line))
        rest = line[end:].lstrip(" \t\f")
        if rest[:1] in ("=", ":"):
            rest = rest[1:].lstrip(" \t\f")
        found[unescape(line[:end])] = unescape(rest)
    return found


def unescape(text: str) -> str:
    units, index = bytearray(), 0
    while index < len(text):
        if text[index] != "\\":
            units += text[index].encode("utf-16-be")
            index += 1
        elif text[index + 1] == "u":
            units += bytes.fromhex(text[index + 2 : index + 6])
            index += 6
        else:
            units += {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}.get(text[index + 1], text[index + 1]).encode("utf-16-be")
            index += 2
    return units.decode("utf-16-be", "surrogatepass")


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_any_text_comes_back(settings):
    assert load(properties(settings)) == settings


def test_sorted_and_typed():
    settings = {"b": True, "a": 3, "d": ["x", 1, False], "c": None, "e": "", "listeners": "PLAINTEXT://:9092"}
    assert properties(settings) == "a=3\nb=true\nd=x,1,false\ne=\nlisteners=PLAINTEXT://:9092\n"


@pytest.mark.parametrize("value", [{"x": 1}, [["x"]], [{"x": 1}]])
def test_what_the_format_cannot_say_is_refused_by_key(value):
    with pytest.raises(AnsibleFilterError, match=r"properties: broken\.key is"):
        properties({"broken.key": value})


def test_only_a_dictionary():
    with pytest.raises(AnsibleFilterError, match="expected a dictionary, found list"):
        properties(["a"])
