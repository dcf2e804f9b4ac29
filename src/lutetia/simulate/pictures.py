"""Pictures of studies: arrays in, SVG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, nice_ticks

WIDTH, HEIGHT = 340.0, 236.0
Line = Sequence[tuple[float, float]]


def line_panel(
    title: str,
    lines: Mapping[str, Line],
    *,
    x_title: str,
    y_title: str,
    x_range: tuple[float, float],
    y_high: float,
    mark: tuple[float, str] | None = None,
    diagonal: bool = False,
) -> bytes:
    """Lines with dots over a common x axis, named in a legend; `mark` is a vertical line with its name."""
    rows = (len(lines) + 1) // 2
    top = 36.0 + 14.0 * rows
    canvas = Canvas(WIDTH, HEIGHT + 14.0 * rows)
    canvas.rect((0, 0), (canvas.width, canvas.height), fill=palette.PAPER)
    canvas.text((2, 12), title, size=10.5, fill=palette.INK, strong=True)
    canvas.text((2, 27), y_title, size=9)
    axes = Axes(canvas, (34, top, WIDTH - 46, canvas.height - top - 34), x_range, (0.0, y_high))
    axes.y_ticks([t for t in nice_ticks(y_high) if t <= y_high])
    axes.x_ticks([t for t in nice_ticks(x_range[1], count=6) if x_range[0] <= t <= x_range[1]])
    axes.base_line()
    if diagonal:
        ends = axes.points([0.0, min(x_range[1], y_high)], [0.0, min(x_range[1], y_high)])
        canvas.polyline(ends, stroke=palette.MUTED, stroke_width=0.8, stroke_dasharray="3 3")
    if mark is not None:
        place = axes.x(mark[0])
        canvas.line((place, top), (place, top + axes.box[3]), stroke=palette.LIMIT, stroke_width=1.2)
        canvas.text((place + 4, top + 9), mark[1], size=9, fill=palette.LIMIT, halo=True)
    for i, (name, line) in enumerate(lines.items()):
        _line(axes, line, i)
        left, height = 36.0 + (i % 2) * 150.0, 40.0 + 14.0 * (i // 2)
        canvas.line((left, height), (left + 14, height), stroke=palette.SERIES[i % 5], stroke_width=1.6)
        _dot(canvas, (left + 7, height), i)
        canvas.text((left + 19, height + 3), name, size=9, fill=palette.INK)
    canvas.text((axes.box[0] + axes.box[2] / 2, canvas.height - 6), x_title, anchor="middle", size=9)
    return canvas.svg()


def _line(axes: Axes, line: Line, number: int) -> None:
    points = axes.points([x for x, _ in line], [y for _, y in line])
    axes.canvas.polyline(points, stroke=palette.SERIES[number % 5], stroke_width=1.6)
    for point in points:
        _dot(axes.canvas, point, number)


def _dot(canvas: Canvas, point: tuple[float, float], number: int) -> None:
    """Each line has a mark of its own shape, so that colours need not be told apart."""
    colour, (x, y) = palette.SERIES[number % 5], point
    shape = number % 4
    if shape == 0:
        canvas.circle(point, 3.0, fill=colour)
    elif shape == 1:
        canvas.rect((x - 2.7, y - 2.7), (5.4, 5.4), fill=colour)
    elif shape == 2:
        canvas.polygon([(x, y - 3.6), (x + 3.4, y + 2.6), (x - 3.4, y + 2.6)], fill=colour)
    else:
        canvas.polygon([(x, y - 3.8), (x + 3.8, y), (x, y + 3.8), (x - 3.8, y)], fill=colour)
