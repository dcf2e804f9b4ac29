"""RTDOSE: the right dose at the right place in every orientation, for independent readers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.errors import ImageError, PhysicsError, UnitError
from lutetia.imaging.writing.results import ResultStudy, SourceSeries, read_source
from lutetia.imaging.writing.rtdose import write_rtdose
from lutetia.phantom.case import in_position

MADE_AT = datetime(2026, 2, 1, 14, 5, 6)
STUDY = ResultStudy("plan 1", "DUO-014", "female", MADE_AT, 2)
SPECT = SourceSeries("1.2.3", "1.2.4", "1.2.840.10008.5.1.4.1.1.20", ("1.2.5",), "1.2.6")
BASE = axis_aligned_grid((7, 9, 11), (3.0, 2.4, 2.2), origin_mm=(-10.123, 5.0, 7.5))


def turned(grid: Grid, vector_deg: tuple[float, float, float]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, :3] = Rotation.from_rotvec(vector_deg, degrees=True).as_matrix() @ affine[:3, :3]
    return Grid(grid.shape, affine)


def permuted(grid: Grid) -> Grid:
    """Coronal planes: k runs along y, j along z."""
    affine = grid.affine.copy()
    affine[:3, [0, 1]] = affine[:3, [1, 0]]
    return Grid((grid.shape[1], grid.shape[0], grid.shape[2]), affine)


GRIDS = {name: in_position(BASE, name) for name in ("HFS", "FFS", "HFP", "FFP")}  # type: ignore[arg-type]
GRIDS |= {
    "oblique": turned(BASE, (12.0, -20.0, 7.0)),
    "oblique, feet first": turned(GRIDS["FFS"], (5.0, 9.0, -14.0)),
    "coronal": permuted(BASE),
}


def dose_on(grid: Grid) -> Volume:
    return Volume(np.random.default_rng(4).uniform(0.0, 48.0, grid.shape), grid, "Gy")


def written(dose: Volume, folder: Path, **changes: str) -> Path:
    label = {"label": "Y-90", "text": "kernel, density map"} | changes
    return write_rtdose(dose, folder / "rtdose.dcm", STUDY, source=SPECT, **label)  # type: ignore[arg-type]


def read_with_itk(path: Path) -> sitk.Image:
    """The dose in Gy as SimpleITK places it."""
    image = sitk.ReadImage(str(path))
    return sitk.Cast(image, sitk.sitkFloat64) * float(pydicom.dcmread(path).DoseGridScaling)


@pytest.mark.parametrize("name", GRIDS)
def test_every_voxel_is_where_the_grid_has_it(name: str, tmp_path: Path) -> None:
    dose = dose_on(GRIDS[name])
    image = read_with_itk(written(dose, tmp_path))
    scaling = float(pydicom.dcmread(tmp_path / "rtdose.dcm").DoseGridScaling)
    for index in np.ndindex(dose.grid.shape):
        place = dose.grid.position_mm(np.array(index, dtype=float))
        i, j, k = (round(x) for x in image.TransformPhysicalPointToContinuousIndex(place.tolist()))
        back = image.TransformIndexToPhysicalPoint((i, j, k))
        np.testing.assert_allclose(back, place, atol=2e-3)
        assert image[i, j, k] == pytest.approx(dose.values[index], abs=0.51 * scaling)


@pytest.mark.parametrize("name", GRIDS)
def test_a_ramp_on_coarse_voxels_is_not_shifted_against_fine_ones(name: str, tmp_path: Path) -> None:
    """Voxels of twice the size over the same box: a shift by half a voxel would change a ramp by 1.5 to 2 %."""
    fine = GRIDS[name]
    affine = fine.affine.copy()
    affine[:3, :3] *= 2.0
    affine[:3, 3] = fine.position_mm((0.5, 0.5, 0.5))
    shape = tuple((n + 1) // 2 for n in fine.shape)
    coarse = Grid(shape, affine)  # type: ignore[arg-type]
    slope = np.array([0.3, -0.2, 0.25])

    def ramp(grid: Grid) -> np.ndarray:
        index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(float)
        return np.asarray(20.0 + (grid.position_mm(index) - BASE.origin_mm) @ slope)

    image = read_with_itk(written(Volume(ramp(coarse), coarse, "Gy"), tmp_path))
    expected = ramp(fine)
    for index in np.ndindex(*(n - 2 for n in fine.shape)):
        k, j, i = (n + 1 for n in index)
        place = fine.position_mm((float(k), float(j), float(i)))
        found = image.EvaluateAtPhysicalPoint(place.tolist(), sitk.sitkLinear)
        assert found == pytest.approx(expected[k, j, i], abs=2e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_frames_rise_along_the_normal(name: str, tmp_path: Path) -> None:
    grid = GRIDS[name]
    dataset = pydicom.dcmread(written(dose_on(grid), tmp_path))
    offsets = np.array(dataset.GridFrameOffsetVector, dtype=float)
    np.testing.assert_allclose(offsets, np.arange(grid.shape[0]) * grid.spacing_mm[0], atol=1e-6)
    row, column = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3)
    first = np.array(dataset.ImagePositionPatient, dtype=float)
    last = first + offsets[-1] * np.cross(row, column)
    ends = grid.position_mm(np.array([[0.0, 0, 0], [grid.shape[0] - 1.0, 0, 0]]))
    assert min(np.abs(np.array([first, last]) - ends).max(), np.abs(np.array([last, first]) - ends).max()) < 2e-3


@pytest.mark.parametrize("largest", [1e-5, 0.37, 48.0, 65_535.0, 65_536.7, 1.234567891e6])
def test_the_largest_dose_never_wraps(largest: float, tmp_path: Path) -> None:
    values = np.linspace(0.0, largest, 7 * 9 * 11, dtype=np.float32).reshape(7, 9, 11)
    dataset = pydicom.dcmread(written(Volume(values, BASE, "Gy"), tmp_path))
    found = dataset.pixel_array * float(dataset.DoseGridScaling)
    assert dataset.PixelRepresentation == 0
    assert dataset.pixel_array.max() <= 65_535
    np.testing.assert_allclose(found, values, atol=0.51 * float(dataset.DoseGridScaling))
    assert float(dataset.DoseGridScaling) < largest / 60_000


def test_a_map_without_dose_reads_as_zeros(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(Volume(np.zeros(BASE.shape), BASE, "Gy"), tmp_path))
    assert not dataset.pixel_array.any()
    assert float(dataset.DoseGridScaling) > 0


def test_it_says_gray_refers_to_the_scan_and_names_only_the_pseudonym(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(dose_on(BASE), tmp_path))
    assert (dataset.DoseUnits, dataset.DoseType, dataset.Modality) == ("GY", "PHYSICAL", "RTDOSE")
    assert dataset.DoseComment == "Y-90: kernel, density map"
    assert dataset.FrameOfReferenceUID == "1.2.6"
    (image,) = dataset.ReferencedImageSequence
    assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (SPECT.sop_class_uid, "1.2.5")
    assert (dataset.PatientID, str(dataset.PatientName)) == ("DUO-014", "DUO-014^")
    assert (dataset.PatientIdentityRemoved, dataset.PatientBirthDate) == ("YES", "")
    assert dataset.StudyInstanceUID != SPECT.study_uid


def test_the_same_map_gives_the_same_bytes_and_each_label_its_own_object(tmp_path: Path) -> None:
    one = written(dose_on(BASE), tmp_path).read_bytes()
    assert written(dose_on(BASE), tmp_path).read_bytes() == one
    uids = {pydicom.dcmread(written(dose_on(BASE), tmp_path, label=n)).SOPInstanceUID for n in ("Y-90", "sum")}
    assert len(uids) == 2


def test_a_long_text_is_cut_to_what_dicom_holds(tmp_path: Path) -> None:
    assert len(pydicom.dcmread(written(dose_on(BASE), tmp_path, text="x" * 200)).DoseComment) == 64


def test_maps_that_are_no_dose_are_refused(tmp_path: Path) -> None:
    values = np.ones(BASE.shape, dtype=np.float32)
    with pytest.raises(UnitError, match="found a map in Gy_per_h; expected Gy"):
        written(Volume(values, BASE, "Gy_per_h"), tmp_path)
    for bad in (-0.001, np.nan, np.inf):
        wrong = values.copy()
        wrong[1, 2, 3] = bad
        with pytest.raises(PhysicsError, match="negative or infinite"):
            written(Volume(wrong, BASE, "Gy"), tmp_path)
    affine = BASE.affine.copy()
    affine[0, 0] = 0.4
    with pytest.raises(PhysicsError, match="skewed"):
        written(Volume(values, Grid(BASE.shape, affine), "Gy"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_nifti_image_cannot_be_referred_to(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"scan 1: found a NIfTI file; expected DICOM.*without --dicom"):
        read_source(tmp_path / "spect.nii.gz", where="scan 1")


@pytest.mark.parametrize("name", ["HFS", "FFP", "oblique"])
def test_the_validator_finds_no_error(name: str, tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    """The only warnings are those of a validator that is older than the summation type of maps without a plan."""
    command = [debian_tool("dciodvfy"), "-new", str(written(dose_on(GRIDS[name]), tmp_path))]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (found.stdout + found.stderr).splitlines()
    assert "RTDose" in lines
    told = [line for line in lines if line.startswith(("Error", "Warning"))]
    assert not [line for line in told if "PLAN_OVERVIEW" not in line and "PlanOverviewSequence" not in line]
    assert not [line for line in told if line.startswith("Error")]
