"""A figure, its bound, and whether it holds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One measured figure of a study with the interval it must lie in (either end may be open).

    `reference` is the published or independent value that the figure is compared with, in the same unit. `not_run` says
    why a figure could not be measured here; such a check neither holds nor fails.
    """

    study: str
    name: str
    value: float
    unit: str
    low: float = -math.inf
    high: float = math.inf
    note: str = ""
    reference: float | None = None
    not_run: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure lies within its bounds; not-a-number never does, nor what was not run."""
        return not self.not_run and self.low <= self.value <= self.high

    @property
    def fails(self) -> bool:
        """Whether the figure was measured and lies outside its bounds."""
        return not self.not_run and not self.holds

    @property
    def bound(self) -> str:
        """The bound in words: ``≤ 5``, ``92 to 98``."""
        if math.isinf(self.low):
            return f"≤ {self.high:g}" if math.isfinite(self.high) else "none"
        return f"≥ {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"

    @property
    def difference_percent(self) -> float | None:
        """Value over reference less 1, in percent; None without a reference other than 0."""
        return 100.0 * (self.value / self.reference - 1.0) if self.reference else None

    @property
    def difference(self) -> str:
        """The difference in words, ``+0.35 %``; empty without a reference or a measurement."""
        if self.difference_percent is None or self.not_run:
            return ""
        return f"{round(self.difference_percent, 2) + 0.0:+.2f} %".replace("-", "−")

    @property
    def tolerance_percent(self) -> tuple[float, float] | None:
        """Bounds of the difference in percent; None without a reference other than 0."""
        if not self.reference:
            return None
        return 100.0 * (self.low / self.reference - 1.0), 100.0 * (self.high / self.reference - 1.0)

    @property
    def tolerance(self) -> str:
        """The tolerance in words: ``± 3 %``, ``+7 to +10 %``; the bound where there is no reference."""
        if self.tolerance_percent is None:
            return self.bound
        low, high = self.tolerance_percent
        same = math.isclose(-low, high, rel_tol=1e-6)
        return f"± {high:.3g} %" if same else f"{low:+.3g} to {high:+.3g} %"

    @property
    def verdict(self) -> str:
        """``yes``, ``no`` or ``NOT RUN``."""
        return "NOT RUN" if self.not_run else ("yes" if self.holds else "no")

    def record(self) -> dict[str, object]:
        """Plain values for JSON; a check that was not run has no value and None for `holds`."""
        difference = self.difference_percent
        return {
            "study": self.study,
            "name": self.name,
            "value": None if self.not_run else float(f"{self.value:.4g}"),
            "unit": self.unit,
            "reference": None if self.reference is None else float(f"{self.reference:.4g}"),
            "difference_percent": None if difference is None or self.not_run else round(difference, 3),
            "tolerance": self.tolerance,
            "bound": self.bound,
            "holds": None if self.not_run else self.holds,
            "note": self.not_run or self.note,
        }


def compared(
    study: str,
    name: str,
    value: float,
    reference: float,
    *,
    unit: str,
    tolerance_percent: float | tuple[float, float],
    note: str = "",
) -> Check:
    """Check of a value against a positive reference, within ± a tolerance or from a lower to an upper difference."""
    tolerance = tolerance_percent
    low, high = tolerance if isinstance(tolerance, tuple) else (-tolerance, tolerance)
    bounds = reference * (1.0 + low / 100.0), reference * (1.0 + high / 100.0)
    return Check(study, name, float(value), unit, *bounds, note, reference)
