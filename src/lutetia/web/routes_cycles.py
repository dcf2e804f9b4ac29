"""Routes of cycles and what lies below them: proposal, signatures, administration, dosimetry, images, batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutetia.trial.reader import Reader
from lutetia.web.api import cycles as api_cycles
from lutetia.web.pages import (
    cycles,
    cycles_batches,
    cycles_dosimetry,
    cycles_given,
    cycles_images,
    cycles_print,
    cycles_signing,
    cycles_steps,
)
from lutetia.web.routing import Route, site_of_subject
from lutetia.workflow.batches import batch_of

_SUBJECT = "/subjects/{subject_id}"
_CYCLE = _SUBJECT + "/cycles/{cycle}"
#: Step with a form → the right that it needs.
_STEPS = {"move": "enter_data", "hold": "release", "lift": "release", "withhold": "release", "cancel": "release",
          "void": "release", "withdraw": "propose"}  # fmt: skip
_SIGNINGS = {
    name: "propose" if kind.role == "physicist" else "release" for name, kind in cycles_signing.SIGNINGS.items()
}


def site_of_batch(reader: Reader, path: Mapping[str, Any]) -> str:
    """The site that received the batch in the address; raises `MissingRecordError` where there is none."""
    return str(batch_of(reader, str(path["batch"]))["site"])


CYCLE_ROUTES: tuple[Route, ...] = (
    Route("GET", f"{_SUBJECT}/cycles/new", cycles_steps.show_plan, "enter_data", site_of_subject),
    Route("POST", f"{_SUBJECT}/cycles/new", cycles_steps.plan, "enter_data", site_of_subject),
    Route("GET", _CYCLE, cycles.show, "see_subject", site_of_subject),
    Route("GET", f"{_CYCLE}/what-if", cycles.try_activities, "see_subject", site_of_subject),
    Route("POST", f"{_CYCLE}/assess", cycles_steps.assess, "enter_data", site_of_subject),
    Route("POST", f"{_CYCLE}/close", cycles_steps.close, "enter_data", site_of_subject),
    *(Route("GET", f"{_CYCLE}/{s}", cycles_steps.form_of(s), right, site_of_subject) for s, right in _STEPS.items()),
    *(Route("POST", f"{_CYCLE}/{s}", cycles_steps.take(s), right, site_of_subject) for s, right in _STEPS.items()),
    *(Route("GET", f"{_CYCLE}/{s}", cycles_signing.form_of(s), r, site_of_subject) for s, r in _SIGNINGS.items()),
    *(Route("POST", f"{_CYCLE}/{s}", cycles_signing.sign(s), r, site_of_subject) for s, r in _SIGNINGS.items()),
    Route("GET", f"{_CYCLE}/administration", cycles_given.show, "record_administration", site_of_subject),
    Route("POST", f"{_CYCLE}/administration", cycles_given.record, "record_administration", site_of_subject),
    Route("POST", f"{_CYCLE}/administration/look", cycles_given.look, "record_administration", site_of_subject),
    Route("GET", f"{_CYCLE}/administration/correct", cycles_given.show_correction, "record_administration",
          site_of_subject),
    Route("POST", f"{_CYCLE}/administration/correct", cycles_given.correct, "record_administration", site_of_subject),
    Route("GET", f"{_CYCLE}/prescription.pdf", cycles_print.pdf, "see_subject", site_of_subject),
    # dosimetry
    Route("GET", f"{_CYCLE}/dosimetry", cycles_dosimetry.show, "propose", site_of_subject),
    Route("POST", f"{_CYCLE}/dosimetry/upload", cycles_dosimetry.upload, "propose", site_of_subject, uploads=True),
    Route("POST", f"{_CYCLE}/dosimetry/import", cycles_dosimetry.take_case, "propose", site_of_subject),
    Route("POST", f"{_CYCLE}/dosimetry/discard", cycles_dosimetry.discard, "propose", site_of_subject),
    Route("GET", f"{_CYCLE}/dosimetry/images", cycles_dosimetry.show_images, "propose", site_of_subject),
    Route("POST", f"{_CYCLE}/dosimetry/images", cycles_dosimetry.take_images, "propose", site_of_subject,
          uploads=True),
    Route("GET", f"{_CYCLE}/dosimetry/missing", cycles_dosimetry.show_missing, "propose", site_of_subject),
    Route("POST", f"{_CYCLE}/dosimetry/missing", cycles_dosimetry.take_missing, "propose", site_of_subject),
    Route("GET", f"{_CYCLE}/job", cycles_dosimetry.job, "see_subject", site_of_subject, by_itself=True),
    Route("POST", f"{_CYCLE}/job/repeat", cycles_dosimetry.repeat, "propose", site_of_subject),
    Route("GET", f"{_CYCLE}/files/{{name}}", cycles_dosimetry.report, "see_subject", site_of_subject),
    Route("GET", f"{_CYCLE}/thumbnails/{{sha256}}.png", cycles_images.thumbnail, "see_subject", site_of_subject),
    # product batches
    Route("GET", "/batches", cycles_batches.show, "record_administration"),
    Route("POST", "/batches", cycles_batches.receive, "record_administration"),
    Route("GET", "/batches/{batch}", cycles_batches.account, "record_administration", site_of_batch),
    Route("POST", "/batches/{batch}/moves", cycles_batches.move, "record_administration", site_of_batch),
    Route("POST", "/batches/{batch}/close", cycles_batches.close, "record_administration", site_of_batch),
    # received images
    Route("GET", "/images", cycles_images.show, "enter_data"),
    Route("POST", "/images/assign", cycles_images.assign, "enter_data"),
    Route("POST", "/images/quarantine/release", cycles_images.release, "enter_data"),
    Route("GET", "/images/quarantine/discard", cycles_images.show_discard, "enter_data"),
    Route("POST", "/images/quarantine/discard", cycles_images.discard, "enter_data"),
    # JSON API
    Route("GET", f"/api{_SUBJECT}/cycles", api_cycles.cycles, "see_subject", site_of_subject),
    Route("GET", f"/api{_CYCLE}/prescription", api_cycles.prescription, "see_subject", site_of_subject),
    Route("GET", f"/api{_CYCLE}/doses", api_cycles.doses, "see_subject", site_of_subject),
    Route("POST", f"/api{_CYCLE}/what-if", api_cycles.try_activities, "see_subject", site_of_subject),
)  # fmt: skip
