"""A cycle in the browser: assessed, proposed, released, administered; two people, stale forms, what-if, masking."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from tests.web.browsing import PASSWORD, ROOT, Browser
from tests.web.cycle_browsing import SUBJECT_PATH, Site, cycle_path, hidden, sign_step, web_story
from tests.workflow.treated_trial import PHYSICIST, SUBJECT, Story

from lutetia.report.document import texts
from lutetia.report.numbers import probability, with_unit
from lutetia.trial import accounts
from lutetia.web.context import PageContext
from lutetia.web.pages.cycles_print import prescription_document
from lutetia.web.pages.cycles_records import read_cycle, shown_version
from lutetia.web.routes import ROUTES
from lutetia.web.session import find
from lutetia.workflow.proposal import WhatIf, what_if

FIRST, SECOND = datetime(2026, 1, 12, 8, 30, tzinfo=UTC), datetime(2026, 3, 9, 8, 30, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = web_story(tmp_path)
    yield made
    made.trial.close()


@pytest.fixture
def site(story: Story) -> Iterator[Site]:
    made = Site(story)
    yield made
    made.close()


def planned(story: Story, site: Site, day: datetime = FIRST) -> int:
    """Plan and assess the next cycle in the coordinator's browser, the day before it."""
    story.at(day - timedelta(hours=20))
    coordinator = site.of("cora")
    answer = coordinator.post(f"{SUBJECT_PATH}/cycles/new", {"planned_on": day.date().isoformat()})
    assert "The cycle is planned" in answer.text
    number = int(str(answer.url).rpartition("/")[2])
    answer = coordinator.post(cycle_path(number, "assess"))
    assert answer.status_code == 422
    assert "expected values of the last 7 days" in answer.text
    story.labs()
    assert "The cycle was assessed" in coordinator.post(cycle_path(number, "assess")).text
    return number


def given(story: Story, number: int, *, factor: float = 1.0, start: datetime | None = None) -> dict[str, str]:
    """Entries of the administration form in local time, measured at the start of infusion."""
    rows = story.rows("prescriptions", cycle=number, state="RELEASED")
    zero = (start or story.clock.now() - timedelta(hours=2)).astimezone()
    fields = {}
    for row in rows:
        part = story.part(row["nuclide"], factor * row["prescribed_MBq"], suffix=str(number), start=zero)
        for name in ("batch", "measured_MBq", "measured_at", "residual_MBq", "residual_at", "started_at", "ended_at"):
            fields[f"{row['nuclide']}.{name}"] = str(getattr(part, name))
    return fields


@pytest.mark.requirement(12)
@pytest.mark.requirement(16)
@pytest.mark.requirement(40)
def test_a_cycle_is_proposed_released_by_another_person_and_given(story: Story, site: Site) -> None:
    number = planned(story, site)
    preview = site.of("phil").get(cycle_path(number)).text
    for words in ("not signed", "¹⁷⁷Lu", "⁹⁰Y", "Chance over limit", "duonen 2026.1",
                  "limit 23 Gy", "Before signing"):  # fmt: skip
        assert words in preview
    assert "RELEASED" not in {r["state"] for r in story.rows("prescriptions")}
    answer = sign_step(site.of("phil"), number, "propose", "phil")
    assert "The proposal is signed and stored" in answer.text
    assert "proposes this prescription: Phil Example (physicist), 2026-01-11 13:30 CET" in answer.text
    assert site.of("phil").get(cycle_path(number, "release")).status_code == 403
    answer = sign_step(site.of("ines"), number, "release", "ines")
    assert "The prescription is released" in answer.text
    assert "releases this prescription for administration: Ines Example (physician)" in answer.text
    story.batches(str(number))
    story.at(FIRST + timedelta(hours=4))
    answer = site.of("phil").post(cycle_path(number, "administration"), given(story, number))
    assert "The administration is recorded" in answer.text
    assert "as prescribed" in answer.text
    assert story.cycle(number)["state"] == "GIVEN"
    page = site.of("sofia").get(cycle_path(number)).text
    assert "Waits for its dosimetry" in page


@pytest.mark.requirement(16)
def test_who_proposed_cannot_release_even_with_both_roles(story: Story, site: Site) -> None:
    number = planned(story, site)
    accounts.grant_role(story.trial, ROOT, "phil", role="physician", site="01")
    sign_step(site.of("phil"), number, "propose", "phil")
    page = site.of("phil").get(cycle_path(number)).text
    assert "another person has to take the next step" in page
    answer = sign_step(site.of("phil"), number, "release", "phil")
    assert answer.status_code == 422
    assert "two different people" in answer.text
    assert {r["state"] for r in story.rows("prescriptions")} == {"PROPOSED"}


@pytest.mark.requirement(13)
def test_a_signature_needs_both_components_first_and_the_password_later(story: Story, site: Site) -> None:
    number = planned(story, site)
    browser = site.of("phil")
    shown = browser.get(cycle_path(number, "propose"))
    fields = hidden(shown) | {"activity.Lu-177": "3700", "activity.Y-90": "3700", "sign_password": PASSWORD}
    boxes = re.findall(r'name="acknowledged" value="([^"]*)"', shown.text)
    answer = browser.post(cycle_path(number, "propose"), fields | {"acknowledged": boxes})
    assert answer.status_code == 422
    assert "needs account name and password" in answer.text
    assert story.rows("prescriptions") == []
    wrong = fields | {"acknowledged": boxes, "sign_user": "phil", "sign_password": "not it"}
    assert "not right" in browser.post(cycle_path(number, "propose"), wrong).text
    assert "signed and stored" in sign_step(browser, number, "propose", "phil").text
    assert 'name="sign_user"' not in sign_step(site.of("ines"), number, "reject", "ines", reason="not today").text
    assert 'name="sign_user"' not in browser.get(cycle_path(number, "propose")).text


@pytest.mark.requirement(15)
def test_what_became_stale_is_refused_and_stays_visible_as_void(story: Story, site: Site) -> None:
    number = planned(story, site)
    browser = site.of("phil")
    old = hidden(browser.get(cycle_path(number, "propose")))
    story.labs(sample="again", platelets="230")
    answer = sign_step(browser, number, "propose", "phil", **old)
    assert answer.status_code == 409
    assert "the records changed since the preview" in answer.text
    sign_step(browser, number, "propose", "phil")
    story.labs(sample="third", platelets="220")
    page = site.of("ines").get(cycle_path(number)).text
    assert "Version 1 does not stand any more" in page
    assert "the laboratory values changed" in page
    answer = sign_step(site.of("ines"), number, "release", "ines")
    assert answer.status_code == 422
    assert "is void now" in answer.text
    page = site.of("ines").get(cycle_path(number)).text
    assert "Version 1 of the prescription is void" in page
    assert "proposes this prescription: Phil Example" in page, "the old signature is kept"


def test_a_form_that_somebody_overtook_is_a_conflict_and_nothing_is_saved(story: Story, site: Site) -> None:
    number = planned(story, site)
    browser = site.of("cora")
    old = hidden(browser.get(cycle_path(number, "move")))
    fields = {"planned_on": "2026-01-13", "reason": "camera booked"}
    assert "has a new day" in browser.post(cycle_path(number, "move"), old | fields).text
    answer = browser.post(cycle_path(number, "move"), old | fields | {"planned_on": "2026-01-14"})
    assert answer.status_code == 409
    assert story.cycle(number)["planned_on"] == "2026-01-13"


@pytest.mark.requirement(42)
def test_more_than_ten_percent_off_is_flagged_while_typing_and_after(story: Story, site: Site) -> None:
    number = planned(story, site)
    version = story.propose(number).version
    story.release(number, version)
    story.batches(str(number))
    story.at(FIRST + timedelta(hours=4))
    browser, fields = site.of("phil"), given(story, number, factor=0.85)
    looked = browser.post(cycle_path(number, "administration/look"), fields).text
    assert "−15" in looked
    assert "minor deviation" in looked
    fine = browser.post(cycle_path(number, "administration/look"), given(story, number, factor=0.95)).text
    assert "deviation" not in fine
    assert story.rows("administrations") == []
    answer = browser.post(cycle_path(number, "administration"), fields)
    assert answer.status_code == 422
    assert "(-15 %); check it, and where it is right explain why" in html.unescape(answer.text)
    answer = browser.post(cycle_path(number, "administration"), fields | {"explanation": "syringe not emptied"})
    assert "3145 MBq given, 3700 MBq prescribed (-15 %)" in answer.text
    assert {d["kind"] for d in story.rows("deviations")} == {"activity"}
    assert all(d["description"].endswith("; syringe not emptied") for d in story.rows("deviations"))
    assert "(-15 %); syringe not emptied" in answer.text


def test_a_wrong_entry_of_the_administration_keeps_what_was_typed(story: Story, site: Site) -> None:
    number = planned(story, site)
    story.release(number, story.propose(number).version)
    story.batches(str(number))
    story.at(FIRST + timedelta(hours=4))
    fields = given(story, number) | {"Lu-177.measured_MBq": "3,7"}
    answer = site.of("phil").post(cycle_path(number, "administration"), fields)
    assert answer.status_code == 422
    assert "¹⁷⁷Lu" in answer.text
    assert 'value="3,7"' in answer.text
    assert story.rows("administrations") == []


@pytest.mark.requirement(10)
def test_masked_people_see_the_state_but_no_activity(story: Story, site: Site) -> None:
    number = planned(story, site)
    story.propose(number)
    page = site.of("stan").get(cycle_path(number))
    assert page.status_code == 200
    assert "Hidden for your role" in page.text
    for words in ("GBq", "Arm B", "3.70", "⁹⁰Y"):
        assert words not in page.text
    for step in ("what-if?activity.Lu-177=1&activity.Y-90=1", "prescription.pdf"):
        assert site.of("stan").get(cycle_path(number, step)).status_code == 403
    assert site.of("otto").get(cycle_path(number)).status_code == 403


def test_what_if_shows_the_numbers_of_the_workflow_at_once(story: Story, site: Site) -> None:
    story.whole_cycle(FIRST)
    number = planned(story, site, SECOND)
    story.propose(number)
    browser = site.of("ines")
    for activity in (500.0, 2000.0, 5000.0):
        question = WhatIf(SUBJECT, number, {"Lu-177": 3700.0, "Y-90": activity}, 1)
        path = cycle_path(number, f"what-if?version=1&activity.Lu-177=3700&activity.Y-90={activity:g}")
        fragment = browser.get(path, headers={"HX-Request": "true"}).text
        assert "<html" not in fragment
        for limit in what_if(story.trial, PHYSICIST, question):
            for key in ("probability_over_after_cycle", "probability_over_end_of_course"):
                assert f">{probability(limit[key])}</strong>" in html.unescape(fragment)
            dose = with_unit(limit["predicted_end_of_course_Gy"], "Gy")
            assert f"end of course {dose}" in html.unescape(fragment)
    assert browser.get(cycle_path(number, "what-if?activity.Lu-177=x&activity.Y-90=1")).status_code == 422


def test_a_physician_lowers_with_a_reason_and_withholds(story: Story, site: Site) -> None:
    number = planned(story, site)
    sign_step(site.of("phil"), number, "propose", "phil")
    fields = {"activity.Y-90": "3000", "reason": "frail"}
    answer = sign_step(site.of("ines"), number, "lower", "ines", **fields)
    assert "lowered and released" in answer.text
    assert "computed 3.70 GBq" in answer.text
    assert story.row("prescriptions", nuclide="Y-90")["prescribed_MBq"] == 3000.0
    assert "Reason: fill this in" in site.of("ines").post(cycle_path(number, "withhold")).text
    answer = site.of("ines").post(cycle_path(number, "withhold"), {"reason": "patient travels"})
    assert "The cycle is withheld" in answer.text
    assert "patient travels" in answer.text


@pytest.mark.requirement(16)
def test_an_activity_above_a_limit_needs_two_physicians_with_reasons(story: Story, site: Site) -> None:
    story.whole_cycle(FIRST)
    number = planned(story, site, SECOND)
    more = {"activity.Y-90": "5000", "note": "small tumours, fit"}
    assert "note on the activity" in sign_step(site.of("phil"), number, "propose", "phil", **more | {"note": ""}).text
    assert "signed and stored" in sign_step(site.of("phil"), number, "propose", "phil", **more).text
    page = site.of("ines").get(cycle_path(number)).text
    assert "Two physicians have to override in writing" in page
    assert "is above the limit" in sign_step(site.of("ines"), number, "release", "ines").text
    answer = sign_step(site.of("ines"), number, "override", "ines", reason="progression")
    assert "waits for a second physician" in answer.text
    answer = sign_step(site.of("ines"), number, "approve", "ines", reason="again")
    assert answer.status_code == 422
    assert "two different people" in answer.text
    answer = sign_step(site.of("paul"), number, "approve", "paul", reason="board agrees")
    assert "the prescription is released" in answer.text
    for words in (
        "asks for an override above a limit: Ines Example (physician)",
        "progression",
        "approves the override above a limit: Paul Example (physician)",
        "have overridden in writing",
    ):
        assert words in answer.text  # fmt: skip
    answer = site.of("paul").post(cycle_path(number, "void"), {"reason": "kidney function fell"})
    assert "Version 1 of the prescription is void" in answer.text
    assert "kidney function fell" in answer.text
    assert story.cycle(number)["state"] == "ASSESSED"


@pytest.mark.requirement(12)
@pytest.mark.requirement(39)
def test_the_printed_prescription_names_signatures_program_and_audit_head(story: Story, site: Site) -> None:
    number = planned(story, site)
    sign_step(site.of("phil"), number, "propose", "phil")
    sign_step(site.of("ines"), number, "release", "ines")
    answer = site.of("ines").get(cycle_path(number, "prescription.pdf"))
    assert answer.content.startswith(b"%PDF")
    assert site.of("otto").get(cycle_path(number, "prescription.pdf")).status_code == 403
    browser = site.of("ines")
    page = context_of(browser)
    found = read_cycle(page, SUBJECT, number)
    shown = shown_version(page, found, found.versions[0])
    assert shown is not None
    words = "\n".join(texts(prescription_document(page, found, shown)))
    page.close()
    for part in (
        "proposes this prescription: Phil Example (physicist), 2026-01-11 13:30 CET",
        "releases this prescription for administration: Ines Example (physician)",
        "For trial use; not a CE-marked device",
        "audit head ",
        "duonen 2026.1",
        "3.70",
        "released",
    ):
        assert part.lower() in words.lower(), part  # fmt: skip
    assert story.trial.head().head[:16] in words


def context_of(browser: Browser) -> PageContext:
    """A request of the person of a browser, as a handler gets it."""
    services = browser.client.app.state.services  # type: ignore[attr-defined]
    session = find(services.trial, browser.client.cookies["lutetia"])
    return PageContext(Request({"type": "http", "headers": [], "method": "GET"}), services, ROUTES[0], session)


def test_cycles_as_json_say_what_the_page_says(story: Story, site: Site) -> None:
    number = planned(story, site)
    browser = site.of("phil")
    found = browser.get(f"/api{cycle_path(number, 'prescription')}").json()
    assert (found["version"], found["state"], found["bound_by"]) == (None, None, "base")
    assert [a["nuclide"] for a in found["activities"]] == ["Lu-177", "Y-90"]
    assert browser.get(f"/api{SUBJECT_PATH}/cycles").json()[0]["state"] == "ASSESSED"
    asked = {"activities_MBq": {"Lu-177": 3700.0, "Y-90": 1850.0}}
    headers = {"X-CSRF-Token": browser.csrf}
    tried = browser.client.post(f"/api{cycle_path(number, 'what-if')}", json=asked, headers=headers).json()
    assert tried[0]["predicted_after_cycle_Gy"] < found["limits"][0]["predicted_after_cycle_Gy"]
    for wrong in ({"activities_MBq": {}}, {"activities_MBq": {"Lu-177": -1.0, "Y-90": 1.0}}, {}):
        answer = browser.client.post(f"/api{cycle_path(number, 'what-if')}", json=wrong, headers=headers)
        assert answer.status_code == 422
    assert site.of("stan").get(f"/api{cycle_path(number, 'prescription')}").status_code == 403
    assert site.of("phil").get(f"/api{cycle_path(9, 'doses')}").status_code == 404


def test_the_next_cycle_that_is_not_planned_leads_to_its_plan(story: Story, site: Site) -> None:
    assert "Plan the next cycle" in site.of("cora").get(cycle_path(1)).text
    assert site.of("cora").get(cycle_path(2)).status_code == 404
    answer = site.of("cora").post(f"{SUBJECT_PATH}/cycles/new", {"planned_on": "2025-12-01"})
    assert answer.status_code == 422
    assert "before randomisation" in answer.text


def test_numbers_that_cannot_be_are_refused_never_a_fault(story: Story, site: Site) -> None:
    number = planned(story, site)
    browser = site.of("phil")
    for cycle in ("99999999999999999999", "0", "-1", "x", "1e3"):
        assert browser.get(f"{SUBJECT_PATH}/cycles/{cycle}").status_code == 404
        assert browser.get(f"/api{SUBJECT_PATH}/cycles/{cycle}/doses").status_code == 422
    for activity in ("1e308", "nan", "-1", "inf"):
        path = cycle_path(number, f"what-if?activity.Lu-177={activity}&activity.Y-90=1")
        assert browser.get(path).status_code == 422
    assert browser.get(cycle_path(number, "what-if")).status_code == 422
    assert browser.get(cycle_path(number, "prescription.pdf?version=77")).status_code == 404
