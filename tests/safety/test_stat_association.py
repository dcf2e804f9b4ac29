"""Dose and effect: equal to R, to refitting without each subject, and right on simulated trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from tests.support.interim_reference import Table, r_numbers

from lutetia.errors import InputError
from lutetia.safety.statistics import association as a
from lutetia.safety.statistics import correlation as c
from lutetia.safety.statistics import modification as m
from lutetia.safety.statistics.bootstrap import resample_indices
from lutetia.safety.statistics.resampling import dense_ranks, spearman_of_rows
from lutetia.safety.statistics.results import NotEstimable, Result
from lutetia.validation import dose_effect as study

SUBJECTS = Table("subjects")
DOSE, CHANGE, SD = (SUBJECTS.numbers(name) for name in ("dose", "change", "sd"))
ARM = SUBJECTS.names("arm").tolist()


def result(found: Result | NotEstimable) -> Result:
    assert isinstance(found, Result), found
    return found


def test_primary_slope_is_that_of_r() -> None:
    found, expected = result(a.dose_effect(DOSE, CHANGE, ARM)), r_numbers()["dose_effect"]
    assert (found.estimate, found.df, found.p) == pytest.approx(
        (expected["slope"], expected["df"], expected["p"]), rel=1e-9
    )
    assert [found.low, found.high] == pytest.approx(expected["interval"], rel=1e-9)
    assert "HC3" in found.method


def test_differences_between_arms_do_not_enter_the_slope() -> None:
    shift = np.array([{"A": 0.0, "B": -3.0, "C": 1.0, "D": 5.0}[arm] for arm in ARM])
    assert result(a.dose_effect(DOSE, CHANGE + shift, ARM)).estimate == pytest.approx(
        result(a.dose_effect(DOSE, CHANGE, ARM)).estimate, rel=1e-12
    )


def test_the_slope_as_percent_change() -> None:
    found = a.percent_change(Result("slope per Gy", -1.0, -1.5, -0.5, 0.01, 20, "x"), 0.1)
    assert found.estimate == pytest.approx(100 * (math.exp(-0.1) - 1))
    assert (found.low, found.high) == pytest.approx((100 * (math.exp(-0.15) - 1), 100 * (math.exp(-0.05) - 1)))


def test_the_order_of_rows_does_not_matter() -> None:
    back = slice(None, None, -1)
    assert a.dose_effect(DOSE[back], CHANGE[back], ARM[back]) == a.dose_effect(DOSE, CHANGE, ARM)
    assert c.spearman(DOSE[back], CHANGE[back], resamples=500) == c.spearman(DOSE, CHANGE, resamples=500)
    assert c.spearman_within_arm(DOSE[back], CHANGE[back], ARM[back], resamples=500) == c.spearman_within_arm(
        DOSE, CHANGE, ARM, resamples=500
    )


@pytest.mark.parametrize(
    ("dose", "change", "arm", "reason"),
    [
        ([], [], [], "0 subjects"),
        ([0.1, 0.2], [1.0, 2.0], ["A", "B"], "0 subjects"),
        ([0.1, 0.1, 0.1, 0.2, 0.2], [1.0, 2.0, 3.0, 4.0, 5.0], list("AAABB"), "the dose does not vary within arms"),
        ([0.1, 0.2, 0.3, 0.4], [1.0, 1.0, 1.0, 1.0], list("AAAA"), "the change does not vary within arms"),
        ([float("nan")] * 4, [1.0, 2.0, 3.0, 4.0], list("AAAA"), "0 subjects"),
        ([0.1, 0.1, 0.1, 0.1, 0.5], [1.0, 2.0, 3.0, 4.0, 5.0], list("AAAAA"), "one subject alone determines"),
    ],
)
def test_a_slope_that_the_data_cannot_carry(
    dose: list[float], change: list[float], arm: list[str], reason: str
) -> None:
    found = a.dose_effect(dose, change, arm)
    assert isinstance(found, NotEstimable)
    assert reason in found.reason


def test_an_arm_with_one_subject_is_left_out_and_named() -> None:
    found = result(a.dose_effect([*DOSE, 0.9], [*CHANGE, 0.9], [*ARM, "E"]))
    assert found.n == 48
    assert found.warnings == ("arm E has one subject and is left out",)


def test_attenuation_recovers_the_slope_per_true_gy() -> None:
    g = np.random.default_rng(2)
    true = g.lognormal(-2.0, 0.4, 40_000)
    sd = np.full(40_000, 0.05)
    measured, arm = true + g.normal(0, sd), np.array(list("ABCD") * 10_000)
    y = -1.3 * true + g.normal(0, 0.1, 40_000)
    slope = result(a.dose_effect(measured, y, arm.tolist()))
    found = a.attenuation(slope, measured, sd, arm.tolist())
    assert isinstance(found, a.Attenuation)
    assert abs(slope.estimate) < 0.85 * 1.3
    assert found.corrected.estimate == pytest.approx(-1.3, rel=0.04)
    assert found.reliability == pytest.approx(true.var() / measured.var(), rel=0.03)


def test_a_dose_that_is_all_error_is_not_corrected() -> None:
    found = a.attenuation(result(a.dose_effect(DOSE, CHANGE, ARM)), DOSE, np.full(len(DOSE), 10.0), ARM)
    assert isinstance(found, NotEstimable)
    assert "arbitrary" in found.reason


def test_exposure_counts_cycles_begun_before_the_sample_and_never_a_later_dose() -> None:
    found = a.exposure_to_date(
        ["s", "s", "s", "t", "u"], [-1.0, 30.0, 80.0, 30.0, 60.0], cycle_subject=["s", "s", "t", "u", "u"],
        cycle_start=[0.0, 56.0, 0.0, 0.0, 56.0], cycle_dose_Gy=[0.2, 0.3, 0.5, 0.1, float("nan")],
    )  # fmt: skip
    assert found[:4] == pytest.approx([0.0, 0.2, 0.5, 0.5])
    assert np.isnan(found[4])


def test_a_sample_at_the_infusion_counts_as_before_it() -> None:
    found = a.exposure_to_date(
        ["s"], [56.0], cycle_subject=["s", "s"], cycle_start=[0.0, 56.0], cycle_dose_Gy=[1.0, 2.0]
    )
    assert found == pytest.approx([1.0])


def test_secondary_slope_is_least_squares_and_its_error_the_jackknife_of_subjects() -> None:
    g = np.random.default_rng(4)
    subject = np.repeat(np.arange(20), 4)
    arm = np.array(list("AB"))[subject % 2]
    x = g.uniform(0, 1, 80)
    y = -0.5 * x + 0.3 * (arm == "B") + np.repeat(g.normal(0, 0.3, 20), 4) + g.normal(0, 0.1, 80)

    def slope(use: np.ndarray) -> float:  # type: ignore[type-arg]
        design = np.stack([arm[use] == "A", arm[use] == "B", x[use]], axis=1).astype(float)
        return float(np.linalg.lstsq(design, y[use], rcond=None)[0][2])

    everyone = slope(np.ones(80, dtype=bool))
    without = np.array([slope(subject != i) for i in range(20)])
    se = math.sqrt(19 / 20 * ((without - everyone) ** 2).sum())
    found = result(a.exposure_effect(x, y, arm=arm.tolist(), subject=subject.tolist()))
    width = stats.t.ppf(0.975, 17) * se
    assert found.estimate == pytest.approx(everyone, rel=1e-9)
    assert [found.low, found.high] == pytest.approx([everyone - width, everyone + width], rel=1e-9)
    assert found.n == 20


def test_samples_of_one_subject_do_not_count_as_many() -> None:
    subject, arm = np.arange(48), ARM
    once = result(a.exposure_effect(DOSE, CHANGE, arm=arm, subject=subject.tolist()))
    tripled = [np.tile(v, 3) for v in (DOSE, CHANGE)]
    three = result(a.exposure_effect(*tripled, arm=arm * 3, subject=np.tile(subject, 3).tolist()))
    assert (three.estimate, three.low, three.high) == pytest.approx((once.estimate, once.low, once.high))


def test_secondary_slope_without_spread_is_not_estimable() -> None:
    none = a.exposure_effect([0.1] * 8, range(8), arm=["A"] * 8, subject=list("aabbccdd"))
    few = a.exposure_effect([0.1, 0.2], [1.0, 2.0], arm=["A", "A"], subject=["s", "s"])
    assert isinstance(none, NotEstimable)
    assert isinstance(few, NotEstimable)


def test_spearman_is_that_of_r() -> None:
    found, expected = result(c.spearman(DOSE, CHANGE)), r_numbers()["spearman"]
    assert (found.estimate, found.p) == pytest.approx((expected["rho"], expected["p"]), rel=1e-9)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.estimate < found.high


def test_resampled_spearman_is_that_of_scipy_on_the_same_rows() -> None:
    x, y = np.round(DOSE, 2), np.round(CHANGE, 1)
    rows = resample_indices(len(x), 200, 9, "test")
    expected = [stats.spearmanr(x[r], y[r]).statistic for r in rows]
    assert spearman_of_rows(dense_ranks(x), dense_ranks(y), rows) == pytest.approx(expected, abs=1e-14)


def test_bca_interval_is_that_of_scipy() -> None:
    found = result(c.spearman(DOSE, CHANGE, resamples=20_000))
    peer = stats.bootstrap(
        (DOSE, CHANGE), lambda x, y: stats.spearmanr(x, y).statistic, paired=True, vectorized=False, n_resamples=3_000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert [found.low, found.high] == pytest.approx([peer.low, peer.high], abs=0.03)


def test_few_subjects_take_all_permutations() -> None:
    """Five subjects in perfect order: 2 of the 120 permutations are as extreme."""
    found = result(c.spearman([1, 2, 3, 4, 5], [2, 4, 5, 7, 9], resamples=200))
    assert found.p == pytest.approx(2 / 120)


def test_within_arm_correlation_ignores_differences_between_arms() -> None:
    """Two arms, each with a falling line, but the arm with more dose lies higher: pooled positive, within negative."""
    x = np.array([1, 2, 3, 4, 11, 12, 13, 14], dtype=float)
    y = np.array([4, 3, 2, 1, 14, 13, 12, 11], dtype=float)
    arm = list("AAAABBBB")
    assert result(c.spearman(x, y, resamples=200)).estimate > 0.4
    within = result(c.spearman_within_arm(x, y, arm, resamples=200))
    assert within.estimate == pytest.approx(-1.0)
    assert within.statistic == pytest.approx(-math.sqrt(6.0))


def test_within_arm_test_keeps_its_level() -> None:
    g = np.random.default_rng(8)
    arm = list("ABCD") * 14
    level = np.array([{"A": 0.0, "B": 1.0, "C": 2.0, "D": 0.0}[v] for v in arm])
    p = [
        result(c.spearman_within_arm(level + g.normal(size=56), level + g.normal(size=56), arm, resamples=2)).p
        for _ in range(1000)
    ]
    assert 0.03 <= np.mean([v is not None and v < 0.05 for v in p]) <= 0.07


def test_each_arm_by_itself_is_the_correlation_of_its_rows() -> None:
    found = c.spearman_by_arm(DOSE, CHANGE, ARM, resamples=200)
    own = np.array(ARM) == "C"
    assert list(found) == list("ABCD")
    assert result(found["C"]).estimate == pytest.approx(stats.spearmanr(DOSE[own], CHANGE[own]).statistic)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4])])
def test_a_correlation_that_the_data_cannot_carry(x: list[float], y: list[float]) -> None:
    assert isinstance(c.spearman(x, y), NotEstimable)
    assert isinstance(c.spearman_within_arm(x, y, ["A"] * len(x)), NotEstimable) or len(x) == 3


def test_categories_are_described_and_tested_pooled_and_within_arms() -> None:
    category = SUBJECTS.names("category").tolist()
    order = ("reduced", "unchanged", "increased")
    found = m.category_effect(category, CHANGE, ARM, order=order, resamples=200)
    assert [s.category for s in found.summaries] == list(order)
    assert sum(s.n for s in found.summaries) == found.n == 48
    score = np.array([order.index(v) for v in category])
    assert result(found.pooled_trend).estimate == pytest.approx(stats.spearmanr(score, CHANGE).statistic)
    assert isinstance(found.within_arm, Result)


def test_a_category_that_follows_the_arm_shows_pooled_and_not_within() -> None:
    g = np.random.default_rng(3)
    arm = np.repeat(list("AB"), 25)
    category = np.where(arm == "A", "increased", "reduced")
    category[::5] = "unchanged"
    change = np.where(arm == "A", -0.1, -0.6) + g.normal(0, 0.1, 50)
    found = m.category_effect(category.tolist(), change, arm.tolist(), order=("reduced", "unchanged", "increased"))
    pooled, within = result(found.pooled_trend).p, result(found.within_arm).p
    assert pooled is not None
    assert within is not None
    assert pooled < 0.001
    assert within > 0.05


def test_landmark_uses_only_those_observed_then() -> None:
    category = ["reduced", "increased"] * 12
    observed = [True] * 20 + [False] * 4
    found = m.landmark_effect(
        category, CHANGE[:24], ARM[:24], observed=observed, order=("reduced", "increased"), resamples=200
    )
    assert found.n == 20
    assert "landmark at cycle 2" in found.method
    assert found.warnings == ("4 subjects not observed at the landmark left out",)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError):
        a.dose_effect([0.1, 0.2], [1.0], ["A", "A"])
    with pytest.raises(InputError):
        a.dose_effect([0.1, 0.2], [1.0, 2.0], ["A"])
    with pytest.raises(InputError):
        m.category_effect(["reduced"], [1.0, 2.0], ["A", "A"], order=("reduced",))


def test_the_interval_covers_the_slope_on_measured_dose_and_false_alarms_are_rare() -> None:
    """A smaller run of the study that `lutetia validate dose-effect` prints in full."""
    checks = study.dose_effect_study(trials=800, population=120_000)
    assert len(checks) == 3 * len(study.ANALYTES)
    for check in checks:
        if "covers" in check.name:
            assert 92.5 <= check.value <= 97.5
        elif "false alarms" in check.name:
            assert abs(check.value - 5.0) < 2.3
            assert check.high - 5.0 == pytest.approx(2.576 * 100 * math.sqrt(0.05 * 0.95 / 800))
        else:
            assert check.value > 50.0


def test_the_planted_slope_is_steeper_per_true_gy_than_per_measured_gy() -> None:
    """Platelets fall by 1.00 per Gy times a sensitivity of mean 1; dose errors and sampled nadirs flatten the slope."""
    slope = study.estimand(120_000)["platelets"]
    assert -1.0 < slope < -0.6
    assert study.rates([Result("x", 0.0, -1.0, 1.0, 0.2, 5, "x")], 0.5) == (100.0, 0.0)
