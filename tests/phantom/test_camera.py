"""The image-space SPECT model: conservation, sensitivity, noise; and recovery of separate spheres."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lutetia.core.draws import stream
from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.phantom.camera import FWHM_PER_SIGMA, Camera, acquire_counts, blur, correlated_noise
from lutetia.phantom.shapes import Ellipsoid, occupancy
from lutetia.phantom.spheres import measure_spheres, recovery_csv
from lutetia.phantom.subject import reference_woman
from lutetia.phantom.voxels import render_activity

GRID = axis_aligned_grid((40, 44, 48), (4.8, 4.8, 4.8), origin_mm=(-112.8, -103.2, -93.6))
HOT = Volume(occupancy(Ellipsoid((0.0, 5.0, -5.0), (30.0, 25.0, 45.0)), GRID) * 0.3, GRID, "MBq_per_mL")
NOISELESS = Camera(noise_gain=0.0)


def test_blur_conserves_activity() -> None:
    blurred = blur(HOT, 10.0)
    assert blurred.values.sum(dtype=np.float64) == pytest.approx(HOT.values.sum(dtype=np.float64), rel=1e-5)
    assert blurred.values.max() < HOT.values.max() * 1.0001


def test_blur_of_a_point_has_the_stated_width() -> None:
    fine = axis_aligned_grid((61, 61, 61), (1.0, 1.0, 1.0))
    point = np.zeros(fine.shape)
    point[30, 30, 30] = 1.0
    profile = blur(Volume(point, fine, "MBq_per_mL"), 10.0).values[30, 30]
    above = np.flatnonzero(profile >= profile.max() / 2)
    assert len(above) == 11  # centre ± 5 mm


def test_counts_are_sensitivity_times_activity_times_duration() -> None:
    counts = acquire_counts(HOT, NOISELESS, stream(1, "t"), duration_s=1200.0)
    activity = HOT.values.sum(dtype=np.float64) * GRID.voxel_mL
    assert counts.values.sum(dtype=np.float64) == pytest.approx(9.4 * 1200.0 * activity, rel=1e-4)


def test_calibration_error_and_bremsstrahlung_scale_the_counts() -> None:
    camera = Camera(noise_gain=0.0, calibration_error=1.02, y90_cps_per_MBq=0.47)
    plain = acquire_counts(HOT, NOISELESS, stream(1, "t"), duration_s=1200.0)
    counts = acquire_counts(HOT, camera, stream(1, "t"), duration_s=1200.0, y90_per_lu177=0.5)
    assert counts.values.sum() / plain.values.sum() == pytest.approx(1.02 * (1.0 + 0.05 * 0.5), rel=1e-5)


def test_noise_has_unit_variance_and_is_correlated_with_neighbours() -> None:
    sigma = (0.7, 0.7, 0.7)
    noise = correlated_noise((64, 64, 64), sigma, stream(1, "noise"))
    assert noise.std() == pytest.approx(1.0, abs=0.02)
    neighbour = float((noise[1:] * noise[:-1]).mean())
    assert neighbour == pytest.approx(math.exp(-1.0 / (4 * 0.7**2)), abs=0.05)


def test_noise_in_a_large_region_leaves_its_mean() -> None:
    noisy = acquire_counts(HOT, Camera(), stream(1, "t"), duration_s=1800.0)
    clean = acquire_counts(HOT, NOISELESS, stream(1, "t"), duration_s=1800.0)
    inside = HOT.values > 0.29
    assert noisy.values[inside].mean() == pytest.approx(clean.values[inside].mean(), rel=0.02)
    assert (noisy.values >= 0).all()


def test_each_organ_holds_exactly_its_activity() -> None:
    subject = reference_woman()
    image = render_activity(subject, GRID, {"left kidney": 12.0})
    assert image.values.sum(dtype=np.float64) * GRID.voxel_mL == pytest.approx(12.0, rel=1e-5)


def test_recovery_of_spheres_follows_the_closed_form() -> None:
    sigma = math.sqrt((10.0 / FWHM_PER_SIGMA) ** 2 + 2 * 4.8**2 / 12)  # voxels blur the source and the outline
    for sphere in measure_spheres(NOISELESS, repeats=5):
        radius = (3e3 * sphere.volume_mL / (4 * math.pi)) ** (1 / 3)
        assert sphere.rc == pytest.approx(closed_form(radius, sigma), abs=0.012), sphere.volume_mL


def closed_form(radius_mm: float, sigma: float) -> float:
    """∫ Gauss(r) (1 − 3r/4R + r³/16R³) 4πr² dr: overlap of a ball with itself."""
    r = np.linspace(0.0, 2 * radius_mm, 20001)
    overlap = 1.0 - 0.75 * r / radius_mm + (r / radius_mm) ** 3 / 16.0
    gauss = np.exp(-(r**2) / (2 * sigma**2)) / (2 * math.pi * sigma**2) ** 1.5
    return float(np.trapezoid(gauss * overlap * 4 * math.pi * r**2, r))


def test_the_recovery_table_has_the_columns_of_the_contract() -> None:
    lines = recovery_csv(measure_spheres(Camera(), repeats=3)).splitlines()
    assert lines[0] == "volume_mL,rc,sd"
    recovery = [float(line.split(",")[1]) for line in lines[1:]]
    assert recovery == sorted(recovery)
    assert all(float(line.split(",")[2]) > 0 for line in lines[1:])
