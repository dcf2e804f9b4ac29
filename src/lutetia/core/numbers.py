"""Rounding at the edge: what leaves the program has six significant digits.

It makes files independent of the last bits, in which linear-algebra kernels differ. Nothing is rounded before the edge.
"""

from __future__ import annotations

SIGNIFICANT_DIGITS = 6


def six_digits(value: float) -> float:
    """The value rounded to six significant digits."""
    return float(f"{float(value):.{SIGNIFICANT_DIGITS}g}")
