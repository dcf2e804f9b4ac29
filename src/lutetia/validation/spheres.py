"""Balls and cylinders filled with 177Lu and 90Y against an independent Monte Carlo (ompMC, frozen with its sd)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lutetia.core.geometry import axis_aligned_grid
from lutetia.dose.absorbed_fraction import photon_absorbed_fraction
from lutetia.dose.photon_data import material_names
from lutetia.dose.photon_transport import photon_energy
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, point_kernel
from lutetia.dose.s_values import sphere_s_value
from lutetia.dose.spectra import electron_emissions, photon_emissions
from lutetia.nuclear.nuclides import nuclide
from lutetia.validation.checks import Check, compared
from lutetia.validation.reference_data import reference_rows

FloatArray = NDArray[np.float64]
SPHERES, CYLINDERS = "Spheres 0.1 g to 6 kg", "Filled cylinders"
FLOOR_MeV = 0.01
"""Cut-off of the reference; emissions below it stay where they start there."""
SPHERE_PERCENT, PHOTON_PERCENT = 3.0, 3.0
CYLINDER_PERCENT = {"electrons": 1.0, "photons": 2.0}
TRANSPORTED_g = (100.0, 1000.0, 6000.0)


def sphere_study() -> list[Check]:
    """S-values of spheres against ompMC, and their photons against the package's own photon Monte Carlo."""
    rows = reference_rows("sphere_monte_carlo")
    table = {(r["nuclide"], r["particle"], r["mass_g"]): (float(r["fraction"]), float(r["sd"])) for r in rows}
    checks = []
    for name in dict.fromkeys(r["nuclide"] for r in rows):
        for mass in dict.fromkeys(r["mass_g"] for r in rows if r["mass_g"] != "scored"):
            electron, photon = table[name, "electrons", mass], table.get((name, "photons", mass), (0.0, 0.0))
            energy, sd = absorbed_MeV(name, electron, photon)
            ours, factor = float(sphere_s_value(name, float(mass))), GY_G_PER_MBQ_H_MEV / float(mass)
            checks.append(
                compared(
                    SPHERES,
                    f"{name} S-value, {mass} g",
                    ours,
                    factor * energy,
                    unit="Gy/(MBq h)",
                    tolerance_percent=SPHERE_PERCENT,
                    note=f"Monte Carlo ± {100.0 * sd / energy:.2f} %",
                )
            )
    return checks + [_photons(mass) for mass in TRANSPORTED_g]


def absorbed_MeV(
    name: str, electron: tuple[float, float], photon: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float]:
    """MeV per decay absorbed, and its sd, from fractions (and sd) of the energy above the cut-off; the rest stays."""
    data, total, variance = nuclide(name), 0.0, 0.0
    for (energy, number), (fraction, sd) in (
        (electron_emissions(data), electron),
        (photon_emissions(data), photon),
    ):
        high = energy > FLOOR_MeV
        above = float(energy[high] @ number[high])
        total += float(energy[~high] @ number[~high]) + fraction * above
        variance += (sd * above) ** 2
    return total, float(np.sqrt(variance))


def _photons(mass_g: float) -> Check:
    ours = float(photon_absorbed_fraction("Lu-177", mass_g, density_g_per_mL=1.0))
    transported, sd = transported_fraction(mass_g)
    return compared(
        SPHERES, f"Lu-177 photons kept, {mass_g:g} g, own photon Monte Carlo", ours, transported, unit="",
        tolerance_percent=PHOTON_PERCENT, note=f"Monte Carlo ± {100.0 * sd / transported:.2f} %",
    )  # fmt: skip


def transported_fraction(mass_g: float, *, photons: int = 1_000_000) -> tuple[float, float]:
    """Share of its photon energy that a ball of 177Lu in much water keeps, by photon transport, and its sd."""
    radius_mm = 10.0 * (3.0 * mass_g / (4.0 * np.pi)) ** (1 / 3)
    step = radius_mm / 10.0
    count = 2 * int(np.ceil((radius_mm + 150.0) / step))
    axis = (np.arange(count) - 0.5 * (count - 1)) * step
    grid = axis_aligned_grid((count, count, count), (step, step, step))
    inside = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2 <= radius_mm**2
    water = np.full(grid.shape, material_names().index("water"), dtype=np.uint8)
    found = photon_energy(
        inside.astype(np.float32), np.ones(grid.shape, dtype=np.float32), grid, nuclide="Lu-177",
        photons=photons, material=water, labels=inside.astype(np.int64),
    )  # fmt: skip
    return float(found.region_MeV[1]) / found.emitted_MeV, float(found.region_sd_MeV[1]) / found.emitted_MeV


def cylinder_study() -> list[Check]:
    """Absorbed fractions of cylinders as high as wide, and the bremsstrahlung field of 90Y, against ompMC."""
    checks = []
    rows = reference_rows("dose_monte_carlo")
    for row in rows:
        if row["quantity"].startswith("cylinder"):
            kind = row["quantity"].rsplit("_", 1)[1]
            fraction = in_cylinder(row["nuclide"], kind, float(row["first"]))
            noise = 100.0 * float(row["sd"]) / float(row["value"])
            checks.append(
                compared(
                    CYLINDERS,
                    f"{row['nuclide']} {kind} kept, {row['first']} g",
                    fraction,
                    float(row["value"]),
                    unit="",
                    tolerance_percent=CYLINDER_PERCENT[kind],
                    note=f"Monte Carlo ± {noise:.2f} %",
                )
            )
    shells = [r for r in rows if r["quantity"] == "shell_keV"]
    return [*checks, _bremsstrahlung(shells)]


def _bremsstrahlung(shells: list[dict[str, str]]) -> Check:
    """Energy of all shells together; single shells of the reference are blurred by its bins."""
    kernel = point_kernel("Y-90")
    cumulative = np.concatenate([[0.0], np.cumsum(kernel.bremsstrahlung_MeV)])
    low, high = float(shells[0]["first"]), float(shells[-1]["second"])
    near, far = np.interp([low, high], kernel.edge_mm, cumulative)
    return compared(
        CYLINDERS, f"Y-90 bremsstrahlung around a point, {low:g} to {high:g} mm", 1e3 * float(far - near),
        sum(float(r["value"]) for r in shells), unit="keV", tolerance_percent=15.0,
        note="0.4 % of the energy; its spectrum is an assumption",
    )  # fmt: skip


def in_cylinder(name: str, kind: str, mass_g: float) -> float:
    """Absorbed fraction of electrons or photons above the cut-off in a cylinder as high as wide, unit density."""
    kernel, data = point_kernel(name), nuclide(name)
    deposit = kernel.photon_MeV if kind == "photons" else kernel.electron_MeV + kernel.bremsstrahlung_MeV
    radius_mm = 10.0 * (3.0 * mass_g / (4.0 * np.pi)) ** (1 / 3)
    share = cylinder_overlap(0.5 * (kernel.edge_mm[1:] + kernel.edge_mm[:-1]) / radius_mm)
    lines = data.photons if kind == "photons" else data.electrons
    low = sum(e * n for e, n in lines if e < FLOOR_MeV)
    return (float(share @ deposit) - low) / (float(deposit.sum()) - low)


def cylinder_overlap(u: FloatArray) -> FloatArray:
    """Self-overlap of a cylinder as high as wide at distance u in radii of the ball of equal volume, mean direction."""
    radius = (2.0 / 3.0) ** (1 / 3)
    node, weight = np.polynomial.legendre.leggauss(64)
    cosine, weight = 0.5 * (node + 1.0), 0.5 * weight
    across = np.minimum(np.multiply.outer(u, np.sqrt(1.0 - cosine**2)) / (2.0 * radius), 1.0)
    disc = 2.0 / np.pi * (np.arccos(across) - across * np.sqrt(1.0 - across**2))
    height = np.clip(1.0 - np.multiply.outer(u, cosine) / (2.0 * radius), 0.0, None)
    return np.asarray((disc * height) @ weight)
