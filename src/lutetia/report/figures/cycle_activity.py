"""Administered activity of one arm in each cycle: every subject a point, medians as bars, nuclides side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, nice_ticks
from lutetia.report.figures.frame import HALF, Labels, Margins, frame, nothing_to_draw, quartiles, swarm
from lutetia.report.numbers import given_number, nuclide_text

SIZE = (HALF, 168.0)


@dataclass(frozen=True, slots=True)
class NuclideActivity:
    """Activities of one nuclide: `GBq[cycle]` holds one value per subject; `base_GBq` is that of the protocol."""

    nuclide: str
    GBq: tuple[tuple[float, ...], ...]
    base_GBq: float | None = None


def cycle_activity_panel(
    labels: Labels, series: Sequence[NuclideActivity], cycles: Sequence[str], *, highest_GBq: float | None = None
) -> bytes:
    """Points and medians over the cycles as SVG; `highest_GBq` makes the axes of several arms equal."""
    values = [v for s in series for cycle in s.GBq for v in cycle]
    if not values:
        return nothing_to_draw(labels, "Nothing was administered by the data cut.", height=SIZE[1])
    ticks = nice_ticks(max([highest_GBq or 0.0, *values, *(s.base_GBq or 0.0 for s in series)]) * 1.03, count=4)
    axes = frame(SIZE, ((0.0, float(max(len(cycles), 1))), (0.0, ticks[-1])), labels, Margins(right=50, bottom=38))
    axes.y_ticks(ticks)
    _draw_bases(axes, series)
    bottom = axes.box[1] + axes.box[3]
    for column, cycle in enumerate(cycles):
        count = max((len(s.GBq[column]) for s in series), default=0)
        axes.canvas.text((axes.x(column + 0.5), bottom + 13), cycle, anchor="middle", size=9, fill=palette.INK)
        axes.canvas.text((axes.x(column + 0.5), bottom + 25), f"n = {count}", anchor="middle", size=8.5)
    for number, one in enumerate(series):
        _draw_nuclide(axes, one, number, len(series))
    axes.base_line()
    return axes.canvas.svg()


def _draw_bases(axes: Axes, series: Sequence[NuclideActivity]) -> None:
    right = axes.box[0] + axes.box[2]
    bases: dict[float, list[str]] = {}
    for one in series:
        if one.base_GBq is not None:
            bases.setdefault(one.base_GBq, []).append(one.nuclide)
    for base, names in bases.items():
        y = axes.y(base)
        axes.canvas.line((axes.box[0], y), (right, y), stroke=palette.MUTED, stroke_dasharray="4 3")
        words = f"base {given_number(base)}"
        axes.canvas.text((right + 3, y + 3), words, size=8.5)
        if len(names) < len(series):
            axes.canvas.text((right + 3, y + 13), ", ".join(nuclide_text(n) for n in names), size=8.5)


def _draw_nuclide(axes: Axes, series: NuclideActivity, number: int, count: int) -> None:
    canvas, colour = axes.canvas, palette.nuclide_colour(series.nuclide)
    wide = axes.x(1.0) - axes.x(0.0)
    half = min(0.8 * wide / max(count, 1) / 2 - 1, 22.0)
    for column, values in enumerate(series.GBq):
        if not values:
            continue
        middle = axes.x(column + 0.5) + (number - (count - 1) / 2) * (2 * half + 3)
        heights = [axes.y(v) for v in values]
        for x, y in zip(swarm(heights, 4.0, step=2.0, room=half - 2), heights, strict=True):
            canvas.circle((middle + x, y), 2.0, fill=palette.mix(colour, 0.55), stroke=palette.PAPER, stroke_width=0.5)
        y = axes.y(quartiles(values)[1])
        canvas.line((middle - half, y), (middle + half, y), stroke=colour, stroke_width=2.2)
