"""One quantity by group: box of the quartiles, every subject as a point, limit line (cumulative dose by arm)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, nice_ticks
from lutetia.report.figures.frame import (
    HALF,
    Labels,
    Margins,
    frame,
    limit_line,
    mark,
    nothing_to_draw,
    quartiles,
    swarm,
)
from lutetia.report.numbers import number

SIZE = (HALF, 214.0)
FEWEST_FOR_A_BOX = 5
#: Between two boxes, for the number of the median.
_MEDIAN_ROOM = 30.0


@dataclass(frozen=True, slots=True)
class Group:
    """Values of the subjects of one group; `position` chooses colour and mark."""

    label: str
    values: tuple[float, ...]
    position: int


def box_panel(labels: Labels, groups: Sequence[Group], *, limit: float | None = None, limit_text: str = "") -> bytes:
    """Boxes with every value over them as SVG; a group of fewer than five has points and a median only."""
    values = [v for g in groups for v in g.values]
    if not values:
        return nothing_to_draw(labels, "No subject has a value yet.")
    shown = limit if limit is not None and max(values) > 0.45 * limit else None
    ticks = nice_ticks(max([*values, shown or 0.0]) * 1.03, count=5)
    ranges = ((0.0, float(len(groups))), (0.0, ticks[-1]))
    axes = frame(SIZE, ranges, labels, Margins(right=26, bottom=40))
    axes.y_ticks(ticks)
    axes.base_line()
    for column, group in enumerate(groups):
        _draw_group(axes, group, column)
    if limit is not None and shown is not None:
        limit_line(axes, limit, limit_text)
    elif limit is not None:
        axes.canvas.text((axes.box[0] + 3, axes.box[1] + 8), f"{limit_text} is beyond this axis", size=8.5)
    return axes.canvas.svg()


def _draw_group(axes: Axes, group: Group, column: int) -> None:
    canvas, middle = axes.canvas, axes.x(column + 0.5)
    bottom = axes.box[1] + axes.box[3]
    canvas.text((middle, bottom + 13), group.label, anchor="middle", size=9, strong=True, fill=palette.INK)
    canvas.text((middle, bottom + 25), f"n = {len(group.values)}", anchor="middle", size=8.5)
    if not group.values:
        return
    heights = [axes.y(v) for v in group.values]
    step = axes.x(1.0) - axes.x(0.0)
    half = max(8.0, min(0.36 * step, 24.0, (step - _MEDIAN_ROOM) / 2))
    if len(group.values) >= FEWEST_FOR_A_BOX:
        _draw_box(axes, group, middle, half)
    for x, y in zip(swarm(heights, 4.4, step=2.2, room=half - 3), heights, strict=True):
        mark(canvas, (middle + x, y), group.position, radius=2.3)
    median = quartiles(group.values)[1]
    y = axes.y(median)
    canvas.line((middle - half, y), (middle + half, y), stroke=palette.arm_colour(group.position), stroke_width=2)
    canvas.text((middle + half + 3, y + 3), _short(median), size=8.5, strong=True, halo=True, fill=palette.INK)


def _draw_box(axes: Axes, group: Group, middle: float, half: float) -> None:
    low, _, high = quartiles(group.values)
    reach = 1.5 * (high - low)
    inside = [v for v in group.values if low - reach <= v <= high + reach]
    colour = palette.arm_colour(group.position)
    for end, start in ((min(inside), low), (max(inside), high)):
        axes.canvas.line((middle, axes.y(start)), (middle, axes.y(end)), stroke=colour, stroke_width=1)
    axes.canvas.rect(
        (middle - half, axes.y(high)), (2 * half, axes.y(low) - axes.y(high)),
        fill=palette.mix(colour, 0.16), stroke=colour, stroke_width=0.9,
    )  # fmt: skip


def _short(value: float) -> str:
    return number(value, digits=3, most=2)
