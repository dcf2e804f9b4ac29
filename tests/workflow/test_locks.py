from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.enrolment import ELIGIBLE, actor, make_trial, screened, study_lock

from lutetia.errors import (
    AccessDeniedError,
    InputError,
    LockedRecordError,
    MissingRecordError,
    SignatureError,
    TrialError,
)
from lutetia.trial import Trial
from lutetia.trial.access import ROLES
from lutetia.trial.signatures import confirm_demonstration, signatures_of
from lutetia.workflow.adverse_events import RecordEvent, record_event
from lutetia.workflow.deviations import RecordDeviation, record_deviation
from lutetia.workflow.eligibility import AnswerEligibility, answer_eligibility
from lutetia.workflow.locks import STUDY_LOCKED, Lock, Unlock, lock, open_locks, open_points, unlock
from lutetia.workflow.queries_form import OpenQuery, QueryStep, close_query, open_query
from lutetia.workflow.screening import Enrol, RecordBaseline, enrol
from lutetia.workflow.screening import record_baseline as baseline
from lutetia.workflow.signing import SignForms, sign_forms

CO, DM = actor("coordinator"), actor("data_manager")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        yield made


def record(trial: Trial, subject_id: str, item: str) -> int:
    with trial.read() as reader:
        return int(reader.record("baseline", {"subject_id": subject_id, "item": item})["record_id"])


@pytest.mark.requirement(35)
def test_a_locked_form_is_closed_and_the_others_stay_open_until_it_is_unlocked_with_a_reason(trial: Trial) -> None:
    subject_id = screened(trial)
    baseline(trial, CO, RecordBaseline(subject_id, {"grade": "2", "ecog": "1"}))
    number = lock(trial, DM, Lock("form", table="baseline", record=record(trial, subject_id, "grade"))).result
    with pytest.raises(LockedRecordError, match="form locked"):
        baseline(trial, CO, RecordBaseline(subject_id, {"grade": "3"}, reason="pathology"))
    baseline(trial, CO, RecordBaseline(subject_id, {"ecog": "0"}, reason="asked again"))
    with pytest.raises(InputError, match="reason"):
        unlock(trial, DM, Unlock(int(number), " "))
    unlock(trial, DM, Unlock(int(number), "pathology was revised"))
    baseline(trial, CO, RecordBaseline(subject_id, {"grade": "3"}, reason="pathology"))
    with trial.read() as reader:
        row = reader.record("locks", {"lock_id": number})
    assert (row["state"], row["unlocked_by"], row["reason"]) == ("unlocked", DM.user_id, "pathology was revised")
    with pytest.raises(InputError, match="already"):
        unlock(trial, DM, Unlock(int(number), "again"))


@pytest.mark.requirement(35)
def test_a_locked_subject_takes_no_data_and_another_one_does(trial: Trial) -> None:
    closed, other = screened(trial), screened(trial)
    lock(trial, DM, Lock("subject", closed))
    with pytest.raises(LockedRecordError, match="subject locked"):
        baseline(trial, CO, RecordBaseline(closed, {"grade": "2"}))
    with pytest.raises(LockedRecordError):
        answer_eligibility(trial, CO, AnswerEligibility(closed, ELIGIBLE | {"liver": "no"}, reason="x"))
    baseline(trial, CO, RecordBaseline(other, {"grade": "2"}))
    with trial.read() as reader:
        assert [row["level"] for row in open_locks(reader, closed)] == ["subject"]
        assert open_locks(reader, other) == []


@pytest.mark.requirement(35)
def test_a_locked_study_takes_no_subject_and_no_data(trial: Trial) -> None:
    subject_id = screened(trial)
    number = int(lock(trial, DM, study_lock(trial)).result)
    with pytest.raises(LockedRecordError, match="study locked"):
        enrol(trial, CO, Enrol(site="01", sex="male", age_years=60))
    with pytest.raises(LockedRecordError):
        baseline(trial, CO, RecordBaseline(subject_id, {"grade": "2"}))
    with pytest.raises(InputError, match="already"):
        lock(trial, DM, study_lock(trial))
    unlock(trial, DM, Unlock(number, "late values of subject 01-001"))
    enrol(trial, CO, Enrol(site="01", sex="male", age_years=60))


@pytest.mark.requirement(35)
def test_the_study_is_locked_by_its_name_and_a_signature_only(trial: Trial) -> None:
    signed = study_lock(trial)
    for named in ("", "DU", "duo"):
        with pytest.raises(InputError, match="expected DUO, as this study is called"):
            lock(trial, DM, replace(signed, study_id=named))
    with pytest.raises(SignatureError, match="found no signature"):
        lock(trial, DM, replace(signed, confirmed=None))
    with pytest.raises(TrialError, match="another person's confirmation"):
        lock(trial, DM, study_lock(trial, CO))
    with trial.read() as reader:
        assert reader.count("locks") == 0
    lock(trial, DM, signed)
    with trial.read() as reader:
        number = int(reader.record("locks", {"lock_id": 1})["record_id"])
        (signature,) = signatures_of(reader, "locks", number)
    assert (signature["user_id"], signature["meaning"], signature["status"]) == (DM.user_id, STUDY_LOCKED, "valid")


def test_what_is_still_open_is_counted_before_the_study_is_locked(trial: Trial) -> None:
    subject_id = screened(trial)
    with trial.read() as reader:
        before = open_points(reader)
    assert (before.queries, before.jobs, before.deviations, before.serious_events, before.prescriptions) == (0,) * 5
    assert before.unsigned > 0
    baseline(trial, CO, RecordBaseline(subject_id, {"grade": "2"}))
    number = record(trial, subject_id, "grade")
    query = open_query(trial, DM, OpenQuery("baseline", number, "value", "Which report?")).result
    physician = actor("physician")
    signed = SignForms([("baseline", number)], "seen", confirm_demonstration(trial, physician))
    event = {"term": "Sepsis", "started_on": "2026-01-11", "grade": 4, "serious": "yes", "related": "none",
             "ongoing": "yes", "seriousness": "life_threatening", "aware_at": "2026-01-12T07:00:00+00:00"}  # fmt: skip
    record_event(trial, CO, RecordEvent(subject_id, event))
    deviation = RecordDeviation(subject_id, "2026-01-11", "other", "minor", "sample late")
    record_deviation(trial, CO, deviation)
    with trial.read() as reader:
        found = open_points(reader)
    assert (found.queries, found.serious_events, found.deviations) == (1, 1, 1)
    sign_forms(trial, physician, signed)
    close_query(trial, DM, QueryStep(int(query), "seen"))
    with trial.read() as reader:
        later = open_points(reader)
    assert (later.queries, later.unsigned) == (0, found.unsigned - 1)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "data_manager"])
@pytest.mark.requirement(35)
def test_only_the_data_manager_locks_and_unlocks(trial: Trial, role: str) -> None:
    number = int(lock(trial, DM, study_lock(trial)).result)
    with pytest.raises(AccessDeniedError):
        lock(trial, actor(role), study_lock(trial, actor(role)))
    with pytest.raises(AccessDeniedError):
        unlock(trial, actor(role), Unlock(number, "x"))


def test_a_subject_with_an_open_query_is_not_locked(trial: Trial) -> None:
    subject_id = screened(trial)
    baseline(trial, CO, RecordBaseline(subject_id, {"grade": "2", "ecog": "1"}))
    numbers = {item: record(trial, subject_id, item) for item in ("grade", "ecog")}
    query = open_query(trial, DM, OpenQuery("baseline", numbers["grade"], "value", "Which report?")).result
    for command in (
        Lock("subject", subject_id),
        study_lock(trial),
        Lock("form", table="baseline", record=numbers["grade"]),
    ):
        with pytest.raises(TrialError, match="close them first"):
            lock(trial, DM, command)
    lock(trial, DM, Lock("form", table="baseline", record=numbers["ecog"]))
    close_query(trial, DM, QueryStep(int(query), "seen"))
    lock(trial, DM, Lock("subject", subject_id))


def test_a_query_of_a_check_at_entry_keeps_its_own_form_open(trial: Trial) -> None:
    heavy = str(enrol(trial, CO, Enrol(site="01", sex="male", age_years=60, weight_kg=190)).result)
    with trial.read() as reader:
        number = int(reader.record("subjects", {"subject_id": heavy})["record_id"])
    with pytest.raises(TrialError, match="1 queries"):
        lock(trial, DM, Lock("form", table="subjects", record=number))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Lock("room"), "form, subject, study"),
        (Lock("form", "01-001"), "does not fit"),
        (Lock("subject"), "does not fit"),
        (Lock("study", "01-001"), "does not fit"),
        (Lock("form", table="users", record=1), "no data of subjects"),
    ],
)
def test_a_lock_names_what_its_level_needs(trial: Trial, command: Lock, words: str) -> None:
    with pytest.raises(InputError, match=words):
        lock(trial, DM, command)


def test_a_lock_of_nothing_is_refused(trial: Trial) -> None:
    with pytest.raises(MissingRecordError):
        lock(trial, DM, Lock("subject", "DUO-999"))
    with pytest.raises(MissingRecordError):
        unlock(trial, DM, Unlock(7, "x"))
