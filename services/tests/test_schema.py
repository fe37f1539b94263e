"""Events: what is taken, as which rows, and what is refused, in which words."""

from __future__ import annotations

import json
import string
import uuid
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimize.events.schema import Acceptor, Limits, Rejected

NOW = 1_790_000_000_000
ACCEPTOR = Acceptor("euw", "collect", Limits())
TEXT = st.text(st.characters(codec="utf-8"), max_size=64)
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
ATTR = st.text(st.characters(codec="utf-8"), max_size=60)

events = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(str),
        "site": IDS,
        "visitor": IDS,
        "type": st.text(string.ascii_lowercase + string.digits + "_.-", min_size=1, max_size=64),
    },
    optional={
        "session": TEXT,
        "url": st.text(st.characters(codec="utf-8"), max_size=2048),
        "experiment": TEXT,
        "variation": TEXT,
        "value": st.decimals(-(10**13), 10**13, places=4).map(str),
        "ts": st.integers(NOW - 2_592_000_000, NOW + 86_400_000),
        "attrs": st.dictionaries(ATTR.filter(bool), ATTR, max_size=32),
    },
)


def take(value, now=NOW):
    return ACCEPTOR.body(value if isinstance(value, bytes) else json.dumps(value).encode(), now)


def refused(value) -> Rejected:
    with pytest.raises(Rejected) as caught:
        take(value)
    return caught.value


def event(**fields):
    return {"site": "s", "visitor": "v", "type": "click", **fields}


@settings(max_examples=60, deadline=None)
@given(st.lists(events, min_size=1, max_size=5), st.booleans())
def test_rows_say_what_was_sent(sent, lines):
    body = "\n".join(map(json.dumps, sent)).encode() if lines else json.dumps(sent).encode()
    accepted = take(body)
    assert accepted.ids == [one["event_id"] for one in sent]
    stored = [json.loads(line, parse_float=Decimal) for line in accepted.payload.split(b"\n")[:-1]]
    assert len(stored) == len(sent)
    for one, row in zip(sent, stored, strict=True):
        for name in ("site", "visitor", "type"):
            assert row[name] == one[name]
        for name in ("session", "url", "experiment", "variation"):
            assert row[name] == one.get(name, "")
        assert dict(zip(row["attr_keys"], row["attr_values"], strict=True)) == one.get("attrs", {})
        assert row["value"] == (Decimal(one["value"]) if "value" in one else None)
        assert row["ts"] == one.get("ts", NOW)
        assert (row["region"], row["pipeline"], row["received_at"]) == ("euw", "collect", NOW)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(str.encode),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["site", "visitor", "type", "ts", "value", "attrs", "x"]), inner)
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_comes_is_taken_or_refused_in_the_one_shape(body):
    try:
        assert take(body).rows
    except Rejected as rejected:
        assert rejected.status in (400, 413)
        assert rejected.problems
        assert all(problem.index >= 0 and problem.field and problem.problem for problem in rejected.problems)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"site": ""}, "site"),
        ({"site": "s" * 65}, "site"),
        ({"visitor": None}, "visitor"),
        ({"type": "Click"}, "type"),
        ({"type": "click\n"}, "type"),
        ({"type": "a" * 65}, "type"),
        ({"event_id": "1"}, "event_id"),
        ({"url": "u" * 2049}, "url"),
        ({"session": "s" * 65}, "session"),
        ({"value": "NaN"}, "value"),
        ({"value": "1e400"}, "value"),
        ({"value": 100_000_000_000_000}, "value"),
        ({"value": "99999999999999.99996"}, "value"),
        ({"value": True}, "value"),
        ({"ts": NOW + 86_400_001}, "ts"),
        ({"ts": NOW - 2_592_000_001}, "ts"),
        ({"ts": "2026-09-21"}, "ts"),
        ({"ts": "2026-09-21T10:00:00"}, "ts"),
        ({"ts": 10**30}, "ts"),
        ({"attrs": {"k": 1}}, "attrs"),
        ({"attrs": {"": "x"}}, "attrs"),
        ({"attrs": {"k": "λ" * 129}}, "attrs"),
        ({"attrs": {str(n): "" for n in range(33)}}, "attrs"),
        ({"attrs": {"k": {"deep": "er"}}}, "attrs"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_named_with_its_event(wrong, field):
    found = refused([event(), event(**wrong)])
    assert found.status == 400
    assert {(problem.index, problem.field) for problem in found.problems} == {(1, field)}


def test_every_event_s_problems_are_told():
    found = refused([{"site": "s"}, event(), 3, event(ts=0, value="x")])
    assert {(problem.index, problem.field) for problem in found.problems} == {
        (0, "visitor"), (0, "type"), (2, "event"), (3, "value"),
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"", b" ", b"[]", b"{", b"nonsense", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b'{"site":"\xff"}'])
def test_what_is_no_json_is_refused(body):
    assert refused(body).status == 400


def test_a_bad_line_of_ndjson_is_named_by_its_number():
    good = json.dumps(event()).encode()
    assert [(p.index, p.field) for p in refused(good + b"\n\n" + good + b"\n{oops").problems] == [(2, "body")]


def test_too_many_events_or_bytes_are_413():
    assert len(take([event()] * 500).rows) == 500
    assert refused([event()] * 501).status == 413
    assert refused(b"\n".join([json.dumps(event()).encode()] * 501)).status == 413
    assert refused(b" " * 1_048_577).status == 413


def test_a_lone_surrogate_is_refused():
    assert refused(rb'{"site":"a\ud800b","visitor":"v","type":"click"}').status == 400


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        (NOW, NOW),
        (str(NOW), NOW),
        ("2026-09-21T13:33:20Z", 1_789_997_600_000),
        ("2026-09-21T15:33:20.250+02:00", 1_789_997_600_250),
    ],
)
def test_times_are_rfc_3339_or_epoch_milliseconds(ts, expected):
    assert take(event(ts=ts)).rows[0].ts == expected


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("12.5", "12.5000"), ("0.00005", "0.0000"), ("0.30000000000000004", "0.3000"), ("-1e3", "-1000.0000"), ("7", "7.0000")],
)
def test_values_have_four_places_and_are_written_as_numbers(sent, stored):
    for text in (f'"{sent}"', sent):
        body = f'{{"site":"s","visitor":"v","type":"click","value":{text}}}'.encode()
        assert f'"value":{stored},'.encode() in take(body).payload


def test_the_server_makes_what_is_absent():
    row = take(event(ts=None, event_id=None)).rows[0]
    assert uuid.UUID(row.event_id).version == 4
    assert (row.ts, row.received_at) == (NOW, NOW)


def test_ids_have_one_spelling():
    assert take(event(event_id="6BA7B8109DAD11D180B400C04FD430C8")).ids == ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]


def test_a_pixel_s_parameters_are_the_fields():
    row = ACCEPTOR.query(
        [("site", "s"), ("visitor", "v"), ("type", "click"), ("value", "1.5"), ("ts", str(NOW)), ("attrs.a", "b"), ("attrs.c", "")], NOW
    ).rows[0]
    assert (row.site, str(row.value), row.ts, row.attr_keys, row.attr_values) == ("s", "1.5000", NOW, ["a", "c"], ["b", ""])


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ([("site", "s"), ("visitor", "v")], "type"),
        ([("site", "s"), ("site", "t")], "site"),
        ([("attrs", "{}")], "attrs"),
        ([("site", "s"), ("visitor", "v"), ("type", "click"), ("_", "1")], "_"),
    ],
)
def test_a_wrong_pixel_is_refused(parameters, field):
    with pytest.raises(Rejected) as caught:
        ACCEPTOR.query(parameters, NOW)
    assert field in {problem.field for problem in caught.value.problems}
