"""One measurement: Hänscheid, Madsen, population prior, and the subject's own earlier half-life."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lutetia.core.chain import KineticFit, TimeActivity
from lutetia.core.draws import Estimate, combine, normals, stream
from lutetia.errors import FitError, PhysicsError
from lutetia.kinetics.fit import fit_time_activity
from lutetia.kinetics.integrate import activity_at, effective_half_life_h, time_integrated_activity
from lutetia.kinetics.population import population_prior
from lutetia.kinetics.single_time import POPULATION_METHODS, bayesian, haenscheid, madsen, own_half_life
from lutetia.nuclear.nuclides import nuclide

RATE = nuclide("Lu-177").decay_constant_per_h
LINES = (
    (Path(__file__).parents[1] / "reference" / "single_time_haenscheid.csv").read_text(encoding="utf-8").splitlines()
)
ROWS = list(csv.DictReader(x for x in LINES if not x.startswith("#")))


def point(time_h: float, value: float, *, draws: int = 400, region: str = "kidneys") -> TimeActivity:
    drawn = np.maximum(value * (1 + 0.03 * normals(stream(1, "point"), (draws, 1))), 0)
    return TimeActivity(
        region, "Lu-177", np.array([time_h]), Estimate(np.array([value]), drawn), np.array([0.03 * value])
    )


def total(fit: KineticFit) -> Estimate:
    return combine(time_integrated_activity, fit.coefficient_MBq, fit.rate_per_h)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['t_h']} h of {r['Teff_h']} h")
def test_haenscheid_reproduces_the_tabulated_error(row: dict[str, str]) -> None:
    time, half_life = float(row["t_h"]), float(row["Teff_h"])
    fit = haenscheid(point(time, 100 * 2 ** (-time / half_life)))
    assert total(fit).value * np.log(2) / (100 * half_life) == pytest.approx(float(row["ratio_est_to_true"]), abs=1e-6)


def test_madsen_is_exact_at_the_population_half_life() -> None:
    median = population_prior("kidneys").effective.median_h
    fit = madsen(point(72.0, 100 * 2 ** (-72 / median)))
    assert total(fit).value == pytest.approx(100 * median / np.log(2), rel=1e-3)


@pytest.mark.parametrize("method", POPULATION_METHODS.values(), ids=POPULATION_METHODS)
def test_draws_spread_by_the_population_and_stay_below_the_physical_half_life(method: object) -> None:
    fit = method(point(24.0, 50.0, draws=1000))  # type: ignore[operator]
    half_lives = effective_half_life_h(fit.coefficient_MBq.draws, fit.rate_per_h.draws)
    assert half_lives.max() <= nuclide("Lu-177").half_life_h * (1 + 1e-12)
    assert np.log(half_lives).std() == pytest.approx(0.25, rel=0.1)
    assert "single_time_point" in {d.code for d in fit.doubts}
    estimate = total(fit)
    assert estimate.sd / estimate.draws.mean() > 0.12


def test_a_better_time_gives_a_narrower_result() -> None:
    early, best = total(bayesian(point(24.0, 72.6))), total(bayesian(point(72.0, 38.3)))
    assert best.sd / best.value < early.sd / early.value


def test_the_bayesian_curve_passes_through_the_point_and_starts_at_zero() -> None:
    fit = bayesian(point(72.0, 40.0))
    assert activity_at(fit.coefficient_MBq.value, fit.rate_per_h.value, [0.0, 72.0]) == pytest.approx(
        [0.0, 40.0], abs=1e-9
    )


@pytest.mark.parametrize(("time", "doubted"), [(24.0, True), (72.0, False), (168.0, True)])
def test_times_outside_the_valid_range_are_doubted(time: float, doubted: bool) -> None:
    found = {d.code for d in haenscheid(point(time, 10.0)).doubts}
    assert ("single_time_out_of_range" in found) is doubted


def test_the_own_half_life_of_an_earlier_cycle_is_reused() -> None:
    time = np.array([4.0, 24, 96, 168])
    value = 100 * 2 ** (-time / 80)
    drawn = value * (1 + 0.03 * normals(stream(5, "own"), (400, 4)))
    earlier = fit_time_activity(
        TimeActivity("kidneys", "Lu-177", time, Estimate(value, drawn), 0.03 * value), physical_rate_per_h=RATE
    )
    fit = own_half_life(point(24.0, 50 * 2 ** (-24 / 80)), earlier, cycle=2)
    assert total(fit).value == pytest.approx(50 * 80 / np.log(2), rel=1e-3)
    population = total(madsen(point(24.0, 50 * 2 ** (-24 / 80))))
    assert total(fit).sd / total(fit).value < population.sd / population.value
    with pytest.raises(FitError, match="same region"):
        own_half_life(point(24.0, 5.0, region="liver"), earlier)
    with pytest.raises(FitError, match="draws"):
        own_half_life(point(24.0, 5.0, draws=10), earlier)


def test_what_is_not_one_positive_point_after_the_infusion_is_refused() -> None:
    with pytest.raises(PhysicsError, match="single measurement at 0 h"):
        madsen(point(0.0, 5.0))
    with pytest.raises(PhysicsError, match="zero activity"):
        madsen(point(24.0, 0.0))
    two = TimeActivity("liver", "Lu-177", np.array([1.0, 2]), Estimate(np.ones(2), np.ones((3, 2))), np.ones(2))
    with pytest.raises(FitError, match="found 2 points"):
        madsen(two)
