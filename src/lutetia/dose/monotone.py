"""Monotone cubic interpolation on equally spaced nodes.

The same curve as `scipy.interpolate.PchipInterpolator` (a test compares them), without the half second that loading
that package costs every command.

References
----------
Fritsch and Butland, SIAM J Sci Stat Comput 1984;5:300.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MonotoneCubic:
    """Values and slopes at nodes `first + i · step`, shapes (node,); calling it interpolates, shape (...) → (...)."""

    first: float
    step: float
    value: FloatArray
    slope: FloatArray

    def __call__(self, x: FloatArray) -> FloatArray:
        """Cubic Hermite interpolation; beyond the ends the outer pieces continue."""
        place = (np.asarray(x, dtype=np.float64) - self.first) / self.step
        left = np.clip(np.floor(place).astype(np.int64), 0, self.value.size - 2)
        u = place - left
        low, high = self.value[left], self.value[left + 1]
        rise, fall = self.step * self.slope[left], self.step * self.slope[left + 1]
        gap = high - low
        return np.asarray(low + u * (rise + u * (3.0 * gap - 2.0 * rise - fall + u * (rise + fall - 2.0 * gap))))


def monotone_cubic(nodes: FloatArray, values: FloatArray) -> MonotoneCubic:
    """Interpolant without over- or undershoot through at least three equally spaced nodes, ascending.

    Inner slopes are the harmonic mean of the two secants, 0 at an extremum; end slopes are of second order, limited.
    """
    step = float(nodes[-1] - nodes[0]) / (nodes.size - 1)
    secant = np.diff(values) / step
    left, right = secant[:-1], secant[1:]
    same = left * right > 0.0
    inner = np.where(same, 2.0 * left * right / np.where(same, left + right, 1.0), 0.0)
    ends = _end_slope(secant[0], secant[1]), _end_slope(secant[-1], secant[-2])
    return MonotoneCubic(float(nodes[0]), step, np.asarray(values), np.concatenate([[ends[0]], inner, [ends[1]]]))


def _end_slope(outer: float, inner: float) -> float:
    slope = 1.5 * outer - 0.5 * inner
    if np.sign(slope) != np.sign(outer):
        return 0.0
    if np.sign(outer) != np.sign(inner) and abs(slope) > 3.0 * abs(outer):
        return 3.0 * outer
    return slope
