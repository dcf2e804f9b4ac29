"""What a proposal means for every limit: dose after the next cycle and at the end of what is planned, with risk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.protocol.allocation import CourseDose, FloatArray, projected_dose_Gy
from lutetia.protocol.records import Limit
from lutetia.protocol.rules import Rules, planned_sums

_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class DoseForecast:
    """A predicted cumulative dose: nominal value; mean, sd, central 95 % interval and P(over limit) of its draws."""

    value_Gy: float
    mean_Gy: float
    interval_Gy: tuple[float, float]
    probability_over: float
    sd_Gy: float


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """One limit in the light of the decision; None where it is not evaluable or nothing is proposed.

    `planned_cycles` says how many cycles `end_of_course` counts: all remaining ones when they share the limit evenly,
    one when the protocol decides cycle by cycle. `controllable_fraction` is the share of the next cycle's dose that
    comes from the variable nuclide. `allowed_MBq` is that nuclide's largest activity under this limit (None: without
    bound, or no variable nuclide).
    """

    limit: Limit
    evaluable: bool
    given_Gy: float | None
    after_cycle: DoseForecast | None
    end_of_course: DoseForecast | None
    planned_cycles: int
    controllable_fraction: float | None
    allowed_MBq: float | None
    passed: bool
    binding: bool


def limit_outcomes(
    rules: Rules,
    limits: Sequence[Limit],
    *,
    nominal: CourseDose,
    draws: CourseDose,
    cycle: int,
    activity_MBq: FloatArray | None,
    evaluable: NDArray[np.bool_],
    allowed_MBq: FloatArray,
    passed: NDArray[np.bool_],
    bound_by: str | None,
) -> tuple[LimitOutcome, ...]:
    """Outcome of each limit for the activities that are proposed.

    Parameters
    ----------
    nominal, draws
        One subject's dose; shape (1, limit, ...) at nominal inputs and (draw, limit, ...).
    activity_MBq
        Shape (nuclide,), or None when nothing is proposed.
    evaluable, allowed_MBq, passed
        Shape (limit,), as in `lutetia.protocol.arrays.ArrayDecision`.
    """
    complete = cycle > rules.cycles
    given = np.zeros(len(rules.nuclides)) if complete else activity_MBq
    ahead = max(1, rules.cycles - cycle + 1) if rules.allocation == "even" else 1
    sums = planned_sums(rules, cycle)
    shares = _controllable(rules, nominal, activity_MBq)
    after = None if given is None or complete else _forecasts(rules, nominal, draws, given, None)
    end = None if given is None else _forecasts(rules, nominal, draws, given, sums)
    return tuple(
        LimitOutcome(
            limit=limit,
            evaluable=bool(evaluable[i]),
            given_Gy=float(nominal.given_Gy[0, i]) if evaluable[i] else None,
            after_cycle=after[i] if after is not None and evaluable[i] else None,
            end_of_course=end[i] if end is not None and evaluable[i] else None,
            planned_cycles=0 if complete else ahead,
            controllable_fraction=shares[i] if evaluable[i] and not complete else None,
            allowed_MBq=_finite(allowed_MBq[i]) if evaluable[i] and rules.variable is not None else None,
            passed=bool(passed[i]),
            binding=limit.id == bound_by,
        )
        for i, limit in enumerate(limits)
    )


def _forecasts(
    rules: Rules,
    nominal: CourseDose,
    draws: CourseDose,
    activity_MBq: FloatArray,
    sums: tuple[FloatArray, FloatArray] | None,
) -> list[DoseForecast]:
    value = projected_dose_Gy(nominal, activity_MBq, sums)[0]
    drawn = projected_dose_Gy(draws, activity_MBq, sums)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    over = (drawn > rules.limit_Gy * (1.0 + _SLACK)).mean(axis=0)
    mean, sd = drawn.mean(axis=0), drawn.std(axis=0, ddof=1 if len(drawn) > 1 else 0)
    return [
        DoseForecast(float(value[i]), float(mean[i]), (float(low[i]), float(high[i])), float(over[i]), float(sd[i]))
        for i in range(len(rules.limit_ids))
    ]


def _controllable(rules: Rules, nominal: CourseDose, activity_MBq: FloatArray | None) -> list[float | None]:
    """Share of the next cycle's dose that the variable nuclide decides, at the proposal or else at base."""
    if rules.variable is None:
        return [0.0] * len(rules.limit_ids)
    activity = rules.base_MBq if activity_MBq is None else activity_MBq
    without = np.array(activity, dtype=np.float64)
    without[rules.variable] = 0.0
    cycle_only = CourseDose(np.zeros_like(nominal.given_Gy), nominal.linear_Gy_per_MBq, nominal.quadratic_Gy_per_MBq2)
    total, rest = (projected_dose_Gy(cycle_only, a)[0] for a in (activity, without))
    return [float(1.0 - r / t) if t > 0 else None for t, r in zip(total, rest, strict=True)]


def _finite(value: float) -> float | None:
    return max(float(value), 0.0) if np.isfinite(value) or value < 0 else None


def limit_record(outcome: LimitOutcome) -> dict[str, object]:
    """One row of `limits` in result.json; what is not evaluable or not proposed is None."""
    limit, after, end = outcome.limit, outcome.after_cycle, outcome.end_of_course
    return {
        "id": limit.id,
        "region": limit.region,
        "metric": limit.metric,
        "method": limit.method,
        "kind": limit.kind,
        "limit_Gy": limit.limit_Gy,
        "risk": limit.risk,
        "given_Gy": outcome.given_Gy,
        "predicted_after_cycle_Gy": None if after is None else after.value_Gy,
        "predicted_after_cycle_interval_Gy": None if after is None else list(after.interval_Gy),
        "predicted_end_of_course_Gy": None if end is None else end.value_Gy,
        "predicted_end_of_course_interval_Gy": None if end is None else list(end.interval_Gy),
        "probability_over_after_cycle": None if after is None else after.probability_over,
        "probability_over_end_of_course": None if end is None else end.probability_over,
        "controllable_fraction": outcome.controllable_fraction,
        "allowed_MBq": outcome.allowed_MBq,
        "binding": outcome.binding,
    }
