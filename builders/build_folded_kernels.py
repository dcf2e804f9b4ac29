"""Builds ``src/lutetia/dose/data/folded_kernels.npz``: point kernels of the nuclides of every day.

Run it after a change of the electron or photon tables or of a nuclide's emissions; a test compares the file with
`fold_kernel`::

    python builders/build_folded_kernels.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lutetia.dose.point_kernels import PARTS, fold_kernel

NUCLIDES = ("Lu-177", "Y-90")
TARGET = Path(__file__).parents[1] / "src/lutetia/dose/data/folded_kernels.npz"
SOURCE = "lutetia.dose.point_kernels.fold_kernel: MeV per decay in the shells between EDGES_mm, unit-density water"


def main() -> None:
    """Fold and write."""
    kernels = {name: fold_kernel(name) for name in NUCLIDES}
    arrays = {f"{name} {part}": getattr(kernel, part) for name, kernel in kernels.items() for part in PARTS}
    np.savez_compressed(TARGET, source=np.array(SOURCE), **arrays)


if __name__ == "__main__":
    main()
