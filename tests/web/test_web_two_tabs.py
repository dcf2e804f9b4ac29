"""Two tabs on one form: who saves second is told, whatever the form; nothing is overwritten unseen, nothing lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.web.browsing import PASSWORD, Browser, person
from tests.web.subject_trial import COORDINATOR, add_treated, hidden, words

from lutetia.trial import Trial
from lutetia.web.routes_subjects import SUBJECT, SUBJECT_ROUTES
from lutetia.workflow.screening import Enrol, enrol

#: Forms that store nothing, only add to what is there, or are tested with what they belong to.
EXEMPT = {
    "/randomisation", "/randomisation/confirm", "/randomisation/stratum", "/randomisation/unblinding",
    "/laboratory/grade", "/records/{table}/{record}/query", "/identity", "/identity/read", "/identity/correct",
    "/follow-up/response/derive",
}  # fmt: skip
EVENT = {"term": "Fatigue", "started_on": "2026-02-10", "grade": "1", "ongoing": "yes", "related": "none",
         "serious": "no"}  # fmt: skip
SIGNATURE = {"sign_user": "physician", "sign_password": PASSWORD}
ANSWERS = dict.fromkeys(("adult", "tumour", "receptors", "kidneys", "blood_counts", "liver"), "yes") | {
    "pregnancy": "no"
}
CONSENT = {"kind": "main", "consent_version": "3.0", "signed_on": "2026-02-27", "taken_by": "physician"}
RESPONSE = {"assessed_on": "2026-02-26", "method": "clinical", "response": "SD", "progression": "no"}


@dataclass(frozen=True)
class Tabs:
    """What both tabs send; `both` are words of the two versions that the second one is shown (empty: a message)."""

    first: Mapping[str, str]
    second: Mapping[str, str]
    both: tuple[str, str] | tuple[()] = ()
    user: str = "coordinator"
    page: str = ""
    start: str = "treated"
    before: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _event(first: Mapping[str, str], second: Mapping[str, str], both: Any, **more: Any) -> Tabs:
    return Tabs(first, second, both, before={"/adverse-events/new": EVENT | more.pop("event", {})}, **more)


_SERIOUS = {"serious": "yes", "grade": "3", "seriousness": "hospitalisation", "aware_at": "2026-03-02T06:30"}
_SUBJECT = {"sex": "male", "age_years": "61", "height_cm": "180", "reason": "read again"}
FORMS: dict[str, Tabs] = {
    "/correct": Tabs(_SUBJECT | {"weight_kg": "82"}, _SUBJECT | {"weight_kg": "84"}, ("84", "82")),
    "/screening/consent": Tabs(CONSENT, CONSENT | {"note": "again"}, start="screened"),
    "/screening/withdrawal": Tabs({"on": "2026-02-28", "reason": "a"}, {"on": "2026-03-01", "reason": "b"},
                                  start="screened", before={"/screening/consent": CONSENT}),
    "/screening/baseline": Tabs({"ki67": "14"}, {"ki67": "15", "reason": "x"}, ("15", "14"), start="screened"),
    "/screening/eligibility": Tabs(ANSWERS, ANSWERS | {"liver": "no", "reason": "x"}, ("no", "yes"), start="screened"),
    "/screening/failure": Tabs({"on": "2026-03-02", "reason": "a"}, {"on": "2026-03-02", "reason": "b"},
                               start="screened"),
    "/laboratory/entry": Tabs({"taken_at": "2026-02-27T08:00", "value_platelets": "91", "unit_platelets": "10⁹/L"},
                              {"taken_at": "2026-02-27T08:00", "value_platelets": "19", "unit_platelets": "10⁹/L",
                               "reason": "mine"}, ("19 10⁹/L", "91 10⁹/L")),
    "/vitals/entry": Tabs({"taken_on": "2026-02-20", "weight_kg": "80"},
                          {"taken_on": "2026-02-20", "weight_kg": "82", "reason": "x"}, ("82", "80")),
    "/vitals/treatment": Tabs({"kind": "epo", "started_on": "2026-02-20", "agent": "one"},
                              {"kind": "epo", "started_on": "2026-02-20", "agent": "other", "reason": "x"},
                              ("other", "one")),
    "/adverse-events/new": Tabs(EVENT | {"term": "Rash"}, EVENT | {"term": "Rash"}),
    "/adverse-events/{ae_id}/correct": _event(EVENT | {"grade": "2", "reason": "a"}, EVENT | {"grade": "3",
                                              "reason": "b"}, ("3", "2")),
    "/adverse-events/{ae_id}/grade": _event({"grade": "2", "started_on": "2026-02-20"},
                                            {"grade": "3", "started_on": "2026-02-21"}, ("3", "2")),
    "/adverse-events/{ae_id}/end": _event({"ended_on": "2026-02-20", "outcome": "recovered"},
                                          {"ended_on": "2026-02-21", "outcome": "recovering"}, ()),
    "/adverse-events/{ae_id}/report": _event({"reported_at": "2026-03-02T08:30", "narrative": "a"},
                                             {"reported_at": "2026-03-02T08:40", "narrative": "b"}, (), event=_SERIOUS),
    "/adverse-events/{ae_id}/causality": _event({"judgement": "none"}, {"judgement": "definite"}, ("definite", ""),
                                                event=_SERIOUS, user="physician"),
    "/adverse-events/{ae_id}/expectedness": _event({"judgement": "expected"}, {"judgement": "unexpected"},
                                                   ("unexpected", ""), event=_SERIOUS, user="safety-officer"),
    "/deviations/new": Tabs({"on": "2026-02-24", "kind": "window", "severity": "minor", "description": "late"},
                            {"on": "2026-02-24", "kind": "window", "severity": "minor", "description": "late"}),
    "/deviations/{deviation_id}/review": Tabs({"assessment": "a"}, {"assessment": "b"}, (), user="physician"),
    "/follow-up/response": Tabs(RESPONSE, RESPONSE | {"response": "PR"}),
    "/follow-up/contact": Tabs({"on": "2026-03-01"}, {"on": "2026-03-01"}),
    "/follow-up/end-of-treatment": Tabs({"on": "2026-03-01", "reason": "a"}, {"on": "2026-02-28", "reason": "b"},
                                        user="physician"),
    "/follow-up/leave": Tabs({"event": "died", "on": "2026-03-01", "reason": "a"},
                             {"event": "withdrew", "on": "2026-03-01", "reason": "b"}),
    "/records/{table}/{record}/missing": Tabs({"code": "not done", "field": "ecog"},
                                              {"code": "unknown", "field": "ecog", "reason": "x"},
                                              ("unknown", "not done"), page="?field=ecog",
                                              before={"/vitals/entry": {"taken_on": "2026-02-20", "weight_kg": "80"}}),
}  # fmt: skip


def test_every_form_of_a_subject_is_tried_in_two_tabs() -> None:
    paths = {route.path.removeprefix(SUBJECT) for route in SUBJECT_ROUTES
             if route.method == "POST" and route.path.startswith(SUBJECT)}  # fmt: skip
    signed = {"/screening/sign", "/records/sign", "/records/verify"}
    assert paths - EXEMPT - signed == set(FORMS)


def started(trial: Trial, number: int, start: str) -> str:
    """A subject of its own for one form."""
    if start == "screened":
        return str(enrol(trial, COORDINATOR, Enrol(site="01", sex="female", age_years=64)).result)
    add_treated(trial, subject_id := f"DUO-01-2{number:02d}")
    return subject_id


def fields_of(browser: Browser, path: str) -> dict[str, str]:
    """One tab: the hidden fields of the form as it is now."""
    page = browser.get(path)
    assert page.status_code == 200, path
    return {k: v for k, v in hidden(page.text).items() if k != "csrf"}


def spelt(page: str) -> str:
    """The page with its times as browsers send them."""
    return re.sub(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d)", r"\1T\2", page)


@pytest.mark.parametrize("path", FORMS)
def test_the_second_tab_overwrites_nothing(treated: Trial, browser_of: Callable[[str], Browser], path: str) -> None:
    tabs, number = FORMS[path], list(FORMS).index(path)
    subject_id = started(treated, number, tabs.start)
    base, site, browser = f"/subjects/{subject_id}", browser_of(person("coordinator")), browser_of(tabs.user)
    for earlier, values in tabs.before.items():
        page = f"{base}{earlier}"
        assert site.post(page, {**fields_of(site, page), **values}).status_code == 200
    with treated.read() as reader:
        record = reader.records("vitals", subject_id=subject_id)
    known = {"ae_id": "001", "deviation_id": "001", "table": "vitals",
             "record": str(record[-1]["record_id"]) if record else ""}  # fmt: skip
    address = base + path.format(**known)
    one, two = (fields_of(browser, address + tabs.page) for _ in range(2))
    saved = browser.post(address, {**one, **tabs.first})
    assert saved.status_code == 200, words(saved.text)
    before = treated.head().head
    refused = browser.post(address, {**two, **tabs.second})
    assert refused.status_code == (409 if tabs.both else 422), words(refused.text)
    assert treated.head().head == before, "nothing is stored"
    for words_of_both in tabs.both:
        assert words_of_both in words(refused.text)
    for text in tabs.second.values():
        assert text in spelt(refused.text), "what was typed is not lost"
    if tabs.both:
        again = browser.post(address, {k: v for k, v in hidden(refused.text).items() if k != "csrf"})
        assert again.status_code == 200, words(again.text)[600:]
        assert treated.head().head == before
        for text in set(tabs.second.values()) - {"yes", "no"}:
            assert f'"{text}"' in spelt(again.text) or f">{text}<" in again.text, text
        kept = {k: v for k, v in hidden(again.text).items() if k != "csrf"}
        done = browser.post(address, {**kept, **tabs.second, "reason": "mine after all"})
        assert done.status_code == 200, words(done.text)[600:]
        assert treated.head().head != before, "after the comparison it can be saved"


def test_what_was_changed_since_it_was_read_is_not_signed(treated: Trial, browser_of: Callable[[str], Browser]) -> None:
    subject_id = started(treated, 0, "screened")
    base, site, physician = f"/subjects/{subject_id}/screening", browser_of("coordinator"), browser_of("physician")
    for path, values in (("/consent", CONSENT), ("/eligibility", ANSWERS)):
        assert site.post(base + path, {**fields_of(site, base + path), **values}).status_code == 200
    read = fields_of(physician, f"{base}/sign")
    page = words(physician.get(f"{base}/sign").text)
    assert page.count(": yes") + page.count(": no") >= len(ANSWERS), "the answers stand above the signature"
    changed = ANSWERS | {"tumour": "no", "reason": "read again"}
    site.post(f"{base}/eligibility", {**fields_of(site, f"{base}/eligibility"), **changed})
    site.post(f"{base}/eligibility", {**fields_of(site, f"{base}/eligibility"), **ANSWERS, "reason": "read again"})
    refused = physician.post(f"{base}/sign", {**read, **SIGNATURE})
    assert refused.status_code == 409
    assert "changed since you opened the page" in words(refused.text)
    signed = physician.post(f"{base}/sign", {**fields_of(physician, f"{base}/sign"), **SIGNATURE})
    assert "Eligibility was signed" in signed.text


def test_a_record_is_signed_in_the_version_that_was_ticked(
    treated: Trial, browser_of: Callable[[str], Browser]
) -> None:
    add_treated(treated, subject_id := "DUO-01-299")
    physician, path = browser_of("physician"), f"/subjects/{subject_id}/records"
    with treated.read() as reader:
        row = reader.records("vitals", subject_id=subject_id)[0]
    fields = {"table": "vitals", "chosen": f"{row['record_id']}:{row['record_version']}", "meaning": "reviewed",
              **SIGNATURE}  # fmt: skip
    weight = {"taken_on": "2026-01-12", "weight_kg": "81", "reason": "typing error"}
    site, form = browser_of("coordinator"), f"/subjects/{subject_id}/vitals/entry"
    site.post(form, {**fields_of(site, f"{form}?record={row['record_id']}"), **weight})
    physician.get(f"{path}?table=vitals")
    refused = physician.post(f"{path}/sign", fields)
    assert refused.status_code == 409
    assert "somebody changed it" in words(refused.text)
    fields["chosen"] = f"{row['record_id']}:{row['record_version'] + 1}"
    assert "The records were signed" in physician.post(f"{path}/sign", fields).text
