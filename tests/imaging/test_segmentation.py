"""Regions in: one known mask through every format, holes, slabs, names and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from tests.imaging.small_dicom import FRAME, ct_series, item, rtstruct, seg_object, write

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.errors import IdentityError, ImageError, UnknownNameError
from lutetia.imaging.contours import plane_occupancy, slab_bounds, slab_weights
from lutetia.imaging.hygiene import patient_key
from lutetia.imaging.segmentation import read_segmentation

GRID = axis_aligned_grid((6, 10, 12), (4.0, 3.0, 2.0), origin_mm=(-10.0, -20.0, 30.0))


def box(k, j, i):
    """Mask of a box of whole voxels, from ranges (start, stop) of indices."""
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return mask


def outline(k, j, i, grid: Grid = GRID):
    """Contour around the voxels [j0, j1) × [i0, i1) of slice k, in mm."""
    (j0, j1), (i0, i1) = j, i
    corners = [(k, j0 - 0.5, i0 - 0.5), (k, j0 - 0.5, i1 - 0.5), (k, j1 - 0.5, i1 - 0.5), (k, j1 - 0.5, i0 - 0.5)]
    return grid.position_mm(np.array(corners, dtype=float))


KIDNEY = ((1, 4), (2, 6), (3, 9))
MASK = box(*KIDNEY)
CONTOURS = [outline(k, *KIDNEY[1:]) for k in range(1, 4)]


def save(tmp_path, data, name="a"):
    return write(tmp_path / name, [data]) / "0000.dcm"


def test_a_known_mask_comes_back_from_rtstruct(tmp_path):
    regions = read_segmentation(save(tmp_path, rtstruct({"Kidney_L": CONTOURS})), grid=GRID, frame_of_reference=FRAME)
    assert [r.region for r in regions] == ["left kidney"]
    np.testing.assert_allclose(regions[0].mask, MASK, atol=1e-5)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("drop_empty", [True, False])
def test_a_known_mask_comes_back_from_seg(tmp_path, kind, drop_empty):
    liver = box((3, 5), (0, 2), (0, 3))
    data = seg_object({"Kidney_L": MASK, "Liver": liver}, kind=kind, drop_empty=drop_empty)
    regions = {r.region: r for r in read_segmentation(save(tmp_path, data), frame_of_reference=FRAME)}
    for name, mask in (("left kidney", MASK), ("liver", liver)):
        found = regions[name]
        assert found.volume_mL == pytest.approx(mask.sum() * 0.024)
        np.testing.assert_allclose(positions(found.mask, found.grid), positions(mask, GRID), atol=1e-3)


def positions(mask, grid):
    """Sorted positions in mm of the voxels inside."""
    return np.array(sorted(np.round(grid.position_mm(np.argwhere(np.asarray(mask) > 0.5)), 3).tolist()))


def test_fractional_seg_keeps_occupancy(tmp_path):
    half = MASK * (128 / 255)
    (region,) = read_segmentation(save(tmp_path, seg_object({"spleen": half}, kind="FRACTIONAL")))
    assert region.volume_mL == pytest.approx(half.sum() * 0.024)


def test_a_known_mask_comes_back_from_a_nifti_label_map(tmp_path):
    image = sitk.GetImageFromArray(MASK.astype(np.uint8) * 2 + box((0, 1), (0, 1), (0, 1)))
    image.SetSpacing((2.0, 3.0, 4.0))
    image.SetOrigin((-10.0, -20.0, 30.0))
    path = tmp_path / "labels.nii.gz"
    sitk.WriteImage(image, str(path))
    (region,) = read_segmentation(path, {"2": "kidney left"}, grid=GRID)
    assert region.region == "left kidney"
    assert region.grid.same_as(GRID)
    np.testing.assert_array_equal(region.mask, MASK)
    with pytest.raises(ImageError, match="label map without names"):
        read_segmentation(path)
    with pytest.raises(ImageError, match="no region '7' in the file"):
        read_segmentation(path, {"7": "liver"})
    away = axis_aligned_grid((6, 10, 12), (4.0, 3.0, 2.0), origin_mm=(500.0, 0.0, 0.0))
    with pytest.raises(ImageError, match="outside the image"):
        read_segmentation(path, {"2": "liver"}, grid=away)


def test_a_contour_in_a_contour_is_a_hole(tmp_path):
    holes = [outline(k, (3, 5), (4, 6)) for k in range(1, 4)]
    (region,) = read_segmentation(save(tmp_path, rtstruct({"liver": [*CONTOURS, *holes]})), grid=GRID)
    np.testing.assert_allclose(region.mask, MASK & ~box((1, 4), (3, 5), (4, 6)), atol=1e-5)


def test_a_keyhole_contour_is_a_hole_too():
    outer = np.array([[-0.5, -0.5], [-0.5, 7.5], [7.5, 7.5], [7.5, -0.5]])
    inner = np.array([[2.5, 2.5], [2.5, 4.5], [4.5, 4.5], [4.5, 2.5]])
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    both = plane_occupancy([outer, inner], (8, 8))
    np.testing.assert_allclose(plane_occupancy([keyhole], (8, 8)), both, atol=0.02)
    assert both.sum() == pytest.approx(60)


def test_occupancy_follows_shifts_smaller_than_a_voxel():
    contour = np.array([[1.0, 1.25], [1.0, 4.25], [3.0, 4.25], [3.0, 1.25]])
    occupancy = plane_occupancy([contour], (6, 6))
    assert occupancy.sum() == pytest.approx(6.0)
    np.testing.assert_allclose(occupancy[2], [0, 0.25, 1, 1, 0.75, 0], atol=1e-12)
    np.testing.assert_allclose(occupancy[:, 2], [0, 0.5, 1, 0.5, 0, 0], atol=1e-12)


def test_a_circle_has_its_area():
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = 12 + np.stack([9 * np.cos(angle), 9 * np.sin(angle)], axis=1)
    assert plane_occupancy([circle], (25, 25)).sum() == pytest.approx(np.pi * 81, rel=1e-3)


def test_contours_on_other_slices_than_the_grid_keep_the_volume(tmp_path):
    fine = axis_aligned_grid((24, 10, 12), (1.0, 3.0, 2.0), origin_mm=(-10.0, -20.0, 28.5))
    contours = [outline(k, *KIDNEY[1:], grid=fine) for k in range(6, 15)]
    (region,) = read_segmentation(save(tmp_path, rtstruct({"spleen": contours})), grid=GRID)
    assert region.volume_mL == pytest.approx(9 * 24 * 0.006, rel=1e-4)


def test_a_slice_left_out_inside_a_piece_is_filled_but_the_space_between_pieces_is_not():
    position = np.array([0.0, 1, 2, 4, 5])
    filled = slab_weights(slab_bounds(position, np.array([True, True, True, True])), 8)
    assert filled.sum() == pytest.approx(6.0)
    apart = slab_weights(slab_bounds(position, np.array([True, True, False, True])), 8)
    assert apart.sum() == pytest.approx(5.0)
    assert apart[:, 3].sum() == 0


def test_feet_first_grids_take_the_same_contours(tmp_path):
    affine = GRID.affine.copy()
    affine[:3, 0] *= -1
    affine[:3, 2] *= -1
    affine[:3, 3] = GRID.position_mm((5, 0, 11))
    flipped = Grid(GRID.shape, affine)
    (region,) = read_segmentation(save(tmp_path, rtstruct({"liver": CONTOURS})), grid=flipped)
    np.testing.assert_allclose(region.mask, MASK[::-1, :, ::-1], atol=1e-5)


def refuse(path, match, kind=ImageError, **facts):
    with pytest.raises(kind, match=match) as caught:
        read_segmentation(path, where="cycle 1, segmentation 1", **facts)
    assert str(caught.value).startswith(("cycle 1, segmentation 1", "the image"))
    assert "isniewska" not in str(caught.value)


def test_rtstruct_that_does_not_fit_is_refused_by_name(tmp_path):
    good = save(tmp_path, rtstruct({"Kidney_L": CONTOURS}))
    refuse(good, "expected the image that it was drawn on")
    refuse(good, "another frame of reference", grid=GRID, frame_of_reference="1.2.3")
    outside = [np.add(c, (200.0, 0, 0)) for c in CONTOURS]
    refuse(save(tmp_path, rtstruct({"liver": outside}), "b"), "liver: found 100 % of the region outside", grid=GRID)
    partly = [np.add(c, (0, 0, -8.0)) for c in CONTOURS]
    refuse(save(tmp_path, rtstruct({"liver": partly}), "c"), "found 33 % of the region outside", grid=GRID)
    refuse(save(tmp_path, rtstruct({"liver": CONTOURS}, kind="OPEN_PLANAR"), "d"), "type OPEN_PLANAR", grid=GRID)
    sagittal = [c[:, [2, 1, 0]] for c in CONTOURS]
    refuse(save(tmp_path, rtstruct({"liver": sagittal}), "e"), "not parallel to the slices", grid=GRID)
    refuse(save(tmp_path, rtstruct({"liver": [CONTOURS[0][:2]]}), "f"), "6 coordinates", grid=GRID)
    refuse(save(tmp_path, rtstruct({}), "g"), "no drawn regions", grid=GRID)
    refuse(save(tmp_path, rtstruct({"Kidney_L": CONTOURS, "L kidney": CONTOURS}), "h"), "left kidney twice", grid=GRID)


def two_frames():
    """A kidney drawn in the frame of the image and a liver drawn in another one; the object refers to both."""
    data = rtstruct({"Kidney_L": CONTOURS, "liver": CONTOURS})
    data.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"
    data.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=FRAME), item(FrameOfReferenceUID="1.2.3")]
    return data


def test_the_frame_of_reference_is_that_of_the_regions_used_not_of_any_in_the_file(tmp_path):
    facts = {"grid": GRID, "frame_of_reference": FRAME}
    path = save(tmp_path, two_frames())
    refuse(path, "another frame of reference", **facts)
    refuse(path, "another frame of reference", labels={"liver": "liver"}, **facts)
    (region,) = read_segmentation(path, {"Kidney_L": "left kidney"}, **facts)
    assert region.region == "left kidney"


def test_regions_without_a_frame_have_that_of_the_whole_object(tmp_path):
    data = two_frames()
    for roi in data.StructureSetROISequence:
        del roi.ReferencedFrameOfReferenceUID
    path = save(tmp_path, data)
    assert len(read_segmentation(path, grid=GRID, frame_of_reference="1.2.3")) == 2
    refuse(path, "another frame of reference", grid=GRID, frame_of_reference="1.2.9")


def test_unknown_names_ask_for_labels_and_never_quote_the_patient(tmp_path):
    path = save(tmp_path, rtstruct({"Wisniewska PTV": CONTOURS, "Kidney_L": CONTOURS}))
    refuse(path, r'unknown region.*give labels = \{ "name in the file"', grid=GRID)
    (region,) = read_segmentation(path, {"kidney_l": "spleen"}, grid=GRID)
    assert region.region == "spleen"
    refuse(path, "no region 'liver' in the file; it has 1", grid=GRID, labels={"liver": "liver"})
    refuse(path, "unknown region 'splin'", UnknownNameError, grid=GRID, labels={"Kidney_L": "splin"})


def test_segmentation_of_another_patient_is_refused(tmp_path):
    path = save(tmp_path, rtstruct({"liver": CONTOURS}))
    own = ct_series(np.zeros((2, 3, 3)))[0]
    read_segmentation(path, grid=GRID, patient=patient_key(own))
    own.PatientID = "somebody else"
    with pytest.raises(IdentityError, match="found another patient identity than in the image it was drawn on"):
        read_segmentation(path, grid=GRID, patient=patient_key(own))


def test_other_objects_are_no_segmentation(tmp_path):
    refuse(save(tmp_path, ct_series(np.zeros((1, 3, 3)))[0]), "modality 'CT'; expected RTSTRUCT, SEG")
    write(tmp_path / "two", [rtstruct({}), rtstruct({})])
    refuse(tmp_path / "two", "found 2 files; expected one segmentation object")
