"""Pictures of a study: differences from references within their tolerances, or how much of each bound is used."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks, shorten, text_width
from lutetia.validation.checks import Check

ROW, TOP, BOTTOM = 17.0, 40.0, 34.0
LABEL = 9.5
PLOT, VALUE_ROOM, MOST_LABEL_ROOM = 300.0, 70.0, 420.0


def study_figure(checks: Sequence[Check]) -> bytes:
    """The study as SVG; where references exist, differences from them; else the used share of the bounds.

    Checks that were not run, and figures without a reference beside ones that have it, stay in the table alone.
    Empty where nothing can be drawn.
    """
    measured = [c for c in checks if not c.not_run and math.isfinite(c.value)]
    referred = [c for c in measured if c.tolerance_percent is not None]
    if referred:
        return difference_panel(referred)
    return share_panel(measured) if measured else b""


def difference_panel(checks: Sequence[Check]) -> bytes:
    """One row a check: band of tolerance, and a dot at ours over the reference less 1."""
    rows = [(c, c.difference_percent or 0.0, c.tolerance_percent or (0.0, 0.0)) for c in checks]
    reach = 1.06 * max(abs(x) for _, value, (low, high) in rows for x in (value, low, high))
    half = nice_ticks(reach, count=3)
    ticks = [-t for t in half[:0:-1] if t <= reach] + [t for t in half if t <= reach]
    canvas, axes = _frame(checks, (-reach, reach), ticks, "ours over the reference less 1, %")
    canvas.text(
        (2, 12), "Difference from the reference, with the tolerance as a band", size=11, fill=palette.INK, strong=True
    )
    zero = axes.x(0.0)
    for number, (check, value, (low, high)) in enumerate(rows):
        middle = TOP + (number + 0.5) * ROW
        left, right = axes.x(low), axes.x(high)
        canvas.rect((left, middle - 5.5), (right - left, 11.0), fill=palette.mix(palette.ACCENT, 0.16), rx=2.0)
        _row(axes, check, axes.x(value), middle, check.difference, start=zero)
    canvas.line((zero, TOP - 3), (zero, TOP + axes.box[3]), stroke=palette.MUTED, stroke_width=0.8)
    return canvas.svg()


def share_panel(checks: Sequence[Check]) -> bytes:
    """One row a check: how far from the middle of its bounds to their edge (1) the figure lies."""
    shares = [used_share(c) for c in checks]
    reach = 1.06 * max(1.0, *shares)
    ticks = [t for t in nice_ticks(reach, count=4) if t <= reach]
    canvas, axes = _frame(checks, (0.0, reach), ticks, "used share of the bound; 1 is the bound")
    canvas.text((2, 12), "How much of each bound is used", size=11, fill=palette.INK, strong=True)
    canvas.rect((axes.x(0.0), TOP), (axes.x(1.0) - axes.x(0.0), axes.box[3]), fill=palette.mix(palette.ACCENT, 0.07))
    for number, (check, share) in enumerate(zip(checks, shares, strict=True)):
        words = f"{check.value:.3g} {check.unit}".strip()
        _row(axes, check, axes.x(share), TOP + (number + 0.5) * ROW, words, start=axes.x(0.0))
    edge = axes.x(1.0)
    canvas.line((edge, TOP - 3), (edge, TOP + axes.box[3]), stroke=palette.LIMIT, stroke_width=1.4)
    return canvas.svg()


def used_share(check: Check) -> float:
    """0 at the best value, 1 at the bound: |x| / high, low / x, or the distance from the middle of two bounds."""
    if math.isinf(check.low):
        return abs(check.value) / check.high if check.high > 0.0 else float(check.value > check.high)
    if math.isinf(check.high):
        return check.low / check.value if check.value > 0.0 else 2.0
    half = 0.5 * (check.high - check.low)
    return abs(check.value - check.low - half) / half if half > 0.0 else 0.0


def _frame(
    checks: Sequence[Check], x_range: tuple[float, float], ticks: Sequence[float], title: str
) -> tuple[Canvas, Axes]:
    label_room = min(max(text_width(c.name, LABEL) for c in checks) + 14.0, MOST_LABEL_ROOM)
    canvas = Canvas(label_room + PLOT + VALUE_ROOM, TOP + ROW * len(checks) + BOTTOM)
    canvas.rect((0, 0), (canvas.width, canvas.height), fill=palette.PAPER)
    axes = Axes(canvas, (label_room, TOP, PLOT, ROW * len(checks)), x_range, (0.0, 1.0))
    axes.x_ticks(ticks, grid=True)
    canvas.text((axes.box[0] + axes.box[2] / 2, canvas.height - 7), title, anchor="middle", size=9.5)
    return canvas, axes


def _row(axes: Axes, check: Check, x: float, middle: float, words: str, *, start: float) -> None:
    canvas, left = axes.canvas, axes.box[0]
    colour = palette.ACCENT if check.holds else palette.DANGER
    canvas.text(
        (left - 8, middle + 3.2), shorten(check.name, LABEL, left - 10), anchor="end", size=LABEL, fill=palette.INK
    )
    canvas.line((start, middle), (x, middle), stroke=colour, stroke_width=1.2)
    canvas.circle((x, middle), 3.4, fill=colour, stroke=palette.PAPER, stroke_width=1.0)
    canvas.text((canvas.width - 4, middle + 3.2), words, anchor="end", size=9.0, fill=colour, strong=not check.holds)
