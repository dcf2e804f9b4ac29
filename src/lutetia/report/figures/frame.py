"""What panels of groups share: a titled plotting area, marks, labels that keep apart, signed and logarithmic ticks.

Groups (arms) are told apart by colour, by the shape of the mark and by words beside the data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lutetia.report import palette
from lutetia.report.figures.canvas import Axes, Canvas, Point, nice_ticks, shorten, text_width
from lutetia.report.numbers import fixed

HALF, FULL = 332.0, 680.0
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Labels:
    """Words of a panel: title, axes, and a note at the right of the title."""

    title: str
    x: str = ""
    y: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Margins:
    """Room around the plotting area, pixels."""

    left: float = 36.0
    right: float = 10.0
    top: float = 34.0
    bottom: float = 34.0


def frame(size: Point, ranges: tuple[Range, Range], labels: Labels, margins: Margins | None = None) -> Axes:
    """A canvas with title and axis words, and axes on it; `ranges` are those of x and y."""
    room = margins or Margins()
    width, height = size
    canvas = Canvas(width, height)
    heading(canvas, labels)
    if labels.y:
        canvas.text((2, 25), labels.y, size=8.5)
    if labels.x:
        canvas.text((width - room.right, height - 4), labels.x, anchor="end", size=8.5)
    box = (room.left, room.top, width - room.left - room.right, height - room.top - room.bottom)
    return Axes(canvas, box, *ranges)


def heading(canvas: Canvas, labels: Labels) -> None:
    """Title at the left and note at the right of the first line."""
    room = canvas.width - 8 - (text_width(labels.note, 8.5) if labels.note else 0.0)
    canvas.text((2, 11), shorten(labels.title, 10.5, room), size=10.5, fill=palette.INK, strong=True)
    if labels.note:
        canvas.text((canvas.width - 4, 11), labels.note, anchor="end", size=8.5)


def nothing_to_draw(labels: Labels, reason: str, *, width: float = HALF, height: float = 90.0) -> bytes:
    """A panel that says why it is empty."""
    canvas = Canvas(width, height)
    heading(canvas, labels)
    canvas.rect((2, 24), (width - 4, height - 30), fill=palette.WASH)
    for n, line in enumerate(wrapped(reason, 9.0, width - 24)[:4]):
        canvas.text((12, 42 + 12 * n), line, size=9)
    return canvas.svg()


def wrapped(words: str, size: float, room: float) -> list[str]:
    """Words broken into lines that fit the room."""
    lines: list[str] = []
    for word in words.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [shorten(line, size, room) for line in lines]


def mark(canvas: Canvas, centre: Point, position: int, *, radius: float = 3.0, faint: bool = False) -> None:
    """The mark of the arm at a position: circle, square, triangle or diamond in the arm's colour."""
    colour = palette.arm_colour(position)
    look: dict[str, str | float] = {"fill": palette.mix(colour, 0.45) if faint else colour}
    look |= {"stroke": palette.PAPER, "stroke_width": 0.6}
    x, y = centre
    shape = position % 4
    if shape == 0:
        canvas.circle(centre, radius, **look)
    elif shape == 1:
        half = 0.88 * radius
        canvas.rect((x - half, y - half), (2 * half, 2 * half), **look)
    else:
        sizes = {2: ((0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)), 3: ((0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0))}
        canvas.polygon([(x + radius * a, y + radius * b) for a, b in sizes[shape]], **look)


def apart(wanted: Sequence[float], gap: float, bounds: Range) -> list[float]:
    """Positions near the wanted ones, in the same order of size, at least `gap` apart and inside the bounds."""
    order = sorted(range(len(wanted)), key=lambda n: (wanted[n], n))
    placed = [wanted[n] for n in order]
    for n in range(1, len(placed)):
        placed[n] = max(placed[n], placed[n - 1] + gap)
    ceiling = bounds[1]
    for n in reversed(range(len(placed))):
        placed[n] = min(placed[n], ceiling)
        ceiling = placed[n] - gap
    return [placed[order.index(n)] for n in range(len(wanted))]


def swarm(values: Sequence[float], gap: float, *, step: float, room: float) -> list[float]:
    """Horizontal offsets that keep points of nearly equal height apart: nearest free place to the middle.

    Parameters
    ----------
    values
        Heights in pixels, shape (point,).
    gap
        Points closer than this in height and in breadth would overlap, pixels.
    step, room
        Spacing of the places tried and the largest offset, pixels.
    """
    places = sorted((n * step for n in range(-int(room // step), int(room // step) + 1)), key=lambda v: (abs(v), v))
    offsets = [0.0] * len(values)
    done: list[Point] = []
    for n in sorted(range(len(values)), key=lambda k: (values[k], k)):
        free = (p for p in places if all(math.hypot(p - a, values[n] - b) >= gap for a, b in done))
        offsets[n] = next(free, places[len(done) % len(places)])
        done.append((offsets[n], values[n]))
    return offsets


def signed_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round values from at most `low` to at least `high`, zero among them where they hold it."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low - 1.0, low, low + 1.0] if math.isfinite(low) else [0.0, 1.0]
    span = nice_ticks(high - low, count=count)
    step = span[1] - span[0]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def log_ticks(low: float, high: float, *, steps: Sequence[float] = (1.0, 2.0, 5.0)) -> list[float]:
    """Round positive values from at most `low` to at least `high`: 1, 2, 5 of each power of ten."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    every = sorted(s * 10.0**p for p, s in itertools.product(powers, steps))
    start = max((v for v in every if v <= low * 1.0001), default=every[0])
    end = min((v for v in every if v >= high * 0.9999), default=every[-1])
    return [v for v in every if start <= v <= end]


def log_labels(ticks: Sequence[float]) -> list[str]:
    """Labels of logarithmic ticks without needless zeros."""
    return [fixed(t, max(0, -math.floor(math.log10(t) + 1e-9))) for t in ticks]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """25th, 50th and 75th percentile by linear interpolation."""
    low, middle, high = np.percentile(np.asarray(values, dtype=float), [25, 50, 75])
    return float(low), float(middle), float(high)


def limit_line(axes: Axes, value: float, words: str) -> None:
    """A horizontal limit with its words on it."""
    left, right, y = axes.box[0], axes.box[0] + axes.box[2], axes.y(value)
    axes.canvas.line((left, y), (right, y), stroke=palette.LIMIT, stroke_width=1.3, stroke_dasharray="5 2.5")
    axes.canvas.text((left + 3, y - 3.5), words, size=8.5, strong=True, halo=True, fill=palette.LIMIT)
