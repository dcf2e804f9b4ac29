"""The overview: what waits for each role, with the way to its form; notices that each person marks as seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.web.browsing import Browser, person
from tests.web.subject_trial import TREATED, browsers, make_trial, words

from lutetia.trial import SYSTEM, Change, Create, ManualClock, Trial, access
from lutetia.trial.access import ROLES, SITE_ROLES
from lutetia.trial.accounts import notice
from lutetia.trial.records import Actor, Grant
from lutetia.trial.schema import AUDIT
from lutetia.web.pages.overview import PLACES
from lutetia.web.texts import texts
from lutetia.workflow.tasks import KINDS

NewBrowser = Callable[[str], Browser]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[Trial]:
    folder: Path = tmp_path_factory.mktemp("overview") / "trial"
    with make_trial(folder, clock) as made:
        open_work(made)
        yield made


@pytest.fixture(scope="module")
def new_browser(trial: Trial) -> Iterator[NewBrowser]:
    with browsers(trial) as made:
        yield made


def open_work(trial: Trial) -> None:
    """Something of every kind that may wait for a person at site 01, beside what `make_trial` left open."""
    rows = []
    for number, (subject, state) in enumerate((("ELIG", "ELIGIBLE"), ("SCRE", "SCREENING")), start=1):
        name = f"DUO-01-{subject}"
        rows += [("subjects", {"subject_id": name, "site": "01", "state": state, "sex": "female", "age_years": 50}),
                 ("consents", {"subject_id": name, "kind": "main", "consent_version": "1", "signed_on": "2026-02-01"}),
                 ("eligibility_items", {"subject_id": name, "item": "adult", "answer": "yes"}),
                 ("adverse_events", {"subject_id": name, "ae_id": "1", "seq": 1, "started_on": "2026-02-20",
                                     "term": "Sepsis", "grade": 4, "serious": "yes", "ongoing": "yes"}),
                 ("serious_events", {"subject_id": name, "ae_id": "1", "aware_at": "2026-02-21T08:00:00+00:00",
                                     "due_at": f"2026-03-0{number + 1}T07:00:00+00:00"})]  # fmt: skip
    head = {"subject_id": TREATED, "planned_on": "2026-03-02"}
    for cycle, state in enumerate(("GIVEN", "PRESCRIBED", "PLANNED", "ASSESSED", "ASSESSED"), start=3):
        rows.append(("cycles", {**head, "cycle": cycle, "state": state}))
    rows += [
        ("prescriptions", {"subject_id": TREATED, "cycle": 4, "version": 1, "nuclide": "Lu-177", "state": "RELEASED",
                           "proposed_MBq": 3700.0, "prescribed_MBq": 3700.0}),
        ("prescriptions", {"subject_id": TREATED, "cycle": 7, "version": 1, "nuclide": "Lu-177",
                           "state": "OVERRIDE_PENDING", "proposed_MBq": 3700.0}),
        ("queries", {"query_id": 900, "subject_id": TREATED, "site": "01", "table_name": "subjects",
                     "state": "ANSWERED", "record_key": TREATED, "opened_by": "system",
                     "opened_at": "2026-02-01T08:00:00+00:00"}),
        ("users", {"user_id": "locked-out", "name": "Locked Out", "state": "locked"}),
        ("snapshots", {"snapshot_id": "S1", "cut_on": "2026-02-01", "extracted_at": "2026-02-01T08:00:00+00:00",
                       "purpose": "interim 1", "audit_head": "a" * 64, "sha256": "b" * 64}),
        ("snapshots", {"snapshot_id": "S2", "cut_on": "2026-02-01", "extracted_at": "2026-02-01T08:00:00+00:00",
                       "purpose": "interim 2", "audit_head": "a" * 64, "sha256": "b" * 64}),
        ("reports", {"report_id": 1, "snapshot_id": "S2", "kind": "open.html", "sha256": "c" * 64, "software": "x",
                     "created_by": "us", "created_at": "2026-02-02T08:00:00+00:00"}),
    ]  # fmt: skip
    trial.commit(Change("fill", [Create(table, values) for table, values in rows]), SYSTEM)


def todo(page: str) -> dict[str, list[str]]:
    """Kinds of work on an overview, each with its links."""
    kinds = re.findall(r'<h3 id="todo-(\w+)">.*?</h3>(.*?)</section>', page, re.DOTALL)
    return {kind: re.findall(r'href="([^"]+)"', part) for kind, part in kinds}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_the_work_of_its_rights_and_every_link_leads_to_it(role: str, new_browser: NewBrowser) -> None:
    browser = new_browser(person(role))
    found = todo(browser.get("/").text)
    me = Actor("x", "X", (Grant(role, "01" if role in SITE_ROLES else None),), second_factor=True)
    expected = {kind.name for kind in KINDS if access.may(me, kind.action)} - {"make_list", "read_report"}
    assert set(found) == expected
    for kind, links in found.items():
        assert links, kind
        for link in links:
            assert browser.get(link).status_code == 200, (kind, link)


def test_every_kind_of_work_has_words_and_a_page() -> None:
    words_of = texts("en").words
    assert set(PLACES) == {kind.name for kind in KINDS}
    assert not [name for name in PLACES if f"overview.kinds.{name}" not in words_of]


def test_a_late_report_of_a_serious_event_is_marked_and_other_sites_are_told_nothing(new_browser: NewBrowser) -> None:
    page = new_browser(person("coordinator")).get("/").text
    part = page.partition('id="todo-report"')[2].partition("</section>")[0]
    assert re.findall(r"badge danger.*?(?:ELIG|SCRE)|(?:ELIG|SCRE).*?badge danger", part, re.DOTALL)
    assert part.index("DUO-01-ELIG") < part.index("DUO-01-SCRE"), "the most urgent one stands first"
    other = new_browser(person("coordinator", "02")).get("/").text
    assert set(todo(other)) == {"screening", "answer"}
    assert "DUO-01" not in other


def test_a_due_visit_leads_to_the_entry_of_its_sample(new_browser: NewBrowser) -> None:
    coordinator = new_browser(person("coordinator"))
    link = f"/subjects/{TREATED}/laboratory/entry?visit=cycle+1+week+4"
    assert f'href="{link}"' in coordinator.get("/").text
    assert re.search(r'<option value="cycle 1 week 4" selected>', coordinator.get(link).text)
    assert f'href="/subjects/{TREATED}"' in new_browser(person("monitor")).get("/").text


def tell(trial: Trial, text: str, **to: str) -> None:
    trial.commit(lambda reader: Change("tell", [notice(reader, kind="test", text=text, **to)]), SYSTEM)


def test_each_person_marks_notices_as_seen_and_the_trail_says_so(new_browser: NewBrowser, trial: Trial) -> None:
    for text in ("first to all monitors", "second to all monitors"):
        tell(trial, text, role="monitor")
    tell(trial, "for the monitors of site 02", role="monitor", site="02")
    tell(trial, "for one physician", user_id=person("physician"))
    monitor, other = new_browser(person("monitor")), new_browser(person("monitor", "02"))
    page = monitor.get("/").text
    assert page.index("second to all monitors") < page.index("first to all monitors")
    assert "site 02</" not in page
    assert "for the monitors of site 02" in other.get("/").text
    number = re.search(r'name="notice_id" value="(\d+)"', page)
    assert number
    assert "Marked as seen" in monitor.post("/notices/seen", {"notice_id": number[1]}).text
    page = monitor.get("/").text
    assert "second to all monitors" not in page
    assert "first to all monitors" in page
    assert "second to all monitors" in other.get("/").text, "what one person saw, another has not"
    listed = words(monitor.get("/notices").text)
    assert listed.index("first to all monitors") < listed.index("second to all monitors"), "unseen ones stand first"
    assert "seen 2026-03-02" in listed
    monitor.post("/notices/seen", {"back": "notices"})
    assert "first to all monitors" not in monitor.get("/").text
    with trial.read() as reader:
        rows = reader.rows(select(AUDIT.c.actor).where(AUDIT.c.action == "mark_seen"))
    assert {row["actor"] for row in rows} == {person("monitor")}
    assert len(rows) == 2, "one row a notice"


def test_a_notice_to_somebody_else_cannot_be_marked(new_browser: NewBrowser, trial: Trial) -> None:
    tell(trial, "only for the physician", user_id=person("physician"))
    with trial.read() as reader:
        last = max(int(row["notice_id"]) for row in reader.records("notices"))
    monitor = new_browser(person("monitor"))
    assert "only for the physician" not in monitor.get("/notices").text
    assert monitor.post("/notices/seen", {"notice_id": str(last)}).status_code == 404
    assert "only for the physician" in new_browser(person("physician")).get("/").text


@pytest.mark.parametrize("role", ["coordinator", "physician", "monitor", "safety_officer"])
def test_serious_events_to_be_reported_stand_on_the_overview_with_the_hours_left(
    new_browser: NewBrowser, role: str
) -> None:
    page = words(new_browser(person(role)).get("/").text)
    assert re.search(r"DUO-01-ELIG, \S.*? : \d+ h \d\d min (left|over time)", page)
