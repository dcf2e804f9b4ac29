"""A real patient's anatomy through the whole of `lutetia plan`: activities and doses against the planted truth.

Four SPECT/CT with 10 mm blur, noise, a stated resolution 10 % too small (recovery from spheres of that resolution) and
outlines shifted by 2 mm. All three planted cases: `benchmarks/validation_patient15.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.patient15 import LABELS, read_patient15

from lutetia.phantom.case import CaseOptions, write_image_case
from lutetia.plan.run import run_plan
from lutetia.validation.images import BOUNDS_PERCENT, planted_options

pytestmark = pytest.mark.shared_data
ORGANS = ("left kidney", "right kidney", "liver", "spleen")
Record = dict[str, Any]


@pytest.fixture(scope="module")
def planned(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Record]:
    """Result and truth of the case."""
    options = planted_options(CaseOptions())[0]
    assert options.stated_fwhm_mm == 0.9 * options.camera.fwhm_mm
    assert options.outline_shift_mm == (2.0, 0.0, 0.0)
    anatomy = read_patient15(shared_data / "patient15")
    folder = write_image_case(anatomy, tmp_path_factory.mktemp("patient15") / "case", options)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return run_plan(folder, draws=200, seed=1).result, truth


def by_region(record: Record) -> dict[str, Record]:
    return {row["region"]: row for row in record["cycles"][0]["regions"] if row["region"] != "red marrow"}


@pytest.mark.parametrize("region", ORGANS)
def test_the_activity_at_24_h_is_that_of_the_phantom(planned: tuple[Record, Record], region: str) -> None:
    (expected,) = (activity for _, name, activity, _ in LABELS if name == region)
    curve = by_region(planned[0])[region]["nuclides"]["Lu-177"]["curve"]
    at = min(range(len(curve["time_h"])), key=lambda n: abs(curve["time_h"][n] - 24.0))
    assert curve["time_h"][at] == pytest.approx(24.0, abs=0.01)
    assert curve["activity_MBq"][at] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("nuclide", BOUNDS_PERCENT)
@pytest.mark.parametrize("region", ["kidneys", *ORGANS])
def test_doses_are_those_of_the_phantom(planned: tuple[Record, Record], region: str, nuclide: str) -> None:
    found, true = (by_region(record)[region]["nuclides"][nuclide] for record in planned)
    assert found["absorbed_dose_Gy"] == pytest.approx(true["absorbed_dose_Gy"], rel=BOUNDS_PERCENT[nuclide] / 100)


@pytest.mark.parametrize("region", ["kidneys", *ORGANS])
def test_the_interval_of_the_dose_covers_the_truth(planned: tuple[Record, Record], region: str) -> None:
    found, true = (by_region(record)[region] for record in planned)
    low, high = found["absorbed_dose_interval_Gy"]
    assert low < true["absorbed_dose_Gy"] < high


def test_the_plan_proposes_a_second_cycle(planned: tuple[Record, Record]) -> None:
    prescription = planned[0]["prescription"]
    assert prescription["cycle"] == 2
    assert prescription["state"] in ("OK", "INFEASIBLE")
    assert planned[0]["cycles"][0]["administered_MBq"] == {"Lu-177": 3700.0, "Y-90": 3700.0}
