"""Entry with the keyboard alone, in a real browser: a laboratory sample with its grades, and an adverse event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.web.browsing import PASSWORD, person
from tests.web.served import served
from tests.web.subject_trial import TREATED

from lutetia.trial import Trial
from lutetia.web.app import create_app
from lutetia.web.settings import Settings

BASE = f"/subjects/{TREATED}"


@pytest.fixture(scope="module")
def tab(treated: Trial, debian_tool: Callable[[str], str]) -> Iterator[Page]:
    """A coordinator's browser tab on the trial, served on loopback."""
    chromium = debian_tool("chromium")
    app = create_app(treated, settings=Settings(sign_in_tries=1000))
    with served(app) as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(20_000)
        page.goto("/sign-in")
        page.get_by_label("User name").fill(person("coordinator"))
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        yield page
        browser.close()


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


#: What has the focus: its name, whether it can be seen to have it, and its place among what the page offers.
FOCUS = """() => {
  const focused = document.activeElement, style = getComputedStyle(focused), box = focused.getBoundingClientRect();
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 || style.boxShadow !== "none";
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, [tabindex]")];
  return {tag: focused.tagName, name: focused.name || focused.textContent.trim(), id: focused.id, ring,
          seen: box.width > 0 && box.height > 0, place: all.indexOf(focused)};
}"""


def walked(tab: Page) -> list[dict[str, Any]]:
    """Everything that Tab comes to, from the top of the page until it leaves it."""
    tab.evaluate("document.activeElement.blur()")
    tab.evaluate("window.getSelection().removeAllRanges(); document.body.focus()")
    found: list[dict[str, Any]] = []
    for _ in range(200):
        typed(tab, "<Tab>")
        focus = tab.evaluate(FOCUS)
        if focus["tag"] == "BODY":
            return found
        found.append(focus)
    raise AssertionError("the focus never leaves the page")


@pytest.mark.parametrize("path", ["/laboratory/entry", "/adverse-events/new", "/follow-up/response", "/vitals/entry"])
def test_tab_goes_through_a_form_in_order_and_is_always_seen(tab: Page, path: str) -> None:
    tab.goto(BASE + path)
    first = tab.evaluate(FOCUS)
    assert first["tag"] == "INPUT", "the cursor stands in the first field"
    found = walked(tab)
    assert [f["name"] for f in found if not (f["ring"] and f["seen"])] == []
    places = [f["place"] for f in found]
    assert places == sorted(places), "as the page is read"
    names = [f["name"] for f in found]
    assert names[-1] == "Cancel"
    assert names[-2].startswith("Save")


def test_a_visit_of_ten_analytes_takes_one_key_more_than_its_values_each(tab: Page, treated: Trial) -> None:
    tab.goto(f"{BASE}/laboratory/entry")
    tab.get_by_label("Sample number").focus()
    typed(tab, "V10", "<Enter>")
    values = ("121", "180", "5.1", "3.2", "1.1", "84", "31", "28", "77", "40")
    for value in values:
        typed(tab, value, "<Enter>")
    assert tab.evaluate(FOCUS)["name"] == "value_bilirubin", "the eleventh"
    with tab.expect_navigation():
        typed(tab, "<Control+Enter>")
    expect(tab.get_by_role("status")).to_contain_text("The sample was saved")
    with treated.read() as reader:
        rows = reader.records("labs", subject_id=TREATED, sample_id="V10")
    assert sorted(r["value"] for r in rows) == sorted(values)


def test_enter_above_the_table_goes_into_it_and_saves_nothing(tab: Page, treated: Trial) -> None:
    tab.goto(f"{BASE}/laboratory/entry")
    before = treated.head().head
    tab.get_by_label("Sample number").focus()
    typed(tab, "K7", "<Enter>")
    assert tab.evaluate(FOCUS)["name"] == "value_haemoglobin"
    assert treated.head().head == before
    tab.get_by_label("INR, Value").focus()
    typed(tab, "<Enter>")
    assert tab.evaluate(FOCUS)["name"] == "Save the sample", "after the last analyte"


def test_a_wrong_value_is_announced_and_two_keys_lead_to_it(tab: Page) -> None:
    tab.goto(f"{BASE}/laboratory/entry")
    with tab.expect_navigation():
        typed(tab, "<Enter>", "4,4", "<Control+Enter>")
    summary = tab.get_by_role("alert").first
    expect(summary).to_be_focused()
    expect(summary).to_contain_text("platelets: found '4,4'; expected a number with a decimal point")
    with tab.expect_event("framenavigated"):
        typed(tab, "<Tab>", "<Enter>")
    assert tab.evaluate(FOCUS)["name"] == "value_platelets"
    wrong = tab.locator("#f-value_platelets")
    expect(wrong).to_have_attribute("aria-invalid", "true")
    described = tab.locator(f"#{wrong.get_attribute('aria-describedby')}")
    expect(described).to_contain_text("expected a number with a decimal point")
    tab.goto(f"{BASE}/adverse-events/new")
    typed(tab, "Rash", "<Tab>")
    tab.keyboard.press("Control+A")
    typed(tab, "2027-01-01", "<Tab>", "<Space>")
    while tab.evaluate(FOCUS)["name"] != "related":
        typed(tab, "<Tab>")
    with tab.expect_navigation():
        typed(tab, "<Space>", "<Control+Enter>")
    expect(tab.get_by_role("alert").first).to_be_focused()
    began = tab.get_by_label("Began", exact=True)
    expect(began).to_have_attribute("aria-invalid", "true")
    assert "e-f-started_on" in (began.get_attribute("aria-describedby") or "")
