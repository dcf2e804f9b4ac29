"""What other activities than the proposed ones would mean for every limit: the controller's figures, no decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lutetia.core.chain import Forecast
from lutetia.errors import InputError
from lutetia.protocol.arrays import CATEGORIES, STATES, categories
from lutetia.protocol.controller import course_dose
from lutetia.protocol.outcomes import LimitOutcome, limit_outcomes
from lutetia.protocol.records import Protocol
from lutetia.protocol.rules import arm_rules


def what_if_outcomes(
    protocol: Protocol,
    arm: str,
    forecast: Forecast,
    *,
    cycle: int,
    activities_MBq: Mapping[str, float],
    risk_factors: Sequence[str] | None = None,
) -> tuple[LimitOutcome, ...]:
    """Dose after the next cycle and at the end of the course, with intervals and P(over), for any activities.

    Parameters
    ----------
    protocol, arm, risk_factors
        As in `lutetia.protocol.controller.decide`.
    forecast
        The one that the decision of this cycle was taken with.
    cycle
        Number of the cycle about to be given.
    activities_MBq
        Activity of every nuclide of the arm.

    Returns
    -------
    One outcome a limit; none of them is binding, and `allowed_MBq` is not computed.

    Raises
    ------
    InputError
        If a nuclide of the arm has no activity, another one has, or an activity is negative or not finite.
    """
    limits = protocol.limits_of(arm, risk_factors=risk_factors)
    rules = arm_rules(protocol, arm, risk_factors=risk_factors)
    if set(activities_MBq) != set(rules.nuclides):
        raise InputError(f"found activities of {sorted(activities_MBq)}; expected one each of {list(rules.nuclides)}")
    activity = np.array([activities_MBq[n] for n in rules.nuclides], dtype=np.float64)
    if not (np.isfinite(activity).all() and (activity >= 0).all()):
        raise InputError(f"found activities {activity.tolist()} MBq; expected finite numbers ≥ 0")
    nominal, draws, evaluable = course_dose(rules, limits, forecast)
    nothing = np.zeros(len(limits), dtype=bool)
    return limit_outcomes(
        rules,
        limits,
        nominal=nominal,
        draws=draws,
        cycle=cycle,
        activity_MBq=activity,
        evaluable=evaluable,
        allowed_MBq=np.full(len(limits), np.inf),
        passed=nothing,
        bound_by=None,
    )


def activity_categories(
    protocol: Protocol, arm: str, activities_MBq: Mapping[str, float], *, previous_MBq: Mapping[str, float]
) -> dict[str, str]:
    """Category of every nuclide for activities that a person chose: reduced, unchanged, increased or fixed.

    Parameters
    ----------
    previous_MBq
        Last non-zero prescription, for protocols whose categories refer to it.
    """
    rules = arm_rules(protocol, arm)
    activity = np.array([activities_MBq[n] for n in rules.nuclides], dtype=np.float64)
    last = np.array([previous_MBq.get(n, 0.0) for n in rules.nuclides], dtype=np.float64)
    found = categories(rules, activity, np.asarray(STATES.index("OK")), last)
    return {n: CATEGORIES[int(code)] for n, code in zip(rules.nuclides, found, strict=True)}
