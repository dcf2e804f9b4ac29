"""One given cycle: curves of its regions → fits → organ doses and coefficients per MBq.

Not here: where the curves come from (`lutetia.plan.inputs`), marrow (`lutetia.plan.marrow`), sums over cycles
(`lutetia.plan.ledger`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lutetia.core.chain import Doubt, KineticFit, OrganDose, TimeActivity
from lutetia.core.draws import Estimate, combine
from lutetia.core.regions import is_tumour, shared_name
from lutetia.dose.bed import radiobiology
from lutetia.dose.organ_dose import (
    DoseCoefficients,
    SourceTerm,
    dose_coefficients,
    kidney_pair,
    mass_weighted_mean,
    organ_dose,
)
from lutetia.dose.region_s import PatientS
from lutetia.dose.source_terms import cross_terms, patient_terms, self_term
from lutetia.errors import CaseError
from lutetia.kinetics.fit import fit_time_activity
from lutetia.kinetics.single_time import bayesian, own_half_life
from lutetia.nuclear.nuclides import nuclide
from lutetia.plan.ledger import Coefficients
from lutetia.plan.uncertainty import Draws, default_sizes

KIDNEYS = ("left kidney", "right kidney")
_ORGANS = ("kidneys", *KIDNEYS, "liver", "spleen")


@dataclass(frozen=True, slots=True, eq=False)
class RegionInput:
    """What is known of one region in one cycle before any model: its curve and mass.

    `mass_g` and the curve share the draws of the delineated volume.
    """

    curve: TimeActivity
    mass_g: Estimate
    volume_mL: float | None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CycleInput:
    """One given cycle as measured.

    `start_h` holds the start of each nuclide's infusion after time zero; `patient_s` by nuclide, S-values of the
    subject's own regions where images give them.
    """

    number: int
    measured_nuclide: str
    administered_MBq: Mapping[str, float]
    start_h: Mapping[str, float]
    regions: Mapping[str, RegionInput]
    patient_s: Mapping[str, PatientS] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class RegionResult:
    """Dose, coefficients and curve of one region in one cycle; the pair of kidneys has no curve of its own."""

    dose: OrganDose
    coefficients: Coefficients
    curve: TimeActivity | None
    fit: KineticFit | None


def fit_regions(cycle: CycleInput, earlier: Mapping[str, KineticFit], *, seed: int) -> dict[str, KineticFit]:
    """Fit every region; a single time point reuses the half-life of an earlier cycle, or else a population prior."""
    return {region: _fit(part.curve, earlier.get(region), cycle, seed) for region, part in cycle.regions.items()}


def _fit(curve: TimeActivity, earlier: KineticFit | None, cycle: CycleInput, seed: int) -> KineticFit:
    after_start = curve.time_h - cycle.start_h.get(cycle.measured_nuclide, 0.0)
    if (after_start <= 0).any():
        raise CaseError(
            f"cycle {cycle.number}, {curve.region}: found a measurement at {float(curve.time_h.min()):g} h, "
            f"before {cycle.measured_nuclide} was given; correct the times"
        )
    if curve.time_h.size > 1:
        physical = nuclide(curve.nuclide).decay_constant_per_h
        return fit_time_activity(curve, physical_rate_per_h=physical, seed=seed)
    if earlier is not None:
        return own_half_life(curve, earlier, seed=seed, cycle=cycle.number)
    return bayesian(curve, seed=seed)


def region_results(
    cycle: CycleInput,
    fits: Mapping[str, KineticFit],
    *,
    nuclides: Sequence[str],
    sex: str,
    kidneys_present: int,
    draws: Draws,
) -> dict[str, RegionResult]:
    """Doses of all regions of a cycle, and coefficients per MBq of `nuclides` (those of the arm and those given)."""
    results = {
        region: _region_result(region, cycle, fits, nuclides, sex, kidneys_present, draws) for region in cycle.regions
    }
    if all(side in results for side in KIDNEYS):
        results["kidneys"] = _pair(cycle, results)
    elif kidneys_present == 1 and (side := next((s for s in KIDNEYS if s in results), None)):
        results["kidneys"] = _solitary(results[side])
    return results


def _region_result(
    region: str,
    cycle: CycleInput,
    fits: Mapping[str, KineticFit],
    nuclides: Sequence[str],
    sex: str,
    kidneys_present: int,
    draws: Draws,
) -> RegionResult:
    part = cycle.regions[region]
    sources = _sources(region, cycle, fits, nuclides, sex, kidneys_present, draws)
    dose = organ_dose(
        region,
        sources,
        cycle.administered_MBq,
        mass_g=part.mass_g,
        volume_mL=part.volume_mL,
        start_h=cycle.start_h,
        last_time_h=float(part.curve.time_h[-1]),
    )
    per_MBq = dose_coefficients(
        region,
        sources,
        cycle.administered_MBq[cycle.measured_nuclide],
        nuclides=nuclides,
        start_h=cycle.start_h,
        parameters=radiobiology(region),
    )
    return RegionResult(
        _with_doubts(dose, part.doubts), coefficients_of(per_MBq, cycle.number), part.curve, fits[region]
    )


def _sources(
    region: str,
    cycle: CycleInput,
    fits: Mapping[str, KineticFit],
    nuclides: Sequence[str],
    sex: str,
    kidneys_present: int,
    draws: Draws,
) -> tuple[SourceTerm, ...]:
    """The region itself, then the regions whose photons reach it; the subject's own S-values where images give them."""
    mass = cycle.regions[region].mass_g
    factor = Estimate(np.asarray(1.0), draws.factor(default_sizes().s_value_percent, "S-value", shared_name(region)))
    if all(n in cycle.patient_s and region in cycle.patient_s[n].regions for n in nuclides):
        own_s = {n: cycle.patient_s[n] for n in nuclides}
        return patient_terms(region, tuple(fits.values()), own_s, mass, sex, s_factor=factor)
    own = self_term(fits[region], mass, sex, nuclides=nuclides, kidneys_present=kidneys_present, s_factor=factor)
    return (own, *cross_terms(region, tuple(fits.values()), sex, nuclides=nuclides, s_factor=factor))


def coefficients_of(per_MBq: DoseCoefficients, number: int) -> Coefficients:
    """The ledger's coefficients from those of one cycle."""
    linear = per_MBq.linear_Gy_per_MBq
    by_name = {n: Estimate(linear.value[i], linear.draws[:, i]) for i, n in enumerate(per_MBq.nuclides)}
    return Coefficients(per_MBq.nuclides, by_name, per_MBq.quadratic_Gy_per_MBq2, number)


def _pair(cycle: CycleInput, results: Mapping[str, RegionResult]) -> RegionResult:
    left, right = (results[side] for side in KIDNEYS)
    masses = [cycle.regions[side].mass_g for side in KIDNEYS]
    dose = kidney_pair(left.dose, right.dose, mass_left_g=masses[0], mass_right_g=masses[1])

    def mean(a: Estimate, b: Estimate) -> Estimate:
        return combine(mass_weighted_mean, a, b, *masses)

    first, second = left.coefficients, right.coefficients
    linear = {n: mean(first.linear_Gy_per_MBq[n], second.linear_Gy_per_MBq[n]) for n in first.nuclides}
    quadratic = None
    if first.quadratic_Gy_per_MBq2 is not None and second.quadratic_Gy_per_MBq2 is not None:
        quadratic = mean(first.quadratic_Gy_per_MBq2, second.quadratic_Gy_per_MBq2)
    return RegionResult(dose, Coefficients(first.nuclides, linear, quadratic, cycle.number), None, None)


def _solitary(kidney: RegionResult) -> RegionResult:
    """The kidneys of a subject with one kidney are that kidney."""

    dose = replace(
        kidney.dose, region="kidneys", method=f"{kidney.dose.region} alone ({kidney.dose.method})", doubts=()
    )
    return RegionResult(dose, kidney.coefficients, None, None)


def _with_doubts(dose: OrganDose, doubts: Sequence[Doubt]) -> OrganDose:

    return replace(dose, doubts=(*dose.doubts, *doubts)) if doubts else dose


def unpaired_kidney(regions: Sequence[str], kidneys_present: int) -> str | None:
    """The one kidney that was measured although the subject has two; None if all is well."""
    sides = [side for side in KIDNEYS if side in regions]
    return sides[0] if len(sides) == 1 and kidneys_present == 2 and "kidneys" not in regions else None


def is_organ(region: str) -> bool:
    """Whether a region gets an organ dose of its own (not body, remainder, marrow or vertebrae)."""
    return region in _ORGANS or is_tumour(region)
