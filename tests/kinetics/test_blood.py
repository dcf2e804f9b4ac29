"""Blood and whole-body curves, and population priors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lutetia.core.chain import TimeActivity
from lutetia.core.draws import Estimate, exact, normals, stream
from lutetia.errors import FitError, PhysicsError
from lutetia.kinetics.blood import fit_blood, fit_whole_body
from lutetia.kinetics.integrate import activity_at, time_integrated_activity
from lutetia.kinetics.population import LognormalPrior, population_prior
from lutetia.nuclear.nuclides import nuclide

RATE = nuclide("Lu-177").decay_constant_per_h
BLOOD = ([0.05, 0.004], [np.log(2) / 1.5, np.log(2) / 30])
BODY = ([3700.0, 3700.0], [np.log(2) / 60, np.log(2) / 3])


def curve(region: str, truth: tuple[list[float], list[float]], time_h: list[float], sd: float = 0.04) -> TimeActivity:
    time = np.array(time_h)
    value = activity_at(*truth, time)
    drawn = value * (1 + sd * normals(stream(1, region), (300, len(time))))
    return TimeActivity(region, "Lu-177", time, Estimate(value, drawn), sd * value)


def test_eight_blood_samples_give_the_bi_exponential_integral() -> None:
    fit, total = fit_blood(curve("blood", BLOOD, [0.1, 0.5, 1, 2, 4, 24, 48, 96]))
    assert fit.model == "bi"
    assert total.value == pytest.approx(time_integrated_activity(*BLOOD), rel=1e-4)
    assert 0.0 < total.sd / total.value < 0.15


@pytest.mark.parametrize("times", [[0.5, 4, 24, 72], [0.5, 4, 24], [1, 24]])
def test_few_blood_samples_use_priors_and_widen(times: list[float]) -> None:
    fit, total = fit_blood(curve("blood", BLOOD, times))
    low, high = total.interval
    assert fit.model == "bi_prior"
    assert low < time_integrated_activity(*BLOOD) < high


def test_whole_body_starts_at_the_administered_activity() -> None:
    fit, total = fit_whole_body(curve("whole body", BODY, [1, 4, 24, 96, 168]), exact(7400.0, 300))
    assert fit.coefficient_MBq.value.sum() == pytest.approx(7400.0, rel=1e-12)
    assert total.value == pytest.approx(time_integrated_activity(*BODY), rel=0.01)


@pytest.mark.parametrize("times", [[24.0], [24.0, 168.0], [1.0, 24.0]])
def test_few_whole_body_points_stay_within_the_physical_bound_and_cover_the_truth(times: list[float]) -> None:
    _, total = fit_whole_body(curve("whole body", BODY, times), exact(7400.0, 300))
    assert total.draws.max() <= 7400.0 / RATE * (1 + 1e-9)
    assert total.interval[0] < time_integrated_activity(*BODY) < total.interval[1]


def test_a_measurement_at_zero_is_replaced_by_the_constraint() -> None:
    with_zero, _ = fit_whole_body(curve("whole body", BODY, [0, 1, 4, 24, 96]), exact(7000.0, 300))
    assert with_zero.coefficient_MBq.value.sum() == pytest.approx(7000.0)


def test_more_activity_than_administered_is_doubted_on_the_first_line() -> None:
    fit, _ = fit_whole_body(curve("whole body", BODY, [1, 4, 24, 96]), exact(4000.0, 300))
    assert {d.severity for d in fit.doubts if d.code == "more_than_administered"} == {"first-line"}


def test_impossible_whole_body_inputs_are_refused() -> None:
    body = curve("whole body", BODY, [1, 24])
    with pytest.raises(PhysicsError, match="administered activity"):
        fit_whole_body(body, exact(0.0, 300))
    with pytest.raises(FitError, match="draws"):
        fit_whole_body(body, exact(7400.0, 7))
    with pytest.raises(FitError, match="after 0 h"):
        fit_whole_body(curve("whole body", BODY, [0]), exact(7400.0, 300))


@pytest.mark.parametrize("region", ["kidneys", "left kidney", "tumour 3", "vertebra L2", "blood", "salivary gland"])
@pytest.mark.parametrize("name", ["Lu-177", "Y-90"])
def test_every_region_has_priors_that_fit_its_nuclide(region: str, name: str) -> None:
    prior = population_prior(region, name)
    assert 0 < prior.uptake.median_h < prior.effective.median_h < nuclide(name).half_life_h
    assert prior.effective.assumption
    assert prior.effective.source


def test_single_kidneys_share_the_prior_of_the_pair() -> None:
    assert population_prior("left kidney") == population_prior("kidneys")


def test_the_prior_of_another_nuclide_keeps_the_biology() -> None:
    lu, y = (population_prior("liver", n).effective.median_h for n in ("Lu-177", "Y-90"))
    biological = np.log(2) / lu - RATE
    assert np.log(2) / y - nuclide("Y-90").decay_constant_per_h == pytest.approx(biological, rel=1e-9)


@pytest.mark.parametrize(("median", "spread"), [(0.0, 0.2), (50.0, 0.0), (float("nan"), 0.2)])
def test_an_impossible_prior_is_refused(median: float, spread: float) -> None:
    with pytest.raises(PhysicsError, match="prior half-life"):
        LognormalPrior(median, spread)


def test_quantiles_of_a_prior_are_lognormal() -> None:
    scores: NDArray[np.float64] = np.array([-1.0, 0.0, 1.0])
    assert LognormalPrior(50.0, 0.3).quantile_h(scores) == pytest.approx(50 * np.exp(0.3 * scores))
