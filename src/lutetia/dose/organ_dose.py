"""Organ doses of one cycle: time–activity curves times S-values, for every nuclide given, with BED.

D_n = A_n · l_n,  l_n = Σ_sources Ã_source,n · S_n(target ← source) per MBq administered, and
BED = Σ_n D_n + Σ_n Σ_m A_n Q[n, m] A_m with Q from all dose-rate components of all nuclides together.

Nuclides without their own curve are predicted from the measured one (`lutetia.kinetics.transfer`). Here too: the kidney
pair from its two kidneys. Not here: S-values (`lutetia.dose.s_values`, `region_s`), marrow (`lutetia.dose.marrow`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lutetia.core.chain import Doubt, KineticFit, NuclideDose, OrganDose
from lutetia.core.draws import Estimate, FloatArray, combine
from lutetia.core.regions import density_g_per_mL
from lutetia.dose.bed import Radiobiology, bed_coefficients, quadratic_part, radiobiology
from lutetia.errors import PhysicsError
from lutetia.kinetics.integrate import effective_half_life_h, extrapolated_fraction, time_integrated_activity
from lutetia.kinetics.transfer import ASSUMPTIONS, transfer_nuclide

SINGLE_KIDNEY_LIMIT_GY = 23.0
SINGLE_KIDNEY_EXCESS = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class SourceTerm:
    """One source of dose to a target: its measured curve and S(target ← source) for each nuclide.

    `s_Gy_per_MBq_h` are scalar Estimates by nuclide, drawn with the masses they depend on.
    """

    source: str
    fit: KineticFit
    s_Gy_per_MBq_h: Mapping[str, Estimate]
    method: str


@dataclass(frozen=True, slots=True, eq=False)
class DoseCoefficients:
    """Dose per activity of one region: linear (nuclide,) Gy/MBq, quadratic (nuclide, nuclide) Gy/MBq² or None.

    They hold for nuclides that were not given in the cycle too. `time_integrated_h` (nuclide,) is the time-integrated
    activity of the region itself per MBq administered.
    """

    region: str
    nuclides: tuple[str, ...]
    linear_Gy_per_MBq: Estimate
    quadratic_Gy_per_MBq2: Estimate | None
    time_integrated_h: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """Components per MBq administered, in hours since the nuclide's own start; shapes (component,)."""

    coefficient: Estimate
    rate_per_h: Estimate


def mass_from_volume(volume_mL: Estimate, region: str) -> Estimate:
    """Mass = volume × tissue density of the region (kidney 1.05 g/mL); the draws follow those of the volume.

    Use the same volume draws for the recovery: a volume drawn too large raises the mass and the recovery, and so
    lowers dose and activity concentration together.
    """
    density = density_g_per_mL(region)
    if not (np.all(volume_mL.value > 0) and np.all(volume_mL.draws > 0)):
        raise PhysicsError(f"{region}: found a volume ≤ 0 mL; expected volumes and draws > 0")
    return Estimate(volume_mL.value * density, volume_mL.draws * density)


def dose_coefficients(
    region: str,
    sources: Sequence[SourceTerm],
    measured_MBq: float,
    *,
    nuclides: Sequence[str],
    start_h: Mapping[str, float] | None = None,
    parameters: Radiobiology | None = None,
) -> DoseCoefficients:
    """Absorbed dose and BED coefficients per MBq administered of each nuclide.

    Parameters
    ----------
    region
        Target.
    sources
        The region itself first, then sources of cross-dose. All curves are of one measured nuclide.
    measured_MBq
        Administered activity of the measured nuclide, > 0.
    nuclides
        Order of the trailing axes.
    start_h
        Start of each nuclide's infusion, from the start of the first one; 0 if not given.
    parameters
        Linear-quadratic parameters; None: no BED.

    Raises
    ------
    PhysicsError
        For an activity ≤ 0, curves of different nuclides, or a missing S-value.
    """
    _check_sources(region, sources, nuclides)
    if not measured_MBq > 0:
        raise PhysicsError(f"{region}: found {measured_MBq} MBq administered; expected > 0 of the measured nuclide")
    starts = start_h or {}
    curves = [[_curve(term.fit, n, measured_MBq, starts) for n in nuclides] for term in sources]
    dose_rate, rate = _dose_rates(sources, nuclides, curves)
    linear = combine(lambda a, k: time_integrated_activity(a, k), dose_rate, rate)
    own = combine(
        lambda *arrays: np.stack(
            [time_integrated_activity(c, k) for c, k in zip(arrays[::2], arrays[1::2], strict=True)], axis=-1
        ),
        *(e for curve in curves[0] for e in (curve.coefficient, curve.rate_per_h)),
    )
    quadratic = None
    if parameters is not None:
        begin = np.array([float(starts.get(n, 0.0)) for n in nuclides])

        def coefficients(amplitude: FloatArray, decay: FloatArray) -> FloatArray:
            return bed_coefficients(
                amplitude,
                decay,
                alpha_beta_Gy=parameters.alpha_beta_Gy,
                repair_half_life_h=parameters.repair_half_life_h,
                start_h=begin,
            )

        quadratic = combine(coefficients, dose_rate, rate)
    return DoseCoefficients(region, tuple(nuclides), linear, quadratic, own)


def organ_dose(
    region: str,
    sources: Sequence[SourceTerm],
    administered_MBq: Mapping[str, float],
    *,
    mass_g: Estimate | None = None,
    volume_mL: float | None = None,
    start_h: Mapping[str, float] | None = None,
    basis: str = "measured",
    last_time_h: float | None = None,
    method: str = "",
) -> OrganDose:
    """Absorbed dose and BED of one region in one cycle.

    Parameters
    ----------
    region, sources, start_h
        As in `dose_coefficients`.
    administered_MBq
        By nuclide, each at its own start; must hold the measured nuclide.
    mass_g, volume_mL
        Stored with the result; the mass has acted through the S-values.
    basis
        Of the curve; other nuclides become "predicted from" the measured one.
    last_time_h
        Last measurement, for the extrapolated fraction of predicted nuclides.
    method
        Name of the method; by default it is built from the sources.
    """
    nuclides, measured = tuple(administered_MBq), sources[0].fit.nuclide if sources else ""
    if measured not in administered_MBq:
        found = ", ".join(nuclides) or "none"
        raise PhysicsError(
            f"{region}: found administered activities of {found}; expected also {measured or 'a source'}"
        )
    parameters = radiobiology(region)
    per_MBq = dose_coefficients(
        region, sources, administered_MBq[measured], nuclides=nuclides, start_h=start_h, parameters=parameters
    )
    given = np.array([administered_MBq[n] for n in nuclides], dtype=np.float64)
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise PhysicsError(f"{region}: found administered activities {dict(administered_MBq)}; expected values ≥ 0 MBq")
    name = method or _method(sources)
    doses = tuple(
        _nuclide_dose(n, i, float(given[i]), per_MBq, sources[0].fit, start_h or {}, basis, last_time_h, name)
        for i, n in enumerate(nuclides)
    )
    total = combine(lambda linear: np.asarray((linear * given).sum(axis=-1)), per_MBq.linear_Gy_per_MBq)
    bed = None
    if per_MBq.quadratic_Gy_per_MBq2 is not None:
        bed = combine(lambda d, q: np.asarray(d + quadratic_part(q, given)), total, per_MBq.quadratic_Gy_per_MBq2)
    return OrganDose(
        region=region,
        method=name,
        nuclides=doses,
        absorbed_dose_Gy=total,
        bed_Gy=bed,
        bed_coefficient_Gy_per_MBq2=per_MBq.quadratic_Gy_per_MBq2,
        mass_g=None if mass_g is None else float(mass_g.value),
        volume_mL=volume_mL,
        doubts=_doubts(region, sources, nuclides, measured),
    )


def kidney_pair(left: OrganDose, right: OrganDose, *, mass_left_g: Estimate, mass_right_g: Estimate) -> OrganDose:
    """Dose of the kidney pair: absorbed energy of both kidneys over the mass of both.

    D = (m_L D_L + m_R D_R)/(m_L + m_R), and the same mean for BED and Q, so that BED = D + AᵀQA holds for the pair.
    Each kidney's dose already carries the absorbed fractions of its own mass. The mean BED over the tissue of the pair
    is never below the BED of the mean dose rate.

    Parameters
    ----------
    left, right
        Doses of the single kidneys in the same cycle.
    mass_left_g, mass_right_g
        The mass Estimates that their S-values were computed with.

    Raises
    ------
    PhysicsError
        If the two do not hold the same nuclides and activities.
    """
    activities = [[(n.nuclide, n.administered_MBq) for n in organ.nuclides] for organ in (left, right)]
    if activities[0] != activities[1] or (left.bed_Gy is None) != (right.bed_Gy is None):
        raise PhysicsError("kidney pair: found kidneys of different nuclides, activities or BED; expected one cycle")

    def mean(of_left: Estimate, of_right: Estimate) -> Estimate:
        return combine(mass_weighted_mean, of_left, of_right, mass_left_g, mass_right_g)

    nuclides = tuple(_pair_nuclide(a, b, mean(a.absorbed_dose_Gy, b.absorbed_dose_Gy)) for a, b in _both(left, right))
    dose = mean(left.absorbed_dose_Gy, right.absorbed_dose_Gy)
    bed = quadratic = None
    if left.bed_Gy is not None and right.bed_Gy is not None:
        bed = mean(left.bed_Gy, right.bed_Gy)
    if left.bed_coefficient_Gy_per_MBq2 is not None and right.bed_coefficient_Gy_per_MBq2 is not None:
        quadratic = mean(left.bed_coefficient_Gy_per_MBq2, right.bed_coefficient_Gy_per_MBq2)
    volumes = [v for v in (left.volume_mL, right.volume_mL) if v is not None]
    warned = single_kidney_doubts(
        float(left.absorbed_dose_Gy.value), float(right.absorbed_dose_Gy.value), float(dose.value)
    )
    return OrganDose(
        region="kidneys",
        method=f"left and right kidney, mass-weighted ({left.method})",
        nuclides=nuclides,
        absorbed_dose_Gy=dose,
        bed_Gy=bed,
        bed_coefficient_Gy_per_MBq2=quadratic,
        mass_g=float(mass_left_g.value + mass_right_g.value),
        volume_mL=sum(volumes) if len(volumes) == 2 else None,
        doubts=tuple(dict.fromkeys((*warned, *left.doubts, *right.doubts))),
    )


def single_kidney_doubts(left_Gy: float, right_Gy: float, pair_Gy: float, *, when: str = "") -> tuple[Doubt, ...]:
    """The larger single-kidney dose, always; first-line warnings above 1.15 × the pair and above 23 Gy.

    Use it for the doses of a cycle and for the cumulative ones (`when` says which).
    """
    side, largest = max(("left kidney", left_Gy), ("right kidney", right_Gy), key=lambda item: item[1])
    note = f"the {side} has the larger dose, {largest:.2f} Gy, against {pair_Gy:.2f} Gy for the pair"
    doubts = [Doubt("larger-single-kidney", note, when or side, "note")]
    if largest > (1.0 + SINGLE_KIDNEY_EXCESS) * pair_Gy:
        percent = 100.0 * (largest / pair_Gy - 1.0)
        text = f"the {side} has {largest:.2f} Gy, {percent:.0f} % above the pair ({pair_Gy:.2f} Gy) that the limit uses"
        doubts.append(Doubt("single-kidney-above-pair", text, when or side, "first-line"))
    if largest > SINGLE_KIDNEY_LIMIT_GY:
        text = f"the {side} has {largest:.2f} Gy, above {SINGLE_KIDNEY_LIMIT_GY:g} Gy in one kidney"
        doubts.append(Doubt("single-kidney-above-limit", text, when or side, "first-line"))
    return tuple(doubts)


def _check_sources(region: str, sources: Sequence[SourceTerm], nuclides: Sequence[str]) -> None:
    if not sources:
        raise PhysicsError(f"{region}: found no source of dose; expected at least the region itself")
    if len({term.fit.nuclide for term in sources}) > 1:
        raise PhysicsError(f"{region}: found curves of different nuclides; expected one measured nuclide")
    if len({term.source for term in sources}) != len(sources):
        raise PhysicsError(f"{region}: found one source twice; expected each source once")
    for term in sources:
        if missing := [n for n in nuclides if n not in term.s_Gy_per_MBq_h]:
            raise PhysicsError(f"{region} ← {term.source}: found no S-value of {', '.join(missing)}; give one for each")


def _curve(fit: KineticFit, nuclide: str, measured_MBq: float, starts: Mapping[str, float]) -> _Curve:
    """Curve of a nuclide per MBq, predicted if need be; moved from the cycle's time zero to its own start."""
    begin = float(starts.get(fit.nuclide, 0.0))
    if begin < 0 or float(starts.get(nuclide, 0.0)) < 0:
        raise PhysicsError(
            f"{fit.region}: found a start before time zero; expected starts ≥ 0 h after the first nuclide"
        )

    def at(coefficient: FloatArray, rate: FloatArray) -> tuple[FloatArray, FloatArray]:
        own = np.where(coefficient == 0.0, 0.0, coefficient * np.exp(-rate * begin)) / measured_MBq
        if nuclide == fit.nuclide:
            return own, rate
        return transfer_nuclide(own, rate, from_nuclide=fit.nuclide, to_nuclide=nuclide, administered_ratio=1.0)

    nominal = at(fit.coefficient_MBq.value, fit.rate_per_h.value)
    drawn = at(fit.coefficient_MBq.draws, fit.rate_per_h.draws)
    return _Curve(Estimate(nominal[0], drawn[0]), Estimate(nominal[1], drawn[1]))


def _dose_rates(
    sources: Sequence[SourceTerm], nuclides: Sequence[str], curves: Sequence[Sequence[_Curve]]
) -> tuple[Estimate, Estimate]:
    """Dose-rate components per MBq and their rates, shapes (nuclide, source × component)."""

    def join(*rows: FloatArray) -> FloatArray:
        width = len(sources)
        each = [np.concatenate(rows[n * width : (n + 1) * width], axis=-1) for n in range(len(nuclides))]
        return np.stack(each, axis=-2)

    def times(coefficient: FloatArray, s_value: FloatArray) -> FloatArray:
        return coefficient * s_value[..., None]

    amplitude = [
        combine(times, row[i].coefficient, term.s_Gy_per_MBq_h[n])
        for i, n in enumerate(nuclides)
        for term, row in zip(sources, curves, strict=True)
    ]
    rates = [row[i].rate_per_h for i in range(len(nuclides)) for row in curves]
    return combine(join, *amplitude), combine(join, *rates)


def _nuclide_dose(
    nuclide: str,
    index: int,
    given_MBq: float,
    per_MBq: DoseCoefficients,
    fit: KineticFit,
    starts: Mapping[str, float],
    basis: str,
    last_time_h: float | None,
    method: str,
) -> NuclideDose:
    curve = _curve(fit, nuclide, 1.0, starts)
    coefficient, rate = curve.coefficient.value, curve.rate_per_h.value
    outside = fit.extrapolated_fraction
    if nuclide != fit.nuclide:
        elapsed = None if last_time_h is None else max(last_time_h - float(starts.get(nuclide, 0.0)), 0.0)
        outside = None if elapsed is None else float(extrapolated_fraction(coefficient, rate, elapsed))
    return NuclideDose(
        nuclide=nuclide,
        basis=basis if nuclide == fit.nuclide else f"predicted from {fit.nuclide}",
        model=fit.model,
        absorbed_dose_Gy=_column(per_MBq.linear_Gy_per_MBq, index, given_MBq),
        administered_MBq=given_MBq,
        time_integrated_activity_MBq_h=_column(per_MBq.time_integrated_h, index, given_MBq),
        effective_half_life_h=float(effective_half_life_h(coefficient, rate)),
        extrapolated_fraction=outside,
        method=method,
    )


def _column(estimate: Estimate, index: int, factor: float) -> Estimate:
    return Estimate(estimate.value[..., index] * factor, estimate.draws[..., index] * factor)


def _method(sources: Sequence[SourceTerm]) -> str:
    cross = [term.source for term in sources[1:]]
    return sources[0].method + (f"; cross-dose from {', '.join(cross)} ({sources[1].method})" if cross else "")


def _doubts(region: str, sources: Sequence[SourceTerm], nuclides: Sequence[str], measured: str) -> tuple[Doubt, ...]:
    doubts = list(sources[0].fit.doubts)
    if predicted := [n for n in nuclides if n != measured]:
        text = f"{', '.join(predicted)} predicted from {measured}; assumed: {'; '.join(ASSUMPTIONS)}"
        doubts.append(Doubt("nuclide-predicted", text, region, "note"))
    return tuple(dict.fromkeys(doubts))


def _both(left: OrganDose, right: OrganDose) -> list[tuple[NuclideDose, NuclideDose]]:
    return list(zip(left.nuclides, right.nuclides, strict=True))


def mass_weighted_mean(
    left: FloatArray, right: FloatArray, mass_left: FloatArray, mass_right: FloatArray
) -> FloatArray:
    """Mass-weighted mean; masses (...) against values (..., any trailing axes)."""
    share = np.asarray(mass_left / (mass_left + mass_right))
    share = share.reshape(share.shape + (1,) * (left.ndim - share.ndim))
    return np.asarray(share * left + (1.0 - share) * right)


def _pair_nuclide(left: NuclideDose, right: NuclideDose, dose: Estimate) -> NuclideDose:
    activity, outside = None, None
    if left.time_integrated_activity_MBq_h is not None and right.time_integrated_activity_MBq_h is not None:
        first, second = left.time_integrated_activity_MBq_h, right.time_integrated_activity_MBq_h
        activity = combine(lambda a, b: np.asarray(a + b), first, second)
        if left.extrapolated_fraction is not None and right.extrapolated_fraction is not None:
            late = left.extrapolated_fraction * first.value + right.extrapolated_fraction * second.value
            outside = float(late / activity.value) if activity.value > 0 else None
    halves = [h for h in (left.effective_half_life_h, right.effective_half_life_h) if h is not None]
    return NuclideDose(
        nuclide=left.nuclide,
        basis=left.basis if left.basis == right.basis else f"left {left.basis}, right {right.basis}",
        model=left.model if left.model == right.model else f"left {left.model}, right {right.model}",
        absorbed_dose_Gy=dose,
        administered_MBq=left.administered_MBq,
        time_integrated_activity_MBq_h=activity,
        effective_half_life_h=max(halves) if halves else None,
        extrapolated_fraction=outside,
        method="left and right kidney, mass-weighted",
    )
