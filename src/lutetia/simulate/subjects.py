"""Virtual subjects: correlated quantities of a population, and the true dose per activity of every cycle.

Every organ clears mono-exponentially after instant uptake, blood bi-exponentially (assumptions). The 177Lu dose per
activity is drawn from published values; that of another nuclide follows from the same biology and from S-values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from lutetia.core.draws import FloatArray, stream
from lutetia.dose.bed import bed_coefficients
from lutetia.dose.marrow_model import marrow_model
from lutetia.dose.s_values import organ_s_value, sphere_s_value
from lutetia.errors import InputError
from lutetia.nuclear.nuclides import nuclide
from lutetia.simulate.population import REGIONS, Population

LN2 = float(np.log(2.0))
REFERENCE = "Lu-177"
ORGANS = {"kidneys": "kidneys", "liver": "liver", "spleen": "spleen", "tumour 1": "tumour"}
CURVES = ("kidneys", "liver", "spleen", "tumour 1", "blood", "remainder")
_NODES = np.geomspace(1.0, 6000.0, 160)


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Virtual subjects: `values` by quantity, shape (subject,); `female` (subject,)."""

    values: Mapping[str, FloatArray]
    female: np.ndarray

    @property
    def count(self) -> int:
        """How many."""
        return len(self.female)


@dataclass(frozen=True, slots=True, eq=False)
class TrueKinetics:
    """Dose-rate curves of 177Lu per MBq: `rate_Gy_per_h_per_MBq` and effective `decay_per_h`, shape
    (subject, cycle, curve, 2), padded with zeros; `s_ratio` (subject, curve) by nuclide, S of it over S of 177Lu.

    Curves are those of `CURVES`; blood and remainder add up to the red marrow.
    """

    rate_Gy_per_h_per_MBq: FloatArray
    decay_per_h: FloatArray
    s_ratio: Mapping[str, FloatArray]


def draw_subjects(population: Population, count: int, seed: int, *names: str | int) -> Subjects:
    """Virtual subjects from a named random stream.

    Raises
    ------
    InputError
        For fewer than one subject.
    """
    if count < 1:
        raise InputError(f"virtual subjects: found {count}; expected 1 or more")
    generator = stream(seed, *names, "subjects")
    scores = _correlated(population.cholesky, generator.standard_normal((len(population.quantities), count)))
    female = generator.random(count) < population.female_share
    values = {
        name: spread.median * np.exp(spread.log_sd * scores[i])
        for i, (name, spread) in enumerate(population.quantities.items())
    }
    values["age_years"] = np.clip(values["age_years"], 18.0, 90.0)
    values["height_cm"] = values["height_cm"] * np.where(female, population.female_height_factor, 1.0)
    values["weight_kg"] = values["body_mass_index"] * (values["height_cm"] / 100.0) ** 2
    return Subjects(values, female)


def _correlated(cholesky: FloatArray, independent: FloatArray) -> FloatArray:
    """L z, term by term over the few entries that are not zero: the same bits whatever the linear algebra library."""
    scores = np.diag(cholesky)[:, None] * independent
    for i, j in zip(*np.nonzero(np.tril(cholesky, -1)), strict=True):
        scores[i] += cholesky[i, j] * independent[j]
    return scores


def true_kinetics(
    population: Population,
    subjects: Subjects,
    nuclides: Sequence[str],
    *,
    cycles: int,
    seed: int,
    names: tuple[str | int, ...],
) -> TrueKinetics:
    """Curves of every subject and cycle, with variation between cycles and drift.

    Parameters
    ----------
    population, subjects
        From `read_population` and `draw_subjects`.
    nuclides
        Those that a trial uses.
    cycles
        Planned cycles.
    seed, names
        Of the random stream.
    """
    generator, n = stream(seed, *names, "cycles"), subjects.count
    shape = (n, cycles, len(CURVES), 2)
    rate, decay = np.zeros(shape), np.zeros(shape)
    quickest = nuclide(REFERENCE).decay_constant_per_h
    for i, curve in enumerate(CURVES[:4]):
        organ = ORGANS[curve]
        dose = _of_cycles(population, subjects, f"{organ}_Gy_per_GBq", cycles, generator)
        half = _of_cycles(population, subjects, f"{organ}_half_life_h", cycles, generator)
        decay[..., i, 0] = np.maximum(LN2 / half, 1.02 * quickest)
        growth = population.drift_per_cycle.get(curve, 1.0) ** np.arange(cycles)
        rate[..., i, 0] = dose * growth * 1e-3 * decay[..., i, 0]
    growth = population.drift_per_cycle.get("red marrow", 1.0) ** np.arange(cycles)
    blood = 1e-3 * growth * _of_cycles(population, subjects, "marrow_self_Gy_per_GBq", cycles, generator)
    rest = 1e-3 * growth * _of_cycles(population, subjects, "marrow_remainder_Gy_per_GBq", cycles, generator)
    v = subjects.values
    slow_share = v["blood_slow_to_fast_area"] / (1.0 + v["blood_slow_to_fast_area"])
    decay[:, :, 4, 0] = np.maximum(LN2 / v["blood_slow_half_life_h"], 1.02 * quickest)[:, None]
    decay[:, :, 4, 1] = (LN2 / v["blood_fast_half_life_h"])[:, None]
    rate[:, :, 4, 0] = blood * slow_share[:, None] * decay[:, :, 4, 0]
    rate[:, :, 4, 1] = blood * (1.0 - slow_share)[:, None] * decay[:, :, 4, 1]
    decay[:, :, 5, 0] = np.maximum(LN2 / v["remainder_half_life_h"], 1.02 * quickest)[:, None]
    rate[:, :, 5, 0] = rest * decay[:, :, 5, 0]
    return TrueKinetics(
        rate, decay, {name: population.nuclide_factor.get(name, 1.0) * s_ratios(subjects, name) for name in nuclides}
    )


def s_ratios(subjects: Subjects, nuclide_name: str) -> FloatArray:
    """S-value of a nuclide over that of 177Lu, for every subject and curve; shape (subject, curve)."""
    ratio = np.ones((subjects.count, len(CURVES)))
    if nuclide_name == REFERENCE:
        return ratio
    for i, curve in enumerate(CURVES[:4]):
        mass = subjects.values[f"{ORGANS[curve]}_mass_g"]
        for sex, chosen in (("female", subjects.female), ("male", ~subjects.female)):
            table = _ratio_table(nuclide_name, curve, sex)
            ratio[chosen, i] = np.interp(np.log(mass[chosen]), np.log(_NODES), table)
    for sex, chosen in (("female", subjects.female), ("male", ~subjects.female)):
        other = marrow_model(nuclide_name, sex, organs_removed=True)  # type: ignore[arg-type]
        own = marrow_model(REFERENCE, sex, organs_removed=True)  # type: ignore[arg-type]
        ratio[chosen, 4] = other.self_Gy_per_MBq_h / own.self_Gy_per_MBq_h
        ratio[chosen, 5] = other.remainder_Gy_per_MBq_h / own.remainder_Gy_per_MBq_h
    return ratio


@cache
def _ratio_table(nuclide_name: str, region: str, sex: str) -> FloatArray:
    """S ratio at the mass nodes; interpolation between them is within 0.1 %."""
    if region == "tumour 1":
        return sphere_s_value(nuclide_name, _NODES) / sphere_s_value(REFERENCE, _NODES)
    return (
        organ_s_value(nuclide_name, region, region, sex, _NODES).Gy_per_MBq_h
        / organ_s_value(REFERENCE, region, region, sex, _NODES).Gy_per_MBq_h
    )


def region_coefficients(kinetics: TrueKinetics, nuclides: Sequence[str]) -> FloatArray:
    """Dose per activity of the regions, Gy/MBq: Σ over components rate/decay, with the decay of each nuclide.

    Returns
    -------
    Shape (subject, cycle, region, nuclide) in the order of `REGIONS`.
    """
    return np.stack([_one_nuclide(kinetics, name) for name in nuclides], axis=-1)


def _one_nuclide(kinetics: TrueKinetics, name: str) -> FloatArray:
    decay = kinetics.decay_per_h + _decay_change(name)
    parts = kinetics.rate_Gy_per_h_per_MBq / np.where(kinetics.decay_per_h > 0, decay, 1.0)
    # two components; numpy's own sum is several times slower on so short an axis
    area = parts[..., 0] + parts[..., 1]
    return regions_from_curves(area * kinetics.s_ratio[name][:, None, :])


def regions_from_curves(per_curve: FloatArray) -> FloatArray:
    """Doses of the regions from those of the curves: blood and remainder are the red marrow; (..., curve) → region."""
    marrow = per_curve[..., 4] + per_curve[..., 5]
    return np.stack([per_curve[..., 0], marrow, per_curve[..., 1], per_curve[..., 2], per_curve[..., 3]], axis=-1)


def kidney_bed_coefficients(
    kinetics: TrueKinetics, nuclides: Sequence[str], *, alpha_beta_Gy: float, repair_half_life_h: float
) -> FloatArray:
    """Quadratic BED coefficients of the kidneys, Gy/MBq², shape (subject, cycle, nuclide, nuclide)."""
    rates = [kinetics.rate_Gy_per_h_per_MBq[:, :, 0] * kinetics.s_ratio[n][:, None, :1] for n in nuclides]
    decays = [
        np.where(kinetics.decay_per_h[:, :, 0] > 0, kinetics.decay_per_h[:, :, 0] + _decay_change(n), 0.0)
        for n in nuclides
    ]
    return bed_coefficients(
        np.stack(rates, axis=-2),
        np.stack(decays, axis=-2),
        alpha_beta_Gy=alpha_beta_Gy,
        repair_half_life_h=repair_half_life_h,
    )


def _decay_change(name: str) -> float:
    return nuclide(name).decay_constant_per_h - nuclide(REFERENCE).decay_constant_per_h


def _of_cycles(
    population: Population, subjects: Subjects, name: str, cycles: int, generator: np.random.Generator
) -> FloatArray:
    spread = population.quantities[name]
    factor = np.exp(spread.within_log_sd * generator.standard_normal((subjects.count, cycles)))
    return np.asarray(subjects.values[name][:, None] * factor)


__all__ = [
    "CURVES",
    "REGIONS",
    "Subjects",
    "TrueKinetics",
    "draw_subjects",
    "kidney_bed_coefficients",
    "region_coefficients",
    "regions_from_curves",
    "true_kinetics",
]
