"""Energy that a point source of a nuclide deposits around itself in water, by radius: the base of all S-values.

Monoenergetic tables (`data/electron_kernels.npz`, `data/photon_kernels.npz`; builders/) are folded with the emissions
of a nuclide. For the nuclides of every day the result of `fold_kernel` is packaged (`data/folded_kernels.npz`,
builders/build_folded_kernels.py), so that no command waits for it. Not here:
geometry of regions (`absorbed_fraction`, `shapes`) and voxels (`kernels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from lutetia.dose.spectra import Emissions, bremsstrahlung_shares, electron_emissions, photon_emissions
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import canonical_nuclide
from lutetia.nuclear.nuclides import nuclide as find_nuclide

FloatArray = NDArray[np.float64]
GY_G_PER_MBQ_H_MEV = 1.602176634e-13 * 1e6 * 3600.0 * 1e3
"""Gy·g per MBq·h for 1 MeV absorbed per decay."""
EDGES_mm = np.concatenate([[0.0], np.geomspace(1e-3, 5000.0, 1400)])
PARTS = ("electron_MeV", "bremsstrahlung_MeV", "photon_MeV")
ELECTRON_LIMIT_MeV, PHOTON_LIMIT_MeV, PHOTON_FLOOR_MeV = 2.6, 3.0, 0.003


@dataclass(frozen=True, slots=True, eq=False)
class PointKernel:
    """Energy deposited per decay in spherical shells of unit-density water between `edge_mm`, MeV, shape (shell,).

    `electron_MeV` holds what electrons deposit along their tracks, `bremsstrahlung_MeV` what their radiated photons
    deposit, `photon_MeV` what the nuclide's photons deposit. Distances in other media: multiply by the density (g/mL).
    """

    nuclide: str
    edge_mm: FloatArray
    electron_MeV: FloatArray
    bremsstrahlung_MeV: FloatArray
    photon_MeV: FloatArray

    @property
    def electron_range_mm(self) -> float:
        """Radius beyond which electrons deposit less than 1e-10 of their energy."""
        missing = 1.0 - np.cumsum(self.electron_MeV) / self.electron_MeV.sum()
        return float(self.edge_mm[1 + int(np.argmax(missing < 1e-10))])


@cache
def point_kernel(nuclide: str) -> PointKernel:
    """Point kernel of a nuclide in unit-density water: the packaged one, or that of `fold_kernel`."""
    name = canonical_nuclide(nuclide)
    packaged = _read("folded")
    if f"{name} electron_MeV" not in packaged:
        return fold_kernel(name)
    parts = (packaged[f"{name} {part}"] for part in PARTS)
    return _read_only(PointKernel(name, EDGES_mm, *parts))


def fold_kernel(nuclide: str) -> PointKernel:
    """Point kernel of a nuclide in unit-density water, computed from its emissions.

    Energy in shell = Σ_i n_i E_i [f(r₂/R(E_i); E_i) − f(r₁/R(E_i); E_i)], with f the cumulative fraction of the
    monoenergetic tables, interpolated in log E at equal r/R (electrons, R the range) or equal μr (photons).

    Raises
    ------
    PhysicsError
        For energies outside the tables (electrons above 2.6 MeV, photons above 3 MeV) and alpha emitters.

    Notes
    -----
    Electrons set free by photons deposit where they start; positrons are followed as electrons. Photons below 3 keV
    deposit at the source.
    """
    data = find_nuclide(nuclide)
    electrons, photons = electron_emissions(data), photon_emissions(data)
    _check(data.name, electrons, photons)
    energy, number = electrons
    fraction = _electron_cumulative(energy)
    deposit = np.diff((energy * number) @ fraction)
    radiated = _bremsstrahlung_deposit(energy, energy * number * (1.0 - fraction[:, -1]))
    return _read_only(PointKernel(data.name, EDGES_mm, deposit, radiated, _photon_deposit(photons)))


def _read_only(kernel: PointKernel) -> PointKernel:
    for part in PARTS:
        getattr(kernel, part).setflags(write=False)
    return kernel


def _check(name: str, electrons: Emissions, photons: Emissions) -> None:
    for kind, (energy, number), limit in (
        ("electrons", electrons, ELECTRON_LIMIT_MeV),
        ("photons", photons, PHOTON_LIMIT_MeV),
    ):
        high = float(np.max(energy[number > 1e-6], initial=0.0))
        if high > limit:
            raise PhysicsError(
                f"{name}: found {kind} of {high:.3g} MeV; expected at most {limit} MeV (range of the kernel tables)"
            )


@cache
def _read(name: str) -> dict[str, FloatArray]:
    with (
        as_file(files("lutetia.dose") / "data" / f"{name}_kernels.npz") as path,
        np.load(path, allow_pickle=False) as archive,
    ):
        return {key: archive[key].astype(np.float64) for key in archive.files if key != "source"}


def _electron_range_mm(energy_MeV: FloatArray) -> FloatArray:
    """Range by which the kernels are scaled; below the table it falls as E^1.75 (assumption; micrometres)."""
    from scipy.interpolate import CubicSpline  # heavy, and packaged kernels need none

    table = _read("electron")
    log_energy, asked = np.log(table["energy_MeV"]), np.log(energy_MeV)
    log_range = CubicSpline(log_energy, np.log(table["range_mm"]))
    low = np.minimum(asked - log_energy[0], 0.0)
    return np.asarray(np.exp(log_range(np.maximum(asked, log_energy[0])) + 1.75 * low))


def _electron_cumulative(energy_MeV: FloatArray) -> FloatArray:
    """Fraction deposited within each edge of `EDGES_mm` by electrons of given energies, shape (energy, edge)."""
    table = _read("electron")
    scaled = EDGES_mm[None, :] / _electron_range_mm(energy_MeV)[:, None]
    return _interpolate(
        scaled, np.log(energy_MeV), np.log(table["energy_MeV"]), table["edge"], _cumulative(table["fraction"])
    )


def _bremsstrahlung_deposit(energy_MeV: FloatArray, radiated_MeV: FloatArray) -> FloatArray:
    """Energy that radiated photons deposit in each shell, MeV per decay.

    The electron table already holds what they deposit within its reach, so they start to count there.
    """
    photon, share = bremsstrahlung_shares(energy_MeV)
    profile = share @ np.diff(_photon_cumulative(photon), axis=1)
    reach = _read("electron")["edge"][-1] * _electron_range_mm(energy_MeV)
    profile[EDGES_mm[None, :-1] < reach[:, None]] = 0.0
    total = profile.sum(axis=1)
    return np.asarray(np.divide(radiated_MeV, total, out=np.zeros_like(total), where=total > 0) @ profile)


def _photon_cumulative(energy_MeV: FloatArray) -> FloatArray:
    """Fraction deposited within each edge of `EDGES_mm` by photons of given energies, shape (energy, edge)."""
    from scipy.interpolate import CubicSpline

    table = _read("photon")
    log_energy, asked = np.log(table["energy_MeV"]), np.log(energy_MeV)
    mu = np.exp(CubicSpline(log_energy, np.log(table["mu_per_mm"]))(asked))
    cumulative = _cumulative(table["fraction"])
    cumulative /= cumulative[:, -1:]
    return _interpolate(EDGES_mm[None, :] * mu[:, None], asked, log_energy, table["edge"], cumulative)


def _cumulative(fraction: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((fraction.shape[0], 1)), np.cumsum(fraction, axis=1)], axis=1)


def _photon_deposit(photons: Emissions) -> FloatArray:
    """Energy per decay that photons deposit in each shell, MeV."""
    energy, number = photons
    local = energy < PHOTON_FLOOR_MeV
    deposit = np.diff((energy * number)[~local] @ _photon_cumulative(energy[~local]))
    deposit[0] += float(energy[local] @ number[local])
    return np.asarray(deposit)


def _interpolate(
    x: FloatArray, log_energy: FloatArray, nodes: FloatArray, edge: FloatArray, cumulative: FloatArray
) -> FloatArray:
    """Monotone in x along `edge`, linear in log E between the rows of a table; shape of `x`."""
    from scipy.interpolate import PchipInterpolator

    upper = np.clip(np.searchsorted(nodes, log_energy), 1, nodes.size - 1)
    share = np.clip((log_energy - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1]), 0.0, 1.0)[:, None]
    result = np.empty_like(x)
    for row in np.unique(upper):
        here = upper == row
        inside = np.clip(x[here], 0.0, edge[-1])
        low, high = (PchipInterpolator(edge, cumulative[r])(inside) for r in (row - 1, row))
        result[here] = (1 - share[here]) * low + share[here] * high
    return result
