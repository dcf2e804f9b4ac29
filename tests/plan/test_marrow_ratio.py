"""The marrow-to-blood ratio that a case names: used, named in the result, and refused without haematocrit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.plan.case_files import case_data, region, table_cycle, write_case

from lutetia.errors import CaseError
from lutetia.plan.case import read_case
from lutetia.plan.run import run_plan

HEMATOCRIT = 0.4


def marrow(folder: Path, **more: Any) -> dict[str, Any]:
    """The marrow dose by blood of a case with extra keys."""
    subject = {"id": "T-1", "sex": "female", "weight_kg": 68.0, "hematocrit": HEMATOCRIT}
    case = write_case(folder, case_data(table_cycle(), subject=subject, **more))
    return region(run_plan(case, draws=100).result, "red marrow")


def test_the_ratio_of_the_case_scales_the_marrow_and_is_named(tmp_path: Path) -> None:
    absent, unity, sgouros = (
        marrow(tmp_path / "absent"),
        marrow(tmp_path / "unity", marrow={"ratio": "unity"}),
        marrow(tmp_path / "sgouros", marrow={"ratio": "sgouros"}),
    )
    assert unity == absent
    names = [part["Lu-177"]["method"] for part in (unity["nuclides"], sgouros["nuclides"])]
    assert "RMBLR = 1" in names[0]
    assert "RMBLR = 0.19/(1 − 0.4) = 0.317" in names[1]
    # Less activity in marrow: the self-dose falls by 0.19/(1 − 0.4), the rest of the dose nearly stays.
    fall = sgouros["absorbed_dose_Gy"] / unity["absorbed_dose_Gy"]
    assert 0.19 / 0.6 < fall < 0.95


def test_the_ratio_from_haematocrit_needs_one(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", case_data(table_cycle(), marrow={"ratio": "sgouros"}))
    with pytest.raises(CaseError, match=r'^case\.toml: marrow, ratio: "sgouros" needs subject, hematocrit'):
        read_case(case)


def test_another_ratio_or_key_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"marrow, ratio: .*'unity' or 'sgouros'"):
        read_case(write_case(tmp_path / "a", case_data(table_cycle(), marrow={"ratio": "blood"})))
    with pytest.raises(CaseError, match="marrow, rmblr: unknown key; known here: ratio"):
        read_case(write_case(tmp_path / "b", case_data(table_cycle(), marrow={"rmblr": 1.0})))
