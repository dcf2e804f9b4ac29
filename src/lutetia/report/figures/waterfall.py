"""Waterfall: one bar per subject, sorted, in the colour of the arm (largest fall of a blood count from baseline)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes
from lutetia.report.figures.frame import FULL, Labels, Margins, frame, mark, nothing_to_draw, signed_ticks

SIZE = (FULL, 176.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """Change of one subject; `position` is that of its arm."""

    change_percent: float
    position: int


def waterfall_panel(labels: Labels, bars: Sequence[Bar], arms: Sequence[str]) -> bytes:
    """Sorted bars as SVG, largest fall at the right; `arms` are the words of the legend."""
    if not bars:
        return nothing_to_draw(labels, "No subject has a baseline and a later value yet.", width=FULL)
    ordered = sorted(bars, key=lambda b: (-b.change_percent, b.position))
    values = [b.change_percent for b in ordered]
    ticks = signed_ticks(min([*values, 0.0]), max([*values, 0.0]))
    axes = frame(SIZE, ((0.0, float(len(ordered))), (ticks[0], ticks[-1])), labels, Margins(bottom=12, top=36))
    axes.y_ticks(ticks)
    wide = axes.x(1.0) - axes.x(0.0)
    for n, bar in enumerate(ordered):
        top, foot = sorted((axes.y(bar.change_percent), axes.y(0.0)))
        axes.canvas.rect(
            (axes.x(n) + 0.1 * wide, top), (0.8 * wide, max(foot - top, 0.6)), fill=palette.arm_colour(bar.position)
        )
        _mark_arm(axes, n, bar)
    left, zero = axes.box[0], axes.y(0.0)
    axes.canvas.line((left, zero), (left + axes.box[2], zero), stroke=palette.MUTED, stroke_width=0.8)
    _legend(axes, arms)
    return axes.canvas.svg()


def _mark_arm(axes: Axes, n: int, bar: Bar) -> None:
    radius = min(2.6, 0.42 * (axes.x(1.0) - axes.x(0.0)))
    offset = -6.0 if bar.change_percent <= 0.0 else 6.0
    mark(axes.canvas, (axes.x(n + 0.5), axes.y(0.0) + offset), bar.position, radius=radius)


def _legend(axes: Axes, arms: Sequence[str]) -> None:
    x, y = axes.box[0] + 8.0, axes.box[1] + axes.box[3] - 8.0 - 13.0 * (len(arms) - 1)
    for position, words in enumerate(arms):
        mark(axes.canvas, (x, y + 13.0 * position), position)
        axes.canvas.text((x + 8, y + 3 + 13.0 * position), words, size=9, fill=palette.INK, halo=True)
