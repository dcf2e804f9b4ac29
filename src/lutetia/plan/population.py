"""Population coefficients: for a given cycle that was not measured when no cycle of the subject was."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from lutetia.core.draws import Estimate
from lutetia.plan.ledger import Coefficients
from lutetia.plan.uncertainty import Draws


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((files("lutetia.plan") / "data" / "population.toml").read_text(encoding="utf-8"))


def population_coefficients(key: tuple[str, str], draws: Draws) -> Coefficients | None:
    """Gy per MBq of the population for a region, with its spread between people; None without a row."""
    row = _table().get(key[0])
    if not isinstance(row, dict):
        return None
    factor = draws.factor(row["cv_percent"], "population", key[0])
    per_GBq = {name: value for name, value in row.items() if name != "cv_percent"}
    linear = {n: Estimate(np.asarray(value / 1e3), value / 1e3 * factor) for n, value in per_GBq.items()}
    return Coefficients(tuple(linear), linear, None, 0)
