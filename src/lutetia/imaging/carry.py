"""Regions carried from the scan on which they were drawn to another scan, each with its own quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.core.chain import Doubt
from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.imaging.registration import refine_for_region, region_correlations
from lutetia.imaging.resample import resample_mask
from lutetia.imaging.transform import RigidTransform

MIN_REGION_CORRELATION = 0.7  # assumption: of soft tissue around an organ after alignment; lower is doubted


@dataclass(frozen=True, slots=True, eq=False)
class CarriedRegion:
    """A region on the grid of a scan that it was not drawn on.

    `inside`: share of its volume inside the scan. `correlation`: of the two CTs around the organ, None without CTs.
    `drawn_mL`: volume where it was drawn.
    """

    region: RegionMask
    inside: float
    drawn_mL: float
    correlation: float | None
    transform: RigidTransform
    doubts: tuple[Doubt, ...]


def carry_regions(
    regions: Sequence[RegionMask],
    grid: Grid,
    transform: RigidTransform,
    *,
    fixed_ct: Volume | None = None,
    moving_ct: Volume | None = None,
    refine: bool = False,
    where: str = "",
) -> list[CarriedRegion]:
    """Regions on the grid of a scan.

    Parameters
    ----------
    regions
        Where they were drawn (moving space), on any grid.
    grid
        Of the scan (fixed space).
    transform
        From fixed to moving space; `lutetia.imaging.transform.identity` for the scan they were drawn on.
    fixed_ct, moving_ct
        CTs of both scans in HU, for the quality of each organ and for refinement.
    refine
        Also shift each organ by itself (`refine_for_region`).
    """
    own = [transform] * len(regions)
    found: list[float | None] = [None] * len(regions)
    if fixed_ct is not None and moving_ct is not None:
        if refine:
            own = [refine_for_region(fixed_ct, moving_ct, transform, region=r) for r in regions]
        found = region_correlations(fixed_ct, moving_ct, own, regions=regions)
    return [
        _carried(region, grid, t, correlation, where)
        for region, t, correlation in zip(regions, own, found, strict=True)
    ]


def _carried(
    region: RegionMask, grid: Grid, transform: RigidTransform, correlation: float | None, where: str
) -> CarriedRegion:
    mask = resample_mask(region, grid, transform)
    inside = min(mask.volume_mL / region.volume_mL, 1.0) if region.volume_mL > 0 else 0.0
    place = f"{where}, {region.region}" if where else region.region
    doubts = list(transform.quality.doubts)
    if correlation is not None and correlation < MIN_REGION_CORRELATION:
        text = f"the organ is badly aligned here: correlation of the CTs around it {correlation:.2f}"
        doubts.append(Doubt("region-misaligned", text, place))
    return CarriedRegion(mask, inside, region.volume_mL, correlation, transform, tuple(doubts))
