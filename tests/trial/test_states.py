from __future__ import annotations

import itertools

import pytest

from lutetia.errors import TransitionError, UnknownNameError
from lutetia.trial.states import (
    CYCLE_BEFORE_GIVEN,
    MACHINES,
    PRESCRIPTION_OPEN,
    SUBJECT_RANDOMISED,
    check_transition,
    next_states,
)

# Written out from the trial's plan, independently of the table in the code. Beyond the plan: a corrected administration
# withdraws the doses of its cycle, which is GIVEN again.
PERMITTED = {
    "subject": {
        "SCREENING": "ELIGIBLE SCREEN_FAILED",
        "ELIGIBLE": "RANDOMISED SCREEN_FAILED",
        "RANDOMISED": "ON_TREATMENT FOLLOW_UP CONSENT_WITHDRAWN LOST DEAD",
        "ON_TREATMENT": "FOLLOW_UP CONSENT_WITHDRAWN LOST DEAD",
        "FOLLOW_UP": "COMPLETED CONSENT_WITHDRAWN LOST DEAD",
        "LOST": "FOLLOW_UP CONSENT_WITHDRAWN DEAD",
        "SCREEN_FAILED": "",
        "COMPLETED": "",
        "CONSENT_WITHDRAWN": "",
        "DEAD": "",
    },
    "cycle": {
        "PLANNED": "ASSESSED WITHHELD CANCELLED",
        "ASSESSED": "HELD PRESCRIBED WITHHELD CANCELLED",
        "HELD": "ASSESSED WITHHELD CANCELLED",
        "PRESCRIBED": "ASSESSED GIVEN WITHHELD CANCELLED",
        "GIVEN": "DOSED DOSE_MISSING",
        "DOSED": "CLOSED GIVEN",
        "DOSE_MISSING": "CLOSED",
        "CLOSED": "GIVEN",
        "WITHHELD": "",
        "CANCELLED": "",
    },
    "prescription": {
        "DRAFT": "PROPOSED VOID",
        "PROPOSED": "RELEASED REJECTED OVERRIDE_PENDING VOID",
        "OVERRIDE_PENDING": "RELEASED VOID",
        "RELEASED": "ADMINISTERED VOID",
        "ADMINISTERED": "",
        "REJECTED": "",
        "VOID": "",
    },
}


@pytest.mark.parametrize("name", PERMITTED)
def test_exactly_the_planned_transitions_are_permitted(name: str) -> None:
    assert set(MACHINES[name].states) == set(PERMITTED[name])
    for old, new in itertools.product(PERMITTED[name], repeat=2):
        if new in PERMITTED[name][old].split():
            assert check_transition(name, old, new).new == new
        else:
            with pytest.raises(TransitionError, match="not permitted"):
                check_transition(name, old, new)


def test_a_refused_transition_says_where_what_and_what_would_be_possible() -> None:
    with pytest.raises(TransitionError) as caught:
        check_transition("subject", "SCREENING", "RANDOMISED", where="subject DUO-014")
    text = str(caught.value)
    assert "subject DUO-014" in text
    assert "from SCREENING to RANDOMISED" in text
    assert "ELIGIBLE, SCREEN_FAILED" in text
    with pytest.raises(TransitionError, match="end state"):
        check_transition("subject", "DEAD", "FOLLOW_UP")


def test_an_unknown_machine_or_state_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="prescription"):
        check_transition("perscription", "DRAFT", "VOID")
    with pytest.raises(UnknownNameError, match="ELIGIBLE"):
        check_transition("subject", "ELIGIBEL", "RANDOMISED")


def test_groups_of_states_agree_with_the_machines() -> None:
    cycle, prescription = MACHINES["cycle"], MACHINES["prescription"]
    assert {old for old in cycle.states if "WITHHELD" in next_states("cycle", old)} == CYCLE_BEFORE_GIVEN
    assert {s for s in prescription.states if "VOID" in next_states("prescription", s)} == PRESCRIPTION_OPEN
    assert set(MACHINES["subject"].states) - SUBJECT_RANDOMISED == {"SCREENING", "ELIGIBLE", "SCREEN_FAILED"}
    assert cycle.end_states == {"WITHHELD", "CANCELLED"}
