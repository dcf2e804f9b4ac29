"""Mean dose of the whole body and of its remainder, from whole-body measurements and the body weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lutetia.core.chain import KineticFit, NuclideDose, OrganDose, TimeActivity
from lutetia.core.draws import Estimate, combine
from lutetia.dose.bed import radiobiology
from lutetia.dose.marrow import remainder_MBq_h
from lutetia.dose.organ_dose import dose_coefficients, organ_dose
from lutetia.dose.s_values import organ_s_value
from lutetia.dose.source_terms import self_term
from lutetia.plan.cycle import CycleInput, RegionResult, coefficients_of
from lutetia.plan.ledger import Coefficients
from lutetia.plan.marrow import integrated, whole_body_fit
from lutetia.plan.uncertainty import Draws

WEIGHT_PERCENT = 2.0  # assumption: sd of a body weight


def body_results(
    cycle: CycleInput,
    whole_body: TimeActivity | None,
    organs: Mapping[str, KineticFit],
    *,
    weight_kg: float | None,
    nuclides: Sequence[str],
    sex: str,
    draws: Draws,
) -> list[RegionResult]:
    """Whole body, then remainder; nothing without whole-body measurements or without the weight.

    The remainder is the body without the measured organs: Ã_RoB = Ã_WB − Σ Ã_o over the rest of the mass. It is never
    taken from a field of view.
    """
    if whole_body is None or weight_kg is None:
        return []
    fit = whole_body_fit(cycle, whole_body, draws)
    mass = Estimate(np.asarray(1e3 * weight_kg), 1e3 * weight_kg * draws.factor(WEIGHT_PERCENT, "weight"))
    sources = (self_term(fit, mass, sex, nuclides=nuclides),)
    dose = organ_dose("whole body", sources, cycle.administered_MBq, mass_g=mass)
    per_MBq = dose_coefficients(
        "whole body",
        sources,
        cycle.administered_MBq[cycle.measured_nuclide],
        nuclides=nuclides,
        parameters=radiobiology("whole body"),
    )
    body = RegionResult(dose, coefficients_of(per_MBq, cycle.number), whole_body, fit)
    return [body, _remainder(cycle, fit, organs, mass, sex)]


def _remainder(
    cycle: CycleInput, body: KineticFit, organs: Mapping[str, KineticFit], mass_g: Estimate, sex: str
) -> RegionResult:
    rest = combine(lambda m, *parts: np.asarray(m - sum(parts)), mass_g, *(cycle.regions[o].mass_g for o in organs))

    def dose_of(name: str, given: float) -> NuclideDose:
        own = [integrated(fit, name, given, cycle) for fit in organs.values()]
        activity = combine(remainder_MBq_h, integrated(body, name, given, cycle, from_start=True), *own)

        def dose(amount: np.ndarray, mass: np.ndarray) -> np.ndarray:
            return np.asarray(amount * organ_s_value(name, "whole body", "whole body", sex, mass).Gy_per_MBq_h)

        basis = "measured" if name == cycle.measured_nuclide else f"predicted from {cycle.measured_nuclide}"
        return NuclideDose(name, basis, body.model, combine(dose, activity, rest), given, activity, method=method)

    method = "whole body less organs, uniform in the rest of the body"
    parts = tuple(dose_of(name, given) for name, given in cycle.administered_MBq.items())
    total = combine(lambda *doses: np.asarray(sum(doses)), *(part.absorbed_dose_Gy for part in parts))
    dose = OrganDose("remainder", method, parts, total, mass_g=float(rest.value))
    linear = {p.nuclide: _per_MBq(p.absorbed_dose_Gy, p.administered_MBq) for p in parts}
    return RegionResult(dose, Coefficients(tuple(linear), linear, None, cycle.number), None, None)


def _per_MBq(dose: Estimate, given: float) -> Estimate:
    return Estimate(dose.value / given, dose.draws / given)
