"""Small pictures of the subject page, drawn on the canvas of reports: sparklines of laboratory values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas

WIDTH, HEIGHT = 240.0, 34.0
#: Grades from here on are drawn in the colour of danger (display only).
SEVERE = 3


@dataclass(frozen=True, slots=True)
class Dot:
    """One value: `day` counted from any common origin, `grade` 0–4 or None where it is open."""

    day: float
    value: float
    grade: int | None


def sparkline(
    dots: Sequence[Dot],
    *,
    days: tuple[float, float],
    infusions: Sequence[float] = (),
    normal: tuple[float | None, float | None] = (None, None),
) -> bytes:
    """Values over time as SVG: range of normal shaded, infusions as ticks, graded values marked by their grade.

    Parameters
    ----------
    days
        Ends of the time axis, common to all analytes of a subject.
    normal
        Lower and upper limit of normal; None where the laboratory prints none.
    """
    canvas = Canvas(WIDTH, HEIGHT)
    known = [d.value for d in dots] + [limit for limit in normal if limit is not None]
    low, high = min(known), max(known)
    room = 0.12 * (high - low) or abs(high) * 0.1 or 1.0
    span = (days[0], days[1] if days[1] > days[0] else days[0] + 1.0)
    axes = Axes(canvas, (6, 4, WIDTH - 16, HEIGHT - 8), span, (low - room, high + room))
    _shade(axes, normal)
    for day in infusions:
        canvas.line((axes.x(day), HEIGHT - 5), (axes.x(day), HEIGHT), stroke=palette.ACCENT, stroke_width=1.4)
    points = axes.points([d.day for d in dots], [d.value for d in dots])
    canvas.polyline(points, stroke=palette.MUTED, stroke_width=1.1)
    for dot, point in zip(dots, points, strict=True):
        _mark(canvas, dot, point)
    if points:
        canvas.circle(points[-1], 2.2, fill=_colour(dots[-1].grade))
    return canvas.svg()


def _shade(axes: Axes, normal: tuple[float | None, float | None]) -> None:
    low, high = axes.y_range
    bottom, top = (low if normal[0] is None else normal[0]), (high if normal[1] is None else normal[1])
    if normal == (None, None) or top <= bottom:
        return
    corner = (axes.box[0] - 4, axes.y(top))
    axes.canvas.rect(corner, (axes.box[2] + 8, axes.y(bottom) - axes.y(top)), fill=palette.WASH, stroke=palette.GRID)


def _mark(canvas: Canvas, dot: Dot, point: tuple[float, float]) -> None:
    """A graded value: an open mark for grades 1 and 2, a filled one from 3 on, so that colour alone says nothing."""
    if not dot.grade:
        return
    colour = _colour(dot.grade)
    severe = dot.grade >= SEVERE
    fill = colour if severe else palette.PAPER
    canvas.circle(point, 3.0 if severe else 2.3, fill=fill, stroke=colour, stroke_width=1.3)


def _colour(grade: int | None) -> str:
    if not grade:
        return palette.INK
    return palette.DANGER if grade >= SEVERE else palette.WARNING
