"""The picture and the connection page hold what the data hold, and the committed files are what the data give."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from tools.diagram.__main__ import files, main
from tools.diagram.data import ROOT, Platform
from tools.diagram.layout import CORE, KEY, STAND_INS, VISITORS, edge, regional
from tools.diagram.page import page
from tools.diagram.picture import Picture, undrawn

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def platform():
    return Platform.load()


@pytest.fixture(scope="module")
def drawing(platform):
    return ElementTree.fromstring(Picture(platform).render())


def having(drawing, name):
    return [element for element in drawing.iter() if name in element.attrib]


def words(element):
    return [text.text for text in element.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", ["platform.svg", "connections.md"])
def test_the_committed_file_is_what_the_data_give(platform, name):
    path = ROOT / "docs" / name
    assert path.read_text(encoding="utf-8") == files(platform)[path], "run `make diagram` and commit docs/"


def test_every_pool_is_drawn_with_its_machines(platform, drawing):
    drawn = {(e.get("data-region"), e.get("data-pool")): int(e.get("data-count")) for e in having(drawing, "data-pool")}
    expected = {
        (region, pool): len(platform.estate.hosts(pool, region))
        for pool, entry in platform.table.pools.items()
        for region in (["core"] if entry["place"] == "core" else platform.regions)
    }
    assert drawn == expected
    hosts = Counter(e.get("data-host") for e in having(drawing, "data-host"))
    assert set(hosts) == set(platform.estate.places)
    assert set(hosts.values()) == {1}


def test_a_box_says_what_is_in_it(platform, drawing):
    for element in having(drawing, "data-pool"):
        pool, region = element.get("data-pool"), element.get("data-region")
        assert words(element)[0] == platform.title(pool, element.get("data-part"))
        zones = [platform.zones[host] for host in platform.estate.hosts(pool, region) if host in platform.zones]
        assert words(element)[1:] == (zones if platform.estate.hosts(pool, region) else [f"Azure {platform.table.pools[pool]['azure']}"])


def test_every_row_is_drawn_numbered_and_explained(platform, drawing):
    assert undrawn(platform) == []
    lines = {e.get("data-connection") for e in having(drawing, "data-connection")}
    rows = platform.rows()
    assert lines >= {connection.name for connections in rows.values() for connection in connections}
    legend = {int(e.get("data-row")): " ".join(words(e)) for e in having(drawing, "data-row")}
    assert sorted(legend) == list(range(1, 21))
    for row, connections in rows.items():
        assert len(legend[row].split(" ", 1)[1]) <= 130, f"row {row} runs into the next column: shorten its purposes"
        for connection in connections:
            for title in platform.ends(connection):
                assert title in legend[row]
    badges = Counter(element.text for element in drawing.findall(f"{SVG}text") if re.fullmatch(r"\d+", element.text or ""))
    assert set(badges) >= {str(row) for row in range(1, 21)}


def test_a_regional_row_has_a_line_in_every_region(platform, drawing):
    count = len(platform.regions)
    for element in having(drawing, "data-connection"):
        connection = platform.table.connections[element.get("data-connection")]
        regional_end = any(platform.table.pools.get(end, {}).get("place") == "region" for end in (connection.source, connection.target))
        assert len(element.findall(f"{SVG}path")) == (count if regional_end else 1), connection.name


def test_what_the_design_does_not_draw_is_listed(platform, drawing):
    assert {e.get("data-other") for e in having(drawing, "data-other")} == {connection.name for connection in platform.others()}


def test_the_page_has_every_connection(platform):
    text = page(platform)
    for name in platform.table.connections:
        assert text.count(f"| `{name}` |") == 1


def test_it_is_drawn_the_same_way_every_time(platform):
    assert Picture(platform).render() == Picture(Platform.load()).render()


def test_a_changed_count_changes_the_picture(platform):
    fewer = platform.estate.from_groups({"euw_kafka": ["euw-kafka-1"]}, platform.table.pools)
    drawing = ElementTree.fromstring(Picture(dataclasses.replace(platform, estate=fewer)).render())
    kafka = [e for e in having(drawing, "data-pool") if e.get("data-pool") == "kafka"]
    assert [e.get("data-count") for e in kafka] == ["1"]


def test_boxes_do_not_overlap():
    plain = {name: box for name, box in edge().items() if name != "traffic_manager"}
    plain |= CORE | {"key": KEY, "stand_ins": STAND_INS, "visitors": VISITORS}
    plain |= {f"{index} {pool}": box for index in range(3) for pool, box in regional(index).items()}
    boxes = list(plain.items())
    for number, (name, a) in enumerate(boxes):
        for other, b in boxes[number + 1 :]:
            apart = a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y
            assert apart, f"{name} and {other} overlap"


def test_badges_do_not_overlap_and_stand_on_no_other_line(platform):
    picture = Picture(platform)
    rows = {name: platform.table.connections[name].row for name in picture.routes}
    badges = {(at, rows[name]) for name, drawn in picture.routes.items() for at in drawn.badges}
    for at, row in badges:
        for other, other_row in badges:
            if (at, row) != (other, other_row):
                assert max(abs(at[0] - other[0]), abs(at[1] - other[1])) >= 19, (row, other_row)
        for name, drawn in picture.routes.items():
            if rows[name] == row:
                continue
            for line in drawn.lines:
                for (x1, y1), (x2, y2) in itertools.pairwise(line):
                    near_x = min(x1, x2) - 9 <= at[0] <= max(x1, x2) + 9
                    near_y = min(y1, y2) - 9 <= at[1] <= max(y1, y2) + 9
                    assert not (near_x and near_y), f"the badge of row {row} at {at} stands on the line of {name}"


def test_check_fails_where_a_file_is_old(platform, tmp_path, monkeypatch):
    monkeypatch.setattr("tools.diagram.__main__.ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    with pytest.raises(SystemExit, match="run `make diagram`"):
        main(["--check"], standalone_mode=False)
    assert not list((tmp_path / "docs").iterdir())
    main([], standalone_mode=False)
    main(["--check"], standalone_mode=False)
