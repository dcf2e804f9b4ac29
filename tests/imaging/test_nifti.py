"""NIfTI: RAS turned into LPS, and headers that do not place the image refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lutetia.core.geometry import Grid
from lutetia.errors import ImageError
from lutetia.imaging.nifti import grid_of, image_of, read_nifti

VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def saved(tmp_path, direction=(0, -1, 0, 1, 0, 0, 0, 0, 1)):
    image = sitk.GetImageFromArray(VALUES)
    image.SetSpacing((2.0, 3.0, 4.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    image.SetDirection(direction)
    path = tmp_path / "image.nii"
    sitk.WriteImage(image, str(path))
    return path


def patch(path, offset, fmt, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into(fmt, data, offset, *values)
    path.write_bytes(data)
    return path


def header_position(path, i, j, k):
    """RAS position from the sform rows of the file's own bytes (NIfTI-1: srow_x at byte 280)."""
    rows = np.frombuffer(path.read_bytes()[280:328], dtype="<f4").reshape(3, 4)
    return rows @ [i, j, k, 1]


@pytest.mark.parametrize(
    "direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, -1, 0, 1, 0, 0, 0, 0, 1), (-1, 0, 0, 0, 1, 0, 0, 0, -1)]
)
def test_positions_are_those_of_the_header_with_x_and_y_reversed(tmp_path, direction):
    path = saved(tmp_path, direction)
    values, grid = read_nifti(path, where="scan")
    np.testing.assert_array_equal(values, VALUES)
    expected = header_position(path, 3, 1, 1) * [-1, -1, 1]
    np.testing.assert_allclose(grid.position_mm((1, 1, 3)), expected, atol=1e-4)


def test_a_header_with_only_one_of_both_forms_is_read(tmp_path):
    expected = read_nifti(saved(tmp_path), where="scan")[1]
    for code_at in (252, 254):  # qform_code, sform_code
        _, grid = read_nifti(patch(saved(tmp_path), code_at, "<h", 0), where="scan")
        assert grid.same_as(expected, tolerance_mm=1e-3)


def test_contradictory_or_missing_orientation_and_other_units_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"scan: found a NIfTI image whose qform and sform place it 25\.0 mm apart"):
        read_nifti(patch(saved(tmp_path), 268, "<f", 24.0), where="scan")  # qoffset_x was −1
    with pytest.raises(ImageError, match="without orientation"):
        read_nifti(patch(saved(tmp_path), 252, "<hh", 0, 0), where="scan")
    with pytest.raises(ImageError, match="lengths are not in mm"):
        read_nifti(patch(saved(tmp_path), 123, "<B", 1), where="scan")


def test_grids_survive_the_way_to_the_library_and_back():
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 2.0], [0, 3.0, 0], [4.0, 0, 0]])
    grid = Grid((2, 3, 4), affine)
    assert grid_of(image_of(VALUES, grid)).same_as(grid)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_a_truncated_file_is_refused(tmp_path, name):
    sitk.WriteImage(sitk.ReadImage(str(saved(tmp_path))), str(tmp_path / name))
    path = tmp_path / name
    read_nifti(path, where="scan")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match=r"scan: found a (truncated NIfTI file|NIfTI file that cannot be read)"):
        read_nifti(path, where="scan")


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_although_the_library_reads_them_as_zero(tmp_path, name, kind, bad):
    values = VALUES.astype(kind)
    values[1, 2, 3] = bad
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    with pytest.raises(ImageError, match="scan: found values that are not a number or infinite"):
        read_nifti(path, where="scan")


def test_whole_numbers_whose_bits_would_be_no_number_as_reals_are_read(tmp_path):
    path = tmp_path / "labels.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 3, 4), -1, dtype=np.int32)), str(path))
    assert (read_nifti(path, where="labels")[0] == -1.0).all()


def test_the_other_byte_order_is_checked_too(tmp_path):
    path = saved(tmp_path)
    head, order = bytearray(path.read_bytes()[:352]), {1: "B", 2: "H", 4: "I"}
    fields = [(0, 4, 1), (32, 4, 1), (36, 2, 1), (40, 2, 8), (56, 4, 3), (68, 2, 4), (76, 4, 8), (108, 4, 3),
              (120, 2, 1), (124, 4, 4), (140, 4, 2), (252, 2, 2), (256, 4, 18)]  # fmt: skip
    for start, size, count in fields:
        numbers = struct.unpack_from(f"<{count}{order[size]}", head, start)
        struct.pack_into(f">{count}{order[size]}", head, start, *numbers)
    path.write_bytes(bytes(head) + VALUES.astype(">f4").tobytes())
    np.testing.assert_array_equal(read_nifti(path, where="scan")[0], VALUES)
    bad = VALUES.copy()
    bad[0, 0, 0] = np.nan
    path.write_bytes(bytes(head) + bad.astype(">f4").tobytes())
    with pytest.raises(ImageError, match="not a number"):
        read_nifti(path, where="scan")
