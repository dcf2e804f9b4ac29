"""Frozen numbers of R for the interim statistics, and the simulated data that they were computed from."""

from __future__ import annotations

import csv
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "reference"


@cache
def r_numbers() -> dict[str, dict[str, Any]]:
    """Sections of interim_statistics_r.toml."""
    return tomllib.loads((FOLDER / "interim_statistics_r.toml").read_text(encoding="utf-8"))


class Table:
    """Columns of one of the data files."""

    def __init__(self, name: str) -> None:
        lines = (FOLDER / f"interim_statistics_{name}.csv").read_text(encoding="utf-8").splitlines()
        self.rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column as floats."""
        return np.array([float(row[column]) for row in self.rows])

    def names(self, column: str) -> NDArray[np.str_]:
        """A column as text."""
        return np.array([row[column] for row in self.rows])
