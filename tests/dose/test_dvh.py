"""Dose-volume histograms: exact on simple maps, weights, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.dose.dvh import dose_at_volume, dose_volume_histogram, volume_at_dose
from lutetia.errors import PhysicsError

GRID = axis_aligned_grid((1, 10, 10), (10.0, 10.0, 10.0))


def ramp() -> Volume:
    return Volume(np.arange(1.0, 101.0, dtype=np.float32).reshape(GRID.shape), GRID, "Gy")


def whole() -> RegionMask:
    return RegionMask("liver", np.ones(GRID.shape, dtype=bool), GRID)


def test_numbers_of_a_ramp_are_its_ranks() -> None:
    found = dose_volume_histogram(ramp(), whole())
    assert (found.D98_Gy, found.D50_Gy, found.D2_Gy) == (3.0, 51.0, 99.0)
    assert (found.minimum_Gy, found.maximum_Gy, found.mean_Gy) == (1.0, 100.0, 50.5)
    assert found.volume_mL == pytest.approx(100.0)
    assert found.unit == "Gy"


def test_the_curve_falls_from_all_to_the_hottest_voxel() -> None:
    found = dose_volume_histogram(ramp(), whole(), bins=101)
    assert found.volume_fraction[0] == 1.0
    assert found.volume_fraction[-1] == pytest.approx(0.01)
    assert (np.diff(found.volume_fraction) <= 0).all()
    for dose, fraction in zip(found.dose_Gy, found.volume_fraction, strict=True):
        assert fraction == pytest.approx(float((ramp().values >= dose).mean()))


def test_the_area_under_the_curve_is_the_mean_dose() -> None:
    found = dose_volume_histogram(ramp(), whole(), bins=20_001)
    area = float(np.trapezoid(found.volume_fraction, found.dose_Gy))
    assert area == pytest.approx(found.mean_Gy, rel=1e-3)


def test_a_uniform_region_has_one_dose() -> None:
    uniform = Volume(np.full(GRID.shape, 7.5, dtype=np.float32), GRID, "Gy_per_h")
    found = dose_volume_histogram(uniform, whole())
    assert found.D98_Gy == found.D50_Gy == found.D2_Gy == found.mean_Gy == 7.5
    assert found.unit == "Gy/h"


def test_partly_filled_voxels_count_with_their_share() -> None:
    fill = np.zeros(GRID.shape, dtype=np.float32)
    fill[0, 0, 0], fill[0, 9, 9] = 0.25, 0.75
    found = dose_volume_histogram(ramp(), RegionMask("spleen", fill, GRID))
    assert found.mean_Gy == pytest.approx(0.25 * 1 + 0.75 * 100)
    assert found.D50_Gy == 100.0
    assert found.D98_Gy == 1.0
    assert found.volume_mL == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_dose_at_volume_and_volume_at_dose_are_each_others_inverse(doses: list[float], fraction: float) -> None:
    dose = dose_at_volume(doses, fraction)
    assert dose in np.asarray(doses)
    assert volume_at_dose(doses, dose) >= fraction - 1e-9
    higher = [d for d in doses if d > dose]
    if higher:
        assert volume_at_dose(doses, min(higher)) < fraction + 1e-9


def test_a_region_below_the_resolution_brings_a_doubt() -> None:
    assert not dose_volume_histogram(ramp(), whole(), resolution_mm=10.0).doubts
    small = np.zeros(GRID.shape, dtype=bool)
    small[0, 4, 4] = True
    doubts = dose_volume_histogram(ramp(), RegionMask("tumour 1", small, GRID), resolution_mm=10.0).doubts
    assert doubts[0].code == "dvh-smaller-than-resolution"
    assert "12 mm" in doubts[0].message


def test_bad_input_is_refused() -> None:
    with pytest.raises(PhysicsError, match="no volume"):
        dose_volume_histogram(ramp(), RegionMask("liver", np.zeros(GRID.shape, dtype=bool), GRID))
    with pytest.raises(PhysicsError, match="found a map in HU"):
        dose_volume_histogram(Volume(ramp().values, GRID, "HU"), whole())
    other = axis_aligned_grid(GRID.shape, (10.0, 10.0, 11.0))
    with pytest.raises(PhysicsError, match="another grid"):
        dose_volume_histogram(ramp(), RegionMask("liver", np.ones(GRID.shape, dtype=bool), other))
    with pytest.raises(PhysicsError, match="not a number"):
        dose_volume_histogram(Volume(ramp().values * np.nan, GRID, "Gy"), whole())
    with pytest.raises(PhysicsError, match="fraction"):
        dose_at_volume([1.0], 0.0)
    with pytest.raises(PhysicsError, match="bins"):
        dose_volume_histogram(ramp(), whole(), bins=1)
