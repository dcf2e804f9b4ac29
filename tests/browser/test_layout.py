"""Pages as a browser lays them out: at twice the size, on paper, without scripts; and dates as they are typed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browser.test_accessibility import trial_served
from tests.web.every_page import trial_in_progress

from lutetia.trial import Trial
from lutetia.web.demonstration import PASSWORD

#: A subject with cycles, and what is printed of it.
SUBJECT = "/subjects/01-001"
PAGES = ("/", "/subjects", SUBJECT, f"{SUBJECT}/laboratory", f"{SUBJECT}/cycles/1", "/audit")
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with trial_in_progress(tmp_path_factory.mktemp("layout") / "trial") as made:
        yield made


@pytest.fixture(scope="module")
def window(trial: Trial, debian_tool: Callable[[str], str]) -> Iterator[Browser]:
    with trial_served(trial) as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=debian_tool("chromium"), args=["--no-sandbox"])
        context = browser.new_context(base_url=address)
        sign_in(context.new_page(), "coordinator")
        context.storage_state(path=None)
        yield browser
        browser.close()


def sign_in(tab: Page, user: str) -> None:
    tab.goto("/sign-in")
    tab.get_by_label("User name").fill(user)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("link", name="My account")).to_be_visible()


@pytest.fixture
def tab(window: Browser) -> Page:
    return window.contexts[0].pages[0]


@pytest.mark.parametrize(("width", "height"), [(720, 450), (640, 400), (400, 800)])
def test_pages_fit_at_twice_the_size_and_on_a_telephone(tab: Page, width: int, height: int) -> None:
    """720 CSS pixels are a window of 1440 at 200 %."""
    tab.set_viewport_size({"width": width, "height": height})
    for path in PAGES:
        tab.goto(path)
        assert tab.evaluate(_WIDER) <= 0, path


def test_a_date_is_typed_with_digits_alone_or_taken_from_the_calendar(tab: Page) -> None:
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.goto(f"{SUBJECT}/laboratory/entry")
    taken = tab.get_by_label("Taken", exact=True)
    taken.fill("202603020830")
    taken.press("Tab")
    expect(taken).to_have_value("2026-03-02 08:30")
    taken.press("Alt+ArrowDown")
    calendar = tab.locator("input[type=datetime-local]")
    expect(calendar).to_have_value("2026-03-02T08:30")
    calendar.evaluate("e => { e.value = '2026-03-01T17:05'; e.dispatchEvent(new Event('change', {bubbles: true})) }")
    expect(taken).to_have_value("2026-03-01 17:05")
    expect(taken).to_be_focused()


def test_nothing_moves_while_a_page_loads(tab: Page) -> None:
    tab.set_viewport_size({"width": 1440, "height": 900})
    for path in PAGES:
        tab.goto(path, wait_until="networkidle")
        moved = tab.evaluate(
            """() => new Promise(done => { let sum = 0;
            new PerformanceObserver(l => { for (const e of l.getEntries()) sum += e.value })
                .observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 200) })"""
        )
        assert moved < 0.02, path


def test_a_page_is_read_without_scripts(window: Browser, tab: Page) -> None:
    plain = window.new_context(storage_state=tab.context.storage_state(), java_script_enabled=False)
    page = plain.new_page()
    for path in PAGES:
        page.goto(tab.url.partition("/subjects")[0].partition("/audit")[0].rstrip("/") + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.locator(".calendar:visible").count() == 0
    plain.close()


@pytest.mark.parametrize("path", [SUBJECT, f"{SUBJECT}/cycles/1"])
def test_on_paper_stands_the_page_without_what_is_for_clicking(
    tab: Page, tmp_path: Path, debian_tool: Callable[[str], str], path: str
) -> None:
    tab.goto(path)
    tab.pdf(path=tmp_path / "page.pdf", format="A4")
    text = subprocess.run(
        [debian_tool("pdftotext"), "-layout", tmp_path / "page.pdf", "-"], check=True, capture_output=True, text=True
    ).stdout
    assert "01-001" in text
    assert "For trial use; not a CE-marked device" in text
    assert "Sign out" not in text
    assert len(text.split("\f")) <= 4, "three sheets at most"
