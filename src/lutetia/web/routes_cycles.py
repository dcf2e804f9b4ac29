"""Routes of cycles and what lies below them: proposal, signatures, administration, dosimetry, images, batches."""

from __future__ import annotations

from lutetia.web.pages import cycles, cycles_given, cycles_signing, cycles_steps
from lutetia.web.routing import Route, site_of_subject

_SUBJECT = "/subjects/{subject_id}"
_CYCLE = _SUBJECT + "/cycles/{cycle}"
#: Step with a form → the right that it needs.
_STEPS = {"move": "enter_data", "hold": "release", "withhold": "release", "cancel": "release", "void": "release",
          "withdraw": "propose"}  # fmt: skip
_SIGNINGS = {
    name: "propose" if kind.role == "physicist" else "release" for name, kind in cycles_signing.SIGNINGS.items()
}


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
)  # fmt: skip
