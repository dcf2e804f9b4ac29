"""Tumour assessments: the baseline, what the lesions say, the reader's decision with its reason, and corrections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import COORDINATOR, ELSEWHERE, PHYSICIAN, SUBJECT, Story, make_story

from lutetia.errors import AccessDeniedError, DuplicateRecordError, InputError, ReasonRequiredError, StaleRecordError
from lutetia.trial import SYSTEM, Actor, Change, Create
from lutetia.workflow.follow_up import Leave, leave
from lutetia.workflow.response import LesionSize, RecordResponse, record_response, suggest_response

BASE = (LesionSize("T1", "liver", "target", 50.0), LesionSize("N1", "mesentery", "target_node", 20.0),
        LesionSize("O1", "bone", "non_target", finding="present"))  # fmt: skip


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = make_story(tmp_path)
    made.at(datetime(2026, 6, 1, 8, 0, tzinfo=UTC))
    yield made
    made.trial.close()


def assessment(day: str, response: str, *lesions: LesionSize, **more: Any) -> RecordResponse:
    progression = "yes" if response == "PD" else "no"
    return RecordResponse(SUBJECT, day, "recist_1_1", response, progression, lesions, **more)


def assess(
    story: Story, day: str, response: str, *lesions: LesionSize, actor: Actor = COORDINATOR, **more: Any
) -> None:
    record_response(story.trial, actor, assessment(day, response, *lesions, **more))


def later(t1: float, n1: float, finding: str = "present") -> tuple[LesionSize, ...]:
    return (replace(BASE[0], diameter_mm=t1), replace(BASE[1], diameter_mm=n1), replace(BASE[2], finding=finding))


def test_the_first_assessment_is_the_baseline_and_the_next_ones_are_measured_against_it(story: Story) -> None:
    found = suggest_response(story.trial, COORDINATOR, assessment("2026-01-05", "NE", *BASE))
    assert (found.category, found.sum_mm, found.derived) == ("baseline", 70.0, None)
    assess(story, "2026-01-05", "baseline", *BASE)
    assert story.rows("queries") == []
    course = (("2026-03-01", (30.0, 15.0), "PR"), ("2026-04-01", (0.0, 9.0), "PR"),
              ("2026-04-10", (0.0, 9.9, "gone"), "CR"), ("2026-05-01", (8.0, 9.0), "PD"))  # fmt: skip
    for day, sizes, expected in course:
        found = suggest_response(story.trial, COORDINATOR, assessment(day, "NE", *later(*sizes)))
        assert found.category == expected, day
        assert found.derived is not None
        assert found.derived.baseline_mm == 70.0
        assess(story, day, expected, *later(*sizes))
    row = story.row("responses", assessed_on="2026-04-10")
    assert (row["response"], row["further"]) == ("CR", {"derived": "CR", "reason": ""})
    assert story.row("lesions", assessed_on="2026-04-10", lesion="O1")["further"] == {"finding": "gone"}
    assert [d["on"] for d in story.rows("disposition", event="progressed")] == ["2026-05-01"]


def test_the_baseline_is_the_last_assessment_before_the_first_administration(story: Story) -> None:
    assess(story, "2026-01-05", "baseline", *BASE)
    given = {"subject_id": SUBJECT, "cycle": 1, "nuclide": "Lu-177", "administered_MBq": 7000.0,
             "started_at": "2026-01-20T23:30:00+00:00"}  # fmt: skip
    cycle = Create("cycles", {"subject_id": SUBJECT, "cycle": 1, "planned_on": "2026-01-20", "state": "GIVEN"})
    story.trial.commit(Change("given", [cycle, Create("administrations", given)]), SYSTEM)
    again = later(60.0, 20.0)
    found = suggest_response(story.trial, COORDINATOR, assessment("2026-01-21", "NE", *again))
    assert found.category == "baseline", "the infusion began on that day at the site"
    assess(story, "2026-01-19", "baseline", *again)
    found = suggest_response(story.trial, COORDINATOR, assessment("2026-03-01", "NE", *later(50.0, 20.0)))
    assert found.derived is not None
    assert (found.derived.baseline_mm, found.derived.nadir_mm, found.category) == (80.0, 80.0, "SD")


def test_without_an_assessment_before_treatment_nothing_is_derived(story: Story) -> None:
    story.whole_cycle(datetime(2026, 1, 12, 8, 30, tzinfo=UTC))
    story.at(datetime(2026, 6, 1, 8, 0, tzinfo=UTC))
    found = suggest_response(story.trial, COORDINATOR, assessment("2026-03-01", "SD", *BASE))
    assert (found.category, found.why) == ("", "no assessment up to the first administration on 2026-01-12")
    assess(story, "2026-03-01", "SD", *BASE)
    clinical = RecordResponse(SUBJECT, "2026-04-01", "clinical", "SD", "no")
    assert suggest_response(story.trial, COORDINATOR, clinical).category == ""
    record_response(story.trial, COORDINATOR, clinical)


def test_a_reader_decides_otherwise_with_a_reason_and_a_coordinators_entry_asks_a_physician(story: Story) -> None:
    assess(story, "2026-01-05", "baseline", *BASE)
    with pytest.raises(
        InputError, match=r"found SD, but the lesions say PD by RECIST 1\.1; correct one of them, or give"
    ):
        assess(story, "2026-03-01", "SD", *later(70.0, 20.0))
    assert story.rows("responses", assessed_on="2026-03-01") == []
    assess(story, "2026-03-01", "SD", *later(70.0, 20.0), actor=PHYSICIAN, reason="bleeding into the lesion")
    assert story.rows("queries") == []
    assess(story, "2026-04-01", "SD", *later(71.0, 20.0), reason="as the radiologist reported")
    assert "the lesions say PD by RECIST 1.1 (as the radiologist reported)" in story.row("query_messages")["text"]
    assert story.row("responses", assessed_on="2026-03-01")["further"]["reason"] == "bleeding into the lesion"


CONTRADICTIONS = {
    "progression": (assessment("2026-03-01", "PD"), "PD and progression go together"),
    "no size": (assessment("2026-03-01", "SD", replace(BASE[0], diameter_mm=None)), "T1: diameter_mm: is missing"),
    "one name twice": (assessment("2026-03-01", "SD", BASE[0], BASE[0]), "T1: stands 2 times"),
    "no such target": (assessment("2026-03-01", "SD", replace(BASE[0], lesion="T9")), "T9: found target, but at the"),
    "another kind": (assessment("2026-03-01", "SD", replace(BASE[0], kind="target_node")), "it is target; enter"),
    "new but known": (assessment("2026-03-01", "PD", replace(BASE[0], kind="new")), "T1: found new, but the baseline"),
    "finding of a target": (assessment("2026-03-01", "SD", replace(BASE[0], finding="gone")), "T1: finding: found"),
    "unknown finding": (assessment("2026-03-01", "SD", replace(BASE[2], finding="big")), "expected one of gone"),
    "future": (assessment("2026-06-03", "SD", *BASE), "in the future"),
}


@pytest.mark.requirement(31)
@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_an_assessment_that_contradicts_itself_or_the_baseline_is_refused(story: Story, name: str) -> None:
    assess(story, "2026-01-05", "baseline", *BASE)
    command, words = CONTRADICTIONS[name]
    if name == "progression":
        command = replace(command, progression="no")
    before = story.trial.head().head
    with pytest.raises(InputError, match=words):
        record_response(story.trial, COORDINATOR, command)
    assert story.trial.head().head == before


def test_a_baseline_that_does_not_fit_the_criteria_is_stored_and_asked_about(story: Story) -> None:
    assess(story, "2026-01-05", "baseline", replace(BASE[1], diameter_mm=14.0))
    assert "a target lymph node has a short axis of at least 15 mm; is it right?" in story.row("query_messages")["text"]


def test_a_stored_assessment_is_corrected_with_a_reason_in_the_version_that_was_seen(story: Story) -> None:
    assess(story, "2026-01-05", "baseline", *BASE)
    progressed = (*later(50.0, 20.0), LesionSize("X", "lung", "new"))
    assess(story, "2026-03-01", "PD", *progressed)
    with pytest.raises(DuplicateRecordError):
        assess(story, "2026-03-01", "PD", *progressed)
    right = assessment("2026-03-01", "SD", *later(50.0, 20.0), version=1)
    with pytest.raises(ReasonRequiredError):
        record_response(story.trial, COORDINATOR, right)
    record_response(story.trial, COORDINATOR, replace(right, reason="the lung lesion was a vessel"))
    assert {r["lesion"] for r in story.rows("lesions", assessed_on="2026-03-01")} == {"T1", "N1", "O1"}
    assert story.rows("disposition", event="progressed") == []
    with pytest.raises(StaleRecordError):
        record_response(story.trial, COORDINATOR, replace(right, response="PR", reason="again"))


def test_an_assessment_after_death_or_of_another_site_is_refused_and_one_before_it_is_not(story: Story) -> None:
    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-03-01", "progression"))
    with pytest.raises(InputError, match="found 2026-03-02, after the subject died on 2026-03-01"):
        assess(story, "2026-03-02", "baseline", *BASE)
    assess(story, "2026-03-01", "baseline", *BASE)
    with pytest.raises(AccessDeniedError):
        assess(story, "2026-02-01", "SD", *BASE, actor=ELSEWHERE)
