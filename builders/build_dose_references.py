"""Builds ``validation/data/dose_monte_carlo.csv``: independent Monte Carlo of whole spectra, to test the folds.

ompMC (see ``build_electron_kernels.py``) in unit-density water: (a) cylinders as high as wide, filled uniformly,
absorbed fraction of a nuclide's electrons and photons; (b) a point source of the electrons of 90Y, energy by distance
in the bremsstrahlung field. FOLDER holds ``NUCLIDE-electrons.txt`` and ``NUCLIDE-photons.txt`` with rows
``energy_MeV number_per_decay``, written where the package is installed::

    python builders/build_dose_references.py --spectra FOLDER      # environment of the package
    python builders/build_dose_references.py FOLDER OUTPUT.csv     # environment of ompmc
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NUCLIDES = ("Lu-177", "Y-90")
MASSES_g = (1.0, 10.0, 150.0)
PHOTON_MASSES_g = (150.0, 1800.0)
HISTORIES = {"electrons": 150_000, "photons": 1_500_000}
POINT_HISTORIES = 1_500_000
SHELLS_mm = (14, 20, 25, 30, 35, 40, 50, 60, 80, 100, 130, 160)


def write_spectra(folder: Path) -> None:
    """Electron and photon spectra of the nuclides as text."""
    from lutetia.dose.spectra import electron_emissions, photon_emissions
    from lutetia.nuclear.nuclides import nuclide

    for name in NUCLIDES:
        np.savetxt(folder / f"{name}-electrons.txt", np.stack(electron_emissions(nuclide(name)), axis=1))
        np.savetxt(folder / f"{name}-photons.txt", np.stack(photon_emissions(nuclide(name)), axis=1))


def sampled(file: Path, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Energies of `count` particles above 10 keV."""
    energy, number = np.loadtxt(file).T
    high = energy > 0.01
    cumulative = np.cumsum(number[high]) / number[high].sum()
    return energy[high][np.searchsorted(cumulative, random.random(count))]


def cylinder_fraction(folder: Path, name: str, kind: str, mass_g: float) -> tuple[float, float]:
    """Absorbed fraction of particles above 10 keV in a uniformly filled cylinder, and its statistical sd."""
    from build_electron_kernels import transport, write_source

    radius, parts, particle = (mass_g / (2 * np.pi)) ** (1 / 3), [], {"photons": 1, "electrons": 2}[kind]
    for seed in range(5):
        random = np.random.default_rng(40 + seed)
        count = HISTORIES[kind] // 5
        ring, phi = radius * np.sqrt(random.random(count)), random.uniform(0, 2 * np.pi, count)
        points = np.stack([ring * np.cos(phi), ring * np.sin(phi), random.uniform(-radius, radius, count)], axis=1)
        energies = sampled(folder / f"{name}-{kind}.txt", count, random)
        with tempfile.TemporaryDirectory() as scratch:
            write_source(Path(scratch) / "source", energies, points, random, particle=particle)
            slabs = np.array([-radius - 40, -radius, radius, radius + 40])
            rings = np.array([0.0, radius, radius + 40])
            energy = transport(Path(scratch) / "source", rings, slabs, count=count, seed=7 + seed)
        parts.append(energy[0, 1] / energies.mean())
    return float(np.mean(parts)), float(np.std(parts, ddof=1) / np.sqrt(5))


def far_field(folder: Path) -> list[tuple[float, float, float]]:
    """(r low, r high in mm, keV per decay) of 90Y; bins of rings and slabs go to the shell of their mean distance."""
    from build_electron_kernels import transport, write_source

    random = np.random.default_rng(3)
    energies = sampled(folder / "Y-90-electrons.txt", POINT_HISTORIES, random)
    edges = np.concatenate([[0, 1.3], np.arange(1.5, 6.1, 0.5), np.arange(7, 31, 1.0)])
    with tempfile.TemporaryDirectory() as scratch:
        write_source(Path(scratch) / "source", energies, np.zeros((energies.size, 3)), random)
        slabs = np.concatenate([-edges[:0:-1], edges])
        energy = transport(Path(scratch) / "source", edges, slabs, count=energies.size, seed=6)
    half = energy.shape[1] // 2
    folded = energy[:, half:] + energy[:, :half][:, ::-1]
    distance = 10 * np.hypot(*np.meshgrid(*(2 * [0.5 * (edges[1:] + edges[:-1])]), indexing="ij"))
    return [
        (a, b, 1e3 * float(folded[(distance >= a) & (distance < b)].sum())) for a, b in itertools.pairwise(SHELLS_mm)
    ]


def main(folder: Path, output: Path) -> None:
    """Write the table."""
    lines = [
        "# source: ompMC 0.4.0 (condensed history of EGSnrc, 521icru data, water 1 g/mL, cut-off 10 keV); sd",
        "# builder: builders/build_dose_references.py; Apache-2.0",
        "quantity,nuclide,first,second,value,sd",
    ]
    cases = [(n, "electrons", m) for n in NUCLIDES for m in MASSES_g] + [
        ("Lu-177", "photons", m) for m in PHOTON_MASSES_g
    ]
    for name, kind, mass in cases:
        value, sd = cylinder_fraction(folder, name, kind, mass)
        lines.append(f"cylinder_fraction_of_{kind},{name},{mass:g},,{value:.5f},{sd:.5f}")
    lines += [f"shell_keV,Y-90,{low},{high},{value:.5f}," for low, high, value in far_field(folder)]
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--spectra":
        write_spectra(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
