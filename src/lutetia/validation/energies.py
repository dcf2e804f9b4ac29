"""Energy per decay: the nuclides against ICRP 107, and that no kernel or transport loses any."""

from __future__ import annotations

import numpy as np

from lutetia.core.geometry import axis_aligned_grid
from lutetia.dose.kernels import voxel_kernel
from lutetia.dose.photon_transport import photon_energy
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, point_kernel
from lutetia.dose.spectra import electron_emissions, photon_emissions
from lutetia.nuclear.beta import beta_spectrum
from lutetia.nuclear.nuclides import nuclide
from lutetia.nuclear.records import Nuclide
from lutetia.validation.checks import Check, compared
from lutetia.validation.reference_data import reference_rows

NUCLIDES = "Mean energies per decay"
KERNELS = "Energy account of the kernels"
MEAN_PERCENT, ELECTRON_PERCENT, PHOTON_PERCENT = 0.5, 0.2, 0.5
LEAST_keV = 0.1
SPACING_MM = (4.8, 4.8, 4.8)


def nuclide_study() -> list[Check]:
    """Computed beta spectra and the emissions that doses are made of against ICRP Publication 107."""
    checks = []
    for row in reference_rows("icrp107_energies"):
        data = nuclide(row["nuclide"])
        ours = {
            "beta": ("computed beta spectra", computed_beta_MeV(data)),
            "electron": ("all electrons", float(np.dot(*electron_emissions(data)))),
            "photon": ("photons", float(np.dot(*photon_emissions(data)))),
        }
        for kind, (words, energy_MeV) in ours.items():
            published = float(row[f"{kind}_keV"])
            if published >= LEAST_keV:
                name = f"{data.name} {words}"
                checks.append(
                    compared(NUCLIDES, name, 1e3 * energy_MeV, published, unit="keV", tolerance_percent=MEAN_PERCENT)
                )
    return checks


def computed_beta_MeV(data: Nuclide) -> float:
    """Mean beta energy per decay of the spectra computed from endpoints and branches, before any normalisation."""
    node, weight = np.polynomial.legendre.leggauss(200)
    total = 0.0
    for branch in data.betas:
        energy = 0.5 * branch.endpoint_MeV * (node + 1.0)
        density = beta_spectrum(
            energy, branch.endpoint_MeV, branch.charge, mass_number=data.mass_number, shape=branch.shape
        )
        total += branch.per_decay * float(energy @ (density * weight)) * 0.5 * branch.endpoint_MeV
    return total


def kernel_energy_study() -> list[Check]:
    """Energy of point kernels, of voxel kernels with what leaves them, and of photon transport against ICRP 107."""
    checks = []
    for row in reference_rows("icrp107_energies")[:2]:
        name, electron, photon = row["nuclide"], float(row["electron_keV"]), float(row["photon_keV"])
        point, voxel = point_kernel(name), voxel_kernel(name, SPACING_MM)
        mass_g = float(np.prod(SPACING_MM)) / 1000.0 * voxel.density_g_per_mL
        inside = float(voxel.values.sum()) * mass_g / GY_G_PER_MBQ_H_MEV
        sums = {
            "electrons of the point kernel": (point.electron_MeV.sum() + point.bremsstrahlung_MeV.sum(), electron),
            "photons of the point kernel": (point.photon_MeV.sum(), photon),
            "voxel kernel and escape": (inside + voxel.beyond_MeV, electron + photon),
        }
        if photon >= LEAST_keV:
            sums["photons absorbed and escaped, Monte Carlo"] = (transported_MeV(name), photon)
        for words, (energy_MeV, published) in sums.items():
            if published < LEAST_keV:
                continue
            tolerance = PHOTON_PERCENT if words.startswith("photons") else ELECTRON_PERCENT
            checks.append(
                compared(
                    KERNELS,
                    f"{name} {words}",
                    1e3 * float(energy_MeV),
                    published,
                    unit="keV",
                    tolerance_percent=tolerance,
                )
            )
    return checks


def transported_MeV(name: str, *, photons: int = 640_000) -> float:
    """Photon energy per decay absorbed in a box of water around a source, and escaped from it."""
    shape, step = (21, 21, 21), 10.0
    activity = np.zeros(shape, dtype=np.float32)
    activity[10, 10, 10] = 1.0
    grid = axis_aligned_grid(shape, (step, step, step))
    found = photon_energy(activity, np.ones(shape, dtype=np.float32), grid, nuclide=name, photons=photons)
    return float(found.energy_MeV.sum(dtype=np.float64)) + found.escaped_MeV
