"""Time–activity curves: measured points with error bars, fit, 95 % band; what lies beyond the last scan is dashed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks, shorten, text_width

WIDTH, HEIGHT = 220.0, 158.0


@dataclass(frozen=True, slots=True)
class Curve:
    """One nuclide in one region: measured points (may be empty) and the fit on a time grid with its 95 % band.

    `time_h`, `activity_MBq`, `sd_MBq` shape (point,); `grid_h`, `fit_MBq`, `low_MBq`, `high_MBq` shape (time,), the
    last two empty where there is no band. `last_measured_h` is where the dashed part begins.
    """

    nuclide: str
    time_h: tuple[float, ...]
    activity_MBq: tuple[float, ...]
    sd_MBq: tuple[float, ...]
    grid_h: tuple[float, ...]
    fit_MBq: tuple[float, ...]
    low_MBq: tuple[float, ...] = ()
    high_MBq: tuple[float, ...] = ()
    last_measured_h: float | None = None


def time_activity_panel(
    title: str, curves: Sequence[Curve], *, note: str = "", unit: str = "MBq", end_h: float | None = None
) -> bytes:
    """One region's curves of one cycle as SVG; `end_h` makes the time axes of several panels equal."""
    canvas = Canvas(WIDTH, HEIGHT)
    ticks = nice_ticks(max((_highest(c) for c in curves), default=1.0) * 1.02, count=4)
    last = end_h or max((max((*c.grid_h, *c.time_h), default=1.0) for c in curves), default=1.0)
    axes = Axes(canvas, (34, 34, WIDTH - 42, HEIGHT - 64), (0.0, last), (0.0, ticks[-1]))
    canvas.text(
        (2, 11), shorten(title, 10.5, WIDTH - 8 - text_width(note, 9)), size=10.5, fill=palette.INK, strong=True
    )
    canvas.text((WIDTH - 8, 11), note, anchor="end", size=9)
    canvas.text((max(29, 4 + text_width(unit, 8.5)), 24), unit, anchor="end", size=8.5)
    axes.y_ticks(ticks)
    axes.x_ticks(hour_ticks(last))
    canvas.text((WIDTH - 8, HEIGHT - 4), "hours after infusion", anchor="end", size=8.5)
    for curve in curves:
        _draw_fit(axes, curve)
    for curve in curves:
        _draw_points(axes, curve)
    axes.base_line()
    return canvas.svg()


def hour_ticks(last_h: float) -> list[float]:
    """Ticks at whole days or parts of them, at most five intervals."""
    step = next((s for s in (1, 2, 4, 6, 12, 24, 48, 72, 96, 120, 168, 240, 336) if last_h / s <= 5.0), 720)
    return [float(n * step) for n in range(int(last_h // step) + 1)]


def _highest(curve: Curve) -> float:
    tops = [a + s for a, s in zip(curve.activity_MBq, curve.sd_MBq, strict=True)]
    return max((*tops, *curve.fit_MBq, *curve.high_MBq), default=0.0)


def _draw_fit(axes: Axes, curve: Curve) -> None:
    colour = palette.nuclide_colour(curve.nuclide)
    grid = [t for t in curve.grid_h if t <= axes.x_range[1]]
    size = len(grid)
    if curve.low_MBq and curve.high_MBq:
        upper = axes.points(grid, curve.high_MBq[:size])
        lower = axes.points(grid, curve.low_MBq[:size])
        axes.canvas.polygon([*upper, *reversed(lower)], fill=palette.mix(colour, 0.34), fill_opacity=0.75)
    last = grid[-1] if curve.last_measured_h is None and grid else curve.last_measured_h or 0.0
    seen = sum(t <= last for t in grid)
    line = axes.points(grid, curve.fit_MBq[:size])
    axes.canvas.polyline(line[:seen], stroke=colour, stroke_width=1.5, stroke_linejoin="round")
    axes.canvas.polyline(line[max(seen - 1, 0) :], stroke=colour, stroke_width=1.3, stroke_dasharray="3.5 2.5")


def _draw_points(axes: Axes, curve: Curve) -> None:
    colour = palette.nuclide_colour(curve.nuclide)
    for time, activity, sd in zip(curve.time_h, curve.activity_MBq, curve.sd_MBq, strict=True):
        (x, low), (_, high) = axes.points([time, time], [activity - sd, activity + sd])
        axes.canvas.line((x, low), (x, high), stroke=colour, stroke_width=1.0)
        axes.canvas.circle((x, axes.y(activity)), 2.6, fill="#ffffff", stroke=colour, stroke_width=1.4)
