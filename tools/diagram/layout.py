"""Where things stand: the boxes of the pools and the way of each drawn connection. What is drawn in them comes from the data.

Top to bottom: visitors and the managed edge, a channel of lanes, the regions side by side, a second channel, the core. A line
between two bands leaves its box, follows its own lane, and enters the other box: no two connections share a lane.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tools.diagram.svg import Box, Point

MARGIN, REGION_WIDTH, REGION_GAP = 60, 490, 25
EDGE_TOP, REGION_TOP, CORE_TOP = 92, 296, 780
EDGE = Box(250, EDGE_TOP, 1330, 104)
REGION_HEIGHT, CORE_HEIGHT = 344, 478
VISITORS = Box(MARGIN, EDGE_TOP + 32, 150, 56)

# Lanes of the upper channel (edge to regions) and of the lower one (regions to core), by connection.
UPPER: dict[str, float] = {
    "visitors_to_cdn": EDGE_TOP + 120,
    "visitors_to_app_gateway": EDGE_TOP + 138,
    "traffic_manager_collect_to_app_gateway": EDGE_TOP + 156,
    "traffic_manager_pat_to_app_gateway": EDGE_TOP + 174,
}
LOWER: dict[str, float] = {
    name: REGION_TOP + REGION_HEIGHT + 40 + index * 15
    for index, name in enumerate(
        ["cdn_to_origin", "app_gateway_to_origin", "redis_geo", "q2db", "sink_to_kafka", "kafka_to_zookeeper", "collect_to_lb_clickhouse"]
    )
}
BADGES = REGION_TOP + REGION_HEIGHT + 17

CORE: dict[str, Box] = {
    "lb_clickhouse": Box(190, CORE_TOP + 50, 130, 54),
    "clickhouse": Box(84, CORE_TOP + 156, 280, 54),
    "zookeeper": Box(394, CORE_TOP + 50, 130, 54),
    "monitoring": Box(394, CORE_TOP + 156, 130, 54),
    "origin": Box(560, CORE_TOP + 50, 330, 54),
    "acs": Box(560, CORE_TOP + 156, 150, 54),
    "dss": Box(740, CORE_TOP + 156, 150, 54),
    "rasdb": Box(520, CORE_TOP + 270, 130, 54),
    "redis_stack": Box(672, CORE_TOP + 270, 130, 54),
    "wasdb": Box(824, CORE_TOP + 270, 130, 54),
    "io": Box(672, CORE_TOP + 384, 282, 54),
    "lb_tms": Box(1000, CORE_TOP + 50, 130, 54),
    "tms": Box(1000, CORE_TOP + 156, 130, 54),
    "scheduler": Box(1020, CORE_TOP + 258, 130, 54),
    "trial": Box(1020, CORE_TOP + 324, 130, 54),
    "social": Box(1020, CORE_TOP + 390, 130, 54),
    "reports": Box(1250, CORE_TOP + 50, 140, 54),
    "extracts": Box(1420, CORE_TOP + 50, 140, 54),
}
KEY = Box(1250, CORE_TOP + 156, 310, 282)
STAND_INS = Box(84, CORE_TOP + 258, 396, 180)


def regional(index: int) -> dict[str, Box]:
    """The boxes of the region with this index, from the left."""
    x, y = region_left(index), REGION_TOP
    return {
        "app_gateway": Box(x + 38, y + 48, 400, 54),
        "collect": Box(x + 38, y + 152, 94, 54),
        "pat": Box(x + 144, y + 152, 94, 54),
        "redis_geo": Box(x + 250, y + 152, 94, 54),
        "q2db": Box(x + 356, y + 152, 110, 54),
        "kafka": Box(x + 38, y + 256, 200, 54),
    }


def edge() -> dict[str, Box]:
    """The boxes of the managed edge; a service with parts has a box for each."""
    return {
        "traffic_manager.collect": Box(472, EDGE_TOP + 34, 212, 54),
        "traffic_manager.pat": Box(708, EDGE_TOP + 34, 212, 54),
        "traffic_manager": Box(460, EDGE_TOP + 26, 472, 70),
        "cdn": Box(1300, EDGE_TOP + 34, 200, 54),
    }


def region_left(index: int) -> float:
    return MARGIN + index * (REGION_WIDTH + REGION_GAP)


@dataclass
class Drawn:
    """One connection's lines, from `from` to `to`, and the places of its badges."""

    lines: list[list[Point]] = field(default_factory=list)
    badges: list[Point] = field(default_factory=list)


class Routes(dict[str, Drawn]):
    """The way of every connection that is drawn, by its name."""

    def add(self, name: str, line: list[Point], badge: Point | None = None) -> None:
        drawn = self.setdefault(name, Drawn())
        drawn.lines.append(line)
        if badge is not None and badge not in drawn.badges:
            drawn.badges.append(badge)

    def straight(self, name: str, upper: Box, lower: Box, x: float) -> None:
        """Straight down from one box to another, with the badge half-way."""
        a, b = upper.y + upper.h, lower.y
        self.add(name, [(x, a), (x, b)], (x, (a + b) / 2))


def by_lane(a: Point, b: Point, lane: float) -> list[Point]:
    """From `a` by a horizontal lane to `b`."""
    return [a, (a[0], lane), (b[0], lane), b]


def routes(count: int) -> Routes:
    """The ways for this many regions."""
    drawn = Routes()
    _edge(drawn, count)
    for index in range(count):
        _region(drawn, index)
    _core(drawn)
    return drawn


def _edge(drawn: Routes, count: int) -> None:
    top = edge()
    drawn.add("visitors_to_traffic_manager", [VISITORS.right(), (top["traffic_manager"].x, VISITORS.right()[1])])
    drawn.add("visitors_to_cdn", by_lane(VISITORS.bottom(0.66), top["cdn"].bottom(), UPPER["visitors_to_cdn"]))
    far, (x, y), end = region_left(count - 1) + REGION_WIDTH + 28, top["cdn"].right(), CORE["origin"].top(0.82)
    drawn.add("cdn_to_origin", [(x, y), (far, y), (far, LOWER["cdn_to_origin"]), (end[0], LOWER["cdn_to_origin"]), end], (far, BADGES))


def _region(drawn: Routes, index: int) -> None:
    boxes, top, left = regional(index), edge(), float(region_left(index))
    gateway, collect, kafka = (boxes[pool] for pool in ("app_gateway", "collect", "kafka"))
    drawn.add("visitors_to_app_gateway", by_lane(VISITORS.bottom(0.33), gateway.top(0.6), UPPER["visitors_to_app_gateway"]))
    for part, place in (("collect", 0.75), ("pat", 0.9)):
        name, end = f"traffic_manager_{part}_to_app_gateway", gateway.top(place)
        drawn.add(name, by_lane(top[f"traffic_manager.{part}"].bottom(), end, UPPER[name]), (end[0], REGION_TOP - 10))

    for pool in ("collect", "pat"):
        x = boxes[pool].top()[0]
        drawn.straight(f"app_gateway_to_{pool}", gateway, boxes[pool], x)
        drawn.straight(f"{pool}_to_kafka", boxes[pool], kafka, x)

    # From here to the core. What leaves a box sideways goes down in the gutter beside the boxes.
    name, gutter, (x, y), end = "app_gateway_to_origin", left + REGION_WIDTH - 12, gateway.right(), CORE["origin"].top(0.36)
    drawn.add(name, [(x, y), (gutter, y), (gutter, LOWER[name]), (end[0], LOWER[name]), end], (gutter, BADGES))
    name, gutter, (x, y), end = "collect_to_lb_clickhouse", left + 18, collect.left(), CORE["lb_clickhouse"].top()
    drawn.add(name, [(x, y), (gutter, y), (gutter, LOWER[name]), (end[0], LOWER[name]), end], (gutter, BADGES))
    start = kafka.bottom(0.3)
    drawn.add("sink_to_kafka", by_lane(start, (342, CORE["clickhouse"].y), LOWER["sink_to_kafka"]), (start[0], BADGES))
    end = kafka.bottom(0.7)
    drawn.add("kafka_to_zookeeper", by_lane(CORE["zookeeper"].top(), end, LOWER["kafka_to_zookeeper"]), (end[0], BADGES))
    for pool, place in (("redis_geo", 0.7), ("q2db", 0.3)):
        end = boxes[pool].bottom()
        for reader in ("reports", "extracts"):
            drawn.add(f"{reader}_to_{pool}", by_lane(CORE[reader].top(place), end, LOWER[pool]), (end[0], BADGES))


def _core(drawn: Routes) -> None:
    for upper, lower, place in (
        ("lb_clickhouse", "clickhouse", 255), ("lb_tms", "tms", 1065), ("origin", "acs", 635), ("origin", "dss", 815),
        ("acs", "rasdb", 605), ("acs", "redis_stack", 691), ("dss", "wasdb", 857),
    ):  # fmt: skip
        drawn.straight(f"{upper}_to_{lower}", CORE[upper], CORE[lower], place)
    io = CORE["io"]
    for pool in ("redis_stack", "wasdb"):
        (x, y), end = io.top(), CORE[pool].bottom()
        drawn.add(f"io_to_{pool}", [(end[0], y), end], (end[0], (y + end[1]) / 2))
    (x, y), bend = io.right(), io.x + io.w + 33
    for pool in ("scheduler", "trial", "social"):
        end = CORE[pool].left()
        drawn.add(f"io_to_{pool}", [(x, y), (bend, y), (bend, end[1]), end], (bend, CORE["trial"].y + 48))
