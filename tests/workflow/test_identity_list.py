from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.enrolment import actor, make_trial, screened

from lutetia.errors import AccessDeniedError, DuplicateRecordError, InputError, MissingRecordError
from lutetia.workflow.export import export_dataset
from lutetia.workflow.identity_list import EnterIdentity, enter_identity, read_identity

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
