"""Sources of dose with their S-values, ready for `organ_dose`: from organ models, or from the patient's own regions.

Self-dose S-values follow the mass draw by draw, absorbed fractions included. Not here: the S-values themselves
(`s_values`, `region_s`) and the dose (`organ_dose`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lutetia.core.chain import KineticFit
from lutetia.core.draws import Estimate, FloatArray, exact
from lutetia.dose.organ_dose import SourceTerm
from lutetia.dose.region_s import PatientS
from lutetia.dose.s_values import organ_s_value
from lutetia.errors import PhysicsError, UnknownNameError

SHARED_VOLUME = 0.02


def self_term(
    fit: KineticFit,
    mass_g: Estimate,
    sex: str,
    *,
    nuclides: Sequence[str],
    kidneys_present: int = 2,
    s_factor: Estimate | None = None,
) -> SourceTerm:
    """The region itself as source, S from the organ model at its own mass.

    Parameters
    ----------
    fit
        Curve of the region.
    mass_g
        Scalar Estimate; for ``kidneys`` the mass of all kidneys present.
    sex
        Of the reference adult.
    nuclides
        Those given or asked for.
    kidneys_present
        1: a region named ``kidneys`` is one kidney, with the absorbed fractions of its whole mass.
    s_factor
        Uncertainty of S beyond the mass, nominal 1.
    """
    if kidneys_present not in (1, 2):
        raise PhysicsError(f"kidneys present: found {kidneys_present}; expected 1 or 2")
    model = "left kidney" if fit.region == "kidneys" and kidneys_present == 1 else fit.region
    values = {n: _own(n, model, sex, mass_g, s_factor) for n in nuclides}
    method = organ_s_value(nuclides[0], model, model, sex, mass_g.value).method
    return SourceTerm(fit.region, fit, values, f"self-dose: {method}{', single kidney' * (model != fit.region)}")


def cross_terms(
    target: str, fits: Sequence[KineticFit], sex: str, *, nuclides: Sequence[str], s_factor: Estimate | None = None
) -> tuple[SourceTerm, ...]:
    """Other organs as sources of photon dose, those pairs for which the organ model has an S-value.

    The pair of kidneys is left out beside single kidneys, so that no activity counts twice.
    """
    single = {"left kidney", "right kidney"} & {fit.region for fit in fits}
    terms = []
    for fit in fits:
        if fit.region == target or (fit.region == "kidneys" and single):
            continue
        try:
            values = {n: organ_s_value(n, fit.region, target, sex) for n in nuclides}
        except UnknownNameError:
            continue
        draws = len(fit.coefficient_MBq.draws)
        scaled = {n: _times(exact(v.Gy_per_MBq_h, draws), s_factor) for n, v in values.items()}
        terms.append(SourceTerm(fit.region, fit, scaled, next(iter(values.values())).method))
    return tuple(terms)


def patient_terms(
    target: str,
    fits: Sequence[KineticFit],
    s_values: Mapping[str, PatientS],
    mass_g: Estimate,
    sex: str,
    *,
    s_factor: Estimate | None = None,
) -> tuple[SourceTerm, ...]:
    """Sources with the S-values of the patient's own regions (by nuclide), the target itself first.

    Regions that share more than 2 % of their volume with the target or with a source taken before (a tumour drawn
    inside the liver) are no further source: their activity is in both curves. Larger regions are taken first.
    The self-dose S-value is moved from the drawn mass to each draw of the mass with the ratio of the organ model.
    """
    by_region = {fit.region: fit for fit in fits}
    if target not in by_region:
        raise PhysicsError(f"{target}: found no curve of the region itself; expected one among {sorted(by_region)}")
    first = next(iter(s_values.values()))
    order = _disjoint(target, [r for r in by_region if r != target and r in first.regions], first)
    terms = []
    for source in order:
        fit = by_region[source]
        draws = len(fit.coefficient_MBq.draws)
        values = {n: _times(exact(s.between(target, source), draws), s_factor) for n, s in s_values.items()}
        if source == target:
            values = {n: _moved(v, n, s_values[n], target, mass_g, sex) for n, v in values.items()}
        terms.append(SourceTerm(source, fit, values, first.method))
    return tuple(terms)


def _disjoint(target: str, others: Sequence[str], drawn: PatientS) -> list[str]:
    """The target, then the largest regions that share no volume with what was taken."""
    taken = [target]
    for region in sorted(others, key=lambda name: -drawn.mass_g[drawn.regions.index(name)]):
        if all(drawn.overlap(region, other) <= SHARED_VOLUME for other in taken):
            taken.append(region)
    return taken


def _own(nuclide: str, model: str, sex: str, mass_g: Estimate, s_factor: Estimate | None) -> Estimate:
    def at(mass: FloatArray) -> FloatArray:
        return organ_s_value(nuclide, model, model, sex, mass).Gy_per_MBq_h

    return _times(Estimate(at(mass_g.value), at(mass_g.draws)), s_factor)


def _moved(value: Estimate, nuclide: str, drawn: PatientS, target: str, mass_g: Estimate, sex: str) -> Estimate:
    """S at each mass: S_patient · S_model(m) / S_model(mass that the patient's S holds for)."""
    model = _own(nuclide, target, sex, mass_g, None)
    held = np.asarray(drawn.mass_g[drawn.regions.index(target)])
    reference = organ_s_value(nuclide, target, target, sex, held).Gy_per_MBq_h
    return Estimate(value.value * model.value / reference, value.draws * model.draws / reference)


def _times(value: Estimate, factor: Estimate | None) -> Estimate:
    if factor is None:
        return value
    return Estimate(value.value * factor.value, value.draws * factor.draws)
