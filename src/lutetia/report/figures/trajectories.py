"""A quantity over visits or time by group: estimates with intervals, words at the line ends, subjects below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Point, text_width
from lutetia.report.figures.frame import HALF, Labels, Margins, apart, frame, mark, nothing_to_draw, signed_ticks

TOP, PLOT, ROW = 34.0, 128.0, 11.0


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One group: estimate with 95 % interval and number of subjects at each place of the x axis (NaN: no estimate)."""

    label: str
    x: tuple[float, ...]
    estimate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    count: tuple[int, ...]
    position: int


def trajectory_panel(
    labels: Labels, lines: Sequence[Trajectory], ticks: Sequence[tuple[float, str]], *, reference: float | None = 0.0
) -> bytes:
    """Lines with intervals as SVG and the numbers of subjects beneath.

    Parameters
    ----------
    ticks
        Places of the x axis and their words, in increasing order.
    reference
        A value to draw as a line ("no change"), or None.
    """
    values = [v for line in lines for group in (line.estimate, line.low, line.high) for v in group if math.isfinite(v)]
    if not values or not ticks:
        return nothing_to_draw(labels, "No subject has a baseline and a later value yet.")
    marks = [reference] if reference is not None else []
    scale = signed_ticks(min([*values, *marks]), max([*values, *marks]), count=5)
    below = ROW * len(lines) + 36.0
    places = [place for place, _ in ticks]
    pad = 0.06 * (places[-1] - places[0]) or 0.5
    ends = max((text_width(line.label, 9) for line in lines), default=0.0)
    axes = frame(
        (HALF, TOP + PLOT + below), ((places[0] - pad, places[-1] + pad), (scale[0], scale[-1])),
        replace(labels, x=""),
        Margins(left=40, right=16 + ends, bottom=below),
    )  # fmt: skip
    axes.y_ticks(scale)
    if reference is not None:
        right = axes.box[0] + axes.box[2]
        axes.canvas.line((axes.box[0], axes.y(reference)), (right, axes.y(reference)), stroke=palette.MUTED)
    axes.x_ticks(places, labels=_spaced(axes, ticks))
    for number, line in enumerate(lines):
        _draw_line(axes, line, 3.2 * (number - (len(lines) - 1) / 2))
    _label_ends(axes, lines)
    middle = axes.box[0] + axes.box[2] / 2
    axes.canvas.text((middle, axes.box[1] + axes.box[3] + 26), labels.x, anchor="middle", size=8.5)
    _draw_counts(axes, lines)
    return axes.canvas.svg()


def _spaced(axes: Axes, ticks: Sequence[tuple[float, str]]) -> list[str]:
    """Words of the ticks; those without room are left out."""
    shown, end = [], -math.inf
    for place, words in ticks:
        half = text_width(words, 9) / 2
        free = axes.x(place) - half > end + 2
        end = axes.x(place) + half if free else end
        shown.append(words if free else "")
    return shown


def _points(axes: Axes, line: Trajectory, shift: float) -> list[tuple[Point, int]]:
    pairs = enumerate(zip(line.x, line.estimate, strict=True))
    return [((axes.x(x) + shift, axes.y(y)), n) for n, (x, y) in pairs if math.isfinite(y)]


def _draw_line(axes: Axes, line: Trajectory, shift: float) -> None:
    canvas, colour = axes.canvas, palette.arm_colour(line.position)
    points = _points(axes, line, shift)
    canvas.polyline([p for p, _ in points], stroke=colour, stroke_width=1.3)
    for (x, y), n in points:
        if math.isfinite(line.low[n]) and math.isfinite(line.high[n]):
            ends = axes.points([line.x[n], line.x[n]], [line.low[n], line.high[n]])
            canvas.line((x, ends[0][1]), (x, ends[1][1]), stroke=colour, stroke_width=0.9)
        mark(canvas, (x, y), line.position, radius=2.6)


def _label_ends(axes: Axes, lines: Sequence[Trajectory]) -> None:
    drawn = [(line, _points(axes, line, 0.0)[-1][0]) for line in lines if _points(axes, line, 0.0)]
    bounds = (axes.box[1] + 4, axes.box[1] + axes.box[3])
    heights = apart([point[1] for _, point in drawn], 11.0, bounds)
    x = axes.box[0] + axes.box[2] + 4
    for (line, _), y in zip(drawn, heights, strict=True):
        axes.canvas.text((x, y + 3), line.label, size=9, strong=True, fill=palette.arm_colour(line.position))


def _draw_counts(axes: Axes, lines: Sequence[Trajectory]) -> None:
    top = axes.box[1] + axes.box[3] + 26.0
    axes.canvas.text((2, top), "subjects", size=8)
    for row, line in enumerate(lines, start=1):
        y, colour = top + ROW * row, palette.arm_colour(line.position)
        mark(axes.canvas, (6, y - 3), line.position, radius=2.4)
        axes.canvas.text((12, y), line.label.removeprefix("arm "), size=8, fill=colour, strong=True)
        for x, count in zip(line.x, line.count, strict=True):
            axes.canvas.text((axes.x(x), y), str(count), anchor="middle", size=8, fill=colour)
