"""Intervals hold the truth as often as they say, and probabilities come true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lutetia.protocol.profile import read_protocol
from lutetia.simulate.calibration import RELIABILITY, calibration_counts, calibration_record, no_counts
from lutetia.simulate.population import REGIONS, packaged_measurement, read_population, without_errors
from lutetia.simulate.trials import Block, arm_doses, draw_block, run_block
from lutetia.simulate.uncertainty import draw_courses

POPULATION, MEASUREMENT = read_population(), packaged_measurement()


def drawn_block(level: str = "analytic", protocol: str = "duonen", **options: Any) -> Block:
    settings = {"trials": 20, "per_trial": 56, "seed": 4, "level": level} | options
    measurement = settings.pop("measurement", MEASUREMENT)
    return draw_block(read_protocol(protocol), POPULATION, measurement, **settings)


@pytest.mark.parametrize(("level", "low", "high"), [("analytic", 0.93, 0.97), ("fitted", 0.92, 0.98)])
def test_intervals_of_a_nominal_95_percent_hold_the_truth_as_often(level: str, low: float, high: float) -> None:
    block = drawn_block(level)
    counts = calibration_counts(block, run_block(block), subjects=240 if level == "analytic" else 60)
    for row in calibration_record(counts)["coverage"]:
        assert row["intervals"] >= 200
        assert low < row["share_that_holds_the_truth"] < high


def test_probabilities_over_a_limit_come_true() -> None:
    block = drawn_block()
    for row in calibration_record(calibration_counts(block, run_block(block), subjects=240))["reliability"]:
        assert row["mean_error"] < 0.03
        for part in row["bins"]:
            if part["forecasts"] >= 200:
                assert part["came_true"] == pytest.approx(part["said"], abs=0.10)


def test_intervals_that_ignore_the_errors_do_not_hold_the_truth() -> None:
    block = drawn_block()
    courses = run_block(block)
    sure = replace(block, measurement=replace(without_errors(MEASUREMENT), fit=0.01))
    for row in calibration_record(calibration_counts(sure, courses, subjects=60))["coverage"]:
        assert row["share_that_holds_the_truth"] < 0.5


def test_spreads_of_sums_show_what_cycles_share() -> None:
    block = drawn_block()
    drawn = draw_courses(block, "A", run_block(block)["A"], draws=400, subjects=100)
    kidneys = drawn.dose_Gy[..., REGIONS.index("kidneys")]
    once = np.median(kidneys[:, :, 1].std(axis=0) / kidneys[:, :, 1].mean(axis=0))
    total = np.median(kidneys.sum(axis=2).std(axis=0) / kidneys.sum(axis=2).mean(axis=0))
    m = MEASUREMENT
    own = m.calibration_cycle**2 + m.segmentation**2 + m.fit**2
    shared = m.calibration_site**2 + m.recovery**2
    assert once == pytest.approx(np.sqrt(shared + own), rel=0.05)
    assert total == pytest.approx(np.sqrt(shared + own / 4.0), rel=0.06)
    assert total > once / 2.0 * 1.2


def test_without_errors_every_draw_is_the_true_dose() -> None:
    block = drawn_block(measurement=without_errors(MEASUREMENT), trials=1)
    courses = run_block(block)["B"]
    drawn = draw_courses(block, "B", courses, draws=3)
    np.testing.assert_allclose(drawn.dose_Gy, np.broadcast_to(courses.true_Gy, drawn.dose_Gy.shape), rtol=1e-12)


def test_a_forecast_is_centred_on_what_the_decision_saw() -> None:
    block = drawn_block(trials=4)
    courses = run_block(block)["B"]
    drawn = draw_courses(block, "B", courses, draws=400, subjects=40)
    seen = courses.given_Gy[:40, 2] + courses.next_Gy[:40, 2]
    # median over subjects: a single subject's draws scatter
    assert np.nanmedian(np.median(drawn.next_Gy[:, :, 2], axis=0) / seen) == pytest.approx(1.0, abs=0.01)


def test_a_limit_of_bed_gets_draws_with_its_quadratic_part() -> None:
    block = drawn_block(protocol="iluminet", trials=1, per_trial=20)
    arm = block.arms[0]
    courses = run_block(block)[arm]
    drawn = draw_courses(block, arm, courses, draws=400)
    i = int(np.flatnonzero(courses.rules.bed)[0])
    doses = arm_doses(block, arm)
    absorbed = (doses.measured[:, 0, 0] * courses.prescribed_MBq[:, 1]).sum(axis=-1)
    seen = courses.given_Gy[:, 1, i] + courses.next_Gy[:, 1, i]
    measured = ~doses.missed[:, 0]
    ratio = np.median(drawn.next_Gy[:, :, 1, i], axis=0)[measured] / seen[measured]
    assert np.nanmedian(ratio) == pytest.approx(1.0, abs=0.02)
    assert np.nanmin(seen[measured] - 2.0 * absorbed[measured]) > 0.0


def test_trials_that_are_not_judged_count_nothing() -> None:
    record = calibration_record(no_counts(3))
    assert {row["share_that_holds_the_truth"] for row in record["coverage"]} == {None}
    assert {row["mean_error"] for row in record["reliability"]} == {None}
    assert no_counts(3)[RELIABILITY].sum() == 0.0
