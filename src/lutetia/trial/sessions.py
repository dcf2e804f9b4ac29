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
from lutetia.trial.accounts import FIRST_WAIT_SECONDS, SIGN_IN, authenticator_of, failure_edits, grants_of
from lutetia.trial.authentication import Proof
from lutetia.trial.clock import utc_text
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import SYSTEM, Actor, Change, Create, Edit, Event, Receipt, Update
from lutetia.trial.schema import ACTIVITY
from lutetia.trial.store import Trial

#: Idle time until a session ends; the study's setting `idle_minutes` replaces it (assumption: usual practice 15 to 30).
IDLE_MINUTES = 15
#: Time after its beginning at which a session ends in any case; the setting `session_hours` replaces it (assumption: a
#: working day).
SESSION_HOURS = 12
#: Greatest values that a study may set instead; above them the two numbers before hold.
SETTING_MOST = {"idle_minutes": 480, "session_hours": 24}
#: Ends of a session after which its person goes on with the password, and what the person is told.
TIMED_OUT = {
    "idle": "session: ended because it stood idle; sign in again, what you typed is kept",
    "too long": "session: ended because it lasted as long as one may; sign in again, what you typed is kept",
}
_LONGEST_WAIT_SECONDS = 300
_TOUCH_SECONDS = 30
_REFUSED = (
    "sign-in: account, password or one-time code is not right; expected all three to match; try again; after several "
    "wrong tries wait a few minutes, or ask an administrator, who can unlock the account"
)


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
        If they are not, the account is locked or ended, or the next attempt comes too soon. Text and work are the same
        in each case: neither tells who has an account, nor a guesser of a locked one that the password was right.
    """
    with trial.read() as reader:
        user = reader.find("users", {"user_id": user_id})
    at = trial.clock.now()
    proof = authenticator_of(trial).check(user or {}, password, code, at=at)
    soon = user is not None and _too_soon(user, at)
    if user is None or soon or not _accepted(user, proof) or user["state"] != "active":
        _note_failure(trial, user_id, address, count=not soon)
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
        If the session has ended, was revoked, stood idle or lasts too long (it ends then, with its audit row).
    """
    digest = hashlib.sha256(token.encode()).hexdigest()
    with trial.read() if reader is None else nullcontext(reader) as reading:
        found = reading.records("sessions", token_hash=digest, ended_at=None)
        if not found:
            raise SignInError("session: has ended; expected an open one; sign in again")
        session = found[0]
        now = trial.clock.now()
        last = last_use(reading, session)
        why, actor = timed_out(reading, session, now, last), _actor(reading, session)
    if why is not None:
        _end(trial, session["session_id"], why, actor)
        raise SignInError(TIMED_OUT[why])
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
    """End every session that stood idle or lasts too long; for a regular task. Returns how many."""
    now = trial.clock.now()
    with trial.read() as reader:
        over = [
            (row["session_id"], why, _actor(reader, row))
            for row in reader.records("sessions", ended_at=None)
            if (why := timed_out(reader, row, now, last_use(reader, row))) is not None
        ]
    for session_id, why, actor in over:
        _end(trial, session_id, why, actor)
    return len(over)


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


def timed_out(reader: Reader, session: Record, now: datetime, last: datetime) -> str | None:
    """Why an open session, used last at `last`, is over `now`: a key of `TIMED_OUT`, or None while it is not."""
    if now - last > timedelta(minutes=idle_minutes(reader)):
        return "idle"
    lasted = now - datetime.fromisoformat(session["started_at"])
    return "too long" if lasted > timedelta(hours=_setting(reader, "session_hours", SESSION_HOURS)) else None


def idle_minutes(reader: Reader) -> float:
    """The study's idle time."""
    return _setting(reader, "idle_minutes", IDLE_MINUTES)


def _setting(reader: Reader, name: str, otherwise: float) -> float:
    """A number of the study's settings in its range; `otherwise` where there is no such number."""
    found = reader.records("study")
    value = (found[0]["settings"] or {}).get(name) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= SETTING_MOST[name]:
        return otherwise
    return float(value)


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


def _note_failure(trial: Trial, user_id: str, address: str | None, *, count: bool) -> None:
    """Note a refusal in the trail; one that came too soon after the last failure is not counted as another."""

    def change(reader: Reader) -> Change:
        if not count:
            return Change("sign_in_failed", [Event({"kind": SIGN_IN, "account": user_id, "address": address})])
        user = reader.find("users", {"user_id": user_id})
        return Change("sign_in_failed", failure_edits(reader, user, SIGN_IN, address=address))

    trial.commit(change, SYSTEM)


def _too_soon(user: Record, now: datetime) -> bool:
    """Whether an attempt comes before the wait after the last failure is over: it is refused, right or not."""
    if user["last_failure_at"] is None or int(user["failures"] or 0) < 3:
        return False
    wait = min(FIRST_WAIT_SECONDS * 2.0 ** (int(user["failures"]) - 3), _LONGEST_WAIT_SECONDS)
    return now < datetime.fromisoformat(user["last_failure_at"]) + timedelta(seconds=wait)


def _end(trial: Trial, session_id: str, why: str, actor: Actor, reason: str | None = None) -> Receipt:
    def change(reader: Reader) -> Change:
        row = reader.record("sessions", {"session_id": session_id})
        action = "time_out" if why in TIMED_OUT else "sign_out" if why == "signed out" else "revoke_session"
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
