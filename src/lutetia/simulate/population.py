"""The population of virtual subjects and the errors of measurement, read from data files that state their sources.

To change the population: copy `data/population.toml`, change it and give its path. Not here: drawing (`subjects`).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lutetia.core.draws import FloatArray
from lutetia.errors import InputError

SCHEMA = "lutetia.population/1"
# A single-time-point method in which the first cycle has all scans.
OWN_HALF_LIFE = "own half-life"
REGIONS = ("kidneys", "red marrow", "liver", "spleen", "tumour 1")


@dataclass(frozen=True, slots=True)
class Spread:
    """A lognormal quantity: median, coefficient of variation between subjects and between cycles, and its source."""

    median: float
    cv: float
    within_cv: float
    status: str
    source: str

    @property
    def log_sd(self) -> float:
        """Standard deviation of the logarithm between subjects."""
        return math.sqrt(math.log1p(self.cv**2))

    @property
    def within_log_sd(self) -> float:
        """Standard deviation of the logarithm between cycles or samples of one subject."""
        return math.sqrt(math.log1p(self.within_cv**2))


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Quantities by name, the Cholesky factor of their correlation, and shares; `text` is the file.

    `nuclide_factor` multiplies the dose per activity of a nuclide in every region: 1 but in studies of that assumption.
    """

    name: str
    quantities: Mapping[str, Spread]
    cholesky: FloatArray
    female_share: float
    female_height_factor: float
    drift_per_cycle: Mapping[str, float]
    text: str
    nuclide_factor: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Relative standard deviations of the measurement errors, sampling times, and the share that is missed.

    `single_point` names the method of `lutetia.simulate.single_point` by which cycles with one scan at `single_hour`
    are evaluated at level ``fitted``; empty: every cycle is scanned at `scan_hours` and fitted.
    """

    calibration_site: float
    calibration_cycle: float
    recovery: float
    segmentation: float
    counts: float
    blood_sample: float
    fit: float
    fit_predicted_nuclide: float
    administered: float
    missed_probability: float
    scan_hours: tuple[float, ...]
    blood_hours: tuple[float, ...]
    whole_body_hours: tuple[float, ...]
    single_point: str = ""
    single_hour: float = 0.0


def read_population(path: Path | None = None) -> Population:
    """The packaged population, or one from a file.

    Raises
    ------
    InputError
        For a file that cannot be read, lacks a quantity, holds a value that is not positive (a negative mass), or
        correlations that no population can have.
    """
    where = "population" if path is None else path.name
    text = _text("population.toml") if path is None else _read(path)
    table = _parsed(text, where)
    if table.get("schema") != SCHEMA:
        raise InputError(f"{where}: schema: found {table.get('schema')!r}; expected {SCHEMA!r}")
    quantities = {n: _spread(n, row, where) for n, row in _table(table, "quantities", where).items()}
    needed = _table(_parsed(_text("population.toml"), "population"), "quantities", where)
    if missing := [n for n in needed if n not in quantities]:
        raise InputError(f"{where}: quantities: {', '.join(missing)} missing; every quantity of the packaged file")
    drift = {r: _positive(g, f"{where}: drift_per_cycle: {r}") for r, g in table.get("drift_per_cycle", {}).items()}
    share = table.get("female_share")
    if not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
        raise InputError(f"{where}: female_share: found {share!r}; expected a number from 0 to 1")
    return Population(
        name=str(table.get("name", where)),
        quantities=quantities,
        cholesky=_cholesky(table, tuple(quantities), where),
        female_share=float(share),
        female_height_factor=_positive(table.get("female_height_factor"), f"{where}: female_height_factor"),
        drift_per_cycle=drift,
        text=text,
    )


@cache
def packaged_measurement() -> Measurement:
    """The packaged measurement errors."""
    table = _parsed(_text("measurement.toml"), "measurement")
    values: dict[str, Any] = {f.name: table[f.name] for f in fields(Measurement) if f.name in table}
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else float(v) for k, v in values.items()}
    return Measurement(**given)


def without_errors(measurement: Measurement) -> Measurement:
    """The same schedule with every error and every missed cycle set to zero."""
    schedule = ("scan_hours", "blood_hours", "whole_body_hours", "single_point", "single_hour")
    errors = {f.name: 0.0 for f in fields(Measurement) if f.name not in schedule}
    return replace(measurement, **errors)  # type: ignore[arg-type]


def without_correlations_of(population: Population, quantity: str) -> Population:
    """The population with one quantity drawn independently of all others, for a model that computes its influence."""
    table = _parsed(population.text, population.name)
    for group in table.get("correlations", []):
        group["pairs"] = [pair for pair in group["pairs"] if quantity not in pair[:2]]
    return replace(population, cholesky=_cholesky(table, tuple(population.quantities), population.name))


def _text(name: str) -> str:
    return (files("lutetia.simulate") / "data" / name).read_text(encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give the path of a population file") from error


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not TOML ({error})") from error


def _table(table: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = table.get(key)
    if not isinstance(value, dict) or not value:
        raise InputError(f"{where}: the table [{key}] is missing; add it")
    return value


def _positive(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise InputError(f"{where}: found {value!r}; expected a finite number above 0")
    return float(value)


def _spread(name: str, row: Mapping[str, Any], where: str) -> Spread:
    place = f"{where}: {name}"
    if unknown := sorted(set(row) - {"median", "cv", "within_cv", "status", "source"}):
        raise InputError(f"{place}: unknown key {unknown[0]!r}; known: median, cv, within_cv, status, source")
    spreads = [row.get("cv"), row.get("within_cv", 0.0)]
    for value in spreads:
        if not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
            raise InputError(f"{place}: cv: found {value!r}; expected a finite number ≥ 0")
    if row.get("status") not in ("published", "assumption") or not row.get("source"):
        raise InputError(f"{place}: a source and a status are missing; status is published or assumption")
    median = _positive(row.get("median"), f"{place}: median")
    return Spread(median, float(row["cv"]), float(row.get("within_cv", 0.0)), row["status"], row["source"])


def _cholesky(table: Mapping[str, Any], names: tuple[str, ...], where: str) -> FloatArray:
    matrix = np.eye(len(names))
    for group in table.get("correlations", []):
        for first, second, r in group["pairs"]:
            if first not in names or second not in names or not -1.0 < r < 1.0:
                raise InputError(
                    f"{where}: correlations: found {first}, {second}, {r}; expected two quantities, |r| < 1"
                )
            i, j = names.index(first), names.index(second)
            matrix[i, j] = matrix[j, i] = r
    try:
        return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise InputError(f"{where}: correlations contradict each other (matrix not positive definite)") from error
