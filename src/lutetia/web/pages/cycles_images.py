"""Images that the node received: series by subject and cycle, those without a cycle, and the quarantine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.errors import LutetiaError, MissingRecordError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles_records import CycleNumber
from lutetia.web.problems import status_of
from lutetia.workflow.dicom_intake import (
    AssignImages,
    SiteIdentities,
    assign_images,
    discard_quarantined,
    release_quarantined,
    site_of_sender,
)


@dataclass(frozen=True, slots=True)
class AssignForm:
    """A series and the cycle that it belongs to."""

    series_uid: str
    cycle: int


@dataclass(frozen=True, slots=True)
class ObjectForm:
    """A quarantined object."""

    sha256: str


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


def discard(page: Page) -> Response:
    """Remove a quarantined object for good."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if (sent := form.read(ObjectForm)) is not None:
        discard_quarantined(page.trial, page.actor, sha256=sent.sha256)
        return page.redirect("/images", notice="cycles.done.quarantine_discarded")
    return _page(page, form, status=422)


def _page(page: PageContext, form: Form, *, status: int = 200) -> Response:
    subject_id = page.argument("subject_id")
    where = {"subject_id": subject_id} if subject_id else {}
    rows = queries.records(page.reader, page.actor, "dicom_objects", **where)
    shown, part = page.paged(_series(rows))
    cycles = queries.records(page.reader, page.actor, "cycles", **where)
    by_subject: dict[str, list[tuple[str, str]]] = {}
    for row in cycles:
        by_subject.setdefault(row["subject_id"], []).append(
            (str(row["cycle"]), page.t("cycles.cycle", number=row["cycle"]))
        )
    return page.render("cycles/images.html", status=status, form=form, rows=shown, part=part, subject_id=subject_id,
                       cycles=by_subject, quarantine=_quarantine(page))  # fmt: skip


def _series(rows: list[Record]) -> list[dict[str, Any]]:
    counted = Counter(r["series_uid"] for r in rows)
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["series_uid"], {**row, "count": counted[row["series_uid"]]})
    return sorted(found.values(), key=lambda r: (r["cycle"] is not None, r["subject_id"], r["taken_at"] or ""))


def _quarantine(page: PageContext) -> list[dict[str, Any]]:
    """Waiting objects from senders of the person's sites."""
    own = page.sites("enter_data")
    rows = [{**r, "site": site_of_sender(page.reader, r["sender"])} for r in
            page.reader.records("quarantine", state="waiting")]  # fmt: skip
    return [r for r in rows if own is None or r["site"] in own]


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
