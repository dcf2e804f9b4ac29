"""The own account: password, one-time codes, open sessions."""

from __future__ import annotations

import io

import segno
from starlette.responses import Response

from lutetia.errors import InputError, MissingRecordError, SignatureError, SignInError
from lutetia.trial import accounts, sessions
from lutetia.trial.authentication import MINIMUM_LENGTH, provisioning_uri
from lutetia.trial.signatures import Credentials, confirm
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages.overview import waiting_rights
from lutetia.web.session import Session, address_of, clear_cookie


def show(page: Page) -> Response:
    """Password, one-time codes and open sessions of the person."""
    return _render(page, page.form("account"))


def change_password(page: Page) -> Response:
    """Replace the password; all other sessions of the person end."""
    form, session = page.form("account"), _session(page)
    for name in ("present", "new_password", "repeat"):
        if not form.value(name):
            form.errors[name] = page.t("form.missing", field=form.label(name))
    if not form.errors and form.value("new_password") != form.value("repeat"):
        form.errors["repeat"] = page.t("account.repeat_differs")
    if not form.errors and form.value("new_password") == form.value("present"):
        form.errors["new_password"] = page.t("account.same_password")
    if form.errors:
        return _render(page, form, status=422)
    try:
        _prove(page, form.value("present"), form.value("code").strip())
        accounts.set_password(page.trial, session.actor, session.actor.user_id, password=form.value("new_password"))
    except SignatureError:
        form.errors["present"] = page.t("account.present_wrong")
    except InputError as error:
        form.errors["new_password"] = str(error)
    if form.errors:
        return _render(page, form, status=422)
    return page.redirect("/account", notice="account.password_changed")


def start_codes(page: Page) -> Response:
    """Make a key, after the password, and show it, this once, as a QR code."""
    form, session = page.form("account"), _session(page)
    try:
        _prove(page, form.value("own_password"))
    except SignatureError:
        form.errors["own_password"] = page.t("account.own_password_wrong")
        return _render(page, form, part="codes", status=422)
    secret = accounts.begin_totp(page.trial, session.actor, session.actor.user_id)
    return _codes_page(page, page.form("account"), secret)


def confirm_codes(page: Page) -> Response:
    """Turn one-time codes on once the app shows the right digits; the person then signs in with a code."""
    form, session = page.form("account"), _session(page)
    page.services.tries.take(f"user {session.actor.user_id.lower()}")
    try:
        accounts.confirm_totp(page.trial, session.actor, session.actor.user_id, code=form.value("code").strip())
    except SignInError:
        form.errors["code"] = page.t("account.code_wrong")
        return _codes_page(page, form, form.value("secret"), status=422)
    sessions.sign_out(page.trial, session.actor)
    response = page.redirect("/sign-in", notice="account.codes_confirmed")
    clear_cookie(response, page.services.settings)
    return response


def _prove(page: PageContext, password: str, code: str = "") -> None:
    """Check that the person of the session is at the keyboard; raises `SignatureError`, failures are counted."""
    person = _session(page).actor
    page.services.tries.take(f"address {address_of(page.request)}", f"user {person.user_id.lower()}")
    confirm(page.trial, person, Credentials(person.user_id, password, code or None))


def end_session(page: Page, session_id: str) -> Response:
    """End another session of the person."""
    session = _session(page)
    if session_id not in {row["session_id"] for row in _open_sessions(page, session.actor.user_id)}:
        raise MissingRecordError(f"session {session_id}: found none of yours that is open; reload the page")
    sessions.revoke(page.trial, session.actor, session_id, reason=page.t("account.ended_by_owner"))
    return page.redirect("/account", notice="account.session_ended")


def qr_picture(address: str) -> bytes:
    """An otpauth address as an SVG QR code, without styles, sized by the page."""
    picture = io.BytesIO()
    segno.make(address, error="m", micro=False).save(
        picture, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=3, dark="#16212e", light="#ffffff",
        svgclass=None, lineclass=None,
    )  # fmt: skip
    return picture.getvalue().strip()


def _codes_page(page: PageContext, form: Form, secret: str, *, status: int = 200) -> Response:
    groups = " ".join(secret[n : n + 4] for n in range(0, len(secret), 4))
    picture = qr_picture(provisioning_uri(_session(page).actor.user_id, secret))
    return page.render("session/codes.html", status=status, form=form, secret=secret, groups=groups, picture=picture)


def _session(page: PageContext) -> Session:
    if page.session is None:
        raise SignInError("session: found none; sign in")
    return page.session


def _open_sessions(page: PageContext, user_id: str) -> list[dict[str, str]]:
    rows = page.reader.records("sessions", user_id=user_id, ended_at=None)
    return [
        {
            "session_id": row["session_id"], "started_at": row["started_at"], "address": row["address"] or "",
            "used_at": sessions.last_use(page.reader, row).isoformat(),
        }
        for row in rows
    ]  # fmt: skip


def _render(page: PageContext, form: Form, *, part: str = "", status: int = 200) -> Response:
    """The page of the own account; `part` is the form that was sent, where it is not the password's."""
    session = _session(page)
    return page.render(
        "session/account.html", status=status, form=form, empty=Form(page.t, "account", page.zone),
        part=part, session=session, locked_rights=waiting_rights(page), length=MINIMUM_LENGTH,
        sessions=_open_sessions(page, session.actor.user_id),
    )  # fmt: skip
