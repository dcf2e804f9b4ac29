"""Integrals of sums of exponentials against analytic and published values."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutetia.errors import PhysicsError
from lutetia.kinetics.integrate import (
    activity_at,
    effective_half_life_h,
    extrapolated_fraction,
    integral_between,
    time_integrated_activity,
)

REFERENCE = Path(__file__).parents[1] / "reference"


def worked_example() -> dict[str, str]:
    lines = (REFERENCE / "triexponential_worked_example.csv").read_text(encoding="utf-8").splitlines()
    return {row["item"]: row["value"] for row in csv.DictReader(x for x in lines if not x.startswith("#"))}


def test_the_published_triexponential_example_is_reproduced() -> None:
    """Its rates are biological: the physical decay is added before integrating."""
    row = worked_example()
    c = [float(row[f"A{i}"]) for i in (1, 2, 3)]
    biological = np.array([-float(row[f"k{i}"]) for i in (1, 2, 3)])
    effective = biological + np.log(2) / float(row["physical_half_life_h"])
    assert time_integrated_activity(c, effective) == pytest.approx(float(row["integral_kBq_h_ml"]), rel=1e-6)
    times, measured = ([float(x) for x in row[n].split(";")] for n in ("t_h", "measured_kBq_ml"))
    # Fitted with fixed rates, so the curve passes near the points, not through them.
    assert activity_at(c, effective, times) == pytest.approx(measured, rel=0.02)


def test_mono_exponential_integral_is_amplitude_times_half_life_over_ln_2() -> None:
    k = np.log(2) / 52.0
    assert time_integrated_activity([100.0, 0, 0, 0], [k, 0, 0, 0]) == pytest.approx(100 * 52 / np.log(2), rel=1e-12)
    assert effective_half_life_h([100.0, 0, 0, 0], [k, 0, 0, 0]) == pytest.approx(52.0)
    assert extrapolated_fraction([100.0], [k], 52.0) == pytest.approx(0.5)


def test_uptake_lowers_the_integral_by_its_own_mean_time() -> None:
    k, u = np.log(2) / 52.0, np.log(2) / 2.0
    assert time_integrated_activity([10.0, -10.0], [k, u]) == pytest.approx(10 / k - 10 / u, rel=1e-12)


def test_leading_axes_are_free() -> None:
    c, k = np.ones((5, 3, 4)), np.full((5, 3, 4), 0.01)
    assert time_integrated_activity(c, k).shape == (5, 3)
    assert activity_at(c, k, [1.0, 2.0]).shape == (5, 3, 2)
    assert integral_between(c, k, 0.0, np.full((5, 3), 10.0)).shape == (5, 3)


@given(st.floats(0, 200), st.floats(0, 200), st.floats(0.005, 1.0))
def test_adjoining_intervals_add_up(first: float, length: float, rate: float) -> None:
    c, k = [50.0, -20.0], [rate, 2.0]
    parts = integral_between(c, k, 0.0, first) + integral_between(c, k, first, first + length)
    rest = integral_between(c, k, first + length, np.inf)
    assert parts + rest == pytest.approx(time_integrated_activity(c, k), rel=1e-9)


@pytest.mark.parametrize("rate", [0.0, -0.1])
def test_a_component_that_does_not_decay_is_refused(rate: float) -> None:
    with pytest.raises(PhysicsError, match="expected > 0"):
        time_integrated_activity([1.0], [rate])


def test_nan_and_reversed_intervals_are_refused() -> None:
    with pytest.raises(PhysicsError, match="NaN"):
        time_integrated_activity([np.nan], [0.1])
    with pytest.raises(PhysicsError, match="start ≤ end"):
        integral_between([1.0], [0.1], 10.0, 5.0)
