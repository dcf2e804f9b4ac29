"""Administered activity per cycle, the proposal, and the base and cap of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks
from lutetia.report.numbers import gigabecquerel

WIDTH, HEIGHT = 332.0, 132.0


@dataclass(frozen=True, slots=True)
class CycleActivity:
    """Activity of one nuclide in each cycle (None: not given); `proposed` is the index of the proposal, if any."""

    nuclide: str
    label: str
    activity_MBq: tuple[float | None, ...]
    base_MBq: float | None = None
    cap_MBq: float | None = None


def activity_panel(series: CycleActivity, cycles: Sequence[str], *, proposed: int | None = None) -> bytes:
    """Bars of one nuclide over the cycles as SVG."""
    canvas = Canvas(WIDTH, HEIGHT)
    marks = [m for m in (series.base_MBq, series.cap_MBq, *series.activity_MBq) if m is not None]
    ticks = nice_ticks(max(marks, default=1000.0) / 1000.0 * 1.12, count=4)
    axes = Axes(canvas, (34, 34, WIDTH - 88, HEIGHT - 54), (0.0, float(max(len(cycles), 1))), (0.0, ticks[-1]))
    canvas.text((2, 11), series.label, size=10.5, fill=palette.INK, strong=True)
    canvas.text((29, 24), "GBq", anchor="end", size=8.5)
    axes.y_ticks(ticks)
    right = axes.box[0] + axes.box[2]
    for value, word in ((series.base_MBq, "base"), (series.cap_MBq, "cap")):
        if value is None or (word == "cap" and value == series.base_MBq):
            continue
        y = axes.y(value / 1000.0)
        canvas.line((axes.box[0], y), (right, y), stroke=palette.MUTED, stroke_dasharray="4 3")
        canvas.text((right + 4, y + 3), f"{word} {gigabecquerel(value)}", size=9)
    for column, (label, activity) in enumerate(zip(cycles, series.activity_MBq, strict=True)):
        _draw_cycle(axes, series.nuclide, (column, label), activity, open_bar=column == proposed)
    axes.base_line()
    return canvas.svg()


def _draw_cycle(axes: Axes, nuclide: str, column: tuple[int, str], activity: float | None, *, open_bar: bool) -> None:
    canvas, colour = axes.canvas, palette.nuclide_colour(nuclide)
    middle, bottom = axes.x(column[0] + 0.5), axes.box[1] + axes.box[3]
    canvas.text((middle, bottom + 13), column[1], anchor="middle", size=9)
    if activity is None:
        canvas.text((middle, bottom - 4), "–", anchor="middle")
        return
    width = min(34.0, 0.6 * (axes.x(1.0) - axes.x(0.0)))
    top = axes.y(activity / 1000.0)
    look: dict[str, str | float] = {"fill": colour}
    if open_bar:
        look = {"fill": palette.mix(colour, 0.25), "stroke": colour, "stroke_dasharray": "2.5 1.8"}
    canvas.rect((middle - width / 2, top), (width, bottom - top), **look)
    canvas.text(
        (middle, top - 4),
        gigabecquerel(activity),
        anchor="middle",
        size=9,
        strong=True,
        halo=True,
        fill=palette.INK,
    )
