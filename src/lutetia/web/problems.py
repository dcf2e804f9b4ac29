"""Errors as pages, as fragments for htmx, or as JSON for the API: what was found, what was expected, what to do.

To add one: a line of `STATUS`. Whatever is not ours becomes a 500 with a reference; its details are in the log only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lutetia.core.faults import logged
from lutetia.errors import (
    AccessDeniedError,
    AuditError,
    DuplicateRecordError,
    InputError,
    LockedRecordError,
    LutetiaError,
    MissingRecordError,
    ProtocolError,
    ReasonRequiredError,
    SchemaVersionError,
    SignatureError,
    SignInError,
    StaleRecordError,
    StorageError,
    TransitionError,
    TrialError,
    UnknownNameError,
)
from lutetia.trial.queries import people, records
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.trial.schema import SCHEMA
from lutetia.web.context import PageContext, PasswordDueError, PausedError, Services, sent_texts, whole_number
from lutetia.web.forms import Form, local_instants, values_of
from lutetia.web.routing import PUBLIC, Route
from lutetia.web.security import UNSAFE, ForgedFormError, StalledError, TooLargeError, TooManyTriesError
from lutetia.web.session import by_cookie, find, token_of

log = logging.getLogger("lutetia.web")

#: Error → status and text key of the title; the first line that fits counts, so that special ones stand first.
STATUS: tuple[tuple[type[LutetiaError], int, str], ...] = (
    (PausedError, 401, "lock.page_title"),
    (SignInError, 401, "account.sign_in"),
    (SignatureError, 422, "problem.unprocessable_title"),
    (AccessDeniedError, 403, "problem.denied_title"),
    (ForgedFormError, 403, "problem.csrf_title"),
    (TooManyTriesError, 429, "problem.rate_title"),
    (TooLargeError, 413, "problem.too_large_title"),
    (StalledError, 408, "problem.stalled_title"),
    (MissingRecordError, 404, "problem.not_found_title"),
    (StaleRecordError, 409, "problem.stale_title"),
    (LockedRecordError, 409, "problem.locked_title"),
    (DuplicateRecordError, 409, "problem.conflict_title"),
    (TransitionError, 409, "problem.conflict_title"),
    (ReasonRequiredError, 422, "problem.unprocessable_title"),
    (StorageError, 503, "problem.storage_title"),
    (SchemaVersionError, 503, "problem.storage_title"),
    (AuditError, 503, "problem.storage_title"),
    (TrialError, 409, "problem.conflict_title"),
    (InputError, 422, "problem.unprocessable_title"),
    (ProtocolError, 422, "problem.unprocessable_title"),
    (UnknownNameError, 422, "problem.unprocessable_title"),
    (LutetiaError, 422, "problem.unprocessable_title"),
)
#: Fields whose text is never shown again.
SECRET_FIELDS = frozenset(
    {"password", "present", "new_password", "repeat", "code", "csrf", "sign_password", "sign_code"}
)


class ProblemBody(BaseModel):
    """An error of the JSON API."""

    title: str
    detail: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class _Problem:
    status: int
    title: str
    detail: str
    reference: str | None = None


def install(app: FastAPI) -> None:
    """Let the application answer errors with the pages of this module."""
    app.add_exception_handler(LutetiaError, _on_ours)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_middleware(Faults)


@dataclass(frozen=True, slots=True)
class Faults:
    """The one broad `except` of the web: a fault of ours becomes a page with a reference to the log."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            pass  # nobody waits for an answer
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            route = getattr(scope.get("route"), "path", "no route")  # the address may quote what a person typed
            reference = logged(log, error, f"{scope['method']} {route}")
            request = Request(scope, receive)
            response = await run_in_threadpool(_then_closed, request, lambda: _fault(request, reference))
            await response(scope, receive, send)


def status_of(error: LutetiaError) -> tuple[int, str]:
    """Status and text key of the title for an error of ours."""
    return next((status, title) for kind, status, title in STATUS if isinstance(error, kind))


async def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, LutetiaError)
    return await run_in_threadpool(_then_closed, request, lambda: _ours(request, error))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, LutetiaError):  # a body that FastAPI could not read because we ended it
        return await _on_ours(request, error.__cause__)
    words = _page(request).t
    if error.status_code == 404:
        found = _Problem(404, words("problem.not_found_title"), words("problem.not_found"))
    elif error.status_code == 405:
        found = _Problem(405, words("problem.method_title"), words("problem.method"))
    else:
        found = _Problem(error.status_code, words("problem.unprocessable_title"), str(error.detail))
    return await run_in_threadpool(_then_closed, request, lambda: _answer(request, found))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    words = _page(request).t
    detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    found = _Problem(422, words("problem.unprocessable_title"), detail)
    if not _is_api(request):
        found = _Problem(404, words("problem.not_found_title"), words("problem.not_found"))
    return await run_in_threadpool(_then_closed, request, lambda: _answer(request, found))


def _then_closed(request: Request, answer: Callable[[], Response]) -> Response:
    """An answer that may read the trial; the connection goes back, since the route's guard has already ended."""
    try:
        return answer()
    finally:
        _page(request).close()


def _ours(request: Request, error: LutetiaError) -> Response:
    page = _page(request)
    if isinstance(error, PasswordDueError) and not _is_api(request):
        return RedirectResponse("/account", status_code=303)
    if isinstance(error, SignInError) and not _is_api(request):
        return _sign_in_again(page, error)
    status, title = status_of(error)
    if isinstance(error, StaleRecordError) and not _is_api(request) and page.sent is not None:
        saved = saved_by(page)
        return page.render("errors/stale.html", status=status, versions=both_versions(page), saved=saved or str(error))
    detail = page.t("problem.denied") if isinstance(error, AccessDeniedError) and not _is_api(request) else str(error)
    if not _is_api(request):
        detail = local_instants(detail, page.zone)
    headers = {"Retry-After": str(error.seconds)} if isinstance(error, TooManyTriesError) else None
    return _answer(request, _Problem(status, page.t(title), detail), headers=headers)


def _fault(request: Request, reference: str) -> Response:
    words = _page(request).t
    return _answer(request, _Problem(500, words("problem.fault_title"), words("problem.fault"), reference))


def _answer(request: Request, found: _Problem, *, headers: dict[str, str] | None = None) -> Response:
    if _is_api(request):
        body = ProblemBody(title=found.title, detail=found.detail, reference=found.reference)
        return JSONResponse(body.model_dump(), status_code=found.status, headers=headers)
    page = _page(request)
    template = "errors/fragment.html" if "hx-request" in request.headers else "errors/problem.html"
    response = page.render(template, status=found.status, problem=found)
    response.headers.update(headers or {})
    return response


def _sign_in_again(page: PageContext, error: SignInError) -> Response:
    """Before sign-in: the sign-in page. After a pause: the password page, with what was typed."""
    request = page.request
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    state = page.session.state if page.session is not None else "ended"
    if "hx-request" in request.headers:
        response = page.render("errors/fragment.html", status=401, problem=_Problem(401, page.t("lock.title"), ""))
        response.headers["X-Session"] = state
        return response
    kept = kept_fields(page) if request.method in UNSAFE and by_cookie(request) else []
    onward = path if request.method not in UNSAFE or kept else "/"
    template = "session/paused.html" if isinstance(error, PausedError) and state == "idle" else "session/sign_in.html"
    form = Form(page.t, "account", page.zone)
    message = page.t("account.ended") if page.session is not None else ""
    return page.render(template, status=401, form=form, onward=onward, kept=kept, message=message,
                       demo=page.services.demo,
                       whose=page.session.actor.user_id if page.session else "")  # fmt: skip


def kept_fields(page: PageContext) -> list[tuple[str, str]]:
    """What was typed, without passwords and codes; the `code` of a subject's form is that of an event or a reason."""
    if page.sent is None:
        return []
    found = sent_texts(page.sent)
    secret = SECRET_FIELDS - {"code"} if page.request.url.path.startswith("/subjects/") else SECRET_FIELDS
    return [(name, text) for name, texts in found.items() if name not in secret for text in texts]


def both_versions(page: PageContext) -> list[tuple[str, str, str]]:
    """Label, own entry and saved value of each field that differs, for a form that carries `seen(...)`."""
    assert page.sent is not None
    sent = sent_texts(page.sent)
    table, number = sent.get("record_table", [""])[0], sent.get("record_id", [""])[0]
    if table not in SCHEMA or (record := whole_number(number)) is None:
        return []
    try:  # what the form names came from the browser: only what this person may see is shown
        found = records(page.reader, page.actor, table, record_id=record)
    except AccessDeniedError:
        return []
    if not found:
        return []
    saved = values_of(found[0], page.zone)
    family = sent.get("family", [table])[0]
    label = Form(page.t, family, page.zone).label
    pairs = ((name, _joined(sent[name]), _joined(saved.get(name, ()))) for name in SCHEMA[table].names if name in sent)
    return [(label(name), yours, theirs) for name, yours, theirs in pairs if yours != theirs]


def saved_by(page: PageContext) -> str:
    """Who saved the record of a form that carries `seen(...)` last, and when; empty where the person may not know."""
    assert page.sent is not None
    sent = sent_texts(page.sent)
    table, number = sent.get("record_table", [""])[0], sent.get("record_id", [""])[0]
    record = whole_number(number)
    return last_saved(page, table, record) if table in SCHEMA and record is not None else ""


def last_saved(page: PageContext, table: str, record: int) -> str:
    """Who saved a record last, and when, in words; empty where the person may not know."""
    if not page.may("read_audit"):
        return ""
    last = audit_trail(page.reader, page.actor, AuditFilter(table=table, record=record), limit=1)
    if not last:
        return ""
    names = people(page.reader)
    return page.t("problem.stale_by", name=names.get(last[0].actor, last[0].actor), when=page.local(last[0].at))


def _joined(texts: Sequence[str]) -> str:
    return ", ".join(t for t in texts if t)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/") or request.url.path == "/openapi.json"


def _nowhere() -> None:
    """Handler of addresses that do not exist."""


def _page(request: Request) -> PageContext:
    """The page of the request; for addresses without route one is made."""
    found: PageContext | None = getattr(request.state, "page", None)
    if found is None:
        services: Services = request.app.state.services
        token = token_of(request, services.settings)
        session = find(services.trial, token) if token else None
        found = PageContext(request, services, Route(request.method, "", _nowhere, PUBLIC), session)
        request.state.page = found
    return found
