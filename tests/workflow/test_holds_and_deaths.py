"""A physician's hold and a death stay in force: nobody passes them by; what contradicts them is refused or asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import COORDINATOR, PHYSICIAN, PHYSICIST, SECOND, SUBJECT, Story, make_story

from lutetia.errors import AccessDeniedError, InputError, TransitionError
from lutetia.trial import audit
from lutetia.trial.records import SYSTEM, Change, Create
from lutetia.workflow.adverse_events import CorrectEvent, RecordEvent, correct_event, record_event
from lutetia.workflow.course_records import course_case, kidneys_present, protocol_of
from lutetia.workflow.cycles import (
    AssessCycle,
    EndCycle,
    assess_cycle,
    hold_cycle,
    lift_hold,
    physicians_hold,
    withhold_cycle,
)
from lutetia.workflow.follow_up import Contact, Leave, leave, record_contact
from lutetia.workflow.laboratory import EnterLabs, LabEntry, enter_labs
from lutetia.workflow.prescription import read_standing
from lutetia.workflow.screening import RecordBaseline, record_baseline
from lutetia.workflow.vitals import RecordTreatment, RecordVitals, record_treatment, record_vitals

DAY = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
VOMITING = {"started_on": "2026-01-10", "ongoing": "yes", "term": "Vomiting", "grade": 2, "serious": "no",
            "related": "possible"}  # fmt: skip
FATAL = VOMITING | {"grade": 5, "ongoing": "no", "ended_on": "2026-01-11", "serious": "yes", "seriousness": "death",
                    "outcome": "fatal", "aware_at": "2026-01-11T08:00:00+00:00"}  # fmt: skip


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """An assessed first cycle, a day before it is planned."""
    made = make_story(tmp_path, draws=30)
    made.at(DAY - timedelta(hours=20))
    made.assessed("2026-01-12")
    yield made
    made.trial.close()


def assess(story: Story, actor: Any = COORDINATOR) -> Any:
    return assess_cycle(story.trial, actor, AssessCycle(SUBJECT, 1))


def event(story: Story, **values: Any) -> str:
    return record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, VOMITING | values))


@pytest.mark.parametrize("actor", [COORDINATOR, PHYSICIST, PHYSICIAN], ids=lambda a: a.user_id)
def test_an_assessment_does_not_lift_a_physicians_hold_and_says_who_holds_and_why(story: Story, actor: Any) -> None:
    hold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "fever since yesterday"))
    before = story.trial.head().head
    with pytest.raises(TransitionError, match="ines has held it since 2026-01-11: fever since yesterday; a physician"):
        assess(story, actor)
    assert story.trial.head().head == before
    assert (story.cycle()["state"], story.cycle()["reason"]) == ("HELD", "fever since yesterday")


def test_only_a_physician_lifts_a_hold_with_a_reason_and_it_stays_in_the_records(story: Story) -> None:
    hold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "fever"))
    for actor in (COORDINATOR, PHYSICIST):
        with pytest.raises(AccessDeniedError, match="release"):
            lift_hold(story.trial, actor, EndCycle(SUBJECT, 1, "well again"))
    with pytest.raises(InputError, match="reason: is missing"):
        lift_hold(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, " "))
    lift_hold(story.trial, SECOND, EndCycle(SUBJECT, 1, "well again"))
    assert story.cycle()["state"] == "ASSESSED"
    held, lifted = story.rows("assessments")[-2:]
    assert (held["decision"], held["reason"], held["decided_by"]) == ("physician", "fever", "ines")
    assert (lifted["decision"], lifted["decided_by"]) == ("none", "paul")
    with story.trial.read() as reader:
        trail = [(row["actor"], body["reason"]) for row, body in audit.bodies(reader) if row["action"] == "lift_hold"]
    assert set(trail) == {("paul", "well again")}
    with pytest.raises(TransitionError, match="no physician holds it; assess it instead"):
        lift_hold(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "again"))
    assert assess(story).state == "ASSESSED"


def test_a_lifted_hold_goes_over_to_the_rules_where_they_hold(story: Story) -> None:
    hold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "fever"))
    story.clock.advance(hours=2)
    story.labs(sample="new", platelets="40")
    assert lift_hold(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "well again")).state == "HELD"
    assert "platelets" in story.cycle()["reason"]
    with story.trial.read() as reader:
        assert physicians_hold(reader, story.cycle()) is None
    assert assess(story).state == "HELD"


def test_a_held_cycle_can_be_withheld_and_old_values_lift_nothing(story: Story) -> None:
    hold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "fever"))
    story.clock.advance(days=8)
    with pytest.raises(InputError, match="expected values of the last 7 days"):
        lift_hold(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "well again"))
    withhold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "fever stays"))
    assert story.cycle()["state"] == "WITHHELD"


@pytest.mark.requirement(31)
@pytest.mark.parametrize("related", ["possible", "none"])
def test_a_fatal_event_without_death_opens_a_query_and_stops_the_assessment(story: Story, related: str) -> None:
    number = event(story, **FATAL | {"related": related})
    (query,) = story.rows("queries")
    assert (query["table_name"], query["field"], query["opened_by"]) == ("adverse_events", "grade", "system")
    assert "no death is recorded" in story.row("query_messages")["text"]
    with pytest.raises(TransitionError, match=rf"adverse event {number} \(Vomiting\) is fatal, and no death"):
        assess(story)
    with pytest.raises(TransitionError, match="is fatal, and no death is recorded; record the death"):
        story.propose(1, acknowledged=())
    correct = {"grade": 4, "outcome": "recovered", "seriousness": "life_threatening"}
    correct_event(story.trial, COORDINATOR, CorrectEvent(SUBJECT, number, 1, correct, "wrong person"))
    if related == "possible":
        assert assess(story).state == "ASSESSED"  # over before the first infusion
    correct_event(
        story.trial, COORDINATOR, CorrectEvent(SUBJECT, number, 1, dict(FATAL) | {"related": related}, "right person")
    )
    assert len(story.rows("queries")) == 2


@pytest.mark.requirement(31)
def test_a_fatal_event_of_a_subject_whose_death_is_recorded_asks_nothing(story: Story) -> None:
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-11", "vomiting"))
    event(story, **FATAL)
    assert story.rows("queries") == []


SEEN = {
    "contact": lambda s: record_contact(s.trial, COORDINATOR, Contact(SUBJECT, "2026-01-11")),
    "vitals": lambda s: record_vitals(s.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-11", 68.0)),
    "treatment": lambda s: record_treatment(s.trial, COORDINATOR, RecordTreatment(SUBJECT, "g_csf", "2026-01-11")),
    "adverse event": lambda s: event(s, started_on="2026-01-11"),
    "laboratory sample": lambda s: None,  # taken an hour before the assessment
    "visit": lambda s: stored(s, "visits", visit="week 4", done_on="2026-01-11", state="DONE"),
    "tumour assessment": lambda s: stored(s, "responses", assessed_on="2026-01-11"),
}


def stored(story: Story, table: str, **values: Any) -> None:
    story.trial.commit(Change("prepare", [Create(table, {"subject_id": SUBJECT, **values})]), SYSTEM)


@pytest.mark.requirement(31)
@pytest.mark.parametrize("what", SEEN)
def test_a_death_before_a_day_on_which_the_subject_was_seen_is_refused(tmp_path: Path, what: str) -> None:
    story = make_story(tmp_path, draws=30)
    story.at(DAY - timedelta(hours=20))
    SEEN[what](story)
    if what == "laboratory sample":
        story.labs()
    before = story.trial.head().head
    with pytest.raises(InputError, match=f"found death on 2026-01-10, before the .*{what}.* 2026-01-11"):
        leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-10", "fall"))
    assert story.trial.head().head == before
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-11", "fall"))
    assert story.row("subjects", subject_id=SUBJECT)["state"] == "DEAD"
    story.trial.close()


@pytest.mark.requirement(31)
def test_a_sample_that_was_not_taken_shows_nobody_alive(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=30)
    story.at(DAY)
    absent = LabEntry("platelets", missing_reason="not done")
    enter_labs(story.trial, COORDINATOR, EnterLabs(SUBJECT, "2026-01-11T08:00:00+00:00", [absent]))
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-10", "fall"))
    story.trial.close()


@pytest.mark.requirement(31)
def test_a_partial_date_does_not_contradict_a_death_in_its_month(story: Story) -> None:
    story.clock.advance(days=1)
    event(story, started_on="2026-01")
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-11", "fall"))


def _kidneys(story: Story, answer: str, reason: str | None = None) -> None:
    record_baseline(story.trial, COORDINATOR, RecordBaseline(SUBJECT, {"kidneys_present": answer}, reason=reason))


CHANGES = {
    "the adverse events changed": lambda s: event(s),
    "the red-cell transfusions changed": lambda s: record_treatment(
        s.trial, COORDINATOR, RecordTreatment(SUBJECT, "transfusion_red", "2026-01-11")
    ),
    "the number of kidneys changed": lambda s: _kidneys(s, "1"),
}


@pytest.mark.parametrize("words", CHANGES)
def test_an_open_prescription_becomes_void_and_names_what_changed(story: Story, words: str) -> None:
    story.propose(1)
    assert read_standing(story.trial, PHYSICIAN, SUBJECT, 1) == ()
    story.clock.advance(minutes=10)
    CHANGES[words](story)
    assert words in read_standing(story.trial, PHYSICIAN, SUBJECT, 1)
    with pytest.raises(TransitionError, match=f"is void now, because .*{words}"):
        story.release(1, 1)
    assert {r["state"] for r in story.rows("prescriptions")} == {"VOID"}


def test_a_solitary_kidney_reaches_the_computation(story: Story) -> None:
    for answer, expected in (("2", 2), ("1", 1)):
        _kidneys(story, answer, "imaging")
        with story.trial.read() as reader:
            assert kidneys_present(reader, SUBJECT) == expected
            case = course_case(reader, SUBJECT, protocol_of(story.trial, reader), as_of=story.clock.now())
        assert case.subject.kidneys_present == expected


def test_a_hold_from_before_these_records_is_a_physicians_too(story: Story) -> None:
    cycle = story.cycle()
    hold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "fever"))
    held = {**story.cycle(), "cycle": 2}
    row = {"subject_id": SUBJECT, "cycle": 2, "assessment": "01", "decision": "none", "decided_by": "cora"}
    story.trial.commit(Change("prepare", [Create("assessments", row)]), SYSTEM)
    with story.trial.read() as reader:
        found = physicians_hold(reader, held)
        assert found is not None
        assert (found.by, found.reason) == ("a physician", "fever")
        assert physicians_hold(reader, cycle) is None
