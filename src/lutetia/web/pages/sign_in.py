"""Sign in, sign out, and go on after a pause; what was typed before the pause is offered again."""

from __future__ import annotations

from starlette.responses import JSONResponse, RedirectResponse, Response

from lutetia.errors import SignInError
from lutetia.trial import sessions
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.security import form_token
from lutetia.web.session import address_of, clear_cookie, find, set_cookie, sign_in_again

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
        opened = sessions.sign_in(
            page.trial, user, form.value("password"), code=form.value("code").strip() or None, address=address
        )
    except SignInError:
        return _sign_in_page(page, onward=local_path(form.value("onward")), user=user, refused=True, status=401)
    return _onward(page, form, opened.token, person=user)


def sign_out(page: Page) -> Response:
    """End the session."""
    if page.session is not None and page.session.state == "open":
        sessions.sign_out(page.trial, page.session.actor)
    response = page.redirect("/sign-in", notice="account.signed_out")
    clear_cookie(response, page.services.settings)
    return response


def pause(page: Page) -> Response:
    """The page says that nobody has touched it for a while: end what stood idle, as the server's own clock sees it."""
    sessions.end_idle_sessions(page.trial)
    return Response(status_code=204)


def touch(page: Page) -> Response:
    """The person is at work on a page without sending anything; the guard has noted it."""
    return Response(status_code=204)


def unlock(page: Page) -> Response:
    """Go on after a pause with the password: from the overlay (JSON with the new form token) or the paused page."""
    form, session = page.form("account"), page.session
    assert session is not None
    address = address_of(page.request)
    page.services.tries.take(f"address {address}", f"user {session.actor.user_id.lower()}")
    overlay = "x-lock-overlay" in page.request.headers
    try:
        token = sign_in_again(page.trial, session, form.value("password"), form.value("code").strip(), address=address)
    except SignInError:
        if overlay:
            return Response(status_code=403)
        return page.render(
            "session/paused.html", status=401, form=_blank(page), onward=local_path(form.value("onward")),
            kept=_kept(form), message=page.t("account.refused"), whose=session.actor.user_id,
        )  # fmt: skip
    if not overlay:
        return _onward(page, form, token, person=session.actor.user_id)
    response = JSONResponse({"csrf": form_token(token)})
    set_cookie(response, page.services.settings, token)
    return response


def local_path(path: str) -> str:
    """A path of ours to go to; anything else becomes the overview."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if fine and not path.startswith(("/sign-", "/session/")) else "/"


def _onward(page: PageContext, form: Form, token: str, *, person: str) -> Response:
    """Go where the person wanted to go, or offer the kept entries to the same person."""
    path, kept = local_path(form.value("onward")), _kept(form)
    response: Response = RedirectResponse(path, status_code=303)
    if kept and form.value("whose") == person:
        page.session = find(page.trial, token)
        response = page.render("session/kept.html", onward=path, kept=kept, kept_token=form_token(token))
    set_cookie(response, page.services.settings, token)
    return response


def _sign_in_page(
    page: PageContext, *, onward: str, user: str = "", refused: bool = False, status: int = 200
) -> Response:
    sent = page.form("account")
    form = _blank(page)
    form.values = {"user": [user]}
    return page.render(
        "session/sign_in.html", status=status, form=form, onward=onward, kept=_kept(sent), whose=sent.value("whose"),
        message=page.t("account.refused") if refused else "", demo=page.services.demo,
    )  # fmt: skip


def _kept(form: Form) -> list[tuple[str, str]]:
    return [(n.removeprefix(KEPT), text) for n, texts in form.values.items() if n.startswith(KEPT) for text in texts]


def _blank(page: PageContext) -> Form:
    return Form(page.t, "account", page.zone)
