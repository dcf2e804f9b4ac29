"""Builds ``validation/data/patient15_monte_carlo.csv``: organ energies of 177Lu and 90Y in a real anatomy, by ompMC.

ompMC (a builder's tool only, GPL-3, never imported by the package) follows electrons and photons through the licensed
phantom patient15 on its own voxels: air below 0.1 g/mL, lung below 0.8, water to 1.1, bone above, each at the voxel's
density. FOLDER holds the phantom, SPECTRA ``NUCLIDE-electrons.txt`` and ``NUCLIDE-photons.txt``
(``build_dose_references.py --spectra``). Run in the repository, in an environment with ``ompmc`` 0.4.0::

    python -m builders.photon_patient_reference FOLDER SPECTRA OUTPUT.csv
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
from lutetia.validation import patient_phantom as patient

MEDIA = ("AIR521ICRU", "LUNG521ICRU", "H2O521ICRU", "ICRPBONE521ICRU")
BORDERS_g_per_mL = (0.1, 0.8, 1.1)
CASES = (("Y-90", "electrons", 500_000), ("Lu-177", "electrons", 250_000), ("Lu-177", "photons", 1_000_000))
RUNS, FLOOR_MeV = 4, 0.01


def region_energy(
    folder: Path, spectrum: NDArray[np.float64], particle: int, count: int, seed: int
) -> NDArray[np.float64]:
    """MeV per particle absorbed in each label."""
    random = np.random.default_rng(seed)
    energy, number = spectrum.T
    energies = random.choice(energy, count, p=number / number.sum())
    share = patient.activity(folder).ravel().astype(np.float64)
    voxel = random.choice(share.size, count, p=share / share.sum())
    spacing_cm = np.array(patient.SPACING_MM) / 10.0
    kji = (np.stack(np.unravel_index(voxel, patient.SHAPE), axis=1) + random.random((count, 3))) * spacing_cm
    density, label = patient.density(folder).astype(np.float64), patient.labels(folder)
    material = (np.searchsorted(BORDERS_g_per_mL, density, side="right") + 1).astype(np.int32)
    bounds = [np.arange(n + 1) * s for n, s in zip(patient.SHAPE, spacing_cm, strict=True)][::-1]
    geometry = ompmc.Geometry(
        *bounds,
        MEDIA,
        np.asfortranarray(density.transpose(2, 1, 0)),
        np.asfortranarray(material.transpose(2, 1, 0)),
    )
    with tempfile.TemporaryDirectory() as scratch:
        write_source(Path(scratch) / "source", energies, kji[:, ::-1], random, particle=particle)
        pegs = ompmc.data_path() / "pegs4" / "521icru.pegs4dat"
        found, *_ = ompmc.calc_forward_phsp(
            geometry,
            ompmc.PhaseSpaceSource(str(Path(scratch) / "source")),
            physics=ompmc.Physics(pegs_file=pegs, global_ecut=0.521, global_pcut=0.01, n_split=1, seeds=(seed + 1, 33)),
            n_histories=count,
            output_dose=False,
        )
    return np.bincount(label.ravel(), weights=np.asarray(found).transpose(2, 1, 0).ravel())


def main(folder: Path, spectra: Path, output: Path) -> None:
    """Write energy per decay by nuclide, particle and region, with the standard deviation of its mean."""
    lines = [
        "# source: ompMC 0.4.0 (condensed history of EGSnrc, 521icru data), particles above 10 keV, phantom patient15",
        "# unit: MeV absorbed per decay in the whole source; local: energy of the particles below 10 keV, which stay",
        "# builder: builders/photon_patient_reference.py; Apache-2.0",
        "nuclide,particle,region,energy_MeV,sd_MeV",
    ]
    for nuclide, kind, count in CASES:
        spectrum = np.atleast_2d(np.loadtxt(spectra / f"{nuclide}-{kind}.txt"))
        high = spectrum[spectrum[:, 0] > FLOOR_MeV]
        low = spectrum[spectrum[:, 0] <= FLOOR_MeV].prod(axis=1).sum()
        particle = {"photons": 1, "electrons": 2}[kind]
        runs = np.array([region_energy(folder, high, particle, count, 40 + run) for run in range(RUNS)])
        mean, sd = runs.mean(axis=0) * high[:, 1].sum(), runs.std(axis=0, ddof=1) / np.sqrt(RUNS) * high[:, 1].sum()
        lines.append(f"{nuclide},{kind},local,{low:.6g},0")
        for number, (_, region, _) in enumerate(patient.REGIONS, start=1):
            lines.append(f"{nuclide},{kind},{region},{mean[number]:.6g},{sd[number]:.2g}")
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
