"""The own account: password, one-time codes, open sessions."""

from __future__ import annotations

import io
from urllib.parse import parse_qs, urlparse

import segno
from starlette.responses import Response

from lutetia.errors import InputError, SignInError
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.session import Session, address_of


def show(page: Page) -> Response:
    """Password, one-time codes and open sessions of the person."""
    return _render(page, page.form("account"))


def change_password(page: Page) -> Response:
    """Replace the password; all other sessions of the person end."""
    form = page.form("account")
    for name in ("present", "new_password", "repeat"):
        if not form.value(name):
            form.errors[name] = page.t("form.missing", field=form.label(name))
    if not form.errors and form.value("new_password") != form.value("repeat"):
        form.errors["repeat"] = page.t("account.repeat_differs")
    if form.errors:
        return _render(page, form, status=422)
    page.services.tries.take(f"address {address_of(page.request)}", f"session {_session(page).session_id}")
    try:
        page.services.accounts.change_password(_session(page), form.value("present"), form.value("new_password"))
    except SignInError:
        form.errors["present"] = page.t("account.present_wrong")
        return _render(page, form, status=422)
    except InputError as error:
        form.errors["new_password"] = str(error)
        return _render(page, form, status=422)
    return page.redirect("/account", notice="account.password_changed")


def start_codes(page: Page) -> Response:
    """Make a key and show it as a QR code."""
    return _codes_page(page, page.form("account"), page.services.accounts.start_codes(_session(page)))


def confirm_codes(page: Page) -> Response:
    """Turn one-time codes on once the app shows the right digits."""
    form = page.form("account")
    page.services.tries.take(f"session {_session(page).session_id}")
    try:
        page.services.accounts.confirm_codes(_session(page), form.value("code"))
    except SignInError:
        form.errors["code"] = page.t("account.code_wrong")
        return _codes_page(page, form, form.value("address"), status=422)
    return page.redirect("/account", notice="account.codes_confirmed")


def end_session(page: Page, session_id: str) -> Response:
    """End another session of the person."""
    page.services.accounts.end_session(_session(page), session_id)
    return page.redirect("/account", notice="account.session_ended")


def qr_picture(address: str) -> bytes:
    """An otpauth address as an SVG QR code, without styles, sized by the page."""
    picture = io.BytesIO()
    segno.make(address, error="m", micro=False).save(
        picture, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=3, dark="#16212e", light="#ffffff",
        svgclass=None, lineclass=None,
    )  # fmt: skip
    return picture.getvalue().strip()


def _codes_page(page: PageContext, form: Form, address: str, *, status: int = 200) -> Response:
    parts = urlparse(address)
    secret = parse_qs(parts.query).get("secret", [""])[0]
    if parts.scheme != "otpauth" or not secret:
        raise InputError("one-time codes: found no key; start again on the page of your account")
    groups = " ".join(secret[n : n + 4] for n in range(0, len(secret), 4))
    return page.render(
        "session/codes.html", status=status, form=form, address=address, secret=groups, picture=qr_picture(address)
    )


def _session(page: PageContext) -> Session:
    if page.session is None:
        raise SignInError("session: found none; sign in")
    return page.session


def _render(page: PageContext, form: Form, *, status: int = 200) -> Response:
    session = _session(page)
    return page.render(
        "session/account.html", status=status, form=form, session=session,
        sessions=page.services.accounts.open_sessions(session.actor.user_id),
    )  # fmt: skip
