"""Times on pages are those of the site: what is typed there, what is shown there, and what a file from there means."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from tests.web.browsing import START, Browser, person
from tests.web.subject_trial import browsers, make_trial

from lutetia.trial import SYSTEM, Change, ManualClock, Trial, Update

SUBJECT = "/subjects/DUO-02-001"


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with make_trial(tmp_path_factory.mktemp("zones") / "trial", ManualClock(START)) as made:
        place = Update("sites", {"site": "02"}, {"timezone": "Europe/Lisbon"})
        made.commit(Change("move", [place]), SYSTEM, "an hour behind Warsaw")
        yield made


@pytest.mark.requirement(8)
def test_a_time_typed_at_a_site_is_that_of_the_site_as_in_its_files(trial: Trial) -> None:
    with browsers(trial) as of:
        browser = of(person("coordinator", "02"))
        page = browser.get(f"{SUBJECT}/laboratory/entry").text
        assert "Europe/Lisbon" in page
        assert "Europe/Warsaw" not in page
        fields = {"taken_at": "2026-03-01T08:00", "value_platelets": "144", "unit_platelets": "10^9/L",
                  "lln_platelets": "150", "uln_platelets": "400", "sample_id": "F"}  # fmt: skip
        assert browser.post(f"{SUBJECT}/laboratory/entry", fields).status_code == 200
        head = "subject_id,sample_id,analyte,taken_at,value,unit,lln,uln"
        table = f"{head}\nDUO-02-001,C,platelets,2026-03-01T08:00,150,10^9/L,150,400\n"
        _import(browser, table)
        assert "2026-03-02 08:00 WET" in browser.get("/audit").text
    with trial.read() as reader:
        times = {r["sample_id"]: r["taken_at"] for r in reader.records("labs", subject_id="DUO-02-001")}
    assert times == {"F": "2026-03-01T08:00:00+00:00", "C": "2026-03-01T08:00:00+00:00"}


def test_who_works_at_all_sites_reads_a_subject_in_its_sites_time_and_lists_in_the_studys(trial: Trial) -> None:
    with browsers(trial) as of:
        browser = of(person("data_manager"))
        assert "Europe/Lisbon" in browser.get(SUBJECT).text
        assert "Europe/Warsaw" in browser.get("/subjects/DUO-01-001").text
        assert "Europe/Warsaw" in browser.get("/subjects").text
        assert "Europe/Lisbon" in of(person("monitor", "02")).get("/queries").text


def _import(browser: Browser, table: str) -> None:
    browser.get("/laboratory/import")
    page = browser.post("/laboratory/import/preview", files={"file": ("labs.csv", table.encode(), "text/csv")}).text
    fields = dict(_hidden(page))
    assert browser.post("/laboratory/import", fields).status_code == 200


def _hidden(page: str) -> list[tuple[str, str]]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    texts = re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return [(n, html.unescape(v.removeprefix("\n"))) for n, v in [*found, *texts] if n != "csrf"]
