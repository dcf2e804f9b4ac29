"""Measured dose per activity of virtual subjects by the real kinetics: sampled, fitted, integrated (level ``fitted``).

Scans and samples with noise go through `lutetia.kinetics.fit.fit_curves`; another nuclide is predicted with
`lutetia.kinetics.transfer.transfer_nuclide`. Each curve is fitted with the form that the truth has: organs and
remainder mono-exponential, blood bi-exponential. Model choice is validated elsewhere (`lutetia validate`).
Organs with one scan a cycle are evaluated by a method of `lutetia.simulate.single_point`; blood and whole body keep
their samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lutetia.core.draws import FloatArray, stream
from lutetia.kinetics.fit import fit_curves
from lutetia.kinetics.integrate import activity_at, time_integrated_activity
from lutetia.kinetics.transfer import transfer_nuclide
from lutetia.nuclear.nuclides import nuclide
from lutetia.simulate.measure import Errors
from lutetia.simulate.population import REGIONS, Measurement
from lutetia.simulate.single_point import OWN, single_point_curves
from lutetia.simulate.subjects import CURVES, ORGANS, REFERENCE, TrueKinetics, regions_from_curves

_FIRST_ORGAN_REGION = tuple(REGIONS.index(name) for name in CURVES[:4])
# Weight of the points where no error is simulated; it cancels in the fit.
_LEAST_SD = 1e-3


def measured_fitted(
    kinetics: TrueKinetics,
    measurement: Measurement,
    errors: Errors,
    *,
    nuclides: Sequence[str],
    measured: str,
    seed: int,
    names: tuple[str | int, ...],
) -> FloatArray:
    """Dose per activity from fits to noisy scans and samples.

    Parameters
    ----------
    kinetics
        The true curves.
    measurement, errors
        Times and noise, and the errors that scans share.
    nuclides, measured
        Nuclides on the last axis, and which of them is measured.
    seed, names
        Of the random stream.

    Returns
    -------
    Gy/MBq, shape (subject, cycle, region, nuclide).
    """
    points = measured_points(kinetics, measurement, measured=measured, seed=seed, names=names)
    ratio = np.stack([kinetics.s_ratio[name] for name in nuclides], axis=-1)
    return doses_of_points(points, measurement, errors, nuclides=nuclides, measured=measured, s_ratio=ratio)


def measured_points(
    kinetics: TrueKinetics, measurement: Measurement, *, measured: str, seed: int, names: tuple[str | int, ...]
) -> dict[str, FloatArray]:
    """What scans and samples show, with their noise, by curve: shape (subject, cycle, time)."""
    change = nuclide(measured).decay_constant_per_h - nuclide(REFERENCE).decay_constant_per_h
    decay = np.where(kinetics.decay_per_h > 0, kinetics.decay_per_h + change, 0.0)
    noise, found = stream(seed, *names, "scans"), {}
    for i, curve in enumerate(CURVES):
        times, sd = _schedule(curve, measurement)
        true = activity_at(kinetics.rate_Gy_per_h_per_MBq[:, :, i], decay[:, :, i], times)
        found[curve] = true * np.maximum(1.0 + sd * noise.standard_normal(true.shape), 0.05)
    return found


def doses_of_points(
    points: Mapping[str, FloatArray],
    measurement: Measurement,
    errors: Errors,
    *,
    nuclides: Sequence[str],
    measured: str,
    s_ratio: FloatArray,
) -> FloatArray:
    """Fit, integrate, transfer and add up: Gy/MBq (subject, cycle, region, nuclide) of points by curve.

    `s_ratio` (subject, curve, nuclide) is the S-value of each nuclide over that of 177Lu.
    """
    areas = []
    for curve in CURVES:
        fitted = _curves(curve, points[curve], measurement, measured)
        areas.append(_areas(*fitted, nuclides, measured))
    per_curve = np.stack(areas, axis=2) * s_ratio[:, None] * _shared(errors)[..., None]
    return np.stack([regions_from_curves(per_curve[..., n]) for n in range(len(nuclides))], axis=-1)


def redrawn_points(
    points: Mapping[str, FloatArray], measurement: Measurement, draws: int, generator: np.random.Generator
) -> dict[str, FloatArray]:
    """Points with their stated noise drawn again, shape (draw · subject, cycle, time): what the truth may have been."""
    found = {}
    for curve, values in points.items():
        _, sd = _schedule(curve, measurement)
        factor = np.maximum(1.0 + sd * generator.standard_normal((draws, *values.shape)), 0.05)
        found[curve] = (values * factor).reshape(-1, *values.shape[1:])
    return found


def _schedule(curve: str, m: Measurement) -> tuple[tuple[float, ...], float]:
    """Times and relative noise of a curve; with a single scan its hour is the last of the times."""
    if curve == "blood":
        return m.blood_hours, m.blood_sample
    if curve == "remainder":
        return m.whole_body_hours, m.counts
    return ((*m.scan_hours, m.single_hour) if m.single_point else m.scan_hours), m.counts


def _curves(curve: str, points: FloatArray, m: Measurement, measured: str) -> tuple[FloatArray, FloatArray]:
    """Coefficients and rates of the measured nuclide, shape (subject, cycle, component)."""
    times, sd = _schedule(curve, m)
    if not m.single_point or curve not in ORGANS:
        return _fit(curve, times, points, sd, measured)
    activity, region = points[..., -1], curve
    if m.single_point != OWN:
        return single_point_curves(m.single_point, m.single_hour, activity, region=region)
    first = _fit(curve, m.scan_hours, points[:, :1, :-1], sd, measured)
    earlier = tuple(np.broadcast_to(x, (*activity.shape, x.shape[-1])) for x in first)
    c, k = single_point_curves(OWN, m.single_hour, activity, region=region, earlier=(earlier[0], earlier[1]))
    return np.concatenate([first[0], c[:, 1:]], axis=1), np.concatenate([first[1], k[:, 1:]], axis=1)


def _fit(curve: str, time_h: ArrayLike, points: FloatArray, sd: float, measured: str) -> tuple[FloatArray, FloatArray]:
    model, weight = "bi" if curve == "blood" else "mono", max(sd, _LEAST_SD)
    physical = nuclide(measured).decay_constant_per_h
    fits = fit_curves(time_h, points, weight * points, physical_rate_per_h=physical, choice=model)
    return fits.coefficient, fits.rate


def _areas(coefficient: FloatArray, rate: FloatArray, nuclides: Sequence[str], measured: str) -> FloatArray:
    """Integrals for every nuclide, shape (subject, cycle, nuclide)."""
    found = []
    for name in nuclides:
        c, k = coefficient, rate
        if name != measured:
            c, k = transfer_nuclide(c, k, from_nuclide=measured, to_nuclide=name, administered_ratio=1.0)
        found.append(time_integrated_activity(c, k))
    return np.stack(found, axis=-1)


def _shared(errors: Errors) -> FloatArray:
    """Factors that all points of a curve share, shape (subject, cycle, curve); blood has its own counter."""
    factor = np.ones((*errors.region.shape[:2], len(CURVES)))
    factor[..., :4] = errors.calibration * errors.region[..., list(_FIRST_ORGAN_REGION)]
    factor[..., 4] = errors.region[..., REGIONS.index("red marrow")]
    factor[..., 5] = errors.calibration[..., 0]
    return factor
