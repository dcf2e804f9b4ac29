"""Mean cumulative dose of every group, stacked by nuclide: what each nuclide contributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, nice_ticks
from lutetia.report.figures.frame import HALF, Labels, Margins, frame, limit_line, nothing_to_draw
from lutetia.report.numbers import number

SIZE = (HALF, 190.0)


@dataclass(frozen=True, slots=True)
class Stack:
    """Mean dose of one group by nuclide, from the axis upwards; `count` subjects."""

    label: str
    parts_Gy: tuple[tuple[str, float], ...]
    count: int


def stack_panel(labels: Labels, stacks: Sequence[Stack], *, limit: float | None = None, limit_text: str = "") -> bytes:
    """Stacked bars as SVG with each part's dose in or beside it."""
    tops = [sum(d for _, d in s.parts_Gy) for s in stacks if s.parts_Gy]
    if not tops:
        return nothing_to_draw(labels, "No subject has a complete cumulative dose yet.")
    shown = limit if limit is not None and max(tops) > 0.45 * limit else None
    ticks = nice_ticks(max([*tops, shown or 0.0]) * 1.06, count=4)
    axes = frame(SIZE, ((0.0, float(len(stacks))), (0.0, ticks[-1])), labels, Margins(bottom=40))
    axes.y_ticks(ticks)
    for column, stack in enumerate(stacks):
        _draw_stack(axes, stack, column)
    axes.base_line()
    if limit is not None and shown is not None:
        limit_line(axes, limit, limit_text)
    return axes.canvas.svg()


def _draw_stack(axes: Axes, stack: Stack, column: int) -> None:
    canvas, middle = axes.canvas, axes.x(column + 0.5)
    bottom = axes.box[1] + axes.box[3]
    canvas.text((middle, bottom + 13), stack.label, anchor="middle", size=9, strong=True, fill=palette.INK)
    canvas.text((middle, bottom + 25), f"n = {stack.count}", anchor="middle", size=8.5)
    half, base = min(0.3 * (axes.x(1.0) - axes.x(0.0)), 20.0), 0.0
    for name, dose in stack.parts_Gy:
        top, foot = axes.y(base + dose), axes.y(base)
        canvas.rect((middle - half, top), (2 * half, foot - top), fill=palette.nuclide_colour(name))
        if foot - top >= 11:
            words = number(dose, digits=3, most=2)
            canvas.text((middle, (top + foot) / 2 + 3), words, anchor="middle", size=8.5, fill=palette.PAPER)
        base += dose
    if len(stack.parts_Gy) > 1:
        words = number(base, digits=3, most=2)
        canvas.text((middle, axes.y(base) - 3.5), words, anchor="middle", size=8.5, strong=True, fill=palette.INK,
                    halo=True)  # fmt: skip
