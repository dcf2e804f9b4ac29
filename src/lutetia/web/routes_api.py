"""Routes of the JSON API, but for those of cycles (`routes_cycles`)."""

from __future__ import annotations

from lutetia.web.api import overview, session, subjects
from lutetia.web.routing import OWN_ACCOUNT, PUBLIC, SIGNED_IN, Route, site_of_subject

_SUBJECT = "/api/subjects/{subject_id}"

API_ROUTES: tuple[Route, ...] = (
    Route("POST", "/api/session", session.sign_in, PUBLIC),
    Route("GET", "/api/session", session.me, SIGNED_IN),
    Route("DELETE", "/api/session", session.sign_out, OWN_ACCOUNT),
    Route("GET", "/api/trial", overview.trial, SIGNED_IN),
    Route("GET", "/api/sites", overview.sites, SIGNED_IN),
    Route("GET", "/api/accrual", overview.accrual, "see_subject"),
    Route("GET", "/api/queries", overview.data_queries, "see_subject"),
    Route("GET", "/api/subjects", subjects.subjects, "see_subject"),
    Route("POST", "/api/subjects", subjects.enrol, "enter_data"),
    Route("GET", _SUBJECT, subjects.subject, "see_subject", site_of_subject),
    Route("POST", f"{_SUBJECT}/randomisation", subjects.randomise, "randomise", site_of_subject),
    Route("GET", f"{_SUBJECT}/labs", subjects.labs, "see_subject", site_of_subject),
    Route("POST", f"{_SUBJECT}/labs", subjects.enter_labs, "enter_data", site_of_subject),
    Route("GET", f"{_SUBJECT}/adverse-events", subjects.adverse_events, "see_subject", site_of_subject),
    Route("POST", "/api/laboratory/preview", subjects.preview_labs, "enter_data"),
)
