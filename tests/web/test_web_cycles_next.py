"""What a cycle's page offers as the next step, to whom, in states where the usual step would be refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.web.cycle_browsing import SUBJECT_PATH, Site, cycle_path, web_story
from tests.workflow.treated_trial import COORDINATOR, PHYSICIAN, SUBJECT, Story

from lutetia.workflow.cycles import AssessCycle, EndCycle, PlanCycle, assess_cycle, plan_cycle, withhold_cycle

FIRST = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = web_story(tmp_path)
    made.at(FIRST - timedelta(hours=20))
    yield made
    made.trial.close()


@pytest.fixture
def site(story: Story) -> Iterator[Site]:
    made = Site(story)
    yield made
    made.close()


def offered(site: Site, user: str) -> tuple[str, str]:
    """The page of cycle 1, and the words of its primary step."""
    text = site.of(user).get(cycle_path(1)).text
    aside = text[text.index('id="next-title"') :].partition("</section>")[0]
    found = re.search(r'class="button primary wide"[^>]*>([^<]*)<', aside)
    return text, found[1] if found else ""


def test_without_laboratory_values_entering_them_comes_before_the_assessment(story: Story, site: Site) -> None:
    plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-12"))
    text, step = offered(site, "cora")
    assert step == "Enter laboratory values"
    assert f'href="{SUBJECT_PATH}/laboratory/entry"' in text
    story.labs()
    assert offered(site, "cora")[1] == "Assess"


def test_a_signed_proposal_that_is_out_of_date_is_taken_back_or_rejected_not_released(story: Story, site: Site) -> None:
    story.propose(story.assessed("2026-01-12"))
    story.labs(sample="again", platelets="200")
    for user, expected in (("phil", "Take back"), ("ines", "Reject"), ("sofia", "")):
        text, step = offered(site, user)
        assert step == expected
        assert "It cannot be released any more" in text
        assert "Waits for a physician" not in text


def test_a_held_and_a_withheld_cycle_say_what_they_are_and_what_follows(story: Story, site: Site) -> None:
    number = plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-12"))
    story.labs(platelets="40")
    assess_cycle(story.trial, COORDINATOR, AssessCycle(SUBJECT, number))
    text, step = offered(site, "cora")
    assert step == "Assess"
    assert "Nothing is proposed while the cycle is held" in text
    withhold_cycle(story.trial, PHYSICIAN, EndCycle(SUBJECT, number, "patient did not come"))
    text, _ = offered(site, "cora")
    assert "Nothing was given in this cycle" in text
    assert "once the cycle is assessed" not in text
    assert "Nothing is left to do here" not in text
    assert f'href="{SUBJECT_PATH}/cycles/new"' in text


def test_a_value_below_quantification_is_shown_as_the_laboratory_reported_it(story: Story, site: Site) -> None:
    number = plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-12"))
    story.labs(bilirubin="<5")
    coordinator = site.of("cora")
    assert "&lt; 5" in re.sub(r"\.0+\b", "", coordinator.get(cycle_path(number)).text)
    assess_cycle(story.trial, COORDINATOR, AssessCycle(SUBJECT, number))
    story.propose(number)
    for page in (cycle_path(number), SUBJECT_PATH):
        text = coordinator.get(page).text
        assert re.search(r"&lt; 5(\.0+)?\b", text), page
        assert "2.5" not in re.findall(r">\s*([\d.]+) <span class=\"muted\">µmol/L", text)
