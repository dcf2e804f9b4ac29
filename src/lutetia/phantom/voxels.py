"""A virtual subject on voxel grids: CT numbers, region masks and activity concentration, at any position.

Ribs, lungs, heart, bowel gas, skin fat and a smooth texture give registration something to hold on to; they move
with the subject because everything is evaluated in the subject's own frame. Tissue values are assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import stream
from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.phantom.shapes import STILL, Ellipsoid, Motion, occupancy, subject_positions_mm
from lutetia.phantom.subject import Body, Subject

Float32 = NDArray[np.float32]
AIR_HU, FAT_HU, MUSCLE_HU, LUNG_HU, BLOOD_HU, RIB_HU, CORTEX_HU = -1000.0, -95.0, 48.0, -760.0, 42.0, 420.0, 300.0
SKIN_RHO = 0.86  # muscle begins at this share of the way from the axis to the skin
LUNGS = (Ellipsoid((-72.0, 5.0, 225.0), (66.0, 82.0, 118.0)), Ellipsoid((72.0, 5.0, 225.0), (64.0, 82.0, 112.0)))
HEART = Ellipsoid((22.0, -35.0, 172.0), (50.0, 40.0, 44.0))
AORTA = Ellipsoid((12.0, 8.0, 40.0), (10.0, 10.0, 190.0))
THORACIC = tuple(Ellipsoid((0.0, 36.0 + 0.05 * z, z), (21.0, 17.0, 14.0)) for z in (68.0, 100.0, 131.0, 161.0, 190.0))
PROCESSES = tuple(Ellipsoid((0.0, 72.0, z - 8.0), (5.0, 18.0, 8.0)) for z in range(-102, 200, 34))
GAS = tuple(
    Ellipsoid((x, y, z), (r, 0.8 * r, 0.9 * r))
    for x, y, z, r in (
        (70, -60, 20, 16),
        (-80, -40, -60, 14),
        (85, -20, -50, 13),
        (30, -75, -75, 12),
        (-20, -70, -10, 9),
    )
)
PELVIS = (Ellipsoid((-92.0, 40.0, -165.0), (36.0, 14.0, 52.0)), Ellipsoid((92.0, 40.0, -165.0), (36.0, 14.0, 52.0)))


def render_masks(subject: Subject, grid: Grid, motion: Motion = STILL, *, oversampling: int = 3) -> list[RegionMask]:
    """One fractional mask per organ, without what lies inside it."""
    fraction = {o.region: occupancy(o.shape, grid, motion, oversampling=oversampling) for o in subject.organs}
    for organ in subject.organs:
        if organ.inside:
            fraction[organ.inside] = np.clip(fraction[organ.inside] - fraction[organ.region], 0.0, 1.0)
    return [RegionMask(region, mask, grid) for region, mask in fraction.items()]


def render_activity(
    subject: Subject, grid: Grid, activity_MBq: Mapping[str, float], *, motion: Motion = STILL
) -> Volume:
    """Concentration in MBq/mL: each organ holds exactly its activity; `remainder` is spread over the other tissue.

    Parameters
    ----------
    activity_MBq
        By region; `remainder` is the activity of the rest of the whole body, of which the grid holds only its part.
    """
    masks = render_masks(subject, grid, motion)
    other = _remainder_weight(subject, grid, motion, in_organs=np.sum([m.mask for m in masks], axis=0))
    concentration = other * np.float32(activity_MBq.get("remainder", 0.0) / subject.body.mass_g)
    for mask in masks:
        if total := float(mask.mask.sum(dtype=np.float64)):
            concentration += mask.mask * np.float32(activity_MBq.get(mask.region, 0.0) / (total * grid.voxel_mL))
    return Volume(concentration, grid, "MBq_per_mL")


def render_ct(subject: Subject, grid: Grid, motion: Motion = STILL, *, seed: int = 1, noise_HU: float = 9.0) -> Volume:
    """CT numbers with texture that belongs to the subject and noise that belongs to the scan."""
    position = subject_positions_mm(grid, motion)
    rho = body_radius(position, subject.body)
    values = np.where(rho < 1.0, np.where(rho < SKIN_RHO, MUSCLE_HU, FAT_HU), AIR_HU).astype(np.float32)
    values[rho < SKIN_RHO] += _texture(position)[rho < SKIN_RHO]
    for shape, hounsfield in _background_tissue(subject):
        _paint(values, occupancy(shape, grid, motion, oversampling=2), hounsfield)
    values[_ribs(position, rho)] = RIB_HU
    for mask in render_masks(subject, grid, motion, oversampling=2):
        _paint(values, np.asarray(mask.mask, dtype=np.float32), subject.organ(mask.region).hounsfield)
    noise = stream(seed, "phantom", "ct noise").standard_normal(grid.shape, dtype=np.float32)
    values += np.float32(noise_HU) * noise
    return Volume(np.clip(values, -1024.0, 3071.0), grid, "HU")


def body_radius(position_mm: Float32, body: Body) -> Float32:
    """Distance from the body's axis as a share of the way to the skin, shape (k, j, i); below 1 is inside."""
    x, y, z = position_mm
    waist = 1.0 + 0.04 * np.cos(2.0 * np.pi * (z - 150.0) / 330.0)
    return np.asarray(np.hypot(x / (body.half_width_mm * waist), y / (body.half_depth_mm * waist)), dtype=np.float32)


def _background_tissue(subject: Subject) -> list[tuple[Ellipsoid, float]]:
    shapes: list[tuple[Ellipsoid, float]] = [(lung, LUNG_HU) for lung in LUNGS]
    shapes += [(HEART, BLOOD_HU), (AORTA, BLOOD_HU)]
    shapes += [(bone, CORTEX_HU) for bone in (*THORACIC, *PROCESSES, *PELVIS)]
    return shapes + [(gas, -850.0) for gas in GAS]


def _paint(values: Float32, fraction: Float32, hounsfield: float) -> None:
    touched = fraction > 0
    values[touched] += fraction[touched] * (np.float32(hounsfield) - values[touched])


def _ribs(position_mm: Float32, rho: Float32) -> NDArray[np.bool_]:
    """Rings below the skin fat, tilted down to the front, one every 26 mm above the waist."""
    _, y, z = position_mm
    height = z + 0.45 * y - 30.0
    return np.asarray((rho > 0.78) & (rho < SKIN_RHO) & (height > 0) & (np.mod(height, 26.0) < 10.0))


TEXTURE_MM, TEXTURE_HALF = 8.0, 52


def _texture(position_mm: Float32) -> Float32:
    """A smooth random field of ±14 HU, fixed in the subject's frame."""
    from scipy.ndimage import map_coordinates

    index = position_mm / np.float32(TEXTURE_MM) + np.float32(TEXTURE_HALF)
    return np.asarray(map_coordinates(_texture_field(), index, order=1, mode="nearest"), dtype=np.float32)


@cache
def _texture_field() -> Float32:
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(stream(7, "phantom", "texture").standard_normal((2 * TEXTURE_HALF,) * 3), 1.5)
    return np.asarray(field * (14.0 / field.std()), dtype=np.float32)


def _remainder_weight(subject: Subject, grid: Grid, motion: Motion, *, in_organs: Float32) -> Float32:
    """Relative concentration of the rest of the body: muscle 1, fat 0.4, lungs 0.35, blood pool 2 (assumptions)."""
    rho = body_radius(subject_positions_mm(grid, motion), subject.body)
    weight = np.where(rho < 1.0, np.where(rho < SKIN_RHO, 1.0, 0.4), 0.0).astype(np.float32)
    for shape, relative in ((LUNGS[0], 0.35), (LUNGS[1], 0.35), (HEART, 2.0), (AORTA, 2.0)):
        _paint(weight, occupancy(shape, grid, motion, oversampling=2), relative)
    return np.asarray(weight * (1.0 - np.clip(in_organs, 0.0, 1.0)), dtype=np.float32)
