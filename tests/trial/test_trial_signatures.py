"""Signatures: components, binding to the record, voiding, what is printed."""

from __future__ import annotations

from typing import Any

import pytest

from lutetia.errors import SignatureError, TrialError
from lutetia.trial import (
    SYSTEM,
    Actor,
    Change,
    Create,
    ManualClock,
    Sign,
    Study,
    Trial,
    Update,
    accounts,
    audit,
    sessions,
)
from lutetia.trial.signatures import (
    Credentials,
    confirm,
    confirm_demonstration,
    is_signed,
    printed,
    require_different,
    sign,
    signatures_of,
    status,
)

WORD = "correct horse battery"
KEY = {"subject_id": "DUO-001", "cycle": 1, "version": 1, "nuclide": "Lu-177"}
BOTH = Credentials("ann", WORD)


@pytest.fixture
def database() -> None:
    """SQLite alone: nothing here depends on the kind of database."""


@pytest.fixture
def ann(trial: Trial) -> Actor:
    """A physician with a session, and a prescription to sign."""
    accounts.add_user(trial, SYSTEM, user_id="ann", name="Dr Ann Example", password=WORD)
    accounts.grant_role(trial, SYSTEM, "ann", role="physician", site="01")
    values = KEY | {"state": "PROPOSED", "prescribed_MBq": 3700, "proposed_by": "phil"}
    subject = Create("subjects", {"subject_id": "DUO-001", "site": "01"})
    trial.commit(Change("propose", [subject, Create("prescriptions", values)]), SYSTEM)
    return sessions.sign_in(trial, "ann", WORD).actor


def signed(trial: Trial, ann: Actor, credentials: Credentials = BOTH) -> int:
    receipt = sign(
        trial, ann, credentials, covers=[("prescriptions", KEY)], meaning="released for administration",
        role="physician",
    )  # fmt: skip
    assert receipt.records[0] is not None
    return receipt.records[0]


def state(trial: Trial, number: int) -> str:
    with trial.read() as reader:
        return status(reader, number)


@pytest.mark.requirement(12)
def test_name_local_time_meaning_and_role_are_shown(trial: Trial, ann: Actor) -> None:
    number = signed(trial, ann)
    with trial.read() as reader:
        row = reader.record("signatures", {"signature_id": number})
    text = "released for administration: Dr Ann Example (physician), 2026-03-02 09:00 CET"
    assert printed(row, zone="Europe/Warsaw") == text


@pytest.mark.requirement(13)
def test_the_first_signature_of_a_session_takes_both_components_and_later_ones_one(
    trial: Trial, ann: Actor, clock: ManualClock
) -> None:
    for incomplete in (Credentials(), Credentials(password=WORD), Credentials("ann")):
        with pytest.raises(SignatureError, match="first one of a session needs account name and password"):
            confirm(trial, ann, incomplete)
    signed(trial, ann)
    with pytest.raises(SignatureError, match="found neither"):
        confirm(trial, ann, Credentials("ann"))
    signed(trial, ann, Credentials(password=WORD))
    clock.advance(minutes=16)
    with pytest.raises(SignatureError, match="stood idle"):
        confirm(trial, ann, BOTH)
    again = sessions.sign_in(trial, "ann", WORD).actor
    with pytest.raises(SignatureError, match="account name and password"):
        confirm(trial, again, Credentials(password=WORD))
    signed(trial, again)


@pytest.mark.requirement(13)
def test_wrong_components_are_refused_counted_and_put_in_the_trail(trial: Trial, ann: Actor) -> None:
    with pytest.raises(SignatureError, match="not right"):
        confirm(trial, ann, Credentials("ann", "wrong"))
    with pytest.raises(SignatureError, match="another account's name"):
        confirm(trial, ann, Credentials("bob", WORD))
    with trial.read() as reader:
        assert reader.record("users", {"user_id": "ann"})["failures"] == 1
        assert [r["action"] for r, _ in audit.bodies(reader)][-1] == "signature_failed"
    with pytest.raises(SignatureError, match="expected monitor to sign as"):
        confirm(trial, ann, BOTH, role="monitor")
    sessions.revoke(trial, SYSTEM, str(ann.session_id), reason="lost")
    with pytest.raises(SignatureError, match="no open session"):
        confirm(trial, ann, BOTH)


@pytest.mark.requirement(14)
def test_a_signature_row_that_is_copied_to_another_record_is_invalid(trial: Trial, ann: Actor) -> None:
    number = signed(trial, ann)
    assert state(trial, number) == "valid"
    trial.commit(
        Change("propose", [Create("prescriptions", KEY | {"nuclide": "Y-90", "prescribed_MBq": 3700})]), SYSTEM
    )
    with trial.read() as reader:
        row = reader.record("signatures", {"signature_id": number})
        other = reader.record("prescriptions", KEY | {"nuclide": "Y-90"})["record_id"]
    names = [name for name in row if name not in ("record_id", "record_version")]
    forged = {name: row[name] for name in names} | {"signature_id": number + 1}
    cover = {"signature_id": number + 1, "table_name": "prescriptions", "record": other}
    trial.commit(Change("forge", [Create("signatures", forged), Create("signature_records", cover)]), SYSTEM)
    assert state(trial, number + 1) == "invalid"
    with trial.read() as reader:
        assert not is_signed(reader, "prescriptions", other)


@pytest.mark.requirement(14)
def test_a_record_altered_beside_the_gateway_makes_its_signature_invalid(trial: Trial, ann: Actor) -> None:
    number = signed(trial, ann)
    with trial.database.writing() as connection:
        connection.exec_driver_sql('UPDATE prescriptions SET "prescribed_MBq" = 7400')
    assert state(trial, number) == "invalid"


@pytest.mark.requirement(15)
def test_a_later_change_voids_the_signature_visibly_and_keeps_it(trial: Trial, ann: Actor, clock: ManualClock) -> None:
    number = signed(trial, ann)
    clock.advance(minutes=5)
    trial.commit(Change("correct", [Update("prescriptions", KEY, {"prescribed_MBq": 3500})]), ann, "typing error")
    assert state(trial, number) == "void"
    with trial.read() as reader:
        record = reader.record("prescriptions", KEY)["record_id"]
        found = signatures_of(reader, "prescriptions", record)
        assert [(row["status"], row["name"]) for row in found] == [("void", "Dr Ann Example")]
        assert printed(found[0]).endswith("— VOID since 2026-03-02 08:05 UTC")
        assert "correct" in found[0]["void_reason"]
        assert not is_signed(reader, "prescriptions", record)
    renewed = signed(trial, ann, Credentials(password=WORD))
    with trial.read() as reader:
        assert [r["status"] for r in signatures_of(reader, "prescriptions", record)] == ["void", "valid"]
    assert state(trial, renewed) == "valid"


@pytest.mark.requirement(15)
def test_the_next_state_of_a_signed_record_does_not_void_its_signature(trial: Trial, ann: Actor) -> None:
    confirmed = confirm(trial, ann, BOTH, role="physician")
    release = Update("prescriptions", KEY, {"state": "RELEASED", "signed_by": "ann", "signed_at": trial.clock.now()})
    receipt = trial.commit(Change("release", [release, Sign((("prescriptions", KEY),), "released", confirmed)]), ann)
    trial.commit(Change("give", [Update("prescriptions", KEY, {"state": "ADMINISTERED"})]), ann)
    assert state(trial, int(receipt.records[1] or 0)) == "valid"


@pytest.mark.requirement(16)
def test_two_different_people_are_demanded() -> None:
    require_different("ann", "phil", what="prescription")
    for second in ("ann", None):
        with pytest.raises(SignatureError, match="expected two different people"):
            require_different("ann", second, what="prescription")


def test_nobody_signs_with_the_confirmation_of_another(trial: Trial, ann: Actor) -> None:
    confirmed = confirm(trial, ann, BOTH)
    change = Change("sign", [Sign((("prescriptions", KEY),), "released", confirmed)])
    with pytest.raises(TrialError, match="another person's confirmation"):
        trial.commit(change, SYSTEM)


def test_signatures_without_components_are_for_demonstrations_only(tmp_path: Any, trial: Trial, ann: Actor) -> None:
    assert confirm_demonstration(trial, ann).user_id == "ann"
    real = Trial.create(tmp_path / "real", study=Study("X", "x"))
    with real, pytest.raises(TrialError, match="not a demonstration database"):
        confirm_demonstration(real, ann)
