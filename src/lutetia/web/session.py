"""Who is signed in: what the web needs to know of a session, and where the accounts are kept.

The rules (argon2id, one-time codes, locking after failures, the trail of sign-ins) live behind `Accounts`; this module
only carries a token between the browser's cookie and them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal, Protocol

from starlette.requests import Request
from starlette.responses import Response

from lutetia.trial.records import Actor
from lutetia.web.settings import Settings

#: open: may act. idle: must give the password again. ended: must sign in again.
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
    codes_on, codes_needed
        Whether one-time codes are set up, and whether a granted right needs them.
    """

    session_id: str
    actor: Actor
    state: State
    must_change_password: bool = False
    codes_on: bool = False
    codes_needed: bool = False


@dataclass(frozen=True, slots=True)
class OpenSession:
    """One line of the list of a person's open sessions (UTC text)."""

    session_id: str
    started_at: str
    used_at: str
    address: str


class Accounts(Protocol):
    """Everything about accounts that the web asks for; each change is in the audit trail."""

    def sign_in(self, user: str, password: str, code: str, *, address: str) -> str:
        """Open a session and return its token. Raises SignInError, whose text is not shown."""
        ...

    def find(self, token: str) -> Session | None:
        """The session of a token, also an idle or ended one; None for an unknown token."""
        ...

    def touch(self, session: Session) -> None:
        """Note that the person did something."""
        ...

    def lock(self, session: Session) -> None:
        """Make a session idle at once."""
        ...

    def unlock(self, token: str, password: str) -> None:
        """Open an idle session again. Raises SignInError."""
        ...

    def sign_out(self, session: Session) -> None:
        """End a session."""
        ...

    def open_sessions(self, user_id: str) -> list[OpenSession]:
        """Sessions of a person that are not ended."""
        ...

    def end_session(self, session: Session, session_id: str) -> None:
        """End another session of the same person."""
        ...

    def change_password(self, session: Session, present: str, new: str) -> None:
        """Replace the password; other sessions end. Raises SignInError or InputError."""
        ...

    def start_codes(self, session: Session) -> str:
        """Make a new key for one-time codes and return its otpauth address."""
        ...

    def confirm_codes(self, session: Session, code: str) -> None:
        """Turn one-time codes on. Raises SignInError."""
        ...


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
    """Give the browser the session's token: not readable by scripts, not sent from other sites."""
    response.set_cookie(
        settings.cookie, token, path="/", httponly=True, samesite="strict", secure=settings.behind_tls,
        max_age=settings.session_seconds,
    )  # fmt: skip


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
