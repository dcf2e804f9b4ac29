"""What was decided for every subject and cycle of one arm: a cell each, by colour and sign."""

from __future__ import annotations

from collections.abc import Sequence

from lutetia.report import palette
from lutetia.report.figures.canvas import Canvas, Point
from lutetia.report.figures.frame import HALF, Labels, heading, nothing_to_draw

# Category: fill, sign, colour of the sign.
CATEGORIES: dict[str, tuple[str, str, str]] = {
    "reduced": ("#0a6aa8", "−", palette.PAPER),
    "unchanged": ("#dfe5ea", "=", palette.MUTED),
    "increased": ("#e08a2e", "+", palette.INK),
    "fixed": (palette.WASH, "·", palette.MUTED),
    "withheld": ("#8b96a1", "○", palette.PAPER),
    "stopped": (palette.INK, "×", palette.PAPER),
}
_LEFT, _TOP, _ROW = 52.0, 30.0, 17.0


def heat_map_panel(labels: Labels, cycles: Sequence[str], subjects: Sequence[Sequence[str | None]]) -> bytes:
    """Cells as SVG: rows are cycles, columns subjects sorted by what was decided; None leaves the cell empty.

    Parameters
    ----------
    subjects
        For every subject one category of `CATEGORIES` per cycle.
    """
    if not subjects or not cycles:
        return nothing_to_draw(labels, "No activity was decided by the data cut.")
    canvas = Canvas(HALF, _TOP + _ROW * len(cycles) + 8)
    heading(canvas, labels)
    wide = min((HALF - _LEFT - 6) / len(subjects), 20.0)
    ranks = {name: n for n, name in enumerate(CATEGORIES)}
    ordered = sorted(subjects, key=lambda row: tuple(ranks.get(c or "", len(ranks)) for c in row))
    for row, cycle in enumerate(cycles):
        y = _TOP + _ROW * row
        canvas.text((_LEFT - 6, y + 11.5), cycle, anchor="end", size=9)
        for column, decided in enumerate(ordered):
            _cell(canvas, (_LEFT + wide * column, y), wide, decided[row])
    return canvas.svg()


def _cell(canvas: Canvas, corner: Point, wide: float, category: str | None) -> None:
    size = (wide - 1.2, _ROW - 1.6)
    if category is None:
        canvas.rect(corner, size, fill=palette.PAPER, stroke=palette.GRID)
        return
    fill, sign, ink = CATEGORIES[category]
    canvas.rect(corner, size, fill=fill)
    if wide >= 7.0:
        middle = (corner[0] + size[0] / 2, corner[1] + 11)
        canvas.text(middle, sign, anchor="middle", size=10, fill=ink, strong=True)
