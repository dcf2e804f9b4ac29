"""What adverse events, transfusions and laboratory values of a trial's records do to the next cycle."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import COORDINATOR, SUBJECT, Story, make_story

from lutetia.protocol.toxicity import Assessment
from lutetia.trial.records import SYSTEM, Change, Create
from lutetia.workflow.cycles import toxicity_of
from lutetia.workflow.laboratory import EnterLabs, LabEntry, enter_labs
from lutetia.workflow.laboratory_reading import graded_values
from lutetia.workflow.toxicity_records import toxicity_events, transfusions

FIRST, SECOND = datetime(2026, 1, 12, 10, 30, tzinfo=UTC), datetime(2026, 3, 9, 10, 30, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = make_story(tmp_path)
    yield made
    made.trial.close()


def infusion(story: Story, cycle: int, start: datetime) -> None:
    """A cycle that was given, with its administration."""
    key = {"subject_id": SUBJECT, "cycle": cycle}
    amounts = {"nuclide": "Lu-177", "administered_MBq": 3700.0, "prescribed_MBq": 3700.0}
    edits = [Create("cycles", {**key, "planned_on": start.date().isoformat(), "state": "DOSED"}),
             Create("administrations", {**key, **amounts, "started_at": start.isoformat()})]  # fmt: skip
    story.trial.commit(Change("prepare", edits), SYSTEM)


def adverse(story: Story, term: str, grade: int, start: str, end: str | None, **more: Any) -> None:
    row = {"subject_id": SUBJECT, "ae_id": "001", "seq": 1, "term": term, "grade": grade, "started_on": start,
           "ended_on": end, "related": "probable", "serious": "no", "ongoing": "no" if end else "yes"}  # fmt: skip
    story.trial.commit(Change("prepare", [Create("adverse_events", row | more)]), SYSTEM)


def assessed(story: Story, on: datetime) -> Assessment:
    story.at(on)
    with story.trial.read() as reader:
        return toxicity_of(story.trial, reader, SUBJECT, as_of=on)


@pytest.mark.parametrize("end", ["2026-01-12", "2026-01-13", "2026-01", "2026"])
@pytest.mark.parametrize(("term", "grade", "expected"), [("Anaphylactic reaction", 4, "stop"), ("Vomiting", 3, "half"),
                                                         ("Infusion related reaction", 4, "stop")])  # fmt: skip
def test_a_reaction_on_the_day_of_the_infusion_counts_however_its_end_is_written(
    story: Story, term: str, grade: int, expected: str, end: str
) -> None:
    infusion(story, 1, FIRST)
    adverse(story, term, grade, "2026-01-12", end)
    assert assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC)).action == expected


@pytest.mark.parametrize("end", ["2026-03-09", "2026-03-11", "2026-03"])
def test_an_episode_of_the_second_infusion_halves_the_third_once(story: Story, end: str) -> None:
    infusion(story, 1, FIRST)
    infusion(story, 2, SECOND)
    adverse(story, "Vomiting", 3, "2026-03-09", end)
    found = assessed(story, datetime(2026, 5, 3, 9, tzinfo=UTC))
    assert (found.action, found.states["other"].episodes) == ("half", 1)


def test_days_are_those_of_the_site(story: Story) -> None:
    """23:30 in UTC is 0:30 of the next day in Warsaw: the event of that day belongs to that infusion."""
    late = datetime(2026, 1, 11, 23, 30, tzinfo=UTC)
    infusion(story, 1, late)
    adverse(story, "Vomiting", 3, "2026-01-12", "2026-01-12")
    assert assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC)).action == "half"
    with story.trial.read() as reader:
        (event,) = toxicity_events(reader, SUBJECT)
    day = datetime(2026, 1, 11, 23, tzinfo=UTC)
    assert (event.started_at, event.ended_at) == (day, day)
    assert event.started_until == day + timedelta(hours=24) - timedelta(microseconds=1)


def test_a_partial_start_reaches_over_its_month_but_not_beyond_its_end(story: Story) -> None:
    infusion(story, 1, FIRST)
    adverse(story, "Vomiting", 3, "2026-01", "2026-01-08")
    assert assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC)).action == "none"
    adverse(story, "Vomiting", 3, "2026-01", "2026-02", ae_id="002")
    assert assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC)).action == "half"


def test_what_ended_today_or_this_month_is_over(story: Story) -> None:
    infusion(story, 1, FIRST)
    adverse(story, "Vomiting", 3, "2026-03-01", "2026-03-08")
    adverse(story, "Nausea", 3, "2026-03-01", "2026-03", ae_id="002")
    assert assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC)).action == "half"


@pytest.mark.parametrize(
    ("term", "name"),
    [("Anemia", "anaemia"), ("Anaemia", "anaemia"), ("Platelet count decreased", "platelets"),
     ("Leucopenia", "other"), ("Creatinine increased", "renal")],
)  # fmt: skip
def test_a_laboratory_finding_entered_as_an_event_holds(story: Story, term: str, name: str) -> None:
    infusion(story, 1, FIRST)
    adverse(story, term, 4, "2026-02-20", None)
    found = assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC))
    assert (found.action, found.states[name].stage) == ("hold", "HELD")
    assert f"{term}, grade 4" in found.reasons[0]


def haemoglobin(story: Story, value: str, at: str) -> None:
    """One value, entered four hours after it was taken."""
    story.at(datetime.fromisoformat(at) + timedelta(hours=4))
    enter_labs(story.trial, COORDINATOR, EnterLabs(SUBJECT, at, [LabEntry("haemoglobin", value, "g/L", "120", "160")]))


def red_cells(story: Story, day: str) -> None:
    row = {"subject_id": SUBJECT, "kind": "transfusion_red", "started_on": day}
    story.trial.commit(Change("prepare", [Create("treatments", row)]), SYSTEM)


def test_a_transfusion_makes_the_value_before_it_grade_3_until_the_next_value(story: Story) -> None:
    infusion(story, 1, FIRST)
    haemoglobin(story, "95", "2026-02-20T08:00:00+00:00")
    assert assessed(story, datetime(2026, 2, 21, 9, tzinfo=UTC)).action == "none"
    red_cells(story, "2026-02-21")
    found = assessed(story, datetime(2026, 2, 22, 9, tzinfo=UTC))
    assert found.action == "hold"
    assert "red-cell transfusion on 2026-02-21, grade 3" in found.reasons[0]
    haemoglobin(story, "79", "2026-02-27T08:00:00+00:00")
    assert assessed(story, datetime(2026, 2, 28, 9, tzinfo=UTC)).action == "hold"
    haemoglobin(story, "105", "2026-03-06T08:00:00+00:00")
    assert assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC)).action == "half"
    with story.trial.read() as reader:
        assert [v.grade for v in graded_values(reader, SUBJECT)["haemoglobin"]] == [3, 3, 1]


@pytest.mark.parametrize(("taken", "led"), [("2026-02-20", True), ("2026-02-14", True), ("2026-02-13", False),
                                            ("2026-02-22", False)])  # fmt: skip
def test_the_value_of_the_day_or_of_seven_days_before_led_to_a_transfusion(story: Story, taken: str, led: bool) -> None:
    infusion(story, 1, FIRST)
    haemoglobin(story, "95", f"{taken}T08:00:00+00:00")
    red_cells(story, "2026-02-21")
    with story.trial.read() as reader:
        (found,) = transfusions(reader, SUBJECT)
        assert (found.value is not None) == led
        assert graded_values(reader, SUBJECT)["haemoglobin"][0].grade == (3 if led else 2)
    assert assessed(story, datetime(2026, 2, 21, 12, tzinfo=UTC)).action == "hold"


def test_a_transfusion_before_treatment_counts_only_with_a_value_and_of_other_kinds_not_at_all(story: Story) -> None:
    red_cells(story, "2026-01-04")
    row = {"subject_id": SUBJECT, "kind": "transfusion_platelet", "started_on": "2026-02-21"}
    story.trial.commit(Change("prepare", [Create("treatments", row)]), SYSTEM)
    infusion(story, 1, FIRST)
    assert assessed(story, datetime(2026, 3, 8, 9, tzinfo=UTC)).action == "none"


def test_the_grade_at_entry_knows_a_transfusion_that_is_recorded(story: Story) -> None:
    infusion(story, 1, FIRST)
    red_cells(story, "2026-02-21")
    haemoglobin(story, "95", "2026-02-20T08:00:00+00:00")
    haemoglobin(story, "105", "2026-02-27T08:00:00+00:00")
    assert [r["further"]["grade_at_entry"] for r in story.rows("labs")] == [3, 1]
