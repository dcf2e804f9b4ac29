"""Sentences of the first page: what is claimed follows the intervals, and null data claim nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from lutetia.dataset.folder import read_dataset
from lutetia.protocol.profile import read_protocol
from lutetia.safety import findings
from lutetia.safety.context import Context, derive_context
from lutetia.safety.monitoring import first_crossing
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.reading import read_trial
from lutetia.safety.statistics.boundaries import BoundaryStatus, StoppingRule
from lutetia.safety.statistics.results import NotEstimable, Result
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.population import read_population
from lutetia.simulate.trial_folder import write_trial


def result(estimate: float, low: float | None, high: float | None, p_adjusted: float | None = None) -> Result:
    return Result("q", estimate, low, high, p_adjusted, 40, "method", p_adjusted=p_adjusted)


@dataclass
class Slopes:
    slope: Any
    rank: Any


def association(monkeypatch: pytest.MonkeyPatch, slope: object, rank: object) -> findings.Finding:
    monkeypatch.setattr(findings, "associations", lambda context: {"platelets": Slopes(slope, rank)})
    return findings.association(SimpleNamespace())  # type: ignore[arg-type]


def test_an_association_is_shown_only_below_the_adjusted_level(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = association(monkeypatch, result(-6.0, -9.0, -3.0, 0.004), result(-0.5, -0.7, -0.3, 0.001))
    assert shown.status == "shown"
    assert "shown for platelets −6.0 % (95 % CI −9.0 to −3.0)" in shown.answer
    near = association(monkeypatch, result(-6.0, -9.0, -0.1, 0.06), result(-0.2, -0.4, 0.1, 0.2))
    assert near.status == "not shown"
    assert "not shown for platelets −6.0 % (95 % CI −9.0 to −0.1)" in near.answer
    assert "not shown for any blood count" in near.answer


def test_a_rise_with_the_dose_is_not_called_a_deeper_nadir(monkeypatch: pytest.MonkeyPatch) -> None:
    assert association(monkeypatch, result(6.0, 3.0, 9.0, 0.004), NotEstimable("few")).status == "not shown"


def test_what_is_not_estimable_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found = association(monkeypatch, NotEstimable("arm B has one subject"), NotEstimable("few"))
    assert (found.status, found.answer) == ("not estimable", "Not estimable: arm B has one subject.")


def declines(monkeypatch: pytest.MonkeyPatch, overall: object) -> findings.Finding:
    monkeypatch.setattr(findings, "course_tests", lambda context: {"platelets": {"all": overall, "A": overall}})
    return findings.declines(SimpleNamespace(arms=("A",)))  # type: ignore[arg-type]


def test_a_fall_is_shown_only_where_the_interval_is_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    assert declines(monkeypatch, result(-0.2, -0.3, -0.1, 0.001)).status == "shown"
    null = declines(monkeypatch, result(-0.02, -0.06, 0.02, 0.4))
    assert null.status == "not shown"
    assert "Not shown to fall: Platelets −2.0 % (95 % CI −5.8 to 2.0)" in null.answer
    assert declines(monkeypatch, result(-0.2, None, None)).status == "not shown"
    assert declines(monkeypatch, NotEstimable("no values")).status == "not estimable"


def test_of_several_blood_counts_a_fall_is_adjusted_by_holm(monkeypatch: pytest.MonkeyPatch) -> None:
    near, rest = result(-0.1, -0.2, -0.01, 0.03), result(-0.01, -0.1, 0.08, 0.8)
    tests = {a: {"all": near if a == "platelets" else rest, "A": rest} for a in HAEMATOLOGY}
    monkeypatch.setattr(findings, "course_tests", lambda context: tests)
    found = findings.declines(SimpleNamespace(arms=("A",)))  # type: ignore[arg-type]
    assert found.status == "not shown"  # 5 · 0.03 > 0.05
    assert "Not shown to fall" in found.answer


@pytest.mark.parametrize(
    ("low", "high", "status", "words"),
    [
        (-3.5, -1.5, "shown", "is excluded"),
        (-6.0, -1.5, "shown", "is not excluded"),
        (-1.0, 0.5, "not shown", "decline not shown"),
        (-6.0, 0.5, "not shown", "is not excluded"),
    ],
)
def test_a_stable_kidney_is_never_claimed_without_the_interval(
    monkeypatch: pytest.MonkeyPatch, trial: Context, low: float, high: float, status: str, words: str
) -> None:
    slope = SimpleNamespace(slope=result((low + high) / 2, low, high))
    monkeypatch.setattr(findings, "pooled_slope", lambda context: SimpleNamespace(arms=(slope,)))
    found = findings.renal(trial)
    assert found.status == status
    assert words in found.answer


def test_a_crossed_boundary_names_its_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    def rule(crossed: bool) -> SimpleNamespace:
        status = BoundaryStatus(4 if crossed else 0, 10, 4, 0.97 if crossed else 0.1, crossed)
        return SimpleNamespace(monitor=SimpleNamespace(id="kidney"), rule=object(), status={"C": status}, earlier={})

    monkeypatch.setattr(findings, "monitored", lambda context: (rule(True),))
    found = findings.stopping(SimpleNamespace())  # type: ignore[arg-type]
    assert (found.status, found.answer) == (
        "shown", "Kidney: at or above the boundary: arm C (events of evaluable subjects: C 4 of 10)."
    )  # fmt: skip
    monkeypatch.setattr(findings, "monitored", lambda context: (rule(False),))
    assert findings.stopping(SimpleNamespace()).status == "not shown"  # type: ignore[arg-type]


def test_a_boundary_crossed_at_an_earlier_look_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"C": BoundaryStatus(2, 10, 4, 0.6, False)}
    rule = SimpleNamespace(monitor=SimpleNamespace(id="kidney"), rule=object(), status=status, earlier={"C": (3, 2)})
    monkeypatch.setattr(findings, "monitored", lambda context: (rule,))
    found = findings.stopping(SimpleNamespace())  # type: ignore[arg-type]
    assert found.status == "shown"
    assert "no arm is at its boundary; arm C was at it when 3 subjects were evaluable (2 events)" in found.answer


def test_a_rule_without_evaluable_subjects_is_not_estimable(monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"C": BoundaryStatus(0, 0, None, 0.5, False)}
    rule = SimpleNamespace(monitor=SimpleNamespace(id="kidney"), rule=object(), status=status, earlier={})
    monkeypatch.setattr(findings, "monitored", lambda context: (rule,))
    assert findings.stopping(SimpleNamespace()).status == "not estimable"  # type: ignore[arg-type]


def test_the_first_crossing_is_sought_at_the_looks_alone() -> None:
    rule = StoppingRule(0.10, 0.95, (3, 6, 10))
    assert first_crossing(rule, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]) == (3, 2)
    assert first_crossing(rule, [0, 0, 1, 1, 1, 0]) == (6, 3)
    assert first_crossing(rule, [0, 0, 1, 1, 0]) is None  # 2 of 4 is no look
    assert first_crossing(rule, []) is None


def test_severe_blood_counts_are_a_share_of_those_who_have_a_grade(trial: Context) -> None:
    known = trial.worst[trial.worst["worst_emergent"].notna() & trial.worst["subject_id"].isin(trial.sets.saf)]
    counts = known[known["analyte"].isin(HAEMATOLOGY)]
    someone = counts["subject_id"].iloc[0]
    without = replace(trial, worst=trial.worst[trial.worst["subject_id"] != someone])
    n = counts["subject_id"].nunique()
    assert f" of {n} (" in findings.toxicity(trial).answer
    assert f" of {n - 1} (" in findings.toxicity(without).answer.split("Adverse")[0]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A virtual trial whose blood counts do not follow the dose."""
    made = simulate_trial(
        read_protocol("duonen"), subjects=32, seed=11, level="analytic", effect="none",
        population=read_population(None),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("null") / "data"
    write_trial(made, folder)
    return derive_context(read_trial(read_dataset(folder)), resamples=300)


def test_a_trial_without_dose_effect_yields_not_shown(trial: Context) -> None:
    assert findings.association(trial).status == "not shown"
    assert findings.category(trial).status in ("not shown", "not estimable")
    assert findings.hepatic(trial).status == "not shown"


def test_modifications_of_a_few_subjects_are_no_majority(trial: Context) -> None:
    answer = findings.modifications(trial).answer
    for arm in ("B", "C", "D"):
        assert f"rm {arm} (" in answer
    assert "Fixed activity: arm A" in answer


def test_every_share_has_its_interval(trial: Context) -> None:
    answer = findings.over_limits(trial).answer
    assert answer.count(" of ") - answer.count("95 % CI") == 0
