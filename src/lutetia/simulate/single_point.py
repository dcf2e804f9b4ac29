"""How far one scan misleads: kidneys off by more than 10 % by method and scan hour, with the real kinetics functions.

Not here: intervals of single points (`lutetia.kinetics.single_time`), whole trials with one scan a cycle (`fitted`).
To add a method that knows the population only: one entry of `lutetia.kinetics.single_time.POPULATION_METHODS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lutetia.core.chain import TimeActivity
from lutetia.core.draws import Estimate, FloatArray, stream
from lutetia.core.numbers import six_digits
from lutetia.errors import InputError, UnknownNameError
from lutetia.kinetics.fit import fit_curves
from lutetia.kinetics.integrate import activity_at, time_integrated_activity
from lutetia.kinetics.single_time import POPULATION_METHODS, scale_to_point
from lutetia.kinetics.transfer import transfer_nuclide
from lutetia.nuclear.nuclides import nuclide
from lutetia.simulate.population import OWN_HALF_LIFE, Measurement, Population, without_errors
from lutetia.simulate.subjects import CURVES, LN2, REFERENCE, draw_subjects, true_kinetics

OWN = OWN_HALF_LIFE
METHODS = (*POPULATION_METHODS, OWN)
HOURS = (24.0, 48.0, 72.0, 96.0, 120.0, 144.0, 168.0)
NUCLIDES = ("Lu-177", "Y-90")
OFF = 0.10
SUBJECTS = 20_000
# Steps of the search for the best hour.
_FINE = np.arange(24.0, 120.5, 3.0)
# A point carries some error in every fit; where none is simulated this weight cancels.
_LEAST_SD = 1e-3
Curve = tuple[FloatArray, FloatArray]


def single_point_curves(
    method: str, time_h: float, activity: FloatArray, *, region: str, earlier: Curve | None = None
) -> Curve:
    """Curves of 177Lu from one point a subject, by the nominal curve of a method of `lutetia.kinetics.single_time`.

    The methods of the population are proportional to the point, so that one call serves every subject.

    Parameters
    ----------
    method
        One of `METHODS`.
    time_h, activity
        Hour of the scan and activity there, shape (...).
    region
        Canonical region, whose priors are used.
    earlier
        For `OWN`: coefficients and rates of the subject's earlier cycle, shape (..., component).

    Returns
    -------
    coefficient, rate
        Shape (..., component).

    Raises
    ------
    UnknownNameError
        For an unknown method.
    InputError
        If `OWN` has no earlier curve.
    """
    if method not in METHODS:
        raise UnknownNameError("single-time-point method", method, METHODS)
    if method == OWN:
        if earlier is None:
            raise InputError(f"{OWN}: found no earlier curve; expected the fit of an earlier cycle")
        return scale_to_point(*earlier, time_h, activity)
    one = TimeActivity(region, REFERENCE, np.array([time_h]), Estimate(np.ones(1), np.ones((1, 1))), np.zeros(1))
    fit = POPULATION_METHODS[method](one)
    coefficient = activity[..., None] * fit.coefficient_MBq.value
    return coefficient, np.broadcast_to(fit.rate_per_h.value, coefficient.shape)


def single_point_errors(
    population: Population,
    measurement: Measurement,
    *,
    hours: Iterable[float] = HOURS,
    subjects: int = SUBJECTS,
    seed: int = 1,
) -> dict[tuple[str, str, float], FloatArray]:
    """Relative errors of the kidneys' time-integrated activity of cycle 2 from one scan, by method, nuclide and hour.

    Only the noise of the points is simulated; calibration and mass act on all methods alike. `OWN` knows the half-life
    from all scans of cycle 1.
    """
    people = draw_subjects(population, subjects, seed, "single point")
    kinetics = true_kinetics(population, people, NUCLIDES, cycles=2, seed=seed, names=("single point",))
    kidneys = CURVES.index("kidneys")
    rate, decay = kinetics.rate_Gy_per_h_per_MBq[:, :, kidneys], kinetics.decay_per_h[:, :, kidneys]
    first, second = (rate[:, 0], decay[:, 0]), (rate[:, 1], decay[:, 1])
    earlier = _fitted(first, measurement, seed)
    true = {name: _integral(second, name) for name in NUCLIDES}
    found = {}
    for hour in hours:
        noise = stream(seed, "single point", "noise", f"{hour:g}").standard_normal(subjects)
        point = activity_at(*second, [hour])[:, 0] * np.maximum(1.0 + measurement.counts * noise, 0.05)
        for method in METHODS:
            curve = single_point_curves(method, hour, point, region="kidneys", earlier=earlier)
            for name in NUCLIDES:
                found[method, name, hour] = _integral(curve, name) / true[name] - 1.0
    return found


def _fitted(curve: Curve, measurement: Measurement, seed: int) -> Curve:
    """Mono-exponential fit of all scans of a cycle, with noise."""
    clean = activity_at(*curve, measurement.scan_hours)
    noise = stream(seed, "single point", "earlier cycle").standard_normal(clean.shape)
    points = clean * np.maximum(1.0 + measurement.counts * noise, 0.05)
    physical = nuclide(REFERENCE).decay_constant_per_h
    sd = max(measurement.counts, _LEAST_SD) * points
    fits = fit_curves(measurement.scan_hours, points, sd, physical_rate_per_h=physical, choice="mono")
    return fits.coefficient, fits.rate


def _integral(curve: Curve, name: str) -> FloatArray:
    if name != REFERENCE:
        curve = transfer_nuclide(*curve, from_nuclide=REFERENCE, to_nuclide=name, administered_ratio=1.0)
    return time_integrated_activity(*curve)


def single_point_record(
    population: Population, measurement: Measurement, *, subjects: int = SUBJECTS, seed: int = 1
) -> dict[str, Any]:
    """The table of `single_point_errors`, and the best hours of each method alone (no noise), as a record for JSON.

    Raises
    ------
    InputError
        For fewer than one subject.
    """
    exact = without_errors(measurement)
    errors = single_point_errors(population, measurement, subjects=subjects, seed=seed)
    fine = single_point_errors(population, exact, hours=_FINE, subjects=subjects, seed=seed)
    best = [
        {
            "method": method,
            "nuclide": name,
            "scan_h": best_hour(fine, method, name),
            "expected_h": six_digits(expected_best_h(population, name)),
        }
        for name in NUCLIDES
        for method in POPULATION_METHODS
    ]
    return {
        "schema": "lutetia.single-time-point/1",
        "population": population.name,
        "subjects": subjects,
        "seed": seed,
        "noise": measurement.counts,
        "scan_hours_of_the_earlier_cycle": list(measurement.scan_hours),
        "rows": [_row(key, e) for key, e in errors.items()],
        "best_hours": best,
    }


def _row(key: tuple[str, str, float], error: FloatArray) -> dict[str, Any]:
    method, name, hour = key
    return {
        "method": method,
        "nuclide": name,
        "scan_h": hour,
        "share_off_by_more_than_10_percent": six_digits(share_off(error)),
        "median_error": six_digits(float(np.median(error))),
        "abs_error_95th_percentile": six_digits(float(np.quantile(np.abs(error), 0.95))),
    }


def share_off(error: FloatArray) -> float:
    """Share of errors above 10 %."""
    return float(np.mean(np.abs(error) > OFF))


def best_hour(errors: dict[tuple[str, str, float], FloatArray], method: str, name: str) -> float:
    """The hour with the fewest kidneys off by more than 10 %: minimum of a parabola through the three lowest shares."""
    hours = sorted({h for m, n, h in errors if (m, n) == (method, name)})
    shares = [share_off(errors[method, name, h]) for h in hours]
    lowest = min(max(int(np.argmin(shares)), 1), len(hours) - 2)
    near = slice(lowest - 1, lowest + 2)
    a, b, _ = np.polyfit(np.asarray(hours[near]) - hours[lowest], shares[near], 2)
    step = -b / (2.0 * a) if a > 0.0 else 0.0
    return six_digits(float(np.clip(hours[lowest] + step, hours[lowest - 1], hours[lowest + 1])))


def expected_best_h(population: Population, name: str) -> float:
    """T_eff/ln 2 of a nuclide at the population's median half-life of the kidneys.

    From Ã(k) = A(t)·e^{k_Lu t}/k: dÃ/dk = 0 at t = 1/k, with k the effective rate of the nuclide whose Ã is wanted.
    """
    change = nuclide(name).decay_constant_per_h - nuclide(REFERENCE).decay_constant_per_h
    return 1.0 / (LN2 / population.quantities["kidneys_half_life_h"].median + change)


def best_of_days(record: dict[str, Any], method: str, name: str) -> float:
    """The scan hour of the table with the fewest kidneys off by more than 10 %."""
    rows: Sequence[dict[str, Any]] = [r for r in record["rows"] if (r["method"], r["nuclide"]) == (method, name)]
    return float(min(rows, key=lambda r: r["share_off_by_more_than_10_percent"])["scan_h"])
