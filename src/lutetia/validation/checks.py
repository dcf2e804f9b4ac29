"""A figure, its bound, and whether it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One measured figure of a study with the interval it must lie in (either end may be open)."""

    study: str
    name: str
    value: float
    unit: str
    low: float = -math.inf
    high: float = math.inf
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure lies within its bounds; not-a-number never does."""
        return self.low <= self.value <= self.high

    @property
    def bound(self) -> str:
        """The bound in words: ``≤ 5``, ``92 to 98``."""
        if math.isinf(self.low):
            return f"≤ {self.high:g}"
        return f"≥ {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"

    def record(self) -> dict[str, object]:
        """Plain values for JSON; open ends are None."""
        return {
            "study": self.study,
            "name": self.name,
            "value": float(f"{self.value:.4g}"),
            "unit": self.unit,
            "bound": self.bound,
            "holds": self.holds,
            "note": self.note,
        }
