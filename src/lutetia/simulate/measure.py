"""Measured dose per activity of virtual subjects by a measurement-error model, without a fit (level ``analytic``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import FloatArray, stream
from lutetia.simulate.population import REGIONS, Measurement


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """What the measurement of a trial got wrong, before any fit.

    `calibration` (subject, cycle, 1), `region` (subject, cycle, region) as factors; `missed` (subject, cycle).
    """

    calibration: FloatArray
    region: FloatArray
    missed: NDArray[np.bool_]


def draw_errors(
    measurement: Measurement, subjects: int, cycles: int, *, seed: int, names: tuple[str | int, ...]
) -> Errors:
    """Errors that scans of one cycle share; calibration is common to all regions, recovery to all cycles."""
    g = stream(seed, *names, "measurement")
    site = measurement.calibration_site * g.standard_normal((subjects, 1, 1))
    cycle = measurement.calibration_cycle * g.standard_normal((subjects, cycles, 1))
    recovery = measurement.recovery * g.standard_normal((subjects, 1, len(REGIONS)))
    mass = measurement.segmentation * g.standard_normal((subjects, cycles, len(REGIONS)))
    missed = g.random((subjects, cycles)) < measurement.missed_probability
    return Errors(np.exp(site + cycle), np.exp(recovery + mass), missed)


def measured_analytic(
    true_Gy_per_MBq: FloatArray,
    measurement: Measurement,
    errors: Errors,
    *,
    nuclides: Sequence[str],
    measured: str,
    seed: int,
    names: tuple[str | int, ...],
) -> FloatArray:
    """True coefficients times the errors of calibration, region and fit; a predicted nuclide has one error more.

    Parameters
    ----------
    true_Gy_per_MBq
        Shape (subject, cycle, region, nuclide).
    measurement, errors
        From `packaged_measurement` and `draw_errors`.
    nuclides, measured
        Names on the last axis, and which of them was measured.
    seed, names
        Of the random stream.

    Returns
    -------
    Shape as `true_Gy_per_MBq`.
    """
    g = stream(seed, *names, "fit")
    shape = true_Gy_per_MBq.shape
    fit = np.exp(measurement.fit * g.standard_normal(shape[:3]))
    shared = errors.calibration * errors.region * fit
    predicted = np.exp(measurement.fit_predicted_nuclide * g.standard_normal(shape[:3]))
    factors = [shared if name == measured else shared * predicted for name in nuclides]
    return np.asarray(true_Gy_per_MBq * np.stack(factors, axis=-1))
