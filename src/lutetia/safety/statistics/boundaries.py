"""Bayesian stopping boundaries for one arm, with exact operating characteristics.

Not here: what an event is and who is evaluable (the protocol), pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc

from lutetia.errors import InputError
from lutetia.safety.statistics.results import FloatArray

METHOD = "Bayesian beta-binomial stopping boundary, exact operating characteristics"


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """Stop an arm when P(event rate > p0 | data) ≥ τ at a look; the boundary is advice, not binding.

    Parameters
    ----------
    p0
        Acceptable event rate.
    tau
        Posterior probability that stops, 0.5 to 1.
    looks
        Numbers of evaluable subjects at which the arm is looked at, increasing.
    prior_n
        Prior sample size; the prior is Beta(prior_n·p0, prior_n·(1 − p0)), centred at p0.
    """

    p0: float
    tau: float
    looks: tuple[int, ...]
    prior_n: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.p0 < 1.0 or not 0.5 < self.tau < 1.0 or not self.prior_n > 0.0:
            raise InputError(
                f"stopping rule: found p0 {self.p0}, tau {self.tau}, prior size {self.prior_n}; expected p0 between 0 "
                "and 1, tau between 0.5 and 1, a prior size above 0"
            )
        if not self.looks or self.looks[0] < 1 or any(b <= a for a, b in zip(self.looks, self.looks[1:], strict=False)):
            raise InputError(f"stopping rule: found looks {list(self.looks)}; expected increasing numbers from 1")


@dataclass(frozen=True, slots=True)
class BoundaryPoint:
    """At `n` evaluable subjects stop from `stop_at` events on; None where no number of events stops."""

    n: int
    stop_at: int | None


@dataclass(frozen=True, slots=True)
class Characteristics:
    """What a rule does at one true event rate, exactly.

    `p_stop` that the arm is ever stopped, `p_stop_by` the same up to each look, `p_any_arm` that at least one of `arms`
    independent arms with this rate stops, and the expected numbers of subjects and events when the arm ends.
    """

    rate: float
    p_stop: float
    p_stop_by: tuple[float, ...]
    arms: int
    p_any_arm: float
    expected_n: float
    expected_events: float
    method: str = METHOD


@dataclass(frozen=True, slots=True)
class BoundaryStatus:
    """Where an arm stands: events among evaluable subjects, the boundary there, and P(rate > p0 | data)."""

    events: int
    n: int
    stop_at: int | None
    posterior: float
    crossed: bool
    method: str = METHOD


def looks_after_every(first: int, last: int) -> tuple[int, ...]:
    """Looks after every subject from the first to the last."""
    return tuple(range(first, last + 1))


def posterior_above(rule: StoppingRule, events: int, n: int) -> float:
    """P(event rate > p0) after `events` of `n`: 1 − I_p0(a + x, b + n − x) with the prior's a and b.

    Raises
    ------
    InputError
        For more events than subjects.
    """
    if not 0 <= events <= n:
        raise InputError(f"stopping boundary: found {events} events of {n} subjects; expected 0 ≤ events ≤ subjects")
    a, b = rule.prior_n * rule.p0, rule.prior_n * (1.0 - rule.p0)
    return float(1.0 - betainc(a + events, b + n - events, rule.p0))


def boundary(rule: StoppingRule) -> tuple[BoundaryPoint, ...]:
    """The smallest number of events that stops, at every look."""
    return tuple(BoundaryPoint(n, _stop_at(rule, n)) for n in rule.looks)


def boundary_steps(rule: StoppingRule) -> tuple[BoundaryPoint, ...]:
    """The boundary in short: for each number of events that stops, the largest look at which it does (2/3, 3/6, …)."""
    last: dict[int, int] = {}
    for point in boundary(rule):
        if point.stop_at is not None:
            last[point.stop_at] = point.n
    return tuple(BoundaryPoint(n, events) for events, n in sorted(last.items()))


def boundary_status(rule: StoppingRule, events: int, n: int) -> BoundaryStatus:
    """An arm's events against the boundary at its present number of evaluable subjects, whether it is a look or not."""
    posterior = posterior_above(rule, events, n)
    return BoundaryStatus(events, n, _stop_at(rule, n) if n else None, posterior, n > 0 and posterior >= rule.tau)


def operating_characteristics(
    rule: StoppingRule, rates: Sequence[float], *, arms: int = 1
) -> tuple[Characteristics, ...]:
    """Exact probabilities of stopping at true event rates, by recursion over subjects.

    f(n, x) is the probability of x events among n subjects without having stopped: f(n + 1, x) = f(n, x)(1 − p) +
    f(n, x − 1) p, and at a look everything at or above the boundary leaves. For several arms with the same rate
    P(any) = 1 − (1 − P)^arms.

    Raises
    ------
    InputError
        For a rate outside 0 to 1, or fewer than one arm.
    """
    if arms < 1 or any(not 0.0 <= rate <= 1.0 for rate in rates):
        raise InputError(
            f"stopping boundary: found rates {list(rates)}, {arms} arms; expected rates from 0 to 1, arms ≥ 1"
        )
    return tuple(_characteristics(rule, float(rate), arms) for rate in rates)


def any_arm(probabilities: Sequence[float]) -> float:
    """Probability that at least one of several independent arms stops: 1 − Π(1 − Pᵢ)."""
    return float(1.0 - np.prod([1.0 - p for p in probabilities]))


def _stop_at(rule: StoppingRule, n: int) -> int | None:
    return next((x for x in range(n + 1) if posterior_above(rule, x, n) >= rule.tau), None)


def _characteristics(rule: StoppingRule, rate: float, arms: int) -> Characteristics:
    stops = {point.n: point.stop_at for point in boundary(rule)}
    alive: FloatArray = np.ones(1)
    events, by_look, ended_n, ended_events = np.arange(rule.looks[-1] + 1), [], 0.0, 0.0
    stopped = 0.0
    for n in range(1, rule.looks[-1] + 1):
        alive = np.append(alive * (1.0 - rate), 0.0) + np.append(0.0, alive * rate)
        if n not in stops:
            continue
        leaving = np.zeros_like(alive)
        if (cut := stops[n]) is not None:
            leaving[cut:] = alive[cut:]
        alive = alive - leaving
        stopped += float(leaving.sum())
        ended_n += n * float(leaving.sum())
        ended_events += float((events[: len(leaving)] * leaving).sum())
        by_look.append(stopped)
    ended_n += rule.looks[-1] * float(alive.sum())
    ended_events += float((events * alive).sum())
    return Characteristics(rate, stopped, tuple(by_look), arms, any_arm([stopped] * arms), ended_n, ended_events)
