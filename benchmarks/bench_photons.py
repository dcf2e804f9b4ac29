"""Speed of the photon Monte Carlo: prints one JSON line. A trunk with lungs and spine in 128³ voxels of 4 mm, 177Lu.

- `photons_per_s` (limit 200,000).
- `kidneys_1_percent_s`: time until the statistical standard deviation of a voxel's total dose (electrons by kernel,
  photons by Monte Carlo) is 1 % on average in the kidneys, scaled from the run (limit 60 s); `kidney_noise` in it.
- `random_numbers_per_s`: numpy on one processor, the machine's limit (a photon takes about 60); Python has no peer that
  follows photons through voxels.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.dose.photon_transport import photon_energy
from lutetia.dose.voxel_dose import voxel_dose

SIZE, STEP, PHOTONS = 128, 4.0, 4_000_000
LIMITS = {"photons_per_s": 200_000.0, "kidneys_1_percent_s": 60.0}


def trunk() -> tuple[Volume, Volume, np.ndarray]:
    """Time-integrated activity (kidneys 20, liver 5, spleen 15 and other tissue 0.5 per mL), density, kidneys."""
    z, y, x = np.meshgrid(*3 * [(np.arange(SIZE) - 0.5 * (SIZE - 1)) * STEP], indexing="ij", sparse=True)

    def ball(centre: tuple[float, float, float], axes: tuple[float, float, float]) -> np.ndarray:
        return ((z - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 + (
            (x - centre[2]) / axes[2]
        ) ** 2 <= 1

    body = (x / 180) ** 2 + (y / 115) ** 2 + 0 * z <= 1
    kidneys = ball((-40, 50, 75), (55, 25, 32)) | ball((-50, 50, -75), (55, 25, 32))
    density, activity = np.where(body, 1.04, 0.0012), np.where(body, 0.5, 0.0)
    for side in (-1, 1):
        density[ball((150, 0, 85 * side), (100, 80, 60))] = 0.26
    density[(x / 18) ** 2 + ((y - 75) / 18) ** 2 + 0 * z <= 1] = 1.3
    activity[ball((10, -10, -70), (70, 80, 90)) & (density > 0.9)] = 5.0
    activity[ball((20, 40, 110), (50, 30, 40)) & (density > 0.9)] = 15.0
    activity[kidneys] = 20.0
    grid = axis_aligned_grid((SIZE,) * 3, (STEP,) * 3)
    return (
        Volume(activity.astype(np.float32), grid, "MBq_h_per_mL"),
        Volume(density.astype(np.float32), grid, "g_per_mL"),
        kidneys,
    )


def main() -> int:
    """Measure, print, and return 1 if a limit is missed."""
    activity, density, kidneys = trunk()
    photon_energy(activity.values, density.values, activity.grid, nuclide="Lu-177", photons=3200)
    start = time.perf_counter()
    photon_energy(activity.values, density.values, activity.grid, nuclide="Lu-177", photons=PHOTONS)
    seconds = time.perf_counter() - start
    found = voxel_dose(activity, "Lu-177", density=density, method="monte carlo", photons=PHOTONS)
    assert found.sd is not None
    noise = float((found.sd.values[kidneys] / found.dose.values[kidneys]).mean())
    random = np.random.default_rng(0)
    begin = time.perf_counter()
    random.random(10_000_000)
    per_s = 1e7 / (time.perf_counter() - begin)
    result: dict[str, object] = {
        "benchmark": "photons",
        "cores": os.cpu_count(),
        "photons": PHOTONS,
        "photons_per_s": PHOTONS / seconds,
        "kidney_noise": noise,
        "kidneys_1_percent_s": seconds * (noise / 0.01) ** 2,
        "random_numbers_per_s": per_s,
    }
    good = (
        PHOTONS / seconds >= LIMITS["photons_per_s"] and seconds * (noise / 0.01) ** 2 <= LIMITS["kidneys_1_percent_s"]
    )
    result |= {"limits": LIMITS, "within_limits": good}
    print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in result.items()}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
