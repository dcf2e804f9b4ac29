"""Cumulative dose of one region, cycle by cycle: each step is stacked by nuclide on what was given before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks, shorten, text_width

WIDTH, HEIGHT = 220.0, 150.0


@dataclass(frozen=True, slots=True)
class CycleDose:
    """What one cycle adds: (nuclide, Gy) pairs, or None where it is not evaluable; proposed cycles are open."""

    label: str
    parts_Gy: tuple[tuple[str, float], ...] | None
    proposed: bool = False


def cumulative_panel(
    title: str, cycles: Sequence[CycleDose], *, limit_Gy: float | None = None, limit_text: str = "", note: str = ""
) -> bytes:
    """Steps of cumulative dose as SVG, with the limit line where there is one near."""
    canvas = Canvas(WIDTH, HEIGHT)
    total = sum(sum(d for _, d in c.parts_Gy or ()) for c in cycles)
    shown_limit = limit_Gy if limit_Gy is not None and total > 0.2 * limit_Gy else None
    ticks = nice_ticks(max(total, shown_limit or 0.0, 1e-3) * 1.04, count=4)
    axes = Axes(canvas, (34, 34, WIDTH - 42, HEIGHT - 54), (0.0, float(max(len(cycles), 1))), (0.0, ticks[-1]))
    canvas.text(
        (2, 11), shorten(title, 10.5, WIDTH - 8 - text_width(note, 9)), size=10.5, fill=palette.INK, strong=True
    )
    canvas.text((WIDTH - 8, 11), note, anchor="end", size=9)
    canvas.text((29, 24), "Gy", anchor="end", size=8.5)
    axes.y_ticks(ticks)
    base = 0.0
    for column, cycle in enumerate(cycles):
        base = _draw_step(axes, cycle, column, base)
    axes.base_line()
    if shown_limit is not None:
        y = axes.y(shown_limit)
        canvas.text((axes.box[0] + 3, y - 4), limit_text, size=9, strong=True, halo=True, fill=palette.LIMIT)
        canvas.line((axes.box[0], y), (axes.box[0] + axes.box[2], y), stroke=palette.LIMIT, stroke_width=1.4)
    return canvas.svg()


def _draw_step(axes: Axes, cycle: CycleDose, column: int, base: float) -> float:
    canvas = axes.canvas
    wide = axes.x(1.0) - axes.x(0.0)
    width = min(30.0, 0.62 * wide)
    left = axes.x(column + 0.5) - width / 2
    canvas.text((axes.x(column + 0.5), axes.box[1] + axes.box[3] + 13), cycle.label, anchor="middle", size=9)
    canvas.rect((left, axes.y(base)), (width, axes.y(0.0) - axes.y(base)), fill=palette.GRID)
    if cycle.parts_Gy is None:
        canvas.text((axes.x(column + 0.5), axes.y(base) - 4), "?", anchor="middle", size=11, strong=True)
        return base
    for name, dose in cycle.parts_Gy:
        colour = palette.nuclide_colour(name)
        look: dict[str, str | float] = {"fill": colour}
        if cycle.proposed:
            look = {"fill": palette.mix(colour, 0.25), "stroke": colour, "stroke_dasharray": "2.5 1.8"}
        canvas.rect((left, axes.y(base + dose)), (width, axes.y(base) - axes.y(base + dose)), **look)
        base += dose
    return base
