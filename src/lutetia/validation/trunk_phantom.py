"""A simple trunk of 1 cm voxels for photon transport: water, two lungs, a spine, two organs with activity.

Needs numpy only, since the builder of the reference runs where the dependencies of the package are not installed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPE = (44, 24, 36)
VOXEL_MM = 10.0
# Label, density g/mL, name of the medium in 521icru data.
LABELS: tuple[tuple[str, float, str], ...] = (
    ("air", 0.0012, "AIR521ICRU"),
    ("water", 1.05, "H2O521ICRU"),
    ("lungs", 0.26, "LUNG521ICRU"),
    ("spine", 1.85, "ICRPBONE521ICRU"),
    ("first organ", 1.05, "H2O521ICRU"),
    ("second organ", 1.05, "H2O521ICRU"),
)
# Share of the decays in each label.
SOURCE = {"first organ": 0.6, "second organ": 0.3, "lungs": 0.1}


def labels() -> NDArray[np.int64]:
    """Label of each voxel, shape `SHAPE` (k to the head, j to the back, i to the left)."""
    k, j, i = np.meshgrid(*[(np.arange(n) + 0.5 - n / 2) for n in SHAPE], indexing="ij")
    out = np.zeros(SHAPE, dtype=np.int64)
    out[(i / 17) ** 2 + (j / 11) ** 2 <= 1] = 1
    for side in (-1, 1):
        out[((i - 8 * side) / 5.5) ** 2 + (j / 7.5) ** 2 + ((k - 10) / 10) ** 2 <= 1] = 2
    out[(i / 2) ** 2 + ((j - 7) / 2) ** 2 <= 1] = 3
    out[((i + 7) / 7) ** 2 + (j / 6) ** 2 + ((k + 6) / 5) ** 2 <= 1] = 4
    out[((i - 7) / 3) ** 2 + ((j - 4) / 2.5) ** 2 + ((k + 8) / 5) ** 2 <= 1] = 5
    return out


def density() -> NDArray[np.float32]:
    """g/mL of each voxel."""
    return np.asarray(np.array([row[1] for row in LABELS])[labels()], dtype=np.float32)


def activity() -> NDArray[np.float32]:
    """Activity of each voxel, sum 1."""
    label = labels()
    share = np.array([SOURCE.get(row[0], 0.0) for row in LABELS]) / np.maximum(np.bincount(label.ravel()), 1)
    return np.asarray(share[label], dtype=np.float32)
