"""Accounts, sign-in and sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyotp
import pytest
from argon2 import PasswordHasher

from lutetia.errors import (
    AccessDeniedError,
    AccessError,
    DuplicateRecordError,
    InputError,
    MissingRecordError,
    SignInError,
    StorageError,
    UnknownNameError,
)
from lutetia.trial import (
    SYSTEM,
    Actor,
    Change,
    Create,
    Grant,
    ManualClock,
    Study,
    Trial,
    access,
    accounts,
    audit,
    sessions,
)
from lutetia.trial.authentication import DemonstrationAuthenticator, PasswordAuthenticator
from lutetia.trial.keys import KeyRing

ADMIN = Actor("root", "Root", (Grant("administrator"),))
WORD = "correct horse battery"


def quick(folder: Path, memory: int = 8) -> PasswordAuthenticator:
    return PasswordAuthenticator(KeyRing(folder), PasswordHasher(time_cost=1, memory_cost=memory, parallelism=1))


@pytest.fixture
def hospital(tmp_path: Path, clock: ManualClock) -> Any:
    """A trial with real password and one-time-code checks at small cost, and one account."""
    trial = Trial.create(
        tmp_path / "t", study=Study("X", "x"), demonstration=True, clock=clock, authenticator=quick(tmp_path / "t/keys")
    )
    with trial:
        trial.commit(Change("add_site", [Create("sites", {"site": "01", "name": "Warsaw"})]), ADMIN)
        accounts.add_user(trial, ADMIN, user_id="ann", name="Ann Example", password=WORD)
        accounts.grant_role(trial, ADMIN, "ann", role="coordinator", site="01")
        yield trial


@pytest.mark.requirement(22)
def test_a_role_at_a_site_that_the_trial_has_not_is_refused(hospital: Trial) -> None:
    with pytest.raises(MissingRecordError, match="found site '09', which the trial has not; add the site first"):
        accounts.grant_role(hospital, ADMIN, "ann", role="physician", site="09")


def actions(trial: Trial) -> list[str]:
    with trial.read() as reader:
        return [row["action"] for row, _ in audit.bodies(reader)]


def user(trial: Trial, name: str = "ann") -> dict[str, Any]:
    with trial.read() as reader:
        return reader.record("users", {"user_id": name})


@pytest.mark.requirement(17)
def test_an_account_name_is_never_used_again(hospital: Trial) -> None:
    accounts.end_user(hospital, ADMIN, "ann", reason="left the hospital")
    with pytest.raises(DuplicateRecordError):
        accounts.add_user(hospital, ADMIN, user_id="ann", name="Another Ann", password=WORD)
    with pytest.raises(AccessError, match="has ended"):
        accounts.grant_role(hospital, ADMIN, "ann", role="physician", site="01")
    with pytest.raises(AccessError, match="has ended"):
        accounts.unlock_user(hospital, ADMIN, "ann", reason="came back")
    with pytest.raises(SignInError):
        sessions.sign_in(hospital, "ann", WORD)
    assert user(hospital)["name"] == "Ann Example"


@pytest.mark.requirement(18)
def test_passwords_are_hashed_with_argon2id_at_the_default_parameters(tmp_path: Path) -> None:
    authenticator = PasswordAuthenticator(KeyRing(tmp_path))
    stored = authenticator.hash(WORD)
    assert "argon2" not in stored
    assert authenticator.plain_hash(stored).startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    with pytest.raises(InputError, match="expected at least 12"):
        PasswordAuthenticator(KeyRing(tmp_path)).hash("short")


@pytest.mark.requirement(18)
def test_a_hash_with_other_parameters_is_renewed_at_the_next_sign_in(hospital: Trial, clock: ManualClock) -> None:
    before = user(hospital)["password_hash"]
    with Trial.open(hospital.folder, clock=clock, authenticator=quick(hospital.folder / "keys", 16)) as stricter:
        sessions.sign_in(stricter, "ann", WORD)
        after = user(stricter)["password_hash"]
        assert "m=8," in stricter.authenticator.plain_hash(before)
        assert "m=16," in stricter.authenticator.plain_hash(after)
        sessions.sign_in(stricter, "ann", WORD)
        assert user(stricter)["password_hash"] == after


@pytest.mark.requirement(20)
def test_repeated_failures_slow_down_then_lock_the_account_and_tell_the_administrators(
    hospital: Trial, clock: ManualClock
) -> None:
    for attempt in range(accounts.MAXIMUM_FAILURES):
        clock.advance(minutes=6)
        with pytest.raises(SignInError, match="not right"):
            sessions.sign_in(hospital, "ann", "wrong password")
        if attempt == 4:
            clock.advance(seconds=7)
            with pytest.raises(SignInError, match="wait a few minutes"):
                sessions.sign_in(hospital, "ann", WORD)
            assert user(hospital)["failures"] == 5, "what came within the wait of 8 s is not counted"
    clock.advance(minutes=6)
    with pytest.raises(SignInError, match="an administrator, who can unlock the account"):
        sessions.sign_in(hospital, "ann", WORD)
    with hospital.read() as reader:
        told = [row for row in reader.records("notices") if row["role"] == "administrator"]
    assert [row["kind"] for row in told] == ["account_locked"]
    accounts.unlock_user(hospital, ADMIN, "ann", reason="called back")
    assert sessions.sign_in(hospital, "ann", WORD).actor.user_id == "ann"
    assert "sign_in_failed" in actions(hospital)
    assert "unlock_user" in actions(hospital)


@pytest.mark.requirement(20)
def test_an_unknown_account_is_refused_in_the_same_words_and_its_name_is_not_kept(hospital: Trial) -> None:
    with pytest.raises(SignInError) as unknown:
        sessions.sign_in(hospital, "my-password-typed-as-name", "x")
    with pytest.raises(SignInError) as wrong:
        sessions.sign_in(hospital, "ann", "x")
    assert str(unknown.value) == str(wrong.value)
    with hospital.read() as reader:
        assert "my-password" not in str(list(audit.bodies(reader)))


@pytest.mark.requirement(19)
def test_a_one_time_code_is_needed_once_set_up_and_works_once(hospital: Trial, clock: ManualClock) -> None:
    ann = sessions.sign_in(hospital, "ann", WORD)
    assert ann.second_factor_missing
    secret = accounts.begin_totp(hospital, ann.actor, "ann")
    assert secret not in str(user(hospital))
    with pytest.raises(SignInError, match="not the one shown now"):
        accounts.confirm_totp(hospital, ann.actor, "ann", code="000000")
    totp = pyotp.TOTP(secret)
    accounts.confirm_totp(hospital, ann.actor, "ann", code=totp.at(clock.now()))
    with pytest.raises(SignInError, match="not right"):  # the code that confirmed is used
        sessions.sign_in(hospital, "ann", WORD, code=totp.at(clock.now()))
    clock.advance(minutes=2)
    with pytest.raises(SignInError, match="not right"):
        sessions.sign_in(hospital, "ann", WORD)
    code = totp.at(clock.now())
    signed = sessions.sign_in(hospital, "ann", WORD, code=code)
    assert signed.actor.second_factor
    with pytest.raises(SignInError, match="not right"):
        sessions.sign_in(hospital, "ann", WORD, code=code)
    with pytest.raises(SignInError, match="an administrator resets it"):
        accounts.begin_totp(hospital, ann.actor, "ann")


@pytest.mark.requirement(19)
def test_signing_randomising_and_unblinding_need_a_session_with_a_one_time_code() -> None:
    roles = {"randomise": "coordinator", "release": "physician", "sign_forms": "physician", "propose": "physicist",
             "run_closed_report": "unmasked_statistician", "read_closed_report": "board", "generate_list":
             "unmasked_statistician", "manage_users": "administrator"}  # fmt: skip
    assert set(roles) == access.SECOND_FACTOR
    for action, role in roles.items():
        grants = (Grant(role, "01" if role in access.SITE_ROLES else None),)
        access.require(Actor("a", "A", grants), action, "01")
        with pytest.raises(AccessDeniedError, match="without one-time code"):
            access.require(Actor("a", "A", grants, second_factor=False), action, "01")


@pytest.mark.requirement(21)
def test_a_session_ends_when_idle_and_can_be_revoked_at_once(hospital: Trial, clock: ManualClock) -> None:
    token = sessions.sign_in(hospital, "ann", WORD).token
    for _ in range(3):
        clock.advance(minutes=14)
        assert sessions.resume(hospital, token).user_id == "ann"
    clock.advance(minutes=16)
    with pytest.raises(SignInError, match="stood idle; sign in again, what you typed is kept"):
        sessions.resume(hospital, token)
    with pytest.raises(SignInError, match="has ended"):
        sessions.resume(hospital, token)
    again = sessions.sign_in(hospital, "ann", WORD)
    sessions.revoke(hospital, ADMIN, str(again.actor.session_id), reason="laptop lost")
    with pytest.raises(SignInError, match="has ended"):
        sessions.resume(hospital, again.token)


@pytest.mark.requirement(21)
def test_tokens_are_not_stored_and_ended_roles_stop_at_the_next_request(hospital: Trial) -> None:
    signed = sessions.sign_in(hospital, "ann", WORD)
    with hospital.read() as reader:
        assert signed.token not in str(reader.records("sessions")) + str(list(audit.bodies(reader)))
        grant = reader.records("grants")[0]["grant_id"]
    accounts.end_grant(hospital, ADMIN, grant, user_id="ann", reason="other duties")
    assert sessions.resume(hospital, signed.token).grants == ()


@pytest.mark.requirement(6)
@pytest.mark.parametrize(
    ("what", "action"),
    [
        ("sign in", "sign_in"), ("fail", "sign_in_failed"), ("sign out", "sign_out"), ("idle", "time_out"),
        ("sweep", "time_out"), ("grant", "grant_role"), ("end grant", "end_grant"), ("password", "set_password"),
    ],
)  # fmt: skip
def test_the_trail_holds_sign_ins_failures_sign_outs_time_outs_and_role_changes(
    hospital: Trial, clock: ManualClock, what: str, action: str
) -> None:
    signed = sessions.sign_in(hospital, "ann", WORD)
    before = actions(hospital).count(action)
    if what == "sign in":
        sessions.sign_in(hospital, "ann", WORD)
    elif what == "fail":
        with pytest.raises(SignInError):
            sessions.sign_in(hospital, "ann", "wrong")
    elif what == "sign out":
        sessions.sign_out(hospital, signed.actor)
    elif what == "idle":
        clock.advance(minutes=20)
        with pytest.raises(SignInError):
            sessions.resume(hospital, signed.token)
    elif what == "sweep":
        clock.advance(minutes=20)
        assert sessions.end_idle_sessions(hospital) == 1
    elif what == "grant":
        accounts.grant_role(hospital, ADMIN, "ann", role="physician", site="01")
    elif what == "end grant":
        accounts.end_grant(hospital, ADMIN, "g00001", user_id="ann", reason="x")
    else:
        accounts.set_password(hospital, signed.actor, "ann", password=WORD + "2")
    assert actions(hospital).count(action) > before


def test_a_new_password_ends_the_other_sessions_only(hospital: Trial) -> None:
    kept, other = (sessions.sign_in(hospital, "ann", WORD) for _ in range(2))
    accounts.set_password(hospital, kept.actor, "ann", password=WORD + "2")
    assert sessions.resume(hospital, kept.token).user_id == "ann"
    with pytest.raises(SignInError):
        sessions.resume(hospital, other.token)


@pytest.mark.requirement(23)
def test_the_access_list_of_any_day_equals_the_replay_of_the_trail(trial: Trial, clock: ManualClock) -> None:
    moments = []
    for number, role in enumerate(("physician", "physicist", "data_manager")):
        clock.advance(days=1)
        name = f"u{number}"
        accounts.add_user(trial, ADMIN, user_id=name, name=f"Person {number}", password=WORD)
        accounts.grant_role(trial, ADMIN, name, role=role, site="01" if number < 2 else None)
        moments.append(trial.head().at)
    clock.advance(days=1)
    accounts.end_grant(trial, ADMIN, "g00001", user_id="u0", reason="left")
    moments.append(trial.head().at)
    with trial.read() as reader:
        for moment, count in zip(moments, (1, 2, 3, 2), strict=True):
            found = accounts.access_list(reader, moment)
            assert len(found) == count
            told = accounts.access_list_from_audit(reader, moment)
            assert [(e.user_id, e.role, e.site, e.granted_at) for e in found] == [
                (e.user_id, e.role, e.site, e.granted_at) for e in told
            ]
        past = accounts.access_list(reader)
        assert [(e.user_id, e.ended_at is None) for e in past] == [("u0", False), ("u1", True), ("u2", True)]


def test_a_masked_statistician_holds_no_unmasked_role(trial: Trial) -> None:
    accounts.add_user(trial, SYSTEM, user_id="sam", name="Sam", password=WORD)
    accounts.grant_role(trial, SYSTEM, "sam", role="masked_statistician")
    for role, site in (("data_manager", None), ("monitor", "01")):
        with pytest.raises(AccessError, match="different hands"):
            accounts.grant_role(trial, SYSTEM, "sam", role=role, site=site)
    with pytest.raises(AccessError, match="found no site"):
        accounts.grant_role(trial, SYSTEM, "sam", role="monitor")
    with pytest.raises(AccessError, match="found site 01; expected none, because this role covers the whole trial"):
        accounts.grant_role(trial, SYSTEM, "sam", role="board", site="01")
    with pytest.raises(UnknownNameError, match="unknown role"):
        accounts.grant_role(trial, SYSTEM, "sam", role="boss")


def test_a_trial_without_its_keys_says_so_and_makes_no_new_ones(hospital: Trial) -> None:
    key = hospital.folder / "keys" / "passwords.key"
    key.unlink()
    with pytest.raises(StorageError, match=r"passwords.key: is missing; .* copy the folder keys/"):
        sessions.sign_in(hospital, "ann", WORD)
    assert not key.exists()


def test_a_demonstration_opened_without_its_substitutes_still_knows_its_passwords(trial: Trial) -> None:
    accounts.add_user(trial, SYSTEM, user_id="sam", name="Sam", password="demo")
    with Trial.open(trial.folder) as plain:
        assert sessions.sign_in(plain, "sam", "demo").second_factor_missing


def test_demonstration_passwords_are_still_checked(trial: Trial) -> None:
    assert isinstance(trial.authenticator, DemonstrationAuthenticator)
    accounts.add_user(trial, SYSTEM, user_id="sam", name="Sam", password="demo")
    assert sessions.sign_in(trial, "sam", "demo").actor.second_factor
    with pytest.raises(SignInError):
        sessions.sign_in(trial, "sam", "other")
