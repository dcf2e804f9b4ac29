"""Sentences of the first page: what is claimed follows the intervals, and null data claim nothing."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from lutetia.dataset.folder import read_dataset
from lutetia.protocol.profile import read_protocol
from lutetia.safety import findings
from lutetia.safety.context import Context, derive_context
from lutetia.safety.reading import read_trial
from lutetia.safety.statistics.boundaries import BoundaryStatus
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
        return SimpleNamespace(monitor=SimpleNamespace(id="kidney"), rule=object(), status={"C": status}, reason="")

    monkeypatch.setattr(findings, "monitored", lambda context: (rule(True),))
    found = findings.stopping(SimpleNamespace())  # type: ignore[arg-type]
    assert (found.status, found.answer) == (
        "shown", "Kidney: at or above the boundary: arm C (events of evaluable subjects: C 4 of 10)."
    )  # fmt: skip
    monkeypatch.setattr(findings, "monitored", lambda context: (rule(False),))
    assert findings.stopping(SimpleNamespace()).status == "not shown"  # type: ignore[arg-type]


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
