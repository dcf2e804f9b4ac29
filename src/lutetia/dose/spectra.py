"""What a nuclide emits as numbers for a fold: electrons, photons, bremsstrahlung as energies and numbers per decay.

Not here: where the energy goes (`point_kernels`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lutetia.errors import PhysicsError
from lutetia.nuclear.beta import beta_spectrum
from lutetia.nuclear.records import BetaBranch, Nuclide

FloatArray = NDArray[np.float64]
Emissions = tuple[FloatArray, FloatArray]
BETA_BINS = 240


def electron_emissions(nuclide: Nuclide) -> Emissions:
    """Energies (MeV) and numbers per decay of betas (binned), conversion and Auger electrons; their energy is
    `electron_MeV`.

    Raises
    ------
    PhysicsError
        For alpha emitters, whose dose this package does not compute.
    """
    if nuclide.alpha_MeV > 1e-3:
        found = f"found {nuclide.alpha_MeV:.3g} MeV of alpha energy per decay"
        raise PhysicsError(f"{nuclide.name}: {found}; expected a beta or photon emitter")
    energy, number = _betas(nuclide)
    lines = np.array(nuclide.electrons, dtype=np.float64).reshape(-1, 2)
    return np.concatenate([energy, lines[:, 0]]), np.concatenate([number, lines[:, 1]])


def photon_emissions(nuclide: Nuclide) -> Emissions:
    """Energies (MeV) and numbers per decay of gamma, X and annihilation photons."""
    lines = np.array(nuclide.photons, dtype=np.float64).reshape(-1, 2)
    return lines[:, 0], lines[:, 1]


def bremsstrahlung_shares(energy_MeV: FloatArray, *, cutoff_MeV: float = 0.01, bins: int = 60) -> Emissions:
    """Photon energies (MeV), shape (photon,), and the share of radiated energy that each carries, (electron, photon).

    Energy per dk ∝ E − 2k ln(E/k) − k²/E: a thin-target intensity ∝ (1 − k/T)², summed over the slowing down of the
    electron from E.

    Notes
    -----
    The shape is an assumption, checked against Monte Carlo for 90Y (docs/validation/dose_kernels.md); the energy
    radiated is that of the electron kernels. Photons below the cut-off deposit with the electrons.
    """
    edges = np.geomspace(cutoff_MeV, max(float(energy_MeV.max(initial=0.0)), 1.1 * cutoff_MeV), bins + 1)
    share = np.diff(_radiated_below(energy_MeV[:, None], np.minimum(edges, energy_MeV[:, None])), axis=1)
    total = share.sum(axis=1, keepdims=True)
    return np.sqrt(edges[1:] * edges[:-1]), np.divide(share, total, out=np.zeros_like(share), where=total > 0)


def _radiated_below(energy: FloatArray, photon: FloatArray) -> FloatArray:
    """∫₀ᵏ (E − 2k ln(E/k) − k²/E) dk."""
    return np.asarray(energy * photon - photon**2 * (np.log(energy / photon) + 0.5) - photon**3 / (3.0 * energy))


def _betas(nuclide: Nuclide) -> Emissions:
    """Betas in bins of equal width, scaled in number so that they carry `beta_MeV`."""
    if nuclide.beta_MeV <= 0:
        return np.zeros(0), np.zeros(0)
    table = np.array(nuclide.beta_table, dtype=np.float64).reshape(-1, 2)
    end = max((b.endpoint_MeV for b in nuclide.betas), default=table[-1, 0] if table.size else 0.0)
    width = end / BETA_BINS
    energy = (np.arange(BETA_BINS) + 0.5) * width
    if table.size:
        density = np.interp(energy, table[:, 0], table[:, 1])
    else:
        density = np.sum([_branch(energy, b, nuclide.mass_number) for b in nuclide.betas], axis=0)
    number = density * width
    return energy, number * nuclide.beta_MeV / float(energy @ number)


def _branch(energy: FloatArray, branch: BetaBranch, mass_number: int) -> FloatArray:
    return branch.per_decay * beta_spectrum(
        energy, branch.endpoint_MeV, branch.charge, mass_number=mass_number, shape=branch.shape
    )
