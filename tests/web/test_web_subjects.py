"""The list of subjects, enrolment, each subject's course; and what masked persons and other sites see of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tests.web.browsing import Browser, person
from tests.web.subject_trial import REVEALING, TREATED, beside, sent, words

from lutetia.trial import SYSTEM, Change, Create, Trial, Update
from lutetia.web.pictures import Dot, sparkline
from lutetia.web.routes_subjects import SUBJECT_ROUTES

NewBrowser = Callable[..., Browser]
LABEL = "For trial use; not a CE-marked device"


def pages_of(subject_id: str) -> list[str]:
    """Every page of a subject that needs no further name."""
    paths = [r.path for r in SUBJECT_ROUTES if r.method == "GET" and r.path.startswith("/subjects/{")]
    return [p.replace("{subject_id}", subject_id) for p in paths if p.count("{") == 1]


def test_the_list_is_filtered_and_shows_own_sites_only(browser_of: NewBrowser) -> None:
    browser = browser_of(person("coordinator"))
    page = browser.get("/subjects").text
    assert TREATED in page
    assert "DUO-02-001" not in page
    assert "2026-02-10" in page, "the next visit"
    assert TREATED not in browser.get("/subjects?state=SCREENING").text
    assert TREATED in browser.get("/subjects?text=o-01-009").text
    assert "No subject fits" in browser.get("/subjects?text=nobody").text
    everybody = browser_of(person("data_manager")).get("/subjects").text
    assert TREATED in everybody
    assert "DUO-02-001" in everybody
    assert TREATED not in browser_of(person("data_manager")).get("/subjects?site=02").text


def test_a_subject_is_enrolled_with_its_age_and_no_date_of_birth(browser_of: NewBrowser, treated: Trial) -> None:
    browser = browser_of(person("coordinator"))
    form = browser.get("/subjects/enrol").text
    assert "birth is not stored" in form
    fields = {"site": "01", "sex": "female", "age_years": "17", "weight_kg": "7O", "screened_on": "2026-03-01"}
    refused = browser.post("/subjects/enrol", fields)
    assert refused.status_code == 422
    assert "write a number" in beside(refused.text, "weight_kg")
    refused = browser.post("/subjects/enrol", {**fields, "weight_kg": "70"})
    assert refused.status_code == 422
    assert "expected 18 to 110" in beside(refused.text, "age_years")
    assert 'value="17"' in refused.text, "what was typed stays"
    stored = browser.post("/subjects/enrol", {**fields, "age_years": "66", "weight_kg": "70"})
    assert "The subject was enrolled" in stored.text
    subject_id = str(stored.url).split("/")[-2]
    with treated.read() as reader:
        row = reader.record("subjects", {"subject_id": subject_id})
    assert (row["age_years"], row["weight_kg"], row["state"]) == (66.0, 70.0, "SCREENING")
    assert "66 years" in browser.get(f"/subjects/{subject_id}").text
    elsewhere = browser.post("/subjects/enrol", {**fields, "age_years": "66", "weight_kg": "70", "site": "02"})
    assert elsewhere.status_code == 403


def test_the_subject_page_shows_cycles_doses_against_limits_values_and_what_waits(browser_of: NewBrowser) -> None:
    page = browser_of(person("physicist")).get(f"/subjects/{TREATED}").text
    told = words(page)
    for expected in ("on treatment", "61 years", "Cycle 1 doses known", "3.654 of 3.70 GBq", "16.5 ± 2.1 Gy",
                     "Cycle 2", "waits for a physician", "¹⁷⁷Lu 3.70 GBq", "window over", "not done"):  # fmt: skip
        assert expected in told, expected
    label = re.search(r'aria-label="(kidneys, limit 23 Gy[^"]*)"', page)
    assert label
    assert "given so far 16.5" in label[1]
    assert "end of course 19.8" in label[1]
    assert "31 %" in told.replace("\u202f", " "), "chance over the limit"
    assert f'href="/subjects/{TREATED}/cycles/2"' in page
    row = re.search(r"<tr><th scope=\"row\">platelets</th>.*?</tr>", page, re.DOTALL)
    assert row
    assert words(row[0]).endswith("96 10⁹/L 2026-02-23 1 3"), "last value, its grade and the worst one"


def test_a_sparkline_marks_grades_by_shape_as_well_as_colour() -> None:
    dots = [Dot(0, 200, 0), Dot(10, 120, 1), Dot(20, 40, 3), Dot(30, 100, None)]
    svg = sparkline(dots, days=(0, 30), infusions=(5,), normal=(150, 400)).decode()
    marks = re.findall(r'<circle [^>]*fill="(#\w+)" stroke="(#\w+)"', svg)
    assert len(marks) == 2
    assert marks[0][0] == "#ffffff", "grades 1 and 2 are rings"
    assert marks[1][0] == marks[1][1], "grades 3 and 4 are filled"
    assert "<rect" in svg
    flat = sparkline([Dot(0, 5, None)], days=(0, 0)).decode()
    assert "NaN" not in flat
    assert "<circle" in flat


@pytest.mark.requirement(10)
def test_a_masked_person_sees_no_arm_nuclide_activity_or_dose_on_any_page_of_a_subject(
    browser_of: NewBrowser, treated: Trial
) -> None:
    masked, seeing = browser_of(person("masked_statistician")), browser_of(person("unmasked_statistician"))
    tables = ("subjects", "cycles", "deviations", "disposition", "administrations", "doses", "prescriptions", "labs")
    paths = ["/subjects", *pages_of(TREATED), *(f"/subjects/{TREATED}/records?table={t}" for t in tables)]
    with treated.read() as reader:
        for table in tables:
            number = reader.records(table, subject_id=TREATED)[0]["record_id"]
            paths.append(f"/subjects/{TREATED}/records/{table}/{number}")
    shown = set()
    for path in paths:
        page = masked.get(path)
        assert page.status_code in (200, 403, 404), path
        text = words(page.text)
        assert not [w for w in REVEALING if w in text], (path, [w for w in REVEALING if w in text])
        assert not re.search(r">\s*B\s*<", page.text), path
        shown |= {w for w in REVEALING if w in words(seeing.get(path).text)}
    assert shown == set(REVEALING), "the same pages show them to whom they may be shown"
    assert "Cycle 1" in masked.get(f"/subjects/{TREATED}").text


@pytest.mark.requirement(22)
def test_a_subject_of_another_site_is_refused_on_every_page(browser_of: NewBrowser) -> None:
    browser = browser_of(person("coordinator", "02"))
    for path in pages_of(TREATED):
        assert browser.get(path).status_code == 403, path
    for route in SUBJECT_ROUTES:
        if route.method == "POST" and route.path.startswith("/subjects/{"):
            path = re.sub(r"{\w+}", "1", route.path.replace("{subject_id}", TREATED))
            assert browser.post(path).status_code == 403, path


@pytest.mark.requirement(44)
def test_every_page_of_a_subject_says_that_it_is_for_trial_use(browser_of: NewBrowser) -> None:
    browser = browser_of(person("coordinator"))
    for path in ["/subjects", "/subjects/enrol", "/laboratory/import", *pages_of(TREATED)]:
        page = browser.get(path)
        assert LABEL in page.text, path
        if page.status_code != 200:
            assert "/sign" in path or "end-of-treatment" in path, path
            continue
        assert page.text.count("<h1") == 1, path
        inputs = re.findall(r"<(?:input|select|textarea) [^>]*>", page.text)
        for one in inputs:
            if 'type="hidden"' in one or " hidden" in one:
                continue
            name = re.search(r'id="([^"]+)"', one)
            assert "aria-label" in one or (name and f'for="{name[1]}"' in page.text), (path, one)


@pytest.mark.requirement(7)
def test_a_record_shows_every_field_with_its_history_beside_it(browser_of: NewBrowser, treated: Trial) -> None:
    edit = Update("subjects", {"subject_id": TREATED}, {"height_cm": 178.5})
    treated.commit(Change("correct_subject", [edit]), SYSTEM, "misread the scale")
    with treated.read() as reader:
        number = reader.record("subjects", {"subject_id": TREATED})["record_id"]
    browser = browser_of(person("monitor"))
    page = browser.get(f"/subjects/{TREATED}/records/subjects/{number}").text
    button = re.search(
        rf'hx-get="(/audit/field/subjects/{number}/height_cm)" hx-target="#history-f-saved-height_cm"', page
    )
    assert button
    assert 'id="history-f-saved-height_cm"' in page
    told = words(browser.get(button[1]).text)
    assert "180 → 178.5" in told
    assert "misread the scale" in told
    other = browser.get(f"/subjects/DUO-01-001/records/subjects/{number}")
    assert other.status_code == 404, "a record is found under its own subject only"


@pytest.mark.requirement(32)
def test_a_monitor_asks_about_a_field_and_the_subject_page_shows_the_query(
    browser_of: NewBrowser, treated: Trial
) -> None:
    with treated.read() as reader:
        number = reader.records("vitals", subject_id=TREATED)[0]["record_id"]
    monitor, path = browser_of(person("monitor")), f"/subjects/{TREATED}/records/vitals/{number}"
    empty = sent(monitor, f"{path}/query", {"field": "weight_kg", "text": ""}, page=f"{path}?field=weight_kg")
    assert empty.status_code == 422
    assert "fill this in" in beside(empty.text, "text")
    assert "The query was opened" in monitor.post(f"{path}/query", {"field": "weight_kg", "text": "80 or 88?"}).text
    site = browser_of(person("coordinator"))
    assert "80 or 88?" in site.get(f"/subjects/{TREATED}").text
    assert site.post(f"{path}/query", {"field": "weight_kg", "text": "mine"}).status_code == 403
    assert "80 or 88?" not in words(browser_of(person("masked_statistician")).get(f"/subjects/{TREATED}").text)


@pytest.mark.requirement(33)
@pytest.mark.parametrize("code", ["not done", "unknown", "not applicable", "below detection"])
def test_the_four_ways_of_missing_are_told_apart_on_the_page(code: str, browser_of: NewBrowser, treated: Trial) -> None:
    day = f"2026-02-{10 + len(code)}"
    values = {"subject_id": TREATED, "taken_on": day, "ecog": 1}
    number = treated.commit(Change("fill", [Create("vitals", values)]), SYSTEM).records[0]
    browser, path = browser_of(person("coordinator")), f"/subjects/{TREATED}/records/vitals/{number}"
    assert f'href="{path}/missing?field=weight_kg"' in browser.get(path).text
    form = sent(browser, f"{path}/missing", {"code": ""}, page=f"{path}/missing?field=weight_kg")
    assert form.status_code == 422
    saved = sent(browser, f"{path}/missing", {"code": code}, page=f"{path}/missing?field=weight_kg")
    assert "The reason was saved" in saved.text
    assert re.search(rf'<span class="badge ">{code}</span>', browser.get(path).text)
    assert code in words(browser.get(f"/subjects/{TREATED}").text)
    with treated.read() as reader:
        key = {"table_name": "vitals", "record_key": f"{TREATED} / {day}", "field": "weight_kg"}
        assert reader.record("missing_reasons", key)["reason"] == code


def test_sources_are_verified_in_the_version_that_the_monitor_saw(browser_of: NewBrowser, treated: Trial) -> None:
    with treated.read() as reader:
        row = reader.records("labs", subject_id=TREATED)[0]
    monitor, path = browser_of(person("monitor")), f"/subjects/{TREATED}/records"
    nothing = sent(monitor, f"{path}/verify", {"table": "labs"}, page=f"{path}?table=labs")
    assert nothing.status_code == 422
    assert "Tick one record" in nothing.text
    done = monitor.post(f"{path}/verify", {"table": "labs", "chosen": f"{row['record_id']}:{row['record_version']}"})
    assert "The records were verified" in done.text
    one = f"{path}/labs/{row['record_id']}"
    assert "agrees with its source" in monitor.get(one).text
    edit = Update("labs", row["record_id"], {"value": "232"})
    treated.commit(Change("correct", [edit]), SYSTEM, "typing error")
    assert "changed since its verification" in monitor.get(one).text
    stale = monitor.post(f"{path}/verify", {"table": "labs", "chosen": f"{row['record_id']}:{row['record_version']}"})
    assert stale.status_code == 409
    assert f"labs {TREATED} / S0 / platelets changed since you compared" in words(stale.text)
    now = f'value="{row["record_id"]}:{row["record_version"] + 1}"'
    assert now in stale.text, "the list stands there as it is now"


@pytest.mark.requirement(35)
def test_a_locked_record_is_not_changed_until_the_lock_is_opened_with_a_reason(
    browser_of: NewBrowser, treated: Trial
) -> None:
    with treated.read() as reader:
        row = reader.records("vitals", subject_id=TREATED, taken_on="2026-01-12")[0]
    manager, site = browser_of(person("data_manager")), browser_of(person("coordinator"))
    page = manager.get(f"/subjects/{TREATED}/records/vitals/{row['record_id']}").text
    assert "Lock this record" in page
    form = {"level": "form", "subject_id": TREATED, "table": "vitals", "record": str(row["record_id"])}
    refused = manager.post("/locks", form)
    if refused.status_code == 422:  # an open query about the record forbids it
        assert "close them first" in refused.text
    other = treated.commit(
        Change("fill", [Create("vitals", {"subject_id": TREATED, "taken_on": "2026-01-20", "ecog": 0})]), SYSTEM
    )
    number = other.records[0]
    assert "It is locked" in manager.post("/locks", {**form, "record": str(number)}).text
    path = f"/subjects/{TREATED}/vitals/entry"
    change = {"taken_on": "2026-01-20", "ecog": "2", "weight_kg": "", "reason": "typing error"}
    shown = site.get(f"{path}?record={number}").text
    assert "This record is locked since" in shown
    assert 'type="submit"' not in shown.partition('id="form-title"')[2].partition("</form>")[0]
    refused = sent(site, path, change, page=f"{path}?record={number}")
    assert refused.status_code == 422
    message = re.search(r"found the form locked since ([^;]*);", refused.text)
    assert message is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \w+", message[1])
    assert 'value="typing error"' in refused.text or ">typing error<" in refused.text
    with treated.read() as reader:
        lock = reader.records("locks", state="locked", record=number)[0]["lock_id"]
    assert manager.post(f"/locks/{lock}", {"reason": ""}).status_code == 422
    assert "The lock was opened" in manager.post(f"/locks/{lock}", {"reason": "late correction"}).text
    assert "were saved" in sent(site, path, change, page=f"{path}?record={number}").text
    assert site.get("/locks").status_code == 403


def test_a_lock_of_a_subject_with_open_queries_is_refused_where_the_person_was(
    browser_of: NewBrowser, treated: Trial
) -> None:
    monitor, manager = browser_of(person("monitor")), browser_of(person("data_manager"))
    with treated.read() as reader:
        number = reader.records("vitals", subject_id=TREATED)[0]["record_id"]
    record = f"/subjects/{TREATED}/records/vitals/{number}"
    assert "The query was opened" in monitor.post(f"{record}/query", {"field": "weight_kg", "text": "Right?"}).text
    asked = {"level": "subject", "subject_id": TREATED}
    refused = manager.post("/locks", asked)
    assert refused.status_code == 422
    assert "close them first" in refused.text
    assert "Lock the subject" in refused.text
    assert "Lock the study" not in refused.text
    refused = manager.post("/locks", {**asked, "level": "form", "table": "vitals", "record": str(number)})
    assert refused.status_code == 422
    assert "close them first" in refused.text
    assert "Lock this record" in refused.text


def test_a_locked_subject_offers_no_entry_and_says_since_when_and_by_whom(
    browser_of: NewBrowser, treated: Trial
) -> None:
    site = browser_of(person("coordinator"))
    assert "/vitals/entry" in site.get(f"/subjects/{TREATED}/vitals").text
    held = {"lock_id": 77, "level": "subject", "subject_id": TREATED, "state": "locked",
            "locked_by": person("data_manager"), "locked_at": "2026-03-01T11:00:00.123456+00:00"}  # fmt: skip
    treated.commit(Change("lock_subject", [Create("locks", held)]), SYSTEM)
    for part in ("vitals", "adverse-events", "deviations", "laboratory", "follow-up"):
        text = site.get(f"/subjects/{TREATED}/{part}").text
        assert "The subject is locked since 2026-03-01 12:00 CET by" in text, part
        assert not re.search(r'href="[^"]*/(entry|new)["?]', text.partition('class="subject-part"')[2]), part
    form = site.get(f"/subjects/{TREATED}/vitals/entry").text
    assert 'type="submit"' not in form.partition('id="form-title"')[2].partition("</form>")[0]
    refused = site.post(f"/subjects/{TREATED}/vitals/entry", {"taken_on": "2026-02-02", "weight_kg": "71.25"})
    assert refused.status_code == 422
    assert 'value="71.25"' in refused.text
    assert "found the subject locked since 2026-03-01 12:00 CET" in refused.text
