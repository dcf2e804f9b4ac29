"""Photon transport and dose maps against an independent Monte Carlo (ompMC, frozen with its sd), same phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.dose.photon_data import material_index, material_names
from lutetia.dose.photon_transport import photon_energy
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV
from lutetia.dose.spectra import photon_emissions
from lutetia.dose.voxel_dose import voxel_dose
from lutetia.nuclear.nuclides import nuclide
from lutetia.validation import patient_phantom as patient
from lutetia.validation import trunk_phantom as trunk
from lutetia.validation.checks import Check, compared
from lutetia.validation.reference_data import reference_rows

PHOTONS, PATIENT = "Photon Monte Carlo", "Dose maps of a real anatomy"
FLOOR_MeV = 0.01
SOFT_PERCENT, LUNG_BONE_PERCENT = 1.0, 2.0
ORGAN_PERCENT = {"Lu-177": (3.0, 3.0), "Y-90": (4.0, 8.0)}
"""Of organs, and of ragged tumours of 4 to 6 mL."""
METHODS = {"Lu-177": ("kernel", "monte carlo"), "Y-90": ("kernel",)}
"""Photons of 90Y carry nothing: its two methods give the same map."""
PHANTOM = Path(__file__).parent.joinpath(*[".."] * 4, "shared", "data", "patient15")
"""Beside a checkout; the phantom is licensed and not part of the package."""


def photon_study(*, photons: int = 6_000_000) -> list[Check]:
    """177Lu photons in a trunk with lungs and spine: energy absorbed by region against ompMC."""
    label, density = trunk.labels(), trunk.density()
    material = material_index(density)
    water = [n for n, row in enumerate(trunk.LABELS) if row[2].startswith("H2O")]
    material[np.isin(label, water)] = material_names().index("water")
    energy, number = photon_emissions(nuclide("Lu-177"))
    above = energy > FLOOR_MeV
    found = photon_energy(
        trunk.activity(), density, axis_aligned_grid(trunk.SHAPE, (trunk.VOXEL_MM,) * 3), nuclide="Lu-177",
        lines=(energy[above], number[above]), photons=photons, material=material, labels=label,
    )  # fmt: skip
    expected = {r["region"]: (float(r["energy_MeV"]), float(r["sd_MeV"])) for r in reference_rows("photon_monte_carlo")}
    checks = []
    for index, (region, _, _) in enumerate(trunk.LABELS):
        value, sd = expected[region]
        if value > 0.0:
            noise = 100.0 * float(np.hypot(sd / value, found.region_sd_MeV[index] / found.region_MeV[index]))
            tolerance = LUNG_BONE_PERCENT if region in ("lungs", "spine") else SOFT_PERCENT
            checks.append(
                compared(
                    PHOTONS,
                    f"Lu-177 photons absorbed, {region}",
                    1e3 * float(found.region_MeV[index]),
                    1e3 * value,
                    unit="keV",
                    tolerance_percent=tolerance,
                    note=f"both together ± {noise:.2f} %",
                )
            )
    return checks


def patient_study(folder: Path | None = None) -> list[Check]:
    """Organ and tumour energies of dose maps on the voxels of phantom patient15, both nuclides, against ompMC.

    Parameters
    ----------
    folder
        Where the licensed phantom lies; where it is absent, the study says that it was not run.
    """
    place = PHANTOM if folder is None else folder
    if not (place / "patient15_LuDOTATATE_src.i33").is_file():
        reason = "the licensed phantom patient15 is not here; give its folder with --patient15"
        return [Check(PATIENT, "organs and tumours, Lu-177 and Y-90", float("nan"), "", not_run=reason)]
    return [check for name, methods in METHODS.items() for method in methods for check in _patient(place, name, method)]


def _patient(folder: Path, name: str, method: str) -> list[Check]:
    found, expected = region_MeV(folder, name, method), expected_MeV(name)
    checks = []
    for region, (value, sd) in expected.items():
        tolerance = ORGAN_PERCENT[name][region.startswith("tumour")]
        checks.append(
            compared(
                PATIENT,
                f"{name} {method}, {region}",
                1e3 * found[region],
                1e3 * value,
                unit="keV",
                tolerance_percent=tolerance,
                note=f"Monte Carlo ± {100.0 * sd / value:.2f} %",
            )
        )
    return checks


def expected_MeV(name: str) -> dict[str, tuple[float, float]]:
    """MeV per decay and its sd by region: electrons, photons, and what starts below the cut-off and stays."""
    rows = [r for r in reference_rows("patient15_monte_carlo") if r["nuclide"] == name]
    local = sum(float(r["energy_MeV"]) for r in rows if r["region"] == "local")
    total = sum(share for _, _, share in patient.REGIONS)
    out = {}
    for _, region, share in patient.REGIONS:
        parts = [r for r in rows if r["region"] == region]
        energy = sum(float(r["energy_MeV"]) for r in parts) + local * share / total
        out[region] = energy, float(np.hypot.reduce([float(r["sd_MeV"]) for r in parts]))
    return out


def region_MeV(folder: Path, name: str, method: str) -> dict[str, float]:
    """MeV per decay that our dose map puts into each region."""
    grid, density = axis_aligned_grid(patient.SHAPE, patient.SPACING_MM), patient.density(folder)
    activity = Volume(patient.activity(folder) / np.float32(grid.voxel_mL), grid, "MBq_h_per_mL")
    found = voxel_dose(activity, name, density=Volume(density, grid, "g_per_mL"), method=method, photons=1_000_000)
    weight = (found.dose.values * density).ravel().astype(np.float64)
    energy = np.bincount(patient.labels(folder).ravel(), weights=weight) * grid.voxel_mL / GY_G_PER_MBQ_H_MEV
    return {region: float(energy[n]) for n, (_, region, _) in enumerate(patient.REGIONS, start=1)}
