"""The page of a cycle that a physician holds: who holds it and why, and the way to lift the hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.web.cycle_browsing import Site, cycle_path, web_story
from tests.workflow.treated_trial import Story

FIRST = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = web_story(tmp_path)
    made.at(FIRST - timedelta(hours=20))
    made.assessed("2026-01-12")
    yield made
    made.trial.close()


@pytest.fixture
def site(story: Story) -> Iterator[Site]:
    made = Site(story)
    yield made
    made.close()


def test_a_held_cycle_names_the_physician_and_only_a_physician_finds_the_way_to_lift_it(
    story: Story, site: Site
) -> None:
    answer = site.of("ines").post(cycle_path(1, "hold"), {"reason": "fever since yesterday"})
    assert answer.status_code in (200, 303)
    page = site.of("cora").get(cycle_path(1)).text
    assert "fever since yesterday" in page
    assert "held by a physician" in page
    assert "has held this cycle since 2026-01-11. Only a physician lifts the hold" in page
    assert f'action="{cycle_path(1, "assess")}"' not in page
    assert f'href="{cycle_path(1, "lift")}"' not in page
    refused = site.of("cora").post(cycle_path(1, "assess"))
    assert refused.status_code == 409
    assert "fever since yesterday; a physician lifts the hold" in refused.text
    assert site.of("cora").get(cycle_path(1, "lift")).status_code == 403
    assert f'href="{cycle_path(1, "lift")}"' in site.of("ines").get(cycle_path(1)).text
    assert "Lift the hold of cycle 1" in site.of("ines").get(cycle_path(1, "lift")).text
    assert "Reason: fill this in" in site.of("ines").post(cycle_path(1, "lift")).text
    assert story.cycle()["state"] == "HELD"
    assert "The hold is lifted" in site.of("ines").post(cycle_path(1, "lift"), {"reason": "well again"}).text
    assert story.cycle()["state"] == "ASSESSED"
