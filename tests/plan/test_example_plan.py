"""The packaged example through `lutetia plan`: cycle 2 got what was proposed; the proposal for cycle 3 makes sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lutetia.phantom.example import SECOND_CYCLE_MBQ, write_example
from lutetia.plan.run import run_plan

Record = dict[str, Any]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example") / "case")


def test_the_second_cycle_got_what_the_first_one_proposes(example: Path) -> None:
    text = (example / "case.toml").read_text(encoding="utf-8")
    first_only = example / "first.toml"
    first_only.write_text(text[: text.rindex("[[cycles]]")], encoding="utf-8")
    prescription = run_plan(first_only, draws=1000, seed=1).result["prescription"]
    assert (prescription["cycle"], prescription["state"]) == (2, "OK")
    assert prescription["activities_MBq"] == pytest.approx(dict(SECOND_CYCLE_MBQ), abs=50.0)  # one step of the grid
    assert prescription["category"]["Y-90"] == "reduced"


def test_the_third_cycle_keeps_the_kidneys_at_their_limit_and_doses_are_true(example: Path) -> None:
    result = run_plan(example, draws=1000, seed=1).result
    prescription = result["prescription"]
    assert (prescription["cycle"], prescription["state"], prescription["bound_by"]) == (3, "OK", "kidneys")
    assert prescription["activities_MBq"]["Lu-177"] == 3700.0
    assert 1850.0 <= prescription["activities_MBq"]["Y-90"] <= 3300.0
    (kidneys,) = (limit for limit in result["limits"] if limit["id"] == "kidneys")
    assert kidneys["probability_over_end_of_course"] <= 0.5
    assert kidneys["predicted_end_of_course_Gy"] == pytest.approx(23.0, abs=0.8)
    truth = json.loads((example / "truth.json").read_text(encoding="utf-8"))
    true = {row["region"]: row["absorbed_dose_Gy"] for row in truth["cumulative"]}
    found: dict[str, Record] = {row["region"]: row for row in result["cumulative"]}
    for region in ("kidneys", "left kidney", "right kidney", "liver", "spleen"):
        assert found[region]["absorbed_dose_Gy"] == pytest.approx(true[region], rel=0.05), region
