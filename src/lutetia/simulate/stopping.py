"""Stopping rules applied to virtual trials, beside their exact operating characteristics.

Boundaries and exact probabilities are those of `lutetia.safety.statistics.boundaries`. To add a rule: one line of
`stopping_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from lutetia.core.draws import FloatArray
from lutetia.core.numbers import six_digits
from lutetia.safety.statistics.boundaries import StoppingRule, boundary, looks_after_every, operating_characteristics
from lutetia.simulate.clinic import SLOTS, VirtualClinic
from lutetia.simulate.courses import Courses
from lutetia.simulate.trials import Block

# True event rates at which the exact probability of stopping is printed.
RATES = (0.10, 0.20, 0.30, 0.40)
# The event: one of these grades within the days after the first infusion.
WITHIN_DAYS = 56.0
EVENT_GRADES = {"haemoglobin": 3, "platelets": 3, "neutrophils": 3, "creatinine": 2}
EVENT_WORDS = "grade 3 or more of haemoglobin, platelets, neutrophils; grade 2 or more of creatinine"
CROSSED, EVENTS = "stopping crossed", "stopping events"
FIRST_LOOK = 3
# Places of the samples that can lie within those days: of the first two cycles.
_EARLY = slice(1, 1 + 2 * SLOTS)


def stopping_rules(per_arm: int) -> dict[str, StoppingRule]:
    """The rules that a study compares, for arms of a planned size; none for arms that are too small for a look."""
    if per_arm <= FIRST_LOOK:
        return {}
    every = looks_after_every(FIRST_LOOK, per_arm)
    twice = tuple(dict.fromkeys((max(FIRST_LOOK, round(0.6 * per_arm)), per_arm)))
    looks = f"each from {FIRST_LOOK}"
    return {
        f"p0 .10, τ .95, {looks}": StoppingRule(0.10, 0.95, every),
        f"p0 .10, τ .90, {looks}": StoppingRule(0.10, 0.90, every),
        f"p0 .10, τ .95, at {', '.join(map(str, twice))}": StoppingRule(0.10, 0.95, twice),
        f"p0 .15, τ .95, {looks}": StoppingRule(0.15, 0.95, every),
    }


def planned_per_arm(per_trial: int, arms: int) -> int:
    """Subjects of the largest arm of a trial."""
    return -(-per_trial // arms)


def stopping_counts(
    block: Block, courses: Mapping[str, Courses], clinics: Mapping[str, VirtualClinic]
) -> dict[str, FloatArray]:
    """What the rules do in every trial.

    Returns
    -------
    `CROSSED` (trial, rule, arm + 1): 1 where the arm (last place: any arm) crosses the boundary at a look, and
    `EVENTS` (trial, arm, 2): subjects with the event, and evaluable ones.
    """
    size = planned_per_arm(block.per_trial, len(block.arms))
    rules = stopping_rules(size)
    crossed, events = (
        np.zeros((block.trials, len(rules), len(block.arms) + 1)),
        np.zeros((block.trials, len(block.arms), 2)),
    )
    for arm, course in courses.items():
        place = block.arms.index(arm)
        trial = np.flatnonzero(block.arm == place) // block.per_trial
        event, evaluable = first_cycle_events(course, clinics[arm])
        events[:, place] = np.stack(
            [np.bincount(trial, weights=x, minlength=block.trials) for x in (event, evaluable)], axis=-1
        )
        so_far, count = _running(trial[evaluable], event[evaluable], block.trials, size)
        for i, rule in enumerate(rules.values()):
            crossed[:, i, place] = _crosses(rule, so_far, count)
    crossed[:, :, -1] = crossed[:, :, :-1].max(axis=2)
    return {CROSSED: crossed, EVENTS: events}


def first_cycle_events(courses: Courses, clinic: VirtualClinic) -> tuple[np.ndarray, np.ndarray]:
    """Whether each subject had the event, and whether it is evaluable: with the event, or followed long enough."""
    start = courses.day[:, :1]
    judged = (clinic.day[:, _EARLY] > start) & (clinic.day[:, _EARLY] <= start + WITHIN_DAYS)
    worst = np.zeros(len(start), dtype=bool)
    for analyte, grade in EVENT_GRADES.items():
        worst |= (judged & (clinic.grade(analyte, _EARLY) >= grade)).any(axis=1)
    treated = courses.given[:, 0]
    followed = clinic.observed_until >= start[:, 0] + WITHIN_DAYS
    return worst & treated, treated & (worst | followed)


def _running(trial: np.ndarray, event: np.ndarray, trials: int, size: int) -> tuple[FloatArray, FloatArray]:
    """Events among the first 1, 2, … evaluable subjects of every trial (trial, size), and how many there are."""
    count = np.bincount(trial, minlength=trials)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    order = np.arange(len(trial)) - first[trial]
    table = np.zeros((trials, size))
    table[trial, order] = event
    return np.cumsum(table, axis=1), count.astype(np.float64)


_boundary = cache(boundary)


def _crosses(rule: StoppingRule, so_far: FloatArray, count: FloatArray) -> FloatArray:
    found = np.zeros(len(so_far), dtype=bool)
    for point in _boundary(rule):
        if point.stop_at is not None:
            found |= (count >= point.n) & (so_far[:, point.n - 1] >= point.stop_at)
    return found.astype(np.float64)


def stopping_record(outcomes: Mapping[str, FloatArray], arms: tuple[str, ...], per_trial: int) -> dict[str, Any]:
    """Shares of trials that each rule stops, by arm and for any arm; exact probabilities at the arms' event rates."""
    events = outcomes[EVENTS].sum(axis=0)
    rates = [float(e / n) if n else None for e, n in events]
    crossed = outcomes[CROSSED].mean(axis=0)
    rules = stopping_rules(planned_per_arm(per_trial, len(arms)))
    return {
        "event": EVENT_WORDS,
        "within_days": WITHIN_DAYS,
        "event_rate": {arm: None if r is None else six_digits(r) for arm, r in zip(arms, rates, strict=True)},
        "rules": [
            {
                "rule": name,
                "stopped": {arm: six_digits(float(p)) for arm, p in zip((*arms, "any"), crossed[i], strict=True)},
                "exact": {arm: _exact(rule, rate) for arm, rate in zip(arms, rates, strict=True)},
                "exact_at_rate": {f"{rate:.2f}": _exact(rule, rate) for rate in RATES},
            }
            for i, (name, rule) in enumerate(rules.items())
        ],
    }


def _exact(rule: StoppingRule, rate: float | None) -> float | None:
    return None if rate is None else six_digits(operating_characteristics(rule, [rate])[0].p_stop)
