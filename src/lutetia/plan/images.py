"""Scans of one cycle → curves and masses of its regions.

Read SPECT and CT of every time point; carry the drawn regions to each scan by CT-to-CT registration; measure with the
recovery of the system; join the scans to curves whose draws share calibration, recovery and volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from lutetia.core.chain import Doubt, RoiMeasurement, TimeActivity
from lutetia.core.clock import hours_between, time_zone
from lutetia.core.draws import Estimate, FloatArray, normals, stream
from lutetia.core.regions import shared_name
from lutetia.core.volume import RegionMask, Volume
from lutetia.dose.organ_dose import mass_from_volume
from lutetia.dose.region_s import PatientS, patient_s_values
from lutetia.errors import CaseError, ImageError, InputError, PhysicsError
from lutetia.imaging import calibration as counts
from lutetia.imaging.carry import CarriedRegion, carry_regions
from lutetia.imaging.ct import CtScan, read_ct
from lutetia.imaging.hygiene import check_one_patient
from lutetia.imaging.measure import SUMMED, Method, disjoint, measure_regions, measurement_doubts, overlap_doubts
from lutetia.imaging.recovery import Resolution, choose_resolution, read_recovery
from lutetia.imaging.registration import register_rigid
from lutetia.imaging.resample import resample_mask, resample_volume
from lutetia.imaging.segmentation import read_segmentation
from lutetia.imaging.spect import SpectScan, read_spect
from lutetia.imaging.transform import RigidTransform, identity, inverse
from lutetia.nuclear.nuclides import nuclide as find_nuclide
from lutetia.plan.case import Calibration, Case, Cycle, Scan, delays_h, start_times
from lutetia.plan.cycle import RegionInput, is_organ
from lutetia.plan.cycle_images import CycleImages, ScanImage, packed
from lutetia.plan.header_check import header_doubts
from lutetia.plan.uncertainty import Draws, default_sizes
from lutetia.report.slices import SliceImage, fused_views

Progress = Callable[[str], None]
CT_RESOLUTION_MM = 2.0  # assumption: full width at half maximum of a CT, for the uncertainty of drawn volumes
_PICTURED = ("left kidney", "right kidney", "kidneys", "liver", "spleen")


@dataclass(frozen=True, slots=True, eq=False)
class TimePoint:
    """One SPECT with its CT, in MBq/mL at its time after the first infusion."""

    number: int
    spect: SpectScan
    activity: Volume
    ct: CtScan | None
    time_h: float
    doubts: tuple[Doubt, ...]


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
        _read_point(case, cycle, number, scan, folder, nuclide, progress)
        for number, scan in enumerate(cycle.scans, start=1)
    ]
    _check_points(cycle, points)
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


def _read_point(
    case: Case, cycle: Cycle, number: int, scan: Scan, folder: Path, nuclide: str, progress: Progress
) -> TimePoint:
    where = f"cycle {cycle.number}, scan {number}"
    progress(f"{where}: reading")
    starts = start_times(case, cycle)
    zero = min(starts.values())
    zone: ZoneInfo | None = time_zone(case.timezone) if case.timezone else None
    middle = None if scan.time_h is None else zero + timedelta(hours=scan.time_h)
    spect = read_spect(
        folder / scan.spect,
        zone=zone,
        nuclide=nuclide,
        mid_acquisition=middle,
        decay_corrected_to=scan.decay_corrected_to,
        corrected_reference=_stated_reference(scan, middle, starts.get(nuclide, zero)),
        unit=_inside_unit(scan),
        where=where,
    )
    time_h = hours_between(zero, spect.mid_acquisition)
    before_h = hours_between(spect.mid_acquisition, starts.get(nuclide, zero))
    if before_h >= 0:
        raise CaseError(
            f"{where}: acquired {before_h:.1f} h before {nuclide} was given; "
            "check administered_at, the scan's date and the timezone"
        )
    ct = None if scan.ct is None else read_ct(folder / scan.ct, where=f"{where}, CT")
    frames = {spect.frame_of_reference, "" if ct is None else ct.frame_of_reference} - {""}
    if len(frames) > 1:
        raise ImageError(
            f"{where}: SPECT and CT have two frames of reference; expected one (a hybrid scan); "
            "export the CT of the same session, or the registered one"
        )
    activity, doubts = _activity(case, cycle, spect, time_h, scan, where)
    return TimePoint(number, spect, activity, ct, time_h, (*spect.doubts, *doubts))


def _stated_reference(scan: Scan, middle: datetime | None, administered: datetime) -> datetime | None:
    """What a NIfTI image is decay-corrected to, in time."""
    if scan.decay_corrected_to == "admin":
        return administered
    if scan.decay_corrected_to == "start" and middle is not None:
        return middle - timedelta(seconds=0.5 * (scan.duration_s or 0.0))
    return None


def _inside_unit(scan: Scan) -> Literal["MBq_per_mL", "counts"] | None:
    if scan.unit is None:
        return None
    return "counts" if scan.unit == "counts" else "MBq_per_mL"


def _activity(
    case: Case, cycle: Cycle, spect: SpectScan, time_h: float, scan: Scan, where: str
) -> tuple[Volume, tuple[Doubt, ...]]:
    """The scan in MBq/mL: calibrated counts, less the share of 90Y in the window."""
    volume = spect.volume
    doubts: tuple[Doubt, ...] = ()
    if scan.unit == "Bq_per_mL" and spect.modality == "NIfTI":
        volume = Volume(volume.values / np.float32(1e6), volume.grid, "MBq_per_mL")
    camera = _camera(case.calibration)
    if volume.unit == "counts":
        if camera is None:
            raise CaseError(f"{where}: the image is in counts; add cps_per_MBq to [calibration]")
        duration = spect.duration_s or scan.duration_s
        volume, doubts = counts.counts_to_activity(volume, camera, duration_s=duration, where=where)
    if camera is not None:
        doubts = (*doubts, *counts.calibration_doubts(camera, spect.mid_acquisition.date(), tandem=_tandem(cycle)))
    elif _tandem(cycle):
        doubts = (*doubts, _UNKNOWN_CROSSTALK)
    if _tandem(cycle) and camera is not None and camera.y90_cps_per_MBq is not None:
        share = np.float32(counts.tandem_factor(camera, _ratio_at_zero(case, cycle), time_h))
        volume = Volume(volume.values * share, volume.grid, "MBq_per_mL")
    return volume, tuple(doubts)


_UNKNOWN_CROSSTALK = Doubt(
    "tandem-cross-sensitivity",
    "90Y counts in the window of 177Lu are not known: activities may be too high, never too low; "
    "give cps_per_MBq and y90_cps_per_MBq",
    "calibration",
    "first-line",
)


def _tandem(cycle: Cycle) -> bool:
    return set(cycle.administered_MBq) == {"Lu-177", "Y-90"}


def _ratio_at_zero(case: Case, cycle: Cycle) -> float:
    """90Y/177Lu that decays to the ratio in the scans, at the cycle's time zero whenever each was given."""
    delay = delays_h(case, cycle)
    grown = {n: a * np.exp(find_nuclide(n).decay_constant_per_h * delay[n]) for n, a in cycle.administered_MBq.items()}
    return float(grown["Y-90"] / grown["Lu-177"])


def _crosstalk(case: Case, cycle: Cycle, time_h: FloatArray, draws: Draws) -> FloatArray:
    """Share of 177Lu in the measured activity where 90Y in its window is not known, shape (draw, time).

    One-sided: 1/(1 + |k| · A_Y/A_Lu), k the unknown sensitivity for 90Y over that for 177Lu.
    """
    camera = _camera(case.calibration)
    if not _tandem(cycle) or (camera is not None and camera.y90_cps_per_MBq is not None):
        return np.ones((draws.count, len(time_h)))
    score = np.abs(normals(stream(draws.seed, draws.subject, "90Y in the window of 177Lu"), draws.count))
    size = default_sizes().tandem_cross_percent / 100.0
    fall = find_nuclide("Y-90").decay_constant_per_h - find_nuclide("Lu-177").decay_constant_per_h
    return np.asarray(1.0 / (1.0 + size * score[:, None] * _ratio_at_zero(case, cycle) * np.exp(-fall * time_h)))


def _camera(calibration: Calibration | None) -> counts.Calibration | None:
    if calibration is None or calibration.cps_per_MBq is None:
        return None
    return counts.Calibration(
        calibration.cps_per_MBq,
        sd_percent=default_sizes().calibration_percent if calibration.sd_percent is None else calibration.sd_percent,
        date=calibration.date,
        dead_time_us=calibration.dead_time_us,
        y90_cps_per_MBq=calibration.y90_cps_per_MBq,
    )


def _check_points(cycle: Cycle, points: Sequence[TimePoint]) -> None:
    where = [f"cycle {cycle.number}, scan {p.number}" for p in points]
    check_one_patient({w: p.spect.patient_key for w, p in zip(where, points, strict=True)})
    check_one_patient({f"{w}{part}": key for w, p in zip(where, points, strict=True) for part, key in _keys(p).items()})
    times = [round(p.time_h, 3) for p in points]
    if len(set(times)) < len(times):
        raise CaseError(f"cycle {cycle.number}: two scans have the same time ({times} h); name each scan once")


def _keys(point: TimePoint) -> dict[str, str]:
    keys = {"": point.spect.patient_key}
    return keys if point.ct is None else keys | {", CT": point.ct.patient_key}


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
        raise CaseError(
            "calibration: missing for images; give resolution_fwhm_mm or recovery_csv from a sphere phantom, "
            "or recovery_applied = true"
        )
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
    factors = shared[:, None] * np.exp(relative * z[:, None]) * _crosstalk(case, cycle, time_h, draws)
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
