"""eDISH: each subject's highest ALT or AST against the highest bilirubin, both as multiples, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes
from lutetia.report.figures.frame import (
    HALF,
    Labels,
    Margins,
    frame,
    log_labels,
    log_ticks,
    mark,
    nothing_to_draw,
)  # fmt: skip
from lutetia.report.figures.scatter import Cloud

SIZE = (HALF, 214.0)
ENZYME_CUT, BILIRUBIN_CUT = 3.0, 2.0


def edish_panel(labels: Labels, clouds: Sequence[Cloud]) -> bytes:
    """Points in the four quadrants of the screen as SVG; x is the enzyme multiple, y that of bilirubin."""
    x = [v for c in clouds for v in c.x]
    y = [v for c in clouds for v in c.y]
    if not x:
        return nothing_to_draw(labels, "No subject has ALT or AST and bilirubin with limits of normal.")
    x_ticks = log_ticks(min([*x, 0.5]), max([*x, 10.0]))
    y_ticks = log_ticks(min([*y, 0.5]), max([*y, 5.0]))
    ranges = tuple((math.log10(t[0]), math.log10(t[-1])) for t in (x_ticks, y_ticks))
    axes = frame(SIZE, (ranges[0], ranges[1]), labels, Margins(left=40, top=36))
    _draw_quadrants(axes)
    axes.x_ticks([math.log10(t) for t in x_ticks], labels=log_labels(x_ticks))
    for tick, words in zip(y_ticks, log_labels(y_ticks), strict=True):
        axes.canvas.text((axes.box[0] - 5, axes.y(math.log10(tick)) + 3), words, anchor="end", size=9)
    for cloud in clouds:
        for a, b in zip(cloud.x, cloud.y, strict=True):
            mark(axes.canvas, (axes.x(math.log10(a)), axes.y(math.log10(b))), cloud.position, radius=2.9)
    _legend(axes, clouds)
    return axes.canvas.svg()


def _draw_quadrants(axes: Axes) -> None:
    left, top, width, height = axes.box
    right, bottom = left + width, top + height
    x, y = axes.x(math.log10(ENZYME_CUT)), axes.y(math.log10(BILIRUBIN_CUT))
    axes.canvas.rect((x, top), (right - x, y - top), fill=palette.DANGER_WASH)
    axes.canvas.rect((left, top), (width, height), fill="none", stroke=palette.RULE)
    axes.canvas.line((x, top), (x, bottom), stroke=palette.LIMIT, stroke_dasharray="5 2.5")
    axes.canvas.line((left, y), (right, y), stroke=palette.LIMIT, stroke_dasharray="5 2.5")
    axes.canvas.text((right - 4, top + 11), "Hy's law range", anchor="end", size=8.5, strong=True, fill=palette.LIMIT)
    axes.canvas.text((left + 4, top + 11), "cholestasis", size=8.5, halo=True)
    axes.canvas.text((right - 4, bottom - 5), "Temple's corollary", anchor="end", size=8.5, halo=True)


def _legend(axes: Axes, clouds: Sequence[Cloud]) -> None:
    x = axes.box[0] + axes.box[2] - 34.0 * len(clouds) + 8
    for n, cloud in enumerate(clouds):
        mark(axes.canvas, (x + 34.0 * n, 22), cloud.position)
        axes.canvas.text((x + 34.0 * n + 6, 25), cloud.label, size=9, fill=palette.INK)
