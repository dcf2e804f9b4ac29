"""Mechanistic kinetics: receptor binding that saturates, a tumour that takes peptide from the organs (sink effect).

Hot and cold peptide behave alike, so activity is the share of the peptide times exp(−λt), and nuclides given together
share one solution. Not here: the solver (`compartments_solver`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lutetia.core.draws import FloatArray
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide
from lutetia.simulate.compartments_solver import solve_compartments
from lutetia.simulate.subjects import LN2, REFERENCE, Subjects

COMPARTMENT_ORGANS = ("kidneys", "liver", "spleen", "tumour")
END_H = 1500.0
TOLERANCE = 2e-4


@dataclass(frozen=True, slots=True, eq=False)
class CompartmentModel:
    """Parameters of every subject.

    Shape (subject,): `plasma_L`, `renal_per_h`, `peptide_nmol`; shape (subject, organ): `receptors_nmol`,
    `release_per_h` (biological) in the order of `COMPARTMENT_ORGANS`. `shared` holds the rates common to all.
    """

    plasma_L: FloatArray
    renal_per_h: FloatArray
    peptide_nmol: FloatArray
    receptors_nmol: FloatArray
    release_per_h: FloatArray
    shared: dict[str, Any]


@cache
def _table() -> dict[str, Any]:
    text = (files("lutetia.simulate") / "data" / "compartments.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def compartment_model(subjects: Subjects, *, peptide_nmol: ArrayLike | None = None) -> CompartmentModel:
    """Parameters from virtual subjects: organ and tumour size give receptors, eGFR the renal clearance.

    Parameters
    ----------
    subjects
        From `draw_subjects`.
    peptide_nmol
        Amount of peptide infused, shape () or (subject,); default: that of the data file.
    """
    table, v = _table(), subjects.values
    plasma = table["plasma_L_per_kg"] * v["weight_kg"]
    density = table["receptors_nmol_per_g"]
    sizes = (v["kidneys_mass_g"], v["liver_mass_g"], v["spleen_mass_g"], v["tumour_burden_mL"])
    receptors = np.stack([density[o] * s for o, s in zip(COMPARTMENT_ORGANS, sizes, strict=True)], axis=1)
    physical = nuclide(REFERENCE).decay_constant_per_h
    release = np.stack([LN2 / v[f"{o}_half_life_h"] - physical for o in COMPARTMENT_ORGANS], axis=1)
    peptide = table["peptide_nmol"] if peptide_nmol is None else peptide_nmol
    return CompartmentModel(
        plasma_L=plasma,
        renal_per_h=table["filtered_share"] * v["egfr_mL_per_min"] * 0.06 / plasma,
        peptide_nmol=np.broadcast_to(np.asarray(peptide, dtype=np.float64), plasma.shape),
        receptors_nmol=receptors,
        release_per_h=np.maximum(release, 1e-4),
        shared=table,
    )


def residence_times_h(model: CompartmentModel, nuclides: Sequence[str], *, tolerance: float = TOLERANCE) -> FloatArray:
    """Time-integrated activity over administered activity of four organs and plasma.

    Solves the model from the start of the infusion to 1,500 h; ã = ∫ amount(t)/peptide · exp(−λt) dt.

    Parameters
    ----------
    model
        From `compartment_model`.
    nuclides
        Names; physical decay of each.
    tolerance
        Relative tolerance of a step.

    Returns
    -------
    Hours, shape (subject, organ, nuclide): `COMPARTMENT_ORGANS`, then plasma.

    Raises
    ------
    PhysicsError
        For parameters that are not positive, or a course that the solver did not finish.
    """
    columns = (model.plasma_L, model.renal_per_h, model.peptide_nmol, model.receptors_nmol, model.release_per_h)
    if not all(np.isfinite(c).all() and (c > 0).all() for c in columns):
        raise PhysicsError("compartment model: found parameters that are not finite and above 0; check the population")
    decay = np.array([nuclide(n).decay_constant_per_h for n in nuclides])
    area, steps = solve_compartments(
        parameter_table(model), model.receptors_nmol, model.release_per_h, decay, end_h=END_H, tolerance=tolerance
    )
    if (steps < 0).any():
        raise PhysicsError(f"compartment model: {int((steps < 0).sum())} subjects were not solved; check their rates")
    return np.asarray(area / model.peptide_nmol[:, None, None])


def sink_factors(subjects: Subjects, typical_burden_mL: float) -> FloatArray:
    """By how much the dose per activity of each organ differs for the subject's tumour burden from a typical one.

    f = ã(subject) / ã(same subject with the typical tumour burden), of 177Lu; shape (subject, organ) in the order of
    `COMPARTMENT_ORGANS`. The tumour's is per mL of tumour, so that it is one of concentration.
    """
    own = residence_times_h(compartment_model(subjects), (REFERENCE,))[:, :4, 0]
    burden = subjects.values["tumour_burden_mL"]
    alike = Subjects(
        dict(subjects.values) | {"tumour_burden_mL": np.full_like(burden, typical_burden_mL)}, subjects.female
    )
    factor = own / residence_times_h(compartment_model(alike), (REFERENCE,))[:, :4, 0]
    factor[:, 3] *= typical_burden_mL / burden
    return factor


def parameter_table(model: CompartmentModel) -> FloatArray:
    """Scalars of every subject in the solver's order, shape (subject, 10)."""
    s, ones = model.shared, np.ones(len(model.plasma_L))
    return np.stack(
        [
            model.plasma_L,
            s["association_L_per_nmol_h"] * ones,
            s["dissociation_per_h"] * ones,
            s["internalisation_per_h"] * ones,
            s["plasma_to_space_per_h"] * ones,
            s["space_to_plasma_per_h"] * ones,
            model.renal_per_h,
            s["reabsorbed_share"] * ones,
            model.peptide_nmol,
            s["infusion_h"] * ones,
        ],
        axis=1,
    )
