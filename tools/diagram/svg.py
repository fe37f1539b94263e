"""Drawing primitives: a few shapes as SVG text. Coordinates in pixels; numbers are written the same way every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

Point = tuple[float, float]
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
INK, SOFT, FAINT = "#1b2733", "#5b6b7b", "#c9d3dc"


def number(value: float) -> str:
    """`12.0` as `12`, never more than one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0")


def attributes(**values: object) -> str:
    """` a="b"` for each; underscores become dashes, None is left out."""
    return "".join(
        f" {name.rstrip('_').replace('_', '-')}={quoteattr(number(value) if isinstance(value, float | int) else str(value))}"
        for name, value in values.items()
        if value is not None
    )


def element(name: str, content: str = "", /, **values: object) -> str:
    """An element; `content` is SVG text already."""
    return f"<{name}{attributes(**values)}>{content}</{name}>" if content else f"<{name}{attributes(**values)}/>"


def text(x: float, y: float, words: str, size: float = 13, weight: int = 400, fill: str = INK, anchor: str = "start") -> str:
    """One line of text; `y` is its baseline."""
    return element(
        "text", escape(words), x=x, y=y, font_size=size, font_weight=weight if weight != 400 else None, fill=fill,
        text_anchor=anchor if anchor != "start" else None,
    )  # fmt: skip


@dataclass(frozen=True)
class Box:
    """A rectangle with places on its sides; `part` runs from 0 to 1, left to right or top to bottom."""

    x: float
    y: float
    w: float
    h: float

    def top(self, part: float = 0.5) -> Point:
        return self.x + self.w * part, self.y

    def bottom(self, part: float = 0.5) -> Point:
        return self.x + self.w * part, self.y + self.h

    def left(self, part: float = 0.5) -> Point:
        return self.x, self.y + self.h * part

    def right(self, part: float = 0.5) -> Point:
        return self.x + self.w, self.y + self.h * part

    def draw(self, radius: float = 8, **style: object) -> str:
        return element("rect", x=self.x, y=self.y, width=self.w, height=self.h, rx=radius, **style)


def path(points: Sequence[Point], radius: float = 9) -> str:
    """The `d` of a line through the points with rounded corners."""
    parts = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        bend = min(radius, _length(before, corner) / 2, _length(corner, after) / 2)
        start, end = _towards(corner, before, bend), _towards(corner, after, bend)
        parts.append(f"L{number(start[0])} {number(start[1])}Q{number(corner[0])} {number(corner[1])} {number(end[0])} {number(end[1])}")
    parts.append(f"L{number(points[-1][0])} {number(points[-1][1])}")
    return "".join(parts)


def arrow_head(tip: Point, before: Point, size: float = 8) -> str:
    """The `points` of a triangle at the end of a line that comes from `before`."""
    length = _length(tip, before) or 1
    dx, dy = (tip[0] - before[0]) / length, (tip[1] - before[1]) / length
    base = (tip[0] - dx * size, tip[1] - dy * size)
    half = size * 0.5
    corners = (tip, (base[0] - dy * half, base[1] + dx * half), (base[0] + dy * half, base[1] - dx * half))
    return " ".join(f"{number(x)},{number(y)}" for x, y in corners)


def badge(at: Point, label: str, colour: str) -> str:
    """A numbered disc on a line."""
    return element("circle", cx=at[0], cy=at[1], r=9.5, fill="#ffffff", stroke=colour, stroke_width=1.6) + text(
        at[0], at[1] + 3.8, label, size=10.5, weight=700, fill=colour, anchor="middle"
    )


def _length(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1]) if a[0] == b[0] or a[1] == b[1] else ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5


def _towards(start: Point, end: Point, distance: float) -> Point:
    length = _length(start, end) or 1
    return start[0] + (end[0] - start[0]) * distance / length, start[1] + (end[1] - start[1]) * distance / length
