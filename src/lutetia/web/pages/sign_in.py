"""Sign in, sign out, lock after a pause and unlock; what was typed before a pause is offered again."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from lutetia.errors import SignInError
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.security import form_token
from lutetia.web.session import address_of, clear_cookie, set_cookie

#: Fields of a kept form travel under this prefix.
KEPT = "kept."


def show(page: Page) -> Response:
    """The sign-in page."""
    return _sign_in_page(page, onward=local_path(page.argument("onward")))


def sign_in(page: Page) -> Response:
    """Open a session; the answer to a refusal does not say which part was wrong."""
    form = page.form("account")
    user, address = form.value("user").strip(), address_of(page.request)
    page.services.tries.take(f"address {address}", f"user {user.lower()}")
    try:
        token = page.services.accounts.sign_in(user, form.value("password"), form.value("code"), address=address)
    except SignInError:
        return _sign_in_page(page, onward=local_path(form.value("onward")), user=user, refused=True, status=401)
    response = _onward(page, form, token, same_person=user)
    set_cookie(response, page.services.settings, token)
    return response


def sign_out(page: Page) -> Response:
    """End the session."""
    if page.session is not None and page.session.state != "ended":
        page.services.accounts.sign_out(page.session)
    response = page.redirect("/sign-in", notice="account.signed_out")
    clear_cookie(response, page.services.settings)
    return response


def lock(page: Page) -> Response:
    """Lock the session now: the page says that nobody has touched it for a while."""
    if page.session is not None and page.session.state == "open":
        page.services.accounts.lock(page.session)
    return Response(status_code=204)


def touch(page: Page) -> Response:
    """The person is at work on a page without sending anything; the guard has noted it."""
    return Response(status_code=204)


def unlock(page: Page) -> Response:
    """Open a paused session again with the password: from the overlay (204) or from the paused page."""
    form, session = page.form("account"), page.session
    assert session is not None
    page.services.tries.take(f"address {address_of(page.request)}", f"session {session.session_id}")
    overlay = "x-lock-overlay" in page.request.headers
    try:
        page.services.accounts.unlock(page.token, form.value("password"))
    except SignInError:
        if overlay:
            return Response(status_code=403)
        return page.render(
            "session/paused.html", status=401, form=_blank(page), onward=local_path(form.value("onward")),
            kept=_kept(form), message=page.t("account.refused"), whose=session.actor.user_id,
        )  # fmt: skip
    return Response(status_code=204) if overlay else _onward(page, form, page.token, same_person=session.actor.user_id)


def local_path(path: str) -> str:
    """A path of ours to go to; anything else becomes the overview."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if fine and not path.startswith(("/sign-", "/session/")) else "/"


def _onward(page: PageContext, form: Form, token: str, *, same_person: str) -> Response:
    """Go where the person wanted to go, or offer the kept entries to the same person."""
    path, kept, whose = local_path(form.value("onward")), _kept(form), form.value("whose")
    if not kept or (whose and whose != same_person):
        return RedirectResponse(path, status_code=303)
    session = page.services.accounts.find(token)
    page.session = session
    return page.render("session/kept.html", onward=path, kept=kept, kept_token=form_token(token))


def _sign_in_page(
    page: PageContext, *, onward: str, user: str = "", refused: bool = False, status: int = 200
) -> Response:
    form = _blank(page)
    form.values = {"user": [user]}
    message = page.t("account.refused") if refused else ""
    kept = _kept(page.form("account")) if page.sent is not None else []
    return page.render("session/sign_in.html", status=status, form=form, onward=onward, kept=kept, message=message,
                       demo=page.services.demo, whose=page.form("account").value("whose") if kept else "")  # fmt: skip


def _kept(form: Form) -> list[tuple[str, str]]:
    return [(n.removeprefix(KEPT), text) for n, texts in form.values.items() if n.startswith(KEPT) for text in texts]


def _blank(page: PageContext) -> Form:
    return Form(page.t, "account", page.services.study.zone)
