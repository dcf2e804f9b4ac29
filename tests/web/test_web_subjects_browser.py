"""Entry with the keyboard alone, in a real browser: a laboratory sample with its grades, and an adverse event."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from playwright.sync_api import Page, expect, sync_playwright
from tests.web.browsing import PASSWORD, person
from tests.web.subject_trial import TREATED

from lutetia.trial import Trial
from lutetia.web.app import create_app
from lutetia.web.settings import Settings

BASE = f"/subjects/{TREATED}"


@pytest.fixture(scope="module")
def tab(treated: Trial, debian_tool: Callable[[str], str]) -> Iterator[Page]:
    """A coordinator's browser tab on the treated, served on loopback."""
    chromium = debian_tool("chromium")
    with socket.create_server(("127.0.0.1", 0)) as listener, sync_playwright() as player:
        app = create_app(treated, settings=Settings(sign_in_tries=1000))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        page = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(20_000)
        page.goto("/sign-in")
        page.get_by_label("User name").fill(person("coordinator"))
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        yield page
        browser.close()
        server.should_exit = True
        thread.join(timeout=10)


def typed(tab: Page, *keys: str) -> None:
    """Words are typed, ``<Tab>`` and the like are pressed."""
    for key in keys:
        if key.startswith("<"):
            tab.keyboard.press(key.strip("<>"))
        else:
            tab.keyboard.type(key)


def test_a_sample_is_entered_down_the_column_and_each_grade_shows_at_once(tab: Page, treated: Trial) -> None:
    tab.goto(f"{BASE}/laboratory/entry")
    typed(tab, "119", "<Enter>", "44", "<ArrowDown>", "2.9", "<ArrowUp>", "<ArrowDown>", "<Enter>")
    expect(tab.locator("#grade-platelets")).to_have_text("grade 3")
    assert tab.evaluate("document.activeElement.id") == "f-value_neutrophils"
    assert "/laboratory/entry" in tab.url, "Enter goes down; it does not send the form"
    typed(tab, "x")
    expect(tab.locator("#grade-neutrophils")).to_contain_text("expected a number")
    typed(tab, "<Backspace>", "1.9", "<Control+Enter>")
    expect(tab.get_by_role("status")).to_contain_text("The sample was saved")
    with treated.read() as reader:
        rows = {
            r["analyte"]: r["value"] for r in reader.records("labs", subject_id=TREATED) if r["sample_id"][0] == "T"
        }
    assert rows == {"haemoglobin": "119", "platelets": "44", "leukocytes": "2.9", "neutrophils": "1.9"}


def test_an_adverse_event_is_entered_without_a_mouse(tab: Page, treated: Trial) -> None:
    tab.goto(f"{BASE}/adverse-events/new")
    typed(tab, "Nausea", "<Tab>")
    assert tab.evaluate("document.activeElement.name") == "started_on"
    tab.keyboard.press("Control+A")
    typed(tab, "2026-02-25", "<Tab>", "<Space>", "<ArrowRight>")
    while tab.evaluate("document.activeElement.name") != "related":
        typed(tab, "<Tab>")
    typed(tab, "<Space>", "<ArrowRight>", "<Control+Enter>")
    expect(tab.get_by_role("status")).to_contain_text("The event was saved")
    with treated.read() as reader:
        row = next(r for r in reader.records("adverse_events", subject_id=TREATED) if r["term"] == "Nausea")
    assert (row["grade"], row["related"], row["started_on"]) == (2, "possible", "2026-02-25")
