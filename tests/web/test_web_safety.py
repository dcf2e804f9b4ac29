"""Safety dashboard, snapshots, interim analyses, exports and jobs in the browser's eyes, role by role."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select
from tests.support.virtual_safety import virtual_trial
from tests.web.browsing import PASSWORD, ROOT, Browser, PlainAuthenticator, TestClient, person
from tests.web.served import served

from lutetia.errors import InputError
from lutetia.trial import Actor, Grant, ManualClock, Trial, accounts
from lutetia.trial.access import ROLES, SITE_ROLES
from lutetia.trial.reader import Record
from lutetia.trial.schema import AUDIT
from lutetia.web.app import create_app
from lutetia.web.routes import ROUTES
from lutetia.web.settings import Settings
from lutetia.workflow.interim import KIND, RequestInterim, request_interim
from lutetia.workflow.interim_view import ANSWERED_S
from lutetia.workflow.job_kinds import JOB_KINDS
from lutetia.workflow.jobs import ANSWERS, Outcome, run_next
from lutetia.workflow.snapshot import TakeSnapshot, take_snapshot

UNMASKED = Actor(person("unmasked_statistician"), "Person", (Grant("unmasked_statistician"),))
OPEN_ROLES = ("data_manager", "safety_officer", "masked_statistician", "inspector")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("web-safety")
    with virtual_trial(folder, authenticator=PlainAuthenticator()) as made:
        for role in ROLES:
            user = person(role)
            accounts.add_user(made, ROOT, user_id=user, name=f"Person {user}", password=PASSWORD)
            accounts.set_password(made, Actor(user, user), user, password=PASSWORD)
            accounts.grant_role(made, ROOT, user, role=role, site="01" if role in SITE_ROLES else None)
        yield made


@pytest.fixture(scope="module")
def app(trial: Trial) -> Iterator[Any]:
    made = create_app(trial, settings=Settings(sign_in_tries=1000))
    yield made
    if hasattr(made.state, "safety"):
        made.state.safety.close()


@pytest.fixture(scope="module")
def enter(app: Any) -> Iterator[Callable[[str], Browser]]:
    opened: dict[str, Browser] = {}

    def make(role: str) -> Browser:
        if role not in opened:
            client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
            opened[role] = Browser(client)
            opened[role].sign_in(person(role))
        return opened[role]

    yield make
    for browser in opened.values():
        browser.client.close()


def dashboard(browser: Browser, path: str = "/safety") -> str:
    """The dashboard after its derivation."""
    for _ in range(600):
        page = browser.get(path)
        assert page.status_code == 200
        if 'class="stack safety"' in page.text:
            return page.text
        time.sleep(0.1)
    raise AssertionError("the derivation did not end")


def closed_views(trial: Trial) -> int:
    with trial.read() as reader:
        return len(reader.rows(select(AUDIT.c.sequence).where(AUDIT.c.action == "read_closed_report")))


def test_the_first_visit_shows_progress_and_then_loads_the_dashboard(enter: Callable[[str], Browser]) -> None:
    browser = enter("board")
    first = browser.get("/safety")
    assert first.status_code == 200
    if 'class="stack safety"' not in first.text:
        assert 'hx-get="/safety/progress?cold=yes"' in first.text
        assert "Step:" in first.text
    dashboard(browser)
    fragment = browser.client.get("/safety/progress?cold=yes")
    assert fragment.headers["HX-Refresh"] == "true"
    assert "hx-get" not in browser.client.get("/safety/progress").text


@pytest.mark.requirement(6)
def test_by_arm_is_for_the_board_and_the_unmasked_statistician_and_every_view_is_noted(
    enter: Callable[[str], Browser], trial: Trial
) -> None:
    for role in ("board", "unmasked_statistician"):
        dashboard(enter(role))
        before = closed_views(trial)
        page = enter(role).get("/safety").text
        assert "Unblinded view" in page
        assert ">arm B<" in page
        assert "Stop from" in page
        assert closed_views(trial) == before + 1
        pooled = enter(role).get("/safety?view=pooled").text
        assert "All arms together" in pooled
        assert ">arm B<" not in pooled
        assert closed_views(trial) == before + 1


@pytest.mark.requirement(10)
@pytest.mark.parametrize("role", OPEN_ROLES)
def test_open_roles_see_all_arms_together_whatever_they_ask(
    role: str, enter: Callable[[str], Browser], trial: Trial
) -> None:
    before = closed_views(trial)
    for path in ("/safety", "/safety?view=arms"):
        page = dashboard(enter(role), path)
        assert "All arms together" in page
        assert not re.search(r">\s*(arm )?[ABCD]\s*<", page)
        assert "Stop from" not in page
    assert closed_views(trial) == before
    doses = "Marrow dose and nadir" in page or "Limits watch" in page
    assert doses == (role != "masked_statistician")


def test_marks_and_rows_lead_to_the_subject_for_those_who_see_subjects(enter: Callable[[str], Browser]) -> None:
    page = dashboard(enter("unmasked_statistician"))
    links = re.findall(r'<a href="(/subjects/SIM-\d+)"', page)
    assert len(set(links)) > 15
    assert enter("unmasked_statistician").get(links[0]).status_code == 200
    assert '<svg class="spots"' in page
    assert "/subjects/" not in dashboard(enter("board"))


@pytest.mark.parametrize("role", sorted(set(ROLES) - {*OPEN_ROLES, "board", "unmasked_statistician"}))
def test_others_do_not_see_safety_snapshots_or_analyses(role: str, enter: Callable[[str], Browser]) -> None:
    for path in ("/safety", "/safety/progress", "/snapshots", "/interim"):
        assert enter(role).get(path).status_code == 403, path


def test_the_dashboard_answers_in_the_time_of_a_page_once_derived(enter: Callable[[str], Browser]) -> None:
    dashboard(enter("data_manager"))
    taken = []
    for _ in range(7):
        begun = time.process_time()
        enter("data_manager").get("/safety")
        taken.append(time.process_time() - begun)
    assert sorted(taken)[3] < 0.2, taken


def snapshot_of(trial: Trial) -> Record:
    """The latest snapshot; one is taken where there is none, so that every test runs alone as well."""
    with trial.read() as reader:
        rows = reader.records("snapshots")
    if not rows:
        manager = Actor(person("data_manager"), "Person", (Grant("data_manager"),))
        take_snapshot(trial, manager, TakeSnapshot("2031-03-03", "interim 1"))
        return snapshot_of(trial)
    return rows[-1]


def test_the_data_manager_takes_snapshots_and_everyone_downloads_what_the_role_may_see(
    enter: Callable[[str], Browser], trial: Trial
) -> None:
    assert "There is no snapshot to analyse" in enter("board").get("/interim").text
    manager = enter("data_manager")
    manager.get("/snapshots")
    late = manager.post("/snapshots", {"purpose": "interim 1", "cut_on": "2031-03-04"})
    assert late.status_code == 422
    assert "up to today" in late.text
    assert 'value="interim 1"' in late.text, "what was typed stays"
    done = manager.post("/snapshots", {"purpose": "interim 1", "cut_on": "2031-03-03"})
    assert "The snapshot was taken." in done.text
    row = snapshot_of(trial)
    for role in ("safety_officer", "board", "unmasked_statistician"):
        enter(role).get("/snapshots")
        assert enter(role).post("/snapshots", {"purpose": "x", "cut_on": "2031-03-01"}).status_code == 403
    path = f"/snapshots/{row['snapshot_id']}/archive"
    whole = manager.client.get(path)
    assert whole.headers["content-disposition"] == f'attachment; filename="{row["snapshot_id"]}.zip"'
    masked = enter("masked_statistician").client.get(path)
    for answer, rows in ((whole, True), (masked, False)):
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert (len(archive.read("doses.csv").splitlines()) > 1) is rows
    assert enter("board").client.get(path).status_code == 403
    assert manager.client.get("/snapshots/none/archive").status_code == 404
    assert row["sha256"][:16] in manager.get("/snapshots").text
    assert row["sha256"][:16] not in enter("masked_statistician").get("/snapshots").text


def test_an_analysis_is_asked_for_watched_and_waits_until_a_worker_runs(
    enter: Callable[[str], Browser], trial: Trial
) -> None:
    row, browser = snapshot_of(trial), enter("unmasked_statistician")
    browser.get("/interim")
    assert enter("data_manager").post("/interim", {"snapshot_id": row["snapshot_id"]}).status_code == 403
    assert browser.post("/interim", {"snapshot_id": "none"}).status_code == 404
    queued = browser.post("/interim", {"snapshot_id": row["snapshot_id"]})
    assert "The analysis is queued." in queued.text
    assert f'hx-get="/interim/{row["snapshot_id"]}/progress"' in queued.text
    again = browser.post("/interim", {"snapshot_id": row["snapshot_id"]})
    assert again.status_code == 422
    assert "already" in again.text
    clock: ManualClock = trial.clock  # type: ignore[assignment]
    clock.advance(seconds=20)
    for path in ("/interim", "/jobs"):
        waiting = browser.get(path).text
        assert "lutetia worker trial" in waiting, path
        assert "No worker has answered yet." in waiting
    trial.touch(ANSWERS)
    assert "Waiting for a worker" in browser.get("/interim").text
    clock.advance(seconds=ANSWERED_S + 1)
    for path in ("/interim", "/jobs", f"/interim/{row['snapshot_id']}/progress"):
        assert re.search(r"No worker has answered since 2031-\d\d-\d\d \d\d:\d\d", browser.get(path).text), path
    assert 'hx-trigger="every 5s"' in browser.get("/interim").text, "the page goes on by itself when a worker starts"


def test_a_failed_job_says_why_and_is_repeated(enter: Callable[[str], Browser], trial: Trial) -> None:
    def broken(trial: Trial, job: Record) -> Outcome:
        raise InputError("labs.csv: found no rows; expected some")

    job = run_next(trial, "test", {KIND: broken})
    assert job is not None
    assert job["state"] == "FAILED"
    browser = enter("unmasked_statistician")
    page = browser.get("/jobs").text
    assert "labs.csv: found no rows; expected some" in page
    assert f'action="/jobs/{job["job_id"]}/repeat"' in page
    assert "labs.csv" not in enter("data_manager").get("/jobs").text
    assert "labs.csv" in browser.get("/interim").text
    assert "labs.csv" not in enter("safety_officer").get("/interim").text
    manager = enter("data_manager")
    manager.get("/jobs")
    assert manager.post(f"/jobs/{job['job_id']}/repeat").status_code == 403
    browser.get("/jobs")
    done = browser.post(f"/jobs/{job['job_id']}/repeat")
    assert "queued again" in done.text
    assert browser.post(f"/jobs/{job['job_id']}/repeat").status_code == 409
    assert run_next(trial, "test", {KIND: broken}) is not None
    assert "masked roles" in enter("masked_statistician").get("/jobs").text


@pytest.mark.requirement(12)
def test_reports_are_signed_and_read_open_and_closed_apart(enter: Callable[[str], Browser], trial: Trial) -> None:
    snapshot = snapshot_of(trial)["snapshot_id"]
    request_interim(trial, UNMASKED, RequestInterim(snapshot, resamples=20))
    job = run_next(trial, "test", JOB_KINDS)
    assert job is not None
    assert job["state"] == "DONE", job["error"]
    base, browser = f"/interim/{snapshot}/1", enter("unmasked_statistician")
    assert "not signed" in enter("board").get("/interim").text
    assert enter("board").get(f"{base}/closed/signature.pdf").status_code == 404
    form = browser.get(f"{base}/sign").text
    assert "closed.pdf" in form
    wrong = browser.post(f"{base}/sign", {"sign_user": person("unmasked_statistician"), "sign_password": "wrong"})
    assert wrong.status_code == 422
    given = {"sign_user": person("unmasked_statistician"), "sign_password": PASSWORD}
    done = browser.post(f"{base}/sign", given)
    assert "The analysis was signed." in done.text
    assert "Person unmasked-statistician (unmasked statistician), 2031-03-03" in done.text
    assert browser.get(f"/interim/{snapshot}/7/sign").status_code == 404
    before = closed_views(trial)
    for name in ("pdf", "html", "interim.json", "signature.pdf", "all.zip"):
        assert enter("board").client.get(f"{base}/closed/{name}").status_code == 200, name
    assert closed_views(trial) == before + 4, "the sheet shows no result"
    assert enter("board").client.get(f"{base}/closed/open.pdf").status_code == 404
    opened = enter("board").client.get(f"{base}/closed/html").headers
    assert opened["content-disposition"].startswith('inline; filename="')
    assert opened["content-security-policy"].startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'")
    assert "script-src" not in opened["content-security-policy"]
    assert enter("board").client.get(f"{base}/closed/pdf").headers["content-disposition"].startswith("inline")
    for name in ("html", "pdf", "interim.json", "all.zip"):
        saved = enter("board").client.get(f"{base}/closed/{name}?save=yes").headers
        assert saved["content-disposition"].startswith("attachment"), name
    for role in OPEN_ROLES:
        page = enter(role).get("/interim").text
        assert f"{base}/open/pdf" in page
        assert "/closed/" not in page
        assert enter(role).client.get(f"{base}/open/pdf").content.startswith(b"%PDF")
        assert enter(role).client.get(f"{base}/open/interim.json").status_code == 404
        assert enter(role).client.get(f"{base}/closed/pdf").status_code == 403


@pytest.mark.requirement(36)
def test_data_and_the_whole_trial_are_exported_by_rights(enter: Callable[[str], Browser]) -> None:
    manager, masked = enter("data_manager"), enter("masked_statistician")
    manager.get("/exports")
    assert zipfile.is_zipfile(io.BytesIO(manager.client.post("/exports/data", data={"csrf": manager.csrf}).content))
    whole = manager.client.post("/exports/trial", data={"csrf": manager.csrf})
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert "dump.jsonl" in archive.namelist()
    page = masked.get("/exports").text
    assert 'action="/exports/trial"' not in page
    assert masked.client.post("/exports/trial", data={"csrf": masked.csrf}).status_code == 403
    with zipfile.ZipFile(
        io.BytesIO(masked.client.post("/exports/data", data={"csrf": masked.csrf}).content)
    ) as archive:
        assert len(archive.read("doses.csv").splitlines()) == 1
    assert enter("board").get("/exports").status_code == 403


@contextmanager
def tab_on(app: Any, chromium: str, complaints: list[str]) -> Iterator[Page]:
    """A tab of the unmasked statistician on the application."""
    with served(app) as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900})
        context.on("console", lambda m: complaints.append(m.text) if "Content Security Policy" in m.text else None)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto("/sign-in")
        tab.get_by_label("User name").fill(person("unmasked_statistician"))
        tab.get_by_label("Password").fill(PASSWORD)
        tab.get_by_role("button", name="Sign in").click()
        yield tab
        browser.close()
    assert not complaints


def test_a_click_on_a_mark_opens_the_subject(app: Any, debian_tool: Callable[[str], str]) -> None:
    with tab_on(app, debian_tool("chromium"), []) as tab:
        tab.get_by_role("link", name="Safety").click()
        mark = tab.locator(".spots a").nth(3)
        mark.wait_for(state="attached")
        path = mark.get_attribute("href")
        assert str(mark.locator("title").text_content()).startswith(f"{str(path).rpartition('/')[2]}: ")
        mark.locator("circle").click()
        tab.wait_for_url(f"**{path}")


def test_a_report_opens_in_a_tab_that_can_do_nothing(
    app: Any, trial: Trial, debian_tool: Callable[[str], str]
) -> None:  # fmt: skip
    if not list_files(trial):
        request_interim(trial, UNMASKED, RequestInterim(snapshot_of(trial)["snapshot_id"], resamples=20))
        assert run_next(trial, "test", JOB_KINDS)["state"] == "DONE"  # type: ignore[index]
    with tab_on(app, debian_tool("chromium"), []) as tab:
        tab.get_by_role("link", name="Interim", exact=True).click()
        with tab.context.expect_page() as opened:
            tab.get_by_role("link", name="Report (HTML) (opens in a new tab)", exact=True).first.click()
        report = opened.value
        report.wait_for_load_state()
        assert report.get_by_role("heading", level=1).is_visible()
        assert report.evaluate("self.origin") == "null", "an origin of its own, without the session"
        assert report.evaluate("getComputedStyle(document.body).fontFamily").startswith("Inter")
        script = "Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'})"
        report.evaluate(f"document.body.appendChild({script})")
        assert report.evaluate("window.ran") is None, "no script of a report runs"


def list_files(trial: Trial) -> list[Record]:
    with trial.read() as reader:
        return reader.records("reports")


def test_a_change_of_data_is_said_and_newer_figures_are_offered(enter: Callable[[str], Browser], trial: Trial) -> None:
    dashboard(enter("data_manager"))
    trial.clock.moment += timedelta(days=1)  # type: ignore[attr-defined]
    browser = Browser(enter("data_manager").client)
    browser.sign_in(person("data_manager"))
    page = browser.get("/safety").text
    assert "Live data up to 2031-03-03" in page
    assert "newer figures are being derived" in page
    for _ in range(600):
        if "Newer figures are ready" in (fragment := browser.client.get("/safety/progress").text):
            break
        time.sleep(0.1)
    assert 'href="/safety"' in fragment
    assert "Live data up to 2031-03-04" in browser.get("/safety").text


def test_a_page_that_asks_by_itself_keeps_no_session_awake(enter: Callable[[str], Browser], trial: Trial) -> None:
    browser, path = enter("data_manager"), f"/interim/{snapshot_of(trial)['snapshot_id']}/progress"
    browser.sign_in(person("data_manager"))
    clock: ManualClock = trial.clock  # type: ignore[assignment]
    for _ in range(7):
        clock.advance(minutes=2)
        assert browser.get(path, headers={"HX-Request": "true"}).status_code == 200
    clock.advance(minutes=2)
    assert browser.get(path, headers={"HX-Request": "true"}).status_code == 401
    assert {route.path.rpartition("/")[2] for route in ROUTES if route.by_itself} == {"progress", "job"}
