"""The safety dashboard: live data by arm or pooled, as the person's rights say, with ways to the single subject."""

from __future__ import annotations

from threading import Lock

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.web.context import Page, PageContext
from lutetia.workflow.safety_view import LiveSafety, sees_arms, sees_subjects, view_safety

_MAKING = Lock()


def show(page: Page) -> Response:
    """The dashboard, or the progress of its derivation where nothing is derived yet."""
    wants_arms = page.argument("view") != "pooled"
    answer, closed = view_safety(
        page.trial, live(page), page.actor, by_arm=wants_arms, retry=page.argument("again") == "yes"
    )
    if answer.derived is None:
        return page.render("safety/waiting.html", answer=answer)
    found = answer.derived
    return page.render(
        "safety/show.html", answer=answer, derived=found, closed=closed, masked=page.masked,
        view=found.views.closed if closed else found.views.open,
        row=queries.own_row(page.reader, page.actor, found.head_sequence),
        chooses=sees_arms(page.actor), named=sees_subjects(page.actor),
    )  # fmt: skip


def progress(page: Page) -> Response:
    """How far the derivation is, as a fragment; the page that waited for the first one loads itself again."""
    answer = live(page).ask()
    cold = page.argument("cold") == "yes"
    response = page.render("safety/progress.html", answer=answer, cold=cold)
    if cold and (answer.derived is not None or answer.error):
        response.headers["HX-Refresh"] = "true"
    return response


def live(page: PageContext) -> LiveSafety:
    """The one derivation of this server."""
    state = page.request.app.state
    with _MAKING:
        if not hasattr(state, "safety"):
            state.safety = LiveSafety(page.trial)
        found: LiveSafety = state.safety
    return found
