"""Cycles that do not exist: beyond the protocol's last one, in the slice viewer, in an address typed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.web.cycle_browsing import SUBJECT_PATH, Site, cycle_path, web_story
from tests.workflow.treated_trial import SUBJECT, Story

from lutetia.trial import SYSTEM, Change, Create, Update


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = web_story(tmp_path)
    made.at(datetime(2026, 1, 12, 8, 0, tzinfo=UTC))
    yield made
    made.trial.close()


@pytest.fixture
def site(story: Story) -> Iterator[Site]:
    made = Site(story)
    yield made
    made.close()


def finished(story: Story, cycles: int) -> None:
    """Cycles that were given and measured."""
    rows = []
    for n in range(1, cycles + 1):
        key = {"subject_id": SUBJECT, "cycle": n}
        given = {"nuclide": "Lu-177", "started_at": f"2026-01-{n:02d}T09:00:00+00:00", "administered_MBq": 3700.0}
        rows += [Create("cycles", key | {"state": "DOSED", "planned_on": f"2026-01-{n:02d}"}),
                 Create("administrations", key | given)]  # fmt: skip
    story.trial.commit(Change("finished", rows), SYSTEM)


def test_after_the_last_cycle_of_the_protocol_the_page_says_so_and_offers_the_follow_up(
    story: Story, site: Site
) -> None:
    finished(story, 4)
    page = site.of("cora").get(f"{SUBJECT_PATH}/cycles/new")
    assert "The last cycle of the protocol is given" in page.text
    assert "Day of the infusion" not in page.text
    assert f'href="{SUBJECT_PATH}/follow-up"' in page.text
    assert "Plan the next cycle</a>" not in site.of("cora").get(cycle_path(4)).text
    refused = site.of("cora").post(f"{SUBJECT_PATH}/cycles/new", {"planned_on": "2026-09-01"})
    assert refused.status_code == 422
    assert len(story.rows("cycles")) == 4


def test_a_withheld_cycle_uses_up_none_of_the_planned_ones(story: Story, site: Site) -> None:
    finished(story, 4)
    story.trial.commit(Change("withheld", [Update("cycles", {"subject_id": SUBJECT, "cycle": 2},
                                                  {"state": "WITHHELD"})]), SYSTEM)  # fmt: skip
    assert "Day of the infusion" in site.of("cora").get(f"{SUBJECT_PATH}/cycles/new").text
    assert f'href="{cycle_path(5)}"' in site.of("cora").get(SUBJECT_PATH).text


def test_while_a_cycle_is_open_the_form_of_the_next_one_says_which(story: Story, site: Site) -> None:
    site.of("cora").post(f"{SUBJECT_PATH}/cycles/new", {"planned_on": "2026-01-20"})
    page = site.of("cora").get(f"{SUBJECT_PATH}/cycles/new")
    assert "cycle 1 is PLANNED; give or end it first" in page.text
    assert "Day of the infusion" not in page.text


@pytest.mark.parametrize("number", [0, -1, 7, 1000, 10**30, "one"])
def test_a_cycle_that_does_not_exist_is_not_found_on_any_page_below_it(
    story: Story, site: Site, number: int | str
) -> None:
    finished(story, 1)
    for step in ("", "/slices", f"/slices/{'0' * 64}/axial/1.png", "/what-if", "/prescription.pdf", "/dosimetry"):
        answer = site.of("phil").get(f"{SUBJECT_PATH}/cycles/{number}{step}")
        assert answer.status_code == 404, step


def test_the_viewer_tells_a_cycle_without_images_from_one_that_does_not_exist(story: Story, site: Site) -> None:
    finished(story, 1)
    assert "found no images for the viewer; import the case" in site.of("phil").get(cycle_path(1, "slices")).text
    assert "cycle 7: found none; plan it" in site.of("phil").get(cycle_path(7, "slices")).text
