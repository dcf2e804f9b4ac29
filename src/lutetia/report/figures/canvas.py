"""A drawing surface in SVG, and axes on it. Lengths are in CSS pixels (1/96 inch); numbers are rounded to 0.01."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from lutetia.errors import OutputError
from lutetia.report import palette
from lutetia.report.numbers import fixed

FONT = "Inter, 'Liberation Sans', Arial, sans-serif"
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]


@dataclass(slots=True)
class Canvas:
    """Collects drawing commands; `svg()` gives the picture."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def line(self, start: Point, end: Point, **style: str | float) -> None:
        """A straight line."""
        self.parts.append(
            f'<line x1="{_n(start[0])}" y1="{_n(start[1])}" x2="{_n(end[0])}" y2="{_n(end[1])}"{_style(style)}/>'
        )

    def rect(self, corner: Point, size: Point, **style: str | float) -> None:
        """A rectangle from its upper left corner; sizes below zero become zero."""
        self.parts.append(
            f'<rect x="{_n(corner[0])}" y="{_n(corner[1])}" width="{_n(max(size[0], 0.0))}" '
            f'height="{_n(max(size[1], 0.0))}"{_style(style)}/>'
        )

    def circle(self, centre: Point, radius: float, **style: str | float) -> None:
        """A circle."""
        self.parts.append(f'<circle cx="{_n(centre[0])}" cy="{_n(centre[1])}" r="{_n(radius)}"{_style(style)}/>')

    def polyline(self, points: Iterable[Point], **style: str | float) -> None:
        """An open line through points; fewer than two draw nothing."""
        path = _path(points)
        if "L" in path:
            self.parts.append(f'<path d="{path}"{_style({"fill": "none", **style})}/>')

    def polygon(self, points: Iterable[Point], **style: str | float) -> None:
        """A closed, filled shape."""
        path = _path(points)
        if "L" in path:
            self.parts.append(f'<path d="{path}Z"{_style(style)}/>')

    def text(
        self,
        position: Point,
        words: str,
        *,
        anchor: Anchor = "start",
        size: float = 9.5,
        fill: str = palette.MUTED,
        strong: bool = False,
        halo: bool = False,
    ) -> None:
        """Words at a baseline position, escaped; a halo keeps them legible on lines."""
        style: dict[str, str | float] = {"font-size": size, "text-anchor": anchor, "fill": fill}
        if strong:
            style["font-weight"] = "600"
        if halo:
            style |= {"stroke": palette.PAPER, "stroke-width": 3, "stroke-linejoin": "round", "paint-order": "stroke"}
        where = f'x="{_n(position[0])}" y="{_n(position[1])}"'
        self.parts.append(f"<text {where}{_style(style)}>{escape(_printable(words))}</text>")

    def svg(self) -> bytes:
        """The picture as a self-contained SVG file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)} {_n(self.height)}" '
            f'width="{_n(self.width)}" height="{_n(self.height)}" font-family="{FONT}">'
        )
        return "\n".join([head, *self.parts, "</svg>"]).encode()


@dataclass(frozen=True, slots=True)
class Axes:
    """A plotting rectangle on a canvas with linear scales.

    Parameters
    ----------
    box
        left, top, width, height in pixels.
    x_range, y_range
        Values at the ends of the axes.
    """

    canvas: Canvas
    box: tuple[float, float, float, float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def __post_init__(self) -> None:
        for name, (low, high) in (("x", self.x_range), ("y", self.y_range)):
            if not (math.isfinite(low) and math.isfinite(high) and high > low):
                raise OutputError(f"figure: found {name} range {low} to {high}; expected finite, increasing values")

    def x(self, value: float) -> float:
        """Pixel of an x value."""
        return self.box[0] + self.box[2] * (value - self.x_range[0]) / (self.x_range[1] - self.x_range[0])

    def y(self, value: float) -> float:
        """Pixel of a y value."""
        return self.box[1] + self.box[3] * (self.y_range[1] - value) / (self.y_range[1] - self.y_range[0])

    def points(self, x: Sequence[float], y: Sequence[float]) -> list[Point]:
        """Pixels of many points, clipped to the rectangle's vertical extent."""
        top, bottom = self.box[1], self.box[1] + self.box[3]
        pairs = zip(x, y, strict=True)
        return [
            (self.x(a), min(max(self.y(b), top), bottom)) for a, b in pairs if math.isfinite(a) and math.isfinite(b)
        ]

    def x_ticks(self, ticks: Sequence[float], *, grid: bool = False, labels: Sequence[str] | None = None) -> None:
        """Numbers below the rectangle, with small marks or grid lines."""
        top, bottom = self.box[1], self.box[1] + self.box[3]
        for tick, label in zip(ticks, labels or tick_labels(ticks), strict=True):
            start = (self.x(tick), top if grid else bottom)
            end = (self.x(tick), bottom if grid else bottom + 3)
            self.canvas.line(start, end, stroke=palette.GRID if grid else palette.RULE)
            self.canvas.text((self.x(tick), bottom + 13), label, anchor="middle", size=9)

    def y_ticks(self, ticks: Sequence[float]) -> None:
        """Numbers left of the rectangle, with grid lines."""
        left, right = self.box[0], self.box[0] + self.box[2]
        for tick, label in zip(ticks, tick_labels(ticks), strict=True):
            self.canvas.line((left, self.y(tick)), (right, self.y(tick)), stroke=palette.GRID)
            self.canvas.text((left - 5, self.y(tick) + 3), label, anchor="end", size=9)

    def base_line(self) -> None:
        """The x axis itself."""
        left, bottom = self.box[0], self.box[1] + self.box[3]
        self.canvas.line((left, bottom), (left + self.box[2], bottom), stroke=palette.MUTED, stroke_width=0.8)


def nice_ticks(high: float, *, count: int = 4, steps: Sequence[float] = (1.0, 2.0, 2.5, 5.0, 10.0)) -> list[float]:
    """Round values from 0 to at least `high`, about `count` intervals."""
    if not (math.isfinite(high) and high > 0.0):
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(high / count))
    step = next((s * power for s in steps if s * power * count >= high * (1.0 - 1e-9)), 10.0 * power)
    return [n * step for n in range(math.ceil(high / step - 1e-9) + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Labels of ticks with the decimals that their spacing needs."""
    step = min((abs(b - a) for a, b in itertools.pairwise(ticks)), default=1.0)
    places = next((p for p in range(6) if abs(round(step, p) - step) < 1e-9 * max(step, 1e-9)), 6)
    return [fixed(t, places) for t in ticks]


def text_width(words: str, size: float) -> float:
    """About how wide words are in the packaged font, in pixels."""
    narrow = sum(c in "iljtfrI.,:;|()[] \u202f'" for c in words)
    return size * (0.32 * narrow + 0.59 * (len(words) - narrow))


def shorten(words: str, size: float, room: float) -> str:
    """The words, or their beginning and an ellipsis where they are wider than the room."""
    if text_width(words, size) <= room:
        return words
    while words and text_width(words + "…", size) > room:
        words = words[:-1]
    return words.rstrip() + "…"


def _path(points: Iterable[Point]) -> str:
    return " ".join(f"{'L' if n else 'M'}{_n(x)} {_n(y)}" for n, (x, y) in enumerate(points))


def _n(value: float) -> str:
    if not math.isfinite(value):
        raise OutputError(f"figure: found a coordinate {value}; expected finite numbers")
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def _style(style: dict[str, str | float]) -> str:
    values = ((k.replace("_", "-"), _n(v) if isinstance(v, (int, float)) else v) for k, v in style.items())
    return "".join(f" {key}={quoteattr(value)}" for key, value in values)


def _printable(words: str) -> str:
    return "".join(c if c.isprintable() else " " for c in words)
