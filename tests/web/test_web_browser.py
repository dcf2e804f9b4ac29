"""The foundation in a real browser: a pause keeps what was typed, history beside a field, keys of the slice viewer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.web.browsing import PASSWORD, person
from tests.web.served import served

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.report.figures.slice_stack import make_stack, pack_stack
from lutetia.trial import SYSTEM, Change, Create, ManualClock, Trial
from lutetia.web.app import create_app
from lutetia.web.settings import Settings


@pytest.fixture(scope="module")
def address(trial: Trial) -> Iterator[str]:
    """The trial served on loopback."""
    with served(create_app(trial, settings=Settings(sign_in_tries=1000))) as found:
        yield found


@pytest.fixture(scope="module")
def tab(address: str, debian_tool: Callable[[str], str]) -> Iterator[Page]:
    """A browser tab on the server that collects what the browser complains about."""
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=debian_tool("chromium"), args=["--no-sandbox"])
        page = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(10_000)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if "Content Security Policy" in m.text else None)
        yield page
        browser.close()
        assert not complaints


def sign_in(tab: Page, user: str) -> None:
    tab.context.clear_cookies()
    tab.goto("/sign-in")
    tab.get_by_label("User name").fill(user)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("link", name="My account")).to_be_visible()


@pytest.mark.requirement(7)
@pytest.mark.requirement(21)
def test_a_pause_covers_the_page_and_the_password_gives_it_back_with_what_was_typed(
    tab: Page, clock: ManualClock, trial: Trial
) -> None:
    sign_in(tab, person("administrator"))
    tab.goto("/sites/02")
    tab.get_by_role("button", name="History of Name").click()
    expect(tab.get_by_role("region", name="History of this field")).to_contain_text("Uppsala")
    tab.get_by_label("Name", exact=True).fill("Uppsala University Hospital")
    clock.advance(minutes=16)
    tab.get_by_role("button", name="History of Country").click()
    lock = tab.get_by_role("dialog", name="Locked after a pause")
    expect(lock).to_be_visible()
    tab.keyboard.press("Escape")
    expect(lock).to_be_visible()
    lock.get_by_label("Password").fill("not my password")
    lock.get_by_role("button", name="Unlock").click()
    expect(lock.get_by_role("alert")).to_have_text("The password is not right.")
    lock.get_by_label("Password").fill(PASSWORD)
    lock.get_by_role("button", name="Unlock").click()
    expect(lock).to_be_hidden()
    expect(tab.get_by_label("Name", exact=True)).to_have_value("Uppsala University Hospital")
    tab.get_by_label("Reason for the change").fill("full name")
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_role("status")).to_have_text("The site was corrected.")
    with trial.read() as reader:
        assert reader.record("sites", {"site": "02"})["name"] == "Uppsala University Hospital"


def test_the_slice_viewer_scrolls_by_keys_and_wheel_and_changes_the_view(tab: Page, trial: Trial) -> None:
    grid = axis_aligned_grid((12, 10, 14), (5.0, 4.0, 4.0))
    values = np.zeros(grid.shape, dtype=np.float32)
    values[6, 5, 10] = 2.5
    stack = make_stack(Volume(values, grid, "MBq_per_mL"), None, [RegionMask("spleen", values > 1, grid)])
    key = {"attachment_id": "A9", "subject_id": "DUO-01-001", "cycle": 1, "kind": "slice_stack", "name": "SPECT"}
    digest = trial.files.put(pack_stack(stack))
    trial.commit(Change("test", [Create("attachments", {**key, "sha256": digest, "state": "kept"})]), SYSTEM)
    sign_in(tab, person("physicist"))
    tab.goto("/subjects/DUO-01-001/cycles/1/slices")
    level = tab.locator("#level")
    expect(level).to_have_text("Slice 6 of 12")
    tab.keyboard.press("ArrowDown")
    expect(level).to_have_text("Slice 7 of 12")
    tab.keyboard.press("End")
    expect(level).to_have_text("Slice 12 of 12")
    tab.keyboard.press("2")
    expect(level).to_have_text("Slice 6 of 10")
    tab.locator(".stage").hover()
    tab.mouse.wheel(0, -100)
    expect(level).to_have_text("Slice 5 of 10")
    expect(tab.locator("#slice")).to_have_attribute("src", re.compile(f"{digest}/coronal/4.png"))
    tab.keyboard.press("o")
    expect(tab.locator("#slice")).to_have_attribute("src", re.compile("outlines=no"))
