"""Variants of cases made of images: what must not change the doses does not, and all are near the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.plan.case_files import (
    MASSES,
    ORGANS,
    TIMES_H,
    codes,
    edit,
    image_case,
    planned,
    region,
    table,
)

from lutetia.core.geometry import axis_aligned_grid

Make = Callable[..., tuple[Path, dict[str, Any]]]
# Voxels of 7.5 mm: an outline through voxels of that size is off by some per cent of a kidney.
COARSE = 0.06


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write and plan a case once for every set of options."""
    done: dict[str, tuple[Path, dict[str, Any]]] = {}

    def once(**changes: Any) -> tuple[Path, dict[str, Any]]:
        key = repr(changes)
        if key not in done:
            case = image_case(tmp_path_factory.mktemp("images") / "case", **({"image": "PT"} | changes))
            done[key] = case, planned(case)
        return done[key]

    return once


def doses(result: dict[str, Any]) -> np.ndarray:
    return np.array([region(result, name)["absorbed_dose_Gy"] for name in (*ORGANS, "kidneys")])


def bed(result: dict[str, Any]) -> float:
    return float(region(result, "kidneys")["bed_Gy"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image": "NM"},
        {"segmentation": "SEG"},
        {"position": "FFS"},
        {"image": "NIfTI", "segmentation": "label map"},
        {"with_ct": False, "segmentation": "SEG"},
        {"image": "NM", "administered_MBq": (("Lu-177", 7400.0),), "arm": "D"},
    ],
    ids=["PT", "NM", "SEG", "feet first", "NIfTI", "without CT", "177Lu alone"],
)
def test_every_kind_of_image_gives_the_true_doses(changes: dict[str, Any], make: Make) -> None:
    case, result = make(**changes)
    truth = json.loads((case / "truth.json").read_text(encoding="utf-8"))["cycles"][0]["regions"]
    true = {row["region"]: row["absorbed_dose_Gy"] for row in truth}
    for name in (*ORGANS, "kidneys"):
        assert region(result, name)["absorbed_dose_Gy"] == pytest.approx(true[name], rel=COARSE), name
    assert region(result, "red marrow")["absorbed_dose_Gy"] == pytest.approx(true["red marrow"], rel=0.10)


@pytest.mark.parametrize("state", ["START", "ADMIN"])
def test_the_state_of_decay_correction_changes_nothing(state: str, make: Make) -> None:
    np.testing.assert_allclose(doses(make(decay_correction=state)[1]), doses(make()[1]), rtol=1e-3)


def test_a_decay_correction_that_is_overlooked_would_change_the_doses(make: Make, tmp_path: Path) -> None:
    """The test above can fail: NIfTI images declared as corrected to administration give clearly smaller doses."""
    case = image_case(tmp_path / "case", image="NIfTI", segmentation="label map")
    edit(case, 'decay_corrected_to = "none"', 'decay_corrected_to = "admin"')
    right = doses(make(image="NIfTI", segmentation="label map")[1])
    assert (doses(planned(case)) < 0.85 * right).all()


def test_seg_and_rtstruct_of_the_same_outlines_give_the_same_doses(make: Make) -> None:
    """On a CT of 3.75 mm, because a contour through the centres of large voxels is a smaller region than its voxels."""
    fine = axis_aligned_grid((80, 84, 108), (3.75, 3.75, 3.75), origin_mm=(-200.6, -155.6, -121.9))
    drawn = [make(segmentation=kind, times_h=(24.0,), ct_grid=fine)[1] for kind in ("SEG", "RTSTRUCT")]
    np.testing.assert_allclose(doses(drawn[0]), doses(drawn[1]), rtol=0.03)


def test_seg_and_label_map_give_the_same_doses(make: Make) -> None:
    seg, labels = make(segmentation="SEG")[1], make(image="NIfTI", segmentation="label map")[1]
    np.testing.assert_allclose(doses(seg), doses(labels), rtol=2e-3)


def test_feet_first_equals_head_first(make: Make) -> None:
    np.testing.assert_allclose(doses(make(position="FFS")[1]), doses(make()[1]), rtol=2e-3)


def test_counts_with_a_calibration_equal_calibrated_images(make: Make) -> None:
    counts, calibrated = make(image="NM")[1], make()[1]
    np.testing.assert_allclose(doses(counts), doses(calibrated), rtol=5e-3)
    assert bed(counts) == pytest.approx(bed(calibrated), rel=5e-3)


def test_a_calibration_uncertainty_of_zero_is_kept(tmp_path: Path, make: Make) -> None:
    case = image_case(tmp_path / "case", image="PT", calibration_sd_percent=0.0)
    result = planned(case)
    assert result["uncertainty_percent"]["calibration_percent"] == 0.0
    liver, usual = (region(r, "liver")["absorbed_dose_sd_Gy"] for r in (result, make()[1]))
    assert liver < usual


def test_images_and_tables_of_one_cycle_are_joined(tmp_path: Path, make: Make) -> None:
    """Spleen from a table, the rest from images."""
    case = image_case(tmp_path / "case", image="PT", regions=("left kidney", "right kidney", "liver"))
    (case / "cycle1" / "regions.csv").write_text(table({"spleen": TIMES_H}), encoding="utf-8")
    regions = f'[cycles.regions]\nfile = "cycle1/regions.csv"\nmasses_g = {{ spleen = {MASSES["spleen"]} }}'
    edit(case, "[cycles.blood]", f"{regions}\n\n[cycles.blood]")
    result = planned(case)
    np.testing.assert_allclose(doses(result), doses(make()[1]), rtol=COARSE)
    assert region(result, "spleen")["volume_mL"] is None
    assert region(result, "liver")["volume_mL"] > 1000.0


def test_registrations_and_their_quality_are_in_the_result(make: Make) -> None:
    found = make()[1]["cycles"][0]["registrations"]
    assert [row["scan"] for row in found] == [1, 2, 3]
    assert all(row["correlation"] is None or row["correlation"] > 0.9 for row in found)


def test_a_scan_without_ct_is_registered_by_its_activity_and_the_dose_stays(make: Make) -> None:
    without, with_ct = make(with_ct=False, segmentation="SEG")[1], make(segmentation="SEG")[1]
    np.testing.assert_allclose(doses(without), doses(with_ct), rtol=0.02)


def test_one_imaged_scan_is_a_single_time_point(make: Make) -> None:
    result = make(times_h=(24.0,))[1]
    assert "single_time_point" in codes(result)
    np.testing.assert_allclose(doses(result), doses(make()[1]), rtol=0.2)
    assert result["prescription"]["upper_MBq"]["no increase"] == 3700.0


def test_images_give_the_same_bytes_again(make: Make, tmp_path: Path) -> None:
    case, result = make()
    before = {p.name: p.read_bytes() for p in sorted((case / "out").iterdir())}
    assert planned(case) == result
    assert {p.name: p.read_bytes() for p in sorted((case / "out").iterdir())} == before
