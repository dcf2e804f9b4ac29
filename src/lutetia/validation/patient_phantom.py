"""The licensed phantom patient15 on its own voxels: labels, density and a source. Needs numpy only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHAPE, SPACING_MM = (90, 70, 108), (4.4196, 3.9063, 3.9063)
# Value in the file, region, share of the decays (activities of the phantom's authors at the time of the scan, MBq).
REGIONS: tuple[tuple[int, str, float], ...] = (
    (15000, "liver", 104.0),
    (16000, "spleen", 34.2),
    (17000, "left kidney", 31.2),
    (18000, "right kidney", 37.2),
    (19000, "tumour 1", 15.4),
    (20000, "tumour 2", 8.2),
    (21000, "tumour 3", 4.8),
)


def _read(folder: Path, name: str) -> NDArray[np.uint16]:
    return np.fromfile(folder / f"patient15_LuDOTATATE_{name}.i33", dtype="<u2").reshape(SHAPE)


def labels(folder: Path) -> NDArray[np.int64]:
    """0 elsewhere, n for the nth region."""
    source, out = _read(folder, "src"), np.zeros(SHAPE, dtype=np.int64)
    for number, (value, _, _) in enumerate(REGIONS, start=1):
        out[source == value] = number
    return out


def density(folder: Path) -> NDArray[np.float32]:
    """g/mL: the attenuation volume is the density times 1000."""
    return np.asarray(np.maximum(_read(folder, "attn") / 1000.0, 0.0012), dtype=np.float32)


def activity(folder: Path) -> NDArray[np.float32]:
    """Share of the decays per voxel, sum 1."""
    label = labels(folder)
    amount = np.array([0.0, *(row[2] for row in REGIONS)])
    per_voxel = amount / amount.sum() / np.maximum(np.bincount(label.ravel()), 1)
    return np.asarray(per_voxel[label], dtype=np.float32)
