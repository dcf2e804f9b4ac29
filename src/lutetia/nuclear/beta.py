"""Beta spectra from endpoint, charge and forbiddenness: Fermi function and shape factors.

Not here: which branches a nuclide has (`nuclides`). To add a shape: one entry of `SHAPES`.
Left out (assumption): screening by atomic electrons (it moves the mean energy of 177Lu by 0.15 %), radiative
corrections and the non-unique shape factors, which are taken as allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError, UnknownNameError

FloatArray = NDArray[np.float64]
ELECTRON_MASS_MeV = 0.51099895
FINE_STRUCTURE = 1.0 / 137.035999
REDUCED_COMPTON_fm = 386.15927


def fermi_function(total_energy: ArrayLike, charge: int, *, radius: float, order: int = 1) -> FloatArray:
    """Coulomb factor of the electron's partial wave of order k at the nucleus; 1 without charge.

    F = 4^(k−1) · 2k (k + γ) [(2k−1)!!]² / Γ(1+2γ)² · (2pR)^(2γ − 2k) · exp(πη) · |Γ(γ + iη)|²,
    γ = √(k² − (αZ)²),  η = αZW/p.

    Parameters
    ----------
    total_energy
        W, electron energy with rest energy, in units of the rest energy; shape (...).
    charge
        Z of the daughter; negative for positrons.
    radius
        R of the nucleus in reduced Compton wavelengths of the electron.
    order
        k: 1 for allowed transitions; 2 enters the unique first-forbidden shape.
    """
    from scipy.special import loggamma  # heavy, and the kernels of every day are packaged

    w = np.asarray(total_energy, dtype=np.float64)
    p = np.sqrt(w**2 - 1.0)
    strength = FINE_STRUCTURE * charge
    gamma, eta = np.sqrt(order**2 - strength**2), strength * w / p
    odd = float(np.prod(np.arange(1, 2 * order, 2)))
    norm = 4.0 ** (order - 1) * 2 * order * (order + gamma) * odd**2 * np.exp(-2 * loggamma(1 + 2 * gamma).real)
    wave = np.exp(np.pi * eta + 2 * loggamma(gamma + 1j * eta).real)
    return np.asarray(norm * (2 * p * radius) ** (2 * gamma - 2 * order) * wave)


def _allowed(w: FloatArray, q: FloatArray, charge: int, radius: float) -> FloatArray:
    return np.ones_like(w)


def _unique_first(w: FloatArray, q: FloatArray, charge: int, radius: float) -> FloatArray:
    """q² + λ₂ p²: neutrino and electron momenta squared, λ₂ = F₂ / F₁."""
    ratio = fermi_function(w, charge, radius=radius, order=2) / fermi_function(w, charge, radius=radius)
    return np.asarray(q**2 + ratio * (w**2 - 1.0))


SHAPES: dict[str, Callable[[FloatArray, FloatArray, int, float], FloatArray]] = {
    "allowed": _allowed,
    "unique first-forbidden": _unique_first,
}


def beta_spectrum(
    energy_MeV: ArrayLike, endpoint_MeV: float, charge: int, *, mass_number: int, shape: str = "allowed"
) -> FloatArray:
    """Electrons per MeV of one beta branch, normalised to one electron.

    N(W) ∝ F(Z, W) · p W (W₀ − W)² · C(W)

    Parameters
    ----------
    energy_MeV
        Kinetic energies, shape (...); outside (0, endpoint) the spectrum is zero.
    endpoint_MeV
        Largest kinetic energy of the branch.
    charge
        Z of the daughter, negative for positrons.
    mass_number
        A; the nuclear radius is 1.2 A^(1/3) fm (assumption; it matters for the unique shape only).

    Returns
    -------
    Electrons per MeV, shape (...).

    Raises
    ------
    UnknownNameError, PhysicsError
        For a shape that is not in `SHAPES`; for an endpoint that is not positive.
    """
    if shape not in SHAPES:
        raise UnknownNameError("beta spectrum shape", shape, SHAPES)
    if not endpoint_MeV > 0:
        raise PhysicsError(f"beta endpoint: found {endpoint_MeV} MeV; expected a positive energy")
    radius = 1.2 * mass_number ** (1 / 3) / REDUCED_COMPTON_fm
    node, weight = _gauss_legendre()
    inner = 0.5 * endpoint_MeV * (node + 1)
    total = float(np.sum(_density(inner, endpoint_MeV, charge, shape, radius) * weight)) * 0.5 * endpoint_MeV
    return _density(np.asarray(energy_MeV, dtype=np.float64), endpoint_MeV, charge, shape, radius) / total


@cache
def _gauss_legendre() -> tuple[FloatArray, FloatArray]:
    node, weight = np.polynomial.legendre.leggauss(128)
    return np.asarray(node), np.asarray(weight)


def _density(energy: FloatArray, endpoint: float, charge: int, shape: str, radius: float) -> FloatArray:
    inside = (energy > 0) & (energy < endpoint)
    w = 1.0 + np.where(inside, energy, 0.5 * endpoint) / ELECTRON_MASS_MeV
    q = 1.0 + endpoint / ELECTRON_MASS_MeV - w
    rate = fermi_function(w, charge, radius=radius) * np.sqrt(w**2 - 1.0) * w * q**2
    return np.asarray(np.where(inside, rate * SHAPES[shape](w, q, charge, radius), 0.0))
