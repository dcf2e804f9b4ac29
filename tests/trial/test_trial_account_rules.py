"""Accounts against people who know a name, sit at an open session, or keep the accounts themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from argon2 import PasswordHasher

from lutetia.errors import (
    AccessError,
    DuplicateRecordError,
    InputError,
    MissingRecordError,
    SignatureError,
    SignInError,
    TrialError,
)
from lutetia.trial import SYSTEM, Actor, Grant, ManualClock, Study, Trial, accounts, audit, sessions
from lutetia.trial.authentication import PasswordAuthenticator, Proof
from lutetia.trial.keys import KeyRing
from lutetia.trial.queries_notices import notices
from lutetia.trial.reader import Record
from lutetia.trial.signatures import Credentials, confirm

ADMIN = Actor("root", "Root", (Grant("administrator"),))
MANAGER = Actor("dora", "Dora", (Grant("data_manager"),))
WORD = "correct horse battery"


@pytest.fixture
def database() -> None:
    """SQLite alone: the gateway's own tests run on both."""


def add(trial: Trial, user: str, *roles: str, **values: Any) -> None:
    given = {"name": f"Person {user}", "password": WORD} | values
    accounts.add_user(trial, ADMIN, user_id=user, **given)
    for role in roles:
        accounts.grant_role(trial, ADMIN, user, role=role)


def fail(trial: Trial, clock: ManualClock, times: int = accounts.MAXIMUM_FAILURES) -> None:
    for _ in range(times):
        clock.advance(minutes=6)
        with pytest.raises(SignInError):
            sessions.sign_in(trial, "ann", "somebody's guess")


@pytest.mark.requirement(20)
def test_who_knows_a_name_locks_the_account_and_throws_nobody_out(trial: Trial, clock: ManualClock) -> None:
    add(trial, "ann")
    signed = sessions.sign_in(trial, "ann", WORD)
    for _ in range(accounts.MAXIMUM_FAILURES):
        fail(trial, clock, 1)
        assert sessions.resume(trial, signed.token).user_id == "ann"
    with trial.read() as reader:
        assert reader.record("users", {"user_id": "ann"})["state"] == "locked"
    with pytest.raises(SignatureError, match="the account is locked"):
        confirm(trial, signed.actor, Credentials("ann", WORD))


@pytest.mark.requirement(20)
def test_failures_inside_a_session_end_it_with_the_lock(trial: Trial) -> None:
    add(trial, "ann")
    signed = sessions.sign_in(trial, "ann", WORD)
    for _ in range(accounts.MAXIMUM_FAILURES):
        with pytest.raises(SignatureError):
            confirm(trial, signed.actor, Credentials("ann", "somebody's guess"))
    with pytest.raises(SignInError, match="has ended"):
        sessions.resume(trial, signed.token)


class _Counting(PasswordAuthenticator):
    """The real authenticator, cheap, which counts the hashes that it compares."""

    compared: ClassVar[list[bool]] = []

    def _password(self, stored: str, password: str) -> bool:
        self.compared.append(stored.startswith("$argon2id"))
        return PasswordAuthenticator._password(self, stored, password)


@pytest.mark.requirement(20)
def test_every_refusal_at_sign_in_has_one_text_and_the_same_work(tmp_path: Path, clock: ManualClock) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    counting = _Counting(KeyRing(tmp_path / "t" / "keys"), cheap)
    study = Study("X", "x")
    with Trial.create(tmp_path / "t", study=study, demonstration=True, clock=clock, authenticator=counting) as trial:
        for name in ("ann", "eva", "old"):
            add(trial, name)
        accounts.end_user(trial, ADMIN, "old", reason="left")
        fail(trial, clock)
        for _ in range(3):
            with pytest.raises(SignInError):
                sessions.sign_in(trial, "eva", "x")
        texts, rows = set(), []
        for name, password in (
            ("nobody", "x"),
            ("eva", "x"),
            ("eva", WORD),
            ("ann", "x"),
            ("ann", WORD),
            ("old", WORD),
        ):
            counting.compared.clear()
            before = trial.head().sequence
            with pytest.raises(SignInError) as refused:
                sessions.sign_in(trial, name, password)
            texts.add(str(refused.value))
            assert counting.compared == [True], name
            rows.append(trial.head().sequence > before)
        assert len(texts) == 1, "no text tells of an account, its wait or its lock"
        assert "an administrator, who can unlock" in texts.pop()
        assert all(rows), "each refusal is in the trail"


def test_a_role_that_has_ended_or_is_another_persons_is_not_ended_again(trial: Trial, clock: ManualClock) -> None:
    add(trial, "ann", "inspector")
    add(trial, "eva")
    with pytest.raises(MissingRecordError, match="none of user eva"):
        accounts.end_grant(trial, ADMIN, "g00001", user_id="eva", reason="x")
    accounts.end_grant(trial, ADMIN, "g00001", user_id="ann", reason="other duties")
    clock.advance(days=30)
    head = trial.head().head
    with pytest.raises(TrialError, match="was ended on 2026-03-02 already"):
        accounts.end_grant(trial, ADMIN, "g00001", user_id="ann", reason="later")
    assert trial.head().head == head


@pytest.mark.parametrize(("first", "second"), [("masked_statistician", "board"), ("board", "masked_statistician")])
def test_masked_and_unmasked_work_stay_in_different_hands_after_a_role_ended(
    trial: Trial, first: str, second: str
) -> None:
    add(trial, "sam", first, email="sam@clinic.example")
    accounts.end_grant(trial, ADMIN, "g00001", user_id="sam", reason="x")
    with pytest.raises(AccessError, match="ended roles included"):
        accounts.grant_role(trial, ADMIN, "sam", role=second)
    accounts.end_user(trial, ADMIN, "sam", reason="x")
    add(trial, "sam2", name="Person sam", email="Sam@Clinic.example")
    with pytest.raises(AccessError, match="different hands"):
        accounts.grant_role(trial, ADMIN, "sam2", role=second)
    accounts.grant_role(trial, ADMIN, "sam2", role=first)


def test_an_administrator_gives_himself_no_role(trial: Trial) -> None:
    accounts.add_user(trial, SYSTEM, user_id="root", name="Root", password=WORD)
    with pytest.raises(AccessError, match="your own account"):
        accounts.grant_role(trial, ADMIN, "root", role="board")


@pytest.mark.parametrize("end", ["account", "role"])
def test_the_last_administrator_who_can_sign_in_stays(trial: Trial, clock: ManualClock, end: str) -> None:
    add(trial, "eva", "administrator")
    add(trial, "ann", "administrator")

    def ended() -> None:
        if end == "account":
            accounts.end_user(trial, ADMIN, "eva", reason="left")
        else:
            accounts.end_grant(trial, ADMIN, "g00001", user_id="eva", reason="left")

    fail(trial, clock)
    with pytest.raises(AccessError, match="the last administrator"):
        ended()
    accounts.unlock_user(trial, ADMIN, "ann", reason="spoke with her")
    ended()
    with pytest.raises(AccessError, match="the last administrator"):
        accounts.end_user(trial, ADMIN, "ann", reason="left")


@pytest.mark.parametrize(
    ("reset", "kind"),
    [
        (lambda trial: accounts.set_password(trial, ADMIN, "ann", password=WORD, must_change=True), "password_reset"),
        (lambda trial: accounts.reset_totp(trial, ADMIN, "ann", reason="lost"), "codes_reset"),
    ],
)
def test_what_an_administrator_resets_is_told_to_the_person_and_the_data_managers(
    trial: Trial, reset: Callable[[Trial], object], kind: str
) -> None:
    add(trial, "ann", "masked_statistician")
    reset(trial)
    with trial.read() as reader:
        told = [notices(reader, Actor("ann", "Ann", (Grant("masked_statistician"),))), notices(reader, MANAGER)]
        assert notices(reader, Actor("eva", "Eva", (Grant("inspector"),))) == []
    for (found,) in told:
        assert found["kind"] == kind
        assert "account ann" in found["text"]
        assert found["text"].endswith("by Root")


def test_an_own_new_password_is_told_to_nobody(trial: Trial) -> None:
    add(trial, "ann")
    accounts.set_password(trial, Actor("ann", "Ann"), "ann", password=WORD + "2")
    with trial.read() as reader:
        assert reader.records("notices") == []


@pytest.mark.requirement(17)
def test_another_person_of_the_same_printed_name_is_told_apart_by_a_reason(trial: Trial) -> None:
    add(trial, "ann", name="Zoë Lind", email="zoe@clinic.example")
    for twin in ("ZOË  lind", "Zoe\u0308 Lind", "Ｚoë Lind"):
        with pytest.raises(DuplicateRecordError, match="the printed name Zoë Lind at account ann"):
            add(trial, "zoe2", name=twin, email="other@clinic.example")
    add(trial, "zoe2", name="Zoë Lind", email="other@clinic.example", another_person="the sister-in-law, met both")
    with trial.read() as reader:
        last = list(audit.bodies(reader))[-1][1]
    assert last["reason"] == "the sister-in-law, met both"


@pytest.mark.parametrize("name", ["Ann \u202eeilrahC", "Ann\u200b", "Ann\nLee", "Ann\u2066", "\u200f", "  "])
def test_a_name_that_would_not_be_printed_as_it_is_is_refused(trial: Trial, name: str) -> None:
    with pytest.raises(InputError, match=r"is not printed|found none"):
        add(trial, "ann", name=name)


@pytest.mark.parametrize("email", ["ann", "ann@", "a b@c", "ann@clinic\u202e.example"])
def test_an_address_that_is_none_is_refused(trial: Trial, email: str) -> None:
    with pytest.raises(InputError, match="expected one such as"):
        add(trial, "ann", email=email)


class _Steps:
    """Any password is right; a code is its own 30-second step."""

    def hash(self, password: str) -> str:
        return password

    def check(self, user: Record, password: str | None, code: str | None, *, at: datetime) -> Proof:
        return Proof(password == user.get("password_hash"), code is not None, None, int(code) if code else None)

    def new_secret(self) -> tuple[str, str]:
        return "plain", "sealed"


@pytest.mark.requirement(19)
def test_codes_in_use_are_not_confirmed_again(tmp_path: Path, clock: ManualClock) -> None:
    with Trial.create(
        tmp_path / "t", study=Study("X", "x"), demonstration=True, clock=clock, authenticator=_Steps()
    ) as trial:
        add(trial, "ann")
        ann = Actor("ann", "Ann")
        accounts.begin_totp(trial, ann, "ann")
        accounts.confirm_totp(trial, ann, "ann", code="7")
        with trial.read() as reader:
            assert reader.record("users", {"user_id": "ann"})["totp_step"] == 7
        with pytest.raises(SignInError):
            accounts.confirm_totp(trial, ann, "ann", code="6")
        with pytest.raises(SignInError):
            sessions.sign_in(trial, "ann", WORD, code="7")
        assert sessions.sign_in(trial, "ann", WORD, code="8").actor.second_factor


@pytest.mark.requirement(21)
@pytest.mark.parametrize(("settings", "hours"), [({}, 12), ({"session_hours": 8}, 8)])
def test_a_session_ends_half_a_day_after_its_beginning_however_much_it_is_used(
    tmp_path: Path, clock: ManualClock, settings: dict[str, int], hours: int
) -> None:
    study = Study("X", "x", settings=settings)
    with Trial.create(tmp_path / "t", study=study, demonstration=True, clock=clock, authenticator=_Steps()) as trial:
        add(trial, "ann")
        used, swept = (sessions.sign_in(trial, "ann", WORD) for _ in range(2))
        for _ in range(hours * 6):
            clock.advance(minutes=10)
            for signed in (used, swept):
                assert sessions.resume(trial, signed.token).user_id == "ann"
        clock.advance(seconds=1)
        with pytest.raises(SignatureError, match="lasts too long"):
            confirm(trial, used.actor, Credentials("ann", WORD))
        with pytest.raises(SignInError, match="lasted as long as one may"):
            sessions.resume(trial, used.token)
        assert sessions.end_idle_sessions(trial) == 1
        with trial.read() as reader:
            ends = {row["end_reason"] for row in reader.records("sessions")}
            assert ends == {"too long"}
            assert [row["action"] for row, _ in audit.bodies(reader)].count("time_out") == 2
