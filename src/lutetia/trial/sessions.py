"""Sessions on the server: opened by sign-in, ended by sign-out, idleness or revocation, known by a random token.

Only the SHA-256 of a token is stored. Every beginning, end and failure leaves an audit row. Not here: accounts
(`accounts`), cookies and pages (`web`).
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from lutetia.errors import SignInError
from lutetia.trial.accounts import FIRST_WAIT_SECONDS, authenticator_of, failure_edits, grants_of
from lutetia.trial.authentication import Proof
from lutetia.trial.clock import utc_text
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import SYSTEM, Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.schema import ACTIVITY
from lutetia.trial.store import Trial

#: Idle time until a session ends; the study's setting `idle_minutes` replaces it (assumption: usual practice 15 to 30).
IDLE_MINUTES = 15
_LONGEST_WAIT_SECONDS = 300
_TOUCH_SECONDS = 30
_REFUSED = "sign-in: account, password or one-time code is not right; expected all three to match; try again"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session: the token goes to the browser and nowhere else."""

    token: str
    actor: Actor
    must_change_password: bool
    second_factor_missing: bool


def sign_in(
    trial: Trial, user_id: str, password: str, *, code: str | None = None, address: str | None = None
) -> SignedIn:
    """Open a session for an account whose password (and one-time code, once set up) are right.

    Raises
    ------
    SignInError
        If they are not, the account is locked or ended, or the next attempt comes too soon. The text does not say which
        part was wrong.
    """
    with trial.read() as reader:
        user = reader.find("users", {"user_id": user_id})
        _refuse_too_soon(user, trial.clock.now())
    at = trial.clock.now()
    proof = authenticator_of(trial).check(user or {}, password, code, at=at)
    if user is None or not _accepted(user, proof) or user["state"] != "active":
        _count_failure(trial, user_id, address)
        if user is not None and user["state"] == "locked":
            raise SignInError("sign-in: the account is locked; an administrator was told and can unlock it")
        raise SignInError(_REFUSED)
    token = secrets.token_urlsafe(32)
    receipt = trial.commit(lambda reader: _opened(reader, user_id, proof, token, address), _named(user))
    actor = actor_of_session(trial, receipt.result)
    trial.touch(receipt.result)
    missing = user["totp_confirmed_at"] is None and not actor.second_factor
    return SignedIn(token, actor, user["must_change"] == "yes", missing)


def resume(trial: Trial, token: str, *, reader: Reader | None = None, by_person: bool = True) -> Actor:
    """The person behind a token, with the roles held now; notes the session's use.

    Parameters
    ----------
    reader
        A reading that has just begun, to look the session up in; None begins one.
    by_person
        Whether the person does something; False for what an open page asks by itself, which keeps no session awake.

    Raises
    ------
    SignInError
        If the session has ended, was revoked or stood idle too long (it ends then, with its audit row).
    """
    digest = hashlib.sha256(token.encode()).hexdigest()
    with trial.read() if reader is None else nullcontext(reader) as reading:
        found = reading.records("sessions", token_hash=digest, ended_at=None)
        if not found:
            raise SignInError("session: has ended; expected an open one; sign in again")
        session = found[0]
        last = last_use(reading, session)
        idle = timedelta(minutes=idle_minutes(reading))
        actor = _actor(reading, session)
    now = trial.clock.now()
    if now - last > idle:
        _end(trial, session["session_id"], "idle", actor)
        raise SignInError("session: ended because it stood idle; sign in again, what you typed is kept")
    if by_person and now - last > timedelta(seconds=_TOUCH_SECONDS):
        trial.touch(session["session_id"])
    return actor


def sign_out(trial: Trial, actor: Actor) -> Receipt:
    """End the actor's own session."""
    return _end(trial, str(actor.session_id), "signed out", actor)


def revoke(trial: Trial, actor: Actor, session_id: str, *, reason: str) -> Receipt:
    """End somebody's session at once; `access.require(actor, "manage_users")` is the caller's to ask."""
    return _end(trial, session_id, "revoked", actor, reason)


def end_idle_sessions(trial: Trial) -> int:
    """End every session that stood idle too long; for a regular task. Returns how many."""
    with trial.read() as reader:
        limit = trial.clock.now() - timedelta(minutes=idle_minutes(reader))
        rows = reader.records("sessions", ended_at=None)
        idle = [(row, _actor(reader, row)) for row in rows if last_use(reader, row) < limit]
    for row, actor in idle:
        _end(trial, row["session_id"], "idle", actor)
    return len(idle)


def actor_of_session(trial: Trial, session_id: str) -> Actor:
    """The person of an open session, with the roles held now.

    Raises
    ------
    SignInError
        If it has ended.
    """
    with trial.read() as reader:
        session = reader.record("sessions", {"session_id": session_id})
        if session["ended_at"] is not None:
            raise SignInError("session: has ended; expected an open one; sign in again")
        return _actor(reader, session)


def last_use(reader: Reader, session: Record) -> datetime:
    """When a session was last used."""
    touched = reader.value(select(ACTIVITY.c.at).where(ACTIVITY.c.key == session["session_id"]))
    return datetime.fromisoformat(max(touched or "", session["started_at"]))


def idle_minutes(reader: Reader) -> float:
    """The study's idle time."""
    found = reader.records("study")
    return float((found[0]["settings"] or {}).get("idle_minutes", IDLE_MINUTES)) if found else IDLE_MINUTES


def _accepted(user: Record, proof: Proof) -> bool:
    return proof.password and (proof.code or user["totp_confirmed_at"] is None) and not _used(user, proof)


def _used(user: Record, proof: Proof) -> bool:
    return proof.code_step is not None and proof.code_step <= (user["totp_step"] or 0)


def _opened(reader: Reader, user_id: str, proof: Proof, token: str, address: str | None) -> Change:
    user = reader.record("users", {"user_id": user_id})
    if user["state"] != "active" or _used(user, proof):
        raise SignInError(_REFUSED)
    session_id = f"s{reader.count('sessions') + 1:07d}"
    values = {
        "session_id": session_id, "user_id": user_id, "started_at": reader.now, "address": address,
        "token_hash": hashlib.sha256(token.encode()).hexdigest(), "second_factor": proof.code,
    }  # fmt: skip
    changed = {"failures": 0} | ({"password_hash": proof.new_hash} if proof.new_hash else {})
    changed |= {"totp_step": proof.code_step} if proof.code_step else {}
    edits: list[Edit] = [Create("sessions", values), Update("users", {"user_id": user_id}, changed)]
    return Change("sign_in", edits, result=session_id)


def _count_failure(trial: Trial, user_id: str, address: str | None) -> None:
    def change(reader: Reader) -> Change:
        user = reader.find("users", {"user_id": user_id})
        return Change("sign_in_failed", failure_edits(reader, user, "sign_in", address=address))

    trial.commit(change, SYSTEM)


def _refuse_too_soon(user: Record | None, now: datetime) -> None:
    if user is None or user["last_failure_at"] is None or int(user["failures"] or 0) < 3:
        return
    wait = min(FIRST_WAIT_SECONDS * 2.0 ** (int(user["failures"]) - 3), _LONGEST_WAIT_SECONDS)
    if now < datetime.fromisoformat(user["last_failure_at"]) + timedelta(seconds=wait):
        raise SignInError(
            f"sign-in: too many attempts; expected a wait of {wait:.0f} s between them; wait and try again"
        )


def _end(trial: Trial, session_id: str, why: str, actor: Actor, reason: str | None = None) -> Receipt:
    def change(reader: Reader) -> Change:
        row = reader.record("sessions", {"session_id": session_id})
        action = "time_out" if why == "idle" else "sign_out" if why == "signed out" else "revoke_session"
        if row["ended_at"] is not None:
            return Change(action, [])
        values = {"ended_at": utc_text(trial.clock.now()), "end_reason": why}
        return Change(action, [Update("sessions", {"session_id": session_id}, values)])

    return trial.commit(change, actor, reason)


def _actor(reader: Reader, session: Record) -> Actor:
    user = reader.record("users", {"user_id": session["user_id"]})
    second = session["second_factor"] == "yes"
    return Actor(user["user_id"], user["name"], grants_of(reader, user["user_id"]), session["session_id"], second)


def _named(user: Record) -> Actor:
    return Actor(user["user_id"], user["name"])
