"""One scan a cycle: the nominal curves are those of the kinetics layer, and the known facts come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lutetia.core.chain import TimeActivity
from lutetia.core.draws import Estimate, exact
from lutetia.errors import InputError, UnknownNameError
from lutetia.kinetics.fit import fit_time_activity
from lutetia.kinetics.single_time import POPULATION_METHODS, own_half_life
from lutetia.nuclear.nuclides import nuclide
from lutetia.simulate.population import packaged_measurement, read_population, without_errors
from lutetia.simulate.single_point import (
    HOURS,
    METHODS,
    OWN,
    best_hour,
    best_of_days,
    single_point_curves,
    single_point_errors,
    single_point_record,
)
from lutetia.simulate.single_point_report import single_point_document, single_point_rows

POPULATION, MEASUREMENT = read_population(), packaged_measurement()


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return single_point_record(POPULATION, MEASUREMENT, subjects=4000)


@pytest.mark.parametrize("method", list(POPULATION_METHODS))
def test_all_subjects_at_once_get_the_nominal_curve_of_the_kinetics_layer(method: str) -> None:
    activity = np.array([[0.3, 4.0], [12.0, 700.0]])
    coefficient, rate = single_point_curves(method, 72.0, activity, region="kidneys")
    for place in np.ndindex(2, 2):
        value = activity[place]
        one = TimeActivity(
            "kidneys",
            "Lu-177",
            np.array([72.0]),
            Estimate(np.array([value]), np.array([[value]])),
            0.1 * activity[:1, 0],
        )
        fit = POPULATION_METHODS[method](one)
        np.testing.assert_allclose(coefficient[place], fit.coefficient_MBq.value, rtol=1e-12)
        np.testing.assert_allclose(rate[place], fit.rate_per_h.value, rtol=1e-12)


def test_the_own_half_life_is_that_of_the_kinetics_layer() -> None:
    times = np.array([4.0, 24.0, 72.0, 168.0])
    points = 20.0 * np.exp(-np.log(2.0) / 55.0 * times) * np.array([1.03, 0.96, 1.02, 1.01])
    curve = TimeActivity("kidneys", "Lu-177", times, exact(points, 2), 0.05 * points)
    earlier = fit_time_activity(curve, physical_rate_per_h=nuclide("Lu-177").decay_constant_per_h, choice="mono")
    new = TimeActivity("kidneys", "Lu-177", np.array([48.0]), exact(np.array([9.0]), 2), np.array([0.1]))
    expected = own_half_life(new, earlier)
    found = single_point_curves(
        OWN, 48.0, np.array(9.0), region="kidneys",
        earlier=(earlier.coefficient_MBq.value, earlier.rate_per_h.value),
    )  # fmt: skip
    np.testing.assert_allclose(found[0], expected.coefficient_MBq.value, rtol=1e-12)
    np.testing.assert_allclose(found[1], expected.rate_per_h.value, rtol=1e-12)


@pytest.mark.parametrize("method", list(POPULATION_METHODS))
def test_the_best_day_is_the_third_for_lutetium_and_the_second_for_yttrium(record: dict[str, Any], method: str) -> None:
    assert best_of_days(record, method, "Lu-177") == 72.0
    assert best_of_days(record, method, "Y-90") == 48.0


def test_the_best_hours_are_near_the_effective_half_life_over_ln_2(record: dict[str, Any]) -> None:
    for row in record["best_hours"]:
        assert row["scan_h"] == pytest.approx(row["expected_h"], rel=0.15)
    assert {round(row["expected_h"]) for row in record["best_hours"]} == {72, 49}


def test_the_own_half_life_misleads_least_everywhere(record: dict[str, Any]) -> None:
    share = {(r["method"], r["nuclide"], r["scan_h"]): r["share_off_by_more_than_10_percent"] for r in record["rows"]}
    for name in ("Lu-177", "Y-90"):
        for hour in HOURS:
            assert all(share[OWN, name, hour] < share[method, name, hour] for method in POPULATION_METHODS)


def test_without_noise_and_without_change_between_cycles_the_own_half_life_is_exact() -> None:
    errors = single_point_errors(POPULATION, without_errors(MEASUREMENT), hours=(48.0,), subjects=500)
    assert np.quantile(np.abs(errors[OWN, "Lu-177", 48.0]), 0.95) < 0.05
    assert abs(np.median(errors[OWN, "Lu-177", 48.0])) < 0.005


def test_the_best_hour_is_the_lowest_point_of_a_parabola() -> None:
    hours = (10.0, 20.0, 30.0, 40.0)
    counts = {10.0: 50, 20.0: 20, 30.0: 30, 40.0: 80}
    errors = {("m", "n", h): np.where(np.arange(100) < counts[h], 1.0, 0.0) for h in hours}
    # parabola through (10, 50), (20, 20), (30, 30)
    assert best_hour(errors, "m", "n") == pytest.approx(22.5)


def test_the_document_shows_every_method_and_hour(record: dict[str, Any]) -> None:
    titles, lines = single_point_rows(record)
    assert len(titles) == 2 + len(HOURS)
    assert len(lines) == 2 * len(METHODS)
    assert len(single_point_document(record).blocks) == 7


def test_unknown_methods_and_a_missing_earlier_curve_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="known: bayesian, haenscheid, madsen, own half-life"):
        single_point_curves("guess", 24.0, np.ones(1), region="kidneys")
    with pytest.raises(InputError, match="no earlier curve"):
        single_point_curves(OWN, 24.0, np.ones(1), region="kidneys")
