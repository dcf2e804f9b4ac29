"""Whether intervals hold the truth and probabilities come true, counted over the subjects of a block of trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import FloatArray
from lutetia.core.numbers import six_digits
from lutetia.simulate.courses import Courses, limit_regions
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import Block, arm_doses
from lutetia.simulate.uncertainty import DrawnCourses, draw_courses

BoolArray = NDArray[np.bool_]
QUANTITIES = ("kidneys, each cycle", "kidneys, cumulative", "red marrow, each cycle", "red marrow, cumulative")
HORIZONS = ("next cycle", "end of course")
BINS = 10
# Subjects of each arm of a block; at level fitted every draw is a fit.
JUDGED = {"analytic": 120, "fitted": 30}
DRAWS = {"analytic": 200, "fitted": 60}
_REGIONS = ("kidneys", "red marrow")
COVERED, RELIABILITY = "calibration covered", "calibration reliability"
Counts = dict[str, FloatArray]


def no_counts(trials: int) -> Counts:
    """Counts of trials that are not judged."""
    return {
        COVERED: np.zeros((trials, len(QUANTITIES), 2)),
        RELIABILITY: np.zeros((trials, len(HORIZONS), BINS, 3)),
    }


def calibration_counts(
    block: Block, courses: Mapping[str, Courses], *, draws: int | None = None, subjects: int | None = None
) -> Counts:
    """Counts over the first subjects of every arm of a block.

    Parameters
    ----------
    block, courses
        What happened.
    draws, subjects
        Draws of every dose, and how many subjects of each arm are judged; default: `DRAWS` and `JUDGED` of the level.

    Returns
    -------
    `COVERED` (trial, quantity, 2): intervals that hold the truth, and intervals. `RELIABILITY`
    (trial, horizon, bin, 3): forecasts, sum of P(over a limit of absorbed dose), and how many came true.

    Notes
    -----
    What a forecast of the end of the course says is compared with the dose that the prescribed activity would truly
    have given in all remaining cycles: later decisions change the activity because of the forecast.
    """
    found = no_counts(block.trials)
    for arm, course in courses.items():
        drawn = draw_courses(
            block, arm, course, draws=draws or DRAWS[block.level], subjects=subjects or JUDGED[block.level]
        )
        count = drawn.nuclide_Gy.shape[1]
        trial = np.flatnonzero(block.arm == block.arms.index(arm))[:count] // block.per_trial
        _count_covered(found[COVERED], trial, drawn, course, block.missed[block.arm == block.arms.index(arm)])
        _count_reliability(found[RELIABILITY], trial, block, arm, course, drawn)
    return found


def _count_covered(
    into: FloatArray, trial: NDArray[np.int64], drawn: DrawnCourses, courses: Courses, missed: BoolArray
) -> None:
    count = len(trial)
    given, true = courses.given[:count], courses.true_Gy[:count]
    drawn_Gy = drawn.dose_Gy
    for i, region in enumerate(_REGIONS):
        r = REGIONS.index(region)
        low, high = _interval(drawn_Gy[..., r])
        judged = given & ~missed[:count]
        inside = judged & (low <= true[..., r]) & (true[..., r] <= high)
        into[:, 2 * i, 0] += group_sum(trial, inside.sum(axis=1), len(into))
        into[:, 2 * i, 1] += group_sum(trial, judged.sum(axis=1), len(into))
        low, high = _interval(drawn_Gy[..., r].sum(axis=2))
        total, treated = true[..., r].sum(axis=1), np.asarray(given.any(axis=1))
        held = treated & (low <= total) & (total <= high)
        into[:, 2 * i + 1, 0] += group_sum(trial, held, len(into))
        into[:, 2 * i + 1, 1] += group_sum(trial, treated, len(into))


def _interval(draws: FloatArray) -> FloatArray:
    """Central 95 % interval of few draws; by rank/(n + 1), so that a further draw lies inside with 95 %."""
    return np.asarray(np.quantile(draws, [0.025, 0.975], axis=0, method="weibull"))


def _count_reliability(
    into: FloatArray, trial: NDArray[np.int64], block: Block, arm: str, courses: Courses, drawn: DrawnCourses
) -> None:
    rules, where = courses.rules, limit_regions(block.protocol, arm)
    count, absorbed = len(trial), ~rules.bed
    true = arm_doses(block, arm).true[:count][:, :, where]
    given = courses.true_Gy[:count][:, :, where]
    before = np.cumsum(given, axis=1) - given
    for k in range(rules.cycles):
        ahead = rules.cycles - k if rules.allocation == "even" else 1
        each = (true[:, k : k + ahead] * courses.prescribed_MBq[:count, k, None, None, :]).sum(axis=-1)
        forecasts = ((drawn.next_Gy, each[:, 0]), (drawn.course_Gy, each.sum(axis=1)))
        for horizon, (said, added) in enumerate(forecasts):
            said_over = (said[:, :, k] > rules.limit_Gy).mean(axis=0)
            comes_true = before[:, k] + added > rules.limit_Gy
            judged = np.isfinite(added) & absorbed
            subject, limit = np.nonzero(judged)
            p, hit = said_over[subject, limit], comes_true[subject, limit]
            place = trial[subject] * BINS + np.minimum((BINS * p).astype(np.int64), BINS - 1)
            for column, amount in enumerate((np.ones(len(p)), p, hit)):
                into[:, horizon, :, column] += group_sum(place, amount, len(into) * BINS).reshape(-1, BINS)


def group_sum(group: NDArray[np.int64], values: NDArray[Any], count: int) -> FloatArray:
    """Sum of every group."""
    return np.asarray(np.bincount(group, weights=values, minlength=count), dtype=np.float64)


def calibration_record(outcomes: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Coverage of the nominal 95 % intervals and reliability of P(over a limit), over all trials that were judged."""
    covered, counts = outcomes[COVERED].sum(axis=0), outcomes[RELIABILITY].sum(axis=0)
    return {
        "coverage": [
            {"quantity": name, "intervals": int(n), "share_that_holds_the_truth": six_digits(hits / n) if n else None}
            for name, (hits, n) in zip(QUANTITIES, covered, strict=True)
        ],
        "reliability": [
            {"horizon": name, "forecasts": int(bins[:, 0].sum()), **_errors(bins), "bins": [_bin(row) for row in bins]}
            for name, bins in zip(HORIZONS, counts, strict=True)
        ],
    }


def _bin(row: Sequence[float]) -> dict[str, Any]:
    n, said, hits = (float(x) for x in row)
    return {
        "forecasts": int(n),
        "said": six_digits(said / n) if n else None,
        "came_true": six_digits(hits / n) if n else None,
    }


def _errors(bins: FloatArray) -> dict[str, float | None]:
    """Mean over the forecasts of |came true − said| by bin, and over all forecasts together."""
    n = bins[:, 0].sum()
    if not n:
        return {"mean_error": None, "bias": None}
    difference = bins[:, 2] - bins[:, 1]
    return {"mean_error": six_digits(np.abs(difference).sum() / n), "bias": six_digits(difference.sum() / n)}
