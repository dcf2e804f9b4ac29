"""The robustness and coverage that the fits must keep, from the same studies as the validation command."""

from __future__ import annotations

import pytest

from lutetia.validation.kinetics import COVERAGE_PERCENT, FOUR_POINTS, THREE_LATE, accuracy, coverage


@pytest.mark.parametrize(
    ("family", "times", "limit"),
    [("mono", FOUR_POINTS, 0.06), ("uptake", FOUR_POINTS, 0.14), ("mono", THREE_LATE, 0.08)],
)
def test_time_integrated_activity_of_300_noisy_kidneys_stays_within_the_limit(
    family: str, times: tuple[float, ...], limit: float
) -> None:
    assert accuracy(family, times) <= limit


@pytest.mark.parametrize("times", [FOUR_POINTS, THREE_LATE], ids=["four", "three late"])
def test_intervals_cover_truths_that_are_in_no_model(times: tuple[float, ...]) -> None:
    assert COVERAGE_PERCENT[0] <= 100.0 * coverage(times)["all"] <= COVERAGE_PERCENT[1]
