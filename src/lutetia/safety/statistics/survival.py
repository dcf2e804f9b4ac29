"""Time to an event: Kaplan–Meier, competing risks, numbers at risk, tests of groups.

Times are of one unit; 0 in `event` is censored. At equal times events come before censoring.
Not here: the test of cumulative incidences (`gray`), which event counts and when it is censored (ADTTE), curves as
pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtri

from lutetia.errors import InputError
from lutetia.safety.statistics.results import (
    LEVEL,
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Result,
    columns,
    labels_of,
    missing_warning,
)

KAPLAN_MEIER = "Kaplan–Meier estimate, log-log interval"
AALEN_JOHANSEN = "Aalen–Johansen cumulative incidence, log-log interval"
LOG_RANK = "log-rank test"
CAUSE_SPECIFIC = "cause-specific log-rank test"
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Curve:
    """A step curve: value and interval from each time on (NaN where there is no interval).

    `value` is the share without the event (Kaplan–Meier) or with it (Aalen–Johansen). Times are those of events and of
    censoring; before the first the value is `start` (1 or 0).
    """

    time: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    se: tuple[float, ...]
    at_risk: tuple[int, ...]
    events: tuple[int, ...]
    censored: tuple[int, ...]
    start: float
    n: int
    n_events: int
    method: str
    level: float = LEVEL
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CurveTest:
    """Test that groups share a curve: χ², and observed and expected events of every group."""

    chi2: float
    df: int
    p: float
    groups: tuple[str, ...]
    sizes: tuple[int, ...]
    observed: tuple[float, ...]
    expected: tuple[float, ...]
    n: int
    method: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Times:
    """Distinct times with the number at risk just before, events of interest, events of any kind, censored."""

    time: FloatArray
    at_risk: IntArray
    events: IntArray
    others: IntArray
    censored: IntArray


def kaplan_meier(time: ArrayLike, event: ArrayLike, *, level: float = LEVEL) -> Curve | NotEstimable:
    """Share without the event: S(t) = Π (1 − dⱼ/nⱼ), Greenwood's error, interval on log(−log S).

    Parameters
    ----------
    time
        Time to event or censoring, ≥ 0, shape (n,).
    event
        True or 1 for an event, 0 for censored.

    References
    ----------
    Kaplan E.L., Meier P., J Am Stat Assoc 1958;53:457–481. Kalbfleisch J.D., Prentice R.L., The Statistical Analysis of
    Failure Time Data, 2nd ed., Wiley 2002, section 1.4.
    """
    when, cause, warnings = _observed(time, event)
    if not len(when):
        return NotEstimable("no subjects", 0, KAPLAN_MEIER)
    t = _table(when, cause > 0, cause > 0)
    value: FloatArray = np.cumprod(1.0 - t.events / t.at_risk, dtype=np.float64)
    left = t.at_risk - t.events
    terms = np.divide(t.events, t.at_risk * left, out=np.full(len(left), np.nan), where=left > 0)
    se: FloatArray = np.asarray(value * np.sqrt(np.cumsum(np.where(t.events > 0, terms, 0.0))), dtype=np.float64)
    low, high = _log_log(value, se, level)
    return _curve(t, value, (low, high), se, start=1.0, method=KAPLAN_MEIER, level=level, warnings=warnings)


def aalen_johansen(time: ArrayLike, event: ArrayLike, cause: int = 1, *, level: float = LEVEL) -> Curve | NotEstimable:
    """Cumulative incidence of one cause where other causes compete: F(t) = Σ S(tⱼ₋₁) dⱼ/nⱼ.

    Parameters
    ----------
    time
        Shape (n,).
    event
        0 censored, else the number of the cause.
    cause
        The cause of interest.

    Notes
    -----
    Error by the delta method (Greenwood type), interval on log(−log F). Censoring a competing event instead would
    overstate the incidence.

    References
    ----------
    Aalen O.O., Johansen S., Scand J Statist 1978;5:141–150. Marubini E., Valsecchi M.G., Analysing Survival Data from
    Clinical Trials and Observational Studies, Wiley 1995, chapter 10.
    """
    when, kind, warnings = _observed(time, event)
    if not len(when):
        return NotEstimable("no subjects", 0, AALEN_JOHANSEN)
    t = _table(when, kind == cause, kind > 0)
    both = t.events + t.others
    free = np.concatenate([[1.0], np.cumprod(1.0 - both / t.at_risk)[:-1]])
    value = np.cumsum(free * t.events / t.at_risk)
    se = np.sqrt(_incidence_variance(t, free, value))
    low, high = _log_log(value, se, level)
    return _curve(t, value, (low, high), se, start=0.0, method=AALEN_JOHANSEN, level=level, warnings=warnings)


def at_time(curve: Curve, time: float) -> Result | NotEstimable:
    """Value of a curve at a time, with its interval; not estimable beyond the last observation.

    A Kaplan–Meier curve that has reached 0 stays there.
    """
    if time > curve.time[-1] and not (curve.start == 1.0 and curve.value[-1] == 0.0):
        return NotEstimable(
            f"nobody was observed until {time:g}; the last time is {curve.time[-1]:g}", curve.n, curve.method
        )
    i = int(np.searchsorted(curve.time, time, side="right")) - 1
    value, low, high = (curve.start, _NAN, _NAN) if i < 0 else (curve.value[i], curve.low[i], curve.high[i])
    warnings = curve.warnings if np.isfinite(low) else (*curve.warnings, "no interval: no event, or nobody left")
    ends = (low, high) if np.isfinite(low) else (None, None)
    what = "share without event" if curve.start == 1.0 else "cumulative incidence"
    return Result(f"{what} at {time:g}", value, ends[0], ends[1], None, curve.n, curve.method, level=curve.level,
                  warnings=warnings)  # fmt: skip


def median_time(curve: Curve) -> Result | NotEstimable:
    """Smallest time at which a Kaplan–Meier curve is at or below ½; the interval where its limits are.

    An upper end that is not reached is None and a warning says so.

    References
    ----------
    Brookmeyer R., Crowley J., Biometrics 1982;38:29–41.
    """
    if curve.start != 1.0:
        return NotEstimable("a median time needs a Kaplan–Meier curve", curve.n, curve.method)
    time = np.array(curve.time)
    reached = [time[np.array(v) <= 0.5 + 1e-12] for v in (curve.value, curve.low, curve.high)]
    if not reached[0].size:
        return NotEstimable("the curve stays above one half", curve.n, curve.method)
    low, high = (float(v[0]) if v.size else None for v in reached[1:])
    warnings = curve.warnings if high is not None else (*curve.warnings, "the upper end of the interval is not reached")
    return Result("median time", float(reached[0][0]), low, high, None, curve.n, curve.method, level=curve.level,
                  warnings=warnings)  # fmt: skip


def numbers_at_risk(time: ArrayLike, at: Sequence[float]) -> tuple[int, ...]:
    """Subjects still observed and without event just before each time."""
    when = columns({"time": time})["time"]
    return tuple(int((when >= t).sum()) for t in at)


def log_rank(
    time: ArrayLike, event: ArrayLike, group: Sequence[object], *, cause: int | None = None
) -> CurveTest | NotEstimable:
    """Whether groups share a hazard: observed less expected events and their hypergeometric covariance.

    Parameters
    ----------
    time, event
        Shape (n,).
    group
        Name of each subject's group.
    cause
        One cause of several: the others are censored when they occur (the test is of cause-specific hazards).

    References
    ----------
    Mantel N., Cancer Chemother Rep 1966;50:163–170. Kalbfleisch & Prentice 2002, section 1.5.
    """
    method = LOG_RANK if cause is None else CAUSE_SPECIFIC
    names, place, when, kind, warnings = grouped_times(time, event, group)
    hit = kind > 0 if cause is None else kind == cause
    if refusal := no_test(names, hit, len(when), method):
        return refusal
    k = len(names)
    observed, expected, covariance = np.zeros(k), np.zeros(k), np.zeros((k, k))
    for t in np.unique(when[hit]):
        at_risk = np.bincount(place[when >= t], minlength=k).astype(np.float64)
        dead = np.bincount(place[hit & (when == t)], minlength=k).astype(np.float64)
        n, d = at_risk.sum(), dead.sum()
        share = at_risk / n
        observed += dead
        expected += d * share
        if n > 1:
            covariance += d * (n - d) / (n - 1.0) * (np.diag(share) - np.outer(share, share))
    chi2, df = quadratic_form(observed - expected, covariance)
    if df == 0:
        return NotEstimable("groups are never at risk together", len(when), method)
    sizes = np.bincount(place, minlength=k)
    return CurveTest(
        chi2, df, float(chdtrc(df, chi2)), tuple(names.tolist()), tuple(int(v) for v in sizes),
        tuple(observed.tolist()), tuple(expected.tolist()), len(when), method, warnings,
    )  # fmt: skip


def _observed(time: ArrayLike, event: ArrayLike) -> tuple[FloatArray, IntArray, tuple[str, ...]]:
    found = columns({"time": time, "event": event})
    when, kind = found["time"], found["event"]
    use = np.isfinite(when) & np.isfinite(kind)
    if (when[use] < 0).any() or (kind[use] < 0).any() or (kind[use] != np.rint(kind[use])).any():
        raise InputError("time to event: expected times ≥ 0 and events as whole numbers from 0 (censored)")
    return when[use], kind[use].astype(np.int64), missing_warning(int((~use).sum()), "subjects")


def grouped_times(
    time: ArrayLike, event: ArrayLike, group: Sequence[object]
) -> tuple[NDArray[np.str_], IntArray, FloatArray, IntArray, tuple[str, ...]]:
    """Names of groups, and of every complete subject its group, time and event; warnings about the others."""
    found = columns({"time": time, "event": event})
    labels = labels_of(group, "group", len(found["time"]))
    use = np.isfinite(found["time"]) & np.isfinite(found["event"])
    when, kind, warnings = _observed(time, event)
    names, place = np.unique(labels[0][labels[1]][use], return_inverse=True)
    return names, place.astype(np.int64), when, kind, warnings


def no_test(names: Sequence[str] | NDArray[np.str_], hit: BoolArray, n: int, method: str) -> NotEstimable | None:
    """Why groups cannot be compared, or None."""
    if len(names) < 2:
        return NotEstimable("fewer than two groups have subjects", n, method)
    return None if hit.any() else NotEstimable("no events", n, method)


def _table(when: FloatArray, hit: BoolArray, any_event: BoolArray) -> _Times:
    time, place = np.unique(when, return_inverse=True)
    count = [np.bincount(place[flag], minlength=len(time)) for flag in (hit, any_event & ~hit, ~any_event)]
    leaving = np.bincount(place, minlength=len(time))
    at_risk = len(when) - np.concatenate([[0], np.cumsum(leaving)[:-1]])
    return _Times(time, at_risk.astype(np.int64), count[0], count[1], count[2])


def _incidence_variance(t: _Times, free: FloatArray, value: FloatArray) -> FloatArray:
    """Delta-method variance of the cumulative incidence at every time."""
    n, d, both = (a.astype(np.float64) for a in (t.at_risk, t.events, t.events + t.others))
    left = n - both
    hazard = np.divide(both, n * left, out=np.zeros(len(n)), where=left > 0)
    own = free**2 * d * (n - d) / n**3
    cross = free * d / n**2
    later = value[:, None] - value[None, :]
    past = np.tril(np.ones((len(n), len(n))))
    terms = later**2 * hazard + own - 2.0 * later * cross
    return np.asarray(np.maximum((past * terms).sum(axis=1), 0.0))


def _log_log(value: FloatArray, se: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Ends value^exp(±z·se/(value·log value)); NaN at 0 and 1."""
    z = float(ndtri(0.5 + level / 2.0))
    inside = (value > 0.0) & (value < 1.0 - 1e-12) & np.isfinite(se) & (se > 0.0)
    v = np.where(inside, value, 0.5)
    width = z * np.where(inside, se, 0.0) / (v * np.abs(np.log(v)))
    low, high = v ** np.exp(width), v ** np.exp(-width)
    return np.where(inside, low, np.nan), np.where(inside, high, np.nan)


def _curve(
    t: _Times, value: FloatArray, ends: tuple[FloatArray, FloatArray], se: FloatArray, *, start: float, method: str,
    level: float, warnings: tuple[str, ...],
) -> Curve:  # fmt: skip
    n_events = int(t.events.sum())
    if not n_events:
        warnings += ("no events: the curve is flat and has no interval",)
    return Curve(
        _floats(t.time), _floats(value), _floats(ends[0]), _floats(ends[1]), _floats(se), _whole(t.at_risk),
        _whole(t.events), _whole(t.censored), start, int(t.at_risk[0]), n_events, method, level, warnings,
    )  # fmt: skip


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _whole(values: IntArray) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def quadratic_form(difference: FloatArray, covariance: FloatArray) -> tuple[float, int]:
    """dᵀ V⁺ d and the rank of V."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-9 * max(1e-300, float(values.max()))
    along = (vectors * difference[:, None]).sum(axis=0)
    return float((along[kept] ** 2 / values[kept]).sum()), int(kept.sum())
