"""Forms about a subject in the browser: each stores by its use case, keeps what was typed, refuses what is stale."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.web.browsing import PASSWORD, Browser, person
from tests.web.subject_trial import COORDINATOR, TREATED, add_treated, beside, hidden, sent, words

from lutetia.trial import SYSTEM, Change, Trial, Update
from lutetia.workflow.screening import BASELINE_ITEMS, Enrol, enrol

NewBrowser = Callable[[str], Browser]
BASE = f"/subjects/{TREATED}"
CONSENT = {"kind": "main", "consent_version": "3.0", "signed_on": "2026-02-27", "taken_by": "physician"}
ANSWERS = dict.fromkeys(("adult", "tumour", "receptors", "kidneys", "blood_counts", "liver"), "yes") | {
    "pregnancy": "no"
}
SIGNATURE = {"sign_user": "physician", "sign_password": PASSWORD}
EVENT = {"term": "Nausea", "started_on": "2026-02", "grade": "2", "ongoing": "yes", "related": "possible",
         "serious": "no"}  # fmt: skip


def screened(treated: Trial) -> str:
    command = Enrol(site="01", sex="female", age_years=64)
    return str(enrol(treated, COORDINATOR, command).result)


def eligible(treated: Trial, site: Browser, physician: Browser) -> str:
    """A subject whose consent and checklist were entered and signed in the browser."""
    subject_id = screened(treated)
    base = f"/subjects/{subject_id}/screening"
    assert "The consent was saved" in sent(site, f"{base}/consent", CONSENT).text
    assert "The answers were saved" in sent(site, f"{base}/eligibility", ANSWERS).text
    assert "Eligibility was signed" in sent(physician, f"{base}/sign", SIGNATURE).text
    return subject_id


def records(treated: Trial, table: str, **where: Any) -> list[dict[str, Any]]:
    with treated.read() as reader:
        return reader.records(table, **where)


@pytest.mark.requirement(25)
def test_screening_goes_from_consent_to_a_physicians_signature(
    treated: Trial, site: Browser, physician: Browser
) -> None:
    subject_id = screened(treated)
    base = f"/subjects/{subject_id}/screening"
    page = words(site.get(base).text)
    assert "no consent in force is recorded" in page
    assert "tumour is not answered" in page
    late = sent(site, f"{base}/consent", CONSENT | {"signed_on": "2026-04-01"})
    assert late.status_code == 422
    assert "in the future" in beside(late.text, "signed_on")
    assert 'value="2026-04-01"' in late.text, "what was typed stays"
    sent(site, f"{base}/consent", CONSENT)
    again = sent(site, f"{base}/consent", CONSENT)
    assert again.status_code in (409, 422)
    assert len(records(treated, "consents", subject_id=subject_id)) == 1
    early = sent(physician, f"{base}/sign", SIGNATURE)
    assert early.status_code == 422
    assert "is not answered" in words(early.text)
    assert site.get(f"{base}/sign").status_code == 403, "a coordinator does not sign"
    sent(site, f"{base}/eligibility", ANSWERS)
    wrong = sent(physician, f"{base}/sign", SIGNATURE | {"sign_password": "another one"})
    assert wrong.status_code == 422
    assert "not right" in beside(wrong.text, "sign_password")
    assert PASSWORD not in wrong.text
    signed = sent(physician, f"{base}/sign", SIGNATURE)
    assert "eligibility confirmed: Person physician" in words(signed.text)
    change = sent(site, f"{base}/eligibility", {**ANSWERS, "liver": "no"})
    assert change.status_code == 422
    assert "reason" in words(change.text)
    changed = sent(site, f"{base}/eligibility", {**ANSWERS, "liver": "no", "reason": "read again"})
    assert "something changed since" in words(changed.text)


def test_baseline_answers_are_kept_and_wrong_ones_named_beside_their_fields(treated: Trial, site: Browser) -> None:
    subject_id = screened(treated)
    path = f"/subjects/{subject_id}/screening/baseline"
    wrong = sent(site, path, {"ki67": "140", "diabetes": "no"})
    assert wrong.status_code == 422
    assert "expected a number from 0 to 100" in beside(wrong.text, "ki67")
    assert 'value="140"' in wrong.text
    assert "saved" in sent(site, path, {"ki67": "14", "diabetes": "no"}).text
    stored = {r["item"]: r["value"] for r in records(treated, "baseline", subject_id=subject_id)}
    assert stored == {"ki67": "14", "diabetes": "no"}
    form = site.get(path).text
    assert 'value="14"' in form
    for item in BASELINE_ITEMS:
        assert f'name="{item}"' in form
    kept = {"ki67": "15", "diabetes": "no"}
    assert sent(site, path, kept).status_code == 422, "a saved value needs a reason"
    treated.commit(Change("correct", [Update("baseline", {"subject_id": subject_id, "item": "ki67"}, {"value": "16"})]),
                 SYSTEM, "pathology report")  # fmt: skip
    old = {"version_ki67": "1", "version_diabetes": "1", "reason": "typing error", **kept}
    stale = site.post(path, old)
    assert stale.status_code == 409
    assert re.search(r"Ki-67 15 16", words(stale.text)), "both versions"
    assert {r["item"]: r["value"] for r in records(treated, "baseline", subject_id=subject_id)}["ki67"] == "16"


@pytest.mark.requirement(25)
def test_a_subject_is_randomised_in_two_steps_with_a_receipt_to_print(
    treated: Trial, site: Browser, physician: Browser, browser_of: NewBrowser
) -> None:
    waiting = screened(treated)
    page = words(site.get(f"/subjects/{waiting}/randomisation").text)
    assert "What still forbids the randomisation" in page
    assert site.post(f"/subjects/{waiting}/randomisation", {"diabetes": "no"}).status_code == 422
    assert records(treated, "allocations", subject_id=waiting) == []
    subject_id = eligible(treated, site, physician)
    path = f"/subjects/{subject_id}/randomisation"
    empty = sent(site, f"{path}/confirm", {}, page=path)
    assert empty.status_code == 422
    assert "choose one" in beside(empty.text, "diabetes")
    step = sent(site, f"{path}/confirm", {"diabetes": "yes"}, page=path)
    assert "cannot be taken back" in step.text
    assert records(treated, "allocations", subject_id=subject_id) == [], "the first step allocates nothing"
    hidden_fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', step.text))
    assert hidden_fields["diabetes"] == "yes"
    fields = {k: v for k, v in hidden_fields.items() if k != "csrf"}
    stale = site.post(path, {**fields, "seen_version": "99"})
    assert stale.status_code == 409
    receipt = site.post(path, fields)
    assert "The subject is randomised" in receipt.text
    allocation = records(treated, "allocations", subject_id=subject_id)[0]
    told = words(receipt.text)
    for expected in (f"Arm {allocation['arm']}", "diabetes=yes", "Person coordinator", allocation["receipt"]):
        assert expected in told, expected
    assert "data-print" in receipt.text
    assert site.post(path, fields).status_code in (409, 422), "nobody is randomised twice"
    assert len(records(treated, "allocations", subject_id=subject_id)) == 1
    masked = browser_of(person("masked_statistician")).get(path)
    assert "hidden from your role" in masked.text
    assert allocation["receipt"] not in masked.text
    assert "diabetes=yes" not in words(masked.text).split("Receipt of the randomisation")[1]


@pytest.mark.requirement(29)
def test_a_wrong_stratum_and_an_unblinding_are_recorded_beside_the_allocation(
    treated: Trial, site: Browser, physician: Browser, browser_of: NewBrowser
) -> None:
    subject_id = eligible(treated, site, physician)
    path = f"/subjects/{subject_id}/randomisation"
    step = sent(site, f"{path}/confirm", {"diabetes": "no"}, page=path)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', step.text))
    site.post(path, {k: v for k, v in fields.items() if k != "csrf"})
    arm = records(treated, "subjects", subject_id=subject_id)[0]["arm"]
    same = sent(site, f"{path}/stratum", {"diabetes": "no", "reason": "read again"})
    assert same.status_code == 422
    assert "has the stratum" in words(same.text)
    done = sent(site, f"{path}/stratum", {"diabetes": "yes", "reason": "read again"})
    assert "Wrong stratum read again" in words(done.text)
    row = records(treated, "subjects", subject_id=subject_id)[0]
    assert row["arm"] == arm
    assert "diabetes=yes" in row["stratum_true"]
    form = {"kind": "emergency", "person": "ward physician", "reason": "bleeding", "impact": ""}
    refused = sent(physician, f"{path}/unblinding", form)
    assert refused.status_code == 422
    assert "fill this in" in beside(refused.text, "impact")
    shown = sent(physician, f"{path}/unblinding", {**form, "impact": "none expected"})
    assert f"The subject is in arm {arm}." in shown.text
    masked = sent(browser_of(person("masked_statistician")), f"{path}/unblinding",
                  {"kind": "accidental", "person": "myself", "reason": "saw a label", "impact": "none"})  # fmt: skip
    assert "stays hidden" in masked.text
    kinds = [e["kind"] for e in records(treated, "randomisation_events", subject_id=subject_id)]
    assert kinds == ["wrong_stratum", "unblinding", "unblinding"]


def test_a_number_that_is_taken_and_values_that_contradict_are_told_in_the_words_of_the_form(site: Browser) -> None:
    taken = sent(site, "/subjects/enrol", {"site": "01", "sex": "male", "age_years": "60", "subject_id": TREATED})
    assert f"Subject number: {TREATED} is enrolled already; check the number" in beside(taken.text, "subject_id")
    path = f"{BASE}/adverse-events/new"
    ended = sent(site, path, EVENT | {"ended_on": "2026-02-20"})
    assert "Ended: found 2026-02-20 although the event goes on" in beside(ended.text, "ended_on")
    aware = {"serious": "yes", "seriousness": "other", "aware_at": "2026-03-05T09:00"}
    future = beside(sent(site, path, EVENT | aware).text, "aware_at")
    assert future == "Aware since: found 2026-03-05 09:00, which is in the future; it is now 2026-03-02 09:00"


def test_screening_failure_and_withdrawal_end_the_participation(treated: Trial, site: Browser) -> None:
    subject_id = screened(treated)
    path = f"/subjects/{subject_id}/screening/failure"
    empty = sent(site, path, {"on": "2026-03-01", "reason": " "})
    assert empty.status_code == 422
    assert beside(empty.text, "reason")
    early = sent(site, path, {"on": "2026-03-01", "reason": "did not want to"})
    assert "before the subject was screened on 2026-03-02" in words(early.text)
    assert "was recorded" in sent(site, path, {"on": "2026-03-02", "reason": "did not want to"}).text
    assert records(treated, "subjects", subject_id=subject_id)[0]["state"] == "SCREEN_FAILED"
    other = screened(treated)
    sent(site, f"/subjects/{other}/screening/consent", CONSENT)
    sent(site, f"/subjects/{other}/screening/withdrawal", {"on": "2026-03-01", "reason": "not stated"})
    assert records(treated, "consents", subject_id=other)[0]["withdrawn_on"] == "2026-03-01"


def test_a_stale_correction_shows_both_versions_and_saves_nothing(treated: Trial, site: Browser) -> None:
    page = site.get(f"{BASE}/correct").text
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    treated.commit(
        Change("correct", [Update("subjects", {"subject_id": TREATED}, {"weight_kg": 82.5})]), SYSTEM, "weighed"
    )
    fields = {"sex": "male", "age_years": "61", "height_cm": "180", "weight_kg": "84", "reason": "typing error"}
    stale = site.post(f"{BASE}/correct", {**kept, "csrf": site.csrf, **fields})
    assert stale.status_code == 409
    told = words(stale.text)
    for expected in ("Somebody saved this record", "Weight", "84", "82.5"):
        assert expected in told
    assert records(treated, "subjects", subject_id=TREATED)[0]["weight_kg"] == 82.5
    wrong = sent(site, f"{BASE}/correct", fields | {"age_years": "161"})
    assert "expected 18 to 110" in beside(wrong.text, "age_years")
    assert "were corrected" in sent(site, f"{BASE}/correct", fields).text


def test_weight_status_and_treatments_are_stored_and_corrected_with_a_reason(treated: Trial, site: Browser) -> None:
    path = f"{BASE}/vitals/entry"
    wrong = sent(site, path, {"taken_on": "2026-02-23", "weight_kg": "8100"})
    assert wrong.status_code == 422
    assert "check the unit" in beside(wrong.text, "weight_kg")
    sent(site, path, {"taken_on": "2026-02-23", "weight_kg": "81", "ecog": "1"})
    row = records(treated, "vitals", subject_id=TREATED, taken_on="2026-02-23")[0]
    assert (row["weight_kg"], row["ecog"]) == (81.0, 1)
    change = {"taken_on": "2026-02-23", "weight_kg": "80", "ecog": "1"}
    assert sent(site, path, change, page=f"{path}?record={row['record_id']}").status_code == 422, "no reason"
    done = sent(site, path, {**change, "reason": "typing error"}, page=f"{path}?record={row['record_id']}")
    assert "were saved" in done.text
    drug = {"kind": "anticoagulant", "agent": "enoxaparin", "started_on": "2026-02-20", "ended_on": "2026-02-01"}
    reversed_days = sent(site, f"{BASE}/vitals/treatment", drug)
    assert reversed_days.status_code == 422
    assert "before “First day” 2026-02-20" in words(reversed_days.text)
    assert "anticoagulant" in sent(site, f"{BASE}/vitals/treatment", drug | {"ended_on": ""}).text


def test_an_adverse_event_is_entered_changes_its_grade_and_ends(treated: Trial, site: Browser) -> None:
    path = f"{BASE}/adverse-events"
    wrong = sent(site, f"{path}/new", EVENT | {"grade": "", "started_on": "2027-01"})
    assert wrong.status_code == 422
    assert "fill this in" in beside(wrong.text, "grade")
    wrong = sent(site, f"{path}/new", EVENT | {"started_on": "2027-01"})
    assert "in the future" in beside(wrong.text, "started_on")
    assert 'value="Nausea"' in wrong.text
    assert "Nausea" in sent(site, f"{path}/new", EVENT).text
    number = next(r["ae_id"] for r in records(treated, "adverse_events", subject_id=TREATED) if r["term"] == "Nausea")
    one = f"{path}/{number}"
    same = sent(site, f"{one}/grade", {"grade": "2", "started_on": "2026-02-20"})
    assert same.status_code == 422
    assert "grade 2 again" in words(same.text)
    assert "The grade was changed" in sent(site, f"{one}/grade", {"grade": "3", "started_on": "2026-02-20"}).text
    sent(site, f"{one}/end", {"ended_on": "2026-02-25", "outcome": "recovered"})
    rows = records(treated, "adverse_events", subject_id=TREATED, ae_id=number)
    assert [(r["grade"], r["ended_on"]) for r in rows] == [(2, "2026-02-20"), (3, "2026-02-25")]
    page = site.get(f"{one}/correct").text
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    last = {"subject_id": TREATED, "ae_id": number, "seq": 2}
    treated.commit(Change("correct", [Update("adverse_events", last, {"outcome": "recovering"})]), SYSTEM, "letter")
    fields = EVENT | {"grade": "3", "started_on": "2026-02-20", "ongoing": "no", "ended_on": "2026-02-26",
                      "outcome": "recovered", "reason": "letter"}  # fmt: skip
    stale = site.post(f"{one}/correct", {**kept, "csrf": site.csrf, **fields})
    assert stale.status_code == 409
    assert "2026-02-26" in stale.text
    assert site.get(f"{path}/nothing").status_code == 404


def test_a_serious_event_shows_its_clock_until_it_is_reported_and_is_judged(
    treated: Trial, site: Browser, physician: Browser, browser_of: NewBrowser
) -> None:
    path = f"{BASE}/adverse-events"
    serious = EVENT | {"term": "Ileus", "grade": "3", "started_on": "2026-03-01", "serious": "yes"}
    lacking = sent(site, f"{path}/new", serious)
    assert lacking.status_code == 422
    assert "Why serious: is missing" in words(lacking.text)
    full = serious | {"seriousness": "hospitalisation", "aware_at": "2026-03-02T06:30"}
    assert "21 h 30 min left" in words(sent(site, f"{path}/new", full).text)
    number = next(r["ae_id"] for r in records(treated, "adverse_events", subject_id=TREATED) if r["term"] == "Ileus")
    one = f"{path}/{number}"
    assert "Not reported: 21 h 30 min left" in words(site.get(one).text)
    assert f"{TREATED}, Ileus : 21 h 30 min left" in words(site.get("/subjects").text)
    assert "Ileus" not in words(browser_of(person("coordinator", "02")).get("/subjects").text)
    sent(site, f"{path}/new", full | {"term": "Sepsis", "started_on": "2026-02-28", "aware_at": "2026-02-28T09:00"})
    assert "24 h 00 min over time" in words(site.get(path).text)
    early = sent(site, f"{one}/report", {"reported_at": "2026-03-01T08:00", "narrative": "Stayed in hospital."})
    assert early.status_code == 422
    done = sent(site, f"{one}/report", {"reported_at": "2026-03-02T08:30", "narrative": "Stayed in hospital."})
    assert "The report was recorded" in done.text
    assert "Not reported" not in done.text
    assert "Causality was judged" in sent(physician, f"{one}/causality", {"judgement": "probable"}).text
    other = sent(physician, f"{one}/causality", {"judgement": "none"})
    assert (other.status_code, "was judged probable before" in beside(other.text, "reason")) == (422, True)
    officer = browser_of(person("safety_officer"))
    assert "Expectedness was judged" in sent(officer, f"{one}/expectedness", {"judgement": "unexpected"}).text
    assert site.get(f"{one}/expectedness").status_code == 403
    row = records(treated, "serious_events", subject_id=TREATED, ae_id=number)[0]
    assert (row["causality"], row["expectedness"]) == ("probable", "unexpected")


def test_a_deviation_is_recorded_and_reviewed_once(treated: Trial, site: Browser, physician: Browser) -> None:
    fields = {"on": "2026-02-24", "kind": "window", "severity": "minor", "description": ""}
    assert sent(site, f"{BASE}/deviations/new", fields).status_code == 422
    assert "Late sample" in sent(site, f"{BASE}/deviations/new", fields | {"description": "Late sample"}).text
    path = f"{BASE}/deviations/002/review"
    assert "Late sample" in physician.get(path).text
    page = physician.get(path).text
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert "Accepted" in sent(physician, path, {"assessment": "Accepted"}).text
    again = physician.post(path, {**kept, "csrf": physician.csrf, "assessment": "Again"})
    assert again.status_code in (409, 422)
    assert site.get(path).status_code == 403


def test_a_response_is_stored_with_its_lesions_and_its_contradiction_is_refused(treated: Trial, site: Browser) -> None:
    path = f"{BASE}/follow-up/response"
    fields = {"assessed_on": "2026-02-26", "method": "recist_1_1", "response": "PD", "progression": "no",
              "lesion_0": "L1", "region_0": "liver", "kind_0": "target", "diameter_mm_0": "x"}  # fmt: skip
    wrong = sent(site, path, fields)
    assert wrong.status_code == 422
    assert "write a number" in beside(wrong.text, "diameter_mm_0")
    assert 'value="L1"' in wrong.text
    wrong = sent(site, path, fields | {"diameter_mm_0": "31"})
    assert "PD and progression go together" in words(wrong.text)
    done = sent(site, path, fields | {"diameter_mm_0": "31", "response": "SD"})
    assert "L1, liver: 31 mm" in words(done.text)
    assert records(treated, "lesions", subject_id=TREATED)[0]["diameter_mm"] == 31.0
    assert 'value="L1"' in site.get(path).text, "the next assessment names the same lesions"


def test_the_lesions_suggest_a_response_and_another_one_needs_a_reason(
    treated: Trial, site: Browser, physician: Browser
) -> None:
    add_treated(treated, subject_id := "DUO-01-031")
    path = f"/subjects/{subject_id}/follow-up/response"
    baseline = {"assessed_on": "2026-01-08", "method": "recist_1_1", "response": "baseline", "progression": "no",
                "lesion_0": "L1", "region_0": "liver", "kind_0": "target", "diameter_mm_0": "40",
                "lesion_1": "N1", "region_1": "mesentery", "kind_1": "target_node", "diameter_mm_1": "20",
                "lesion_2": "O1", "region_2": "bone", "kind_2": "non_target", "finding_2": "present"}  # fmt: skip
    assert "assessment was saved" in sent(site, path, baseline).text
    later = baseline | {"assessed_on": "2026-02-26", "response": "SD", "diameter_mm_0": "0", "diameter_mm_1": "9"}
    before = treated.head().head
    told = words(site.post(f"{path}/derive", later).text)
    for expected in ("The lesions say: PR", "another one", "Sum of targets 9 mm", "Target lesions CR",
                     "Against the baseline of 60 mm −85 %", "Non-target lesions non-CR/non-PD"):  # fmt: skip
        assert expected in told, expected
    complete = words(site.post(f"{path}/derive", later | {"finding_2": "gone"}).text)
    assert "The lesions say: CR" in complete
    assert "O9: found" in words(site.post(f"{path}/derive", later | {"lesion_2": "O9"}).text)
    assert treated.head().head == before
    refused = sent(site, path, later)
    assert "the lesions say PR by RECIST 1.1" in beside(refused.text, "response")
    no_size = sent(site, path, later | {"diameter_mm_0": ""})
    assert "L1, Diameter, mm: is missing" in beside(no_size.text, "diameter_mm_0")
    unknown = sent(site, path, later | {"lesion_2": "O9", "response": "PR"})
    assert "at the baseline of 2026-01-08 it is not there" in beside(unknown.text, "lesion_2")
    done = sent(physician, path, later | {"reason": "the node is oedematous"})
    assert "L1, liver: 0 mm" in words(done.text)
    assert "N1, mesentery: 9 mm, target, lymph node" in words(done.text)
    assert "The lesions say PR; the reader: the node is oedematous" in words(done.text)
    row = records(treated, "responses", subject_id=subject_id, assessed_on="2026-02-26")[0]
    node = records(treated, "lesions", subject_id=subject_id, lesion="N1")[0]
    one = words(site.get(f"/subjects/{subject_id}/records/lesions/{node['record_id']}").text)
    assert "target, lymph node" in one, "stored words are shown in words"
    opened = f"{path}?record={row['record_id']}"
    assert opened in site.get(f"/subjects/{subject_id}/records/responses/{row['record_id']}").text
    page = site.get(opened).text
    assert re.search(r'<option value="present" selected', page)
    kept = {k: v for k, v in hidden(page).items() if k != "csrf"}
    right = later | {"response": "PR", "reason": "read again"}
    assert "assessment was saved" in sent(site, path, right, page=opened).text
    stale = site.post(path, {**kept, **later, "reason": "mine"})
    assert stale.status_code == 409
    assert "Response SD PR" in words(stale.text)


def test_contact_end_of_treatment_and_leaving_move_the_subject_on(
    treated: Trial, site: Browser, physician: Browser, browser_of: NewBrowser
) -> None:
    early = sent(site, f"{BASE}/follow-up/contact", {"on": "2025-12-01"})
    assert early.status_code == 422
    assert "before the last administration" in words(early.text)
    assert "The contact was recorded" in sent(site, f"{BASE}/follow-up/contact", {"on": "2026-03-01"}).text
    assert site.get(f"{BASE}/follow-up/end-of-treatment").status_code == 403
    end = {"on": "2026-03-01", "reason": "toxicity"}
    ended = sent(physician, f"{BASE}/follow-up/end-of-treatment", end)
    assert "The end of treatment was recorded" in ended.text
    assert records(treated, "subjects", subject_id=TREATED)[0]["state"] == "FOLLOW_UP"
    assert "Lost to follow-up" in words(site.get(f"{BASE}/follow-up").text)
    lost = sent(site, f"{BASE}/follow-up/leave", {"event": "lost", "on": "2026-03-01", "reason": ""})
    assert lost.status_code == 422
    sent(site, f"{BASE}/follow-up/leave", {"event": "lost", "on": "2026-03-01", "reason": "moved abroad"})
    assert records(treated, "subjects", subject_id=TREATED)[0]["state"] == "LOST"


@pytest.mark.requirement(45)
def test_a_name_is_shown_at_its_site_with_a_reason_and_is_nowhere_else(
    treated: Trial, site: Browser, browser_of: NewBrowser
) -> None:
    planted, path = "Kowal" + "ska-Test", f"{BASE}/identity"
    assert "saved in the site" in sent(site, path, {"name": planted, "birth_date": "1964-05-04"}).text
    assert planted not in site.get(path).text
    assert sent(site, f"{path}/read", {"reason": ""}, page=path).status_code == 422
    assert planted in sent(site, f"{path}/read", {"reason": "call from the ward"}, page=path).text
    for user in ("coordinator-02", "monitor", "data-manager", "inspector"):
        assert browser_of(user).get(path).status_code == 403
    trail = browser_of("inspector").get(f"/audit?subject_id={TREATED}").text
    assert "call from the ward" in trail
    assert planted not in trail
    assert "1964" not in trail


@pytest.mark.requirement(12)
def test_records_are_signed_with_a_meaning_that_stands_beside_them(
    treated: Trial, site: Browser, physician: Browser
) -> None:
    row = records(treated, "vitals", subject_id=TREATED)[0]
    path = f"{BASE}/records"
    fields = {"table": "vitals", "chosen": f"{row['record_id']}:{row['record_version']}", **SIGNATURE}
    refused = sent(physician, f"{path}/sign", fields, page=f"{path}?table=vitals")
    assert refused.status_code == 422
    assert "fill this in" in beside(refused.text, "meaning")
    done = sent(physician, f"{path}/sign", {**fields, "meaning": "reviewed and correct"}, page=f"{path}?table=vitals")
    assert "The records were signed" in done.text
    one = words(site.get(f"{path}/vitals/{row['record_id']}").text)
    assert re.search(r"reviewed and correct: Person physician.*CET", one)
    treated.commit(Change("correct", [Update("vitals", row["record_id"], {"ecog": 2})]), SYSTEM, "typing error")
    assert "VOID" in words(site.get(f"{path}/vitals/{row['record_id']}").text)
