"""One point per subject: effect against dose, marks by arm, a fitted line with its band where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, nice_ticks
from lutetia.report.figures.frame import HALF, Labels, Margins, frame, mark, nothing_to_draw, signed_ticks

SIZE = (HALF, 206.0)


@dataclass(frozen=True, slots=True)
class Cloud:
    """Subjects of one arm; `x` and `y` of equal length."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    position: int


@dataclass(frozen=True, slots=True)
class FittedLine:
    """A fitted line on a grid with its 95 % band; the band may be empty."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def scatter_panel(labels: Labels, clouds: Sequence[Cloud], *, fit: FittedLine | None = None, words: str = "") -> bytes:
    """Points with legend as SVG; `words` (the association and its interval) stand inside the panel."""
    x = [v for c in clouds for v in c.x]
    y = [v for c in clouds for v in c.y]
    if not x:
        return nothing_to_draw(labels, "No subject has both a dose and an effect yet.")
    x_ticks = nice_ticks(max(x) * 1.03, count=5)
    y_ticks = signed_ticks(min([*y, 0.0]), max([*y, 0.0]))
    ranges = ((0.0, x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    axes = frame(SIZE, ranges, labels, Margins(left=40, bottom=34, top=48))
    axes.y_ticks(y_ticks)
    axes.x_ticks(x_ticks)
    right = axes.box[0] + axes.box[2]
    axes.canvas.line((axes.box[0], axes.y(0.0)), (right, axes.y(0.0)), stroke=palette.MUTED, stroke_width=0.8)
    if fit is not None:
        _draw_fit(axes, fit)
    for cloud in clouds:
        for a, b in zip(cloud.x, cloud.y, strict=True):
            mark(axes.canvas, (axes.x(a), axes.y(b)), cloud.position, radius=2.9)
    _legend(axes, clouds, words)
    return axes.canvas.svg()


def _draw_fit(axes: Axes, fit: FittedLine) -> None:
    if fit.low and fit.high:
        band = [*axes.points(fit.x, fit.high), *reversed(axes.points(fit.x, fit.low))]
        axes.canvas.polygon(band, fill=palette.RULE, fill_opacity=0.6)
    axes.canvas.polyline(axes.points(fit.x, fit.y), stroke=palette.INK, stroke_width=1.4)


def _legend(axes: Axes, clouds: Sequence[Cloud], words: str) -> None:
    """Marks of the arms at the right of the title, the words in a line of their own above the plotting area."""
    right = axes.box[0] + axes.box[2]
    x = right - 34.0 * len(clouds) + 8
    for n, cloud in enumerate(clouds):
        mark(axes.canvas, (x + 34.0 * n, 8), cloud.position)
        axes.canvas.text((x + 34.0 * n + 6, 11), cloud.label, size=9, fill=palette.INK)
    axes.canvas.text((right, 39), words, anchor="end", size=8.5, strong=True, fill=palette.INK)
