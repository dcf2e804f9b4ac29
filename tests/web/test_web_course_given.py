"""The course page before the first infusion, and once a cycle was given whose doses are still to come."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.web.cycle_browsing import SUBJECT_PATH, Site, cycle_path, web_story
from tests.web.test_web_cycles_next import FIRST


def test_before_the_first_infusion_nothing_is_given_and_then_the_physicist_is_led_to_the_import(tmp_path: Path) -> None:
    story = web_story(tmp_path)
    story.at(FIRST - timedelta(hours=20))
    site = Site(story)
    before = site.of("phil").get(SUBJECT_PATH).text
    assert "given so far nothing given yet" in before
    assert "not evaluable" not in before
    link = f'href="{cycle_path(1)}/dosimetry"'
    assert link not in before
    story.whole_cycle(FIRST, doses=False)
    after = site.of("phil").get(SUBJECT_PATH).text
    assert link in after
    assert "nothing given yet" not in after
    assert link not in site.of("cora").get(SUBJECT_PATH).text
    site.close()
    story.trial.close()
