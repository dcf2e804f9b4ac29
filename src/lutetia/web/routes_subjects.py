"""Pages of subjects: their list, screening, randomisation, laboratory, events, follow-up, records; and locks."""

from __future__ import annotations

from lutetia.web.pages import (
    adverse_events,
    follow_up,
    identity,
    laboratory,
    laboratory_import,
    locks,
    randomisation,
    records,
    responses,
    screening,
    subject_course,
    subjects,
    vitals,
)
from lutetia.web.routing import Route, site_of_subject

SUBJECT = "/subjects/{subject_id}"

SUBJECT_ROUTES: tuple[Route, ...] = (
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
    Route("POST", f"{SUBJECT}/randomisation", randomisation.randomise, "randomise", site_of_subject),
    Route("GET", f"{SUBJECT}/laboratory", laboratory.show, "see_subject", site_of_subject),
    Route("GET", f"{SUBJECT}/laboratory/entry", laboratory.entry, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/laboratory/entry", laboratory.save, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/laboratory/grade", laboratory.grade, "enter_data", site_of_subject),
    Route("GET", "/laboratory/import", laboratory_import.show, "enter_data"),
    Route("POST", "/laboratory/import/preview", laboratory_import.preview, "enter_data", uploads=True),
    Route("POST", "/laboratory/import", laboratory_import.store, "enter_data", uploads=True),
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
    Route("GET", f"{SUBJECT}/follow-up/response", responses.response_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/follow-up/response", responses.record_response, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/follow-up/response/derive", responses.derive, "enter_data", site_of_subject),
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
    Route("GET", f"{SUBJECT}/identity/correct", identity.correct_form, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/identity/correct", identity.correct, "enter_data", site_of_subject),
    Route("POST", f"{SUBJECT}/identity/read", identity.read, "enter_data", site_of_subject),
    Route("GET", "/locks", locks.show, "lock"),
    Route("POST", "/locks", locks.lock, "lock"),
    Route("GET", "/locks/{lock_id}", locks.unlock_form, "lock"),
    Route("POST", "/locks/{lock_id}", locks.unlock, "lock"),
)
