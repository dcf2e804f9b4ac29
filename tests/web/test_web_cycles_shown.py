"""What a cycle's page says about its doses: where they come from, how sure they are, which pictures are absent."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from tests.web.cycle_browsing import Site, cycle_path, web_story
from tests.workflow.treated_trial import SUBJECT, Story

from lutetia.trial import SYSTEM, Change, Update

GIVEN = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = web_story(tmp_path_factory.mktemp("shown"))
    made.whole_cycle(GIVEN)
    yield made
    made.trial.close()


@pytest.fixture
def page(story: Story) -> Iterator[str]:
    """The page of cycle 1 as a physician reads it, in plain words."""
    site = Site(story)
    yield words(site.of("ines").get(cycle_path(1)).text)
    site.close()


def words(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def test_each_nuclide_says_whether_its_doses_were_measured_or_predicted_and_from_what(page: str) -> None:
    assert "177 Lu measured" in page or "¹⁷⁷Lu measured" in page
    assert "predicted from ¹⁷⁷Lu" in page
    assert "entered" not in page


def test_every_predicted_dose_has_its_interval_in_numbers(page: str) -> None:
    found = re.findall(r"95 %: ([\d.]+)–([\d.]+) Gy after this cycle, ([\d.]+)–([\d.]+) Gy at the end", page)
    assert len(found) >= 2
    assert all(float(low) < float(high) for row in found for low, high in (row[:2], row[2:]))


def test_doses_that_were_entered_are_not_called_measured(story: Story) -> None:
    rows = story.rows("doses", subject_id=SUBJECT, cycle=1, scope="cycle", nuclide="Y-90")
    edits = [Update("doses", r["record_id"], {"basis": "measured", "further": r["further"] | {"basis": "entered"}})
             for r in rows]  # fmt: skip
    story.trial.commit(Change("entered", edits), SYSTEM, "as a case with a table of doses")
    site = Site(story)
    assert "⁹⁰Y entered as a result" in words(site.of("ines").get(cycle_path(1)).text)
    site.close()


def test_the_reason_why_a_picture_is_absent_stands_on_the_page(story: Story, page: str) -> None:
    assert "Not every image could be made" not in page
    row = story.row("results", subject_id=SUBJECT, cycle=1, state="CURRENT")
    why = "dose maps: found 99 voxels; expected at most 10; none was made"
    edit = Update("results", row["record_id"], {"summary": row["summary"] | {"pictures_absent": [why]}})
    story.trial.commit(Change("too large", [edit]), SYSTEM, "as the worker writes it")
    site = Site(story)
    shown = words(site.of("ines").get(cycle_path(1)).text)
    assert "Not every image could be made; the doses are not affected." in shown
    assert why in shown
    site.close()
