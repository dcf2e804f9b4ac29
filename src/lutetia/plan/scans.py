"""The scans of one cycle: SPECT and CT of each time point, in MBq/mL at their time after the first infusion.

Calibration of counts, and what 90Y adds to the window of 177Lu in tandem cycles, act here. Not here: regions
(`lutetia.plan.images`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from lutetia.core.chain import Doubt
from lutetia.core.clock import hours_between, time_zone
from lutetia.core.draws import FloatArray, normals, stream
from lutetia.core.volume import Volume
from lutetia.errors import CaseError, ImageError
from lutetia.imaging import calibration as counts
from lutetia.imaging.ct import CtScan, read_ct
from lutetia.imaging.hygiene import check_one_patient
from lutetia.imaging.spect import SpectScan, read_spect
from lutetia.nuclear.nuclides import nuclide as find_nuclide
from lutetia.plan.case import Calibration, Case, Cycle, Scan, delays_h, start_times
from lutetia.plan.uncertainty import Draws, default_sizes

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class TimePoint:
    """One SPECT with its CT, in MBq/mL at its time after the first infusion."""

    number: int
    spect: SpectScan
    activity: Volume
    ct: CtScan | None
    time_h: float
    doubts: tuple[Doubt, ...]


def read_point(
    case: Case, cycle: Cycle, number: int, scan: Scan, folder: Path, nuclide: str, progress: Progress
) -> TimePoint:
    """Read one SPECT and its CT, calibrated; refuses a scan before administration and two frames of reference."""
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


def crosstalk(case: Case, cycle: Cycle, time_h: FloatArray, draws: Draws) -> FloatArray:
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


def check_points(cycle: Cycle, points: Sequence[TimePoint]) -> None:
    """All scans of a cycle are of one person, and no two have the same time."""
    where = [f"cycle {cycle.number}, scan {p.number}" for p in points]
    check_one_patient({f"{w}{part}": key for w, p in zip(where, points, strict=True) for part, key in _keys(p).items()})
    times = [round(p.time_h, 3) for p in points]
    if len(set(times)) < len(times):
        raise CaseError(f"cycle {cycle.number}: two scans have the same time ({times} h); name each scan once")


def _keys(point: TimePoint) -> dict[str, str]:
    keys = {"": point.spect.patient_key}
    return keys if point.ct is None else keys | {", CT": point.ct.patient_key}
