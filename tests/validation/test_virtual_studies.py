"""Studies of virtual subjects: their figures lie within their bounds, and a bad figure would not."""

from __future__ import annotations

from typing import Any

import pytest

from lutetia.validation.notes import NOTES
from lutetia.validation.single_scan import STUDY, single_scan_study
from lutetia.validation.studies import STUDIES
from lutetia.validation.trial_calibration import FEWEST, level_calibration, worst_class
from lutetia.validation.trial_calibration import STUDY as CALIBRATION


def test_the_facts_of_single_scans_hold() -> None:
    checks = single_scan_study()
    assert len(checks) == 17
    assert {check.study for check in checks} == {STUDY}
    assert all(check.holds for check in checks)


def test_one_block_of_trials_is_calibrated() -> None:
    record = level_calibration("analytic", 1, 150)
    for row in record["coverage"]:
        assert row["share_that_holds_the_truth"] == pytest.approx(0.95, abs=0.025)
    for row in record["reliability"]:
        assert row["mean_error"] < 0.03


def test_the_worst_class_is_the_one_with_enough_forecasts() -> None:
    def part(forecasts: int, said: float, came_true: float) -> dict[str, Any]:
        return {"forecasts": forecasts, "said": said, "came_true": came_true}

    bins = [part(FEWEST - 1, 0.1, 0.9), part(FEWEST, 0.35, 0.30), part(10 * FEWEST, 0.99, 0.98)]
    assert worst_class({"bins": bins}) == pytest.approx(5.0)


def test_both_studies_are_registered_and_explained() -> None:
    assert {"single-scan", "trial-calibration"} <= set(STUDIES)
    assert {STUDY, CALIBRATION} <= set(NOTES)
