"""Messages to the person who is signed in: what is new, what was seen, and the mark of having seen them."""

from __future__ import annotations

from starlette.responses import Response

from lutetia.trial.queries_notices import notices
from lutetia.web.context import Page
from lutetia.workflow.notices import mark_seen


def show(page: Page) -> Response:
    """All messages, unseen ones first."""
    rows = notices(page.reader, page.actor)
    shown, part = page.paged(rows)
    return page.render("notices/list.html", rows=shown, part=part, unseen=sum(row["seen_at"] is None for row in rows))


def seen(page: Page) -> Response:
    """Mark one message (`notice_id`) or, without it, all of them as seen; back to where the person was."""
    form = page.form("notices")
    number = form.value("notice_id")
    mark_seen(page.trial, page.actor, [int(number)] if number.isdecimal() and len(number) < 10 else None)
    return page.redirect("/notices" if form.value("back") == "notices" else "/", notice="notices.marked")
