"""Flow of subjects (CONSORT): screened, not randomised with reasons, and a column of steps for every arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.report import palette
from lutetia.report.figures.canvas import Canvas, Point
from lutetia.report.figures.frame import FULL, Labels, heading, wrapped

_LINE, _PAD, _GAP, _SIZE = 11.5, 7.0, 17.0, 8.8


@dataclass(frozen=True, slots=True)
class ArmFlow:
    """Steps of one arm from top to bottom: each a box with a first line and what it breaks down into."""

    label: str
    steps: tuple[tuple[str, ...], ...]
    position: int


def flow_panel(
    labels: Labels, top: Sequence[tuple[str, ...]], aside: tuple[str, ...], arms: Sequence[ArmFlow]
) -> bytes:
    """Boxes and arrows as SVG.

    Parameters
    ----------
    top
        Boxes above the arms; the last one is where the arms divide.
    aside
        Box at the right of the first one: who left, and why.
    """
    lead, wide = 300.0, (FULL - 12.0 * max(len(arms) - 1, 0)) / max(len(arms), 1)
    top_lines = [_lines(box, lead) for box in top]
    aside_lines = _lines(aside, 250.0)
    arm_lines = [[_lines(step, wide) for step in arm.steps] for arm in arms]
    depth = max((len(steps) for steps in arm_lines), default=0)
    heights = [max((_height(s[n]) for s in arm_lines if n < len(s)), default=0.0) for n in range(depth)]
    start = 28.0 + sum(_height(b) for b in top_lines) + _GAP * len(top) + _aside_room(aside_lines)
    canvas = Canvas(FULL, start + 14.0 + sum(heights) + _GAP * depth)
    heading(canvas, labels)
    bottom = _draw_top(canvas, top_lines, aside_lines)
    _draw_arms(canvas, arms, arm_lines, (bottom, wide), heights)
    return canvas.svg()


def _lines(box: Sequence[str], width: float) -> list[tuple[str, bool]]:
    parts = []
    for n, words in enumerate(box):
        broken = wrapped(words, _SIZE, width - 2 * _PAD - (8.0 if n else 0.0))
        parts += [(line, n == 0) for line in broken]
    return parts


def _height(lines: Sequence[tuple[str, bool]]) -> float:
    return _LINE * len(lines) + 2 * _PAD - 3.0


def _aside_room(lines: Sequence[tuple[str, bool]]) -> float:
    return max(_height(lines) - 10.0, 10.0) if lines else 0.0


def _draw_top(canvas: Canvas, boxes: Sequence[list[tuple[str, bool]]], aside: list[tuple[str, bool]]) -> float:
    left, width, y = FULL / 2 - 150.0, 300.0, 28.0
    for n, box in enumerate(boxes):
        _box(canvas, (left, y), (width, _height(box)), box, palette.MUTED)
        y += _height(box)
        if n == len(boxes) - 1:
            break
        room = _GAP + (_aside_room(aside) if n == 0 else 0.0)
        _arrow(canvas, (FULL / 2, y), (FULL / 2, y + room))
        if n == 0 and aside:
            middle = y + room / 2
            _arrow(canvas, (FULL / 2, middle), (FULL - 252.0, middle))
            _box(canvas, (FULL - 251.0, middle - _height(aside) / 2), (250.0, _height(aside)), aside, palette.MUTED)
        y += room
    return y


def _draw_arms(
    canvas: Canvas,
    arms: Sequence[ArmFlow],
    lines: Sequence[list[list[tuple[str, bool]]]],
    place: Point,
    heights: Sequence[float],
) -> None:
    bottom, wide = place
    centres = [n * (wide + 12.0) + wide / 2 for n in range(len(arms))]
    bar = bottom + 9.0
    if arms:
        canvas.line((FULL / 2, bottom), (FULL / 2, bar), stroke=palette.MUTED)
        canvas.line((centres[0], bar), (centres[-1], bar), stroke=palette.MUTED)
    for arm, steps, centre in zip(arms, lines, centres, strict=True):
        y = bar
        for n, step in enumerate(steps):
            room = 14.0 if n == 0 else _GAP
            _arrow(canvas, (centre, y), (centre, y + room))
            _box(canvas, (centre - wide / 2, y + room), (wide, heights[n]), step, palette.arm_colour(arm.position))
            y += room + heights[n]


def _box(canvas: Canvas, corner: Point, size: Point, lines: Sequence[tuple[str, bool]], colour: str) -> None:
    canvas.rect(corner, size, fill=palette.PAPER, stroke=palette.RULE)
    canvas.rect(corner, (3.0, size[1]), fill=colour)
    for n, (words, first) in enumerate(lines):
        x = corner[0] + _PAD + (2.0 if first else 8.0)
        look = palette.INK if first else palette.MUTED
        canvas.text((x, corner[1] + _PAD + 6.0 + _LINE * n), words, size=_SIZE, strong=first, fill=look)


def _arrow(canvas: Canvas, start: Point, end: Point) -> None:
    canvas.line(start, end, stroke=palette.MUTED, stroke_width=0.9)
    (x, y), down = end, end[0] == start[0]
    head = [(x - 3, y - 5), (x + 3, y - 5), end] if down else [(x - 5, y - 3), (x - 5, y + 3), end]
    canvas.polygon(head, fill=palette.MUTED)
