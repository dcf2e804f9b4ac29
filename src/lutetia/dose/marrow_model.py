"""Constants of red-marrow dosimetry: S-values, phantom masses, red-marrow-to-blood ratio, uncertainty factors.

Here: tables of `data/marrow.toml` as records. Not here: the blood and image methods (`lutetia.dose.marrow`).
To add a nuclide: its two S-value tables and its remainder note in `data/marrow.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from lutetia.core.draws import Estimate, FloatArray, lognormal_factors, stream
from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.nuclides import canonical_nuclide

Sex = Literal["female", "male"]
RatioChoice = Literal["unity", "sgouros"]
GY_PER_MBQ_H_FROM_MGY_PER_MBQ_S = 3.6


@cache
def marrow_table() -> Mapping[str, Any]:
    """Content of `data/marrow.toml`, read-only at the top level."""
    text = (files("lutetia.dose") / "data" / "marrow.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


@dataclass(frozen=True, slots=True)
class MarrowModel:
    """S-values of one nuclide and reference person; the marrow mass is the S-value phantom's, so that it cancels.

    `remainder_Gy_per_MBq_h` is S(RM←remainder) without kidneys, liver and spleen if these were taken out of the
    remainder, else with them.
    """

    nuclide: str
    sex: Sex
    marrow_mass_g: float
    self_Gy_per_MBq_h: float
    remainder_Gy_per_MBq_h: float
    remainder_note: str


def marrow_model(nuclide: str, sex: Sex, *, organs_removed: bool, body_mass_g: float | None = None) -> MarrowModel:
    """S-values for the red marrow as target.

    Parameters
    ----------
    nuclide, sex
        Names; `sex` selects the reference adult.
    organs_removed
        Whether organs are counted apart from the remainder.
    body_mass_g
        If given, S(RM←remainder) is scaled by phantom mass / body mass (a named option, off by default).

    Raises
    ------
    UnknownNameError
        For a nuclide or sex without table.
    """
    table, name = marrow_table(), canonical_nuclide(nuclide)
    if sex not in table["phantom"]:
        raise UnknownNameError("sex", sex, table["phantom"], where="red marrow")
    if name not in table["remainder_note"]:
        raise UnknownNameError("nuclide with red-marrow S-values", name, table["remainder_note"], where="red marrow")
    row, phantom = table[name][sex], table["phantom"][sex]
    remainder = row["remainder_organs" if organs_removed else "remainder_all"] * GY_PER_MBQ_H_FROM_MGY_PER_MBQ_S
    note = table["remainder_note"][name]
    if body_mass_g is not None:
        _positive("body mass", body_mass_g, "g")
        remainder *= phantom["whole_body_g"] / body_mass_g
        note += "; scaled to the body mass"
    own = row["self"] * GY_PER_MBQ_H_FROM_MGY_PER_MBQ_S
    return MarrowModel(name, sex, phantom["red_marrow_g"], own, remainder, note)


@dataclass(frozen=True, slots=True)
class MarrowRatio:
    """Red-marrow-to-blood ratio of activity concentration, by name."""

    value: float
    name: str
    relative_sd: float


def red_marrow_to_blood_ratio(choice: RatioChoice = "unity", hematocrit: float | None = None) -> MarrowRatio:
    """RMBLR by name: ``unity`` = 1; ``sgouros`` = 0.19/(1 − Hct). Never switched by the presence of a haematocrit.

    Raises
    ------
    PhysicsError
        If ``sgouros`` lacks a haematocrit between 0 and 0.75.
    """
    rows = marrow_table()["ratio"]
    if choice not in rows:
        raise UnknownNameError("red-marrow-to-blood ratio", choice, rows)
    row = rows[choice]
    if choice == "unity":
        return MarrowRatio(row["value"], "RMBLR = 1", row["relative_sd"])
    if hematocrit is None or not 0.0 < hematocrit < 0.75:
        raise PhysicsError(
            f"RMBLR 0.19/(1 − Hct): found haematocrit {hematocrit}; expected a fraction between 0 and 0.75 "
            "(0.38, not 38); give it, or choose RMBLR = 1"
        )
    value = row["extracellular_fraction"] / (1.0 - hematocrit)
    return MarrowRatio(value, f"RMBLR = 0.19/(1 − {hematocrit:g}) = {value:.3f}", row["relative_sd"])


@dataclass(frozen=True, slots=True, eq=False)
class MarrowFactors:
    """Multiplicative uncertainty, nominal 1, drawn once for a subject and shared by all cycles and nuclides."""

    s_value: Estimate
    ratio: Estimate
    recovery: Estimate
    marrow_density: Estimate


def marrow_factors(seed: int, subject: str, draws: int) -> MarrowFactors:
    """Factors of the S-values, the ratio, the vertebral recovery and the marrow in vertebrae (all assumptions)."""
    table = marrow_table()

    def factor(name: str, relative_sd: float) -> Estimate:
        values: FloatArray = lognormal_factors(stream(seed, subject, "red marrow", name), relative_sd, draws)
        return Estimate(np.asarray(1.0), values)

    return MarrowFactors(
        s_value=factor("S-value", table["s_values"]["relative_sd"]),
        ratio=factor("ratio to blood", table["ratio"]["unity"]["relative_sd"]),
        recovery=factor("vertebral recovery", table["image"]["recovery_relative_sd"]),
        marrow_density=factor("marrow per vertebra", table["image"]["marrow_g_per_mL_relative_sd"]),
    )


def _positive(name: str, value: float, unit: str) -> None:
    if not value > 0:
        raise PhysicsError(f"{name}: found {value} {unit}; expected a value > 0")
