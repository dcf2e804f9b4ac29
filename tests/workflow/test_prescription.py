"""Prescriptions: who may sign what, what makes one void, what is refused, and nothing half-saved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import (
    COORDINATOR,
    ELSEWHERE,
    PHYSICIAN,
    PHYSICIST,
    SECOND,
    SITE,
    STATISTICIAN,
    SUBJECT,
    Story,
    make_story,
    person,
)

from lutetia.errors import AccessDeniedError, InputError, SignatureError, StaleRecordError, TransitionError
from lutetia.trial.records import SYSTEM, Actor, Change, Grant, Update
from lutetia.trial.signatures import confirm_demonstration
from lutetia.workflow.course_records import facts_hash
from lutetia.workflow.cycles import (
    AssessCycle,
    EndCycle,
    MoveCycle,
    PlanCycle,
    assess_cycle,
    move_cycle,
    plan_cycle,
    withhold_cycle,
)
from lutetia.workflow.prescription import (
    LowerPrescription,
    ProposeCycle,
    VoidPrescription,
    approve_override,
    lower_prescription,
    propose_cycle,
    read_standing,
    reject_prescription,
    release_prescription,
    request_override,
    void_prescription,
)
from lutetia.workflow.proposal import WhatIf, preview_proposal, what_if
from lutetia.workflow.vitals import RecordVitals, record_vitals

DAY = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
MORE = {"Lu-177": 3700.0, "Y-90": 4500.0}


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """An assessed first cycle, a day before it is planned."""
    made = make_story(tmp_path)
    made.at(DAY - timedelta(hours=20))
    made.assessed("2026-01-12")
    yield made
    made.trial.close()


def states(story: Story, version: int = 1) -> set[str]:
    return {r["state"] for r in story.rows("prescriptions", version=version)}


def unchanged(story: Story, action: Any, error: type[Exception], words: str) -> None:
    """The action is refused with these words, and the audit trail has not moved."""
    before = story.trial.head().head
    with pytest.raises(error, match=words):
        action()
    assert story.trial.head().head == before


@pytest.mark.requirement(40)
def test_a_computed_proposal_releases_nothing_and_shows_inputs_uncertainty_risk_and_rule_version(story: Story) -> None:
    before = story.trial.head().head
    found = preview_proposal(story.trial, PHYSICIST, SUBJECT, 1)
    assert story.trial.head().head == before
    assert story.rows("prescriptions") == []
    assert found.record["protocol"]["version"] == "2026.1"
    assert set(found.record["inputs"]) == set(found.facts)
    for limit in found.record["limits"]:
        assert limit["predicted_end_of_course_interval_Gy"][0] < limit["predicted_end_of_course_interval_Gy"][1]
        assert 0 <= limit["probability_over_end_of_course"] <= 1
    story.propose(1)
    assert states(story) == {"PROPOSED"}
    assert story.cycle()["state"] == "ASSESSED"


def test_forecasts_are_stored_with_the_proposal(story: Story) -> None:
    story.propose(1)
    rows = {(r["region"], r["horizon"]): r for r in story.rows("forecasts")}
    assert set(rows) == {(r, h) for r in ("kidneys", "red marrow") for h in ("next", "course")}
    kidneys = rows["kidneys", "course"]
    assert kidneys["absorbed_dose_Gy"] == pytest.approx(4 * rows["kidneys", "next"]["absorbed_dose_Gy"])
    assert kidneys["absorbed_dose_sd_Gy"] > 0
    assert 0 <= kidneys["p_over_limit"] <= 1


@pytest.mark.requirement(16)
def test_the_proposer_cannot_release_even_with_both_roles(story: Story) -> None:
    both = Actor("both", "Both", (Grant("physicist", "01"), Grant("physician", "01")))
    conditions = story.conditions(1)
    propose_cycle(story.trial, both, ProposeCycle(SUBJECT, 1, story.sign(both), acknowledged=conditions))
    unchanged(
        story,
        lambda: release_prescription(story.trial, both, story.decide(1, 1, both)),
        SignatureError,
        "two different people",
    )
    story.release(1, 1)
    assert states(story) == {"RELEASED"}
    assert story.cycle()["state"] == "PRESCRIBED"


@pytest.mark.requirement(16)
def test_an_override_above_a_limit_needs_a_physicist_and_two_physicians_with_reasons(story: Story) -> None:
    made = story.propose(1, chosen_MBq=MORE, note="small tumour burden, discussed in the board")
    assert made.override_needed
    trial, decide = story.trial, story.decide
    unchanged(story, lambda: release_prescription(trial, PHYSICIAN, decide(1, 1)), SignatureError, "override")
    unchanged(story, lambda: request_override(trial, PHYSICIAN, decide(1, 1)), InputError, "reason: is missing")
    request_override(trial, PHYSICIAN, decide(1, 1, reason="benefit outweighs"))
    assert states(story) == {"OVERRIDE_PENDING"}
    again = decide(1, 1, PHYSICIAN, reason="again")
    unchanged(story, lambda: approve_override(trial, PHYSICIAN, again), SignatureError, "two different people")
    approve_override(trial, SECOND, decide(1, 1, SECOND, reason="agreed"))
    assert states(story) == {"RELEASED"}
    row = story.rows("prescriptions")[0]
    assert (row["override_by"], row["override_reason"]) == ("ines, paul", "benefit outweighs")
    meanings = [s["meaning"] for s in story.rows("signatures")]
    assert len(meanings) == 3
    assert len({s["user_id"] for s in story.rows("signatures")}) == 3


def test_a_version_within_the_limits_takes_no_override(story: Story) -> None:
    story.propose(1)
    command = story.decide(1, 1, reason="why not")
    unchanged(story, lambda: request_override(story.trial, PHYSICIAN, command), SignatureError, "not above a limit")


def test_more_than_a_hard_limit_allows_cannot_even_be_proposed(story: Story) -> None:
    far = {"Lu-177": 3700.0, "Y-90": 60000.0}
    unchanged(story, lambda: story.propose(1, chosen_MBq=far, note="x"), InputError, "passes the hard limit marrow")


def test_a_physician_lowers_with_a_reason_at_once(story: Story) -> None:
    story.propose(1)
    trial, sign = story.trial, story.sign
    less = {"Lu-177": 3700.0, "Y-90": 3000.0}
    lower = LowerPrescription(SUBJECT, 1, 1, less, "frail", sign(PHYSICIAN))
    unchanged(
        story,
        lambda: lower_prescription(trial, PHYSICIAN, LowerPrescription(SUBJECT, 1, 1, MORE, "no", sign(PHYSICIAN))),
        InputError,
        "only a new proposal can raise",
    )
    lower_prescription(trial, PHYSICIAN, lower)
    rows = {r["nuclide"]: r for r in story.rows("prescriptions")}
    assert rows["Y-90"]["prescribed_MBq"] == 3000.0
    assert rows["Y-90"]["proposed_MBq"] == 3700.0
    assert rows["Y-90"]["category"] == "reduced"
    assert states(story) == {"RELEASED"}
    signed = {s["user_id"]: s["state"] for s in story.rows("signatures")}
    assert signed == {"phil": "void", "ines": "valid"}


@pytest.mark.requirement(42)
@pytest.mark.parametrize("amount", [0.0, 1.0, -5.0, float("nan")])
def test_next_to_nothing_of_a_nuclide_is_neither_proposed_nor_lowered_to(story: Story, amount: float) -> None:
    less = {"Lu-177": 3700.0, "Y-90": amount}
    unchanged(story, lambda: story.propose(1, chosen_MBq=less, note="x"), InputError, "at least 100 MBq|finite numbers")
    story.propose(1)
    lower = LowerPrescription(SUBJECT, 1, 1, less, "frail", story.sign(PHYSICIAN))
    unchanged(
        story, lambda: lower_prescription(story.trial, PHYSICIAN, lower), InputError, "at least 100 MBq|finite numbers"
    )


def test_who_proposed_cannot_lower_and_a_void_version_is_not_lowered(story: Story) -> None:
    story.propose(1)
    less = {"Lu-177": 3700.0, "Y-90": 3000.0}
    both = person("phil", "physician", SITE)
    own = LowerPrescription(SUBJECT, 1, 1, less, "frail", confirm_demonstration(story.trial, both, role="physician"))
    unchanged(story, lambda: lower_prescription(story.trial, both, own), SignatureError, "two different people")
    story.at(story.clock.now() + timedelta(days=30))
    late = LowerPrescription(SUBJECT, 1, 1, less, "frail", story.sign(PHYSICIAN))
    with pytest.raises(TransitionError, match="is void now, because"):
        lower_prescription(story.trial, PHYSICIAN, late)
    assert states(story) == {"VOID"}


def test_a_version_that_two_physicians_released_can_be_lowered_a_little_at_once(story: Story) -> None:
    story.propose(1, chosen_MBq=MORE, note="agreed in the board")
    request_override(story.trial, PHYSICIAN, story.decide(1, 1, reason="benefit outweighs"))
    approve_override(story.trial, SECOND, story.decide(1, 1, SECOND, reason="agreed"))
    less = {n: a - 50.0 for n, a in MORE.items()}
    lower_prescription(story.trial, PHYSICIAN, LowerPrescription(SUBJECT, 1, 1, less, "x", story.sign(PHYSICIAN)))
    assert states(story) == {"RELEASED"}
    assert {r["nuclide"]: r["prescribed_MBq"] for r in story.rows("prescriptions")} == less
    assert story.rows("prescriptions")[0]["further"]["over"], "still above what was computed"
    kept = {r["user_id"]: (r["decision"], r["reason"]) for r in story.rows("overrides")}
    assert kept == {"ines": ("requested", "benefit outweighs; lowered: x"), "paul": ("approved", "agreed")}


@pytest.mark.parametrize(("days", "state"), [(3, "RELEASED"), (20, "VOID")])
def test_a_cycle_moved_out_of_its_window_loses_its_prescription(story: Story, days: int, state: str) -> None:
    story.propose(1)
    story.release(1, 1)
    planned = date.fromisoformat(story.cycle()["planned_on"]) + timedelta(days=days)
    move_cycle(story.trial, COORDINATOR, MoveCycle(SUBJECT, 1, planned.isoformat(), "no bed"))
    assert states(story) == {state}
    assert story.cycle()["state"] == ("PRESCRIBED" if state == "RELEASED" else "ASSESSED")


def test_a_prescription_whose_window_has_passed_does_not_revive_when_the_cycle_moves(story: Story) -> None:
    story.propose(1)
    story.release(1, 1)
    planned = date.fromisoformat(story.cycle()["planned_on"])
    story.at(datetime.combine(planned, time(9), UTC) + timedelta(days=8))
    move_cycle(story.trial, COORDINATOR, MoveCycle(SUBJECT, 1, (planned + timedelta(days=7)).isoformat(), "no bed"))
    assert states(story) == {"VOID"}


def test_withholding_needs_a_physician_and_a_reason_and_makes_the_prescription_void(story: Story) -> None:
    story.propose(1)
    trial = story.trial
    unchanged(story, lambda: withhold_cycle(trial, PHYSICIST, EndCycle(SUBJECT, 1, "x")), AccessDeniedError, "release")
    unchanged(story, lambda: withhold_cycle(trial, PHYSICIAN, EndCycle(SUBJECT, 1)), InputError, "reason: is missing")
    withhold_cycle(trial, PHYSICIAN, EndCycle(SUBJECT, 1, "fever"))
    assert story.cycle()["state"] == "WITHHELD"
    assert states(story) == {"VOID"}


def test_a_rejected_version_makes_room_for_a_new_one(story: Story) -> None:
    story.propose(1)
    unchanged(story, lambda: story.propose(1), TransitionError, "version 1 is PROPOSED")
    reject_prescription(story.trial, PHYSICIAN, story.decide(1, 1, reason="check the weight first"))
    assert story.propose(1).version == 2
    assert states(story, 1) == {"REJECTED"}
    unchanged(story, lambda: story.release(1, 1), TransitionError, "REJECTED")


CHANGES = {
    "new laboratory values": lambda s: s.labs(sample="later", platelets="180"),
    "a new weight": lambda s: record_vitals(s.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-11", 66.0)),
    "laboratory values too old": lambda s: s.at(DAY + timedelta(days=6, hours=20)),
    "the window passed": lambda s: (s.at(DAY + timedelta(days=8)), s.labs(sample="new")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_version_becomes_void_when(story: Story, change: str) -> None:
    story.propose(1)
    assert read_standing(story.trial, PHYSICIAN, SUBJECT, 1) == ()
    story.clock.advance(minutes=10)
    CHANGES[change](story)
    assert read_standing(story.trial, PHYSICIAN, SUBJECT, 1)
    with pytest.raises(TransitionError, match=r"is void now, because .*new version"):
        story.release(1, 1)
    assert states(story) == {"VOID"}
    assert story.cycle()["state"] == "ASSESSED"
    unused = story.rows("prescriptions")[0]
    assert unused["void_reason"]
    assert unused["signed_by"] is None
    with pytest.raises(TransitionError, match="VOID"):
        story.release(1, 1)


def test_a_released_version_can_be_taken_back(story: Story) -> None:
    story.propose(1)
    story.release(1, 1)
    void_prescription(story.trial, PHYSICIST, VoidPrescription(SUBJECT, 1, 1, "wrong product ordered"))
    assert states(story) == {"VOID"}
    assert story.cycle()["state"] == "ASSESSED"


def test_a_preview_that_is_out_of_date_is_not_signed(story: Story) -> None:
    seen = facts_hash(preview_proposal(story.trial, PHYSICIST, SUBJECT, 1).facts)
    story.clock.advance(minutes=10)
    story.labs(sample="later", platelets="180")
    unchanged(story, lambda: story.propose(1, inputs=seen), StaleRecordError, "changed since the preview")


def test_open_conditions_have_to_be_acknowledged_by_both(story: Story) -> None:
    change = Change("prepare", [Update("subjects", {"subject_id": SUBJECT}, {"age_years": None})])
    story.trial.commit(change, SYSTEM, "test")
    conditions = story.conditions(1)
    assert any("creatinine clearance" in c for c in conditions)
    unchanged(story, lambda: story.propose(1, acknowledged=()), InputError, "acknowledge each of them")
    story.propose(1)
    unacknowledged = story.decide(1, 1, acknowledged=())
    unchanged(
        story, lambda: release_prescription(story.trial, PHYSICIAN, unacknowledged), InputError, "creatinine clearance"
    )


@pytest.mark.parametrize(("actor", "right"), [(ELSEWHERE, "propose"), (PHYSICIAN, "propose"), (COORDINATOR, "propose")])
def test_only_a_physicist_of_the_site_proposes(story: Story, actor: Actor, right: str) -> None:
    command = ProposeCycle(SUBJECT, 1, story.sign(actor), acknowledged=story.conditions(1))
    unchanged(story, lambda: propose_cycle(story.trial, actor, command), AccessDeniedError, right)


def test_masked_roles_see_neither_preview_nor_what_if(story: Story) -> None:
    story.propose(1)
    question = WhatIf(SUBJECT, 1, MORE)
    for ask in (
        lambda: preview_proposal(story.trial, STATISTICIAN, SUBJECT, 1),
        lambda: what_if(story.trial, STATISTICIAN, question),
        lambda: read_standing(story.trial, STATISTICIAN, SUBJECT, 1),
    ):
        with pytest.raises(AccessDeniedError, match="hidden for this role"):
            ask()


def test_a_person_of_another_site_cannot_sign(story: Story) -> None:
    story.propose(1)
    other = person("olga", "physician", "02")
    unchanged(
        story, lambda: release_prescription(story.trial, other, story.decide(1, 1, other)), AccessDeniedError, "release"
    )


@pytest.mark.requirement(41)
def test_old_laboratory_values_are_refused_with_the_reason(story: Story) -> None:
    story.at(DAY + timedelta(days=6, hours=20))
    unchanged(story, lambda: story.propose(1, acknowledged=()), InputError, "not older than 7 days")


@pytest.mark.requirement(41)
def test_an_assessment_without_a_required_value_is_refused(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    plan_cycle(made.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-12"))
    unchanged(
        made,
        lambda: assess_cycle(made.trial, COORDINATOR, AssessCycle(SUBJECT, 1)),
        InputError,
        "expected values of the last 7 days; laboratory values: none given",
    )
    made.trial.close()


def test_toxicity_holds_a_cycle_until_it_has_recovered(tmp_path: Path) -> None:
    made = make_story(tmp_path)
    plan_cycle(made.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-12"))
    made.labs(platelets="60")
    found = assess_cycle(made.trial, COORDINATOR, AssessCycle(SUBJECT, 1))
    assert (found.state, found.action) == ("HELD", "hold")
    assert "platelets" in made.cycle()["reason"]
    with pytest.raises(TransitionError, match="HELD"):
        made.propose(1, acknowledged=())
    made.clock.advance(days=3)
    made.labs(platelets="170")
    assert assess_cycle(made.trial, COORDINATOR, AssessCycle(SUBJECT, 1)).state == "ASSESSED"
    assert [a["decision"] for a in made.rows("assessments")] == ["hold", "none"]
    made.trial.close()
