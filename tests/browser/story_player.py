"""What browser stories share: a demonstration trial behind `lutetia serve`, people in their own browsers, steps.

Server, worker and DICOM node are processes of their own, as at a site; steps are taken by visible words only.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from tests.browser.at_moment import CLOCK, moment_in, write_moment
from tests.plan.case_files import MASSES, ORGANS, case_data, table_cycle, write_case

from lutetia.trial import Actor, Grant, Trial
from lutetia.trial.randomisation_records import Factor, RandomisationSpec
from lutetia.web.demonstration import PASSWORD, make_demonstration
from lutetia.workflow.randomisation import GenerateList, generate_list

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
WARSAW = ZoneInfo("Europe/Warsaw")
_AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
_COMMAND = (sys.executable, str(Path(__file__).with_name("at_moment.py")))
_WAIT_S = 240.0  # for a process that starts, and for a worker that computes on a busy machine
#: A list whose first subject at site 01 is in arm B (both nuclides).
SEED = bytes([3]) * 32
STATISTICIAN = Actor("unmasked-statistician", "Hugo Baran", (Grant("unmasked_statistician"),))


@dataclass(frozen=True)
class SharedClock:
    """The time in a file, the same for the story and the processes that it started."""

    file: Path

    def now(self) -> datetime:
        return moment_in(self.file)


@dataclass
class Story:
    """A trial, its clock, a browser for each person, and who sits in front of `tab`."""

    trial: Trial
    clock: SharedClock
    folder: Path
    browser: Browser
    address: str
    complaints: list[str] = field(default_factory=list)
    people: dict[str, Page] = field(default_factory=dict)
    user: str = ""

    @property
    def tab(self) -> Page:
        """The tab of the person who acts."""
        if self.user not in self.people:
            self.people[self.user] = self._new_tab()
        return self.people[self.user]

    def _new_tab(self) -> Page:
        context = self.browser.new_context(base_url=self.address, viewport={"width": 1440, "height": 900})
        tab = context.new_page()
        tab.set_default_timeout(20_000)
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("console", lambda m: self.complaints.append(m.text) if "Content Security" in m.text else None)
        tab.on("response", lambda r: self.complaints.append(f"{r.status} {r.url}") if r.status >= 500 else None)
        return tab

    def as_person(self, user: str) -> None:
        """Somebody else acts, in a browser that nobody shares; who was away for long signs in again."""
        self.user = user
        self.tab.goto("/")
        if self.tab.get_by_role("link", name="My account").count():
            return
        for _ in range(10):
            self.tab.goto("/sign-in")
            self.tab.get_by_label("User name").fill(user)
            self.tab.get_by_label("Password").fill(PASSWORD)
            self.button("Sign in")
            expect(
                self.tab.get_by_role("link", name="My account").or_(self.tab.get_by_role("alert")).first
            ).to_be_visible()
            if self.tab.get_by_role("link", name="My account").count():
                return
            self.tab.wait_for_timeout(3_000)  # too many signed in within a minute
        raise AssertionError(f"{user} cannot sign in: {self.tab.get_by_role('main').inner_text()}")

    def at(self, moment: datetime) -> None:
        """Time passes for everybody; sessions end by the pause."""
        write_moment(self.clock.file, moment)

    def link(self, name: str, *, within: Locator | None = None) -> None:
        (within or self.tab).get_by_role("link", name=name, exact=True).first.click()

    def button(self, name: str) -> None:
        self.tab.get_by_role("button", name=name, exact=True).first.click()

    def fill(self, label: str, text: str, *, within: Locator | None = None) -> None:
        """Type into the field with this label, with or without the word "optional" behind it."""
        pattern = re.compile(rf"^\s*{re.escape(label)}(\s+\(?optional\)?)?\s*$")
        (within or self.tab).get_by_label(pattern).first.fill(text)

    def choose(self, label: str, words: str, *, within: Locator | None = None) -> None:
        pattern = re.compile(rf"^\s*{re.escape(label)}(\s+\(?optional\)?)?\s*$")
        (within or self.tab).get_by_label(pattern).first.select_option(label=words)

    def tick(self, question: str, answer: str) -> None:
        self.tab.get_by_role("group", name=question, exact=True).get_by_label(answer, exact=True).check()

    def sees(self, words: str) -> None:
        expect(self.tab.get_by_text(words).first).to_be_visible()

    def says(self, words: str) -> None:
        """The notice of the page."""
        expect(self.tab.get_by_role("status").first).to_have_text(words)

    def sign(self) -> None:
        """Fill in the signature; the first of a session needs the account name too."""
        asked = self.tab.get_by_role("group", name="Signature")
        name = asked.get_by_label("User name")
        if name.count():
            name.fill(self.user)
        asked.get_by_label("Password").fill(PASSWORD)

    def local(self, moment: datetime) -> str:
        """As a field of date and time takes it."""
        return moment.astimezone(WARSAW).strftime("%Y-%m-%d %H:%M")

    def faults(self) -> list[str]:
        """Serious and critical findings of axe-core on the page that is shown."""
        wanted = {"resultTypes": ["violations"], "iframes": False, "runOnly": list(_AXE_TAGS)}
        violations = Axe().run(self.tab, options=wanted).response["violations"]
        return [
            f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:160]}: {v['nodes'][0].get('failureSummary', '')[:200]}"
            for v in violations
            if v["impact"] in ("serious", "critical")
        ]

    def waits_for(self, words: str) -> None:
        """What appears by itself, as when a worker has ended; nobody loads the page again."""
        expect(self.tab.get_by_text(words).first).to_be_visible(timeout=1000 * _WAIT_S)

    def case_zip(self, subject_id: str, cycle: int, *, kidneys: float = 1.0) -> bytes:
        """The case folder of a first cycle as a zip: tables of the virtual woman, kidneys drawn so much larger."""
        facts, given = self.recorded(subject_id, cycle)
        amounts = {row["nuclide"]: row["administered_MBq"] for row in given}
        own = table_cycle(1, given=amounts, administered_at=given[0]["started_at"])
        own["regions"]["masses_g"] = {n: MASSES[n] * (kidneys if "kidney" in n else 1.0) for n in ORGANS}
        person = {"id": subject_id} | {name: facts[name] for name in ("sex", "age_years", "weight_kg")}
        case = case_data(own, subject=person, protocol={"name": "duonen", "arm": facts["arm"]})
        folder = write_case(self.folder / f"case-{cycle}-{kidneys}", case)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"case/{path.name}")
        return content.getvalue()

    def recorded(self, subject_id: str, cycle: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What the hospital knows: the subject, and what was given, the earliest infusion first."""
        with self.trial.read() as reader:
            rows = reader.records("administrations", subject_id=subject_id, cycle=cycle)
            facts = reader.record("subjects", {"subject_id": subject_id})
        return facts, sorted(rows, key=lambda row: str(row["started_at"]))


@contextmanager
def running(folder: Path, name: str, ready: str, *words: str | Path) -> Iterator[str]:
    """A `lutetia` process on the story's clock until the block ends; gives what it says of `ready` (one group)."""
    log = folder / f"{name}.log"
    command, variables = [*_COMMAND, *map(str, words)], os.environ | {CLOCK: str(folder / "now")}
    with (
        log.open("w", encoding="utf-8") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=variables) as process,
    ):
        try:
            yield _said(process, log, ready)
        finally:
            process.terminate()
            process.wait(timeout=_WAIT_S)


def _said(process: subprocess.Popen[bytes], log: Path, ready: str) -> str:
    ends = time.monotonic() + _WAIT_S
    while time.monotonic() < ends and process.poll() is None:
        if found := re.search(ready, log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"{log.stem} did not begin: {log.read_text(encoding='utf-8')}")


@contextmanager
def played(folder: Path, chromium: str) -> Iterator[Story]:
    """A new demonstration trial with a randomisation list behind a server, with a worker, and a browser."""
    data, clock = folder / "trial", SharedClock(folder / "now")
    write_moment(clock.file, START)
    with (
        make_demonstration(data, clock=clock) as trial,
        running(folder, "serve", r"(http://\S+)/ ", "serve", "--data", data, "--demo", "--port", "0") as address,
        running(folder, "worker", "(waiting)", "worker", data, "--poll-s", "0.2"),
        sync_playwright() as player,
    ):
        spec = RandomisationSpec("blocks", ("A", "B", "C", "D"), (1, 1, 1, 1), (Factor("site"),))
        generate_list(trial, STATISTICIAN, GenerateList(spec, seed=SEED))
        expect.set_options(timeout=20_000)  # other tests may use the machine too
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield Story(trial, clock, folder, browser, address)
        browser.close()
