"""What a determined or hurried person might try: treat who withdrew, get round an override, write at another site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import (
    COORDINATOR,
    PHYSICIAN,
    PHYSICIST,
    STATISTICIAN,
    SUBJECT,
    Story,
    make_story,
    person,
)

from lutetia.errors import InputError, TransitionError
from lutetia.trial import queries
from lutetia.trial.queries_audit import audit_trail
from lutetia.trial.records import SYSTEM, Change, Create, Update
from lutetia.trial.schema import SCHEMA
from lutetia.workflow.administration import (
    CorrectAdministration,
    NuclideGiven,
    RecordAdministration,
    correct_administration,
    record_administration,
)
from lutetia.workflow.adverse_events import (
    ChangeGrade,
    CorrectEvent,
    EndEvent,
    RecordEvent,
    ReportSerious,
    change_grade,
    correct_event,
    end_event,
    record_event,
    report_serious,
)
from lutetia.workflow.batches import ReceiveBatch, receive_batch
from lutetia.workflow.consent import RecordConsent, WithdrawConsent, record_consent, withdraw_consent
from lutetia.workflow.cycles import EndCycle, MoveCycle, hold_cycle, move_cycle
from lutetia.workflow.documents import PutInForce, put_in_force
from lutetia.workflow.jobs import Outcome, claim_job, job_edit, repeat_job
from lutetia.workflow.laboratory import EnterLabs, ImportLabs, LabEntry, enter_labs, preview_labs
from lutetia.workflow.missing import RecordMissing, record_missing
from lutetia.workflow.prescription import LowerPrescription, lower_prescription, read_standing

DAY = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
NAUSEA = {"started_on": "2026-01-10", "ongoing": "yes", "term": "Nausea", "grade": 2, "serious": "no",
          "related": "possible"}  # fmt: skip


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """An assessed first cycle, a day before it is planned."""
    made = make_story(tmp_path, draws=40)
    made.at(DAY - timedelta(hours=20))
    made.assessed("2026-01-12")
    yield made
    made.trial.close()


def released(story: Story) -> None:
    story.propose(1)
    story.release(1, 1)
    story.batches()
    story.at(DAY + timedelta(hours=3))


def lower(story: Story, yttrium_MBq: float) -> None:
    amounts = {"Lu-177": 3700.0, "Y-90": yttrium_MBq}
    command = LowerPrescription(SUBJECT, 1, 1, amounts, "tired patient", story.sign(PHYSICIAN))
    lower_prescription(story.trial, PHYSICIAN, command)


def refused(story: Story, action: Any, error: type[Exception], words: str) -> None:
    before = story.trial.head().head
    with pytest.raises(error, match=words):
        action()
    assert story.trial.head().head == before


def test_a_subject_who_withdrew_consent_is_not_treated(story: Story) -> None:
    released(story)
    record_consent(story.trial, COORDINATOR, RecordConsent(SUBJECT, "1.0", "2026-01-02", "cora"))
    withdraw_consent(story.trial, COORDINATOR, WithdrawConsent(SUBJECT, "2026-01-12", "own wish"))
    assert story.cycle()["state"] == "CANCELLED"
    assert {r["state"] for r in story.rows("prescriptions")} == {"VOID"}
    refused(story, lambda: story.give(1, 1), TransitionError, "VOID")


def test_a_prescription_does_not_stand_for_a_subject_outside_of_treatment(story: Story) -> None:
    released(story)
    key = {"subject_id": SUBJECT}
    story.trial.commit(Change("as imported", [Update("subjects", key, {"state": "LOST"})]), SYSTEM)
    assert read_standing(story.trial, PHYSICIST, SUBJECT, 1) == ("the subject is LOST",)
    refused(story, lambda: story.give(1, 1), TransitionError, "the subject is LOST")


def test_what_was_given_is_recorded_after_a_first_attempt_without_explanation_was_refused(story: Story) -> None:
    released(story)
    story.at(DAY + timedelta(days=8))
    refused(story, lambda: story.give(1, 1), TransitionError, "does not stand any more")
    found = story.give(1, 1, given_despite="given in an emergency")
    assert story.cycle()["state"] == "GIVEN"
    assert any("given in an emergency" in text for text in found.deviations)


def test_lowering_does_not_get_round_the_second_physician(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutetia.workflow.prescription.over_limits", lambda outcomes: ())
    monkeypatch.setattr("lutetia.workflow.prescription_choice.over_limits", lambda outcomes: ())
    made = story.propose(1, chosen_MBq={"Lu-177": 3700.0, "Y-90": 4500.0}, note="discussed in the board")
    assert made.override_needed
    assert story.rows("prescriptions", nuclide="Y-90")[0]["further"]["over"] == ["more Y-90 than computed"]
    refused(story, lambda: lower(story, 4499.0), InputError, "more Y-90 than computed")
    lower(story, 3700.0)
    assert {r["state"] for r in story.rows("prescriptions")} == {"RELEASED"}


def test_the_prediction_kept_is_that_of_the_lowered_activity_and_who_lowers_may_lower_again(story: Story) -> None:
    story.propose(1)
    before = story.row("forecasts", region="kidneys", horizon="next")["absorbed_dose_Gy"]
    doses = []
    for yttrium in (2960.0, 1850.0):
        lower(story, yttrium)
        doses.append(story.row("forecasts", region="kidneys", horizon="next")["absorbed_dose_Gy"])
    assert before > doses[0] > doses[1] > 0
    assert story.row("overrides")["decision"] == "lowered"
    per_MBq = [(before - doses[0]) / (3700.0 - 2960.0), (doses[0] - doses[1]) / (2960.0 - 1850.0)]
    assert per_MBq[0] == pytest.approx(per_MBq[1], rel=1e-6)


@pytest.mark.parametrize(
    ("zone", "hour", "stands"), [("America/Los_Angeles", 4, True), ("Pacific/Auckland", 14, False)]
)
def test_the_last_day_of_the_window_ends_at_midnight_of_the_site(
    story: Story, zone: str, hour: int, stands: bool
) -> None:
    change = Change("zone", [Update("sites", {"site": "01"}, {"timezone": zone})])
    story.trial.commit(change, SYSTEM, "wrong zone")
    story.at(datetime(2026, 1, 18, 20, tzinfo=UTC))
    story.labs(sample="late")
    story.propose(1)
    night = datetime(2026, 1, 20 if stands else 19, hour, tzinfo=UTC)
    story.at(night)
    why = read_standing(story.trial, PHYSICIST, SUBJECT, 1)
    assert any("window passed" in text for text in why) is not stands


def test_a_death_is_no_change_of_grade_and_no_end_of_a_harmless_event(story: Story) -> None:
    number = record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, NAUSEA))
    five = ChangeGrade(SUBJECT, number, 5, "2026-01-11")
    refused(story, lambda: change_grade(story.trial, COORDINATOR, five), InputError, "correct the event instead")
    fatal = EndEvent(SUBJECT, number, "2026-01-11", "fatal")
    refused(story, lambda: end_event(story.trial, COORDINATOR, fatal), InputError, "go together")
    died = {"grade": 5, "serious": "yes", "seriousness": "death", "outcome": "fatal", "ongoing": "no",
            "ended_on": "2026-01-11", "aware_at": "2026-01-11T09:00:00+00:00"}  # fmt: skip
    correct_event(story.trial, COORDINATOR, CorrectEvent(SUBJECT, number, 1, died, "the subject died"))
    assert story.row("serious_events")["due_at"] == "2026-01-12T09:00:00+00:00"


def test_the_24_hours_run_from_the_corrected_awareness(story: Story) -> None:
    serious = NAUSEA | {"serious": "yes", "seriousness": "hospitalisation", "aware_at": "2026-01-10T08:00:00+00:00",
                        "started_on": "2026-01-09"}  # fmt: skip
    number = record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, serious))
    report = ReportSerious(SUBJECT, number, "2026-01-11T07:00:00+00:00", "in hospital since Saturday")
    report_serious(story.trial, COORDINATOR, report)
    assert story.rows("deviations") == []
    earlier = CorrectEvent(SUBJECT, number, 1, {"aware_at": "2026-01-09T20:00:00+01:00"}, "wrong day")
    correct_event(story.trial, COORDINATOR, earlier)
    row = story.row("serious_events")
    assert (row["aware_at"], row["due_at"]) == ("2026-01-09T19:00:00+00:00", "2026-01-10T19:00:00+00:00")
    assert "due at 2026-01-10T19:00:00" in story.row("deviations")["description"]


def test_events_that_were_imported_under_other_names_do_not_stop_new_ones(story: Story) -> None:
    row = {"subject_id": SUBJECT, "ae_id": "AE-7", "seq": 1, "term": "Rash", "grade": 1, "ongoing": "no"}
    story.trial.commit(Change("as imported", [Create("adverse_events", row)]), SYSTEM)
    assert record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, NAUSEA)) == "001"


def test_a_missing_reason_is_written_for_the_own_subject_only(story: Story) -> None:
    other = {"subject_id": "TWO-1", "site": "02", "sex": "male", "age_years": 50, "state": "SCREENING"}
    story.trial.commit(Change("enrol", [Create("subjects", other)]), SYSTEM)
    theirs = RecordMissing("TWO-1", "vitals", "TWO-1 / 2026-01-10", "weight_kg", "not done", "scales broken")
    vitals = {"subject_id": "TWO-1", "taken_on": "2026-01-10", "ecog": 1}
    story.trial.commit(Change("vitals", [Create("vitals", vitals)]), SYSTEM)
    record_missing(story.trial, person("olga", "coordinator", "02"), theirs)
    for table, key in (("vitals", "TWO-1 / 2026-01-10"), ("users", f"{SUBJECT}")):
        field = "weight_kg" if table == "vitals" else "email"
        mine = RecordMissing(SUBJECT, table, key, field, "unknown", "other words", "a reason")
        refused(story, lambda one=mine: record_missing(story.trial, COORDINATOR, one), InputError, "is no form of")
    assert story.row("missing_reasons")["note"] == "scales broken"


def test_a_repeated_job_is_not_taken_for_silent_by_signs_of_an_earlier_attempt(story: Story) -> None:
    trial, kinds = story.trial, {"count": lambda trial, job: Outcome(lambda reader: [])}
    trial.commit(lambda reader: Change("queue", [job_edit(reader, PHYSICIST, "count", {}, subject_id=SUBJECT)]), SYSTEM)
    first = claim_job(trial, "a", kinds)
    assert first is not None
    trial.commit(Change("fail", [Update("jobs", first["record_id"], {"state": "FAILED"})]), SYSTEM)
    story.clock.advance(hours=2)
    repeat_job(trial, PHYSICIST, 1)
    # Another worker has just claimed it and not yet given its first sign of life.
    values = {"state": "RUNNING", "started_at": story.clock.now().isoformat(), "attempts": 1}
    trial.commit(Change("claim_job", [Update("jobs", first["record_id"], values)]), SYSTEM)
    assert claim_job(trial, "b", kinds) is None


def test_a_table_with_an_endless_header_is_refused_in_words(story: Story) -> None:
    content = b'"' + b"x" * 200_000 + b'",analyte\r\n'
    with pytest.raises(InputError, match="is no CSV table"):
        preview_labs(story.trial, COORDINATOR, ImportLabs(content, "labs.csv"))


def test_a_document_comes_into_force_on_a_whole_day(story: Story) -> None:
    admin = person("ada", "administrator", None)
    command = PutInForce("DOC0001", "01", "2026-05")
    refused(story, lambda: put_in_force(story.trial, admin, command), InputError, "whole date")


def test_a_void_version_is_not_administered_whatever_is_explained(story: Story) -> None:
    released(story)
    parts = [story.part("Lu-177", 3700.0), story.part("Y-90", 3700.0)]
    key = {"subject_id": SUBJECT, "cycle": 1}
    rows = [Update("prescriptions", key | {"version": 1, "nuclide": n}, {"state": "VOID"}) for n in ("Lu-177", "Y-90")]
    story.trial.commit(Change("void", [*rows, Update("cycles", key, {"state": "ASSESSED"})]), SYSTEM)
    command = RecordAdministration(SUBJECT, 1, 1, parts, given_despite="we had the syringe ready")
    refused(story, lambda: record_administration(story.trial, PHYSICIST, command), TransitionError, "VOID")
    hold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, 1, "new values"))


def test_a_corrected_administration_corrects_the_account_of_its_batch(story: Story) -> None:
    released(story)
    story.batches("b")
    start = DAY + timedelta(hours=1)
    given = story.part("Lu-177", 3700.0, start=start)
    command = RecordAdministration(SUBJECT, 1, 1, [given], {"Y-90": "not delivered"})
    record_administration(story.trial, PHYSICIST, command)

    def used(batch: str) -> float:
        rows = story.rows("product_movements", batch=batch, kind="used")
        return sum(float(row["activity_MBq"]) for row in rows)

    def correct(part: NuclideGiven) -> None:
        correct_administration(story.trial, PHYSICIST, CorrectAdministration(SUBJECT, 1, part, "typing error"))

    correct(story.part("Lu-177", 3600.0, start=start))
    assert (used("Lu-177-a"), used("Lu-177-b")) == (3600.0, 0.0)
    correct(replace(story.part("Lu-177", 3650.0, start=start), batch="Lu-177-b"))
    assert (used("Lu-177-a"), used("Lu-177-b")) == (0.0, 3650.0)
    correct(story.part("Y-90", 3700.0, start=start))
    assert used("Y-90-a") == 3700.0


@pytest.mark.requirement(31)
@pytest.mark.parametrize("value", ["1e400", "1_0", "１２", "1e-400", "12345678901"])
def test_a_laboratory_value_is_written_in_plain_digits(story: Story, value: str) -> None:
    refused(story, lambda: story.labs(sample="odd", platelets=value), InputError, "expected plain digits")


def test_the_day_of_a_sample_is_kept_in_one_form(story: Story) -> None:
    entry = LabEntry("platelets", "240", "10^9/L", "150", "400")
    enter_labs(story.trial, COORDINATOR, EnterLabs(SUBJECT, "2026-W01-1", [entry], sample_id="week"))
    assert story.row("labs", sample_id="week")["taken_at"] == "2025-12-29"


@pytest.mark.requirement(31)
@pytest.mark.parametrize("day", ["9999-12-31", "2037-01-01"])
def test_a_cycle_is_not_planned_in_another_age(story: Story, day: str) -> None:
    command = MoveCycle(SUBJECT, 1, day, "typing")
    refused(story, lambda: move_cycle(story.trial, COORDINATOR, command), InputError, "check the year")


@pytest.mark.parametrize("at", ["1930-11-01T08:00:00+00:00", "9999-12-31T23:00:00+00:00"])
def test_a_batch_is_of_this_age(story: Story, at: str) -> None:
    command = ReceiveBatch("B1", "Lu-177", "DOTA-TATE", "01", "Maker", 9000.0, at, at, "2026-01-10")
    refused(story, lambda: receive_batch(story.trial, PHYSICIST, command), InputError, "check the year")


@pytest.mark.requirement(10)
def test_masked_readers_see_the_same_rows_of_a_cycle_with_one_nuclide_and_with_two(tmp_path: Path) -> None:
    trails, tables = [], []
    for arm in ("A", "B"):
        story = make_story(tmp_path / arm, arm=arm, draws=30)
        story.at(DAY - timedelta(hours=20))
        story.assessed("2026-01-12")
        released(story)
        story.give(1, 1)
        with story.trial.read() as reader:
            trail = audit_trail(reader, STATISTICIAN, limit=500)
            trails.append([(e.action, e.table, e.key, e.kind, e.reason) for e in trail])
            seen = [t for t in SCHEMA if t not in ("randomisation_list", "study")]
            tables.append({table: len(queries.records(reader, STATISTICIAN, table)) for table in seen})
        story.trial.close()
    assert trails[0] == trails[1]
    assert tables[0] == tables[1]
