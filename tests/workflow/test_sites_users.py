from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.enrolment import actor, make_trial

from lutetia.errors import (
    AccessDeniedError,
    AccessError,
    DuplicateRecordError,
    InputError,
    LutetiaError,
    MissingRecordError,
    TrialError,
)
from lutetia.trial import Trial, accounts
from lutetia.trial.access import ROLES
from lutetia.workflow.accounts_form import (
    AccountAction,
    AddUser,
    EndGrant,
    GrantRole,
    ResetPassword,
    add_user,
    end_grant,
    end_user,
    grant_role,
    reset_password,
    reset_second_factor,
    unlock_user,
)
from lutetia.workflow.sites_users import (
    AddSite,
    ChangeSite,
    CloseSite,
    Delegate,
    EndDelegation,
    add_site,
    change_site,
    close_site,
    delegate,
    delegated,
    end_delegation,
)

AD = actor("administrator")
SITE = AddSite("03", "Hospital 03", "PL", "Europe/Warsaw", "2026-01-05")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        yield made


def test_a_site_is_added_corrected_with_a_reason_and_closed(trial: Trial) -> None:
    add_site(trial, AD, SITE)
    change_site(trial, AD, ChangeSite("03", {"name": "University hospital"}, "renamed", version=1))
    close_site(trial, AD, CloseSite("03", "2026-01-12", "end of recruitment"))
    with trial.read() as reader:
        row = reader.record("sites", {"site": "03"})
    assert (row["name"], row["state"], row["closed_on"]) == ("University hospital", "closed", "2026-01-12")
    with pytest.raises(TrialError, match="was closed"):
        close_site(trial, AD, CloseSite("03", "2026-01-12", "again"))


def test_a_dicom_sender_is_a_title_of_one_site_only(trial: Trial) -> None:
    add_site(trial, AD, replace(SITE, dicom_senders=("SPECT_CT_1",)))
    with pytest.raises(InputError, match="belongs to site 03"):
        change_site(trial, AD, ChangeSite("01", {"dicom_senders": ["SPECT_CT_1"]}, "new scanner"))
    for title in ("", "A" * 17, "back\\slash", " SPECT", "ŁÓDŹ"):
        with pytest.raises(InputError, match="expected a title of 1 to 16"):
            change_site(trial, AD, ChangeSite("03", {"dicom_senders": [title]}, "new scanner"))
    change_site(trial, AD, ChangeSite("03", {"dicom_senders": ["PACS", "PACS", "CT 2"]}, "new scanner"))
    with trial.read() as reader:
        assert reader.record("sites", {"site": "03"})["dicom_senders"] == ["PACS", "CT 2"]


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (AddSite("01", "H", "PL", "Europe/Warsaw", "2026-01-05"), DuplicateRecordError, "sites 01"),
        (AddSite("0/3", "H", "PL", "Europe/Warsaw", "2026-01-05"), InputError, "12 letters"),
        (AddSite("03", "H", "PL", "Warsaw", "2026-01-05"), InputError, "IANA"),
        (AddSite("03", " ", "PL", "Europe/Warsaw", "2026-01-05"), InputError, "name of the site"),
        (AddSite("03", "H", "PL", "Europe/Warsaw", "5 January"), InputError, "expected a date"),
    ],
)
def test_a_site_that_cannot_be_is_refused(
    trial: Trial, command: AddSite, error: type[LutetiaError], words: str
) -> None:
    with pytest.raises(error, match=words):
        add_site(trial, AD, command)
    with trial.read() as reader:
        assert reader.count("sites") == 2


def test_the_delegation_log_holds_tasks_with_their_dates(trial: Trial) -> None:
    number = delegate(trial, AD, Delegate("physicist-01", "01", "dosimetry", "2026-01-10")).result
    with trial.read() as reader:
        assert not delegated(reader, "physicist-01", "01", "dosimetry", "2026-01-09")
        assert delegated(reader, "physicist-01", "01", "dosimetry", "2026-01-10")
        assert not delegated(reader, "physicist-01", "02", "dosimetry", "2026-01-10")
    end_delegation(trial, AD, EndDelegation(str(number), "2026-01-11", "left the hospital"))
    with trial.read() as reader:
        assert delegated(reader, "physicist-01", "01", "dosimetry", "2026-01-11")
        assert not delegated(reader, "physicist-01", "01", "dosimetry", "2026-01-12")
    delegate(trial, AD, Delegate("physicist-01", "01", "dosimetry", "2026-01-12"))


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (Delegate("coordinator-01", "01", "consent", "2026-01-10"), InputError, "holds consent"),
        (Delegate("coordinator-01", "01", "cooking", "2026-01-10"), InputError, "dosimetry"),
        (Delegate("nobody", "01", "dosimetry", "2026-01-10"), MissingRecordError, "no account"),
        (Delegate("coordinator-01", "09", "dosimetry", "2026-01-10"), MissingRecordError, "site 09"),
    ],
)
def test_a_delegation_that_cannot_be_is_refused(
    trial: Trial, command: Delegate, error: type[LutetiaError], words: str
) -> None:
    with pytest.raises(error, match=words):
        delegate(trial, AD, command)


def test_a_delegation_ends_once_and_not_before_it_began(trial: Trial) -> None:
    number = str(delegate(trial, AD, Delegate("physicist-01", "01", "dosimetry", "2026-01-10")).result)
    with pytest.raises(InputError, match="before the start"):
        end_delegation(trial, AD, EndDelegation(number, "2026-01-09", "x"))
    end_delegation(trial, AD, EndDelegation(number, "2026-01-11", "x"))
    with pytest.raises(InputError, match="already"):
        end_delegation(trial, AD, EndDelegation(number, "2026-01-11", "x"))


@pytest.mark.requirement(17)
def test_an_account_is_opened_granted_a_role_and_ended_and_its_name_never_used_again(trial: Trial) -> None:
    add_user(trial, AD, AddUser("mnowak", "Maria Nowak", "mn@clinic.example", "a long first password"))
    grant = str(grant_role(trial, AD, GrantRole("mnowak", "physician", "01")).result)
    end_grant(trial, AD, EndGrant("mnowak", grant, "moved to another site"))
    unlock_user(trial, AD, AccountAction("mnowak", "asked by telephone"))
    reset_second_factor(trial, AD, AccountAction("mnowak", "lost telephone"))
    reset_password(trial, AD, ResetPassword("mnowak", "another long password"))
    end_user(trial, AD, AccountAction("mnowak", "left"))
    with trial.read() as reader:
        assert reader.record("users", {"user_id": "mnowak"})["state"] == "ended"
        assert [entry.role for entry in accounts.access_list(reader) if entry.user_id == "mnowak"] == ["physician"]
    with pytest.raises(DuplicateRecordError):
        add_user(trial, AD, AddUser("mnowak", "Marek Nowak", "marek@clinic.example", "a long first password"))


def test_masked_and_unmasked_work_do_not_meet_in_one_person(trial: Trial) -> None:
    grant_role(trial, AD, GrantRole("masked_statistician", "masked_statistician"))
    with pytest.raises(AccessError, match="different hands"):
        grant_role(trial, AD, GrantRole("masked_statistician", "data_manager"))


@pytest.mark.parametrize("role", [role for role in ROLES if role != "administrator"])
@pytest.mark.requirement(22)
def test_only_the_administrator_keeps_sites_accounts_and_delegations(trial: Trial, role: str) -> None:
    person = actor(role)
    calls = (
        lambda: add_site(trial, person, SITE),
        lambda: change_site(trial, person, ChangeSite("01", {"name": "x"}, "x")),
        lambda: close_site(trial, person, CloseSite("01", "2026-01-12", "x")),
        lambda: delegate(trial, person, Delegate("physicist-01", "01", "dosimetry", "2026-01-10")),
        lambda: end_delegation(trial, person, EndDelegation("D0001", "2026-01-12", "x")),
        lambda: add_user(trial, person, AddUser("x", "X", "x@clinic.example", "a long first password")),
        lambda: grant_role(trial, person, GrantRole("physicist-01", "physicist", "01")),
        lambda: end_grant(trial, person, EndGrant("physicist-01", "g00001", "x")),
        lambda: end_user(trial, person, AccountAction("physicist-01", "x")),
        lambda: unlock_user(trial, person, AccountAction("physicist-01", "x")),
        lambda: reset_password(trial, person, ResetPassword("physicist-01", "a long first password")),
        lambda: reset_second_factor(trial, person, AccountAction("physicist-01", "x")),
    )
    with trial.read() as reader:
        before = reader.count("users"), reader.count("sites"), reader.count("grants"), reader.count("delegations")
    for call in calls:
        with pytest.raises(AccessDeniedError):
            call()
    with trial.read() as reader:
        after = reader.count("users"), reader.count("sites"), reader.count("grants"), reader.count("delegations")
    assert after == before
