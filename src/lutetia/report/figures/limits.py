"""Dose against one limit: given, after the next cycle and at the end of the course, with intervals and the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks, shorten, text_width

WIDTH = 332.0
_ROW, _TOP = 20.0, 36.0


@dataclass(frozen=True, slots=True)
class LimitBar:
    """One horizontal bar: what it is, its dose and 95 % interval; without a dose, `value_text` says why."""

    label: str
    dose_Gy: float | None
    interval_Gy: tuple[float, float] | None = None
    value_text: str = ""


def limit_panel(title: str, bars: Sequence[LimitBar], *, limit_Gy: float, limit_text: str, note: str = "") -> bytes:
    """Bars of one limit as SVG; what is beyond the limit is drawn in the colour of the limit."""
    height = _TOP + _ROW * len(bars) + 18
    canvas = Canvas(WIDTH, height)
    highest = max([limit_Gy, *(_end(b) for b in bars)])
    ticks = nice_ticks(highest * 1.06, count=5)
    axes = Axes(canvas, (84, _TOP, WIDTH - 146, _ROW * len(bars)), (0.0, highest), (0.0, 1.0))
    room = WIDTH - 16 - text_width(note, 9)
    canvas.text((2, 11), shorten(title, 10.5, room), size=10.5, fill=palette.INK, strong=True)
    canvas.text((WIDTH - 4, 11), note, anchor="end", size=9)
    axes.x_ticks([t for t in ticks if t <= axes.x_range[1]], grid=True)
    for row, bar in enumerate(bars):
        _draw_bar(axes, bar, row, limit_Gy)
    line = axes.x(limit_Gy)
    canvas.line((line, _TOP - 5), (line, _TOP + axes.box[3]), stroke=palette.LIMIT, stroke_width=1.6)
    for row, bar in enumerate(bars):
        _draw_interval(axes, bar, _TOP + (row + 0.5) * _ROW, line)
    half = text_width(limit_text, 9) / 2
    middle = min(max(line, axes.box[0] + half), WIDTH - 4 - half)
    canvas.text((middle, _TOP - 9), limit_text, anchor="middle", size=9, fill=palette.LIMIT, strong=True)
    return canvas.svg()


def _end(bar: LimitBar) -> float:
    return max(bar.dose_Gy or 0.0, *(bar.interval_Gy or (0.0, 0.0)))


def _draw_bar(axes: Axes, bar: LimitBar, row: int, limit_Gy: float) -> None:
    canvas, top = axes.canvas, axes.box[1] + row * _ROW
    middle = top + _ROW / 2
    canvas.text((axes.box[0] - 6, middle + 3.2), bar.label, anchor="end", size=9.5, fill=palette.INK)
    if bar.dose_Gy is None:
        canvas.text((axes.box[0] + 5, middle + 3.2), bar.value_text or "not evaluable")
        return
    shade = palette.ACCENT if row == 0 else palette.mix(palette.ACCENT, 0.62 if row == 1 else 0.36)
    inside = min(bar.dose_Gy, limit_Gy)
    canvas.rect((axes.x(0.0), top + 3.5), (axes.x(inside) - axes.x(0.0), _ROW - 7), fill=shade)
    if bar.dose_Gy > limit_Gy:
        size = (axes.x(bar.dose_Gy) - axes.x(limit_Gy), _ROW - 7)
        canvas.rect((axes.x(limit_Gy), top + 3.5), size, fill=palette.mix(palette.LIMIT, 0.55))


def _draw_interval(axes: Axes, bar: LimitBar, middle: float, line: float) -> None:
    if bar.dose_Gy is None:
        return
    canvas = axes.canvas
    if bar.interval_Gy is not None:
        low, high = (axes.x(v) for v in bar.interval_Gy)
        canvas.line((low, middle), (high, middle), stroke=palette.INK, stroke_width=1.2)
        for end in (low, high):
            canvas.line((end, middle - 3.5), (end, middle + 3.5), stroke=palette.INK, stroke_width=1.2)
    start = axes.x(bar.dose_Gy if bar.interval_Gy is None else max(bar.interval_Gy)) + 5
    if start - 3 < line < start + text_width(bar.value_text, 9.5):
        start = line + 5
    axes.canvas.text((start, middle + 3.2), bar.value_text, fill=palette.INK, strong=True, halo=True)
