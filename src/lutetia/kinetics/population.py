"""Half-lives of the population, as priors: one table a region in `data/priors.toml`.

To add a region: one table in that file. Every row says its source and whether it is an assumption.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.regions import is_tumour
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
LN2 = float(np.log(2.0))
# At this share of the physical half-life a transferred median stays (a biological half-life of 50 physical ones).
_NEARLY_PHYSICAL = 0.98


@dataclass(frozen=True, slots=True)
class LognormalPrior:
    """A half-life of the population: median in hours, standard deviation of its logarithm, and where it comes from."""

    median_h: float
    log_sd: float
    source: str = ""
    assumption: bool = True

    def __post_init__(self) -> None:
        if not (np.isfinite(self.median_h) and self.median_h > 0 and np.isfinite(self.log_sd) and self.log_sd > 0):
            raise PhysicsError(
                f"prior half-life: found median {self.median_h} h and log-sd {self.log_sd}; expected finite values > 0"
            )

    def quantile_h(self, normal: ArrayLike) -> FloatArray:
        """Half-lives at standard normal scores: median · exp(log_sd · z)."""
        return np.asarray(self.median_h * np.exp(self.log_sd * np.asarray(normal, dtype=np.float64)))


@dataclass(frozen=True, slots=True)
class KineticPrior:
    """Priors of one region for one nuclide: terminal effective half-life, uptake half-life, early washout half-life."""

    effective: LognormalPrior
    uptake: LognormalPrior
    fast: LognormalPrior


@cache
def _table() -> dict[str, Any]:
    text = (files("lutetia.kinetics") / "data" / "priors.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _row_name(region: str) -> str:
    if region in ("left kidney", "right kidney"):
        return "kidneys"
    if is_tumour(region):
        return "tumour"
    if region.startswith("vertebra "):
        return "red marrow"
    return region if isinstance(_table().get(region), dict) else "other"


def _transferred(prior: LognormalPrior, from_nuclide: str, to_nuclide: str) -> LognormalPrior:
    """The prior with the physical decay of another nuclide; its log-sd shrinks or grows with dlnλ'/dlnλ = λ/λ'."""
    old, new = nuclide(from_nuclide).decay_constant_per_h, nuclide(to_nuclide).decay_constant_per_h
    rate = LN2 / prior.median_h
    other = max(rate - old, 0.0) + new
    return LognormalPrior(LN2 / other, prior.log_sd * rate / other, prior.source, prior.assumption)


def population_prior(region: str, nuclide_name: str = "Lu-177") -> KineticPrior:
    """Priors of a canonical region (or "blood") for a nuclide; regions without a row get the wide row "other".

    The effective half-life of another nuclide keeps the biological rate of the table's nuclide.
    """
    row = {key: _prior(value) for key, value in _table()[_row_name(region)].items()}
    reference = str(_table()["nuclide"])
    name = nuclide(nuclide_name).name
    effective = row["effective"] if name == reference else _transferred(row["effective"], reference, name)
    limit = _NEARLY_PHYSICAL * nuclide(name).half_life_h
    capped = LognormalPrior(min(effective.median_h, limit), effective.log_sd, effective.source, effective.assumption)
    return KineticPrior(capped, row["uptake"], row["fast"])


def _prior(value: dict[str, Any]) -> LognormalPrior:
    return LognormalPrior(value["median_h"], value["log_sd"], value["source"], value["status"] == "assumption")
