"""Activity of every region in one scan, corrected for the spill that the camera's resolution causes.

Method ``gtm`` (default): the patient's own regions, blurred with the system's resolution, form a linear system
(geometric transfer matrix) whose unknowns are the concentration in each region and in the background around it. The
measured volume of interest of each region is its outline grown by 0.8 FWHM, so that little of its activity is outside;
errors of the resolution and small misplacements of the outline then matter little.
Method ``sphere``: mean inside the outline divided by the recovery of a sphere of equal volume. Method ``none``: sum
inside the outline (images with recovery applied by the vendor).

Where regions overlap, the smaller one keeps the voxels (a tumour in the liver is not liver). The whole body is summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lutetia.core.chain import Doubt, RoiMeasurement
from lutetia.core.geometry import Grid
from lutetia.core.regions import is_tumour
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import ImageError, PhysicsError, UnitError
from lutetia.imaging.recovery import FWHM_PER_SIGMA, RecoveryCurve, Resolution, recovery_at

FloatArray = NDArray[np.float64]
Method = Literal["gtm", "sphere", "none"]
Box = tuple[slice, slice, slice]
SUMMED = ("whole body", "remainder")
GROW_FWHM = 0.8  # outline of the measured volume, in FWHM outside the region
SHELL_FWHM = (1.0, 2.0)  # background around a region, in FWHM from any region
MIN_SHELL_mL = 2.0
MIN_INSIDE = 0.98
SMALL_IN_FWHM = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """An array on a part of the grid."""

    box: Box
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Outline:
    """Where a region is measured: its grown outline and the shell around it, on a part of the grid."""

    box: Box
    grown: FloatArray
    shell: FloatArray


def measure_regions(
    volume: Volume,
    regions: Sequence[RegionMask],
    *,
    nuclide: str,
    time_h: float,
    resolution: Resolution | None = None,
    method: Method = "gtm",
    curve: RecoveryCurve | None = None,
    volumes_mL: Mapping[str, float] | None = None,
    misplaced_mm: float = 2.0,
    scan: int | None = None,
    source: str = "",
) -> list[RoiMeasurement]:
    """Activity of regions in one scan.

    Parameters
    ----------
    volume
        MBq/mL at the time of the scan.
    regions
        Occupancies on the grid of `volume`, each region once.
    resolution
        Of the system; needed for ``gtm``, and for the counting noise.
    curve
        Sphere recovery; needed for ``sphere``.
    volumes_mL
        Volume of each region where it was drawn, without overlap (`disjoint`): where a region is partly outside the
        scan, its concentration fills this volume. The whole body is never filled.
    misplaced_mm
        Uncertainty of the place of the outlines (registration, breathing).

    Returns
    -------
    One measurement a region, in the order given. `recovery` is the share of a region's activity that is seen inside
    its own outline; `recovery_sd`/`recovery` the relative uncertainty of the activity from that of the resolution,
    common to all scans; `sd_MBq` counting noise and misplacement.
    """
    _check(volume, regions, method, resolution, curve)
    whole = {r.region: r for r in regions if r.region in SUMMED}
    parts = disjoint([r for r in regions if r.region not in SUMMED])
    if method == "gtm" and resolution is not None:
        found = _gtm_measurements(volume, parts, resolution, misplaced_mm)
    else:
        found = _plain_measurements(volume, parts, curve if method == "sphere" else None, resolution)
    for name, region in whole.items():
        total = float((volume.values * region.mask).sum(dtype=np.float64)) * volume.grid.voxel_mL
        found[name] = _Result(total, 0.0, region.volume_mL, 1.0, 0.0)
    out = []
    for region in regions:
        r = found[region.region]
        known = region.region not in SUMMED and r.volume_mL > 0
        fill = (volumes_mL or {}).get(region.region, r.volume_mL) / r.volume_mL if known else 1.0
        out.append(
            RoiMeasurement(
                region.region,
                nuclide,
                time_h,
                r.activity_MBq * fill,
                r.sd_MBq * fill,
                volume_mL=r.volume_mL * fill,
                recovery=r.recovery,
                recovery_sd=r.recovery_sd,
                scan=scan,
                source=source,
            )
        )
    return out


@dataclass(frozen=True, slots=True)
class _Result:
    activity_MBq: float
    sd_MBq: float
    volume_mL: float
    recovery: float
    recovery_sd: float


def _check(
    volume: Volume,
    regions: Sequence[RegionMask],
    method: Method,
    resolution: Resolution | None,
    curve: RecoveryCurve | None,
) -> None:
    if volume.unit != "MBq_per_mL":
        raise UnitError(
            f"measurement: found a volume in {volume.unit}; expected MBq_per_mL; apply the calibration first"
        )
    names = [r.region for r in regions]
    if len(set(names)) < len(names):
        raise PhysicsError("measurement: found a region twice; expected each once")
    for region in regions:
        if not region.grid.same_as(volume.grid):
            raise PhysicsError(f"{region.region}: found a mask on another grid than the scan; resample it first")
        if not np.any(region.mask):
            raise ImageError(
                f"{region.region}: found no part of the region inside the scan; expected it in the field of view; "
                "check the registration, or leave the region out for this scan"
            )
    if method == "gtm" and resolution is None:
        raise PhysicsError("measurement: method gtm needs the resolution of the system")
    if method == "sphere" and curve is None:
        raise PhysicsError("measurement: method sphere needs a recovery curve")


def disjoint(regions: Sequence[RegionMask]) -> list[RegionMask]:
    """Regions without overlap: tumours first, then the smaller keeps the voxels.

    Whole body and remainder are kept as drawn: all other regions lie inside them. ``kidneys`` beside left and right
    kidney is kept as it is: it is the same tissue under a second name, and is measured as their sum.
    """
    single = {"left kidney", "right kidney"} <= {r.region for r in regions}
    rest = [r for r in regions if r.region not in SUMMED and not (single and r.region == "kidneys")]
    if not rest:
        return list(regions)
    taken = np.zeros(rest[0].grid.shape, dtype=np.float32)
    out: dict[str, RegionMask] = {}
    for region in sorted(rest, key=lambda r: (not is_tumour(r.region), r.volume_mL)):
        mask = np.minimum(_occupancy(region), 1.0 - taken)
        taken += mask
        out[region.region] = RegionMask(region.region, mask, region.grid)
    return [out.get(r.region, r) for r in regions]


def overlap_doubts(regions: Sequence[RegionMask]) -> tuple[Doubt, ...]:
    """Doubts for regions that lose more than 1 % of their volume, or all of it, to regions drawn inside them."""
    parts = {r.region: r for r in disjoint(regions)}
    doubts = []
    for region in regions:
        lost = 1 - parts[region.region].volume_mL / region.volume_mL
        if lost > 0.01:
            text = f"{100 * lost:.0f} % of {region.region} belongs to other regions drawn inside it and is left out"
            doubts.append(Doubt("regions-overlap", text, region.region))
    return tuple(doubts)


def measurement_doubts(
    measurements: Sequence[RoiMeasurement],
    resolution: Resolution | None,
    *,
    inside: Mapping[str, float] | None = None,
    where: str = "",
) -> tuple[Doubt, ...]:
    """Doubts about single measurements: regions near the resolution, cut by the field of view, or without activity.

    Parameters
    ----------
    inside
        Share of each region that lies inside the scan.
    """
    doubts = []
    for m in measurements:
        place = f"{where}, {m.region}" if where else m.region
        if resolution is not None and m.volume_mL is not None:
            diameter = 2 * np.cbrt(3000 * m.volume_mL / (4 * np.pi))
            if diameter < SMALL_IN_FWHM * 2 * resolution.fwhm_mm:
                text = f"the region is {diameter:.0f} mm wide, the resolution {resolution.fwhm_mm:.0f} mm: uncertain"
                doubts.append(Doubt("region-small", text, place))
        share = (inside or {}).get(m.region, 1.0)
        if share < MIN_INSIDE:
            text = f"only {100 * share:.0f} % of the region is inside the field of view; the rest is taken as alike"
            doubts.append(Doubt("region-truncated", text, place))
        if m.activity_MBq <= 0:
            doubts.append(Doubt("activity-not-positive", "no activity above the background around it", place))
    return tuple(doubts)


def _plain_measurements(
    volume: Volume, parts: Sequence[RegionMask], curve: RecoveryCurve | None, resolution: Resolution | None
) -> dict[str, _Result]:
    found = {}
    for part in parts:
        size = part.volume_mL
        total = float((volume.values * part.mask).sum(dtype=np.float64)) * volume.grid.voxel_mL
        value, sd = (np.array(1.0), np.array(0.0)) if curve is None else recovery_at(curve, size)[:2]
        noise = 0.0
        if resolution is not None and size > 0:
            core = volume.values[_occupancy(part) > 0.5].astype(np.float64)
            noise = _noise(core - core.mean(), size, resolution.fwhm_mm / FWHM_PER_SIGMA) if len(core) > 1 else 0.0
        found[part.region] = _Result(total / float(value), noise / float(value), size, float(value), float(sd))
    return found


def _gtm_measurements(
    volume: Volume, parts: Sequence[RegionMask], resolution: Resolution, misplaced_mm: float
) -> dict[str, _Result]:
    names = {p.region for p in parts}
    pair = {"left kidney", "right kidney"} <= names and "kidneys" in names
    own = [p for p in parts if not (pair and p.region == "kidneys")]
    width = resolution.fwhm_mm
    outlines = [_outline(p, own, width) for p in own]
    blurred = [_blurred(p, width) for p in own]
    concentration, background = _solve(volume, outlines, blurred)
    step = float(np.clip(resolution.sd_mm, 0.01 * width, 0.5 * width))
    upper, lower = (_solve(volume, outlines, [_blurred(p, w) for p in own])[0] for w in (width + step, width - step))
    slope = (upper - lower) / (2 * step) * resolution.sd_mm
    recovery = [_own_recovery(p, b) for p, b in zip(own, blurred, strict=True)]
    noise = []
    for n, part in enumerate(own):
        model = _model(outlines[n].box, blurred, concentration, float(background[n]))
        inside = _occupancy(part)[outlines[n].box] > 0.5
        scatter = _noise((volume.values[outlines[n].box] - model)[inside], part.volume_mL, width / FWHM_PER_SIGMA)
        # Second order in the shift: faces of opposite sign cancel in the first (uniform shift of a closed outline).
        misplaced = (1 - recovery[n]) * misplaced_mm**2 / (6 * (width / FWHM_PER_SIGMA) ** 2)
        noise.append(np.hypot(scatter, misplaced * abs(concentration[n]) * part.volume_mL))
    found = {}
    for n, part in enumerate(own):
        size, value = part.volume_mL, float(concentration[n])
        relative = abs(float(slope[n]) / value) if value > 0 else 0.0
        found[part.region] = _Result(
            value * size, float(noise[n]), size, float(recovery[n]), float(recovery[n]) * relative
        )
    if pair:
        found["kidneys"] = _sum(found["left kidney"], found["right kidney"])
    return found


def _sum(a: _Result, b: _Result) -> _Result:
    """Pair from single organs: noise independent, recovery shared."""
    total, size = a.activity_MBq + b.activity_MBq, a.volume_mL + b.volume_mL
    weight = (a.activity_MBq / total, b.activity_MBq / total) if total > 0 else (0.5, 0.5)
    recovery = weight[0] * a.recovery + weight[1] * b.recovery
    sd = weight[0] * a.recovery_sd + weight[1] * b.recovery_sd
    return _Result(total, float(np.hypot(a.sd_MBq, b.sd_MBq)), size, recovery, sd)


def _solve(volume: Volume, outlines: Sequence[_Outline], blurred: Sequence[_Piece]) -> tuple[FloatArray, FloatArray]:
    """Concentration of every region and of the background around it, MBq/mL.

    Rows: for each region i its grown outline and its shell; unknowns: concentrations a_j and local backgrounds b_i.
    Σ_j T_ij a_j + (V_i − Σ_j T_ij) b_i = measured, T_ij = ∫ outline_i · (blur ∗ region_j).
    """
    count = len(outlines)
    matrix, measured = np.zeros((2 * count, 2 * count)), np.zeros(2 * count)
    for n, outline in enumerate(outlines):
        image = volume.values[outline.box].astype(np.float64)
        for row, weight in ((n, outline.grown), (count + n, outline.shell)):
            matrix[row, :count] = [_overlap(outline.box, weight, b) for b in blurred]
            matrix[row, count + n] = weight.sum() - matrix[row, :count].sum()
            measured[row] = (weight * image).sum()
        if outline.shell.sum() * volume.grid.voxel_mL < MIN_SHELL_mL:  # no free space: regions all around
            matrix[count + n] = 0.0
            matrix[count + n, count + n], measured[count + n] = 1.0, 0.0
    solution = np.asarray(np.linalg.lstsq(matrix, measured, rcond=None)[0], dtype=np.float64)
    return solution[:count], solution[count:]


def _noise(residual: FloatArray, volume_mL: float, sigma_mm: float) -> float:
    """Standard deviation of a region's activity (MBq) from the scatter of its voxels.

    Noise of a reconstruction is alike over the resolution: (4π)^{3/2} σ³ is the volume of one independent sample.
    Real differences inside an organ count as noise, so this is an upper bound.
    """
    if len(residual) < 2:
        return 0.0
    sample_mL = (4 * np.pi) ** 1.5 * sigma_mm**3 / 1000.0
    samples = max(volume_mL / sample_mL, 1.0)
    return float(np.std(residual) / np.sqrt(samples) * volume_mL)


def _occupancy(region: RegionMask) -> NDArray[np.float32]:
    return np.asarray(region.mask, dtype=np.float32)


def _box_around(mask: NDArray[np.bool_], margin: Sequence[int]) -> Box:
    found = []
    for axis in range(3):
        other = tuple(n for n in range(3) if n != axis)
        inside = np.flatnonzero(mask.any(axis=other))
        found.append(
            slice(max(int(inside[0]) - margin[axis], 0), min(int(inside[-1]) + margin[axis] + 1, mask.shape[axis]))
        )
    return found[0], found[1], found[2]


def _margin(grid: Grid, distance_mm: float) -> list[int]:
    return [int(np.ceil(distance_mm / s)) + 1 for s in grid.spacing_mm]


def _blurred(part: RegionMask, fwhm_mm: float) -> _Piece:
    """Region as the camera sees it. The blur that the voxels of the mask already carry (size²/12) is left out."""
    mask = _occupancy(part)
    box = _box_around(mask > 0, _margin(part.grid, 1.8 * fwhm_mm))
    spacing = np.array(part.grid.spacing_mm)
    sigma = np.sqrt(np.clip((fwhm_mm / FWHM_PER_SIGMA) ** 2 - spacing**2 / 12, 0.0, None)) / spacing
    values = ndimage.gaussian_filter(mask[box], sigma, mode="constant", truncate=4.0)
    return _Piece(box, values.astype(np.float64))


def _outline(part: RegionMask, parts: Sequence[RegionMask], fwhm_mm: float) -> _Outline:
    """Grown outline and background shell of a region, on a box around it."""
    mask = _occupancy(part) > 0.5
    if not mask.any():
        mask = _occupancy(part) >= _occupancy(part).max()
    low, high = (share * fwhm_mm for share in SHELL_FWHM)
    box = _box_around(mask, _margin(part.grid, high))
    union = mask[box].copy()
    for other in parts:
        union |= _occupancy(other)[box] > 0.5
    own, nearest = (
        np.asarray(ndimage.distance_transform_edt(~m, sampling=part.grid.spacing_mm)) for m in (mask[box], union)
    )
    grown = own <= GROW_FWHM * fwhm_mm
    shell = (nearest > low) & (own <= high)
    return _Outline(box, grown.astype(np.float64), shell.astype(np.float64))


def _common(a: Box, b: Box) -> tuple[Box, Box] | None:
    """The common part of two boxes, in the indices of each."""
    low = [max(x.start, y.start) for x, y in zip(a, b, strict=True)]
    high = [min(x.stop, y.stop) for x, y in zip(a, b, strict=True)]
    if any(e <= s for s, e in zip(low, high, strict=True)):
        return None
    first, second = (
        tuple(slice(s - x.start, e - x.start) for s, e, x in zip(low, high, box, strict=True)) for box in (a, b)
    )
    return (first[0], first[1], first[2]), (second[0], second[1], second[2])


def _overlap(box: Box, weight: FloatArray, piece: _Piece) -> float:
    """Σ weight × piece over the common part of their boxes."""
    common = _common(box, piece.box)
    return 0.0 if common is None else float((weight[common[0]] * piece.values[common[1]]).sum())


def _own_recovery(part: RegionMask, piece: _Piece) -> float:
    mask = _occupancy(part)[piece.box].astype(np.float64)
    return float((mask * piece.values).sum() / mask.sum())


def _model(box: Box, blurred: Sequence[_Piece], concentration: FloatArray, background: float) -> FloatArray:
    """Image that the solution predicts in a box."""
    shape = tuple(s.stop - s.start for s in box)
    image = np.full(shape, background)
    for value, piece in zip(concentration, blurred, strict=True):
        common = _common(box, piece.box)
        if common is not None:
            image[common[0]] += (value - background) * piece.values[common[1]]
    return image
