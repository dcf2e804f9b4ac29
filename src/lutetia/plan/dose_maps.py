"""Dose maps of one cycle: scans on one grid → time-integrated activity by voxel → dose by nuclide.

The maps carry the blur of the SPECT: the mean over a small region is lower than its organ dose, which is corrected for
recovery. They show where the dose is; limits are judged by the organ doses.
"""

from __future__ import annotations

from lutetia.core.chain import Doubt
from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.dose.voxel_dose import VoxelDose, recommended_method, voxel_dose
from lutetia.imaging.ct import density, read_ct
from lutetia.imaging.measure import SUMMED
from lutetia.imaging.resample import resample_volume
from lutetia.kinetics.voxelwise import integrate_scans
from lutetia.plan.cycle_images import CycleImages

AIR_HU = -1000.0


def dose_maps(images: CycleImages) -> tuple[dict[str, VoxelDose], tuple[Doubt, ...]]:
    """Dose map in Gy of every given nuclide, on the SPECT grid of the scan that was drawn on.

    Curves of the regions, amplitudes of the voxels (``region-guided``); other nuclides from the measured one by decay.
    Method by nuclide: `lutetia.dose.voxel_dose.recommended_method`; density from the CT, soft tissue without one.
    """
    grid = images.scans[images.drawn_on].activity.grid
    measured, delay = images.nuclide, images.delay_h
    given = images.administered_MBq
    others = {name: MBq / given[measured] for name, MBq in given.items() if name != measured and MBq > 0}
    found = integrate_scans(
        [resample_volume(scan.activity, grid, scan.from_drawn) for scan in images.scans],
        [scan.time_h - delay[measured] for scan in images.scans],
        nuclide=measured,
        regions=_guides(images),
        predicted=others,
        delay_h=max((delay[name] - delay[measured] for name in others), key=abs, default=0.0),
    )
    tissue = _density(images, grid)
    doses = {
        name: voxel_dose(
            activity,
            name,
            density=tissue,
            method=recommended_method(name, measured_by_spect=name == measured),
            resolution_mm=images.resolution_mm,
        )
        for name, activity in found.maps.items()
    }
    return doses, (*found.doubts, *(doubt for dose in doses.values() for doubt in dose.doubts))


def summed(doses: dict[str, VoxelDose]) -> Volume:
    """Absorbed dose of all nuclides together, Gy."""
    first, *rest = doses.values()
    total = first.dose.values.copy()
    for dose in rest:
        total += dose.dose.values
    return Volume(total, first.dose.grid, "Gy")


def _guides(images: CycleImages) -> list[RegionMask]:
    """Regions whose curves shape those of their voxels: no sums of others, none of the whole body."""
    names = {region.region for region in images.on_spect}
    both = {"left kidney", "right kidney"} <= names
    left_out = {*SUMMED} | ({"kidneys"} if both else set())
    return [region.mask() for region in images.on_spect if region.region not in left_out]


def _density(images: CycleImages, grid: Grid) -> Volume | None:
    """g/mL on the SPECT grid; what the CT does not show counts as air, where no dose is shown."""
    if images.ct is None:
        return None
    ct = read_ct(images.ct, where=f"cycle {images.number}, CT").volume
    return density(resample_volume(ct, grid, fill=AIR_HU))
