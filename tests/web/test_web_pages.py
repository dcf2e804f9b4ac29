"""Pages of the foundation: labels, errors, people, sites, documents, audit, queries, overview."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.web.browsing import PASSWORD, ROOT, Browser, person

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.report.figures.slice_stack import make_stack, pack_stack
from lutetia.trial import SYSTEM, Change, Create, Trial, Update
from lutetia.web.pages import overview
from lutetia.web.routes import ROUTES

NewBrowser = Callable[..., Browser]
LABEL = "For trial use; not a CE-marked device"


@pytest.mark.requirement(44)
def test_every_screen_says_that_it_is_for_trial_use_and_not_a_ce_marked_device(new_browser: NewBrowser) -> None:
    signed_in = new_browser(person("administrator"))
    paths = [r.path for r in ROUTES if r.method == "GET" and "{" not in r.path and not r.is_api and r.path != "/health"]
    for browser in (signed_in, new_browser()):
        for path in [*paths, "/users/monitor", "/sites/01", "/queries/1", "/nowhere"]:
            page = browser.get(path).text
            assert LABEL in page, path
            assert "Demonstration data" in page, path


def test_pages_have_one_heading_a_language_and_labels_on_all_inputs(new_browser: NewBrowser) -> None:
    browser = new_browser(person("administrator"))
    for path in ("/", "/account", "/users", "/users/monitor", "/users/access", "/sites", "/sites/01", "/documents",
                 "/audit"):  # fmt: skip
        page = browser.get(path).text
        assert len(re.findall(r"<h1\b", page)) == 1, path
        assert '<html lang="en">' in page
        named = set(re.findall(r'<label for="([^"]+)"', page))
        identities = re.findall(r'\bid="([^"]+)"', page)
        assert len(identities) == len(set(identities)), f"{path}: an id twice"
        fields = re.findall(r"<(?:input|select|textarea)\b[^>]*>", page)
        for tag in fields:
            identity = re.search(r'\bid="([^"]+)"', tag)
            assert 'type="hidden"' in tag or (identity and identity[1] in named), f"{path}: {tag}"


def test_pages_that_do_not_exist_and_pages_that_are_not_permitted_say_so(new_browser: NewBrowser) -> None:
    browser = new_browser(person("monitor"))
    missing = browser.get("/nowhere")
    assert missing.status_code == 404
    assert "This page does not exist" in missing.text
    assert "<nav" in missing.text, "the way on stays on the left"
    denied = browser.get("/users")
    assert denied.status_code == 403
    assert "You may not do this" in denied.text
    assert browser.get("/queries/999").status_code == 404
    assert browser.get("/queries/one").status_code == 404
    assert browser.get("/session/unlock").status_code == 405


def test_errors_of_the_api_are_json(new_browser: NewBrowser) -> None:
    client = new_browser().client
    assert client.get("/api/trial").json()["title"] == "Sign in"
    missing = client.get("/api/nowhere")
    assert missing.status_code == 404
    assert set(missing.json()) == {"title", "detail", "reference"}


def test_a_fault_of_ours_shows_a_reference_and_the_log_holds_nothing_that_was_typed(
    new_browser: NewBrowser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    typed = "Anna " + "alswoK"[::-1] + "ska"

    def broken(*arguments: Any, **named: Any) -> None:
        raise ZeroDivisionError(typed)

    monkeypatch.setattr(overview.queries, "study", broken)
    browser = new_browser(person("monitor"))
    with caplog.at_level(logging.ERROR, logger="lutetia.web"):
        page = browser.get("/?name=Kowalska")
    assert page.status_code == 500
    assert "Something went wrong on our side" in page.text
    reference = re.search(r"Reference: <code>([0-9A-F]{8})</code>", page.text)
    assert reference
    assert reference[1] in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "Kowalska" not in caplog.text
    assert "Kowalska" not in page.text.split("Reference")[1]
    assert "content-security-policy" in page.headers


def test_a_stale_form_shows_both_versions_and_saves_nothing(new_browser: NewBrowser, trial: Trial) -> None:
    browser = new_browser(person("administrator"))
    page = browser.get("/sites/02").text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    with trial.read() as reader:
        version = reader.record("sites", {"site": "02"})["record_version"]
    edit = Update("sites", {"site": "02"}, {"name": "Uppsala, Akademiska"}, version)
    trial.commit(Change("change_site", [edit]), ROOT, "full name")
    fields = {"name": "Uppsala East", "country": "PL", "timezone": "Europe/Warsaw", "reason": "moved"}
    stale = browser.post("/sites/02", {**hidden, "csrf": browser.csrf, **fields})
    assert stale.status_code == 409
    for words in ("Somebody saved this record", "Uppsala East", "Uppsala, Akademiska"):
        assert words in stale.text
    with trial.read() as reader:
        assert reader.record("sites", {"site": "02"})["name"] == "Uppsala, Akademiska"


@pytest.mark.requirement(4)
def test_a_saved_value_changes_only_with_a_reason(new_browser: NewBrowser, trial: Trial) -> None:
    browser = new_browser(person("administrator"))
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', browser.get("/sites/01").text))
    fields = {"name": "Warsaw 2", "country": "PL", "timezone": "Europe/Warsaw"}
    for reason in ("", "   "):
        refused = browser.post("/sites/01", {**hidden, "csrf": browser.csrf, **fields, "reason": reason})
        assert refused.status_code == 422
        assert 'value="Warsaw 2"' in refused.text, "what was typed stays"
    with trial.read() as reader:
        assert reader.record("sites", {"site": "01"})["name"] == "Warsaw"
    saved = browser.post("/sites/01", {**hidden, "csrf": browser.csrf, **fields, "reason": "renamed"})
    assert "The site was corrected" in saved.text


@pytest.mark.requirement(7)
def test_the_history_of_a_field_stands_beside_it_in_the_users_words(new_browser: NewBrowser, trial: Trial) -> None:
    with trial.read() as reader:
        number = reader.record("subjects", {"subject_id": "DUO-01-001"})["record_id"]
    edit = Update("subjects", {"subject_id": "DUO-01-001"}, {"height_cm": 171.5})
    trial.commit(Change("correct", [edit]), ROOT)
    edit = Update("subjects", {"subject_id": "DUO-01-001"}, {"height_cm": 175.1})
    trial.commit(Change("correct", [edit]), ROOT, "misread the scale")
    fragment = new_browser(person("monitor")).get(f"/audit/field/subjects/{number}/height_cm").text
    assert "<html" not in fragment
    told = " ".join(re.sub(r"<[^>]+>", " ", fragment).split())
    assert re.search(r"171\.5.*CET.*171\.5 → .*175\.1.*misread the scale", told)
    elsewhere = new_browser(person("monitor", "02")).get(f"/audit/field/subjects/{number}/height_cm").text
    assert "175.1" not in elsewhere


@pytest.mark.requirement(7)
def test_the_trail_is_filtered_and_printed_in_words(new_browser: NewBrowser) -> None:
    browser = new_browser(person("administrator"))
    page = browser.get("/audit", params={"table": "sites", "actor": "root"}).text
    rows = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)[0]
    assert "Site opened" in rows
    assert "Signed in" not in rows
    assert "Europe/Warsaw" in rows
    later = browser.get("/audit", params={"since_day": "2030-01-01"}).text
    assert "No row fits" in later
    wrong = browser.get("/audit", params={"since_day": "yesterday"})
    assert wrong.status_code == 422
    assert "write a date as YYYY-MM-DD" in wrong.text
    printed = browser.get("/audit", params={"print": "yes"}).text
    assert "data-print" in printed
    assert "Create" not in printed


@pytest.mark.requirement(10)
def test_a_masked_statistician_finds_no_arm_on_any_page_of_the_foundation(new_browser: NewBrowser) -> None:
    browser = new_browser(person("masked_statistician"))
    for path in ("/", "/audit", "/audit?print=yes", "/audit?table=subjects", "/queries", "/queries/1", "/api/queries"):
        page = browser.get(path).text
        assert not re.search(r">\s*B\s*<", page), path
    audit = browser.get("/audit?table=subjects").text
    assert "DUO-01-001" in audit
    assert "female" in audit
    assert "(hidden)" not in audit, "that a hidden column has a value is hidden too"


@pytest.mark.requirement(23)
def test_the_access_list_of_now_and_of_any_day_is_printed(new_browser: NewBrowser) -> None:
    browser = new_browser(person("administrator"))
    ever = browser.get("/users/access").text
    assert "Person coordinator-02" in ever
    assert "Data-monitoring board" in ever
    before = browser.get("/users/access", params={"on_day": "2026-01-01"}).text
    assert "Person coordinator-02" not in before


@pytest.mark.requirement(17)
def test_an_account_is_opened_given_a_role_and_ended_and_its_name_is_not_used_again(
    new_browser: NewBrowser, trial: Trial
) -> None:
    browser = new_browser(person("administrator"))
    browser.get("/users")
    first = {"password": "a first password", "email": "zofia@clinic.example"}
    other = {"password": "a first password", "email": "other@clinic.example"}
    upper = browser.post("/users", {"user_id": "Zofia", "name": "Zofia Mazur", **first})
    assert upper.status_code == 422
    assert "expected a lower-case account name" in upper.text
    assert 'value="Zofia Mazur"' in upper.text, "what was typed stays"
    assert "a first password" not in upper.text, "a password is never sent back"
    browser.post("/users", {"user_id": "zofia", "name": "Zofia Mazur", **first})
    page = browser.post("/users/zofia/grants", {"role": "physicist", "site": "02"}).text
    assert "Physicist" in page
    assert "found no site" in browser.post("/users/zofia/grants", {"role": "monitor", "site": ""}).text
    task = {"task": "dosimetry", "site": "02", "started_on": "2026-03-01"}
    assert "perform dosimetry" in browser.post("/users/zofia/delegations", task).text
    with trial.read() as reader:
        grant = reader.records("grants", user_id="zofia")[0]["grant_id"]
    assert browser.post(f"/users/zofia/grants/{grant}/end", {"reason": ""}).status_code == 422
    foreign = browser.post(f"/users/monitor/grants/{grant}/end", {"reason": "left"})
    assert foreign.status_code == 404, "a role ends at the person who holds it"
    browser.get("/users/zofia")
    assert "was taken away" in browser.post(f"/users/zofia/grants/{grant}/end", {"reason": "left"}).text
    twice = browser.post(f"/users/zofia/grants/{grant}/end", {"reason": "left"})
    assert (twice.status_code, "already" in twice.text) == (422, True)
    assert "was closed" in browser.post("/users/zofia/end", {"reason": "left the department"}).text
    again = browser.post("/users", {"user_id": "zofia", "name": "Zofia Other", **other})
    assert again.status_code == 422
    assert "exists already" in again.text or "already" in again.text


@pytest.mark.requirement(17)
def test_a_second_account_with_a_printed_name_needs_the_word_that_it_is_another_person(
    new_browser: NewBrowser, trial: Trial
) -> None:
    browser = new_browser(person("administrator"))
    browser.get("/users")
    namesake = {"user_id": "monitor-too", "name": "PERSON  monitor", "password": "a first password"}
    assert "E-mail: fill this in" in browser.post("/users", namesake).text
    namesake["email"] = "too@clinic.example"
    for said in ({}, {"another_person": "yes"}, {"another_reason": "met them both"}):
        refused = browser.post("/users", {**namesake, **said})
        assert refused.status_code == 422
    assert "confirm that this is another one" in refused.text
    browser.post("/users", {**namesake, "another_person": "yes", "another_reason": "met them both"})
    with trial.read() as reader:
        assert reader.record("users", {"user_id": "monitor-too"})["email"] == "too@clinic.example"


def test_the_administrators_own_page_offers_no_way_to_help_oneself(new_browser: NewBrowser, trial: Trial) -> None:
    own = person("administrator")
    browser = new_browser(own)
    page = browser.get(f"/users/{own}").text
    for path in ("password", "codes", "grants"):
        assert f'action="/users/{own}/{path}"' not in page
    assert "last administrator" in browser.post(f"/users/{own}/end", {"reason": "leaving"}).text
    granted = browser.post(f"/users/{own}/grants", {"role": "board", "site": ""})
    assert (granted.status_code, "found your own account" in granted.text) == (422, True)
    with trial.read() as reader:
        assert [g["role"] for g in reader.records("grants", user_id=own)] == ["administrator"]


def test_documents_are_added_put_in_force_and_read_with_a_trace(new_browser: NewBrowser, trial: Trial) -> None:
    browser = new_browser(person("administrator"))
    browser.get("/documents")
    fields = {"csrf": browser.csrf, "kind": "consent", "title": "Consent", "version": "2.0"}
    empty = browser.client.post("/documents", data=fields)
    assert empty.status_code == 422
    assert "File: fill this in" in empty.text
    added = browser.client.post(
        "/documents", data=fields, files={"file": ("c.pdf", b"%PDF-1.7 text", "application/pdf")}
    )
    assert "The version was added" in added.text
    with trial.read() as reader:
        document = reader.records("documents")[0]["document_id"]
    force = {"document_id": document, "site": "01", "in_force_from_on": "2026-03-01", "approved_on": "2026-02-20"}
    assert "in force" in browser.post("/documents/in-force", force).text
    file = new_browser(person("monitor")).get(f"/documents/{document}/file")
    assert file.content == b"%PDF-1.7 text"
    assert file.headers["content-disposition"].startswith("inline")
    assert file.headers["content-security-policy"].startswith("default-src 'none'; object-src 'self'")
    saved = new_browser(person("monitor")).get(f"/documents/{document}/file?save=yes")
    assert saved.headers["content-disposition"].startswith("attachment")
    assert "Document read" in browser.get("/audit?actor=monitor").text


@pytest.mark.requirement(32)
def test_a_query_is_answered_at_the_site_and_closed_by_the_monitor(new_browser: NewBrowser) -> None:
    site, monitor = new_browser(person("coordinator")), new_browser(person("monitor"))
    assert "58 or 85?" in site.get("/queries").text
    page = site.get("/queries/1").text
    assert ">Answer the query<" in page
    assert ">Close the query<" not in page
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert site.post("/queries/1/answer", {**hidden, "csrf": site.csrf, "text": ""}).status_code == 422
    answered = site.post("/queries/1/answer", {**hidden, "csrf": site.csrf, "text": "58 is right"})
    assert "Your answer was sent" in answered.text
    stale = monitor.post("/queries/1/close", {**hidden, "csrf": monitor.csrf, "text": "settled"})
    assert stale.status_code == 409, "the monitor's page was older than the answer"
    page = monitor.get("/queries/1").text
    assert "58 is right" in page
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert "was closed" in monitor.post("/queries/1/close", {**hidden, "csrf": monitor.csrf, "text": "settled"}).text
    assert "58 or 85?" not in monitor.get("/queries").text
    assert "58 or 85?" in monitor.get("/queries?state=CLOSED").text


def test_the_overview_counts_own_sites_and_tells_arms_to_readers_of_the_closed_report_only(
    new_browser: NewBrowser, trial: Trial
) -> None:
    treated = {"subject_id": "DUO-01-077", "site": "01", "state": "ON_TREATMENT", "arm": "B"}
    visit = {"subject_id": "DUO-01-077", "visit": "cycle 1 week 4", "due_on": "2026-02-20",
             "window_to_on": "2026-02-25", "state": "PLANNED"}  # fmt: skip
    watched = {"subject_id": "DUO-01-077", "cycle": 1, "version": 1, "region": "kidneys", "horizon": "course",
               "absorbed_dose_Gy": 22.4, "p_over_limit": 0.61}  # fmt: skip
    edits = [Create("subjects", treated), Create("visits", visit), Create("forecasts", watched)]
    trial.commit(Change("test", edits), SYSTEM)
    page = new_browser(person("coordinator")).get("/").text
    for words in ("DUO-01-077", "window over", "22.4", "61"):
        assert words in page
    assert "Uppsala" not in page
    assert "Randomised by arm" not in page
    assert "DUO-01-077" not in new_browser(person("coordinator", "02")).get("/").text
    assert "Randomised by arm" in new_browser(person("unmasked_statistician")).get("/").text
    masked = new_browser(person("masked_statistician")).get("/").text
    assert "22.4" not in masked
    assert "Randomised by arm" not in masked
    assert "do not see subjects" in new_browser(person("administrator")).get("/").text


def test_the_slice_viewer_shows_pictures_to_those_from_whom_the_arm_is_not_hidden(
    new_browser: NewBrowser, trial: Trial
) -> None:
    grid = axis_aligned_grid((12, 10, 14), (5.0, 4.0, 4.0))
    values = np.zeros(grid.shape, dtype=np.float32)
    values[6, 5, 10] = 2.5
    ct = Volume(np.full(grid.shape, 40.0, dtype=np.float32), grid, "HU")
    stack = make_stack(Volume(values, grid, "MBq_per_mL"), ct, [RegionMask("spleen", values > 1, grid)])
    digest = trial.files.put(pack_stack(stack))
    attachment = {"attachment_id": "A1", "subject_id": "DUO-01-001", "cycle": 1, "kind": "slice_stack",
                  "sha256": digest, "name": "SPECT 24 h", "state": "kept"}  # fmt: skip
    trial.commit(Change("test", [Create("attachments", attachment)]), SYSTEM)
    path, browser = "/subjects/DUO-01-001/cycles/1/slices", new_browser(person("physicist"))
    page = browser.get(path).text
    for words in ("SPECT 24 h", "spleen", "MBq/mL", "Axial", "patient&#39;s right is on the left"):
        assert words in page
    image = browser.get(f"{path}/{digest}/axial/5.png")
    assert image.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(image.content)).size[1] > 300
    other = browser.get(f"{path}/{digest}/axial/5.png?outlines=no&opacity=0")
    assert other.content != image.content
    assert browser.get(f"{path}/{digest}/axial/99.png").status_code == 422
    assert browser.get(f"{path}/{'0' * 64}/axial/5.png").status_code == 404
    assert browser.get(f"{path}/{digest}/axial/5.png?opacity=300").status_code == 422
    assert browser.get("/subjects/DUO-01-001/cycles/2/slices").status_code == 404
    assert new_browser(person("masked_statistician")).get(path).status_code == 403
    assert new_browser(person("coordinator", "02")).get(path).status_code == 403


@pytest.mark.requirement(11)
def test_a_reviewer_signs_that_the_trail_was_reviewed_up_to_its_head(new_browser: NewBrowser, trial: Trial) -> None:
    browser = new_browser(person("inspector"))
    page = browser.get("/audit").text
    assert "not reviewed yet" in page
    head = re.search(r'name="head" value="([0-9a-f]{64})"', page)
    assert head
    signed = {"head": head[1], "note": "nothing unusual", "sign_user": person("inspector"), "sign_password": PASSWORD}
    wrong = browser.post("/audit/reviews", {**signed, "sign_password": "not mine at all"})
    assert wrong.status_code == 422
    assert "nothing unusual" in wrong.text, "what was typed stays"
    assert "The review was signed" in browser.post("/audit/reviews", signed).text
    with trial.read() as reader:
        review = reader.records("audit_reviews")[0]
        assert review["audit_head"] == head[1]
        assert reader.records("signatures")[-1]["meaning"] == "audit trail reviewed"
    assert "reviewed up to row" in browser.get("/audit").text
    assert "Sign the review" not in new_browser(person("monitor")).get("/audit").text
