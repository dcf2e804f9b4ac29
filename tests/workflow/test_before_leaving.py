"""What happened before a subject died or left can be entered afterwards: days are compared, not the order of entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.workflow.treated_trial import COORDINATOR, PHYSICIAN, PHYSICIST, SUBJECT, Story, released_story

from lutetia.errors import InputError, TransitionError
from lutetia.trial.records import SYSTEM, Change, Update
from lutetia.workflow.administration import RecordAdministration, record_administration
from lutetia.workflow.adverse_events import RecordEvent, record_event
from lutetia.workflow.cycles import EndCycle, cancel_cycle
from lutetia.workflow.follow_up import Contact, EndTreatment, Leave, end_treatment, leave, record_contact
from lutetia.workflow.vitals import RecordTreatment, RecordVitals, record_treatment, record_vitals

DAY = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A released first cycle and its batches, three hours after the infusion began that nobody has entered yet."""
    made = released_story(tmp_path, DAY)
    made.at(DAY + timedelta(hours=3))
    yield made
    made.trial.close()


def died(story: Story, on: str = "2026-01-12") -> None:
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", on, "progression"))


def state(story: Story) -> str:
    return str(story.row("subjects", subject_id=SUBJECT)["state"])


def test_an_infusion_before_death_on_the_same_day_is_recorded_after_the_death(story: Story) -> None:
    died(story)
    assert story.cycle()["state"] == "PRESCRIBED"
    found = story.give(1, 1)
    assert found.deviations == (), "no explanation is asked for: the subject was alive then"
    assert (story.cycle()["state"], state(story)) == ("GIVEN", "DEAD")
    assert {r["state"] for r in story.rows("prescriptions")} == {"ADMINISTERED"}


def test_it_is_recorded_days_later_too_but_no_infusion_after_the_death(story: Story) -> None:
    died(story)
    story.at(DAY + timedelta(days=3))
    after = [story.part(n, 3700.0, start=DAY + timedelta(days=1)) for n in ("Lu-177", "Y-90")]
    command = RecordAdministration(SUBJECT, 1, 1, after, given_despite="as the log says")
    with pytest.raises(InputError, match="started_at: found 2026-01-13, after the subject died on 2026-01-12"):
        record_administration(story.trial, PHYSICIST, command)
    amounts = {r["nuclide"]: r["prescribed_MBq"] for r in story.rows("prescriptions")}
    before = [story.part(n, amount, start=DAY) for n, amount in amounts.items()]
    record_administration(story.trial, PHYSICIST, replace(command, given=before, given_despite=""))
    assert story.cycle()["state"] == "GIVEN"


def test_a_cycle_that_cannot_have_been_given_is_cancelled_at_death_and_one_that_was_not_by_hand(story: Story) -> None:
    later = Update("cycles", int(story.cycle()["record_id"]), {"planned_on": "2026-01-20"})
    story.trial.commit(Change("prepare", [later]), SYSTEM, "test")
    died(story)
    assert story.cycle()["state"] == "CANCELLED", "its window begins on 2026-01-13"
    assert {r["state"] for r in story.rows("prescriptions")} == {"VOID"}


def test_a_cycle_that_was_not_given_before_death_is_cancelled_by_hand(story: Story) -> None:
    died(story)
    cancel_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "died before the infusion"))
    assert {r["state"] for r in story.rows("prescriptions")} == {"VOID"}


def test_who_withdrew_is_not_treated_and_the_cycle_is_cancelled(story: Story) -> None:
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "withdrew", "2026-01-12", "wish"))
    assert story.cycle()["state"] == "CANCELLED"


def test_samples_events_weights_contacts_and_the_end_of_treatment_before_death_can_be_entered(story: Story) -> None:
    died(story)
    story.at(DAY + timedelta(days=2))
    with pytest.raises(TransitionError, match="no later contact"):
        record_contact(story.trial, COORDINATOR, Contact(SUBJECT, "2026-01-13"))
    record_contact(story.trial, COORDINATOR, Contact(SUBJECT, "2026-01-11"))
    end_treatment(story.trial, PHYSICIAN, EndTreatment(SUBJECT, "2026-01-11", "toxicity"))
    with pytest.raises(TransitionError, match="end state"):
        end_treatment(story.trial, PHYSICIAN, EndTreatment(SUBJECT, "2026-01-13", "toxicity"))
    event = {"started_on": "2026-01-11", "ongoing": "yes", "term": "Fever", "grade": 1, "serious": "no",
             "related": "none"}  # fmt: skip
    record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, event))
    record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-12", 66.0))
    for refused in (
        lambda: record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, event | {"started_on": "2026-01-13"})),
        lambda: record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-13", 66.0)),
        lambda: record_treatment(story.trial, COORDINATOR, RecordTreatment(SUBJECT, "epo", "2026-01-13")),
    ):
        with pytest.raises(InputError, match="found 2026-01-13, after the subject died on 2026-01-12"):
            refused()
    assert state(story) == "DEAD"


def test_nobody_dies_before_the_day_of_a_contact(story: Story) -> None:
    record_contact(story.trial, COORDINATOR, Contact(SUBJECT, "2026-01-12"))
    with pytest.raises(InputError, match="found death on 2026-01-11, before the contact on 2026-01-12"):
        died(story, "2026-01-11")


def test_a_contact_before_the_day_on_which_a_subject_was_lost_does_not_bring_it_back(story: Story) -> None:
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "lost", "2026-01-12", "no answer"))
    record_contact(story.trial, COORDINATOR, Contact(SUBJECT, "2026-01-10"))
    assert state(story) == "LOST"
