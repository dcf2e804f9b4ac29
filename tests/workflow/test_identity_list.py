from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.enrolment import actor, make_trial, screened

from lutetia.errors import AccessDeniedError, DuplicateRecordError, InputError, MissingRecordError
from lutetia.trial import audit
from lutetia.trial.identities import date_shift, left_behind, subjects_of_local_number
from lutetia.workflow.export import export_dataset
from lutetia.workflow.identity_list import (
    CorrectIdentity,
    EnterIdentity,
    correct_identity,
    enter_identity,
    read_identity,
)

CO = actor("coordinator")


@pytest.mark.requirement(45)
def test_names_stay_in_the_sites_own_sealed_file_and_reach_neither_database_nor_export(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        subject_id = screened(trial)
        enter_identity(trial, CO, EnterIdentity(subject_id, "Wanda Kowalska", "1964-02-29", "HN-77123"))
        found = read_identity(trial, CO, subject_id, reason="to call the subject")
        assert (found.name, found.birth_date, found.local_number) == ("Wanda Kowalska", "1964-02-29", "HN-77123")
        export_dataset(trial, actor("data_manager"), tmp_path / "export")
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert not [word for word in (b"Kowalska", b"1964-02-29", b"HN-77123") if word in content], path.name
    assert (tmp_path / "trial/identities.sqlite").stat().st_size > 0


def test_only_staff_of_the_site_use_its_list_with_a_reason(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        subject_id = screened(trial)
        command = EnterIdentity(subject_id, "Wanda Kowalska")
        for role, site in (("coordinator", "02"), ("monitor", "01"), ("data_manager", "01"), ("administrator", "01")):
            with pytest.raises(AccessDeniedError):
                enter_identity(trial, actor(role, site), command)
            with pytest.raises(AccessDeniedError):
                read_identity(trial, actor(role, site), subject_id, reason="curious")
        with pytest.raises(MissingRecordError):
            read_identity(trial, CO, subject_id, reason="to call")
        enter_identity(trial, CO, command)
        with pytest.raises(DuplicateRecordError):
            enter_identity(trial, CO, command)
        with pytest.raises(InputError, match="reason"):
            read_identity(trial, CO, subject_id, reason=" ")


def test_a_line_is_corrected_with_a_reason_and_the_trail_names_fields_only(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        subject_id = screened(trial)
        enter_identity(trial, CO, EnterIdentity(subject_id, "Wanda Kowalska", "1964-02-29", "HN-77123"))
        shift = date_shift(trial, subject_id)
        correct_identity(trial, CO, CorrectIdentity(subject_id, "two digits swapped", local_number="HN-77132"))
        found = read_identity(trial, CO, subject_id, reason="to check")
        assert (found.name, found.birth_date, found.local_number) == ("Wanda Kowalska", "1964-02-29", "HN-77132")
        assert date_shift(trial, subject_id) == shift
        assert subjects_of_local_number(trial, "hn-77132") == (subject_id,)
        assert subjects_of_local_number(trial, "HN-77123") == ()
        with trial.read() as reader:
            bodies = [str(body) for row, body in audit.bodies(reader) if row["action"] == "correct_identity"]
        assert len(bodies) == 1
        assert "local_number" in bodies[0]
        assert "two digits swapped" in bodies[0]
        assert "77132" not in bodies[0]
        for command, words in (
            (CorrectIdentity(subject_id, "again", local_number="HN-77132"), "nothing was changed"),
            (CorrectIdentity(subject_id, " ", name="Other"), "reason"),
            (CorrectIdentity(subject_id, "is Anna Nowak", name="Anna Nowak"), "found what identifies the subject"),
        ):
            with pytest.raises(InputError, match=words):
                correct_identity(trial, CO, command)
        with pytest.raises(AccessDeniedError):
            correct_identity(trial, actor("coordinator", "02"), CorrectIdentity(subject_id, "x", name="Y"))
        with pytest.raises(MissingRecordError):
            correct_identity(trial, CO, CorrectIdentity(screened(trial), "x", name="Y"))


def test_after_a_restore_without_the_list_a_line_is_not_typed_again_by_mistake(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial") as trial:
        subject_id, other = screened(trial), screened(trial)
        enter_identity(trial, CO, EnterIdentity(subject_id, "Wanda Kowalska"))
        assert left_behind(trial, subject_id) is None
        (tmp_path / "trial/identities.sqlite").unlink()
        assert left_behind(trial, subject_id) == "2026-01-12T08:00:00+00:00"
        assert left_behind(trial, other) is None
        with pytest.raises(InputError, match=r"bring back identities\.sqlite"):
            enter_identity(trial, CO, EnterIdentity(subject_id, "Wanda Kowalska"))
        enter_identity(trial, CO, EnterIdentity(subject_id, "Wanda Kowalska", lost="the disk burnt, no copy exists"))
        enter_identity(trial, CO, EnterIdentity(other, "Jan Kowalski"))
