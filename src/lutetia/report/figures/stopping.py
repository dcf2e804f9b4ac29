"""Stopping boundary: events that would stop an arm against evaluable subjects, and the path of every arm so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Point, nice_ticks, text_width
from lutetia.report.figures.frame import HALF, Labels, Margins, apart, frame, mark, nothing_to_draw

SIZE = (HALF, 200.0)


@dataclass(frozen=True, slots=True)
class ArmPath:
    """Cumulative events after each evaluable subject of one arm, in the order in which they became evaluable."""

    label: str
    events: tuple[int, ...]
    position: int


def stopping_panel(labels: Labels, boundary: Sequence[tuple[int, int]], arms: Sequence[ArmPath]) -> bytes:
    """Boundary and paths as SVG.

    Parameters
    ----------
    boundary
        (evaluable subjects, least number of events that stops) at every look, in increasing order.
    """
    if not boundary:
        return nothing_to_draw(labels, "The study file names no stopping boundary.")
    longest = max([boundary[-1][0], *(len(a.events) for a in arms)])
    highest = max([boundary[-1][1], *(a.events[-1] for a in arms if a.events)])
    ticks = [float(t) for t in nice_ticks(highest + 1.0, count=6, steps=(1.0, 2.0, 5.0, 10.0))]
    ends = max((text_width(_words(a), 9) for a in arms), default=0.0)
    axes = frame(SIZE, ((0.0, float(longest)), (0.0, ticks[-1])), labels, Margins(left=30, right=12 + ends))
    corners = _corners(axes, boundary)
    axes.canvas.polygon(
        [(corners[0][0], axes.box[1]), *corners, (corners[-1][0], axes.box[1])], fill=palette.DANGER_WASH
    )
    axes.y_ticks(ticks)
    axes.canvas.polyline(corners, stroke=palette.LIMIT, stroke_width=1.5)
    axes.canvas.text((corners[0][0] + 6, axes.box[1] + 12), "stop", size=9, strong=True, fill=palette.LIMIT)
    axes.x_ticks([t for t in nice_ticks(longest, count=6, steps=(1.0, 2.0, 5.0, 10.0)) if t <= longest])
    axes.base_line()
    _draw_paths(axes, arms)
    return axes.canvas.svg()


def _words(arm: ArmPath) -> str:
    return f"{arm.label}: {arm.events[-1] if arm.events else 0}/{len(arm.events)}"


def _corners(axes: Axes, boundary: Sequence[tuple[int, int]]) -> list[Point]:
    corners = []
    for n, (subjects, events) in enumerate(boundary):
        end = boundary[n + 1][0] if n + 1 < len(boundary) else axes.x_range[1]
        corners += [(axes.x(subjects), axes.y(events)), (axes.x(end), axes.y(events))]
    return corners


def _draw_paths(axes: Axes, arms: Sequence[ArmPath]) -> None:
    shown = [arm for arm in arms if arm.events]
    for n, arm in enumerate(shown):
        lift = 1.6 * (n - (len(shown) - 1) / 2)
        path = [(axes.x(0.0), axes.y(0.0) - lift)]
        for count, events in enumerate(arm.events, start=1):
            path += [(axes.x(float(count)), path[-1][1]), (axes.x(float(count)), axes.y(float(events)) - lift)]
        axes.canvas.polyline(path, stroke=palette.arm_colour(arm.position), stroke_width=1.5)
        mark(axes.canvas, path[-1], arm.position, radius=2.8)
    wanted = [axes.y(float(a.events[-1] if a.events else 0)) for a in arms]
    heights = apart(wanted, 11.5, (axes.box[1] + 4, axes.box[1] + axes.box[3]))
    x = axes.box[0] + axes.box[2] + 6
    for arm, y in zip(arms, heights, strict=True):
        axes.canvas.text((x, y + 3), _words(arm), size=9, strong=True, fill=palette.arm_colour(arm.position))
