"""Snapshots of the data: taken by the data manager, downloaded as the role may see them."""

from __future__ import annotations

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.web.context import Page, PageContext
from lutetia.web.files import attachment
from lutetia.web.forms import Form
from lutetia.workflow.downloads import snapshot_archive
from lutetia.workflow.interim_view import list_snapshots
from lutetia.workflow.snapshot import TakeSnapshot, take_snapshot


def show(page: Page) -> Response:
    """All snapshots; who locks data also sees the form."""
    return _list(page, page.form("snapshots", {"cut_on": page.today()}))


def take(page: Page) -> Response:
    """Store the data as they are now."""
    form = page.form("snapshots")
    command = form.read(TakeSnapshot)
    if command is None or form.attempt(take_snapshot, page.trial, page.actor, command) is None:
        return _list(page, form, status=422)
    return page.redirect("/snapshots", notice="snapshots.taken")


def download(page: Page, snapshot_id: str) -> Response:
    """A snapshot as a ZIP; masked for masked roles."""
    return attachment(snapshot_archive(page.trial, page.actor, snapshot_id), "application/zip")


def _list(page: PageContext, form: Form, *, status: int = 200) -> Response:
    return page.render(
        "snapshots/list.html", status=status, form=form, rows=list_snapshots(page.reader, page.actor),
        takes=page.may("lock"), exports=page.may("export"), masked=page.masked, people=queries.people(page.reader),
    )  # fmt: skip
