"""The images of one measured cycle, as dose maps and DICOM results need them after the doses are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.imaging.transform import RigidTransform


@dataclass(frozen=True, slots=True, eq=False)
class PackedRegion:
    """A region at half occupancy, one bit a voxel: what all cycles of a course can keep in memory."""

    region: str
    bits: NDArray[np.uint8]
    grid: Grid

    def mask(self) -> RegionMask:
        """The region as a boolean mask."""
        count = int(np.prod(self.grid.shape))
        inside = np.unpackbits(self.bits, count=count).astype(bool).reshape(self.grid.shape)
        return RegionMask(self.region, inside, self.grid)


def packed(mask: RegionMask) -> PackedRegion:
    """One bit a voxel: whether the region fills at least half of it."""
    return PackedRegion(mask.region, np.packbits(np.asarray(mask.mask, dtype=np.float32) >= 0.5), mask.grid)


@dataclass(frozen=True, slots=True, eq=False)
class ScanImage:
    """One SPECT in MBq/mL, `time_h` after the first infusion, and the way to it from the scan that was drawn on."""

    activity: Volume
    time_h: float
    from_drawn: RigidTransform


@dataclass(frozen=True, slots=True, eq=False)
class CycleImages:
    """Scans of a cycle, and the regions on the one that they were drawn on.

    `regions` are on the grid they were drawn on; `on_spect` on that of the SPECT of the same scan, which is scan
    `drawn_on` of `scans`, counted from 0. `spect` and `ct` are its files.
    """

    number: int
    nuclide: str
    administered_MBq: Mapping[str, float]
    delay_h: Mapping[str, float]
    scans: tuple[ScanImage, ...]
    drawn_on: int
    regions: tuple[PackedRegion, ...]
    on_spect: tuple[PackedRegion, ...]
    spect: Path
    ct: Path | None
    resolution_mm: float | None
