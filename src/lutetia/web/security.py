"""What every answer and every change carries: headers, the token against forged forms, limits of rate and size.

Plain ASGI, so that it holds for pages, API, static files and errors alike. Not here: who is signed in (`session`), who
may do what (`lutetia.trial.access`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lutetia.errors import LutetiaError
from lutetia.trial.store import Trial

#: No inline script or style, nothing from elsewhere, in no frame.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS: dict[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class ForgedFormError(LutetiaError):
    """A change came without the token of this session, or from another site's page."""


class TooManyTriesError(LutetiaError):
    """More tries than the limit of rate permits; `seconds` says how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"found too many tries; expected a pause: wait {seconds} s")
        self.seconds = seconds


class StalledError(LutetiaError):
    """A body stopped coming."""

    def __init__(self) -> None:
        super().__init__("request: its body stopped coming; send it again")


class TooLargeError(LutetiaError):
    """A body is larger than the server takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"found an upload of more than {limit} bytes; split it")
        self.limit = limit


@dataclass(frozen=True, slots=True)
class SecurityHeaders:
    """Adds `HEADERS` to every answer, and forbids storing whatever is not a static file."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, send_with_headers)


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Ends a request whose body is too large, also where no length was announced, or stops coming.

    Parameters
    ----------
    form_bytes, upload_bytes
        Limit, and limit for the addresses that `uploads` matches.
    uploads
        Whether files may come with a request of this method and path.
    stall_seconds
        Longest wait for a part of the body.
    """

    app: ASGIApp
    form_bytes: int
    upload_bytes: int
    uploads: Callable[[str, str], bool]
    stall_seconds: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.upload_bytes if self.uploads(scope["method"], scope["path"]) else self.form_bytes
        announced = Headers(scope=scope).get("content-length", "0")
        seen, ended = int(announced) if announced.isdigit() and int(announced) > limit else 0, False

        async def counted() -> Message:
            nonlocal seen, ended
            with anyio.move_on_after(None if ended else self.stall_seconds) as waited:
                message = await receive()
            if waited.cancelled_caught:
                raise StalledError
            ended = not message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > limit:
                raise TooLargeError(limit)
            return message

        await self.app(scope, counted, send)


def form_token(secret: str) -> str:
    """Token of a session (before sign-in: of the visitor's cookie): HMAC-SHA-256 under the cookie's own secret.

    A page of another site can make a browser send our cookie but can neither read it nor compute its token. The token
    outlives a restart of the server, so that no form is lost to it.
    """
    return hmac.new(secret.encode(), b"lutetia form", hashlib.sha256).hexdigest()


def check_form_token(secret: str | None, found: str | None, *, fetch_site: str | None = None) -> None:
    """Refuse a change that does not come from a page of this session.

    Parameters
    ----------
    secret
        The cookie.
    found
        The token that the form or the header `X-CSRF-Token` carried.
    fetch_site
        What the browser says about where the request came from (`Sec-Fetch-Site`), if it says so.

    Raises
    ------
    ForgedFormError
        If the token is absent or of another session, or another site sent the request.
    """
    if fetch_site not in (None, "same-origin", "none"):
        raise ForgedFormError("form: found a request from another site; expected one from a page of this server")
    if not secret or not found or not hmac.compare_digest(form_token(secret).encode(), found.encode()):
        raise ForgedFormError("form: found no valid token of this session; open the page again")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `tries` per `seconds` (and key), counted in the trial's database."""

    trial: Trial
    tries: int
    seconds: float = 60.0

    def take(self, *keys: str) -> None:
        """Count one try for each key.

        Raises
        ------
        TooManyTriesError
            If a key's tries are used up; nothing is counted for the keys after it.
        """
        for key in keys:
            if wait := self.trial.count_try(key, tries=self.tries, seconds=self.seconds):
                raise TooManyTriesError(max(1, round(wait)))
