"""Voxel S-values of 177Lu and 90Y against the table of Lanconelli et al. 2012."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutetia.dose.kernels import voxel_kernel
from lutetia.validation.checks import Check, compared
from lutetia.validation.reference_data import reference_rows

STUDY = "Voxel S-values"
UNIT = "mGy/(MBq s)"
GY_PER_MBQ_H = 3.6
BETA_REACH_mm = 9.0
"""Distance within which betas of 90Y dominate; beyond, bremsstrahlung (0.4 % of the energy) takes over."""
SELF_NOTE = "the table misses about 10 keV of conversion electrons per decay in this voxel"
Offset = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class VoxelPair:
    """One voxel of the published table beside ours, mGy/(MBq s)."""

    offset: Offset
    distance_mm: float
    ours: float
    published: float

    @property
    def difference_percent(self) -> float:
        """Ours over published less 1."""
        return 100.0 * (self.ours / self.published - 1.0)


def voxel_pairs(name: str, voxel_mm: float) -> list[VoxelPair]:
    """Every voxel of the published table for a nuclide and voxel size."""
    kernel = voxel_kernel(name, (voxel_mm, voxel_mm, voxel_mm), extent_mm=6.0 * voxel_mm)
    middle = np.array(kernel.values.shape) // 2
    pairs = []
    for row in reference_rows("voxel_s_values"):
        if row["nuclide"] == name and float(row["voxel_mm"]) == voxel_mm:
            offset = int(row["k"]), int(row["j"]), int(row["i"])
            ours = float(kernel.values[tuple(middle + offset)]) / GY_PER_MBQ_H
            pairs.append(VoxelPair(offset, voxel_mm * float(np.linalg.norm(offset)), ours, float(row["s"])))
    return pairs


def published_sizes(name: str) -> list[float]:
    """Voxel sizes of the packaged part of the table, mm."""
    return sorted({float(r["voxel_mm"]) for r in reference_rows("voxel_s_values") if r["nuclide"] == name})


def voxel_study() -> list[Check]:
    """Source voxel, face neighbour, and the other voxels of the table, for three voxel sizes."""
    checks = []
    for size in published_sizes("Lu-177"):
        checks += _lutetium(size)
    for size in published_sizes("Y-90"):
        checks += _yttrium(size)
    return checks


def _lutetium(size: float) -> list[Check]:
    pairs = voxel_pairs("Lu-177", size)
    others = [abs(p.difference_percent) for p in pairs if p.offset != (0, 0, 0)]
    return [
        _one("Lu-177", size, _at(pairs, (0, 0, 0)), "source voxel", (7.0, 10.0), SELF_NOTE),
        _one("Lu-177", size, _at(pairs, (0, 0, 1)), "face neighbour", 3.0),
        Check(STUDY, f"Lu-177 {size:g} mm, mean difference of other voxels", float(np.mean(others)), "%", high=3.0),
    ]


def _yttrium(size: float) -> list[Check]:
    pairs = voxel_pairs("Y-90", size)
    reach = [p for p in pairs if 0.0 < p.distance_mm < BETA_REACH_mm and p.offset != (0, 0, 1)]
    checks = [
        _one("Y-90", size, _at(pairs, (0, 0, 0)), "source voxel", 3.0),
        _one("Y-90", size, _at(pairs, (0, 0, 1)), "face neighbour", 2.0),
    ]
    if reach:
        worst = max(reach, key=lambda p: abs(p.difference_percent))
        where = "farthest off in reach of betas, {} {} {}".format(*worst.offset)
        checks.append(_one("Y-90", size, worst, where, 5.0))
    return checks


def _at(pairs: list[VoxelPair], offset: Offset) -> VoxelPair:
    return next(p for p in pairs if p.offset == offset)


def _one(
    name: str, size: float, pair: VoxelPair, words: str, tolerance: float | tuple[float, float], note: str = ""
) -> Check:
    return compared(
        STUDY, f"{name} {size:g} mm, {words}", pair.ours, pair.published,
        unit=UNIT, tolerance_percent=tolerance, note=note,
    )  # fmt: skip
