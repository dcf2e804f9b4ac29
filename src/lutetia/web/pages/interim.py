"""Interim analyses of snapshots: asked for, watched, signed and downloaded, open and closed sets apart."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from lutetia.errors import MissingRecordError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext, RecordNumber
from lutetia.web.files import attachment, shown
from lutetia.web.forms import Form
from lutetia.workflow.downloads import Download
from lutetia.workflow.interim import (
    MEANING,
    OPEN,
    RequestInterim,
    SignInterim,
    read_interim,
    request_interim,
    sign_interim,
)
from lutetia.workflow.interim_files import SHEET, interim_archive, signature_sheet
from lutetia.workflow.interim_view import USUAL_STEPS, Version, analysed_snapshots

_MEDIA = {"html": "text/html", "pdf": "application/pdf", "json": "application/json", "csv": "text/csv"}
ARCHIVE = "all.zip"


@dataclass(frozen=True, slots=True)
class RunForm:
    """The snapshot to analyse."""

    snapshot_id: str


def show(page: Page) -> Response:
    """Every snapshot with the versions of its analysis."""
    return _list(page, page.form("interim"))


def run(page: Page) -> Response:
    """Queue the analysis of a snapshot."""
    form = page.form("interim")
    sent = form.read(RunForm)
    if sent is None:
        return _list(page, form, status=422)
    if form.attempt(request_interim, page.trial, page.actor, RequestInterim(sent.snapshot_id)) is None:
        return _list(page, form, status=422)
    return page.redirect("/interim", notice="interim.asked")


def progress(page: Page, snapshot_id: str) -> Response:
    """How far the analysis of a snapshot is, as a fragment; the page loads again when it has ended."""
    zone = page.zone.key
    rows = analysed_snapshots(page.reader, page.actor, zone=zone)
    found = next((row for row in rows if row.snapshot["snapshot_id"] == snapshot_id), None)
    response = page.render(
        "interim/progress.html", row=found, usual=USUAL_STEPS, folder=page.trial.folder.name, small=True
    )
    if found is None or not found.under_way:
        response.headers["HX-Refresh"] = "true"
    return response


def sign_form(page: Page, snapshot_id: str, version: RecordNumber) -> Response:
    """The page on which a version is signed."""
    return _sign_page(page, Form(page.t, "interim", page.zone), snapshot_id, version=version)


def sign(page: Page, snapshot_id: str, version: RecordNumber) -> Response:
    """Sign every file of a version."""
    form = page.form("interim")
    confirmed = page.confirmed(form, role="unmasked_statistician")
    if confirmed is not None:
        command = SignInterim(snapshot_id, version, confirmed)
        if form.attempt(sign_interim, page.trial, page.actor, command) is not None:
            return page.redirect("/interim", notice="interim.signed_notice")
    return _sign_page(page, form, snapshot_id, version=version, status=422)


def open_file(page: Page, snapshot_id: str, version: RecordNumber, name: str) -> Response:
    """A file of the open set."""
    return _file(page, snapshot_id, version, name=f"open.{name}" if name in ("pdf", "html") else name, closed=False)


def closed_file(page: Page, snapshot_id: str, version: RecordNumber, name: str) -> Response:
    """A file of the closed set; the reading is recorded."""
    return _file(page, snapshot_id, version, name=f"closed.{name}" if name in ("pdf", "html") else name, closed=True)


def _file(page: PageContext, snapshot_id: str, version: int, *, name: str, closed: bool) -> Response:
    kind = "closed" if closed else "open"
    if name == ARCHIVE:
        content = interim_archive(page.trial, page.actor, snapshot_id, version=version, closed=closed)
        return attachment(Download(f"{snapshot_id}-v{version}-{kind}.zip", content), "application/zip")
    if name == SHEET:
        content = signature_sheet(page.trial, page.actor, snapshot_id, version=version, closed=closed)
        return shown(
            Download(f"{snapshot_id}-v{version}-{kind}-{SHEET}", content), "application/pdf", save=_saves(page)
        )
    if closed == (name in OPEN):
        raise MissingRecordError(f"snapshot {snapshot_id}: has no {name} in the {kind} set of its analysis")
    content = read_interim(page.trial, page.actor, snapshot_id, name, version=version)
    media = _MEDIA.get(name.rpartition(".")[2], "application/octet-stream")
    return shown(Download(f"{snapshot_id}-v{version}-{name.replace('/', '-')}", content), media, save=_saves(page))


def _saves(page: PageContext) -> bool:
    """Whether a report is to be saved rather than opened."""
    return page.argument("save") == "yes"


def _list(page: PageContext, form: Form, *, status: int = 200) -> Response:
    zone = page.zone.key
    rows = analysed_snapshots(page.reader, page.actor, zone=zone)
    return page.render(
        "interim/list.html", status=status, form=form, rows=rows, runs=page.may("run_closed_report"),
        closed=page.may("read_closed_report"), people=queries.people(page.reader), usual=USUAL_STEPS,
        folder=page.trial.folder.name,
    )  # fmt: skip


def _sign_page(
    page: PageContext, form: Form, snapshot_id: str, *, version: int, status: int = 200
) -> Response:  # fmt: skip
    snapshot, found = _version(page, snapshot_id, version)
    return page.render("interim/sign.html", status=status, form=form, snapshot=snapshot, version=found, meaning=MEANING)


def _version(page: PageContext, snapshot_id: str, number: int) -> tuple[Record, Version]:
    for row in analysed_snapshots(page.reader, page.actor):
        if row.snapshot["snapshot_id"] == snapshot_id:
            for version in row.versions:
                if version.number == number:
                    return row.snapshot, version
    raise MissingRecordError(f"snapshot {snapshot_id}: has no version {number} of its analysis")
