"""Whole courses of virtual subjects: every decision is the one of `lutetia.protocol.arrays.decide_arrays`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lutetia.core.draws import FloatArray
from lutetia.errors import ProtocolError
from lutetia.protocol.allocation import CourseDose
from lutetia.protocol.arrays import STATES, categories, decide_arrays
from lutetia.protocol.records import Protocol
from lutetia.protocol.rules import ACTIONS, Rules, arm_rules
from lutetia.simulate.population import REGIONS

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_OK, _INFEASIBLE, _HELD, _STOP = (STATES.index(s) for s in ("OK", "INFEASIBLE", "HELD", "STOP"))
KIDNEYS = REGIONS.index("kidneys")
_STOP_ACTION = ACTIONS.index("stop")
# Draws of a decision whose accepted risk is not 50 %; with 41, 5 % is an order statistic.
RISK_DRAWS = 41


@dataclass(frozen=True, slots=True, eq=False)
class ArmDoses:
    """Coefficients of one arm's subjects, Gy/MBq, shape (subject, cycle, region, nuclide): true and as measured.

    `kidney_quadratic` (subject, cycle, nuclide, nuclide), Gy/MBq², for limits of BED. `population` (region, nuclide)
    serves before anything is measured; `relative_sd` is the uncertainty that the controller is told. `missed`
    (subject, cycle) was not measured, `single` (cycle,) was measured by one scan.
    """

    true: FloatArray
    measured: FloatArray
    missed: BoolArray
    single: BoolArray
    kidney_quadratic: FloatArray | None
    population: FloatArray
    relative_sd: float


@dataclass(frozen=True, slots=True, eq=False)
class Courses:
    """What happened, per subject and planned cycle (not given: NaN activity).

    `proposed_MBq`, `prescribed_MBq`, `administered_MBq` (subject, cycle, nuclide); `state`, `bound_by`
    (subject, cycle), −1 where no decision was taken; `category` (subject, cycle, nuclide); `over_limit`
    (subject, cycle); `true_Gy`, `measured_Gy` (subject, cycle, region) doses of each cycle; `given_Gy`
    (subject, cycle, limit) before the decision, `next_Gy` what was expected from the cycle;
    `held` (subject, cycle) decisions that held; `day` (subject, cycle) of the decision or infusion.
    """

    rules: Rules
    proposed_MBq: FloatArray
    prescribed_MBq: FloatArray
    administered_MBq: FloatArray
    state: IntArray
    bound_by: IntArray
    category: IntArray
    over_limit: BoolArray
    true_Gy: FloatArray
    measured_Gy: FloatArray
    given_Gy: FloatArray
    next_Gy: FloatArray
    held: IntArray
    day: FloatArray

    @property
    def given(self) -> BoolArray:
        """Whether a cycle was given, shape (subject, cycle)."""
        return _all_given(self.administered_MBq)

    @property
    def cumulative_true_Gy(self) -> FloatArray:
        """Shape (subject, region)."""
        return np.asarray(self.true_Gy.sum(axis=1))

    @property
    def cumulative_measured_Gy(self) -> FloatArray:
        """Shape (subject, region)."""
        return np.asarray(self.measured_Gy.sum(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Clinic:
    """What toxicity and events say before a cycle: action code, no increase, day of the decision, holds, still on."""

    action: IntArray
    no_increase: BoolArray
    day: FloatArray
    held: IntArray
    present: BoolArray


ClinicOf = Callable[[int, FloatArray, FloatArray], Clinic]


def untroubled(subjects: int, interval_days: float) -> ClinicOf:
    """A clinic without toxicity, drop-out or delay."""

    def clinic(cycle: int, days: FloatArray, true_Gy: FloatArray) -> Clinic:
        zeros = np.zeros(subjects, dtype=np.int64)
        never, always = np.zeros(subjects, dtype=bool), np.ones(subjects, dtype=bool)
        return Clinic(zeros, never, np.full(subjects, (cycle - 1) * interval_days), zeros, always)

    return clinic


def limit_regions(protocol: Protocol, arm: str) -> IntArray:
    """Index into `REGIONS` of every limit of an arm.

    Raises
    ------
    ProtocolError
        For a limit on a region that virtual subjects do not have.
    """
    regions = [limit.region for limit in protocol.limits_of(arm)]
    if missing := [r for r in regions if r not in REGIONS]:
        raise ProtocolError(
            f"protocol {protocol.name}: virtual subjects have no {missing[0]}; they have {', '.join(REGIONS)}"
        )
    return np.array([REGIONS.index(r) for r in regions])


def check_possible(protocol: Protocol, arm: str, population_Gy_per_MBq: FloatArray) -> None:
    """Refuse an arm in which one cycle at the smallest activity passes a limit for the typical subject.

    Raises
    ------
    ProtocolError
        Naming limit and dose.
    """
    rules = arm_rules(protocol, arm)
    least = rules.base_MBq.copy()
    if rules.variable is not None:
        least[rules.variable] = rules.minimum_MBq
    dose = population_Gy_per_MBq[limit_regions(protocol, arm)] @ least
    for i, name in enumerate(rules.limit_ids):
        if dose[i] > rules.limit_Gy[i]:
            raise ProtocolError(
                f"protocol {protocol.name}, arm {arm}: one cycle at the smallest activity gives {dose[i]:.3g} Gy to "
                f"{name}, above its limit of {rules.limit_Gy[i]:g} Gy; raise the limit or lower base_MBq or min_factor"
            )


def run_courses(
    protocol: Protocol,
    arm: str,
    doses: ArmDoses,
    *,
    delivery: FloatArray,
    clinic: ClinicOf | None = None,
    lowering: FloatArray | None = None,
) -> Courses:
    """Run every cycle of every subject of one arm.

    Parameters
    ----------
    protocol, arm
        The rules.
    doses
        True and measured coefficients.
    delivery
        Administered over prescribed activity, shape (subject, cycle) or (subject, cycle, nuclide).
    clinic
        Called before each cycle with its number, the days of the infusions so far (NaN: none) and the true
        doses (subject, cycle, region); default `untroubled`.
    lowering
        What a physician leaves of the proposed activity of the variable nuclide (of every nuclide in a fixed arm),
        shape (subject, cycle); default: all of it.

    Notes
    -----
    A proposal above a soft limit is given: the override by two persons is assumed to be granted. Where a cycle was
    not measured, the last coefficients are carried with the protocol's drift and no increase is allowed.
    """
    rules, where = arm_rules(protocol, arm), limit_regions(protocol, arm)
    n, cycles, regions, nuclides = doses.true.shape
    interval = 7.0 * (protocol.interval_weeks or 8.0)
    ask = clinic or untroubled(n, interval)
    delivered = np.broadcast_to(delivery if delivery.ndim == 3 else delivery[..., None], (n, cycles, nuclides))
    proposed, prescribed, administered = (np.full((n, cycles, nuclides), np.nan) for _ in range(3))
    state, bound = np.full((n, cycles), -1), np.full((n, cycles), -1)
    category, over = np.zeros((n, cycles, nuclides), dtype=np.int64), np.zeros((n, cycles), dtype=bool)
    true_Gy, measured_Gy = np.zeros((n, cycles, regions)), np.zeros((n, cycles, regions))
    given_before = np.full((n, cycles, len(where)), np.nan)
    next_Gy = np.full((n, cycles, len(where)), np.nan)
    held, day = np.zeros((n, cycles), dtype=np.int64), np.full((n, cycles), np.nan)
    last = np.zeros((n, nuclides))
    given = np.zeros((n, len(where)))
    expected = np.broadcast_to(doses.population, (n, regions, nuclides))
    drift = np.array([protocol.drift_per_cycle.get(r, 1.0) for r in REGIONS])
    square: FloatArray | None = None
    linear, quadratic = _at_limits(expected, None, rules, where)
    running, carried, alone = np.ones(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    refuses_single = "single_time_point" in protocol.no_increase_when
    for k in range(cycles):
        seen = ask(k + 1, np.where(_all_given(administered), day, np.nan), true_Gy)
        decision = decide_arrays(
            rules, _with_risk(rules, given, linear, quadratic, doses.relative_sd), cycle=k + 1, previous_MBq=last,
            no_increase=seen.no_increase | carried | alone, action=seen.action,
        )  # fmt: skip
        asked = running & seen.present
        activity = np.where(asked[:, None], decision.activity_MBq, np.nan)
        treated = _all_given(activity)
        state[:, k], bound[:, k] = np.where(asked, decision.state, -1), np.where(asked, decision.bound_by, -1)
        kind, proposed[:, k] = decision.category, activity
        if lowering is not None:
            activity = _lowered(rules, activity, lowering[:, k])
            kind = categories(rules, activity, decision.state, last)
        category[:, k], over[:, k] = np.where(asked[:, None], kind, 0), asked & decision.over_limit
        held[:, k], day[:, k] = np.where(running, seen.held, 0), np.where(asked, seen.day, np.nan)
        given_before[:, k] = np.where(asked[:, None], given, np.nan)
        next_Gy[:, k] = _limit_dose(linear, quadratic, activity)
        prescribed[:, k] = activity
        administered[:, k] = activity * delivered[:, k]
        used = np.where(treated[:, None], administered[:, k], 0.0)
        last = np.where(treated[:, None], activity, last)
        true_Gy[:, k] = _doses(doses.true[:, k], used)
        carried = doses.missed[:, k]
        alone = np.broadcast_to(doses.single[k] & refuses_single, carried.shape)
        known = np.where(carried[:, None, None], expected, doses.measured[:, k])
        measured_Gy[:, k] = _doses(known, used)
        square = _known_square(doses, k, carried, None if square is None else square * drift[KIDNEYS] ** 2)
        linear, quadratic = _at_limits(known, square, rules, where)
        given = given + _limit_dose(linear, quadratic, used)
        expected = known * drift[:, None]
        linear, quadratic = linear * rules.drift[:, None], quadratic * rules.drift[:, None, None] ** 2
        running = asked & treated
    return Courses(
        rules=rules,
        proposed_MBq=proposed,
        prescribed_MBq=prescribed,
        administered_MBq=administered,
        state=state,
        bound_by=bound,
        category=category,
        over_limit=over,
        true_Gy=true_Gy,
        measured_Gy=measured_Gy,
        given_Gy=given_before,
        next_Gy=next_Gy,
        held=held,
        day=day,
    )


def _lowered(rules: Rules, activity_MBq: FloatArray, factor: FloatArray) -> FloatArray:
    """Activities on the grid below those proposed, where the factor is below 1."""
    chosen = slice(None) if rules.variable is None else slice(rules.variable, rules.variable + 1)
    lowered = activity_MBq.copy()
    grid = np.floor(activity_MBq[:, chosen] * factor[:, None] / rules.grid_MBq) * rules.grid_MBq
    lowered[:, chosen] = np.where(factor[:, None] < 1.0, grid, activity_MBq[:, chosen])
    return lowered


def _doses(coefficient: FloatArray, used_MBq: FloatArray) -> FloatArray:
    return _added(coefficient * used_MBq[:, None, :])


def _added(terms: FloatArray) -> FloatArray:
    """Sum over the last axis, one or two nuclides long; numpy's own sum is several times slower on so short an axis."""
    total = terms[..., 0]
    for i in range(1, terms.shape[-1]):
        total = total + terms[..., i]
    return total


def _all_given(activity_MBq: FloatArray) -> BoolArray:
    """Whether the activity of every nuclide is a number."""
    return np.asarray(np.isfinite(_added(activity_MBq)))


def _limit_dose(linear: FloatArray, quadratic: FloatArray, used_MBq: FloatArray) -> FloatArray:
    """lᵀA + AᵀQA per limit, shape (subject, limit)."""
    first = _added(linear * used_MBq[:, None, :])
    if quadratic.shape[0] == 1:
        return np.asarray(first)
    return np.asarray(first + np.einsum("sn,slnm,sm->sl", used_MBq, quadratic, used_MBq))


def _known_square(doses: ArmDoses, cycle: int, carried: BoolArray, before: FloatArray | None) -> FloatArray | None:
    """Quadratic coefficients of a cycle; where it was not measured, those before it, or none before any."""
    if doses.kidney_quadratic is None:
        return None
    own = doses.kidney_quadratic[:, cycle]
    return np.where(carried[:, None, None], 0.0 if before is None else before, own)


def _at_limits(
    coefficient: FloatArray, kidney_quadratic: FloatArray | None, rules: Rules, where: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Coefficients of the limits' regions; quadratic ones are (1, limit, n, n) of zeros where no limit is of BED."""
    nuclides = coefficient.shape[-1]
    linear = coefficient[:, where]
    if kidney_quadratic is None or not rules.bed.any():
        return linear, np.zeros((1, len(where), nuclides, nuclides))
    quadratic = np.zeros((len(coefficient), len(where), nuclides, nuclides))
    quadratic[:, rules.bed] = kidney_quadratic[:, None]
    return linear, quadratic


def _with_risk(
    rules: Rules, given: FloatArray, linear: FloatArray, quadratic: FloatArray, relative_sd: float
) -> CourseDose:
    """Draws on the first axis: one at a risk of 50 % everywhere, else quantiles of one common lognormal factor."""
    if relative_sd == 0.0 or bool(np.all(rules.risk == 0.5)):
        return CourseDose(given[None], linear[None], quadratic[None])
    quantiles = (np.arange(RISK_DRAWS) + 0.5) / RISK_DRAWS
    factor = np.exp(np.sqrt(np.log1p(relative_sd**2)) * ndtri(quantiles))[:, None, None]
    return CourseDose(
        given[None] * factor, linear[None] * factor[..., None], quadratic[None] * factor[..., None, None] ** 2
    )
