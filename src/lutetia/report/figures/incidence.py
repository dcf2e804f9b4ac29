"""Cumulative incidence of an event by group: steps, words at the line ends, numbers at risk beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Point, nice_ticks, text_width
from lutetia.report.figures.frame import HALF, Labels, Margins, apart, frame, mark, nothing_to_draw

TOP, PLOT, ROW = 34.0, 130.0, 11.0


@dataclass(frozen=True, slots=True)
class Steps:
    """One group: incidence (fraction) from each event time on, and subjects at risk at the times of the axis."""

    label: str
    time: tuple[float, ...]
    incidence: tuple[float, ...]
    at_risk: tuple[int, ...]
    last_time: float
    position: int


def incidence_panel(labels: Labels, groups: Sequence[Steps], ticks: Sequence[float]) -> bytes:
    """Step curves in percent as SVG; `ticks` are the times at which numbers at risk are given."""
    if not groups or len(ticks) < 2:
        return nothing_to_draw(labels, "No subject was at risk by the data cut.")
    highest = max((100.0 * v for g in groups for v in g.incidence), default=0.0)
    scale = nice_ticks(max(highest * 1.05, 10.0), count=5)
    scale = [t for t in scale if t <= 100.0] if scale[-1] > 100.0 else scale
    below, ends = ROW * len(groups) + 34.0, max(text_width(_end_words(g), 9) for g in groups)
    axes = frame(
        (HALF, TOP + PLOT + below), ((ticks[0], ticks[-1]), (0.0, scale[-1])), replace(labels, x=""),
        Margins(left=40, right=10 + ends, bottom=below),
    )  # fmt: skip
    axes.y_ticks(scale)
    axes.x_ticks(ticks)
    axes.base_line()
    for group in groups:
        path = _path(axes, group)
        axes.canvas.polyline(path, stroke=palette.arm_colour(group.position), stroke_width=1.6)
    _label_ends(axes, groups)
    middle = axes.box[0] + axes.box[2] / 2
    axes.canvas.text((middle, axes.box[1] + axes.box[3] + 26), labels.x, anchor="middle", size=8.5)
    _draw_risk(axes, groups, ticks)
    return axes.canvas.svg()


def _end_words(group: Steps) -> str:
    value = 100.0 * group.incidence[-1] if group.incidence else 0.0
    return f"{group.label} {value:.0f} %"


def _path(axes: Axes, group: Steps) -> list[Point]:
    end = min(max(group.last_time, axes.x_range[0]), axes.x_range[1])
    level, path = 0.0, [(axes.x(axes.x_range[0]), axes.y(0.0))]
    for time, value in zip(group.time, group.incidence, strict=True):
        if time > axes.x_range[1]:
            break
        path += [(axes.x(time), axes.y(100.0 * level)), (axes.x(time), axes.y(100.0 * value))]
        level = value
    return [*path, (axes.x(end), axes.y(100.0 * level))]


def _label_ends(axes: Axes, groups: Sequence[Steps]) -> None:
    wanted = [_path(axes, g)[-1][1] for g in groups]
    heights = apart(wanted, 11.0, (axes.box[1] + 4, axes.box[1] + axes.box[3]))
    x = axes.box[0] + axes.box[2] + 4
    for group, y in zip(groups, heights, strict=True):
        colour = palette.arm_colour(group.position)
        axes.canvas.text((x, y + 3), _end_words(group), size=9, strong=True, fill=colour)


def _draw_risk(axes: Axes, groups: Sequence[Steps], ticks: Sequence[float]) -> None:
    top = axes.box[1] + axes.box[3] + 28.0
    axes.canvas.text((2, top), "at risk", size=8)
    for row, group in enumerate(groups):
        y, colour = top + ROW * (row + 1), palette.arm_colour(group.position)
        mark(axes.canvas, (6, y - 3), group.position, radius=2.4)
        axes.canvas.text((12, y), group.label.removeprefix("arm "), size=8, fill=colour, strong=True)
        for tick, count in zip(ticks, group.at_risk, strict=True):
            axes.canvas.text((axes.x(tick), y), str(count), anchor="middle", size=8, fill=colour)
