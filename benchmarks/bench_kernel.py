"""Time of dose kernels and S-values: prints one JSON line.

- `voxel_kernel_*_s`: one voxel kernel of 200 mm half size, from nothing (limit 2 s).
- `absorbed_fraction_1000_masses_s`: absorbed fractions of 1,000 drawn masses (limit 1 ms).
- `ratio`: that against scipy's adaptive quadrature of the same fold, mass by mass, in the same run;
  `largest_difference`: between the two.

Each time is the best of five after a warm-up.
"""

from __future__ import annotations

import json

import numpy as np
from scipy.integrate import quad

from lutetia.dose.absorbed_fraction import electron_absorbed_fraction
from lutetia.dose.kernels import voxel_kernel
from lutetia.dose.point_kernels import point_kernel
from lutetia.dose.shapes import sphere_overlap
from timing import best_s

LIMITS = {
    "voxel_kernel_Lu177_4.8mm_s": 2.0,
    "voxel_kernel_Y90_2mm_s": 2.0,
    "voxel_kernel_I131_5x2x2.5mm_s": 2.0,
    "absorbed_fraction_1000_masses_s": 1e-3,
    "largest_difference": 1e-4,
}


def by_quadrature(mass_g: float) -> float:
    """Absorbed fraction of 90Y electrons in a sphere of unit density by adaptive quadrature over the radius."""
    kernel = point_kernel("Y-90")
    deposit = kernel.electron_MeV + kernel.bremsstrahlung_MeV
    cumulative = np.concatenate([[0.0], np.cumsum(deposit)]) / deposit.sum()
    radius = 10 * (3 * mass_g / (4 * np.pi)) ** (1 / 3)

    def slope(r: float) -> float:
        return float(np.interp(r, kernel.edge_mm, cumulative)) * (0.75 / radius - 3 * r**2 / (16 * radius**3))

    value, _ = quad(slope, 0.0, 2 * radius, limit=200, epsabs=1e-7, epsrel=1e-6)
    return value + float(sphere_overlap(2.0))


def main() -> None:
    """Print the line."""
    mass = np.geomspace(1.0, 400.0, 1000)
    own = electron_absorbed_fraction("Y-90", mass[::100], density_g_per_mL=1.0)
    peer = np.array([by_quadrature(float(m)) for m in mass[::100]])
    table_s = best_s(lambda: electron_absorbed_fraction("Y-90", mass, density_g_per_mL=1.0))
    quadrature_s = best_s(lambda: [by_quadrature(float(m)) for m in mass[::100]]) * 100
    result: dict[str, float | str | bool] = {
        "benchmark": "kernel",
        "voxel_kernel_Lu177_4.8mm_s": best_s(lambda: voxel_kernel("Lu-177", (4.8, 4.8, 4.8))),
        "voxel_kernel_Y90_2mm_s": best_s(lambda: voxel_kernel("Y-90", (2.0, 2.0, 2.0))),
        "voxel_kernel_I131_5x2x2.5mm_s": best_s(lambda: voxel_kernel("I-131", (5.0, 2.0, 2.5))),
        "point_kernel_Lu177_s": best_s(lambda: point_kernel.__wrapped__("Lu-177")),
        "absorbed_fraction_1000_masses_s": table_s,
        "quadrature_1000_masses_s": quadrature_s,
        "ratio": quadrature_s / table_s,
        "largest_difference": float(np.abs(own / peer - 1).max()),
    }
    result["within_limits"] = all(float(result[name]) <= limit for name, limit in LIMITS.items())
    print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in result.items()}))


if __name__ == "__main__":
    main()
