"""Time and memory of dose maps: prints one JSON line. A trunk in 128³ voxels of 4 mm.

- `convolution_s`: one kernel dose map with density, kernel transform cached; `convolution_ratio`: scipy's `fftconvolve`
  in double precision with the same kernel over it (limit 12); `error`: largest difference of the two inside the body,
  over the maximum (limit 5e-6). `ratio_to_cropped`: against `fftconvolve` with a kernel cut at 200 mm, which loses
  energy. `transform_limit_s`: one float32 transform there and one back of the padded box by scipy on all processors.
- `four_scans_s`: four scans of 128³ → time-integrated activity → 177Lu and 90Y dose maps (limit 0.5 s).
- `memory`: largest extra memory of a dose map and of that chain over one 128³ map (limit 10).

Times are the best of five after a warm-up, ours and peers in the same run.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from scipy import fft
from scipy.signal import fftconvolve

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.dose.kernels import voxel_kernel
from lutetia.dose.voxel_dose import voxel_dose
from lutetia.dose.voxel_dose_kernels import ALL_PARTS, kernel_octant
from lutetia.kinetics.voxelwise import fit_voxels, predict_voxels
from lutetia.nuclear.nuclides import nuclide
from timing import best_s

SIZE, STEP = 128, 4.0
TIME_H = np.array([4.0, 24.0, 72.0, 168.0])
LIMITS = {"convolution_ratio": 12.0, "error": 5e-6, "four_scans_s": 0.5, "memory": 10.0}


def peak_bytes(work: Callable[[], object]) -> int:
    """Largest memory that arrays take during a run beyond what there was."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def trunk() -> tuple[Volume, Volume, np.ndarray]:
    """Time-integrated activity with noise inside, density, and the body."""
    axis = (np.arange(SIZE) - 0.5 * (SIZE - 1)) * STEP
    body = (axis[None, None, :] / 180) ** 2 + (axis[None, :, None] / 115) ** 2 + 0 * axis[:, None, None] <= 1
    grid = axis_aligned_grid((SIZE,) * 3, (STEP,) * 3)
    activity = np.where(body, np.random.default_rng(1).random(body.shape), 0.0).astype(np.float32)
    density = np.where(body, 1.04, 0.0012).astype(np.float32)
    return Volume(activity, grid, "MBq_h_per_mL"), Volume(density, grid, "g_per_mL"), body


def whole_kernel(name: str) -> np.ndarray:
    """The uncropped kernel of the grid, double precision."""
    octant = kernel_octant(name, (STEP,) * 3, ALL_PARTS, (SIZE,) * 3)
    return np.pad(octant.astype(np.float64), [(SIZE - 1, 0)] * 3, mode="reflect")


def main() -> int:
    """Measure, print, and return 1 if a limit is missed."""
    activity, density, body = trunk()
    result: dict[str, object] = {"benchmark": "voxel_dose", "cores": os.cpu_count()}
    source = activity.values.astype(np.float64) * 0.064
    ours_s = best_s(lambda: voxel_dose(activity, "Lu-177", density=density))
    found = voxel_dose(activity, "Lu-177", density=density).dose.values
    kernel = whole_kernel("Lu-177")
    start = time.perf_counter()
    exact = fftconvolve(source, kernel, mode="same")
    peer_s = time.perf_counter() - start
    error = float(np.abs(found - exact)[body].max() / exact.max())
    del exact, kernel
    cropped = voxel_kernel("Lu-177", (STEP,) * 3, extent_mm=200.0).values
    cropped_s = best_s(lambda: fftconvolve(source, cropped, mode="same"), repeats=2)
    padded = tuple(2 * fft.next_fast_len(n, real=True) for n in (SIZE, 58, 90))
    box = np.zeros(padded, dtype=np.float32)
    workers = os.cpu_count()
    limit_s = best_s(lambda: fft.irfftn(fft.rfftn(box, workers=workers), padded, workers=workers))
    rate = nuclide("Lu-177").decay_constant_per_h
    random = np.random.default_rng(2)
    scans = np.stack(
        [activity.values * np.exp(-0.0125 * t) * (1 + 0.1 * random.standard_normal(body.shape)) for t in TIME_H]
    ).astype(np.float32)

    def chain() -> None:
        curves = fit_voxels(TIME_H, scans, physical_rate_per_h=rate)
        maps = {"Lu-177": curves.time_integrated()}
        maps["Y-90"] = predict_voxels(curves, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=1.0)
        for name, values in maps.items():
            voxel_dose(Volume(values, activity.grid, "MBq_h_per_mL"), name, density=density)

    result |= {
        "convolution_s": ours_s,
        "fftconvolve_float64_s": peer_s,
        "convolution_ratio": peer_s / ours_s,
        "transform_limit_s": limit_s,
        "ratio_to_cropped": cropped_s / ours_s,
        "error": error,
        "four_scans_s": best_s(chain),
    }
    single = peak_bytes(lambda: voxel_dose(activity, "Lu-177", density=density))
    uncropped = peak_bytes(lambda: voxel_dose(activity, "Lu-177"))
    result["memory_with_density"] = single / activity.values.nbytes
    result["memory_chain"] = peak_bytes(chain) / activity.values.nbytes
    result["memory"] = max(single, uncropped) / activity.values.nbytes
    good = all(
        (float(result[name]) >= limit) if name.endswith("ratio") else (float(result[name]) <= limit)  # type: ignore[arg-type]
        for name, limit in LIMITS.items()
    )
    result |= {"limits": LIMITS, "within_limits": good}
    print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in result.items()}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
