"""DICOM objects that we write, read back with pydicom alone: values, places, units and times."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import OutputError, PhysicsError, UnitError
from lutetia.imaging.writing.common import Study, WrittenSeries, new_folder
from lutetia.imaging.writing.ct import write_ct_series
from lutetia.imaging.writing.nm import write_nm
from lutetia.imaging.writing.pt import write_pt_series
from lutetia.imaging.writing.radiopharmaceutical import Radiopharmaceutical
from lutetia.imaging.writing.rtstruct import mask_contours, write_rtstruct
from lutetia.imaging.writing.seg import write_seg

START = datetime(2026, 1, 13, 9, 15)
GIVEN = Radiopharmaceutical("Lu-177", 3700.0, START - timedelta(hours=23.75))
HEAD_FIRST = axis_aligned_grid((6, 20, 24), (3.0, 2.4, 2.2), origin_mm=(-10.123, 5.0, 7.0))


def feet_first() -> Grid:
    affine = HEAD_FIRST.affine.copy()
    for axis in (0, 2):
        affine[:3, 3] += affine[:3, axis] * (HEAD_FIRST.shape[axis] - 1)
        affine[:3, axis] *= -1
    return Grid(HEAD_FIRST.shape, affine)


def oblique() -> Grid:
    from scipy.spatial.transform import Rotation

    affine = HEAD_FIRST.affine.copy()
    affine[:3, :3] = Rotation.from_rotvec([12.0, -20.0, 7.0], degrees=True).as_matrix() @ affine[:3, :3]
    return Grid(HEAD_FIRST.shape, affine)


GRIDS = {"HFS": HEAD_FIRST, "FFS": feet_first(), "oblique": oblique()}


def study(position: str = "HFS") -> Study:
    kind = "HFS" if position == "oblique" else position
    return Study("test", "VIRTUAL-1", "female", START, position=kind, weight_kg=68.0)  # type: ignore[arg-type]


def activity(grid: Grid) -> Volume:
    return Volume(np.random.default_rng(1).uniform(0.0, 2.0, grid.shape), grid, "MBq_per_mL")


def planes(files: tuple[Path, ...]) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(f) for f in files]


def place_of(dataset: pydicom.Dataset, j: float, i: float) -> np.ndarray:
    """DICOM PS3.3 C.7.6.2.1.1: position of a pixel from the attributes."""
    row, column = np.array(dataset.ImageOrientationPatient).reshape(2, 3)
    between_rows, between_columns = dataset.PixelSpacing
    return np.array(dataset.ImagePositionPatient) + row * between_columns * i + column * between_rows * j


@pytest.mark.parametrize("position", GRIDS)
def test_ct_slices_hold_hounsfield_units_at_the_places_of_the_grid(position: str, tmp_path: Path) -> None:
    grid = GRIDS[position]
    values = np.random.default_rng(2).integers(-1000, 1500, grid.shape).astype(np.float32)
    series = write_ct_series(Volume(values, grid, "HU"), tmp_path / "ct", study(position), acquired_at=START)
    for k, dataset in enumerate(planes(series.files)):
        found = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(found, values[k])
        np.testing.assert_allclose(place_of(dataset, 3, 5), grid.position_mm((k, 3.0, 5.0)), atol=1e-3)
        assert dataset.PatientPosition == study(position).position


@pytest.mark.parametrize("position", GRIDS)
def test_pt_slices_hold_becquerel_per_millilitre(position: str, tmp_path: Path) -> None:
    volume = activity(GRIDS[position])
    series = write_pt_series(
        volume, tmp_path / "pt", study(position), given=GIVEN, acquired_at=START, duration_s=1800.0
    )
    for k, dataset in enumerate(planes(series.files)):
        assert dataset.Units == "BQML"
        found = dataset.pixel_array * float(dataset.RescaleSlope) * 1e-6
        np.testing.assert_allclose(found, volume.values[k], atol=2e-5)
        np.testing.assert_allclose(place_of(dataset, 3, 5), volume.grid.position_mm((k, 3.0, 5.0)), atol=1e-3)


@pytest.mark.parametrize(("state", "elapsed_h"), [("NONE", 0.0), ("START", 0.25), ("ADMIN", 24.0)])
def test_pt_decay_correction_is_written_to_the_reference_time(state: str, elapsed_h: float, tmp_path: Path) -> None:
    volume = activity(HEAD_FIRST)
    series = write_pt_series(
        volume, tmp_path / "pt", study(), given=GIVEN, acquired_at=START, duration_s=1800.0,
        decay_correction=state,  # type: ignore[arg-type]
    )  # fmt: skip
    dataset = planes(series.files)[2]
    factor = 2.0 ** (elapsed_h / 159.528)
    found = dataset.pixel_array * float(dataset.RescaleSlope) * 1e-6
    np.testing.assert_allclose(found, volume.values[2] * factor, atol=3e-5)
    assert dataset.DecayCorrection == state
    assert ("DECY" in dataset.CorrectedImage) == (state != "NONE")
    assert (dataset.AcquisitionDate, dataset.AcquisitionTime) == ("20260113", "091500.000")
    assert dataset.ActualFrameDuration == 1_800_000
    item = dataset.RadiopharmaceuticalInformationSequence[0]
    assert item.RadiopharmaceuticalStartDateTime == "20260112093000"
    assert float(item.RadionuclideHalfLife) == pytest.approx(159.528 * 3600)
    if state != "NONE":
        assert float(dataset.DecayFactor) == pytest.approx(factor)


@pytest.mark.parametrize("position", GRIDS)
def test_nm_counts_are_stored_as_they_are_and_stacked_along_the_normal(position: str, tmp_path: Path) -> None:
    grid = GRIDS[position]
    counts = Volume(np.random.default_rng(3).integers(0, 4000, grid.shape), grid, "counts")
    write_nm(counts, tmp_path / "nm.dcm", study(position), given=GIVEN, acquired_at=START, duration_s=1800.0)
    dataset = pydicom.dcmread(tmp_path / "nm.dcm")
    np.testing.assert_array_equal(dataset.pixel_array, counts.values)
    detector = dataset.DetectorInformationSequence[0]
    row, column = np.array(detector.ImageOrientationPatient).reshape(2, 3)
    along = np.cross(row, column) * float(dataset.SpacingBetweenSlices)
    last = np.array(detector.ImagePositionPatient) + along * (dataset.NumberOfFrames - 1)
    np.testing.assert_allclose(last, grid.position_mm((grid.shape[0] - 1.0, 0.0, 0.0)), atol=1e-3)
    rotation = dataset.RotationInformationSequence[0]
    assert rotation.ActualFrameDuration * rotation.NumberOfFramesInRotation == 1_800_000


def test_nm_slices_against_the_normal_get_a_negative_spacing(tmp_path: Path) -> None:
    affine = HEAD_FIRST.affine.copy()
    affine[:3, 0] *= -1
    volume = Volume(np.ones(HEAD_FIRST.shape), Grid(HEAD_FIRST.shape, affine), "counts")
    write_nm(volume, tmp_path / "nm.dcm", study(), given=GIVEN, acquired_at=START, duration_s=600.0)
    assert float(pydicom.dcmread(tmp_path / "nm.dcm").SpacingBetweenSlices) == -3.0


def test_nm_in_concentration_has_a_real_world_value_map(tmp_path: Path) -> None:
    volume = activity(HEAD_FIRST)
    write_nm(volume, tmp_path / "nm.dcm", study(), given=GIVEN, acquired_at=START, duration_s=1800.0)
    dataset = pydicom.dcmread(tmp_path / "nm.dcm")
    mapping = dataset.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "Bq/ml"
    np.testing.assert_allclose(dataset.pixel_array * mapping.RealWorldValueSlope * 1e-6, volume.values, atol=3e-5)


def masks_on(series: WrittenSeries) -> list[RegionMask]:
    outer, inner = np.zeros(series.grid.shape, dtype=bool), np.zeros(series.grid.shape, dtype=bool)
    outer[1:5, 4:15, 4:18] = True
    inner[2:4, 8:11, 8:12] = True
    return [
        RegionMask("liver", outer & ~inner, series.grid),
        RegionMask("tumour 1", inner, series.grid),
    ]


def ct_series(tmp_path: Path, position: str = "HFS") -> WrittenSeries:
    volume = Volume(np.zeros(GRIDS[position].shape), GRIDS[position], "HU")
    return write_ct_series(volume, tmp_path / "ct", study(position), acquired_at=START)


@pytest.mark.parametrize("position", GRIDS)
def test_seg_segments_are_the_masks(position: str, tmp_path: Path) -> None:
    series = ct_series(tmp_path, position)
    write_seg(masks_on(series), tmp_path / "seg.dcm", series, drawn_at=START)
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    for number, mask in enumerate(masks_on(series), start=1):
        assert segmentation.get_segment_description(number).segment_label == mask.region
        frames = segmentation.get_pixels_by_source_instance(
            list(series.instance_uids), segment_numbers=[number], ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )  # fmt: skip
        np.testing.assert_array_equal(frames[..., 0] > 0, mask.mask)


def encloses(ring: np.ndarray, j: np.ndarray, i: np.ndarray) -> np.ndarray:
    """Even–odd rule: whether points lie inside a ring of (row, column) vertices, by the edges crossed along the row."""
    found = np.zeros(j.shape, dtype=bool)
    for (j1, i1), (j2, i2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if j1 != j2:
            found ^= ((j1 > j) != (j2 > j)) & (i < i1 + (j - j1) * (i2 - i1) / (j2 - j1))
    return found


@pytest.mark.parametrize("position", GRIDS)
def test_contours_enclose_the_mask_in_patient_space(position: str, tmp_path: Path) -> None:
    series = ct_series(tmp_path, position)
    write_rtstruct(masks_on(series), tmp_path / "rt.dcm", series, drawn_at=START)
    dataset = pydicom.dcmread(tmp_path / "rt.dcm")
    names = {r.ROINumber: r.ROIName for r in dataset.StructureSetROISequence}
    for roi, mask in zip(dataset.ROIContourSequence, masks_on(series), strict=True):
        assert names[roi.ReferencedROINumber] == mask.region
        found = np.zeros(series.grid.shape, dtype=bool)
        for contour in roi.ContourSequence:
            index = series.grid.index_of(np.array(contour.ContourData, dtype=float).reshape(-1, 3))
            k = int(np.rint(index[0, 0]))
            np.testing.assert_allclose(index[:, 0], k, atol=0.01)
            assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == series.instance_uids[k]
            j, i = np.meshgrid(*map(np.arange, series.grid.shape[1:]), indexing="ij")
            found[k] ^= encloses(index[:, 1:], j, i)
        np.testing.assert_array_equal(found, mask.mask)


def test_a_contour_with_a_hole_is_one_ring_with_the_right_area() -> None:
    plane = np.zeros((30, 30))
    plane[5:25, 5:25] = 1.0
    plane[12:18, 12:18] = 0.0
    (ring,) = mask_contours(plane)
    x, y = ring[:, 1], ring[:, 0]
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    assert area == pytest.approx(20 * 20 - 6 * 6, abs=1.5)  # corners are cut at half a pixel


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        folder = tmp_path / name
        series = ct_series(folder)
        write_seg(masks_on(series), folder / "seg.dcm", series, drawn_at=START)
        write_rtstruct(masks_on(series), folder / "rt.dcm", series, drawn_at=START)
        timing = {"given": GIVEN, "acquired_at": START, "duration_s": 900.0}
        write_nm(activity(HEAD_FIRST), folder / "nm.dcm", study(), **timing)  # type: ignore[arg-type]
        write_pt_series(activity(HEAD_FIRST), folder / "pt", study(), **timing)  # type: ignore[arg-type]
        texts.append({p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.dcm"))})
    assert texts[0] == texts[1]


def test_volumes_in_the_wrong_unit_are_refused(tmp_path: Path) -> None:
    hounsfield = Volume(np.zeros(HEAD_FIRST.shape), HEAD_FIRST, "HU")
    with pytest.raises(UnitError, match="found a volume in HU; expected MBq_per_mL"):
        write_pt_series(hounsfield, tmp_path / "pt", study(), given=GIVEN, acquired_at=START, duration_s=1.0)
    with pytest.raises(UnitError, match="expected HU"):
        write_ct_series(activity(HEAD_FIRST), tmp_path / "ct", study(), acquired_at=START)
    with pytest.raises(UnitError, match="counts or MBq_per_mL"):
        write_nm(hounsfield, tmp_path / "nm.dcm", study(), given=GIVEN, acquired_at=START, duration_s=1.0)
    assert not list(tmp_path.iterdir())


def test_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    series = ct_series(tmp_path)
    stray = RegionMask("liver", np.ones((2, 2, 2), dtype=bool), axis_aligned_grid((2, 2, 2), (1.0, 1.0, 1.0)))
    for write in (write_seg, write_rtstruct):
        with pytest.raises(PhysicsError, match="another grid"):
            write([stray], tmp_path / "x.dcm", series, drawn_at=START)


def test_only_virtual_identifiers_are_written() -> None:
    with pytest.raises(OutputError, match="VIRTUAL"):
        Study("k", "Kowalska", "female", START)


def test_a_failed_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "case") as beside:
            (beside / "half.txt").write_text("half", encoding="utf-8")
            raise ValueError("disk")

    with pytest.raises(ValueError, match="disk"):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_folder_with_content_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="expected a new or empty folder"), new_folder(tmp_path):
        pass
    assert (tmp_path / "keep.txt").read_text(encoding="utf-8") == "mine"
