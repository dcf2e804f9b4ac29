"""Builds ``src/lutetia/dose/data/electron_kernels.npz``: monoenergetic electron point kernels in water.

For every energy, ompMC (condensed history of EGSnrc; a builder's tool only, GPL-3, never imported by the package)
transports electrons that start isotropically in the middle of a water cylinder of unit density. The energy deposited in
rings and slabs is unfolded into spherical shells of r / range. Rows of the result sum to the fraction deposited; the
rest left as bremsstrahlung.

Run in an environment that has ``ompmc`` 0.4.0 (about 8 minutes on two cores)::

    python builders/build_electron_kernels.py OUTPUT.npz
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import ompmc
from numpy.typing import NDArray
from scipy.optimize import nnls

from electron_range import csda_range_g_per_cm2

ENERGIES_MeV = (
    0.0125,
    0.02,
    0.03,
    0.045,
    0.065,
    0.09,
    0.12,
    0.16,
    0.21,
    0.28,
    0.37,
    0.5,
    0.67,
    0.9,
    1.2,
    1.6,
    2.0,
    2.3,
)
EDGES = np.linspace(0.0, 1.25, 51)
HISTORIES = 200_000
SOURCE = (
    "Fraction of the energy of monoenergetic electrons (isotropic point source, infinite water, 1 g/cm3) deposited per "
    "shell of r / range; what is missing to 1 left as bremsstrahlung. Computed by builders/build_electron_kernels.py "
    "with ompMC 0.4.0 (condensed history of EGSnrc, 521icru data, cut-off 10 keV), 200,000 electrons per energy; "
    "Apache-2.0."
)
_HEADER = """$IAEA_INDEX:
1000
$TITLE:
isotropic point source of electrons
$FILE_TYPE:
0
$CHECKSUM:
{bytes}
$RECORD_CONTENTS:
1 // X
1 // Y
1 // Z
1 // U
1 // V
1 // W
1 // weight
0 // extra floats
0 // extra longs
$RECORD_CONSTANT:
$RECORD_LENGTH:
29
$BYTE_ORDER:
1234
$ORIG_HISTORIES:
{count}
$PARTICLES:
{count}
$ELECTRONS:
{count}
"""


def write_source(
    base: Path,
    energy_MeV: NDArray[np.float64],
    position_cm: NDArray[np.float64],
    random: np.random.Generator,
    *,
    particle: int = 2,
) -> None:
    """Phase-space file of particles (1 photons, 2 electrons) with isotropic directions.

    The sign of the type byte is the sign of the direction along z.
    """
    count = energy_MeV.size
    w, phi = random.uniform(-1, 1, count), random.uniform(0, 2 * np.pi, count)
    sine = np.sqrt(1 - w**2)
    record = np.zeros(count, dtype=[("type", "i1"), ("values", "<f4", 7)])
    record["type"] = np.where(w < 0, -particle, particle)
    columns = (-energy_MeV, *position_cm.T, sine * np.cos(phi), sine * np.sin(phi), np.ones(count))
    record["values"] = np.stack(columns, axis=1)
    base.with_suffix(".IAEAphsp").write_bytes(record.tobytes())
    base.with_suffix(".IAEAheader").write_text(_HEADER.format(bytes=record.nbytes, count=count), encoding="ascii")


def transport(
    base: Path, rings_cm: NDArray[np.float64], slabs_cm: NDArray[np.float64], *, count: int, seed: int
) -> NDArray[np.float64]:
    """MeV per electron deposited in rings and slabs of a water cylinder, shape (ring, slab)."""
    pegs = ompmc.data_path() / "pegs4" / "521icru.pegs4dat"
    physics = ompmc.Physics(pegs_file=pegs, global_ecut=0.521, global_pcut=0.01, n_split=1, seeds=(seed, 33))
    energy, _, summary = ompmc.calc_radial(
        ompmc.CylinderGeometry(rings_cm, slabs_cm, "H2O521ICRU", 1.0),
        ompmc.PhaseSpaceSource(str(base)),
        physics=physics,
        n_histories=count,
        output_dose=False,
    )
    print(summary, file=sys.stderr, flush=True)
    return np.asarray(energy)


def shell_to_ring(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each spherical shell (uniform in r and direction) per ring and half slab: (ring·slab, shell)."""
    count = edges.size - 1
    result = np.zeros((count, count, count))
    radius_step, cosine = (np.arange(64) + 0.5) / 64, (np.arange(2000) + 0.5) / 2000
    for shell in range(count):
        r = edges[shell] + radius_step * (edges[shell + 1] - edges[shell])
        ring = r[:, None] * np.sqrt(1 - cosine**2)
        slab = r[:, None] * cosine
        histogram, _, _ = np.histogram2d(ring.ravel(), slab.ravel(), bins=(edges, edges))
        result[:, :, shell] = histogram / ring.size
    return result.reshape(count * count, count)


def energy_in_shells(energy_MeV: float, folder: Path, response: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Fraction of the energy deposited in each shell of r / range."""
    length = float(csda_range_g_per_cm2(energy_MeV))
    base = folder / f"e{seed}"
    write_source(base, np.full(HISTORIES, energy_MeV), np.zeros((HISTORIES, 3)), np.random.default_rng(seed))
    slabs = np.concatenate([-EDGES[:0:-1], EDGES]) * length
    energy = transport(base, EDGES * length, slabs, count=HISTORIES, seed=seed + 1)
    half = energy.shape[1] // 2
    folded = (energy[:, half:] + energy[:, :half][:, ::-1]).ravel() / energy_MeV
    weight = 1.0 / np.sqrt(folded + 1e-7)
    shells, _ = nnls(response * weight[:, None], folded * weight)
    return np.asarray(shells * folded.sum() / shells.sum())


def main(output: str) -> None:
    """Transport every energy and write the table."""
    response = shell_to_ring(EDGES)
    with tempfile.TemporaryDirectory() as name:
        rows = [energy_in_shells(e, Path(name), response, seed) for seed, e in enumerate(ENERGIES_MeV, start=11)]
    np.savez_compressed(
        output,
        source=np.array(SOURCE),
        energy_MeV=np.array(ENERGIES_MeV),
        range_mm=10.0 * csda_range_g_per_cm2(np.array(ENERGIES_MeV)),
        edge=EDGES,
        fraction=np.array(rows),
    )


if __name__ == "__main__":
    main(sys.argv[1])
