"""Voxel S-values of 177Lu and 90Y, and cubes of 90Y voxels, against the table of Lanconelli et al. 2012."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.dose.kernels import voxel_kernel
from lutetia.validation.checks import Check, compared
from lutetia.validation.reference_data import reference_rows

STUDY, CUBES = "Voxel S-values", "Cubes of 90Y"
UNIT = "mGy/(MBq s)"
GY_PER_MBQ_H = 3.6
CUBE_SIDES = (2, 4, 6)
CUBE_PERCENT = 3.0
BETA_REACH_mm = 9.0
"""Distance within which betas of 90Y dominate; beyond, bremsstrahlung (0.4 % of the energy) takes over."""
SELF_NOTE = "the table misses about 10 keV of conversion electrons per decay in this voxel"
Offset = tuple[int, int, int]
FloatArray = NDArray[np.float64]


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


def cube_study() -> list[Check]:
    """Mean dose of cubes filled with 90Y, summed from the voxels of the table and from ours."""
    table = {
        (float(r["voxel_mm"]), (int(r["a"]), int(r["b"]), int(r["c"]))): float(r["s"])
        for r in reference_rows("voxel_s_values_y90")
    }
    checks = []
    for size in sorted({key[0] for key in table}):
        kernel = voxel_kernel("Y-90", (size, size, size), extent_mm=6.0 * size)
        ours = kernel.values[tuple(slice(n // 2, None) for n in kernel.values.shape)]
        published = np.zeros(ours.shape)
        for offset in np.ndindex(6, 6, 6):
            low, middle, high = sorted(offset)
            published[offset] = table[size, (low, middle, high)]
        for side in CUBE_SIDES:
            pair = cube_dose(side, ours) / GY_PER_MBQ_H, cube_dose(side, published)
            mass_g = (side * size / 10.0) ** 3 * kernel.density_g_per_mL
            name = f"Y-90 cube of {mass_g:.3g} g ({side}³ voxels of {size:g} mm)"
            checks.append(compared(CUBES, name, *pair, unit=UNIT, tolerance_percent=CUBE_PERCENT))
    return checks


def cube_dose(side: int, octant: FloatArray) -> float:
    """Mean dose of side³ uniformly filled voxels: Σ S(n) Π (side − n_a) / side⁶, S by offset of one octant."""
    line = (side - np.arange(side)) * np.where(np.arange(side) > 0, 2.0, 1.0)
    return float(np.einsum("kji,k,j,i", octant[:side, :side, :side], line, line, line)) / side**6


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
