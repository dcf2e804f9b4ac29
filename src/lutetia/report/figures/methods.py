"""The same dose by several methods side by side, cycle by cycle (red marrow by blood and by image)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks

WIDTH, HEIGHT = 332.0, 132.0


@dataclass(frozen=True, slots=True)
class MethodDoses:
    """Dose of each cycle by one method; None where that method was not evaluable. `interval_Gy` like `dose_Gy`."""

    label: str
    dose_Gy: tuple[float | None, ...]
    interval_Gy: tuple[tuple[float, float] | None, ...]


def method_panel(title: str, methods: Sequence[MethodDoses], cycles: Sequence[str]) -> bytes:
    """Points with 95 % intervals of each method over the cycles as SVG."""
    canvas = Canvas(WIDTH, HEIGHT)
    tops = [
        max([d, *(i or ())]) for m in methods for d, i in zip(m.dose_Gy, m.interval_Gy, strict=True) if d is not None
    ]
    ticks = nice_ticks(max(tops, default=1.0) * 1.05, count=4)
    axes = Axes(canvas, (34, 34, WIDTH - 130, HEIGHT - 54), (0.0, float(max(len(cycles), 1))), (0.0, ticks[-1]))
    canvas.text((2, 11), title, size=10.5, fill=palette.INK, strong=True)
    canvas.text((29, 24), "Gy", anchor="end", size=8.5)
    axes.y_ticks(ticks)
    for column, label in enumerate(cycles):
        canvas.text((axes.x(column + 0.5), axes.box[1] + axes.box[3] + 13), label, anchor="middle", size=9)
    for number, method in enumerate(methods):
        _draw_method(axes, method, number, len(methods))
    axes.base_line()
    return canvas.svg()


def _draw_method(axes: Axes, method: MethodDoses, number: int, count: int) -> None:
    canvas, colour = axes.canvas, palette.SERIES[(number + 2) % len(palette.SERIES)]
    y = 44.0 + 15.0 * number
    canvas.circle((WIDTH - 88, y - 3), 3.2, fill=colour)
    canvas.text((WIDTH - 80, y), method.label, size=9, fill=palette.INK)
    for column, (dose, bounds) in enumerate(zip(method.dose_Gy, method.interval_Gy, strict=True)):
        if dose is None:
            continue
        x = axes.x(column + 0.5 + 0.18 * (number - (count - 1) / 2))
        if bounds is not None:
            canvas.line((x, axes.y(bounds[0])), (x, axes.y(bounds[1])), stroke=colour, stroke_width=1.2)
        canvas.circle((x, axes.y(dose)), 3.4, fill=colour)
