"""Builds ``validation/data/photon_monte_carlo.csv``: photons of 177Lu in a trunk with lungs and spine, by ompMC.

ompMC (a builder's tool only, GPL-3, never imported by the package) follows photons and the electrons that they set free
through the phantom of ``validation/trunk_phantom.py``. SPECTRUM holds rows ``energy_MeV number_per_decay``
(``build_dose_references.py --spectra`` writes it). Run in the repository, in an environment with ``ompmc`` 0.4.0::

    python -m builders.photon_reference SPECTRUM OUTPUT.csv
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import ompmc
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from build_electron_kernels import write_source
from lutetia.validation import trunk_phantom as trunk

RUNS, HISTORIES, FLOOR_MeV = 8, 1_500_000, 0.01


def region_energy(spectrum: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """MeV per photon absorbed in each label."""
    random = np.random.default_rng(seed)
    energy, number = spectrum.T
    energies = random.choice(energy, HISTORIES, p=number / number.sum())
    share = trunk.activity().ravel().astype(np.float64)
    voxel = random.choice(share.size, HISTORIES, p=share / share.sum())
    k, j, i = np.unravel_index(voxel, trunk.SHAPE)
    points = np.stack([i, j, k], axis=1) + random.random((HISTORIES, 3))
    label = trunk.labels()
    media = sorted({row[2] for row in trunk.LABELS})
    material = np.array([media.index(row[2]) + 1 for row in trunk.LABELS], dtype=np.int32)[label]
    nk, nj, ni = trunk.SHAPE
    geometry = ompmc.Geometry(
        *(np.arange(n + 1.0) for n in (ni, nj, nk)),
        media,
        np.asfortranarray(trunk.density().astype(np.float64).transpose(2, 1, 0)),
        np.asfortranarray(material.transpose(2, 1, 0)),
    )
    with tempfile.TemporaryDirectory() as scratch:
        write_source(Path(scratch) / "source", energies, points, random, particle=1)
        pegs = ompmc.data_path() / "pegs4" / "521icru.pegs4dat"
        found, *_ = ompmc.calc_forward_phsp(
            geometry,
            ompmc.PhaseSpaceSource(str(Path(scratch) / "source")),
            physics=ompmc.Physics(pegs_file=pegs, global_ecut=0.521, global_pcut=0.01, n_split=1, seeds=(seed + 1, 33)),
            n_histories=HISTORIES,
            output_dose=False,
        )
    return np.bincount(label.ravel(), weights=np.asarray(found).transpose(2, 1, 0).ravel(), minlength=len(trunk.LABELS))


def main(spectrum_file: Path, output: Path) -> None:
    """Write energy per decay by region, with the standard deviation of its mean."""
    spectrum = np.loadtxt(spectrum_file)
    spectrum = spectrum[spectrum[:, 0] > FLOOR_MeV]
    runs = np.array([region_energy(spectrum, 70 + run) for run in range(RUNS)]) * spectrum[:, 1].sum()
    mean, sd = runs.mean(axis=0), runs.std(axis=0, ddof=1) / np.sqrt(RUNS)
    lines = [
        "# source: ompMC 0.4.0 (condensed history of EGSnrc, 521icru data), 177Lu photons above 10 keV in a trunk",
        "# unit: MeV absorbed per decay in the whole source; sd: statistical; phantom: validation/trunk_phantom.py",
        "# builder: builders/photon_reference.py; Apache-2.0",
        "region,energy_MeV,sd_MeV",
    ]
    lines += [f"{row[0]},{m:.6g},{s:.2g}" for row, m, s in zip(trunk.LABELS, mean, sd, strict=True)]
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
