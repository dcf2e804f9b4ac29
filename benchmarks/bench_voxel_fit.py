"""Speed of the voxelwise fit: prints one JSON line.

- `ratio`: time a voxel of scipy's `curve_fit` with the same bounds, over ours (limit 3,000).
- `worst_excess`: largest amount by which our sum of squares exceeds the peer's, over the sum of squares of the data, on
  any voxel that both fitted (limit 1e-7: rounding of the 32-bit maps).
- `unconverged`: largest relative difference of the time-integrated activity from 50 Newton steps (limit 1e-5).
- `exponential_limit_ns`: one `numpy.exp` for each sample of a voxel; the fit needs seven of them and more.

Each time is the best of several runs after a warm-up.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit, minimize_scalar

from lutetia.kinetics.integrate import LN2
from lutetia.kinetics.voxelwise import SHORTEST_HALF_LIFE_h, fit_voxels
from lutetia.nuclear.nuclides import nuclide
from timing import best_s

TIME_H = np.array([4.0, 24.0, 72.0, 168.0])
VOXELS, PEER_VOXELS = 1 << 20, 600
RATE, FASTEST = nuclide("Lu-177").decay_constant_per_h, LN2 / SHORTEST_HALF_LIFE_h
LIMITS = {"ratio": 3000.0, "worst_excess": 1e-7, "unconverged": 1e-5}


def curves() -> NDArray[np.float32]:
    """Mono-exponential voxels with 15 % noise, shape (time, voxel)."""
    random = np.random.default_rng(0)
    rate = LN2 / random.uniform(20.0, 150.0, VOXELS)
    truth = random.uniform(0.1, 2.0, VOXELS) * np.exp(-rate * TIME_H[:, None])
    return (truth * (1 + 0.15 * random.standard_normal(truth.shape))).astype(np.float32)


def peer_fit(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitude and rate by scipy from a sensible start."""
    found, _ = curve_fit(
        lambda t, a, k: a * np.exp(-k * t),
        TIME_H,
        y,
        p0=[max(float(y.max()), 1e-3), LN2 / 50.0],
        bounds=([0.0, RATE], [np.inf, FASTEST]),
    )
    return np.asarray(found)


def misfit(y: NDArray[np.float64], amplitude: float, rate: float) -> float:
    """Sum of squares."""
    return float(((amplitude * np.exp(-rate * TIME_H) - y) ** 2).sum())


def converged_integral(y: NDArray[np.float64], rate: float) -> float:
    """Time-integrated activity of the best curve near a rate, by bounded minimisation to rounding."""

    def cost(log_rate: float) -> float:
        f = np.exp(-np.exp(log_rate) * TIME_H)
        return -(max(float(f @ y), 0.0) ** 2) / float(f @ f)

    low, high = np.log(max(rate / 1.02, RATE)), np.log(min(rate * 1.02, FASTEST))
    best = float(np.exp(minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-11}).x))
    f = np.exp(-best * TIME_H)
    return max(float(f @ y), 0.0) / float(f @ f) / best


def main() -> int:
    """Measure, print, and return 1 if a limit is missed."""
    activity = curves()
    fit = fit_voxels(TIME_H, activity, physical_rate_per_h=RATE)
    ours_ns = best_s(lambda: fit_voxels(TIME_H, activity, physical_rate_per_h=RATE)) / VOXELS * 1e9
    samples = [activity[:, v].astype(np.float64) for v in range(PEER_VOXELS)]
    peer_ns = best_s(lambda: [peer_fit(y) for y in samples], repeats=2) / PEER_VOXELS * 1e9
    arguments = (activity * -0.01).astype(np.float64)
    limit_ns = best_s(lambda: np.exp(arguments)) / VOXELS * 1e9
    excess, apart = [], []
    total = fit.time_integrated()
    for v, y in enumerate(samples):
        theirs = misfit(y, *peer_fit(y))
        excess.append((misfit(y, float(fit.coefficient[0, v]), float(fit.rate_per_h[0, v])) - theirs) / float(y @ y))
        best = converged_integral(y, float(fit.rate_per_h[0, v]))
        apart.append(abs(float(total[v]) / best - 1) if best > 0 else 0.0)
    result: dict[str, object] = {
        "benchmark": "voxel_fit",
        "cores": os.cpu_count(),
        "ns_per_voxel": ours_ns,
        "curve_fit_ns_per_voxel": peer_ns,
        "ratio": peer_ns / ours_ns,
        "exponential_limit_ns": limit_ns,
        "worst_excess": max(excess),
        "voxels_better_than_curve_fit": int((np.array(excess) < -1e-6).sum()),
        "unconverged": max(apart),
    }
    good = (
        peer_ns / ours_ns >= LIMITS["ratio"]
        and max(excess) <= LIMITS["worst_excess"]
        and max(apart) <= LIMITS["unconverged"]
    )
    result |= {"limits": LIMITS, "within_limits": good}
    print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in result.items()}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
