"""The slice viewer of a cycle: CT with activity or dose and organ outlines, scrolled by keyboard or wheel."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lutetia.errors import InputError, MissingRecordError
from lutetia.report.figures.slice_stack import VIEWS, WINDOWS, outline_colour
from lutetia.report.numbers import number
from lutetia.web.context import Page, PageContext
from lutetia.web.pages.cycles_records import CycleNumber, read_cycle
from lutetia.workflow.dosimetry_pictures import KIND, SUPERSEDED

#: Units as people read them.
UNITS = {"MBq_per_mL": "MBq/mL", "MBq_h_per_mL": "MBq·h/mL", "Gy": "Gy", "Gy_per_h": "Gy/h"}


def show(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """The viewer, on the first stack of the cycle or the one that the address names."""
    page.refuse_masked()
    found = _stacks(page, subject_id, cycle)
    chosen = next((s for s in found if s["sha256"] == page.argument("stack")), found[0])
    stack = page.services.slices.stack(chosen["sha256"])
    views = [{"name": v, "levels": stack.levels(v), "middle": stack.middle(v)} for v in VIEWS]
    organs = [{"name": name, "colour": outline_colour(n)} for n, (name, _) in enumerate(stack.masks)]
    return page.render(
        "slices/show.html", subject_id=subject_id, cycle=cycle, stacks=found, chosen=chosen, views=views, organs=organs,
        windows=tuple(WINDOWS), top=number(stack.top),
        unit=UNITS.get(stack.unit, stack.unit), has_ct=stack.ct is not None,
    )  # fmt: skip


def picture(page: Page, subject_id: str, cycle: CycleNumber, sha256: str, view: str, level: int) -> Response:
    """One slice; the address holds everything that the picture depends on, so the browser may keep it."""
    page.refuse_masked()
    if sha256 not in {s["sha256"] for s in _stacks(page, subject_id, cycle)}:
        raise MissingRecordError(f"cycle {cycle}: found no images {sha256[:12]}; expected one of this cycle")
    opacity = page.argument("opacity") or "80"
    if not (opacity.isdecimal() and len(opacity) <= 3 and int(opacity) <= 100):
        raise InputError(f"opacity: found {opacity} %; expected 0 to 100")
    png = page.services.slices.picture(
        sha256, view, level, window=page.argument("window") or "soft tissue", opacity_percent=int(opacity),
        outlines=page.argument("outlines") != "no",
    )  # fmt: skip
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def _stacks(page: PageContext, subject_id: str, cycle: int) -> list[dict[str, Any]]:
    every = page.reader.records("attachments", subject_id=subject_id, cycle=cycle, kind=KIND)
    found = [row for row in every if row["state"] != SUPERSEDED]
    if not found:
        read_cycle(page, subject_id, cycle)  # a cycle that does not exist is another mistake than one without images
        raise MissingRecordError(f"cycle {cycle}: found no images for the viewer; import the case of this cycle first")
    return found
