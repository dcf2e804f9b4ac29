"""Time to event: equal to R's survival package and to tables worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.support.interim_reference import Table, r_numbers

from lutetia.errors import InputError
from lutetia.safety.statistics import survival as s
from lutetia.safety.statistics.gray import gray_test
from lutetia.safety.statistics.results import NotEstimable, Result

SUBJECTS = Table("subjects")
TIME, CAUSE, ARM = SUBJECTS.numbers("time"), SUBJECTS.numbers("cause"), SUBJECTS.names("arm").tolist()


def curve(found: s.Curve | NotEstimable) -> s.Curve:
    assert isinstance(found, s.Curve)
    return found


def estimates(found: s.Curve, times: list[float]) -> list[Result]:
    values = [s.at_time(found, t) for t in times]
    assert all(isinstance(v, Result) for v in values)
    return [v for v in values if isinstance(v, Result)]


def test_kaplan_meier_is_that_of_r() -> None:
    found, expected = curve(s.kaplan_meier(TIME, CAUSE > 0)), r_numbers()["kaplan_meier"]
    values = estimates(found, expected["at"])
    assert [v.estimate for v in values] == pytest.approx(expected["survival"], rel=1e-9)
    assert [v.low for v in values] == pytest.approx(expected["low"], rel=1e-9)
    assert [v.high for v in values] == pytest.approx(expected["high"], rel=1e-9)
    assert list(s.numbers_at_risk(TIME, expected["at"])) == expected["at_risk"]


def test_median_time_is_that_of_r() -> None:
    found = s.median_time(curve(s.kaplan_meier(TIME, CAUSE > 0)))
    assert isinstance(found, Result)
    assert [found.estimate, found.low, found.high] == pytest.approx(r_numbers()["kaplan_meier"]["median"])


def test_kaplan_meier_of_five_subjects_by_hand() -> None:
    """Events at 1 and 3, censored at 2, 3 and 4: S = 4/5, then 4/5 · 2/3; at 3 the event comes before the censoring."""
    found = curve(s.kaplan_meier([1, 2, 3, 3, 4], [1, 0, 1, 0, 0]))
    assert found.value == pytest.approx((0.8, 0.8, 0.8 * 2 / 3, 0.8 * 2 / 3))
    assert found.at_risk == (5, 4, 3, 1)
    greenwood = 0.8 * 2 / 3 * math.sqrt(1 / (5 * 4) + 1 / (3 * 2))
    assert found.se[2] == pytest.approx(greenwood)


def test_cumulative_incidence_is_that_of_r() -> None:
    expected = r_numbers()["aalen_johansen"]
    first, second = (curve(s.aalen_johansen(TIME, CAUSE, k)) for k in (1, 2))
    values = estimates(first, expected["at"])
    assert [v.estimate for v in values] == pytest.approx(expected["incidence_1"], rel=1e-9)
    assert [v.estimate for v in values] == pytest.approx(expected["cuminc_1"], rel=1e-9)
    assert [v.estimate for v in estimates(second, expected["at"])] == pytest.approx(expected["incidence_2"], rel=1e-9)
    places = np.searchsorted(first.time, expected["at"], side="right") - 1
    assert [first.se[i] for i in places] == pytest.approx(expected["se_1"], rel=1e-9)


def test_incidences_of_all_causes_and_those_without_event_add_up_to_one() -> None:
    free = curve(s.kaplan_meier(TIME, CAUSE > 0)).value
    parts = [curve(s.aalen_johansen(TIME, CAUSE, k)).value for k in (1, 2)]
    assert np.array(parts).sum(axis=0) + np.array(free) == pytest.approx(1.0)


def test_without_competing_events_incidence_is_one_less_kaplan_meier() -> None:
    one = curve(s.aalen_johansen(TIME, CAUSE > 0))
    other = curve(s.kaplan_meier(TIME, CAUSE > 0))
    assert np.array(one.value) == pytest.approx(1.0 - np.array(other.value))
    assert one.se[:-1] == pytest.approx(other.se[:-1])


def test_interval_of_the_incidence_covers() -> None:
    g = np.random.default_rng(1)
    true, held, runs = 0.5 * (1.0 - math.exp(-1.0)), 0, 400
    for _ in range(runs):
        t, cause, censored = g.exponential(10, 40), g.choice([1, 2], 40), g.uniform(4, 40, 40)
        found = curve(s.aalen_johansen(np.minimum(t, censored), np.where(t < censored, cause, 0)))
        value = s.at_time(found, 10.0)
        assert isinstance(value, Result)
        held += value.low is not None and value.high is not None and value.low <= true <= value.high
    assert 0.92 <= held / runs <= 0.98


def test_log_rank_is_that_of_r() -> None:
    found, expected = s.log_rank(TIME, CAUSE > 0, ARM), r_numbers()["log_rank"]
    assert isinstance(found, s.CurveTest)
    assert found.chi2 == pytest.approx(expected["chi2"], rel=1e-9)
    assert found.expected == pytest.approx(expected["expected"], rel=1e-9)
    assert sum(found.observed) == pytest.approx(sum(found.expected))
    assert found.df == 3


def test_cause_specific_log_rank_is_that_of_r() -> None:
    found = s.log_rank(TIME, CAUSE, ARM, cause=1)
    assert isinstance(found, s.CurveTest)
    assert found.chi2 == pytest.approx(r_numbers()["log_rank"]["cause_1_chi2"], rel=1e-9)
    assert "cause-specific" in found.method


def test_gray_is_that_of_cmprsk() -> None:
    expected = r_numbers()["gray"]
    for cause in (1, 2):
        found = gray_test(TIME, CAUSE, ARM, cause=cause)
        assert isinstance(found, s.CurveTest)
        assert found.chi2 == pytest.approx(expected["chi2"][cause - 1], rel=1e-9)
        assert found.p == pytest.approx(expected["p"][cause - 1], rel=1e-9)
        assert found.df == 3
        two = gray_test(TIME, CAUSE, ["x" if a in "AD" else "y" for a in ARM], cause=cause)
        assert isinstance(two, s.CurveTest)
        assert two.chi2 == pytest.approx(expected["two_groups_chi2"][cause - 1], rel=1e-9)


def test_gray_without_events_or_groups_is_not_estimable() -> None:
    for found in (gray_test([1, 2, 3], [0, 2, 2], list("aab")), gray_test([1, 2], [1, 1], list("aa")),
                  gray_test([], [], [])):  # fmt: skip
        assert isinstance(found, NotEstimable)


def test_no_events_give_a_flat_curve_without_interval_and_no_test() -> None:
    found = curve(s.kaplan_meier([5, 8, 9], [0, 0, 0]))
    value = s.at_time(found, 6)
    assert isinstance(value, Result)
    assert (value.estimate, value.low, value.high) == (1.0, None, None)
    assert "no events" in found.warnings[0]
    assert isinstance(s.median_time(found), NotEstimable)
    assert s.log_rank([5, 8, 9], [0, 0, 0], ["a", "a", "b"]) == NotEstimable("no events", 3, s.LOG_RANK)


def test_nothing_is_said_beyond_the_last_observation() -> None:
    found = curve(s.kaplan_meier([5, 8, 9], [1, 0, 0]))
    assert isinstance(s.at_time(found, 12), NotEstimable)
    ended = curve(s.kaplan_meier([5, 8], [1, 1]))
    value = s.at_time(ended, 12)
    assert isinstance(value, Result)
    assert value.estimate == 0.0


def test_empty_and_single_groups_are_not_estimable() -> None:
    for found in (s.kaplan_meier([], []), s.aalen_johansen([], []), s.log_rank([1, 2], [1, 1], ["a", "a"]),
                  s.log_rank([], [], [])):  # fmt: skip
        assert isinstance(found, NotEstimable)


def test_one_subject_has_a_curve() -> None:
    found = curve(s.kaplan_meier([4.0], [1]))
    assert found.value == (0.0,)
    median = s.median_time(found)
    assert isinstance(median, Result)
    assert median.estimate == 4.0


def test_missing_times_are_left_out_and_said() -> None:
    found = curve(s.kaplan_meier([1.0, float("nan"), 3.0], [1, 1, 0]))
    assert found.n == 2
    assert found.warnings == ("subjects: 1 missing value left out",)


def test_negative_times_are_refused() -> None:
    with pytest.raises(InputError, match="times ≥ 0"):
        s.kaplan_meier([-1.0], [1])
