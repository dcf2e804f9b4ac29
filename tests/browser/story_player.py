"""What browser stories share: a demonstration trial served on loopback, a tab, and steps by visible words only."""

from __future__ import annotations

import io
import re
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect, sync_playwright
from tests.plan.case_files import case_data, table_cycle, write_case

from lutetia.trial import Actor, Grant, ManualClock, Trial
from lutetia.trial.randomisation_records import Factor, RandomisationSpec
from lutetia.web.app import create_app
from lutetia.web.demonstration import PASSWORD, make_demonstration, printed_accounts
from lutetia.web.settings import Settings
from lutetia.workflow.job_kinds import JOB_KINDS
from lutetia.workflow.jobs import run_next
from lutetia.workflow.randomisation import GenerateList, generate_list

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
WARSAW = ZoneInfo("Europe/Warsaw")
_AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
#: A list whose first subject at site 01 is in arm B (both nuclides).
SEED = bytes([3]) * 32
STATISTICIAN = Actor("unmasked-statistician", "Hugo Baran", (Grant("unmasked_statistician"),))


@dataclass
class Story:
    """A trial, its clock, a tab on its server, and who sits in front of it."""

    trial: Trial
    clock: ManualClock
    tab: Page
    folder: Path
    complaints: list[str] = field(default_factory=list)
    user: str = ""

    def as_person(self, user: str) -> None:
        """Sign in as somebody else."""
        self.tab.context.clear_cookies()
        self.tab.goto("/sign-in")
        self.tab.get_by_label("User name").fill(user)
        self.tab.get_by_label("Password").fill(PASSWORD)
        self.button("Sign in")
        expect(self.tab.get_by_role("link", name="My account")).to_be_visible()
        self.user = user

    def at(self, moment: datetime) -> None:
        """Time passes; everybody's session ends."""
        self.clock.moment = moment

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
        return moment.astimezone(WARSAW).strftime("%Y-%m-%dT%H:%M")

    def faults(self) -> list[str]:
        """Serious and critical findings of axe-core on the page that is shown."""
        wanted = {"resultTypes": ["violations"], "iframes": False, "runOnly": list(_AXE_TAGS)}
        violations = Axe().run(self.tab, options=wanted).response["violations"]
        return [
            f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:160]}: {v['nodes'][0].get('failureSummary', '')[:200]}"
            for v in violations
            if v["impact"] in ("serious", "critical")
        ]

    def prescribed(self, subject_id: str, cycle: int) -> dict[str, float]:
        """MBq of each nuclide as released."""
        with self.trial.read() as reader:
            rows = reader.records("prescriptions", subject_id=subject_id, cycle=cycle, state="RELEASED")
        return {row["nuclide"]: float(row["prescribed_MBq"]) for row in rows}

    def work(self) -> None:
        """The worker takes the next job."""
        job = run_next(self.trial, "story", JOB_KINDS)
        assert job is not None
        assert job["state"] == "DONE", job["error"]

    def case_zip(self, subject_id: str, cycle: int) -> bytes:
        """The case folder of a given cycle as a zip: tables of the virtual woman."""
        with self.trial.read() as reader:
            given = reader.records("administrations", subject_id=subject_id, cycle=cycle)
            subject = reader.record("subjects", {"subject_id": subject_id})
        amounts = {row["nuclide"]: row["administered_MBq"] for row in given}
        zero = datetime.fromisoformat(min(row["started_at"] for row in given))
        starts = (zero - timedelta(days=56 * (cycle - n)) for n in range(1, cycle))
        before = [{"number": n, "administered_at": start.isoformat(), "administered_MBq": amounts}
                  for n, start in enumerate(starts, start=1)]  # fmt: skip
        own = table_cycle(1, given=amounts, administered_at=zero.isoformat()) | {"number": cycle}
        person = {"id": subject_id, "sex": subject["sex"], "age_years": subject["age_years"],
                  "weight_kg": subject["weight_kg"]}  # fmt: skip
        chosen = {"name": "duonen", "arm": subject["arm"]}
        folder = write_case(self.folder / f"case-{cycle}", case_data(*before, own, subject=person, protocol=chosen))
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"case/{path.name}")
        return content.getvalue()


@contextmanager
def served(trial: Trial) -> Iterator[str]:
    """The trial's pages on a free port of this machine; ended with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(trial, settings=Settings(sign_in_tries=10_000), demonstration=printed_accounts(trial))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@contextmanager
def played(folder: Path, chromium: str) -> Iterator[Story]:
    """A new demonstration trial with a randomisation list, and a tab that collects what the browser complains about."""
    clock = ManualClock(START)
    with make_demonstration(folder / "trial", clock=clock) as trial:
        spec = RandomisationSpec("blocks", ("A", "B", "C", "D"), (1, 1, 1, 1), (Factor("site"),))
        generate_list(trial, STATISTICIAN, GenerateList(spec, seed=SEED))
        with served(trial) as address, sync_playwright() as player:
            browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900}).new_page()
            tab.set_default_timeout(10_000)
            story = Story(trial, clock, tab, folder)
            tab.on("pageerror", lambda error: story.complaints.append(str(error)))
            tab.on("console", lambda m: story.complaints.append(m.text) if "Content Security" in m.text else None)
            tab.on("response", lambda r: story.complaints.append(f"{r.status} {r.url}") if r.status >= 500 else None)
            yield story
            browser.close()
