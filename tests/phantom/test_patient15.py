"""The real anatomy as a subject: volumes, orientation, energy, and a case that the readers understand."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.support.patient15 import LABELS, Patient15, electron_kernel, photon_kernel, read_patient15

from lutetia.imaging.ct import read_ct
from lutetia.imaging.segmentation import read_segmentation
from lutetia.imaging.spect import read_spect
from lutetia.nuclear.nuclides import nuclide
from lutetia.phantom.camera import Camera
from lutetia.phantom.case import CaseOptions, write_image_case
from lutetia.phantom.shapes import STILL, Motion
from lutetia.phantom.truth import DECAYS_PER_MBQ_H, GY_G_PER_MEV

pytestmark = pytest.mark.shared_data
# Volumes by the authors of the phantom, mL.
VOLUMES = {
    "liver": 1037.0,
    "spleen": 104.0,
    "left kidney": 138.0,
    "right kidney": 168.0,
    "tumour 1": 6.3,
    "tumour 2": 3.7,
    "tumour 3": 6.1,
}


@pytest.fixture(scope="module")
def patient(shared_data: Path) -> Patient15:
    return read_patient15(shared_data / "patient15")


def test_volumes_are_those_of_the_authors(patient: Patient15) -> None:
    for region, volume in VOLUMES.items():
        assert patient.volume_mL[region] == pytest.approx(volume, rel=0.05), region


def test_it_lies_head_first_with_the_liver_on_the_right(patient: Patient15) -> None:
    centre = {}
    for n, (_, region, _, _) in enumerate(LABELS, start=1):
        centre[region] = patient.grid.position_mm(np.argwhere(patient.labels == n).mean(axis=0))
    assert centre["liver"][0] < 0 < centre["spleen"][0]
    assert centre["right kidney"][0] < 0 < centre["left kidney"][0]
    assert centre["liver"][2] > centre["left kidney"][2]
    couch = np.argwhere((patient.density > 2.5) & ~patient.body)
    assert patient.grid.position_mm(couch.mean(axis=0))[1] > centre["left kidney"][1]


def test_activities_at_24_h_are_those_of_the_authors(patient: Patient15) -> None:
    for _, region, activity, _ in LABELS:
        found = patient.biology[region].activity_MBq(24.0, "Lu-177", 3700.0)
        assert found == pytest.approx(activity)


def test_kernels_hold_the_energy(patient: Patient15) -> None:
    assert electron_kernel().sum() == pytest.approx(1.0, rel=1e-5)
    held = photon_kernel("Lu-177", 4.4, 60).sum()  # within 26 cm
    assert 0.7 * nuclide("Lu-177").photon_MeV < held < nuclide("Lu-177").photon_MeV


@pytest.mark.parametrize(("nuclide_name", "low", "high"), [("Lu-177", 1.0, 1.06), ("Y-90", 0.87, 0.99)])
def test_organ_doses_are_near_local_deposition(patient: Patient15, nuclide_name: str, low: float, high: float) -> None:
    for dose in patient.doses(nuclide_name, 3700.0):
        if dose.region in ("liver", "spleen", "left kidney", "right kidney"):
            energy = nuclide(nuclide_name).electron_MeV * DECAYS_PER_MBQ_H * GY_G_PER_MEV
            local = energy * dose.time_integrated_activity_MBq_h / dose.mass_g
            assert low < dose.absorbed_dose_Gy / local < high, dose.region


def test_activity_is_kept_on_other_grids_and_under_motion(patient: Patient15) -> None:
    grid = CaseOptions().grid
    for motion in (STILL, Motion((5.0, -3.0, 6.0), (2.0, -1.0, 3.0))):
        (kidney,) = (m for m in patient.masks(grid, motion) if m.region == "right kidney")
        assert kidney.volume_mL == pytest.approx(patient.volume_mL["right kidney"], rel=0.005)


def test_the_case_is_readable_and_its_scans_hold_the_activity(patient: Patient15, tmp_path: Path) -> None:
    options = CaseOptions(
        times_h=(24.0,), drawn_on=1, camera=Camera(noise_gain=0.0), administered_MBq=(("Lu-177", 3700.0),)
    )
    case = write_image_case(patient, tmp_path / "case", options)
    scan = read_spect(case / "cycle1" / "spect_024h.dcm", zone=ZoneInfo("Europe/Warsaw"), nuclide="Lu-177")
    ct = read_ct(case / "cycle1" / "ct_024h")
    regions = read_segmentation(case / "cycle1" / "rtstruct.dcm", grid=ct.volume.grid)
    assert {r.region for r in regions} == set(VOLUMES)
    for region in regions:
        tolerance = 0.03 if region.volume_mL > 50 else 0.2
        assert region.volume_mL == pytest.approx(patient.volume_mL[region.region], rel=tolerance), region.region
    concentration = scan.volume.values / (9.4 * 1800.0 * scan.volume.grid.voxel_mL)
    (liver,) = (m for m in patient.masks(scan.volume.grid, STILL) if m.region == "liver")
    inner = np.asarray(liver.mask) > 0.999
    assert np.percentile(concentration[inner], 90) == pytest.approx(104.0 / patient.volume_mL["liver"], rel=0.05)
