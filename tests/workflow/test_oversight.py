from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.support.enrolment import actor, make_trial, screened

from lutetia.errors import AccessDeniedError, DuplicateRecordError, IdentityError, InputError, StaleRecordError
from lutetia.trial import Trial
from lutetia.trial.access import ROLES
from lutetia.trial.schema import AUDIT
from lutetia.trial.signatures import confirm_demonstration, is_signed, status
from lutetia.workflow.oversight import (
    AUDIT_REVIEWED,
    ReviewAudit,
    VerifySource,
    review_audit,
    reviewed_until,
    verification_state,
    verify_source,
)
from lutetia.workflow.screening import RecordBaseline, record_baseline
from lutetia.workflow.signing import SignForms, read_signatures, sign_forms

CO, MO, IN, DM = actor("coordinator"), actor("monitor"), actor("physician"), actor("data_manager")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        screened(made)
        record_baseline(made, CO, RecordBaseline("01-001", {"grade": "2"}))
        yield made


def record(trial: Trial) -> int:
    with trial.read() as reader:
        return int(reader.record("baseline", {"subject_id": "01-001", "item": "grade"})["record_id"])


def verified(trial: Trial) -> str:
    with trial.read() as reader:
        return verification_state(reader, "baseline", record(trial))


def test_a_verified_record_shows_as_changed_after_a_correction(trial: Trial) -> None:
    assert verified(trial) == "open"
    verify_source(trial, MO, VerifySource([("baseline", record(trial), 1)]))
    assert verified(trial) == "verified"
    record_baseline(trial, CO, RecordBaseline("01-001", {"grade": "3"}, reason="report"))
    assert verified(trial) == "changed"
    with pytest.raises(StaleRecordError):
        verify_source(trial, MO, VerifySource([("baseline", record(trial), 1)]))
    verify_source(trial, MO, VerifySource([("baseline", record(trial), 2)]))
    assert verified(trial) == "verified"


def test_many_records_are_verified_in_one_action_or_none_of_them(trial: Trial) -> None:
    record_baseline(trial, CO, RecordBaseline("01-001", {"ki67": "4", "primary_site": "ileum"}))
    with trial.read() as reader:
        numbers = {row["item"]: int(row["record_id"]) for row in reader.records("baseline", subject_id="01-001")}
    record_baseline(trial, CO, RecordBaseline("01-001", {"ki67": "5", "primary_site": "jejunum"}, reason="report"))
    seen, before = [("baseline", number, 1) for number in numbers.values()], trial.head()
    with pytest.raises(StaleRecordError, match="ki67, baseline 01-001 / primary_site changed since you compared"):
        verify_source(trial, MO, VerifySource(seen))
    assert trial.head().sequence == before.sequence, "one stale record refuses all"
    now = [("baseline", number, 1 if item == "grade" else 2) for item, number in numbers.items()]
    verify_source(trial, MO, VerifySource([now[0]]))
    assert verify_source(trial, MO, VerifySource([*now, now[0]])).result == len(now) - 1
    with trial.read() as reader:
        rows = reader.rows(select(AUDIT.c.action).where(AUDIT.c.sequence > before.sequence + 1))
        assert [row["action"] for row in rows] == ["verify_source"] * (len(now) - 1)
        assert all(verification_state(reader, "baseline", number) == "verified" for number in numbers.values())
    with pytest.raises(DuplicateRecordError, match="all of these records verified"):
        verify_source(trial, MO, VerifySource(now))
    with pytest.raises(InputError, match="found no record"):
        verify_source(trial, MO, VerifySource([]))


@pytest.mark.parametrize("role", [role for role in ROLES if role != "monitor"])
def test_only_a_monitor_of_the_site_verifies_source_data(trial: Trial, role: str) -> None:
    for person in (actor(role), actor("monitor", "02")):
        with pytest.raises(AccessDeniedError):
            verify_source(trial, person, VerifySource([("baseline", record(trial), 1)]))


@pytest.mark.requirement(11)
def test_a_review_of_the_audit_trail_up_to_a_head_is_stored_and_signed(trial: Trial) -> None:
    head = trial.head()
    screened(trial)
    review = ReviewAudit(head.head, "no finding", confirm_demonstration(trial, DM, role="data_manager"))
    assert review_audit(trial, DM, review).result == head.sequence
    with trial.read() as reader:
        row = reader.records("audit_reviews")[0]
        assert (row["audit_head"], row["reviewed_by"], row["note"]) == (head.head, DM.user_id, "no finding")
        assert is_signed(reader, "audit_reviews", row["record_id"], meaning=AUDIT_REVIEWED)
        assert reviewed_until(reader) == head.sequence
        signature = reader.records("signatures", meaning=AUDIT_REVIEWED)[0]
        assert status(reader, signature["signature_id"]) == "valid"


@pytest.mark.requirement(11)
def test_a_head_that_is_not_in_the_chain_cannot_be_reviewed(trial: Trial) -> None:
    with pytest.raises(InputError, match="found no row with the head"):
        review_audit(trial, DM, ReviewAudit("f" * 64, "", confirm_demonstration(trial, DM)))
    with trial.read() as reader:
        assert (reader.count("audit_reviews"), reviewed_until(reader)) == (0, 0)


@pytest.mark.parametrize("role", ["board", "coordinator", "monitor", "masked_statistician", "administrator"])
@pytest.mark.requirement(11)
def test_who_does_not_see_every_row_of_the_trail_cannot_say_that_it_was_reviewed(trial: Trial, role: str) -> None:
    person = actor(role)
    with pytest.raises(AccessDeniedError, match="from whom no row is hidden"):
        review_audit(trial, person, ReviewAudit(trial.head().head, "", confirm_demonstration(trial, person)))
    with trial.read() as reader:
        assert reader.count("audit_reviews") == 0


@pytest.mark.requirement(12)
def test_a_signed_form_shows_name_role_local_time_and_meaning_and_when_it_became_void(trial: Trial) -> None:
    confirmed = confirm_demonstration(trial, IN, role="physician")
    sign_forms(trial, IN, SignForms([("baseline", record(trial))], "baseline reviewed", confirmed))
    shown = "baseline reviewed: Dr physician-01 (physician), 2026-01-12 09:00 CET"
    assert read_signatures(trial, CO, "baseline", record(trial)) == [shown]
    record_baseline(trial, CO, RecordBaseline("01-001", {"grade": "3"}, reason="report"))
    assert read_signatures(trial, CO, "baseline", record(trial)) == [f"{shown} — VOID since 2026-01-12 09:00 CET"]


def test_a_signature_covers_records_of_one_subject_of_the_own_site(trial: Trial) -> None:
    other = screened(trial, "02")
    with trial.read() as reader:
        stranger = int(reader.record("subjects", {"subject_id": other})["record_id"])
    confirmed = confirm_demonstration(trial, IN)
    with pytest.raises(IdentityError, match="several subjects"):
        sign_forms(trial, IN, SignForms([("baseline", record(trial)), ("subjects", stranger)], "x", confirmed))
    with pytest.raises(AccessDeniedError, match="site 02"):
        sign_forms(trial, IN, SignForms([("subjects", stranger)], "x", confirmed))
    with pytest.raises(InputError, match="no record"):
        sign_forms(trial, IN, SignForms([], "x", confirmed))
    with pytest.raises(AccessDeniedError):
        sign_forms(trial, CO, SignForms([("baseline", record(trial))], "x", confirm_demonstration(trial, CO)))
