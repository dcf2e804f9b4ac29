"""Builds ``src/lutetia/dose/data/photon_kernels.npz``: monoenergetic photon point kernels in infinite water.

Energy deposited around an isotropic point source, in bins of optical radius x = μ r. The part of first collisions is
analytic (mean energy transferred · exp(−x)); what scattered photons deposit comes from a Monte Carlo of our own:
photo-absorption, Klein–Nishina scattering, coherent scattering with atomic form factors; electrons deposit where they
are set free. Pair production is left out (below 1 % of the attenuation at 2 MeV). Cross sections: elemental tables of
W. T. Elam, B. D. Ravel and J. R. Sieber as carried by ``xraydb`` (a builder's tool; public domain), combined for H2O by
mass; above 0.8 MeV the scattering coefficient is Klein–Nishina and photo-absorption is extrapolated as E^-3
(assumption; it is below 1e-4 of the attenuation).

Run in an environment with ``xraydb`` and ``numba`` (about 4 minutes)::

    python builders/build_photon_kernels.py OUTPUT.npz
"""

from __future__ import annotations

import sys

import numpy as np
import xraydb
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ELECTRON_MASS_MeV = 0.51099895
HC_keV_A = 12.398419843
HYDROGEN, OXYGEN = 0.111894, 0.888106
ELECTRONS_PER_G = 3.34284e23
CLASSICAL_RADIUS_CM = 2.8179403e-13
CUTOFF_MeV = 1e-3
SOURCE = (
    "Fraction of the energy of monoenergetic photons (isotropic point source, infinite water, 1 g/cm3) deposited per "
    "bin of mu * r. Computed by builders/build_photon_kernels.py: first collisions analytic, the others by Monte Carlo "
    "(600,000 photons per energy); cross sections from the Elam tables (xraydb, public domain). Apache-2.0."
)
HISTORIES = 600_000
LOW_keV = (3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 23, 26, 30, 35, 40, 45, 50, 55, 60, 65, 72, 80, 90, 100, 113, 125)
HIGH_keV = (140, 160, 180, 208, 230, 250, 280, 320, 364, 420, 511, 600, 700, 850, 1000, 1200, 1500, 1900, 2300)
ENERGIES_MeV = np.array([*LOW_keV, *HIGH_keV]) / 1e3
EDGES = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 81), np.linspace(1.0, 30.0, 146)[1:]])


def klein_nishina_cm2(energy_MeV: FloatArray) -> FloatArray:
    """Total Klein–Nishina cross section of one electron."""
    k = energy_MeV / ELECTRON_MASS_MeV
    first = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - np.log1p(2 * k) / k)
    second = np.log1p(2 * k) / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    return 2 * np.pi * CLASSICAL_RADIUS_CM**2 * (first + second)


def coefficients(energy_MeV: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Photo-absorption, incoherent and coherent attenuation of water, cm²/g."""
    inside = np.clip(energy_MeV, None, 0.8) * 1e6
    water = {
        k: HYDROGEN * xraydb.mu_elam("H", inside, k) + OXYGEN * xraydb.mu_elam("O", inside, k)
        for k in ("photo", "incoh", "coh")
    }
    beyond = energy_MeV / np.clip(energy_MeV, None, 0.8)
    incoherent = np.where(beyond > 1, klein_nishina_cm2(energy_MeV) * ELECTRONS_PER_G, water["incoh"])
    return water["photo"] * beyond**-3.0, incoherent, water["coh"] * beyond**-2.0


def form_factor_cumulative(momentum: FloatArray) -> FloatArray:
    """∫ F² d(q²) of a water molecule (independent atoms) over q = sin(θ/2)/λ in 1/Å."""
    squared = 2 * xraydb.f0("H", momentum) ** 2 + xraydb.f0("O", momentum) ** 2
    step = np.diff(momentum**2)
    return np.concatenate([[0.0], np.cumsum(0.5 * (squared[1:] + squared[:-1]) * step)])


@njit(cache=False)
def _compton(energy, mass):
    """Klein–Nishina by the composition-rejection method: scattered energy and cosine."""
    k = energy / mass
    e0 = 1.0 / (1.0 + 2.0 * k)
    a1, a2 = np.log(1.0 / e0), 0.5 * (1.0 - e0 * e0)
    while True:
        if np.random.random() * (a1 + a2) < a1:
            e = np.exp(-a1 * np.random.random())
        else:
            e = np.sqrt(e0 * e0 + (1.0 - e0 * e0) * np.random.random())
        t = (1.0 - e) / (k * e)
        if np.random.random() < 1.0 - e * t * (2.0 - t) / (1.0 + e * e):
            return energy * e, 1.0 - t


@njit(cache=False)
def _rayleigh(energy, q_grid, q_cumulative, hc):
    """Cosine of coherent scattering: q² from the form factor, (1 + cos²)/2 by rejection."""
    q_max = energy * 1e3 / hc
    top = np.interp(q_max, q_grid, q_cumulative)
    while True:
        q = np.interp(np.random.random() * top, q_cumulative, q_grid)
        c = 1.0 - 2.0 * (q / q_max) ** 2
        if np.random.random() < 0.5 * (1.0 + c * c):
            return max(-1.0, c)


@njit(cache=False)
def _turn(u, v, w, c):
    """Direction after scattering by the cosine c and a random azimuth."""
    s, phi = np.sqrt(max(0.0, 1.0 - c * c)), 2.0 * np.pi * np.random.random()
    cp, sp = np.cos(phi), np.sin(phi)
    if abs(w) > 0.99999:
        return s * cp, s * sp, c * np.sign(w)
    t = np.sqrt(1.0 - w * w)
    return u * c + s * (u * w * cp - v * sp) / t, v * c + s * (v * w * cp + u * sp) / t, w * c - s * t * cp


@njit(cache=False)
def transport(
    energy0, histories, seed, grid, photo, incoherent, coherent, q_grid, q_cumulative, mass, hc, cutoff, edges, mu0
):
    """Fraction of the energy that photons deposit after their first collision, per bin of x = mu0 r."""
    np.random.seed(seed)
    score = np.zeros(edges.size)
    log_grid = np.log(grid)
    for _ in range(histories):
        x, y, z = 0.0, 0.0, 0.0
        w = 2.0 * np.random.random() - 1.0
        phi = 2.0 * np.pi * np.random.random()
        s = np.sqrt(1.0 - w * w)
        u, v = s * np.cos(phi), s * np.sin(phi)
        energy, first = energy0, True
        while True:
            le = np.log(energy)
            p, i, c = (
                np.exp(np.interp(le, log_grid, photo)),
                np.exp(np.interp(le, log_grid, incoherent)),
                np.exp(np.interp(le, log_grid, coherent)),
            )
            step = -np.log(1.0 - np.random.random()) / (p + i + c)
            x, y, z = x + u * step, y + v * step, z + w * step
            pick = np.random.random() * (p + i + c)
            lost = 0.0
            if pick < p:
                lost, energy = energy, 0.0
            elif pick < p + i:
                after, cosine = _compton(energy, mass)
                u, v, w = _turn(u, v, w, cosine)
                lost, energy = energy - after, after
            else:
                u, v, w = _turn(u, v, w, _rayleigh(energy, q_grid, q_cumulative, hc))
            if energy < cutoff:
                lost, energy = lost + energy, 0.0
            if not first and lost > 0.0:
                r = mu0 * np.sqrt(x * x + y * y + z * z)
                score[np.searchsorted(edges, r) - 1] += lost
            first = False
            if energy == 0.0:
                break
    return score / (histories * energy0)


def mean_transfer_MeV(energy_MeV: float) -> float:
    """Mean energy given to the electron in Klein–Nishina scattering."""
    k = energy_MeV / ELECTRON_MASS_MeV
    cosine, weight = np.polynomial.legendre.leggauss(400)
    ratio = 1 / (1 + k * (1 - cosine))
    section = ratio**2 * (ratio + 1 / ratio - (1 - cosine**2)) * weight
    return float(energy_MeV * np.sum(section * (1 - ratio)) / section.sum())


def main(output: str) -> None:
    """Transport every energy and write the table."""
    grid = np.geomspace(0.9e-3, 2.5, 800)
    logs = [np.log(c) for c in coefficients(grid)]
    q_grid = np.linspace(0.0, 8.0, 4001)
    q_cumulative = form_factor_cumulative(q_grid)
    rows, mu = [], []
    for index, energy in enumerate(ENERGIES_MeV):
        photo, incoherent, coherent = (float(c[0]) for c in coefficients(np.array([energy])))
        total = photo + incoherent + coherent
        scattered = transport(
            energy,
            HISTORIES,
            100 + index,
            grid,
            *logs,
            q_grid,
            q_cumulative,
            ELECTRON_MASS_MeV,
            HC_keV_A,
            CUTOFF_MeV,
            EDGES,
            total,
        )[:-1]
        transfer = (photo * energy + incoherent * mean_transfer_MeV(float(energy))) / (total * energy)
        rows.append(transfer * -np.diff(np.exp(-EDGES)) + scattered)
        mu.append(total / 10.0)
        print(energy, total, transfer, rows[-1].sum(), flush=True)
    np.savez_compressed(
        output,
        source=np.array(SOURCE),
        energy_MeV=ENERGIES_MeV,
        mu_per_mm=np.array(mu),
        edge=EDGES,
        fraction=np.array(rows),
    )


if __name__ == "__main__":
    main(sys.argv[1])
