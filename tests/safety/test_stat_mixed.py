"""Mixed models: equal to lmerTest, converging on every analyte of a plain design, and falling back in plain sight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from tests.support.interim_reference import Table, r_numbers

from lutetia.safety.statistics import mixed, reml
from lutetia.safety.statistics.results import NotEstimable, Result

OCCASIONS = ("cycle 1", "cycle 2", "cycle 3", "cycle 4", "end")
ANALYTES = ("haemoglobin", "platelets", "leukocytes", "neutrophils", "lymphocytes", "creatinine", "alt", "bilirubin")


def of_reference() -> mixed.LongitudinalModel:
    rows = Table("longitudinal")
    found = mixed.longitudinal(
        rows.numbers("value"), rows.numbers("baseline"), arm=rows.names("arm").tolist(),
        occasion=rows.names("occasion").tolist(), subject=rows.names("subject").tolist(),
        centre=rows.names("site").tolist(), order=OCCASIONS,
    )  # fmt: skip
    assert isinstance(found, mixed.LongitudinalModel)
    return found


def design(subjects: int = 92, *, seed: int = 1, sd_subject: float = 0.15, sd: float = 0.1) -> dict[str, Any]:
    """A plain trial: four arms, five centres, some occasions missing, a log change that grows with the cycles."""
    g = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), len(OCCASIONS))
    occasion = np.tile(np.arange(len(OCCASIONS)), subjects)
    baseline = g.lognormal(5.0, 0.3, subjects)[subject]
    log_change = -0.08 * occasion + g.normal(0, sd_subject, subjects)[subject] + g.normal(0, sd, subject.size)
    keep = g.uniform(size=subject.size) > 0.08
    return {
        "value": (baseline * np.exp(log_change))[keep], "baseline": baseline[keep],
        "arm": np.array(list("ABCD"))[subject[keep] % 4].tolist(),
        "occasion": np.array(OCCASIONS)[occasion[keep]].tolist(), "subject": subject[keep].tolist(),
        "centre": (subject[keep] // 4 % 5).tolist(), "order": OCCASIONS,
    }  # fmt: skip


def fitted(**given: Any) -> mixed.LongitudinalModel:
    found = mixed.longitudinal(given.pop("value"), given.pop("baseline"), **given)
    assert isinstance(found, mixed.LongitudinalModel), found
    return found


def test_variances_are_those_of_lmer() -> None:
    found, expected = of_reference(), r_numbers()["mixed"]
    assert found.sd_subject is not None
    assert [found.sd_subject**2, found.sd_residual**2] == pytest.approx(expected["variance"], rel=1e-5)
    assert (found.n_subjects, found.n_values, found.fallback) == (48, expected["n"], False)


def test_ratios_errors_and_satterthwaite_degrees_are_those_of_lmertest() -> None:
    expected = r_numbers()["mixed"]
    place = {name: i for i, name in enumerate(expected["names"])}
    first = [r for r in of_reference().ratios if r.occasion == "cycle 1"]
    assert [r.arm for r in first] == ["B", "C", "D"]
    for r in first:
        i = place[f"arm{r.arm}"]
        assert np.log(r.ratio.estimate) == pytest.approx(expected["estimate"][i], rel=1e-6)
        assert r.ratio.df == pytest.approx(expected["df"][i], rel=1e-4)
        assert r.ratio.statistic == pytest.approx(expected["estimate"][i] / expected["se"][i], rel=1e-6)


def test_interaction_is_that_of_lmertest() -> None:
    found, expected = of_reference().interaction, r_numbers()["mixed"]
    assert isinstance(found, mixed.JointTest)
    i = expected["anova_names"].index("arm:occasion")
    assert (found.f, found.p) == pytest.approx((expected["F"][i], expected["F_p"][i]), rel=1e-5)
    assert found.df_error == pytest.approx(expected["den_df"][i], rel=1e-3)
    assert found.df == 12


def test_slopes_are_those_of_lmertest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "LEAST_YEARS", 0.0)
    rows, expected = Table("egfr"), r_numbers()["mixed_slope"]
    found = mixed.slopes(
        rows.numbers("egfr"),
        rows.numbers("years"),
        arm=rows.names("arm").tolist(),
        subject=rows.names("subject").tolist(),
    )
    assert isinstance(found, mixed.SlopeModel)
    assert not found.fallback
    place = {name: i for i, name in enumerate(expected["names"])}
    assert found.arms[0].slope.estimate == pytest.approx(expected["estimate"][place["years"]], rel=1e-4)
    assert found.arms[0].slope.df == pytest.approx(expected["df"][place["years"]], rel=1e-3)
    for arm in found.arms[1:]:
        i = place[f"arm{arm.arm}:years"]
        assert arm.difference is not None
        assert arm.difference.estimate == pytest.approx(expected["estimate"][i], rel=1e-4)
        assert arm.difference.df == pytest.approx(expected["df"][i], rel=1e-3)
        assert arm.difference.statistic == pytest.approx(expected["estimate"][i] / expected["se"][i], rel=1e-3)
    assert isinstance(found.equal_slopes, mixed.JointTest)
    assert found.equal_slopes.f == pytest.approx(expected["equal_F"], rel=1e-3)


def test_restricted_likelihood_is_that_of_lmer() -> None:
    rows = Table("egfr")
    arm = rows.names("arm")
    x = np.concatenate([arm[:, None] == np.array(list("ABCD")), (arm[:, None] == np.array(list("ABCD"))) *
                        rows.numbers("years")[:, None]], axis=1).astype(float)  # fmt: skip
    z = np.stack([np.ones(len(arm)), rows.numbers("years")], axis=1)
    subject = np.unique(rows.names("subject"), return_inverse=True)[1]
    found = reml.fit_reml(reml.padded(x, z, rows.numbers("egfr"), subject), np.array([150.0, 0.0, 15.0, 6.0]))
    assert isinstance(found, reml.Fit)
    assert found.criterion == pytest.approx(r_numbers()["mixed_slope"]["reml"], rel=1e-7)
    assert found.criterion <= r_numbers()["mixed_slope"]["reml"] + 1e-6


@pytest.mark.parametrize("analyte", ANALYTES)
def test_the_model_converges_on_every_analyte_of_a_plain_design(analyte: str) -> None:
    i = ANALYTES.index(analyte)
    found = fitted(**design(seed=10 + i, sd_subject=0.05 + 0.05 * i, sd=0.05 + 0.03 * i))
    assert not found.fallback
    assert found.warnings == ()
    assert "Satterthwaite" in found.method
    assert len(found.cells) == 20


@pytest.mark.parametrize("analyte", ANALYTES)
def test_random_slopes_converge_on_every_analyte_of_a_plain_design(analyte: str) -> None:
    g = np.random.default_rng(ANALYTES.index(analyte))
    scale = 10.0 ** (ANALYTES.index(analyte) - 3)
    subject = np.repeat(np.arange(56), 8)
    years = np.tile(np.array([0.1, 0.25, 0.4, 0.55, 0.8, 1.0, 1.5, 2.0]), 56)
    y = 80 + g.normal(0, 12, 56)[subject] + (-2 + g.normal(0, 3, 56)[subject]) * years + g.normal(0, 4, subject.size)
    found = mixed.slopes(scale * y, years, arm=np.array(list("ABCD"))[subject % 4].tolist(), subject=subject.tolist())
    assert isinstance(found, mixed.SlopeModel)
    assert not found.fallback
    assert "random intercept and slope; Satterthwaite" in found.method


def test_units_do_not_change_percent_changes_or_p_values() -> None:
    given = design(seed=3)
    one = fitted(**given)
    other = fitted(**{**given, "value": 1e6 * given["value"], "baseline": 1e6 * given["baseline"]})
    for a, b in zip(one.cells, other.cells, strict=True):
        assert b.change.estimate == pytest.approx(a.change.estimate, rel=1e-9)
        assert b.change.p == pytest.approx(a.change.p, rel=1e-7, abs=1e-12)


def test_no_variance_between_subjects_falls_back_to_clustered_errors_with_a_warning() -> None:
    given = design(seed=4, sd_subject=0.0, sd=0.3)
    g = np.random.default_rng(1)
    given["value"] = given["baseline"] * np.exp(g.normal(0, 0.2, len(given["baseline"])))
    by = np.array(given["subject"])
    centred = np.log(given["value"] / given["baseline"])
    for s in np.unique(by):  # every subject's mean is the same: less than no variance between them
        centred[by == s] -= centred[by == s].mean()
    given["value"] = given["baseline"] * np.exp(centred)
    found = fitted(**given)
    assert found.fallback
    assert found.sd_subject is None
    assert "clustered by subject" in found.method
    assert any("random subject not estimable" in w for w in found.warnings)


def test_slopes_without_variance_keep_the_random_intercept_and_say_so() -> None:
    g = np.random.default_rng(11)
    subject = np.repeat(np.arange(40), 4)
    years = np.tile([0.1, 0.4, 0.8, 1.2], 40)
    y = 80 + g.normal(0, 12, 40)[subject] - 2 * years
    noise = g.normal(0, 1, (40, 4))
    t = np.array([0.1, 0.4, 0.8, 1.2]) - 0.625
    noise -= (noise @ t / (t @ t))[:, None] * t  # every subject's own slope is exactly the mean
    found = mixed.slopes(y + noise.ravel(), years, arm=["A"] * 160, subject=subject.tolist())
    assert isinstance(found, mixed.SlopeModel)
    assert found.fallback
    assert "random intercept;" in found.method
    assert any("simpler model used" in w for w in found.warnings)


def test_clustered_errors_are_those_of_leaving_out_each_subject() -> None:
    g = np.random.default_rng(2)
    subject = np.repeat(np.arange(15), 3)
    x = np.stack([np.ones(45), g.normal(size=45)], axis=1)
    y = x @ [1.0, 0.5] + g.normal(0, 0.3, 15)[subject] + g.normal(0, 0.2, 45)
    fit, _ = mixed._clustered(reml.padded(x, np.zeros((45, 1)), y, subject), 15)
    betas = np.array([np.linalg.lstsq(x[subject != i], y[subject != i], rcond=None)[0] for i in range(15)]) - fit.beta
    assert fit.covariance == pytest.approx(betas.T @ betas, rel=1e-8)


def test_intervals_cover_and_tests_keep_their_level() -> None:
    held = rejected = 0
    runs = 150
    for seed in range(runs):
        found = fitted(**design(subjects=32, seed=1000 + seed))
        last = next(r for r in found.ratios if (r.arm, r.occasion) == ("C", "cycle 4"))
        assert last.ratio.low is not None
        assert last.ratio.high is not None
        held += last.ratio.low <= 1.0 <= last.ratio.high
        assert isinstance(found.interaction, mixed.JointTest)
        rejected += found.interaction.p < 0.05
    assert 0.90 <= held / runs <= 0.99
    assert rejected / runs <= 0.10


def test_an_arm_without_values_at_an_occasion_has_no_cell_and_nothing_breaks() -> None:
    given = design(seed=6)
    keep = [not (a == "D" and o == "end") for a, o in zip(given["arm"], given["occasion"], strict=True)]
    for name in ("value", "baseline"):
        given[name] = given[name][keep]
    for name in ("arm", "occasion", "subject", "centre"):
        given[name] = [v for v, k in zip(given[name], keep, strict=True) if k]
    found = fitted(**given)
    assert len(found.cells) == 19
    assert isinstance(found.interaction, mixed.JointTest)
    assert found.interaction.df == 11


def test_values_that_are_missing_or_not_positive_are_left_out_and_counted() -> None:
    given = design(seed=7)
    given["value"][:2] = (np.nan, -1.0)
    found = fitted(**given)
    assert found.n_values == len(given["value"]) - 2
    assert "2 missing values" in found.warnings[0]


@pytest.mark.parametrize("rows", [0, 3])
def test_too_few_rows_are_not_estimable(rows: int) -> None:
    given = design(seed=8)
    cut = {k: v[:rows] if k != "order" else v for k, v in given.items()}
    found = mixed.longitudinal(cut.pop("value"), cut.pop("baseline"), **cut)
    assert isinstance(found, NotEstimable)


def test_values_that_do_not_vary_are_not_estimable() -> None:
    given = design(seed=9)
    given["value"] = given["baseline"] = np.full(len(given["value"]), 7.0)
    found = mixed.longitudinal(given.pop("value"), given.pop("baseline"), **given)
    assert isinstance(found, NotEstimable)
    assert "do not vary" in found.reason


def test_subjects_with_few_or_close_values_have_no_slope_and_are_named() -> None:
    rows = Table("egfr")
    subject = rows.names("subject").tolist()
    years = rows.numbers("years").copy()
    years[np.array(subject) == "7"] /= 100.0
    found = mixed.slopes(rows.numbers("egfr"), years, arm=rows.names("arm").tolist(), subject=subject)
    assert isinstance(found, mixed.SlopeModel)
    assert "7" in found.left_out
    assert found.n_subjects + len(found.left_out) == 40
    none = mixed.slopes([80.0, 79.0], [0.0, 1.0], arm=["A", "A"], subject=["s", "s"])
    assert isinstance(none, NotEstimable)
    assert "3 or more values" in none.reason


def test_a_single_arm_has_a_slope_and_no_comparison() -> None:
    rows = Table("egfr")
    own = rows.names("arm") == "A"
    found = mixed.slopes(
        rows.numbers("egfr")[own], rows.numbers("years")[own], arm=["A"] * int(own.sum()),
        subject=rows.names("subject")[own].tolist(),
    )  # fmt: skip
    assert isinstance(found, mixed.SlopeModel)
    assert isinstance(found.arms[0].slope, Result)
    assert isinstance(found.equal_slopes, NotEstimable)


def test_without_satterthwaite_the_method_says_wald_z(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = reml.fit_reml

    def without_covariance(rows: reml.Subjects, start: Any) -> reml.Fit | str:
        found = fit(rows, start)
        assert isinstance(found, reml.Fit)
        return replace(found, theta_covariance=None)

    given = design(seed=12)
    exact = fitted(**given)
    monkeypatch.setattr(reml, "fit_reml", without_covariance)
    found = fitted(**given)
    assert "Wald z" in found.method
    cell, peer = found.cells[0].change, exact.cells[0].change
    assert cell.df is None
    assert cell.estimate == pytest.approx(peer.estimate)
    assert cell.statistic is not None
    assert cell.p == pytest.approx(2 * norm.sf(abs(cell.statistic)))
