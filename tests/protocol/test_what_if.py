"""What other activities would mean: the same figures as the controller gives for its own proposal."""

from __future__ import annotations

import pytest

from lutetia.errors import InputError
from lutetia.protocol.entry import DecisionEntry, parse_decision
from lutetia.protocol.what_if import what_if_outcomes

TABLE = {
    "protocol": "duonen",
    "arm": "B",
    "cycle": 2,
    "given_Gy": {"kidneys": 7.47, "red marrow": 0.25},
    "given_sd_Gy": {"kidneys": 0.9},
    "previous_MBq": {"Lu-177": 3700, "Y-90": 3700},
    "predicted_Gy_per_GBq": {
        "kidneys": {"Lu-177": 0.42, "Y-90": 1.6},
        "red marrow": {"Lu-177": 0.0145, "Y-90": 0.058},
    },
}


@pytest.fixture(scope="module")
def entry() -> DecisionEntry:
    return parse_decision(TABLE)


def test_the_proposal_itself_gives_the_decisions_figures(entry: DecisionEntry) -> None:
    decision = entry.decide()
    assert entry.forecast is not None
    assert decision.activities_MBq is not None
    found = what_if_outcomes(entry.protocol, entry.arm, entry.forecast, cycle=2, activities_MBq=decision.activities_MBq)
    assert [(o.after_cycle, o.end_of_course) for o in found] == [
        (o.after_cycle, o.end_of_course) for o in decision.limits
    ]


def test_more_activity_gives_more_dose_and_more_risk(entry: DecisionEntry) -> None:
    assert entry.forecast is not None
    low, high = (
        what_if_outcomes(
            entry.protocol, entry.arm, entry.forecast, cycle=2, activities_MBq={"Lu-177": 3700.0, "Y-90": a}
        )[0].end_of_course
        for a in (1500.0, 3000.0)
    )
    assert low is not None
    assert high is not None
    # given 7.47 Gy and three more cycles of 0.42 · 3.7 + 1.6 · A
    assert low.value_Gy == pytest.approx(7.47 + 3 * (0.42 * 3.7 + 1.6 * 1.5))
    assert high.value_Gy == pytest.approx(7.47 + 3 * (0.42 * 3.7 + 1.6 * 3.0))
    assert low.probability_over < high.probability_over


@pytest.mark.parametrize("activities", [{"Lu-177": 1.0}, {"Lu-177": 1.0, "Y-90": -1.0}, {"Lu-177": 1.0, "Y-90": 1e999}])
def test_activities_that_cannot_be_are_refused(entry: DecisionEntry, activities: dict[str, float]) -> None:
    assert entry.forecast is not None
    with pytest.raises(InputError, match="expected"):
        what_if_outcomes(entry.protocol, entry.arm, entry.forecast, cycle=2, activities_MBq=activities)
