"""CT in: Hounsfield units, geometry and density."""

from __future__ import annotations

import numpy as np
import pytest
from tests.imaging.small_dicom import ct_series, pt_series, ramp, write

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.errors import IdentityError, ImageError, UnitError
from lutetia.imaging.ct import density, read_ct


def test_a_shuffled_series_gives_hounsfield_units_in_place(tmp_path):
    hounsfield = ramp() * 4 - 1000
    scan = read_ct(write(tmp_path, ct_series(hounsfield)))
    np.testing.assert_allclose(scan.volume.values, hounsfield, atol=1)
    np.testing.assert_allclose(scan.volume.grid.position_mm((3, 2, 1)), [-8, -14, 42])
    assert scan.volume.unit == "HU"


def test_feet_first_prone_series_has_k_along_its_own_normal(tmp_path):
    scan = read_ct(write(tmp_path, ct_series(ramp(), orientation=np.array([1.0, 0, 0, 0, -1, 0]))))
    np.testing.assert_allclose(scan.volume.grid.affine[:3, 0], [0, 0, -4])


def test_other_units_modalities_and_mixed_patients_are_refused(tmp_path):
    with pytest.raises(UnitError, match="CT in ED; expected HU"):
        read_ct(write(tmp_path / "a", [*map(_electron_density, ct_series(ramp()))]))
    with pytest.raises(ImageError, match="modality 'PT'; expected CT"):
        read_ct(write(tmp_path / "b", pt_series(ramp())))
    objects = ct_series(ramp())
    objects[2].PatientID = "another"
    with pytest.raises(IdentityError, match=r"CT, slice \d: found another patient identity"):
        read_ct(write(tmp_path / "c", objects))


def _electron_density(data):
    data.RescaleType = "ED"
    return data


def test_density_is_air_water_and_rises_to_bone():
    grid = axis_aligned_grid((1, 1, 4), (1, 1, 1))
    ct = Volume(np.array([[[-2000, -500, 0, 1500]]], dtype=np.float32), grid, "HU")
    np.testing.assert_allclose(density(ct).values.ravel(), [0.0012, 0.5006, 1.0, 1.915], rtol=1e-6)
    with pytest.raises(UnitError, match="expected HU"):
        density(density(ct))
