"""Stopping rules of the study against the data: boundary, evaluable subjects and events of every arm, what a rule does.

Not here: what an event is (`lutetia.safety.events`), the boundary itself (`lutetia.safety.statistics.boundaries`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pandas as pd

from lutetia.errors import InputError
from lutetia.safety.context import Context
from lutetia.safety.events import monitor_events
from lutetia.safety.statistics.boundaries import (
    BoundaryStatus,
    Characteristics,
    StoppingRule,
    boundary_status,
    looks_after_every,
    operating_characteristics,
)
from lutetia.safety.statistics.results import IntArray
from lutetia.safety.study import Monitor

FIRST_LOOK = 3
RATES_ABOVE_P0 = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True, slots=True, eq=False)
class Monitored:
    """One rule: its arms' subjects and states, its exact characteristics; `reason`: why it could not be read.

    `earlier` holds the arms that were at the boundary at a look but no longer are: subjects and events at the first
    such look, subjects in the order of their first infusion.
    """

    monitor: Monitor
    rule: StoppingRule | None
    subjects: pd.DataFrame
    status: dict[str, BoundaryStatus]
    characteristics: tuple[Characteristics, ...]
    reason: str = ""
    earlier: dict[str, tuple[int, int]] = field(default_factory=dict)


@lru_cache(maxsize=2)
def monitored(context: Context) -> tuple[Monitored, ...]:
    """Every stopping rule of the study."""
    return tuple(_monitored(context, monitor) for monitor in context.data.study.monitors)


def _monitored(context: Context, monitor: Monitor) -> Monitored:
    try:
        rule = StoppingRule(monitor.p0, monitor.tau, _looks(context, monitor), monitor.prior_ess)
        found = monitor_events(monitor, context.infusions, context.labs, grades=context.grades, egfr=context.egfr)
    except InputError as error:
        return Monitored(monitor, None, pd.DataFrame(), {}, (), str(error))
    own = found[found["subject_id"].isin(context.sets.saf) & found["evaluable"]].sort_values(["arm", "order"])
    status, earlier = {}, {}
    for arm in context.arms:
        events = own.loc[own["arm"] == arm, "event"].to_numpy(dtype=int)
        status[arm] = boundary_status(rule, int(events.sum()), len(events))
        crossed = None if status[arm].crossed else first_crossing(rule, events)
        if crossed is not None:
            earlier[arm] = crossed
    rates = [min(monitor.p0 + step, 1.0) for step in RATES_ABOVE_P0]
    characteristics = operating_characteristics(rule, rates, arms=len(context.arms))
    return Monitored(monitor, rule, own, status, characteristics, earlier=earlier)


def first_crossing(rule: StoppingRule, events: Sequence[int] | IntArray) -> tuple[int, int] | None:
    """Subjects and events at the first look that reached the boundary; `events` (0 or 1) in the order of subjects."""
    for n in (look for look in rule.looks if look <= len(events)):
        count = int(sum(events[:n]))
        if boundary_status(rule, count, n).crossed:
            return n, count
    return None


def _looks(context: Context, monitor: Monitor) -> tuple[int, ...]:
    """Looks of the study, or one after every subject of an arm from the third on to the planned size of an arm."""
    if monitor.looks:
        return monitor.looks
    planned = context.data.study.planned_n or len(context.sets.itt)
    return looks_after_every(FIRST_LOOK, max(math.ceil(planned / len(context.arms)), FIRST_LOOK))
