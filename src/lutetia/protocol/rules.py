"""The rules of one arm as arrays, ready for the controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.protocol.allocation import drift_sums
from lutetia.protocol.records import Limit, Protocol

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
ACTIONS = ("none", "hold", "half", "stop")
OTHER_BINDINGS = ("cap", "no increase", "step", "minimum", "base", "fixed", "toxicity")


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """One arm's rules: arrays over limits (in the order of `limit_ids`) and nuclides.

    `cap_MBq` has shape (cycle,), infinite without a cap; `cycle_dose_Gy` shape (cycle, limit) is the largest dose of
    one cycle under ``per_cycle_quota`` and ``prescribed_doses``, else infinite. `stop_only`: a protocol that gives
    the base activity or nothing.
    """

    nuclides: tuple[str, ...]
    variable: int | None
    base_MBq: FloatArray
    minimum_MBq: float
    cap_MBq: FloatArray
    step_up: float
    grid_MBq: float
    cycles: int
    allocation: str
    category_reference: str
    category_tolerance: float
    limit_ids: tuple[str, ...]
    limit_Gy: FloatArray
    tolerance_Gy: FloatArray
    risk: FloatArray
    hard: BoolArray
    advisory: BoolArray
    bed: BoolArray
    drift: FloatArray
    cycle_dose_Gy: FloatArray

    @property
    def stop_only(self) -> bool:
        """Whether the allocation is ``cycle_count``."""
        return self.allocation == "cycle_count"

    @property
    def binding_names(self) -> tuple[str, ...]:
        """What a binding index means: the limits, then cap, no increase, step, minimum, base, fixed, toxicity."""
        return (*self.limit_ids, *OTHER_BINDINGS)


def arm_rules(protocol: Protocol, arm: str, *, risk_factors: Sequence[str] | None = None) -> Rules:
    """The rules of one arm as arrays.

    Parameters
    ----------
    protocol, arm
        Where the rules stand.
    risk_factors
        As in `Protocol.limits_of`.
    """
    chosen, limits = protocol.arm(arm), protocol.limits_of(arm, risk_factors=risk_factors)
    nuclides = chosen.nuclides
    caps = chosen.cap_MBq if chosen.cap_MBq is not None else (np.inf,) * protocol.cycles
    return Rules(
        nuclides=nuclides,
        variable=None if chosen.variable is None else nuclides.index(chosen.variable),
        base_MBq=np.array([chosen.base_MBq[n] for n in nuclides], dtype=np.float64),
        minimum_MBq=chosen.minimum_MBq or 0.0,
        cap_MBq=np.array(caps, dtype=np.float64),
        step_up=np.inf if chosen.step_up is None else chosen.step_up,
        grid_MBq=protocol.grid_MBq,
        cycles=protocol.cycles,
        allocation=protocol.allocation,
        category_reference=protocol.category_reference,
        category_tolerance=protocol.category_tolerance,
        limit_ids=tuple(li.id for li in limits),
        limit_Gy=np.array([li.limit_Gy for li in limits]),
        tolerance_Gy=np.array([li.tolerance_Gy for li in limits]),
        risk=np.array([li.risk for li in limits]),
        hard=np.array([li.kind == "hard" for li in limits], dtype=bool),
        advisory=np.array([li.kind == "advisory" for li in limits], dtype=bool),
        bed=np.array([li.metric == "bed" for li in limits], dtype=bool),
        drift=np.array([protocol.drift_per_cycle.get(li.region, 1.0) for li in limits]),
        cycle_dose_Gy=_cycle_doses(protocol, limits),
    )


def _cycle_doses(protocol: Protocol, limits: Sequence[Limit]) -> FloatArray:
    doses = np.full((protocol.cycles, len(limits)), np.inf)
    for i, limit in enumerate(limits):
        if protocol.allocation == "per_cycle_quota":
            doses[:, i] = limit.limit_Gy / protocol.cycles
        elif limit.prescribed_doses_Gy:
            doses[:, i] = limit.prescribed_doses_Gy
    return doses


def planned_sums(rules: Rules, cycle: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """`drift_sums` over the cycles that one decision plans ahead: all remaining ones for ``even``, else the next."""
    remaining = np.clip(rules.cycles - np.asarray(cycle, dtype=np.int64) + 1, 1, rules.cycles)
    ahead = remaining if rules.allocation == "even" else np.ones_like(remaining)
    return drift_sums(rules.drift, ahead, rules.cycles)
