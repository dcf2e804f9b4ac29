from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.enrolment import actor, make_list, make_trial, randomised, screened

from lutetia.errors import AccessDeniedError, InputError
from lutetia.trial import Actor, Trial
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.trial.signatures import confirm_demonstration, is_signed
from lutetia.workflow.consent import RecordConsent, record_consent
from lutetia.workflow.documents import (
    AddDocument,
    PutInForce,
    SignDocument,
    add_document,
    put_in_force,
    read_document,
    sign_document,
    version_in_force,
)

AD, CO = actor("administrator"), actor("coordinator")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        yield made


def version(trial: Trial, kind: str, site: str, on: str) -> str | None:
    with trial.read() as reader:
        found = version_in_force(reader, kind, site, on)
    return None if found is None else str(found["version"])


def test_each_site_has_its_own_version_in_force_by_date(trial: Trial) -> None:
    second = str(add_document(trial, AD, AddDocument("consent", "Consent form", "2.0", b"Agreed.")).result)
    put_in_force(trial, AD, PutInForce(second, "01", "2026-01-12", approved_on="2026-01-08"))
    found = [version(trial, "consent", site, on) for site in ("01", "02") for on in ("2026-01-11", "2026-01-12")]
    assert found == ["1.0", "2.0", "1.0", "1.0"]
    assert version(trial, "consent", "01", "2026-01-01") is None
    assert version(trial, "brochure", "01", "2026-01-11") is None


def test_a_consent_must_be_on_the_version_in_force_at_the_site_that_day(trial: Trial) -> None:
    subject_id = screened(trial)
    second = str(add_document(trial, AD, AddDocument("consent", "Consent form", "2.0", b"Agreed.")).result)
    put_in_force(trial, AD, PutInForce(second, "01", "2026-01-12"))
    with pytest.raises(InputError, match=r"expected 2\.0, in force at site 01 on 2026-01-12"):
        record_consent(trial, CO, RecordConsent(subject_id, "1.5", "2026-01-12", CO.user_id))
    record_consent(trial, CO, RecordConsent(subject_id, "2.0", "2026-01-12", CO.user_id))
    with trial.read() as reader:
        assert {row["document_id"] for row in reader.records("consents")} == {"DOC0001", second}


def test_a_subject_keeps_the_protocol_version_of_its_site_at_randomisation(trial: Trial) -> None:
    make_list(trial)
    number = str(add_document(trial, AD, AddDocument("protocol", "Protocol", "2025.9", b"Protocol.")).result)
    put_in_force(trial, AD, PutInForce(number, "02", "2026-01-05"))
    for site, expected in (("01", "2026.1"), ("02", "2025.9")):
        subject_id = randomised(trial, site).subject_id
        with trial.read() as reader:
            assert reader.record("subjects", {"subject_id": subject_id})["protocol_version"] == expected


def test_a_document_is_signed_and_its_content_never_changes(trial: Trial) -> None:
    physician = actor("physician")
    sign_document(trial, physician, SignDocument("DOC0001", "approved", confirm_demonstration(trial, physician)))
    with trial.read() as reader:
        record = reader.record("documents", {"document_id": "DOC0001"})["record_id"]
        assert is_signed(reader, "documents", record, meaning="approved")
    with pytest.raises(InputError, match=r"version 1\.0 already"):
        add_document(trial, AD, AddDocument("consent", "Consent form", "1.0", b"Other text."))
    with pytest.raises(AccessDeniedError):
        sign_document(trial, CO, SignDocument("DOC0001", "approved", confirm_demonstration(trial, CO)))


def test_reading_a_document_returns_what_was_stored_and_leaves_a_trace(trial: Trial) -> None:
    record, content = read_document(trial, CO, "DOC0001")
    assert (record["version"], content) == ("1.0", b"I agree.")
    with trial.read() as reader:
        rows = audit_trail(reader, actor("inspector"), AuditFilter(action="read_document"))
    assert [row.actor for row in rows] == [CO.user_id]
    with pytest.raises(AccessDeniedError):
        read_document(trial, Actor("guest", "Guest"), "DOC0001")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (AddDocument("letter", "L", "1", b"x"), "expected one of protocol"),
        (AddDocument("manual", "L", "1", b""), "empty file"),
        (AddDocument("manual", " ", "1", b"x"), "title"),
        (AddDocument("manual", "L", " ", b"x"), "version"),
    ],
)
def test_a_document_without_kind_title_version_or_content_is_refused(
    trial: Trial, command: AddDocument, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        add_document(trial, AD, command)
    with pytest.raises(AccessDeniedError):
        add_document(trial, CO, command)


def test_a_version_cannot_begin_before_the_one_in_force_or_before_its_approval(trial: Trial) -> None:
    second = str(add_document(trial, AD, AddDocument("consent", "Consent form", "2.0", b"Agreed.")).result)
    with pytest.raises(InputError, match="expected a later day"):
        put_in_force(trial, AD, PutInForce(second, "01", "2026-01-02"))
    with pytest.raises(InputError, match="after 2026-01-12"):
        put_in_force(trial, AD, PutInForce(second, "01", "2026-01-12", approved_on="2026-01-13"))
    assert version(trial, "consent", "01", "2026-02-01") == "1.0"
