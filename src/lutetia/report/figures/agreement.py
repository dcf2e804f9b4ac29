"""Predicted against measured dose of the same cycle: points about the line of identity on equal axes."""

from __future__ import annotations

from collections.abc import Sequence

from lutetia.report import palette
from lutetia.report.figures.canvas import nice_ticks
from lutetia.report.figures.frame import HALF, Labels, Margins, frame, mark, nothing_to_draw
from lutetia.report.figures.scatter import Cloud

SIZE = (HALF, 236.0)


def agreement_panel(labels: Labels, clouds: Sequence[Cloud], *, words: Sequence[str] = ()) -> bytes:
    """Points and the line of identity as SVG; x is predicted, y measured; `words` state bias and spread."""
    values = [v for c in clouds for v in (*c.x, *c.y)]
    if not values:
        return nothing_to_draw(labels, "No cycle has both a forecast and a measured dose.")
    ticks = nice_ticks(max(values) * 1.03, count=5)
    axes = frame(SIZE, ((0.0, ticks[-1]), (0.0, ticks[-1])), labels, Margins(left=36, top=34, right=62))
    axes.y_ticks(ticks)
    axes.x_ticks(ticks)
    axes.base_line()
    canvas = axes.canvas
    canvas.line((axes.x(0.0), axes.y(0.0)), (axes.x(ticks[-1]), axes.y(ticks[-1])), stroke=palette.MUTED)
    for cloud in clouds:
        for a, b in zip(cloud.x, cloud.y, strict=True):
            mark(canvas, (axes.x(a), axes.y(b)), cloud.position, radius=2.4)
    for n, line in enumerate(words):
        place = (axes.box[0] + 5, axes.box[1] + 10 + 12 * n)
        canvas.text(place, line, size=8.5, strong=True, fill=palette.INK, halo=True)
    right = axes.box[0] + axes.box[2]
    for n, cloud in enumerate(clouds):
        mark(canvas, (right + 12, axes.box[1] + 8 + 13 * n), cloud.position)
        canvas.text((right + 19, axes.box[1] + 11 + 13 * n), cloud.label, size=9, fill=palette.INK)
    return canvas.svg()
