"""Whole courses: every arm's proposal, half activity after toxicity, the planned number of cycles, visits to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.workflow.treated_trial import COORDINATOR, PHYSICIAN, SECOND, SUBJECT, Story, make_story

from lutetia.errors import InputError, TransitionError
from lutetia.workflow.adverse_events import RecordEvent, record_event
from lutetia.workflow.cycles import AssessCycle, PlanCycle, assess_cycle, plan_cycle
from lutetia.workflow.prescription import approve_override, request_override

FIRST = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
INTERVAL = timedelta(weeks=8)


def prescribed(story: Story, cycle: int) -> dict[str, dict[str, object]]:
    return {r["nuclide"]: r for r in story.rows("prescriptions", cycle=cycle)}


@pytest.mark.parametrize(("arm", "variable"), [("A", None), ("C", "Lu-177"), ("D", "Lu-177")])
def test_each_arm_varies_its_own_nuclide_in_the_second_cycle(tmp_path: Path, arm: str, variable: str | None) -> None:
    story = make_story(tmp_path, arm=arm, draws=60)
    story.whole_cycle(FIRST, protocol={"name": "duonen", "arm": arm})
    story.at(FIRST + INTERVAL - timedelta(hours=20))
    story.assessed((FIRST + INTERVAL).date().isoformat())
    made = story.propose(2)
    rows = prescribed(story, 2)
    changed = {n for n, r in rows.items() if r["category"] in ("reduced", "increased")}
    assert changed == (set() if variable is None else {variable})
    assert made.activities_MBq == {n: r["prescribed_MBq"] for n, r in rows.items()}
    story.trial.close()


def test_after_recovered_toxicity_half_is_proposed_once_both_have_confirmed_it(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=60)
    story.whole_cycle(FIRST)
    story.at(FIRST + timedelta(weeks=4))
    story.labs(platelets="60")
    story.at(FIRST + INTERVAL - timedelta(hours=20))
    plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, (FIRST + INTERVAL).date().isoformat()))
    story.labs()
    found = assess_cycle(story.trial, COORDINATOR, AssessCycle(SUBJECT, 2))
    assert (found.state, found.action) == ("ASSESSED", "half")
    with pytest.raises(InputError, match="half activity for toxicity"):
        story.propose(2, acknowledged=())
    story.propose(2)
    rows = prescribed(story, 2)
    assert {n: r["prescribed_MBq"] for n, r in rows.items()} == {"Lu-177": 1850.0, "Y-90": 1850.0}
    assert {(r["reason"], r["bound_by"], r["category"]) for r in rows.values()} == {("toxicity", "toxicity", "reduced")}
    story.trial.close()


def test_a_related_severe_event_holds_the_next_cycle(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=60)
    story.whole_cycle(FIRST)
    story.at(FIRST + INTERVAL - timedelta(hours=20))
    values = {"started_on": "2026-02-20", "ongoing": "yes", "term": "Fatigue", "grade": 3, "serious": "no",
              "related": "probable"}  # fmt: skip
    record_event(story.trial, COORDINATOR, RecordEvent(SUBJECT, values))
    plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, (FIRST + INTERVAL).date().isoformat()))
    story.labs()
    found = assess_cycle(story.trial, COORDINATOR, AssessCycle(SUBJECT, 2))
    assert (found.state, found.action) == ("HELD", "hold")
    assert "grade 3" in " ".join(found.reasons)
    story.trial.close()


def test_the_planned_cycles_are_all_there_are_and_visits_follow_each(tmp_path: Path) -> None:
    story = make_story(tmp_path, draws=60)
    for place in range(4):
        day = FIRST + place * INTERVAL
        story.at(day - timedelta(hours=20))
        number = story.assessed(day.date().isoformat())
        made = story.propose(number)
        if made.override_needed:
            request_override(story.trial, PHYSICIAN, story.decide(number, made.version, reason="benefit"))
            approve_override(story.trial, SECOND, story.decide(number, made.version, SECOND, reason="agreed"))
        else:
            story.release(number, made.version)
        story.batches(str(number))
        story.at(day + timedelta(hours=4))
        story.give(number, made.version, suffix=str(number))
        story.at(day + timedelta(days=8))
        assert story.doses(number)["state"] == "DONE"
    with pytest.raises(TransitionError, match="all 4 planned cycles are given"):
        plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-08-24"))
    total = story.row("doses", cycle=4, region="kidneys", scope="cumulative")
    cycles = story.rows("doses", region="kidneys", scope="cycle", nuclide="total")
    assert total["absorbed_dose_Gy"] == pytest.approx(sum(r["absorbed_dose_Gy"] for r in cycles))
    assert total["absorbed_dose_Gy"] <= 23.5
    visits = {v["visit"]: v for v in story.rows("visits", cycle=4)}
    assert set(visits) == {"cycle 4", "cycle 4 week 2", "cycle 4 week 4", "cycle 4 week 6"}
    assert visits["cycle 4 week 2"]["window_from_on"] == "2026-07-06"
    assert visits["cycle 4 week 2"]["state"] == "PLANNED"
    story.labs()
    assert story.row("visits", visit="cycle 4 week 2")["state"] == "DONE"
    story.trial.close()
