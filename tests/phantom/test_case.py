"""Cases with other options: positions, kinds of image, decay correction, and errors made on purpose."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask
from lutetia.imaging.ct import read_ct
from lutetia.imaging.nifti import read_nifti
from lutetia.imaging.segmentation import read_segmentation
from lutetia.imaging.spect import SpectScan, read_spect
from lutetia.phantom.anatomy import EllipsoidAnatomy
from lutetia.phantom.camera import Camera
from lutetia.phantom.case import CaseOptions, write_image_case
from lutetia.phantom.shapes import Motion
from lutetia.phantom.subject import reference_woman

ANATOMY = EllipsoidAnatomy(reference_woman())
SMALL = CaseOptions(
    times_h=(24.0, 96.0),
    drawn_on=1,
    camera=Camera(noise_gain=0.0),
    administered_MBq=(("Lu-177", 7400.0),),
    grid=axis_aligned_grid((48, 50, 64), (6.0, 6.0, 6.0), origin_mm=(-189.0, -147.0, -110.0)),
    ct_grid=axis_aligned_grid((60, 62, 86), (4.5, 4.5, 4.5), origin_mm=(-191.0, -137.0, -110.0)),
    regions=("left kidney", "liver", "spleen"),
)


def scan_of(case: Path, name: str) -> SpectScan:
    return read_spect(case / "cycle1" / name, zone=ZoneInfo("Europe/Warsaw"), nuclide="Lu-177")


def centre_mm(regions: list[RegionMask], name: str) -> np.ndarray:
    (region,) = (r for r in regions if r.region == name)
    mask = np.asarray(region.mask, dtype=np.float64)
    index = np.stack(np.meshgrid(*map(np.arange, mask.shape), indexing="ij"), axis=-1)
    return np.asarray((region.grid.position_mm(index) * mask[..., None]).sum((0, 1, 2)) / mask.sum())


@pytest.mark.parametrize(
    ("position", "segmentation"),
    [("HFS", "SEG"), ("FFS", "SEG"), ("FFS", "RTSTRUCT"), ("HFP", "RTSTRUCT"), ("FFP", "SEG")],
)
def test_every_position_puts_ct_spect_and_regions_at_the_same_place(
    position: str, segmentation: str, tmp_path: Path
) -> None:
    options = replace(SMALL, times_h=(24.0,), position=position, segmentation=segmentation)
    case = write_image_case(ANATOMY, tmp_path / "case", options)
    ct = read_ct(case / "cycle1" / "ct_024h").volume
    name = "seg.dcm" if segmentation == "SEG" else "rtstruct.dcm"
    regions = read_segmentation(case / "cycle1" / name, grid=ct.grid)
    subject = ANATOMY.subject
    for region in ("left kidney", "spleen"):
        np.testing.assert_allclose(centre_mm(regions, region), subject.organ(region).shape.centre_mm, atol=0.5)
    spect = scan_of(case, "spect_024h.dcm").volume
    hottest = spect.grid.position_mm(np.array(np.unravel_index(int(spect.values.argmax()), spect.grid.shape), float))
    tumours = [o.shape.centre_mm for o in subject.organs if o.region.startswith("tumour")]
    assert min(np.linalg.norm(hottest - np.array(t)) for t in tumours) < 8.0
    kidney = subject.organ("left kidney")
    index = np.rint(ct.grid.index_of(np.array(kidney.shape.centre_mm))).astype(int)
    block = ct.values[tuple(slice(i - 2, i + 3) for i in index)]
    assert block.mean() == pytest.approx(kidney.hounsfield, abs=4.0)


@pytest.fixture(scope="module")
def in_counts(tmp_path_factory: pytest.TempPathFactory) -> SpectScan:
    case = write_image_case(ANATOMY, tmp_path_factory.mktemp("nm") / "case", replace(SMALL, with_ct=False))
    return scan_of(case, "spect_096h.dcm")


@pytest.mark.parametrize("state", ["NONE", "START", "ADMIN"])
def test_pt_and_nm_give_the_same_activity_whatever_the_decay_correction(
    state: str, in_counts: SpectScan, tmp_path: Path
) -> None:
    options = replace(SMALL, with_ct=False, image="PT", decay_correction=state)
    quantified = scan_of(write_image_case(ANATOMY, tmp_path / "pt", options), "spect_096h")
    per_count = 1.0 / (9.4 * 1800.0 * in_counts.volume.grid.voxel_mL)
    assert quantified.mid_acquisition == in_counts.mid_acquisition
    assert quantified.decay_corrected_to == state.lower()
    expected = in_counts.volume.values * per_count  # counts are whole numbers
    np.testing.assert_allclose(quantified.volume.values, expected, atol=0.56 * per_count)


def test_a_case_of_nifti_files_states_what_the_files_do_not(in_counts: SpectScan, tmp_path: Path) -> None:
    options = replace(SMALL, image="NIfTI", segmentation="label map")
    case = write_image_case(ANATOMY, tmp_path / "case", options)
    cycle = tomllib.loads((case / "case.toml").read_text(encoding="utf-8"))["cycles"][0]
    entry, drawn = cycle["scans"][1], cycle["segmentation"][0]
    assert (entry["time_h"], entry["decay_corrected_to"], entry["unit"]) == (96.0, "none", "MBq_per_mL")
    values, grid = read_nifti(case / entry["spect"], where="scan")
    assert grid.same_as(in_counts.volume.grid)
    per_count = 1.0 / (9.4 * 1800.0 * grid.voxel_mL)
    np.testing.assert_allclose(values, in_counts.volume.values * per_count, atol=0.56 * per_count)
    regions = read_segmentation(case / drawn["file"], labels=drawn["labels"])
    for region in regions:
        assert region.volume_mL == pytest.approx(ANATOMY.subject.volume_mL(region.region), rel=0.03)
    assert {r.region for r in regions} == {"left kidney", "liver", "spleen"}


def test_subject_and_ct_move_together_between_scans(tmp_path: Path) -> None:
    moved = Motion((8.0, -6.0, 9.0), (0.0, 0.0, 4.0), (0.0, 30.0, 40.0))
    case = write_image_case(ANATOMY, tmp_path / "case", replace(SMALL, motions=(Motion(), moved)))
    spleen = np.array([*ANATOMY.subject.organ("spleen").shape.centre_mm, 1.0])
    place = (moved.matrix @ spleen)[:3]
    spect = scan_of(case, "spect_096h.dcm").volume
    index = np.stack(np.meshgrid(*map(np.arange, spect.grid.shape), indexing="ij"), axis=-1)
    near = np.linalg.norm(spect.grid.position_mm(index) - place, axis=-1) < 45.0
    weight = np.where(near, spect.values, 0.0)[..., None]
    found = (spect.grid.position_mm(index) * weight).sum((0, 1, 2)) / weight.sum()
    np.testing.assert_allclose(found, place, atol=3.0)
    ct = read_ct(case / "cycle1" / "ct_096h").volume
    block = np.rint(ct.grid.index_of(place)).astype(int)
    inside = ct.values[tuple(slice(i - 2, i + 3) for i in block)]
    assert inside.mean() == pytest.approx(50.0, abs=4.0)


def test_errors_made_on_purpose_reach_the_case_but_not_the_truth(tmp_path: Path) -> None:
    wrong = replace(SMALL, stated_fwhm_mm=9.0, outline_shift_mm=(2.0, 0.0, 0.0), with_ct=True)
    case = write_image_case(ANATOMY, tmp_path / "wrong", wrong)
    right = write_image_case(ANATOMY, tmp_path / "right", SMALL)
    stated = tomllib.loads((case / "case.toml").read_text(encoding="utf-8"))["calibration"]
    assert stated["resolution_fwhm_mm"] == 9.0
    grid = read_ct(case / "cycle1" / "ct_024h").volume.grid
    shifted, drawn = (read_segmentation(c / "cycle1" / "rtstruct.dcm", grid=grid) for c in (case, right))
    np.testing.assert_allclose(centre_mm(shifted, "liver") - centre_mm(drawn, "liver"), [2.0, 0.0, 0.0], atol=0.1)
    assert (case / "truth.json").read_text(encoding="utf-8") == (right / "truth.json").read_text(encoding="utf-8")
    assert (case / "recovery.csv").read_text(encoding="utf-8") != (right / "recovery.csv").read_text(encoding="utf-8")


def test_an_error_on_the_way_leaves_no_folder(tmp_path: Path) -> None:
    class Broken(EllipsoidAnatomy):
        def masks(self, grid: object, motion: object) -> list[RegionMask]:
            raise RuntimeError("no outlines")

    with pytest.raises(RuntimeError, match="no outlines"):
        write_image_case(Broken(reference_woman()), tmp_path / "case", SMALL)
    assert not list(tmp_path.iterdir())
