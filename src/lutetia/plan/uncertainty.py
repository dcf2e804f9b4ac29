"""Sizes of the input uncertainties and the shared draws made from them.

What several numbers share is drawn once, from one named stream: calibration by case, mass and S-value by region,
noise by scan. Not here: recovery and volume of imaged regions (`lutetia.plan.images`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from lutetia.core.draws import Estimate, FloatArray, lognormal_factors, normals, stream


@dataclass(frozen=True, slots=True)
class Sizes:
    """Relative standard deviations in per cent; see data/uncertainty.toml."""

    calibration_percent: float
    activity_percent: float
    tandem_cross_percent: float
    mass_percent: float
    blood_percent: float
    blood_calibration_percent: float
    whole_body_percent: float
    s_value_percent: float
    between_cycles_percent: float
    entered_dose_percent: float


@cache
def default_sizes() -> Sizes:
    """The packaged sizes."""
    table = tomllib.loads((files("lutetia.plan") / "data" / "uncertainty.toml").read_text(encoding="utf-8"))
    return Sizes(**{name: float(value) for name, value in table.items() if name != "schema"})


@dataclass(frozen=True, slots=True)
class Draws:
    """The case's random streams: `seed`, the subject's pseudonym, and how many draws."""

    seed: int
    subject: str
    count: int

    def factor(self, percent: float, *names: str | int) -> FloatArray:
        """Shared positive factors of shape (draw,), median 1."""
        return lognormal_factors(stream(self.seed, self.subject, *names), percent / 100.0, self.count)

    def calibration(self, stated_percent: float | None) -> FloatArray:
        """The error that all scans and tables of a case share, shape (draw,); the packaged size if none is stated."""
        percent = default_sizes().calibration_percent if stated_percent is None else stated_percent
        return self.factor(percent, "calibration")

    def with_noise(self, value: FloatArray, sd: FloatArray, *names: str | int) -> Estimate:
        """Values of shape (time,) with independent noise: lognormal, or half-normal where the value is zero."""
        z = normals(stream(self.seed, self.subject, *names), (self.count, len(value)))
        positive = value > 0
        relative = np.divide(sd, value, out=np.zeros_like(sd), where=positive)
        noisy = value * np.exp(np.sqrt(np.log1p(relative**2)) * z)
        return Estimate(value, np.where(positive, noisy, np.abs(sd * z)))
