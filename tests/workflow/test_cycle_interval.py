"""The day of the next cycle and the protocol's interval of eight weeks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.workflow.treated_trial import COORDINATOR, SUBJECT, Story, make_story

from lutetia.errors import ReasonRequiredError
from lutetia.workflow.course_records import cycle_window
from lutetia.workflow.cycles import MoveCycle, PlanCycle, move_cycle, plan_cycle


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Story]:
    """Cycle 1 was given on 2026-01-05; cycle 2 is due from 2026-02-23 to 2026-03-09."""
    made = make_story(tmp_path)
    made.whole_cycle(datetime(2026, 1, 5, 8, 30, tzinfo=UTC), doses=False)
    yield made
    made.trial.close()


def test_a_day_outside_of_the_interval_is_refused_without_a_reason_and_says_window_and_distance(given: Story) -> None:
    before = given.trial.head().head
    expected = (
        r"reason: planned 1 day after cycle 1 \(given on 2026-01-05\), 48 days too early; "
        r"expected 2026-02-23 to 2026-03-09 \(8 weeks\)"
    )
    with pytest.raises(ReasonRequiredError, match=expected):
        plan_cycle(given.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-06"))
    assert given.trial.head().head == before


@pytest.mark.parametrize(
    ("day", "severity"),
    [
        ("2026-01-06", "critical"),
        ("2026-02-01", "critical"),
        ("2026-02-02", "major"),
        ("2026-02-08", "major"),
        ("2026-02-09", "minor"),
        ("2026-02-22", "minor"),
        ("2026-02-23", None),
        ("2026-03-09", None),
        ("2026-03-23", "minor"),
        ("2026-03-24", "major"),
    ],
)
def test_the_severity_grows_with_the_distance_from_the_interval(given: Story, day: str, severity: str | None) -> None:
    plan_cycle(given.trial, COORDINATOR, PlanCycle(SUBJECT, day, "" if severity is None else "a bed is free"))
    rows = given.rows("deviations", kind="window")
    assert [r["severity"] for r in rows] == ([] if severity is None else [severity])
    assert all(r["description"].endswith("; a bed is free") for r in rows)


def test_a_window_never_begins_before_the_day_after_the_previous_infusion(given: Story) -> None:
    plan_cycle(given.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-06", "a bed is free"))
    assert given.row("visits", visit="cycle 2")["window_from_on"] == "2026-01-06"
    move_cycle(given.trial, COORDINATOR, MoveCycle(SUBJECT, 2, "2026-01-09", "no bed"))
    assert given.row("visits", visit="cycle 2")["window_from_on"] == "2026-01-06"
    with given.trial.read() as reader:
        assert cycle_window(reader, given.cycle(2)) == ("2026-01-06", "2026-01-16")
        assert cycle_window(reader, given.cycle(1))[0] < "2026-01-05"
