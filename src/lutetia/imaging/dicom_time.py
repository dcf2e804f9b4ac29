"""When a scan was acquired and to when its values are decay-corrected.

Acquisition
    Start: AcquisitionDate + AcquisitionTime (or AcquisitionDateTime) of the earliest image; never SeriesTime,
    ContentTime or the time of reconstruction. Middle: start + half of the duration; for several bed positions the
    middle between the first start and the last end. Times without offset take TimezoneOffsetFromUTC, else the
    case's zone.
Decay correction
    ``none``, ``start`` (reference: SeriesDate/Time or the earliest acquisition, DICOM PS3.3 C.8.9.1) or ``admin``
    (reference: RadiopharmaceuticalStartDateTime). DecayCorrection, DecayCorrected, CorrectedImage and DecayFactor
    must not contradict each other; an unknown state is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset

from lutetia.core.clock import localise
from lutetia.errors import ImageError

DecayState = Literal["none", "start", "admin"]
FACTOR_TOLERANCE = 0.02  # assumption: relative; half-lives and rounding in headers are better than that
_DT = re.compile(r"^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})?(?:\.(\d{1,6}))?([+-]\d{4})?$")


@dataclass(frozen=True, slots=True)
class Interval:
    """Start of an acquisition and its duration."""

    start: datetime
    duration_s: float

    @property
    def middle(self) -> datetime:
        """Middle of the acquisition."""
        return self.start + timedelta(seconds=self.duration_s / 2)

    @property
    def end(self) -> datetime:
        """End of the acquisition."""
        return self.start + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True)
class DecayReference:
    """How the values of an image are corrected for decay: state and, unless ``none``, the reference time."""

    state: DecayState
    reference: datetime | None = None


def acquisition_interval(dataset: Dataset, *, zone: ZoneInfo | None, where: str) -> Interval:
    """Start and duration of the acquisition of one object.

    Raises
    ------
    ImageError
        If the start or the duration is missing, or two tags contradict each other by more than a minute.
    """
    paired = _date_and_time(dataset, "AcquisitionDate", "AcquisitionTime", zone=zone, where=where)
    single = date_time(dataset, "AcquisitionDateTime", zone=zone, where=where)
    if paired and single and abs((paired - single).total_seconds()) > 60:
        raise ImageError(
            f"{where}: found AcquisitionDate and AcquisitionTime that contradict AcquisitionDateTime by "
            f"{abs((paired - single).total_seconds()) / 60:.0f} min; give `time_h` for this scan"
        )
    start = paired or single
    if start is None:
        raise ImageError(
            f"{where}: found no AcquisitionDate and AcquisitionTime; the times of series and content are not those of "
            "the acquisition; give `time_h` (middle of the acquisition) for this scan"
        )
    return Interval(start, acquisition_duration_s(dataset, where=where))


def acquisition_duration_s(dataset: Dataset, *, where: str) -> float:
    """Duration of the acquisition in s.

    PT: ActualFrameDuration of the bed position. NM: AcquisitionDuration if given, else ActualFrameDuration × frames
    in the rotation, summed over rotations (all heads turn together, so heads are not multiplied).
    """
    rotations = dataset.get("RotationInformationSequence") or []
    parts = [(_number(r, "ActualFrameDuration"), _number(r, "NumberOfFramesInRotation")) for r in rotations]
    seconds: float | None = None
    if parts and all(ms and n for ms, n in parts):
        seconds = sum(float(ms or 0) * float(n or 0) for ms, n in parts) / 1000.0
    elif (milliseconds := _number(dataset, "ActualFrameDuration")) is not None:
        seconds = milliseconds / 1000.0
    elif (whole := _number(dataset, "AcquisitionDuration")) is not None:
        seconds = whole
    if seconds is None or seconds <= 0 or seconds > 24 * 3600:
        raise ImageError(
            f"{where}: found no usable acquisition duration (ActualFrameDuration, rotation information); "
            "the middle of the acquisition is unknown; give `time_h` for this scan"
        )
    return seconds


def whole_interval(parts: Iterable[Interval]) -> Interval:
    """From the first start to the last end of the parts (bed positions) of one scan."""
    known = list(parts)
    start = min(p.start for p in known)
    return Interval(start, max((p.end - start).total_seconds() for p in known))


def decay_state(dataset: Dataset, stated: DecayState | None, *, where: str) -> DecayState:
    """Decay-correction state that the header gives, or the one that the case states where the header is silent.

    Raises
    ------
    ImageError
        If it is unknown, or two statements contradict each other.
    """
    header = str(dataset.get("DecayCorrection") or "").upper().strip()
    flag = str(dataset.get("DecayCorrected") or "").upper().strip()
    listed = dataset.get("CorrectedImage")
    corrections = {str(c).upper() for c in ([listed] if isinstance(listed, str) else listed or []) if c}
    has_list = bool(corrections)
    states: dict[str, DecayState] = {"NONE": "none", "START": "start", "ADMIN": "admin"}
    if header and header not in states:
        raise ImageError(f"{where}: found DecayCorrection {header!r}; expected NONE, START or ADMIN; export it again")
    found = states.get(header)
    decayed = {"YES": True, "NO": False}.get(flag, "DECY" in corrections if has_list else None)
    if (found == "none" and decayed) or (found in ("start", "admin") and decayed is False):
        raise ImageError(
            f"{where}: found DecayCorrection {header} but CorrectedImage or DecayCorrected "
            f"{'with' if decayed else 'without'} decay correction; the header contradicts itself; export it again"
        )
    if found is None and decayed is False:
        found = "none"
    if found is not None and stated is not None and found != stated:
        raise ImageError(
            f"{where}: found decay correction {found!r} in the header but decay_corrected_to = {stated!r} in the case; "
            "remove the entry, or export the series again"
        )
    if found is None and decayed and stated == "none":
        raise ImageError(f"{where}: found a decay-corrected image but decay_corrected_to = 'none' in the case")
    state = found or stated
    if state is None:
        raise ImageError(
            f"{where}: found no statement whether the image is decay-corrected, and to when (DecayCorrection); "
            'expected one; give decay_corrected_to = "none", "start" or "admin" for this scan'
        )
    return state


def decay_reference(
    dataset: Dataset,
    state: DecayState,
    interval: Interval,
    *,
    half_life_h: float,
    zone: ZoneInfo | None,
    where: str,
) -> DecayReference:
    """Reference time of the decay correction, confirmed by DecayFactor where the header has one.

    DecayFactor should be 2^((t_middle − t_reference)/T½). Candidates that disagree by more than 2 % of activity and
    are not told apart by DecayFactor are refused.

    Parameters
    ----------
    interval
        Acquisition of this object (for ``start`` in a series, of the earliest one is right: pass its header).
    half_life_h
        Half-life of the header, with which the correction was made.
    """
    if state == "none":
        factor = _number(dataset, "DecayFactor")
        if factor is not None and abs(factor - 1) > FACTOR_TOLERANCE:
            raise ImageError(
                f"{where}: found DecayFactor {factor:.4g} in an image without decay correction; "
                "the header contradicts itself; export it again"
            )
        return DecayReference("none")
    candidates = _candidates(dataset, state, interval, zone=zone, where=where)
    return DecayReference(state, _choose(dataset, candidates, interval, half_life_h=half_life_h, where=where))


def check_decay_factor(
    dataset: Dataset, reference: DecayReference, interval: Interval, *, half_life_h: float, where: str
) -> None:
    """Check the DecayFactor of one further image of a series against the reference of the series."""
    if reference.reference is not None:
        _choose(dataset, [reference.reference], interval, half_life_h=half_life_h, where=where)


def _candidates(
    dataset: Dataset, state: DecayState, interval: Interval, *, zone: ZoneInfo | None, where: str
) -> list[datetime]:
    stated = date_time(dataset, "DecayCorrectionDateTime", zone=zone, where=where)
    if stated is not None:
        return [stated]
    if state == "start":
        series = _date_and_time(dataset, "SeriesDate", "SeriesTime", zone=zone, where=where)
        # A series time after the acquisition is that of a later reconstruction: no reference.
        early = [series] if series is not None and series <= interval.start else []
        return [*early, interval.start]
    return _administration_times(dataset, interval, zone=zone, where=where)


def _administration_times(dataset: Dataset, interval: Interval, *, zone: ZoneInfo | None, where: str) -> list[datetime]:
    items = dataset.get("RadiopharmaceuticalInformationSequence") or [Dataset()]
    full = date_time(items[0], "RadiopharmaceuticalStartDateTime", zone=offset_of(dataset) or zone, where=where)
    if full is not None:
        if full > interval.start:
            raise ImageError(f"{where}: found a scan before the administration that its header names; check the times")
        return [full]
    clock = str(items[0].get("RadiopharmaceuticalStartTime") or "").strip()
    if clock and _number(dataset, "DecayFactor") is not None:
        # Time of day without date: DecayFactor tells which day.
        days = (interval.start.date() - timedelta(days=n) for n in range(-1, 22))
        times = [_parse(f"{day:%Y%m%d}{clock}", zone=offset_of(dataset) or zone, where=where) for day in days]
        return [t for t in times if t <= interval.start]
    raise ImageError(
        f"{where}: found an image decay-corrected to the administration but no RadiopharmaceuticalStartDateTime; "
        "expected the reference time with its date; export it again, or without decay correction"
    )


def _choose(
    dataset: Dataset, candidates: Sequence[datetime], interval: Interval, *, half_life_h: float, where: str
) -> datetime:
    factors = [_factor(c, interval.middle, half_life_h) for c in candidates]
    stated = _number(dataset, "DecayFactor")
    if stated is not None and stated > 0:
        gaps = [abs(math.log(stated / f)) for f in factors]
        if min(gaps) > FACTOR_TOLERANCE:
            raise ImageError(
                f"{where}: found DecayFactor {stated:.4g}, but half-life and times of the header give "
                f"{factors[gaps.index(min(gaps))]:.4g}; the decay correction contradicts itself; export it again"
            )
        return candidates[gaps.index(min(gaps))]
    if max(factors) / min(factors) - 1 > FACTOR_TOLERANCE:
        raise ImageError(
            f"{where}: found SeriesTime {(candidates[-1] - candidates[0]).total_seconds() / 3600:.1f} h before "
            "AcquisitionTime and no DecayFactor; the reference of the decay correction is unknown; export it again"
        )
    return candidates[-1] if len(candidates) == 2 else candidates[0]


def _factor(reference: datetime, moment: datetime, half_life_h: float) -> float:
    return float(2.0 ** ((moment - reference).total_seconds() / 3600.0 / half_life_h))


def offset_of(dataset: Dataset) -> tzinfo | None:
    """Zone of TimezoneOffsetFromUTC, or None."""
    text = str(dataset.get("TimezoneOffsetFromUTC") or "").strip()
    if not re.fullmatch(r"[+-]\d{4}", text):
        return None
    return _offset(text)


def date_time(dataset: Dataset, keyword: str, *, zone: tzinfo | None, where: str) -> datetime | None:
    """Aware time of a DICOM DT attribute, or None if it is empty."""
    text = str(dataset.get(keyword) or "").strip()
    return _parse(text, zone=offset_of(dataset) or zone, where=where) if text else None


def _date_and_time(
    dataset: Dataset, date_keyword: str, time_keyword: str, *, zone: tzinfo | None, where: str
) -> datetime | None:
    date, time = (str(dataset.get(k) or "").strip() for k in (date_keyword, time_keyword))
    if not (date and time):
        return None
    return _parse(date.replace(".", "") + time.replace(":", ""), zone=offset_of(dataset) or zone, where=where)


def _parse(text: str, *, zone: tzinfo | None, where: str) -> datetime:
    match = _DT.match(text)
    try:
        if match is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(g or 0) for g in match.groups()[:6])
        naive = datetime(year, month, day, hour, minute, min(second, 59), int((match[7] or "0").ljust(6, "0")))  # noqa: DTZ001
    except ValueError:
        raise ImageError(f"{where}: found a date or time that cannot be read; expected YYYYMMDD and HHMMSS") from None
    if match[8]:
        zone = _offset(match[8])
    aware = naive.replace(tzinfo=zone) if zone is not None else localise(naive, None, where=where)
    return aware.astimezone(UTC)  # arithmetic on zoned times would ignore daylight-saving changes


def _offset(text: str) -> timezone:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _number(dataset: Dataset, keyword: str) -> float | None:
    value = dataset.get(keyword)
    try:
        return None if value is None or value == "" else float(value)
    except (TypeError, ValueError):
        return None
