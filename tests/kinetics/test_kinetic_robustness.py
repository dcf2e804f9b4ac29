"""The robustness and coverage that the fits must keep, from the same studies as the validation command."""

from __future__ import annotations

import pytest
from benchmarks.validation_kinetics import COVERAGE, FOUR_POINTS, LIMITS, THREE_LATE, accuracy, coverage


@pytest.mark.parametrize(
    ("family", "times", "limit"),
    [("mono", FOUR_POINTS, "mono_4"), ("uptake", FOUR_POINTS, "uptake_4"), ("mono", THREE_LATE, "mono_3_late")],
)
def test_time_integrated_activity_of_300_noisy_kidneys_stays_within_the_limit(
    family: str, times: tuple[float, ...], limit: str
) -> None:
    assert accuracy(family, times) <= LIMITS[limit]


@pytest.mark.parametrize("times", [FOUR_POINTS, THREE_LATE], ids=["four", "three late"])
def test_intervals_cover_truths_that_are_in_no_model(times: tuple[float, ...]) -> None:
    assert COVERAGE[0] <= coverage(times)["all"] <= COVERAGE[1]
