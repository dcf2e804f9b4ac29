"""A separate sphere phantom for recovery coefficients: never the organs that are to be corrected."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import StringIO

import numpy as np

from lutetia.core.draws import stream
from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.phantom.camera import Camera, acquire_counts
from lutetia.phantom.shapes import Ellipsoid, occupancy

VOLUMES_ML = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 113.0, 200.0, 400.0, 800.0, 1600.0)


@dataclass(frozen=True, slots=True)
class SphereRecovery:
    """Share of a sphere's activity that its true outline holds in the image, and its standard deviation."""

    volume_mL: float
    rc: float
    sd: float


def measure_spheres(
    camera: Camera, *, seed: int = 1, spacing_mm: float = 4.8, repeats: int = 5
) -> list[SphereRecovery]:
    """Recovery of hot spheres in a cold background, imaged by the same camera on the same voxels.

    The concentration is that of a calibration measurement (1 MBq/mL, 30 min); positions vary within a voxel.
    """
    return [
        _measure(volume, camera, stream(seed, "spheres", i), spacing_mm=spacing_mm, repeats=repeats)
        for i, volume in enumerate(VOLUMES_ML)
    ]


def _measure(
    volume_mL: float, camera: Camera, generator: np.random.Generator, *, spacing_mm: float, repeats: int
) -> SphereRecovery:
    radius = (3.0 * volume_mL * 1000.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    half = int(np.ceil((radius + 3.0 * camera.fwhm_mm) / spacing_mm))
    size, low = 2 * half + 1, -half * spacing_mm
    grid = axis_aligned_grid((size, size, size), (spacing_mm,) * 3, origin_mm=(low, low, low))
    values = []
    for _ in range(repeats):
        x, y, z = generator.uniform(-spacing_mm / 2, spacing_mm / 2, 3)
        fraction = occupancy(Ellipsoid((x, y, z), (radius,) * 3), grid, oversampling=5)
        counts = acquire_counts(Volume(fraction, grid, "MBq_per_mL"), camera, generator, duration_s=1800.0)
        total = fraction.sum(dtype=np.float64) * grid.voxel_mL * camera.cps_per_MBq * camera.calibration_error * 1800.0
        values.append(float((counts.values * fraction).sum(dtype=np.float64)) / total)
    return SphereRecovery(volume_mL, float(np.mean(values)), float(max(np.std(values, ddof=1), 0.005)))


def recovery_csv(spheres: list[SphereRecovery]) -> str:
    """The table `volume_mL,rc,sd` of contract: text of a CSV file."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["volume_mL", "rc", "sd"])
    writer.writerows([f"{s.volume_mL:g}", f"{s.rc:.4f}", f"{s.sd:.4f}"] for s in spheres)
    return text.getvalue()
