"""The one copy of the dosing rules: dose limits, arm and toxicity action in, activity of the next cycle out.

Works on any number of subjects at once; `lutetia.protocol.controller.decide` puts names to the codes for one of them.
`docs/theory/controller.md` states every rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError
from lutetia.protocol.allocation import (
    CourseDose,
    FloatArray,
    IntArray,
    allowed_variable_MBq,
    projected_dose_Gy,
    risk_quantile,
)
from lutetia.protocol.rules import ACTIONS, Rules, planned_sums

BoolArray = NDArray[np.bool_]
STATES = ("OK", "INFEASIBLE", "HELD", "STOP", "COMPLETE")
CATEGORIES = ("none", "reduced", "unchanged", "increased", "withheld", "stopped", "fixed")
_OK, _INFEASIBLE, _HELD, _STOP, _COMPLETE = range(5)
_HOLD, _HALF, _STOP_ACTION = (ACTIONS.index(name) for name in ("hold", "half", "stop"))
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class ArrayDecision:
    """Decisions of any number of subjects.

    Parameters
    ----------
    activity_MBq
        Shape (..., nuclide); NaN where nothing is proposed.
    state
        Shape (...): index into `STATES`; the highest that applies.
    bound_by
        Shape (...): index into `rules.binding_names`; −1 where nothing set the activity.
    category
        Shape (..., nuclide): index into `CATEGORIES`.
    over_limit
        Shape (...): the proposal is above a soft limit and needs the two-person override.
    allowed_MBq
        Shape (..., limit): largest activity of the variable nuclide under each limit at its risk.
    passed
        Shape (..., limit): the dose given so far is above the limit at its risk.
    """

    activity_MBq: FloatArray
    state: IntArray
    bound_by: IntArray
    category: IntArray
    over_limit: BoolArray
    allowed_MBq: FloatArray
    passed: BoolArray


def decide_arrays(
    rules: Rules,
    dose: CourseDose,
    *,
    cycle: ArrayLike,
    previous_MBq: ArrayLike | None = None,
    no_increase: ArrayLike = False,
    action: ArrayLike = 0,
    evaluable: ArrayLike = True,
    measured: ArrayLike | None = None,
) -> ArrayDecision:
    """Activity of the next cycle for any number of subjects.

    Parameters
    ----------
    rules
        The arm's rules as arrays.
    dose
        Dose so far and coefficients of the next cycle, draws on the first axis.
    cycle
        Shape (...): number of the cycle about to be given, from 1.
    previous_MBq
        Shape (..., nuclide): last non-zero prescription; 0 or None where there was none.
    no_increase
        Shape (...): an increase is not permitted.
    action
        Shape (...): index into `lutetia.protocol.rules.ACTIONS`.
    evaluable
        Shape (..., limit): whether the dose of the limit's region is known; where not, the limit does not act here.
    measured
        Shape (...): coefficients come from measurements of the subject; default: from cycle 2 on.

    Returns
    -------
    ArrayDecision

    Raises
    ------
    PhysicsError
        For coefficients or doses that are negative or not finite where evaluable, or cycles below 1.
    """
    shape = np.broadcast_shapes(dose.given_Gy.shape[1:-1], np.shape(cycle), np.shape(no_increase), np.shape(action))
    now = _checked_cycle(cycle, shape)
    known = np.broadcast_to(np.asarray(evaluable, dtype=bool), (*shape, len(rules.limit_ids)))
    _check_dose(dose, known)
    last = np.zeros((*shape, len(rules.nuclides)))
    if previous_MBq is not None:
        last = np.broadcast_to(np.asarray(previous_MBq, dtype=np.float64), last.shape)
    unmeasured = (now == 1) & ~np.broadcast_to(np.asarray(False if measured is None else measured, dtype=bool), shape)
    act = np.broadcast_to(np.asarray(action, dtype=np.int64), shape)
    still = np.broadcast_to(np.asarray(no_increase, dtype=bool), shape)

    limits = _judge_limits(rules, dose, now, known=known, unmeasured=unmeasured)
    activity, bound = _from_dosimetry(rules, limits, now, last=last, no_increase=still, unmeasured=unmeasured)
    activity, by_toxicity = _after_toxicity(rules, activity, last=last, half=act == _HALF)
    halved = by_toxicity & ~limits.violated.any(axis=-1)
    bound = np.where(halved, rules.binding_names.index("toxicity"), bound)
    state = _state(rules, limits, now, act)
    nothing = (state == _COMPLETE) | (act == _HOLD) | (act == _STOP_ACTION) | limits.blocked
    activity = np.where(nothing[..., None], np.nan, activity)
    bound = np.where((state == _HELD) | (act == _STOP_ACTION), rules.binding_names.index("toxicity"), bound)
    return ArrayDecision(
        activity_MBq=activity,
        state=state,
        bound_by=np.where(state == _COMPLETE, -1, bound),
        category=categories(rules, activity, state, last),
        over_limit=~nothing & limits.violated.any(axis=-1),
        allowed_MBq=limits.allowed_MBq,
        passed=limits.passed,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Limits:
    """What the limits say: `allowed_MBq`, `violated`, `passed` (..., limit); `blocked` (...) by a hard one."""

    allowed_MBq: FloatArray
    violated: BoolArray
    passed: BoolArray
    blocked: BoolArray
    worst: IntArray


def _judge_limits(
    rules: Rules, dose: CourseDose, cycle: IntArray, *, known: BoolArray, unmeasured: BoolArray
) -> _Limits:
    """Largest activity under each limit at its risk, and the limits under which even the minimum is too much."""
    acting = known & ~rules.advisory
    passed = known & (risk_quantile(rules.limit_Gy - dose.given_Gy, rules.risk) < -_TINY * rules.limit_Gy)
    # A budget of exactly the limit may miss it by a rounding error of the sum: compare with a relative slack of 1e-9.
    base_fits = _base_fits(rules, dose)
    if rules.variable is None:
        allowed = np.where(base_fits, np.inf, -np.inf)
        too_much = ~base_fits
    else:
        allowed = risk_quantile(_allowed_draws(rules, dose, cycle), rules.risk)
        too_much = allowed < rules.minimum_MBq * (1.0 - _TINY)
    allowed = np.where(known, allowed, np.inf)
    first = passed | (rules.hard & ~base_fits)
    violated = acting & np.where(unmeasured[..., None], first, too_much)
    blocking = np.asarray(violated & (rules.hard | rules.stop_only))
    blocked = np.asarray(blocking.any(axis=-1))
    counted = np.where(blocked[..., None], blocking, violated)
    return _Limits(allowed, violated, acting & passed, blocked, _lowest(allowed, counted))


def _lowest(allowed_MBq: FloatArray, counted: BoolArray) -> IntArray:
    """Index of the counted limit that allows least, shape (...); the first one on a tie, 0 where none counts."""
    finite = np.clip(allowed_MBq, -1e300, 1e300)
    return np.asarray(np.argmin(np.where(counted, finite, np.inf), axis=-1))


def _allowed_draws(rules: Rules, dose: CourseDose, cycle: IntArray) -> FloatArray:
    """Allowed activity per draw and limit under the protocol's allocation."""
    assert rules.variable is not None
    sums = planned_sums(rules, cycle)
    budget = np.minimum(rules.limit_Gy - dose.given_Gy, rules.cycle_dose_Gy[np.clip(cycle, 1, rules.cycles) - 1])
    return allowed_variable_MBq(dose, rules.base_MBq, rules.variable, budget_Gy=budget, sums=sums)


def _base_fits(rules: Rules, dose: CourseDose) -> BoolArray:
    """Whether one cycle at base activity stays within limit and tolerance, at the risk; shape (..., limit)."""
    room = rules.limit_Gy + rules.tolerance_Gy - projected_dose_Gy(dose, rules.base_MBq)
    return np.asarray(risk_quantile(room, rules.risk) >= -_TINY * rules.limit_Gy)


def _from_dosimetry(
    rules: Rules, limits: _Limits, cycle: IntArray, *, last: FloatArray, no_increase: BoolArray, unmeasured: BoolArray
) -> tuple[FloatArray, IntArray]:
    """Activities (..., nuclide) and binding index (...) before toxicity acts."""
    names = rules.binding_names
    activity = np.broadcast_to(rules.base_MBq, (*cycle.shape, len(rules.nuclides))).copy()
    infeasible = limits.violated.any(axis=-1)
    if rules.variable is None:
        fixed = np.full(cycle.shape, names.index("fixed"))
        return activity, np.where(infeasible, limits.worst, fixed)
    chosen, bound = _adjusted(rules, limits, cycle, last=last, no_increase=no_increase)
    chosen = np.where(unmeasured, rules.base_MBq[rules.variable], chosen)
    bound = np.where(unmeasured, names.index("base"), bound)
    # Where an increase is not permitted, even the minimum is not above the previous activity.
    activity[..., rules.variable] = np.where(infeasible, np.minimum(rules.minimum_MBq, chosen), chosen)
    return activity, np.where(infeasible, limits.worst, bound)


def _adjusted(
    rules: Rules, limits: _Limits, cycle: IntArray, *, last: FloatArray, no_increase: BoolArray
) -> tuple[FloatArray, IntArray]:
    """Activity of the variable nuclide from limits, cap, step and permission to increase, on the grid."""
    assert rules.variable is not None
    before, base = last[..., rules.variable], rules.base_MBq[rules.variable]
    under = np.where(rules.advisory, np.inf, limits.allowed_MBq)
    cap = rules.cap_MBq[np.clip(cycle, 1, rules.cycles) - 1]
    held = np.where(no_increase, np.where(before > 0, before, base), np.inf)
    step = np.where(before > 0, before, np.inf) * (1.0 + rules.step_up)
    bounds = np.concatenate([under, np.stack([cap, held, step], axis=-1)], axis=-1)
    bound, upper = np.argmin(bounds, axis=-1), np.min(bounds, axis=-1)
    endless = np.isinf(upper)
    upper = np.where(endless, base, upper)
    bound = np.where(endless, rules.binding_names.index("base"), bound)
    floored = np.floor(upper / rules.grid_MBq + _TINY) * rules.grid_MBq
    least = np.minimum(rules.minimum_MBq, held)
    lifted = (floored < least * (1.0 - _TINY)) & (held >= rules.minimum_MBq)
    bound = np.where(lifted, rules.binding_names.index("minimum"), bound)
    return np.maximum(floored, least), bound


def _after_toxicity(
    rules: Rules, activity: FloatArray, *, last: FloatArray, half: BoolArray
) -> tuple[FloatArray, BoolArray]:
    """Half of the last prescription of every nuclide, never above what dosimetry allows; and where that lowered it."""
    reference = np.where(last > 0, last, rules.base_MBq)
    halved = np.minimum(activity, 0.5 * reference)
    if rules.variable is not None:
        v = rules.variable
        on_grid = np.floor(halved[..., v] / rules.grid_MBq + _TINY) * rules.grid_MBq
        halved[..., v] = np.where(halved[..., v] < activity[..., v], on_grid, halved[..., v])
    lowered = half & (halved < activity).any(axis=-1)
    return np.where(lowered[..., None], halved, activity), lowered


def _state(rules: Rules, limits: _Limits, cycle: IntArray, action: IntArray) -> IntArray:
    violated = limits.violated.any(axis=-1)
    stop = (violated & ((limits.violated & limits.passed).any(axis=-1) | rules.stop_only)) | (action == _STOP_ACTION)
    state = np.where(violated, _INFEASIBLE, _OK)
    state = np.where(action == _HOLD, _HELD, state)
    state = np.where(stop, _STOP, state)
    return np.where(cycle > rules.cycles, _COMPLETE, state)


def categories(rules: Rules, activity: FloatArray, state: IntArray, last: FloatArray) -> IntArray:
    """Category of every nuclide against base (or the previous prescription): indices into `CATEGORIES`.

    Parameters
    ----------
    activity, last
        Shape (..., nuclide): activities, NaN where nothing is given; last prescription above 0, 0 where none.
    state
        Shape (...): index into `STATES`.
    """
    reference = np.broadcast_to(rules.base_MBq, activity.shape)
    if rules.category_reference == "previous":
        reference = np.where(last > 0, last, reference)
    ratio = activity / reference
    low, high = 1.0 - rules.category_tolerance - _TINY, 1.0 + rules.category_tolerance + _TINY
    name = CATEGORIES.index
    category = np.where(ratio < low, name("reduced"), np.where(ratio > high, name("increased"), name("unchanged")))
    fixed = np.arange(len(rules.nuclides)) != (-1 if rules.variable is None else rules.variable)
    category = np.where(fixed & (activity >= rules.base_MBq * (1.0 - _TINY)), name("fixed"), category)
    empty = np.where(state == _STOP, name("stopped"), np.where(state == _COMPLETE, name("none"), name("withheld")))
    return np.where(np.isnan(activity), empty[..., None], category)


def _checked_cycle(cycle: ArrayLike, shape: tuple[int, ...]) -> IntArray:
    number = np.broadcast_to(np.asarray(cycle, dtype=np.int64), shape)
    if (number < 1).any():
        raise PhysicsError(f"cycle: found {int(number.min())}; expected 1 or more")
    return number


def _check_dose(dose: CourseDose, known: BoolArray) -> None:
    for name, array, axes in (
        ("dose given", dose.given_Gy, 0),
        ("dose coefficients", dose.linear_Gy_per_MBq, 1),
        ("quadratic dose coefficients", dose.quadratic_Gy_per_MBq2, 2),
    ):
        good = np.isfinite(array) & (array >= 0.0)
        if not (good | ~known.reshape(known.shape + (1,) * axes)).all():
            raise PhysicsError(f"{name}: found negative values or values that are not finite; expected numbers ≥ 0")
