"""A subject through two cycles: plan, laboratory, proposal, two signatures, administration, doses, next proposal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.workflow.treated_trial import PHYSICIST, SUBJECT, Story, make_story

from lutetia.trial import audit
from lutetia.workflow.proposal import WhatIf, what_if

FIRST, SECOND_DAY = datetime(2026, 1, 12, 8, 30, tzinfo=UTC), datetime(2026, 3, 9, 8, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    made = make_story(tmp_path_factory.mktemp("story"))
    made.whole_cycle(FIRST)
    made.whole_cycle(SECOND_DAY)
    yield made
    made.trial.close()


def test_two_cycles_are_given_and_dosed(story: Story) -> None:
    assert [c["state"] for c in story.rows("cycles")] == ["DOSED", "DOSED"]
    assert story.row("subjects", subject_id=SUBJECT)["state"] == "ON_TREATMENT"
    assert {r["state"] for r in story.rows("prescriptions")} == {"ADMINISTERED"}
    assert {r["state"] for r in story.rows("product_batches")} == {"OPEN"}


def test_the_first_cycle_gets_base_and_the_second_what_the_doses_allow(story: Story) -> None:
    first, second = ({r["nuclide"]: r for r in story.rows("prescriptions", cycle=n)} for n in (1, 2))
    assert {n: r["prescribed_MBq"] for n, r in first.items()} == {"Lu-177": 3700.0, "Y-90": 3700.0}
    assert second["Lu-177"]["category"] == "fixed"
    assert second["Y-90"]["prescribed_MBq"] != 3700.0
    assert second["Y-90"]["bound_by"] in ("kidneys", "marrow", "cap", "step")


def test_doses_are_stored_by_cycle_and_summed(story: Story) -> None:
    kidneys = {r["cycle"]: r for r in story.rows("doses", region="kidneys", scope="cycle", nuclide="total")}
    total = story.row("doses", region="kidneys", scope="cumulative", cycle=2)
    assert total["absorbed_dose_Gy"] == pytest.approx(sum(r["absorbed_dose_Gy"] for r in kidneys.values()))
    assert {r["method"] for r in story.rows("doses", region="red marrow")} == {"blood"}
    assert kidneys[1]["bed_Gy"] > kidneys[1]["absorbed_dose_Gy"]


@pytest.mark.requirement(38)
def test_each_dose_says_inputs_program_parameters_and_seed(story: Story) -> None:
    for cycle in (1, 2):
        result = story.row("results", cycle=cycle)
        assert len(result["inputs_sha256"]) == 64
        assert result["software"].startswith("lutetia ")
        assert (result["seed"], result["draws"]) == (1, 120)
        stored = json.loads(story.trial.files.get(result["result_sha256"]))
        assert stored["inputs_sha256"] == result["inputs_sha256"]
        assert {r["result_sha256"] for r in story.rows("doses", cycle=cycle)} == {result["result_sha256"]}


def test_the_trail_of_the_whole_story_verifies(story: Story) -> None:
    with story.trial.read() as reader:
        audit.verify(reader)


def test_what_if_answers_for_a_given_version(story: Story) -> None:
    rows = what_if(story.trial, PHYSICIST, WhatIf(SUBJECT, 2, {"Lu-177": 3700.0, "Y-90": 1850.0}, version=1))
    more = what_if(story.trial, PHYSICIST, WhatIf(SUBJECT, 2, {"Lu-177": 3700.0, "Y-90": 5550.0}, version=1))
    for low, high in zip(rows, more, strict=True):
        assert low["predicted_after_cycle_Gy"] < high["predicted_after_cycle_Gy"]
        assert low["probability_over_end_of_course"] <= high["probability_over_end_of_course"]


def test_a_cycle_runs_alike_on_each_database(tmp_path: Path, database: str | None, story: Story) -> None:
    made = make_story(tmp_path, url=database)
    made.whole_cycle(FIRST)
    assert made.cycle()["state"] == "DOSED"
    key = {"region": "kidneys", "scope": "cycle", "nuclide": "total", "cycle": 1}
    assert made.row("doses", **key)["absorbed_dose_Gy"] == story.row("doses", **key)["absorbed_dose_Gy"]
    assert made.row("results")["result_sha256"] == story.row("results", cycle=1)["result_sha256"]
    with made.trial.read() as reader:
        audit.verify(reader)
    made.trial.close()
