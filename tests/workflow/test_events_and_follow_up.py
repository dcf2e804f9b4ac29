"""Adverse events, vitals, treatments, deviations, response, and how subjects leave; what cannot be is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import (
    COORDINATOR,
    ELSEWHERE,
    OFFICER,
    PHYSICIAN,
    PHYSICIST,
    SUBJECT,
    Story,
    make_story,
)

from lutetia.errors import (
    AccessDeniedError,
    InputError,
    MissingRecordError,
    ReasonRequiredError,
    StaleRecordError,
    TransitionError,
)
from lutetia.trial import SYSTEM, Change, Create
from lutetia.trial.states import MACHINES
from lutetia.workflow.adverse_events import (
    ChangeGrade,
    CorrectEvent,
    EndEvent,
    JudgeSerious,
    RecordEvent,
    ReportSerious,
    change_grade,
    correct_event,
    end_event,
    judge_causality,
    judge_expectedness,
    record_event,
    report_serious,
    serious_due,
)
from lutetia.workflow.cycles import (
    EndCycle,
    MoveCycle,
    PlanCycle,
    cancel_cycle,
    close_cycle,
    hold_cycle,
    move_cycle,
    plan_cycle,
)
from lutetia.workflow.deviations import RecordDeviation, ReviewDeviation, record_deviation, review_deviation
from lutetia.workflow.entry_checks import RULES, check_form
from lutetia.workflow.follow_up import (
    Contact,
    EndTreatment,
    Leave,
    end_treatment,
    leave,
    record_contact,
)
from lutetia.workflow.toxicity_records import toxicity_events
from lutetia.workflow.vitals import RecordTreatment, RecordVitals, record_treatment, record_vitals

NAUSEA = {"started_on": "2026-01-04", "ongoing": "yes", "term": "Nausea", "grade": 1, "serious": "no",
          "related": "possible"}  # fmt: skip
SERIOUS = NAUSEA | {"term": "Vomiting", "grade": 3, "serious": "yes", "seriousness": "hospitalisation",
                    "aware_at": "2026-01-05T06:00:00+00:00"}  # fmt: skip


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = make_story(tmp_path)
    yield made
    made.trial.close()


def event(story: Story, **values: Any) -> str:
    merged = {k: v for k, v in (NAUSEA | values).items() if v is not None}
    return record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, merged))


def test_a_grade_change_makes_a_new_period_and_ends_the_one_before(story: Story) -> None:
    number = event(story, started_on="2026-01-02")
    change_grade(story.trial, COORDINATOR, ChangeGrade(SUBJECT, number, 3, "2026-01-04"))
    first, second = story.rows("adverse_events")
    assert (first["grade"], first["ended_on"], first["ongoing"]) == (1, "2026-01-04", "no")
    assert (second["grade"], second["seq"], second["ongoing"], second["term"]) == (3, 2, "yes", "Nausea")
    with pytest.raises(InputError, match="grade 3 again"):
        change_grade(story.trial, COORDINATOR, ChangeGrade(SUBJECT, number, 3, "2026-01-05"))
    end_event(story.trial, COORDINATOR, EndEvent(SUBJECT, number, "2026-01-05", "recovered"))
    with pytest.raises(TransitionError, match="ended on"):
        end_event(story.trial, COORDINATOR, EndEvent(SUBJECT, number, "2026-01-05", "recovered"))
    with pytest.raises(TransitionError, match="record a new event"):
        change_grade(story.trial, COORDINATOR, ChangeGrade(SUBJECT, number, 2, "2026-01-05"))
    assert event(story) == "002"


def test_related_events_go_to_the_toxicity_rules_laboratory_terms_by_their_analyte(story: Story) -> None:
    event(story, grade=3)
    event(story, term="Platelet count decreased", grade=3)
    event(story, term="Fall", related="none", grade=3)
    event(story, term="Hypersensitivity reaction", grade=3)
    with story.trial.read() as reader:
        found = {(e.kind, e.grade) for e in toxicity_events(reader, SUBJECT)}
    assert found == {("nausea", 3), ("platelets", 3), ("hypersensitivity", 3)}


BAD_EVENTS = {
    "no term": ({"term": None}, "term: is missing"),
    "grade 6": ({"grade": 6}, "expected 1 to 5"),
    "grade 2.5": ({"grade": 2.5}, "whole number"),
    "future": ({"started_on": "2026-02-01"}, "in the future"),
    "no such month": ({"started_on": "2026-13"}, "expected a date"),
    "ended before it began": ({"ongoing": "no", "ended_on": "2026-01-02"}, "before started_on"),
    "ongoing with an end": ({"ended_on": "2026-01-05"}, "although the event goes on; keep one"),
    "ended without a day": ({"ongoing": "no"}, "ended_on: is missing"),
    "unknown relation": ({"related": "perhaps"}, "expected one of none"),
    "serious without why": ({"serious": "yes"}, "seriousness: is missing"),
    "grade 5 not serious": ({"grade": 5}, "grade 5"),
    "fatal but grade 3": ({"outcome": "fatal", "grade": 3}, "go together"),
    "unknown field": ({"colour": "red"}, "no field of this form"),
}


@pytest.mark.requirement(31)
@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_wrong_event_is_refused_and_nothing_is_stored(story: Story, name: str) -> None:
    values, words = BAD_EVENTS[name]
    before = story.trial.head().head
    with pytest.raises(InputError, match=words):
        event(story, **values)
    assert story.trial.head().head == before


def test_a_partial_date_is_kept_partial(story: Story) -> None:
    event(story, started_on="2026-01")
    assert story.row("adverse_events")["started_on"] == "2026-01"


def test_an_unusual_event_is_stored_and_asked_about(story: Story) -> None:
    event(story, started_on="2025-12-24", grade=4)
    assert {q["field"] for q in story.rows("queries")} == {"started_on", "serious"}


def test_a_serious_event_has_24_hours(story: Story) -> None:
    number = event(story, **SERIOUS)
    (due,) = serious_due(story.trial, PHYSICIAN)
    assert (due.ae_id, due.term, due.hours_left) == (number, "Vomiting", pytest.approx(22.0))
    assert serious_due(story.trial, ELSEWHERE) == []
    story.clock.advance(hours=23)
    late = ReportSerious(SUBJECT, number, story.clock.now().isoformat(), "admitted with vomiting")
    with pytest.raises(InputError, match="expected a time from"):
        report_serious(story.trial, COORDINATOR, replace(late, reported_at="2026-01-04T00:00:00+00:00"))
    report_serious(story.trial, COORDINATOR, late)
    assert story.row("deviations")["severity"] == "major"
    assert serious_due(story.trial, OFFICER) == []
    with pytest.raises(TransitionError, match="already"):
        report_serious(story.trial, COORDINATOR, late)


def test_a_report_in_time_is_no_deviation(story: Story) -> None:
    number = event(story, **SERIOUS)
    report_serious(story.trial, COORDINATOR, ReportSerious(SUBJECT, number, story.clock.now().isoformat(), "admitted"))
    assert story.rows("deviations") == []
    assert story.row("adverse_events")["reported_at"]


def test_causality_is_the_physicians_and_expectedness_the_safety_officers(story: Story) -> None:
    number = event(story, **SERIOUS)
    with pytest.raises(AccessDeniedError):
        judge_causality(story.trial, COORDINATOR, JudgeSerious(SUBJECT, number, "probable"))
    with pytest.raises(AccessDeniedError):
        judge_expectedness(story.trial, PHYSICIAN, JudgeSerious(SUBJECT, number, "unexpected"))
    judge_causality(story.trial, PHYSICIAN, JudgeSerious(SUBJECT, number, "probable"))
    judge_expectedness(story.trial, OFFICER, JudgeSerious(SUBJECT, number, "unexpected"))
    row = story.row("adverse_events")
    assert (row["related"], row["expected"]) == ("probable", "no")
    assert story.row("notices")["kind"] == "susar"
    with pytest.raises(MissingRecordError, match="is not serious"):
        judge_causality(story.trial, PHYSICIAN, JudgeSerious(SUBJECT, event(story), "none"))


def test_a_stale_form_is_refused(story: Story) -> None:
    number = event(story)
    seen = story.row("adverse_events")["record_version"]
    first = CorrectEvent(SUBJECT, number, 1, {"grade": 2}, "source document", seen)
    correct_event(story.trial, COORDINATOR, first)
    with pytest.raises(StaleRecordError, match="reload"):
        correct_event(story.trial, COORDINATOR, replace(first, values={"grade": 1}))
    assert story.row("adverse_events")["grade"] == 2


@pytest.mark.requirement(31)
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (RecordVitals(SUBJECT, "2026-01-04"), "neither weight nor ECOG"),
        (RecordVitals(SUBJECT, "2026-01-04", 6.8), "expected 20 to 350"),
        (RecordVitals(SUBJECT, "2026-01-04", ecog=7), "expected 0 to 5"),
        (RecordVitals(SUBJECT, "2026-02-04", 68.0), "in the future"),
        (RecordVitals(SUBJECT, "2026-01", 68.0), "whole date"),
    ],
)
def test_vitals_that_cannot_be_are_refused(story: Story, command: RecordVitals, words: str) -> None:
    with pytest.raises(InputError, match=words):
        record_vitals(story.trial, COORDINATOR, command)
    assert story.rows("vitals") == []


def test_the_last_day_on_which_something_can_have_happened_is_that_of_the_site(story: Story) -> None:
    story.at(datetime(2026, 1, 5, 22, 30, tzinfo=UTC))  # 23:30 in Warsaw
    with pytest.raises(InputError, match="found 2026-01-06, which is in the future; today is 2026-01-05"):
        record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-06", 68.0))
    with pytest.raises(InputError, match="in the future"):
        leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-06", "progression"))
    story.clock.advance(hours=1)
    record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-06", 68.0))


def test_a_field_that_is_emptied_in_a_correction_is_empty_and_one_that_is_not_named_stays(story: Story) -> None:
    record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-03", 68.0, 1))
    record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-03", 68.0))
    assert story.row("vitals")["ecog"] == 1
    seen = story.row("vitals")["record_version"]
    emptied = RecordVitals(SUBJECT, "2026-01-03", 68.0, version=seen)
    with pytest.raises(ReasonRequiredError):
        record_vitals(story.trial, COORDINATOR, emptied)
    record_vitals(story.trial, COORDINATOR, replace(emptied, reason="of another patient"))
    assert (story.row("vitals")["weight_kg"], story.row("vitals")["ecog"]) == (68.0, None)
    ended = RecordTreatment(SUBJECT, "epo", "2026-01-02", "darbepoetin", "2026-01-04")
    record_treatment(story.trial, COORDINATOR, ended)
    goes_on = replace(ended, ended_on=None, reason="goes on", version=story.row("treatments")["record_version"])
    record_treatment(story.trial, COORDINATOR, goes_on)
    assert story.row("treatments")["ended_on"] is None


def test_vitals_change_with_a_reason_and_a_jump_is_asked_about(story: Story) -> None:
    record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-03", 68.0, 1))
    record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-04", 86.0))
    assert "weight 86 kg after 68 kg" in story.row("query_messages")["text"]
    correct = RecordVitals(SUBJECT, "2026-01-04", 68.0)
    with pytest.raises(ReasonRequiredError):
        record_vitals(story.trial, COORDINATOR, correct)
    record_vitals(story.trial, COORDINATOR, replace(correct, reason="digits were exchanged"))
    assert story.row("vitals", taken_on="2026-01-04")["weight_kg"] == 68.0


def test_a_treatment_is_opened_and_ended(story: Story) -> None:
    command = RecordTreatment(SUBJECT, "transfusion_red", "2026-01-03", "2 units")
    record_treatment(story.trial, COORDINATOR, command)
    record_treatment(story.trial, COORDINATOR, replace(command, ended_on="2026-01-03"))
    assert story.row("treatments")["ended_on"] == "2026-01-03"
    for changed, words in (({"kind": "tea"}, "expected one of"), ({"ended_on": "2026-01-01"}, "before started_on")):
        with pytest.raises(InputError, match=words):
            record_treatment(story.trial, COORDINATOR, replace(command, **changed))


def test_a_deviation_is_reviewed_once_by_a_physician(story: Story) -> None:
    command = RecordDeviation(SUBJECT, "2026-01-04", "procedure", "minor", "vitals not measured")
    number = record_deviation(story.trial, COORDINATOR, command)
    review = ReviewDeviation(SUBJECT, number, "no consequence")
    with pytest.raises(AccessDeniedError):
        review_deviation(story.trial, COORDINATOR, review)
    review_deviation(story.trial, PHYSICIAN, review)
    assert story.row("deviations")["reviewed_by"] == "ines"
    with pytest.raises(TransitionError, match="reviewed by ines already"):
        review_deviation(story.trial, PHYSICIAN, review)
    with pytest.raises(InputError, match="expected one of"):
        record_deviation(story.trial, COORDINATOR, replace(command, severity="terrible"))


def test_treatment_ends_with_a_physicians_reason_and_open_cycles_are_cancelled(story: Story) -> None:
    story.at(datetime(2026, 1, 11, 12, 0, tzinfo=UTC))
    story.assessed("2026-01-12")
    story.propose(1)
    command = EndTreatment(SUBJECT, "2026-01-11", "subject's wish")
    with pytest.raises(AccessDeniedError):
        end_treatment(story.trial, COORDINATOR, command)
    end_treatment(story.trial, PHYSICIAN, command)
    assert story.row("subjects", subject_id=SUBJECT)["state"] == "FOLLOW_UP"
    assert story.cycle()["state"] == "CANCELLED"
    assert {r["state"] for r in story.rows("prescriptions")} == {"VOID"}
    with pytest.raises(TransitionError, match="needs a randomised subject in treatment"):
        plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-20"))
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "completed", "2026-01-11"))
    assert story.row("subjects", subject_id=SUBJECT)["state"] == "COMPLETED"


@pytest.mark.parametrize(("kind", "state"), [("withdrew", "CONSENT_WITHDRAWN"), ("lost", "LOST"), ("died", "DEAD")])
def test_a_subject_leaves_with_a_reason(story: Story, kind: str, state: str) -> None:
    with pytest.raises(InputError, match="reason: is missing"):
        leave(story.trial, COORDINATOR, Leave(SUBJECT, kind, "2026-01-04"))
    leave(story.trial, COORDINATOR, Leave(SUBJECT, kind, "2026-01-04", "said so"))
    assert story.row("subjects", subject_id=SUBJECT)["state"] == state
    assert story.row("disposition")["event"] == kind
    if state == "LOST":
        record_contact(story.trial, COORDINATOR, Contact(SUBJECT, "2026-01-05"))
        assert story.row("subjects", subject_id=SUBJECT)["state"] == "FOLLOW_UP"
    else:
        with pytest.raises(TransitionError):
            record_contact(story.trial, COORDINATOR, Contact(SUBJECT, "2026-01-05"))


@pytest.mark.parametrize("day", ["2026-02-01", "2026-01-01", "yesterday"])
def test_a_subject_cannot_leave_in_the_future_or_before_it_came(story: Story, day: str) -> None:
    before = story.trial.head().head
    with pytest.raises(InputError):
        leave(story.trial, COORDINATOR, Leave(SUBJECT, "lost", day, "x"))
    assert story.trial.head().head == before


def test_cycles_follow_their_state_machine_only(story: Story) -> None:
    trial = story.trial
    plan_cycle(trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-06"))
    with pytest.raises(TransitionError, match="cycle 1 is PLANNED"):
        plan_cycle(trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-07"))
    with pytest.raises(TransitionError, match="from PLANNED to HELD"):
        hold_cycle(trial, PHYSICIAN, EndCycle(SUBJECT, 1, "x"))
    with pytest.raises(TransitionError, match="from PLANNED to CLOSED"):
        close_cycle(trial, COORDINATOR, EndCycle(SUBJECT, 1))
    cancel_cycle(trial, PHYSICIAN, EndCycle(SUBJECT, 1, "planned by mistake"))
    assert plan_cycle(trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-07")) == 2
    machine = MACHINES["cycle"]
    assert {c["state"] for c in story.rows("cycles")} <= set(machine.states)


def test_a_cycle_is_moved_with_a_reason_until_it_is_given(story: Story) -> None:
    trial = story.trial
    plan_cycle(trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-06"))
    seen = story.cycle()["record_version"]
    move = MoveCycle(SUBJECT, 1, "2026-01-09", "holiday", seen)
    with pytest.raises(InputError, match="before randomisation"):
        move_cycle(trial, COORDINATOR, replace(move, planned_on="2025-12-01"))
    move_cycle(trial, COORDINATOR, move)
    assert story.row("visits")["due_on"] == "2026-01-09"
    with pytest.raises(StaleRecordError):
        move_cycle(trial, COORDINATOR, move)
    with pytest.raises(AccessDeniedError):
        move_cycle(trial, ELSEWHERE, replace(move, version=None))


def test_a_cycle_too_soon_after_the_last_one_is_a_deviation(story: Story) -> None:
    story.whole_cycle(datetime(2026, 1, 12, 8, 30, tzinfo=UTC))
    close_cycle(story.trial, COORDINATOR, EndCycle(SUBJECT, 1))
    with pytest.raises(InputError, match="was given on 2026-01-12"):
        plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-12"))
    plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-02-02", "the patient travels"))
    deviation = story.row("deviations")
    assert (deviation["kind"], deviation["severity"]) == ("window", "critical")
    assert "21 days after" in deviation["description"]


@pytest.mark.requirement(31)
def test_every_field_of_every_form_has_a_rule_that_refuses_nonsense() -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    for form, rules in RULES.items():
        for name, rule in rules.items():
            if rule.kind == "text":
                continue
            with pytest.raises(InputError, match=name):
                check_form(form, {name: "nonsense"}, now=now)
        assert any(rule.required for rule in rules.values()), form


def test_what_another_site_enters_is_refused(story: Story) -> None:
    trial = story.trial
    for action in (
        lambda: record_event(trial, ELSEWHERE, RecordEvent(SUBJECT, NAUSEA)),
        lambda: record_vitals(trial, ELSEWHERE, RecordVitals(SUBJECT, "2026-01-04", 68.0)),
        lambda: leave(trial, ELSEWHERE, Leave(SUBJECT, "lost", "2026-01-04", "x")),
        lambda: plan_cycle(trial, ELSEWHERE, PlanCycle(SUBJECT, "2026-01-06")),
    ):
        with pytest.raises(AccessDeniedError, match="site 01"):
            action()


def test_the_physicist_of_the_site_may_enter_too(story: Story) -> None:
    record_vitals(story.trial, PHYSICIST, RecordVitals(SUBJECT, "2026-01-04", 68.0))
    story.clock.advance(hours=1)
    assert story.row("vitals")["weight_kg"] == 68.0


def test_related_and_unexpected_makes_one_notice_whichever_judgement_comes_last(story: Story) -> None:
    number = event(story, **SERIOUS | {"related": "none"})
    judge_expectedness(story.trial, OFFICER, JudgeSerious(SUBJECT, number, "unexpected"))
    assert story.rows("notices", kind="susar") == []
    judge_causality(story.trial, PHYSICIAN, JudgeSerious(SUBJECT, number, "probable"))
    assert len(story.rows("notices", kind="susar")) == 1
    judge_causality(story.trial, PHYSICIAN, JudgeSerious(SUBJECT, number, "definite", reason="biopsy"))
    assert len(story.rows("notices", kind="susar")) == 1, "it was one already"


def test_another_judgement_than_the_stored_one_needs_a_reason_of_the_person(story: Story) -> None:
    number = event(story, **SERIOUS)
    for judge, actor, first, second in (
        (judge_causality, PHYSICIAN, "probable", "none"),
        (judge_expectedness, OFFICER, "expected", "unexpected"),
    ):
        judge(story.trial, actor, JudgeSerious(SUBJECT, number, first))
        with pytest.raises(ReasonRequiredError, match=f"was judged {first} before"):
            judge(story.trial, actor, JudgeSerious(SUBJECT, number, second, reason=" "))
        judge(story.trial, actor, JudgeSerious(SUBJECT, number, second, reason="second opinion"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"aware_at": "2025-12-01T08:00:00+01:00"}, "aware_at: found 2025-12-01, before the event began"),
        ({"reported_at": "2026-01-01T08:00:00+01:00"}, "reported_at: found 2026-01-01.*from aware_at"),
    ],
)
def test_the_clock_of_a_serious_event_cannot_be_contradicted(story: Story, values: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        event(story, **SERIOUS | values)
    number = event(story, **SERIOUS)
    with pytest.raises(InputError, match=words):
        correct_event(story.trial, COORDINATOR, CorrectEvent(SUBJECT, number, 1, values, "source document"))


def test_an_event_entered_with_a_late_report_is_a_deviation_and_not_due(story: Story) -> None:
    story.clock.advance(hours=48)
    event(story, **SERIOUS, reported_at=story.clock.now().isoformat())
    assert serious_due(story.trial, OFFICER) == []
    assert story.row("deviations")["severity"] == "major"


def test_an_event_that_is_not_serious_after_all_has_no_clock(story: Story) -> None:
    number = event(story, **SERIOUS)
    no = {"serious": "no", "seriousness": None}
    correct_event(story.trial, COORDINATOR, CorrectEvent(SUBJECT, number, 1, no, "discharge letter"))
    assert serious_due(story.trial, OFFICER) == []
    correct_event(story.trial, COORDINATOR, CorrectEvent(SUBJECT, number, 1, SERIOUS, "it was, after all"))
    assert [due.ae_id for due in serious_due(story.trial, OFFICER)] == [number]


def test_periods_of_one_event_meet_and_carry_one_name(story: Story) -> None:
    number = event(story, started_on="2026-01-02")
    change_grade(story.trial, COORDINATOR, ChangeGrade(SUBJECT, number, 2, "2026-01-04"))

    def corrected(seq: int, **values: str) -> None:
        correct_event(story.trial, COORDINATOR, CorrectEvent(SUBJECT, number, seq, values, "source document"))

    with pytest.raises(InputError, match="found b 2026-01-01 before a 2026-01-02"):
        corrected(2, started_on="2026-01-01")
    with pytest.raises(InputError, match="expected 2026-01-04 or before"):
        corrected(1, ended_on="2026-01-05")
    corrected(2, started_on="2026-01-03", term="Nausea and vomiting")
    first, second = sorted(story.rows("adverse_events"), key=lambda r: r["seq"])
    assert (first["ended_on"], second["started_on"]) == ("2026-01-03", "2026-01-03")
    assert first["term"] == second["term"] == "Nausea and vomiting"


def test_a_grade_after_death_is_refused(story: Story) -> None:
    number = event(story, started_on="2026-01-02")
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-03", "progression"))
    with pytest.raises(InputError, match="after the subject died on 2026-01-03"):
        change_grade(story.trial, COORDINATOR, ChangeGrade(SUBJECT, number, 2, "2026-01-04"))


def test_who_withdraws_has_no_consent_in_force(story: Story) -> None:
    consent = {"subject_id": SUBJECT, "kind": "main", "consent_version": "1", "signed_on": "2025-12-20"}
    story.trial.commit(Change("consent", [Create("consents", consent)]), SYSTEM, "as signed")
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "withdrew", "2026-01-05", "moved away"))
    assert story.row("consents", consent_version="1")["withdrawn_on"] == "2026-01-05"
