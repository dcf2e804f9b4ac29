"""Red marrow of one cycle: blood method and, where vertebrae are drawn, image method, each for every nuclide.

Blood, whole body and organs are measured in one nuclide; the others follow from its biology.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from lutetia.core.chain import Doubt, KineticFit, OrganDose, TimeActivity
from lutetia.core.draws import Estimate, combine, exact
from lutetia.dose.marrow import MarrowDose, MarrowSource, blood_method, compare_methods, image_method
from lutetia.dose.marrow_model import MarrowRatio, marrow_factors
from lutetia.dose.s_values import organ_s_value
from lutetia.errors import CaseError, UnknownNameError
from lutetia.kinetics.blood import fit_blood, fit_whole_body
from lutetia.kinetics.fit import fit_time_activity
from lutetia.kinetics.integrate import effective_half_life_h, time_integrated_activity
from lutetia.kinetics.transfer import transfer_nuclide
from lutetia.nuclear.nuclides import nuclide
from lutetia.plan.cycle import CycleInput, RegionInput
from lutetia.plan.ledger import Coefficients
from lutetia.plan.uncertainty import Draws

Sex = Literal["female", "male"]
Method = Callable[[Mapping[str, float]], MarrowDose]


@dataclass(frozen=True, slots=True, eq=False)
class MarrowResult:
    """Marrow dose of a cycle by one method, its coefficients per MBq, and the curve it rests on."""

    dose: OrganDose
    coefficients: Coefficients
    curve: TimeActivity
    fit: KineticFit


@dataclass(frozen=True, slots=True, eq=False)
class MarrowCurves:
    """Curves of one cycle that the marrow needs: concentration, whole body (or None), and organs."""

    concentration: KineticFit
    whole_body: KineticFit | None
    organs: Mapping[str, KineticFit]


def blood_result(
    cycle: CycleInput,
    blood: TimeActivity,
    whole_body: TimeActivity | None,
    organs: Mapping[str, KineticFit],
    *,
    nuclides: Sequence[str],
    sex: str,
    draws: Draws,
    ratio: MarrowRatio | None = None,
) -> MarrowResult:
    """Marrow dose by the blood method, with a marrow-to-blood ratio of 1 if none is given.

    Without whole-body measurements the value holds blood and organs only; the largest possible remainder is given in
    a first-line warning, and the case counts as one in which the activity may not be raised.
    """
    curve = _own_time(cycle, blood)
    fit, _ = fit_blood(curve, seed=draws.seed)
    body = None if whole_body is None else whole_body_fit(cycle, whole_body, draws)
    curves = MarrowCurves(fit, body, organs)
    factors = marrow_factors(draws.seed, draws.subject, draws.count)

    def method(administered: Mapping[str, float]) -> MarrowDose:
        sources = [_source(n, a, curves, cycle) for n, a in administered.items()]
        cross = _cross_s(administered, organs, sex)
        return blood_method(sources, cast(Sex, sex), factors, ratio=ratio, cross_Gy_per_MBq_h=cross)

    return _result(method, cycle, nuclides, curve, fit)


def image_result(
    cycle: CycleInput,
    vertebrae: Sequence[RegionInput],
    whole_body: TimeActivity | None,
    organs: Mapping[str, KineticFit],
    *,
    nuclides: Sequence[str],
    sex: str,
    draws: Draws,
) -> MarrowResult:
    """Marrow dose from the activity concentration of the drawn lumbar vertebrae, all of them together."""
    curve = _own_time(cycle, _vertebral_concentration(vertebrae))
    rate = nuclide(curve.nuclide).decay_constant_per_h
    fit = fit_time_activity(curve, physical_rate_per_h=rate, seed=draws.seed)
    body = None if whole_body is None else whole_body_fit(cycle, whole_body, draws)
    curves = MarrowCurves(fit, body, organs)
    factors = marrow_factors(draws.seed, draws.subject, draws.count)

    def method(administered: Mapping[str, float]) -> MarrowDose:
        sources = [_source(n, a, curves, cycle) for n, a in administered.items()]
        cross = _cross_s(administered, organs, sex)
        # The measured activities carry the recovery of the system already.
        return image_method(sources, cast(Sex, sex), factors, recovery=1.0, cross_Gy_per_MBq_h=cross)

    return _result(method, cycle, nuclides, curve, fit)


def method_note(blood: MarrowResult, image: MarrowResult) -> Doubt:
    """How far the two methods differ, beside published pairs."""
    return compare_methods(blood.dose, image.dose)[1]


def whole_body_fit(cycle: CycleInput, curve: TimeActivity, draws: Draws) -> KineticFit:
    """Retention that starts at the administered activity, in hours since the measured nuclide's own start."""
    given = exact(cycle.administered_MBq[cycle.measured_nuclide], draws.count)
    return fit_whole_body(_own_time(cycle, curve), given, seed=draws.seed)[0]


def _own_time(cycle: CycleInput, curve: TimeActivity) -> TimeActivity:
    """The curve in hours since the measured nuclide's own start, in which its models hold."""
    begin = cycle.start_h.get(cycle.measured_nuclide, 0.0)
    if (curve.time_h <= begin).any():
        raise CaseError(
            f"cycle {cycle.number}, {curve.region}: found a sample at {float(curve.time_h.min()):g} h, "
            f"before {cycle.measured_nuclide} was given; correct the times"
        )
    return replace(curve, time_h=curve.time_h - begin)


def _source(name: str, administered_MBq: float, curves: MarrowCurves, cycle: CycleInput) -> MarrowSource:
    """Time-integrated quantities of one nuclide, scaled to its administered activity."""

    fit = curves.concentration
    measured = name == cycle.measured_nuclide
    rate = fit.rate_per_h.value
    if not measured:
        physical = nuclide(name).decay_constant_per_h - nuclide(cycle.measured_nuclide).decay_constant_per_h
        rate = np.where(rate > 0, rate + physical, 0.0)
    return MarrowSource(
        nuclide=name,
        basis="measured" if measured else f"predicted from {cycle.measured_nuclide}",
        administered_MBq=administered_MBq,
        concentration_MBq_h_per_mL=integrated(fit, name, administered_MBq, cycle, from_start=True),
        whole_body_MBq_h=_body(curves, name, administered_MBq, cycle),
        organs_MBq_h={r: integrated(organ, name, administered_MBq, cycle) for r, organ in curves.organs.items()},
        model=fit.model,
        effective_half_life_h=float(effective_half_life_h(fit.coefficient_MBq.value, rate)),
        extrapolated_fraction=fit.extrapolated_fraction if measured else None,
    )


def _body(curves: MarrowCurves, name: str, administered_MBq: float, cycle: CycleInput) -> Estimate | None:
    if curves.whole_body is None:
        return None
    return integrated(curves.whole_body, name, administered_MBq, cycle, from_start=True)


def integrated(
    fit: KineticFit, name: str, administered_MBq: float, cycle: CycleInput, *, from_start: bool = False
) -> Estimate:
    """Time-integrated value of a nuclide from a curve measured in another, both from their own start.

    Parameters
    ----------
    fit
        Curve of the cycle's measured nuclide.
    name, administered_MBq
        The nuclide asked for and its activity.
    from_start
        The curve's time zero is the start of the measured nuclide already, not that of the cycle.
    """
    ratio = administered_MBq / cycle.administered_MBq[cycle.measured_nuclide]
    begin_h = 0.0 if from_start else cycle.start_h.get(cycle.measured_nuclide, 0.0)

    def integral(coefficient: np.ndarray, rate: np.ndarray) -> np.ndarray:
        own = np.where(coefficient == 0.0, 0.0, coefficient * np.exp(-rate * begin_h))
        if name != fit.nuclide:
            own, rate = transfer_nuclide(own, rate, from_nuclide=fit.nuclide, to_nuclide=name, administered_ratio=ratio)
            return time_integrated_activity(own, rate)
        return time_integrated_activity(own * ratio, rate)

    return combine(integral, fit.coefficient_MBq, fit.rate_per_h)


def _cross_s(
    administered: Mapping[str, float], organs: Mapping[str, KineticFit], sex: str
) -> dict[str, dict[str, float]]:
    """S(RM←organ) of the pairs that the organ model has."""
    table: dict[str, dict[str, float]] = {name: {} for name in administered}
    for name in administered:
        for organ in organs:
            try:
                table[name][organ] = float(organ_s_value(name, organ, "red marrow", sex).Gy_per_MBq_h)
            except UnknownNameError:
                continue
    return table


def _result(
    method: Method, cycle: CycleInput, nuclides: Sequence[str], curve: TimeActivity, fit: KineticFit
) -> MarrowResult:
    dose = method(cycle.administered_MBq).dose
    one_each = dict.fromkeys(nuclides, 1.0)
    per_MBq = method(one_each).dose
    linear = {part.nuclide: part.absorbed_dose_Gy for part in per_MBq.nuclides}
    doubts = tuple(dict.fromkeys((*fit.doubts, *dose.doubts)))
    return MarrowResult(
        replace(dose, doubts=doubts), Coefficients(tuple(nuclides), linear, None, cycle.number), curve, fit
    )


def _vertebral_concentration(vertebrae: Sequence[RegionInput]) -> TimeActivity:
    """Activity per mL over all drawn vertebrae, at the times that all of them have."""
    times = sorted(set.intersection(*(set(part.curve.time_h.tolist()) for part in vertebrae)))
    picked = [np.isin(part.curve.time_h, times) for part in vertebrae]
    volume = sum(float(part.volume_mL or 0.0) for part in vertebrae)

    def total(*arrays: np.ndarray) -> np.ndarray:
        return np.asarray(sum(a[..., keep] for a, keep in zip(arrays, picked, strict=True)) / volume)

    activity = combine(total, *(part.curve.activity_MBq for part in vertebrae))
    variance = sum(part.curve.sd_MBq[keep] ** 2 for part, keep in zip(vertebrae, picked, strict=True))
    sd = np.sqrt(np.asarray(variance)) / volume
    return TimeActivity("red marrow", vertebrae[0].curve.nuclide, np.array(times), activity, sd)
