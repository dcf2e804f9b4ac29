"""Scans of one cycle → curves and masses of its regions.

Read SPECT and CT of every time point; carry the drawn regions to each scan by CT-to-CT registration; measure with the
recovery of the system; join the scans to curves whose draws share calibration, recovery and volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lutetia.core.chain import Doubt, RoiMeasurement, TimeActivity
from lutetia.core.draws import Estimate, FloatArray, normals, stream
from lutetia.core.regions import shared_name
from lutetia.core.volume import RegionMask
from lutetia.dose.organ_dose import mass_from_volume
from lutetia.dose.region_s import PatientS, patient_s_values
from lutetia.errors import CaseError, InputError, PhysicsError
from lutetia.imaging.carry import CarriedRegion, carry_regions
from lutetia.imaging.measure import SUMMED, Method, disjoint, measure_regions, measurement_doubts, overlap_doubts
from lutetia.imaging.recovery import Resolution, choose_resolution, read_recovery
from lutetia.imaging.registration import register_rigid
from lutetia.imaging.resample import resample_mask, resample_volume
from lutetia.imaging.segmentation import read_segmentation
from lutetia.imaging.transform import RigidTransform, identity, inverse
from lutetia.plan.case import NO_CALIBRATION, Case, Cycle, delays_h
from lutetia.plan.cycle import RegionInput, is_organ
from lutetia.plan.cycle_images import CycleImages, ScanImage, packed
from lutetia.plan.header_check import header_doubts
from lutetia.plan.scans import TimePoint, check_points, crosstalk, read_point
from lutetia.plan.uncertainty import Draws
from lutetia.report.slices import SliceImage, fused_views

Progress = Callable[[str], None]
CT_RESOLUTION_MM = 2.0  # assumption: full width at half maximum of a CT, for the uncertainty of drawn volumes
_PICTURED = ("left kidney", "right kidney", "kidneys", "liver", "spleen")


@dataclass(frozen=True, slots=True)
class Registered:
    """Quality of the registration of one scan; None where not evaluated (the scan the regions were drawn on)."""

    scan: int
    time_h: float
    method: str
    correlation: float | None
    inverse_consistency_mm: float | None
    overlap: float | None
    worst_region: str | None
    worst_region_correlation: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Imaged:
    """Regions of a cycle from its images, with S-values between them by nuclide."""

    regions: Mapping[str, RegionInput]
    patient_s: Mapping[str, PatientS]
    doubts: tuple[Doubt, ...]
    files: tuple[Path, ...]
    slices: tuple[SliceImage, ...]
    registrations: tuple[Registered, ...]
    patient_key: str
    images: CycleImages


def imaged_regions(
    case: Case, cycle: Cycle, folder: Path, *, nuclide: str, nuclides: Sequence[str], draws: Draws, progress: Progress
) -> Imaged:
    """Curves, masses and S-values of the regions that are drawn on the scans of a cycle.

    Parameters
    ----------
    nuclide
        The measured one.
    nuclides
        Those that S-values are needed for.

    Raises
    ------
    LutetiaError
        Naming the cycle and scan.
    """
    points = [
        read_point(case, cycle, number, scan, folder, nuclide, progress)
        for number, scan in enumerate(cycle.scans, start=1)
    ]
    check_points(cycle, points)
    progress(f"cycle {cycle.number}: reading the regions")
    drawn = _completed(cycle, points, _read_drawn(cycle, points, folder))
    progress(f"cycle {cycle.number}: carrying the regions to every scan")
    carried = _carry(cycle, points, drawn)
    progress(f"cycle {cycle.number}: measuring")
    measured, doubts = _measure(case, cycle, points, carried, drawn, folder, nuclide)
    reference = next(iter(drawn.values()))
    regions = _region_inputs(case, cycle, measured, reference, draws, nuclide)
    organs = [mask for mask in reference if is_organ(mask.region)]
    progress(f"cycle {cycle.number}: S-values of the drawn regions")
    patient_s = _patient_s(organs, nuclides)
    files = [*_files(folder, cycle), *_recovery_file(case, folder)]
    drawn_on = points[next(iter(drawn)) - 1]
    picture = _picture(cycle, drawn_on, [c.region for c in carried[drawn_on.number - 1]])
    quality = tuple(d for scan in carried for region in scan for d in region.doubts)
    contradictions = header_doubts(case, cycle, {p.number: p.spect.header for p in points}, nuclide)
    every = tuple(dict.fromkeys((*contradictions, *quality, *doubts)))
    key = next((p.spect.patient_key for p in points if p.spect.patient_key), "")
    kept = _images(case, cycle, points, carried, drawn, folder, nuclide)
    return Imaged(regions, patient_s, every, tuple(files), (picture,), _registrations(points, carried), key, kept)


def _read_drawn(cycle: Cycle, points: Sequence[TimePoint], folder: Path) -> dict[int, list[RegionMask]]:
    """Regions without overlap by the scan that they were drawn on."""
    drawn: dict[int, list[RegionMask]] = {}
    for part in cycle.segmentation:
        where = f"cycle {cycle.number}, segmentation {part.file.name}"
        point = points[part.scan - 1]
        image = point.activity if point.ct is None else point.ct.volume
        masks = read_segmentation(
            folder / part.file,
            part.labels,
            grid=image.grid,
            frame_of_reference=point.spect.frame_of_reference,
            patient=point.spect.patient_key,
            where=where,
        )
        drawn.setdefault(part.scan, []).extend(masks)
    for scan, masks in drawn.items():
        names = [mask.region for mask in masks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise CaseError(f"cycle {cycle.number}, scan {scan}: {', '.join(twice)} is drawn twice; keep one")
        grid = masks[0].grid
        drawn[scan] = [m if m.grid.same_as(grid) else resample_mask(m, grid) for m in masks]
    return drawn


def _completed(
    cycle: Cycle, points: Sequence[TimePoint], drawn: Mapping[int, Sequence[RegionMask]]
) -> dict[int, list[RegionMask]]:
    """Every drawn scan with all regions of the cycle: its own, and those that were drawn on another scan only."""
    origin: dict[str, int] = {}
    for scan, masks in drawn.items():
        for mask in masks:
            origin.setdefault(mask.region, scan)
    return {scan: [*masks, *_from_others(cycle, points, drawn, origin, scan)] for scan, masks in drawn.items()}


def _from_others(
    cycle: Cycle,
    points: Sequence[TimePoint],
    drawn: Mapping[int, Sequence[RegionMask]],
    origin: Mapping[str, int],
    scan: int,
) -> list[RegionMask]:
    own, grid = {mask.region for mask in drawn[scan]}, drawn[scan][0].grid
    found = []
    for other in dict.fromkeys(number for region, number in origin.items() if region not in own):
        transform = _transform(cycle, points[scan - 1], points[other - 1])
        wanted = [m for m in drawn[other] if m.region not in own and origin[m.region] == other]
        found += [resample_mask(mask, grid, transform) for mask in wanted]
    return found


def _carry(
    cycle: Cycle, points: Sequence[TimePoint], drawn: Mapping[int, Sequence[RegionMask]]
) -> list[list[CarriedRegion]]:
    """Regions on the SPECT grid of every scan, each with its quality there."""
    first = next(iter(drawn))

    def one(point: TimePoint) -> list[CarriedRegion]:
        source = points[(point.number if point.number in drawn else first) - 1]
        moved = source.number != point.number
        return carry_regions(
            drawn[source.number],
            point.activity.grid,
            _transform(cycle, point, source),
            fixed_ct=point.ct.volume if moved and point.ct is not None else None,
            moving_ct=source.ct.volume if moved and source.ct is not None else None,
            where=f"cycle {cycle.number}, scan {point.number}",
        )

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(one, points))


def _images(
    case: Case,
    cycle: Cycle,
    points: Sequence[TimePoint],
    carried: Sequence[Sequence[CarriedRegion]],
    drawn: Mapping[int, Sequence[RegionMask]],
    folder: Path,
    nuclide: str,
) -> CycleImages:
    """What dose maps need: the scans with their way from the first scan that was drawn on."""
    first = points[next(iter(drawn)) - 1]
    scan = cycle.scans[first.number - 1]

    def to_first(point: TimePoint, regions: Sequence[CarriedRegion]) -> RigidTransform:
        own = point.number in drawn and point.number != first.number
        return _transform(cycle, point, first) if own else regions[0].transform

    return CycleImages(
        number=cycle.number,
        nuclide=nuclide,
        administered_MBq=cycle.administered_MBq,
        delay_h=delays_h(case, cycle),
        scans=tuple(
            ScanImage(point.activity, point.time_h, inverse(to_first(point, regions)))
            for point, regions in sorted(zip(points, carried, strict=True), key=lambda pair: pair[0].time_h)
        ),
        drawn_on=sorted(points, key=lambda point: point.time_h).index(first),
        regions=tuple(packed(mask) for mask in drawn[first.number]),
        on_spect=tuple(packed(region.region) for region in carried[first.number - 1]),
        spect=folder / scan.spect,
        ct=None if scan.ct is None else folder / scan.ct,
        resolution_mm=None if case.calibration is None else case.calibration.resolution_fwhm_mm,
    )


def _patient_s(organs: Sequence[RegionMask], nuclides: Sequence[str]) -> dict[str, PatientS]:
    """S-values between the drawn organs, nuclides side by side."""
    if not organs:
        return {}
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(nuclides, pool.map(lambda name: patient_s_values(organs, name), nuclides), strict=True))


def _registrations(points: Sequence[TimePoint], carried: Sequence[Sequence[CarriedRegion]]) -> tuple[Registered, ...]:
    """How well each scan was registered to the one the regions were drawn on."""
    found = []
    for point, regions in zip(points, carried, strict=True):
        quality = regions[0].transform.quality
        known = [(r.correlation, r.region.region) for r in regions if r.correlation is not None]
        worst = min(known, default=(None, None))
        found.append(
            Registered(
                point.number,
                point.time_h,
                quality.method,
                quality.correlation,
                quality.inverse_consistency_mm,
                quality.overlap,
                worst[1],
                worst[0],
            )
        )
    return tuple(found)


def _transform(cycle: Cycle, fixed: TimePoint, moving: TimePoint) -> RigidTransform:
    """From a scan to the scan that the regions were drawn on."""
    if fixed.number == moving.number:
        return identity("drawn on this scan")
    frame = fixed.spect.frame_of_reference
    if frame and frame == moving.spect.frame_of_reference:
        return identity()
    where = f"cycle {cycle.number}, scan {fixed.number} to scan {moving.number}"
    if fixed.ct is not None and moving.ct is not None:
        return register_rigid(fixed.ct.volume, moving.ct.volume, where=where)
    return register_rigid(fixed.activity, moving.activity, kind="SPECT", where=where)


def _measure(
    case: Case,
    cycle: Cycle,
    points: Sequence[TimePoint],
    carried: Sequence[Sequence[CarriedRegion]],
    drawn: Mapping[int, Sequence[RegionMask]],
    folder: Path,
    nuclide: str,
) -> tuple[list[list[RoiMeasurement]], tuple[Doubt, ...]]:
    """Measurements of every scan, one list a scan."""
    resolution, method = _resolution(case, folder)
    first = next(iter(drawn))
    doubts = list(overlap_doubts(drawn[first]))
    volumes = {m.region: m.volume_mL for m in disjoint(list(drawn[first]))}
    results = []
    for point, regions in zip(points, carried, strict=True):
        where = f"cycle {cycle.number}, scan {point.number}"
        inside = {c.region.region: c.inside for c in regions}
        try:
            measured = measure_regions(
                point.activity,
                [c.region for c in regions],
                nuclide=nuclide,
                time_h=point.time_h,
                resolution=resolution,
                method=method,
                volumes_mL=volumes if point.number not in drawn else None,
                scan=point.number,
                source=where,
            )
        except (InputError, PhysicsError) as error:
            raise type(error)(f"{where}, {error}") from error
        doubts += [*point.doubts, *measurement_doubts(measured, resolution, inside=inside, where=where)]
        results.append(measured)
    return results, tuple(dict.fromkeys(doubts))


def _resolution(case: Case, folder: Path) -> tuple[Resolution | None, Method]:
    """Resolution of the system and the recovery method; none where the images carry the recovery already."""
    known = case.calibration
    if known is not None and known.recovery_applied:
        return None, "none"
    if known is None:
        raise CaseError(NO_CALIBRATION)
    table = read_recovery(folder / known.recovery_csv) if known.recovery_csv is not None else None
    resolution: Resolution = choose_resolution(table, known.resolution_fwhm_mm)
    return resolution, "gtm"


def _region_inputs(
    case: Case,
    cycle: Cycle,
    measured: Sequence[Sequence[RoiMeasurement]],
    reference: Sequence[RegionMask],
    draws: Draws,
    nuclide: str,
) -> dict[str, RegionInput]:
    shared = draws.calibration(None if case.calibration is None else case.calibration.sd_percent)
    volumes = {m.region: m for m in disjoint(list(reference))}
    z = normals(stream(draws.seed, draws.subject, "resolution"), draws.count)
    inputs = {}
    for mask in reference:
        region = mask.region
        rows = sorted((m for scan in measured for m in scan if m.region == region), key=lambda m: m.time_h)
        curve = _curve(region, rows, case, cycle, draws, shared, z, nuclide)
        volume = volumes[region] if region not in SUMMED else mask
        inputs[region] = RegionInput(curve, _mass(volume, draws), volume.volume_mL)
    return inputs


def _curve(
    region: str,
    rows: Sequence[RoiMeasurement],
    case: Case,
    cycle: Cycle,
    draws: Draws,
    shared: FloatArray,
    z: FloatArray,
    measured: str,
) -> TimeActivity:
    """One region over the scans; calibration, resolution and unknown 90Y counts are shared by all of them."""
    value = np.maximum([m.activity_MBq for m in rows], 0.0)
    sd = np.array([m.sd_MBq for m in rows])
    relative = np.array([m.recovery_sd / m.recovery if m.recovery > 0 else 0.0 for m in rows])
    noisy = draws.with_noise(value, sd, "counts", cycle.number, region)
    time_h = np.array([m.time_h for m in rows])
    factors = shared[:, None] * np.exp(relative * z[:, None]) * crosstalk(case, cycle, time_h, draws)
    floor = 0.005 * value.max(initial=0.0)
    return TimeActivity(region, measured, time_h, Estimate(value, noisy.draws * factors), np.maximum(sd, floor))


def _mass(mask: RegionMask, draws: Draws) -> Estimate:
    """Volume × tissue density; the draws follow the uncertainty of the drawn outline."""
    factor = draws.factor(100.0 * volume_relative_sd(mask), "mass", shared_name(mask.region))
    return mass_from_volume(Estimate(np.asarray(mask.volume_mL), mask.volume_mL * factor), mask.region)


def volume_relative_sd(mask: RegionMask) -> float:
    """u(V)/V = 3 u(d)/d with u(d)² = a²/6 + FWHM²/(4 ln 2), d the diameter of the sphere of that volume.

    a is the voxel size of the image that was drawn on, FWHM its resolution (Gear et al. 2018, EANM guidance on
    uncertainty, doi 10.1007/s00259-018-4136-7).
    """
    diameter = float(np.cbrt(6.0e3 * mask.volume_mL / np.pi))
    voxel = float(np.cbrt(1e3 * mask.grid.voxel_mL))
    of_diameter = np.sqrt(voxel**2 / 6.0 + CT_RESOLUTION_MM**2 / (4.0 * np.log(2.0)))
    return float(min(3.0 * of_diameter / diameter, 0.5))


def _recovery_file(case: Case, folder: Path) -> list[Path]:
    known = case.calibration
    return [] if known is None or known.recovery_csv is None else [folder / known.recovery_csv]


def _files(folder: Path, cycle: Cycle) -> list[Path]:
    """Every file of the cycle's images, for the hash of the inputs."""
    named = [p for scan in cycle.scans for p in (scan.spect, scan.ct) if p is not None]
    named += [part.file for part in cycle.segmentation]
    found: list[Path] = []
    for path in (folder / p for p in named):
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


def _picture(cycle: Cycle, point: TimePoint, masks: Sequence[RegionMask]) -> SliceImage:
    """The scan that the regions were drawn on, with their outlines."""
    ct = None
    if point.ct is not None:
        ct = resample_volume(point.ct.volume, point.activity.grid, fill=-1000.0)
    shown = [m for m in masks if is_organ(m.region)]
    ordered = sorted(shown, key=lambda m: m.region not in _PICTURED)
    title = f"Cycle {cycle.number}, {point.time_h:.0f} h"
    return fused_views(point.activity, ct, ordered, title=title)
