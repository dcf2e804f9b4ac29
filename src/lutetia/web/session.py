"""Who is signed in: the session of a request, its cookie, and the same person again after a pause.

The rules (argon2id, one-time codes, locking after failures, idleness, the trail) are `lutetia.trial.sessions` and
`lutetia.trial.accounts`; here a token travels between the browser and them.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from lutetia.errors import SignInError
from lutetia.trial import sessions
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.store import Trial
from lutetia.web.settings import Settings

#: open: may act. idle: ended by a pause, the same person may go on after the password. ended: must sign in again.
State = Literal["open", "idle", "ended"]
VISITOR = "lutetia-visitor"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as pages see it.

    Parameters
    ----------
    session_id
        Public number of the session; not the token.
    must_change_password
        Whether the administrator chose the present password.
    codes_on
        Whether one-time codes are set up.
    """

    session_id: str
    actor: Actor
    state: State
    must_change_password: bool
    codes_on: bool


def find(
    trial: Trial, token: str, *, use: bool = True, by_person: bool = True, reader: Reader | None = None
) -> Session | None:  # fmt: skip
    """The session of a token, also an ended one; None for an unknown token.

    Parameters
    ----------
    use
        Whether the session is used; False only looks it up, also a paused one.
    by_person
        Whether the person does something; False for what an open page asks by itself, which keeps no session awake.
    reader
        A reading that has just begun, to look the session up in; None begins one.
    """
    digest = hashlib.sha256(token.encode()).hexdigest()
    if not use:
        return _stored(trial, digest)
    with trial.read() if reader is None else nullcontext(reader) as reading:
        try:
            actor = sessions.resume(trial, token, reader=reading, by_person=by_person)
        except SignInError:
            return _stored(trial, digest)
        return _session(reading.record("users", {"user_id": actor.user_id}), actor, "open")


def _stored(trial: Trial, digest: str) -> Session | None:
    with trial.read() as reader:
        rows = reader.records("sessions", token_hash=digest)
        if not rows:
            return None
        user = reader.record("users", {"user_id": rows[0]["user_id"]})
    if rows[0]["ended_at"] is None:
        return _session(user, sessions.actor_of_session(trial, rows[0]["session_id"]), "open")
    state: State = "idle" if rows[0]["end_reason"] in sessions.TIMED_OUT and user["state"] == "active" else "ended"
    return _session(user, Actor(user["user_id"], user["name"], (), rows[0]["session_id"], False), state)


def _session(user: Record, actor: Actor, state: State) -> Session:
    return Session(
        session_id=str(actor.session_id),
        actor=actor,
        state=state,
        must_change_password=user["must_change"] == "yes",
        codes_on=user["totp_confirmed_at"] is not None,
    )


def sign_in_again(trial: Trial, session: Session, password: str, code: str, *, address: str) -> str:
    """Open a new session for the person of a paused one, end the old one, and return the new token.

    Raises
    ------
    SignInError
        If the password or code is not right.
    """
    opened = sessions.sign_in(trial, session.actor.user_id, password, code=code or None, address=address)
    if session.state == "open":
        sessions.sign_out(trial, session.actor)
    return opened.token


def token_of(request: Request, settings: Settings) -> str | None:
    """The session's token: the cookie, or for programs the header `Authorization: Bearer TOKEN`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return request.cookies.get(settings.cookie)


def by_cookie(request: Request) -> bool:
    """Whether a browser sends the credentials by itself, so that forms need their token."""
    return not request.headers.get("authorization", "").lower().startswith("bearer ")


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    """Give the browser the session's token: not readable by scripts, not sent from other sites, gone when it closes."""
    response.set_cookie(settings.cookie, token, path="/", httponly=True, samesite="strict", secure=settings.behind_tls)


def clear_cookie(response: Response, settings: Settings) -> None:
    """Take the token from the browser."""
    response.delete_cookie(settings.cookie, path="/", httponly=True, samesite="strict", secure=settings.behind_tls)


def visitor_secret(request: Request) -> str:
    """The secret of a browser that is not signed in: its cookie, or a new one that `give_visitor` hands out."""
    found = request.cookies.get(VISITOR, "")
    if len(found) == 43:
        return found
    kept: str | None = getattr(request.state, "visitor", None)
    if kept is None:
        kept = secrets.token_urlsafe(32)
        request.state.visitor = kept
    return kept


def give_visitor(request: Request, response: Response, settings: Settings) -> None:
    """Hand out the visitor's cookie where one was made for this answer."""
    if (kept := getattr(request.state, "visitor", None)) is not None:
        response.set_cookie(VISITOR, kept, path="/", httponly=True, samesite="strict", secure=settings.behind_tls)


def address_of(request: Request) -> str:
    """Where the request comes from, for the trail and the limit of rate."""
    return request.client.host if request.client else "unknown"
