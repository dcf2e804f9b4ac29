"""Builds ``validation/data/sphere_monte_carlo.csv``: balls of water filled with 177Lu and 90Y, by ompMC.

ompMC (see ``build_electron_kernels.py``) transports whole spectra from a point in unit-density water and scores energy
in rings and slabs. In an infinite uniform medium the share of its own energy that a uniformly filled ball absorbs is
the mean of the ball's self-overlap over that energy (reciprocity), with no cell cut by the ball's surface:

φ = Σ_cells E_cell ⟨γ(r)⟩_cell / E,  γ = 1 − 3u/4 + u³/16,  u = r / R < 2.

Within a cell energy is taken to fall as 1/r². FOLDER holds the spectra of ``build_dose_references.py --spectra``. Run
in an environment with ``ompmc`` 0.4.0 (minutes a case)::

    python builders/build_sphere_references.py FOLDER OUTPUT.csv [CASE ...]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from build_dose_references import sampled
from build_electron_kernels import transport, write_source

MASSES_g = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 6000.0)
RUNS = 8
# Nuclide, particle, histories a run, edges of rings and slabs in cm.
FAR_cm = (1.6, 2.5, 4.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 60.0)
CASES: dict[str, tuple[str, str, int, tuple[float, ...]]] = {
    "lu-electrons": ("Lu-177", "electrons", 120_000, (*np.round(np.arange(0, 0.21, 0.01), 3), 0.5, 1.2, *FAR_cm)),
    "y-electrons": ("Y-90", "electrons", 120_000, (*np.round(np.arange(0, 1.25, 0.04), 3), *FAR_cm)),
    "lu-photons": ("Lu-177", "photons", 1_000_000, (0, *np.geomspace(0.02, 1.2, 14), *FAR_cm)),
}


def overlap_of_cells(edges: NDArray[np.float64], radius_cm: float) -> NDArray[np.float64]:
    """Mean self-overlap of a ball over each cell of rings and slabs (the middle slab lies on both sides of 0)."""
    share = (np.arange(24) + 0.5) / 24
    inside = edges[:-1, None] + share * np.diff(edges)[:, None]
    ring, slab = inside[:, None, :, None], inside[None, :, None, :]
    r = np.hypot(ring, slab)
    u = np.minimum(r / radius_cm, 2.0)
    weight = ring / r**2
    return np.asarray((weight * (1 - 0.75 * u + u**3 / 16)).sum(axis=(2, 3)) / weight.sum(axis=(2, 3)))


def fractions(folder: Path, case: str, seed: int) -> NDArray[np.float64]:
    """Absorbed fraction of each ball, and the share of the energy scored anywhere."""
    name, kind, count, edge = CASES[case]
    edges, random = np.array(edge), np.random.default_rng(seed)
    energies = sampled(folder / f"{name}-{kind}.txt", count, random)
    slabs = np.concatenate([-edges[:0:-1], edges[1:]])
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "source"
        write_source(base, energies, np.zeros((count, 3)), random, particle={"photons": 1, "electrons": 2}[kind])
        scored = transport(base, edges, slabs, count=count, seed=seed + 1) / energies.mean()
    half = edges.size - 1
    folded = scored[:, half - 1 :].copy()
    folded[:, 1:] += scored[:, : half - 1][:, ::-1]
    radii = (3 * np.array(MASSES_g) / (4 * np.pi)) ** (1 / 3)
    return np.array([*(float((folded * overlap_of_cells(edges, r)).sum()) for r in radii), folded.sum()])


def main(folder: Path, output: Path, cases: list[str]) -> None:
    """Write the table."""
    lines = [
        "# Share of its own energy that a ball of water (1 g/mL, in infinite water) filled with a nuclide absorbs;",
        "# emissions above 10 keV, bremsstrahlung among the electrons; sd: statistical, of the mean of eight runs.",
        "# source: ompMC 0.4.0 (condensed history of EGSnrc, 521icru data, cut-off 10 keV): point source, rings and",
        "# slabs, folded with the ball's self-overlap; the code's own dependence on the number of boundaries is about",
        "# 1 % for 90Y at 1 g. scored: share of the energy found anywhere.",
        "# builder: builders/build_sphere_references.py; Apache-2.0",
        "nuclide,particle,mass_g,fraction,sd",
    ]
    for case in cases:
        runs = np.array([fractions(folder, case, 100 + 10 * run) for run in range(RUNS)])
        mean, sd = runs.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(RUNS)
        names = [*(f"{mass:g}" for mass in MASSES_g), "scored"]
        prefix = ",".join(CASES[case][:2])
        lines += [f"{prefix},{n},{m:.5f},{s:.5f}" for n, m, s in zip(names, mean, sd, strict=True)]
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or list(CASES))
