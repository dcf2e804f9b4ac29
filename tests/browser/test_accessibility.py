"""Every page of the map of the site, judged by axe-core in a real browser at desk and tablet width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from tests.web.every_page import Opened, open_every_page, people_at, trial_in_progress
from tests.web.served import served

from lutetia.trial import Trial
from lutetia.web.app import create_app
from lutetia.web.settings import Settings

DESK, TABLET = ViewportSize(width=1440, height=900), ViewportSize(width=820, height=1180)
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


@dataclass
class Judge:
    """Tabs on a server, one a person, and what the browser complained about."""

    browser: Browser
    address: str
    complaints: list[str] = field(default_factory=list)
    tabs: dict[str, Page] = field(default_factory=dict)

    def tab(self, user: str, cookies: dict[str, str]) -> Page:
        """The tab of a person with these cookies."""
        if user not in self.tabs:
            context = self.browser.new_context(base_url=self.address, viewport=DESK)
            context.add_cookies([{"name": n, "value": v, "url": self.address} for n, v in cookies.items()])
            tab = self.tabs[user] = context.new_page()
            tab.set_default_timeout(30_000)
            tab.on("pageerror", lambda error: self.complaints.append(f"{tab.url}: {error}"))
            tab.on("console", lambda m: self.complaints.append(m.text) if "Content Security" in m.text else None)
        return self.tabs[user]

    def faults(self, tab: Page) -> list[str]:
        """Serious and critical findings on the page at both widths, and a page wider than the screen."""
        found = []
        for size in (DESK, TABLET):
            tab.set_viewport_size(size)
            found += [f"{size['width']}: {fault}" for fault in findings(tab)]
            if tab.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{size['width']}: the page is wider than the screen")
        return found


def findings(tab: Page) -> list[str]:
    """Serious and critical findings of axe-core on the page that is shown."""
    wanted = {"resultTypes": ["violations"], "iframes": False, "runOnly": list(_TAGS)}
    return [
        f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:160]}: {v['nodes'][0].get('failureSummary', '')[:200]}"
        for v in Axe().run(tab, options=wanted).response["violations"]
        if v["impact"] in ("serious", "critical")
    ]


@contextmanager
def trial_served(trial: Trial) -> Iterator[str]:
    """The trial's pages on a free port of this machine."""
    app = create_app(trial, settings=Settings(sign_in_tries=10_000))
    with served(app) as address:
        yield address
    if hasattr(app.state, "safety"):
        app.state.safety.close()


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with trial_in_progress(tmp_path_factory.mktemp("axe") / "trial") as made:
        yield made


@pytest.fixture(scope="module")
def judge(trial: Trial, debian_tool: Callable[[str], str]) -> Iterator[Judge]:
    with trial_served(trial) as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=debian_tool("chromium"), args=["--no-sandbox"])
        yield Judge(browser, address)
        browser.close()


def test_planted_faults_are_found(judge: Judge) -> None:
    tab = judge.tab("", {})
    tab.goto("/sign-in")
    assert judge.faults(tab) == []
    tab.evaluate("document.querySelector('main').appendChild(document.createElement('button'))")
    tab.evaluate("document.body.appendChild(document.createElement('hr')).style.cssText = 'width: 1000px'")
    found = judge.faults(tab)
    assert any(fault.startswith("1440: button-name (critical)") for fault in found)
    assert "820: the page is wider than the screen" in found


def test_no_page_has_a_serious_fault_at_desk_or_tablet_width(judge: Judge, trial: Trial) -> None:
    found: dict[str, list[str]] = {}
    with people_at(trial) as people:
        for page in open_every_page(trial, people):
            found[page.address] = judge.faults(_shown(judge, page, dict(people[page.user].client.cookies)))
        lost = judge.tab("coordinator", dict(people["coordinator"].client.cookies))
        lost.goto("/nothing-here")
        found["/nothing-here"] = judge.faults(lost)
    wrong = [f"{address}: {fault}" for address, faults in found.items() for fault in faults]
    assert not wrong, "\n".join(wrong)
    assert judge.complaints == []


def _shown(judge: Judge, page: Opened, cookies: dict[str, str]) -> Page:
    tab = judge.tab(page.user, cookies)
    tab.set_viewport_size(DESK)
    answer = tab.goto(page.address)
    assert answer is not None
    assert answer.status == 200, page.address
    if page.address == "/safety":  # its figures are derived first; the page loads itself again
        tab.locator(".stack.safety, .callout.danger").first.wait_for(timeout=120_000)
    return tab
