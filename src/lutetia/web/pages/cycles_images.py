"""Images that the node received: series by subject and cycle, those without a cycle, and the quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.errors import LutetiaError, MissingRecordError
from lutetia.trial import queries
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles_records import CycleNumber
from lutetia.web.problems import status_of
from lutetia.web.reading_images import received_series
from lutetia.workflow.dicom_intake import (
    AssignImages,
    SiteIdentities,
    assign_images,
    discard_quarantined,
    release_quarantined,
    site_of_sender,
)

#: Objects in quarantine on one page; the next ones come when these are decided.
_MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class AssignForm:
    """A series and the cycle that it belongs to."""

    series_uid: str
    cycle: int


@dataclass(frozen=True, slots=True)
class ObjectForm:
    """A quarantined object."""

    sha256: str


@dataclass(frozen=True, slots=True)
class DiscardForm:
    """A quarantined object that goes for good, and why."""

    sha256: str
    reason: str


def show(page: Page) -> Response:
    """Received series, those without a cycle first, and objects in quarantine."""
    page.refuse_masked()
    return _page(page, page.saved_form(view.FAMILY, {}))


def assign(page: Page) -> Response:
    """Put a series to a cycle."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if (sent := form.read(AssignForm)) is not None:
        command = AssignImages(sent.series_uid, sent.cycle)
        if form.attempt(assign_images, page.trial, page.actor, command) is not None:
            return page.redirect("/images", notice="cycles.done.assign")
    return _page(page, form, status=422)


def release(page: Page) -> Response:
    """Try a quarantined object again, as after its patient was added to the identity list."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if (sent := form.read(ObjectForm)) is not None:
        try:
            release_quarantined(page.trial, SiteIdentities(page.trial), page.actor, sha256=sent.sha256)
        except LutetiaError as error:
            if status_of(error)[0] not in (409, 422):
                raise
            form.errors[""] = str(error)
        else:
            return page.redirect("/images", notice="cycles.done.quarantine_released")
    return _page(page, form, status=422)


def show_discard(page: Page) -> Response:
    """Which object would be removed, and the form for the reason."""
    page.refuse_masked()
    return _discard_page(page, page.argument("sha256"), page.saved_form(view.FAMILY, {}))


def discard(page: Page) -> Response:
    """Remove a quarantined object for good, with a reason."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if (sent := form.read(DiscardForm)) is not None:
        discard_quarantined(page.trial, page.actor, sha256=sent.sha256, reason=sent.reason)
        return page.redirect("/images", notice="cycles.done.quarantine_discarded")
    return _discard_page(page, form.value("sha256"), form, status=422)


def _discard_page(page: PageContext, sha256: str, form: Form, *, status: int = 200) -> Response:
    found = next((row for row in _quarantine(page) if row["sha256"] == sha256), None)
    if found is None:
        raise MissingRecordError(
            "quarantine: found no such object that waits at your sites; somebody decided meanwhile"
        )
    return page.render("cycles/discard.html", status=status, form=form, object=found)


def _page(page: PageContext, form: Form, *, status: int = 200) -> Response:
    subject_id = page.argument("subject_id")
    shown, part = page.paged(received_series(page.reader, page.actor, subject_id=subject_id))
    cycles = {row["subject_id"]: _cycles(page, row["subject_id"]) for row in shown if row["cycle"] is None}
    return page.render("cycles/images.html", status=status, form=form, rows=shown, part=part, subject_id=subject_id,
                       cycles=cycles, quarantine=_quarantine(page))  # fmt: skip


def _cycles(page: PageContext, subject_id: str) -> list[tuple[str, str]]:
    rows = queries.records(page.reader, page.actor, "cycles", subject_id=subject_id)
    return [(str(row["cycle"]), page.t("cycles.cycle", number=row["cycle"])) for row in rows]


def _quarantine(page: PageContext) -> list[dict[str, Any]]:
    """Waiting objects from senders of the person's sites, the oldest first."""
    own, rows = page.sites("enter_data"), page.reader.records("quarantine", state="waiting")
    sites = {sender: site_of_sender(page.reader, sender) for sender in {r["sender"] for r in rows}}
    shown = [r for r in rows if own is None or sites[r["sender"]] in own]
    return sorted(shown, key=lambda r: str(r["received_at"]))[:_MOST_SHOWN]


def thumbnail(page: Page, subject_id: str, cycle: CycleNumber, sha256: str) -> Response:
    """A coronal slice through the first region with outlines, for the cycle's page."""
    page.refuse_masked()
    rows = queries.records(page.reader, page.actor, "attachments", subject_id=subject_id, cycle=cycle, sha256=sha256)
    if not rows:
        raise MissingRecordError(f"cycle {cycle}: found no images {sha256[:12]}; expected one of this cycle")
    cache = page.services.slices
    level = cache.stack(sha256).middle("coronal")
    png = cache.picture(sha256, "coronal", level, window="soft tissue", opacity_percent=80, outlines=True)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
