"""The map of the site: every page and API route, with the right that it needs. What has no line here does not exist.

To add a route: one line; the columns are method, path, handler, action (a right of `lutetia.trial.access.RIGHTS`, or
`PUBLIC`, `SIGNED_IN`, `PAUSED`) and, where the right is needed at one site, how the request names it.
"""

from __future__ import annotations

from lutetia.web.api import overview as api_overview
from lutetia.web.api import session as api_session
    adverse_events,
from lutetia.web.pages import (
    account,
    follow_up,
    identity,
    laboratory,
    laboratory_import,
    locks,
    audit,
    documents,
    overview,
    records,
    queries,
    randomisation,
    screening,
    sign_in,
    sites,
    slices,
    subject_course,
    subjects,
    vitals,
    system,
    users,
)
from lutetia.web.routes_cycles import CYCLE_ROUTES
from lutetia.web.routing import PAUSED, PUBLIC, SIGNED_IN, Route, site_of_query, site_of_subject

SUBJECT = "/subjects/{subject_id}"
CYCLE = SUBJECT + "/cycles/{cycle}"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/health", system.health, PUBLIC),
    Route("GET", "/static/{path:path}", system.static_file, PUBLIC),
    # session
    Route("GET", "/sign-in", sign_in.show, PUBLIC),
    Route("POST", "/sign-in", sign_in.sign_in, PUBLIC),
    Route("POST", "/sign-out", sign_in.sign_out, PUBLIC),
    Route("POST", "/session/pause", sign_in.pause, PAUSED),
    Route("POST", "/session/unlock", sign_in.unlock, PAUSED),
    Route("POST", "/session/touch", sign_in.touch, SIGNED_IN),
    # own account
    Route("GET", "/account", account.show, SIGNED_IN),
    Route("POST", "/account/password", account.change_password, SIGNED_IN),
    Route("POST", "/account/codes", account.start_codes, SIGNED_IN),
    Route("POST", "/account/codes/confirm", account.confirm_codes, SIGNED_IN),
    Route("POST", "/account/sessions/{session_id}/end", account.end_session, SIGNED_IN),
    # trial
    Route("GET", "/", overview.show, SIGNED_IN),
    # subjects
    Route("GET", "/subjects", subjects.show, "see_subject"),
    Route("GET", "/subjects/enrol", subjects.enrol_form, "enter_data"),
    Route("POST", "/subjects/enrol", subjects.enrol, "enter_data"),
    Route("GET", SUBJECT, subject_course.show, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/screening", screening.show, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/correct", screening.correct_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/correct", screening.correct, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/screening/consent", screening.consent_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/screening/consent", screening.record_consent, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/screening/withdrawal", screening.withdraw_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/screening/withdrawal", screening.withdraw, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/screening/baseline", screening.baseline_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/screening/baseline", screening.record_baseline, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/screening/eligibility", screening.eligibility_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/screening/eligibility", screening.answer_eligibility, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/screening/sign", screening.sign_form, "sign_forms", site_of_subject),
    Route("POST", f"{SUBJECT}/screening/sign", screening.sign, "sign_forms", site_of_subject),
    Route("GET", f"{SUBJECT}/screening/failure", screening.fail_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/screening/failure", screening.fail, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/randomisation/stratum", randomisation.stratum_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/randomisation/stratum", randomisation.correct_stratum, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/randomisation/unblinding", randomisation.unblind_form, "see_subject", site_of_subject),
    Route("POST", f"{SUBJECT}/randomisation/unblinding", randomisation.unblind, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/randomisation", randomisation.show, "see_subject", site_of_subject),
    Route("POST", f"{SUBJECT}/randomisation/confirm", randomisation.confirm, "randomise", site_of_subject),
    Route("GET", f"{SUBJECT}/laboratory", laboratory.show, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/laboratory/entry", laboratory.entry, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/laboratory/entry", laboratory.save, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/laboratory/grade", laboratory.grade, "enter_data", site_of_subject),
    Route("GET", "/laboratory/import", laboratory_import.show, "enter_data"),
    Route("POST", "/laboratory/import/preview", laboratory_import.preview, "enter_data"),
    Route("POST", "/laboratory/import", laboratory_import.store, "enter_data"),
    Route("GET", f"{SUBJECT}/vitals", vitals.show, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/vitals/entry", vitals.vitals_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/vitals/entry", vitals.record_vitals, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/vitals/treatment", vitals.treatment_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/vitals/treatment", vitals.record_treatment, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/adverse-events", adverse_events.show, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/adverse-events/new", adverse_events.entry, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/adverse-events/new", adverse_events.record, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/adverse-events/{{ae_id}}", adverse_events.event, "see_subject", site_of_subject),
    Route(
        "GET", f"{SUBJECT}/adverse-events/{{ae_id}}/correct", adverse_events.correct_form, "enter_data", site_of_subject
    ),
    Route("POST", f"{SUBJECT}/adverse-events/{{ae_id}}/correct", adverse_events.correct, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/adverse-events/{{ae_id}}/grade", adverse_events.grade_form, "enter_data", site_of_subject),
    Route(
        "POST", f"{SUBJECT}/adverse-events/{{ae_id}}/grade", adverse_events.change_grade, "enter_data", site_of_subject
    ),
    Route("GET", f"{SUBJECT}/adverse-events/{{ae_id}}/end", adverse_events.end_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/adverse-events/{{ae_id}}/end", adverse_events.end, "enter_data", site_of_subject),
    Route(
        "GET", f"{SUBJECT}/adverse-events/{{ae_id}}/report", adverse_events.report_form, "enter_data", site_of_subject
    ),
    Route("POST", f"{SUBJECT}/adverse-events/{{ae_id}}/report", adverse_events.report, "enter_data", site_of_subject),
    Route(
        "GET",
        f"{SUBJECT}/adverse-events/{{ae_id}}/causality",
        adverse_events.causality_form,
        "sign_forms",
        site_of_subject,
    ),
    Route(
        "POST", f"{SUBJECT}/adverse-events/{{ae_id}}/causality", adverse_events.causality, "sign_forms", site_of_subject
    ),
    Route(
        "GET",
        f"{SUBJECT}/adverse-events/{{ae_id}}/expectedness",
        adverse_events.expectedness_form,
        "judge_expectedness",
        site_of_subject,
    ),
    Route(
        "POST",
        f"{SUBJECT}/adverse-events/{{ae_id}}/expectedness",
        adverse_events.expectedness,
        "judge_expectedness",
        site_of_subject,
    ),
    Route("GET", f"{SUBJECT}/deviations", follow_up.show_deviations, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/deviations/new", follow_up.deviation_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/deviations/new", follow_up.record_deviation, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/deviations/{{deviation_id}}/review", follow_up.review_form, "sign_forms", site_of_subject),
    Route("POST", f"{SUBJECT}/deviations/{{deviation_id}}/review", follow_up.review, "sign_forms", site_of_subject),
    Route("GET", f"{SUBJECT}/follow-up", follow_up.show, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/follow-up/response", follow_up.response_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/follow-up/response", follow_up.record_response, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/follow-up/contact", follow_up.contact_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/follow-up/contact", follow_up.record_contact, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/follow-up/end-of-treatment", follow_up.end_form, "sign_forms", site_of_subject),
    Route("POST", f"{SUBJECT}/follow-up/end-of-treatment", follow_up.end_treatment, "sign_forms", site_of_subject),
    Route("GET", f"{SUBJECT}/follow-up/leave", follow_up.leave_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/follow-up/leave", follow_up.leave, "enter_data", site_of_subject),
    Route("GET", f"{SUBJECT}/records", records.show, "see_subject", site_of_subject),
    Route("POST", f"{SUBJECT}/records/verify", records.verify, "verify_source", site_of_subject),
    Route("POST", f"{SUBJECT}/records/sign", records.sign, "sign_forms", site_of_subject),
    Route("GET", f"{SUBJECT}/records/{{table}}/{{record}}", records.record, "see_subject", site_of_subject),
    Route(
        "POST", f"{SUBJECT}/records/{{table}}/{{record}}/query", records.open_query, "manage_queries", site_of_subject
    ),
    Route(
        "GET", f"{SUBJECT}/records/{{table}}/{{record}}/missing", records.missing_form, "enter_data", site_of_subject
    ),
    Route(
        "POST", f"{SUBJECT}/records/{{table}}/{{record}}/missing", records.record_missing, "enter_data", site_of_subject
    ),
    Route("GET", f"{SUBJECT}/identity", identity.show, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/identity", identity.enter, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/identity/read", identity.read, "enter_data", site_of_subject),
    Route("GET", "/locks", locks.show, "lock"),
    Route("POST", "/locks", locks.lock, "lock"),
    Route("GET", "/locks/{lock_id}", locks.unlock_form, "lock"),
    Route("POST", "/locks/{lock_id}", locks.unlock, "lock"),
    Route("POST", f"{SUBJECT}/randomisation", randomisation.randomise, "randomise", site_of_subject),
    *CYCLE_ROUTES,
    # images of a cycle
    Route("GET", f"{CYCLE}/slices", slices.show, "see_subject", site_of_subject),
    Route("GET", f"{CYCLE}/slices/{{sha256}}/{{view}}/{{level}}.png", slices.picture, "see_subject", site_of_subject),
    # queries
    Route("GET", "/queries", queries.show, "see_subject"),
    Route("GET", "/queries/{query_id}", queries.thread, "see_subject", site_of_query),
    Route("POST", "/queries/{query_id}/answer", queries.answer, "answer_query", site_of_query),
    Route("POST", "/queries/{query_id}/close", queries.close, "manage_queries", site_of_query),
    Route("POST", "/queries/{query_id}/reopen", queries.reopen, "manage_queries", site_of_query),
    # documents
    Route("GET", "/documents", documents.show, SIGNED_IN),
    Route("GET", "/documents/{document_id}/file", documents.download, SIGNED_IN),
    Route("POST", "/documents", documents.add, "manage_users"),
    Route("POST", "/documents/in-force", documents.put_in_force, "manage_users"),
    # audit
    Route("GET", "/audit", audit.show, "read_audit"),
    Route("POST", "/audit/reviews", audit.review, "read_audit"),
    Route("GET", "/audit/field/{table}/{record}/{column}", audit.field, "read_audit"),
    # people, rights, sites
    Route("GET", "/users", users.show, "manage_users"),
    Route("POST", "/users", users.add, "manage_users"),
    Route("GET", "/users/access", users.access_list, "manage_users"),
    Route("GET", "/users/{user_id}", users.person, "manage_users"),
    Route("POST", "/users/{user_id}/grants", users.grant, "manage_users"),
    Route("POST", "/users/{user_id}/grants/{grant_id}/end", users.end_grant, "manage_users"),
    Route("POST", "/users/{user_id}/delegations", users.delegate, "manage_users"),
    Route("POST", "/users/{user_id}/delegations/{delegation_id}/end", users.end_delegation, "manage_users"),
    Route("POST", "/users/{user_id}/password", users.reset_password, "manage_users"),
    Route("POST", "/users/{user_id}/unlock", users.unlock, "manage_users"),
    Route("POST", "/users/{user_id}/codes", users.reset_codes, "manage_users"),
    Route("POST", "/users/{user_id}/end", users.end, "manage_users"),
    Route("GET", "/sites", sites.show, "manage_users"),
    Route("POST", "/sites", sites.add, "manage_users"),
    Route("GET", "/sites/{site}", sites.edit, "manage_users"),
    Route("POST", "/sites/{site}", sites.change, "manage_users"),
    Route("POST", "/sites/{site}/close", sites.close, "manage_users"),
    # JSON API
    Route("POST", "/api/session", api_session.sign_in, PUBLIC),
    Route("GET", "/api/session", api_session.me, SIGNED_IN),
    Route("DELETE", "/api/session", api_session.sign_out, SIGNED_IN),
    Route("GET", "/api/trial", api_overview.trial, SIGNED_IN),
    Route("GET", "/api/sites", api_overview.sites, SIGNED_IN),
    Route("GET", "/api/accrual", api_overview.accrual, "see_subject"),
    Route("GET", "/api/queries", api_overview.data_queries, "see_subject"),
)
