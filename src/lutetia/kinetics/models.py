"""The time–activity models on offer: one `Model` and one entry of `MODELS` each.

All are sums of at most four exponentials, with positive clearance phases, an optional common uptake phase (a(0) = 0,
so its coefficient is minus the sum of the others) and an optional retained phase at the physical decay rate. Every
clearance rate is at least the physical rate: λ_biological = λ − λ_physical ≥ 0.

A phase *faster* than all others at physical decay would need a slower phase below it, which the bound forbids; so the
decay-constrained form has its slow phase at physical decay.

To add a model that fits this family: one entry. It then runs through all parametrised tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lutetia.kinetics.population import KineticPrior, LognormalPrior

FloatArray = NDArray[np.float64]
PriorName = Literal["effective", "uptake", "fast"]
LN2 = float(np.log(2.0))
# Box of the half-lives: faster than 3 minutes is mixing in blood; uptake slower than 2 days looks like decay.
_FASTEST_H, _SLOWEST_UPTAKE_H = 0.05, 48.0
# Half-lives of the fastest clearance phase that may pass before the first measurement.
PHASES_BEFORE_FIRST = 3.0
# Nodes of the start grid by number of log-rates: about one node per factor 1.4, 2.2 and 3.2 in half-life.
_NODES = {1: 24, 2: 10, 3: 7}


@dataclass(frozen=True, slots=True)
class Model:
    """A family of curves.

    Parameters
    ----------
    name
        Key in `MODELS`.
    phases
        Clearance phases with a rate of their own.
    uptake
        Whether an uptake phase brings a(0) to 0.
    decay_phase
        Whether a further clearance phase has the physical rate.
    priors
        For each rate (clearance phases, then uptake) the prior that constrains it, or None if it is free.
    points
        Least number of points for which it can be named.
    offered
        Least number of points for which the automatic choice compares it.
    """

    name: str
    phases: int
    uptake: bool
    decay_phase: bool
    priors: tuple[PriorName | None, ...]
    points: int
    offered: int

    @property
    def coefficients(self) -> int:
        """Number of linear coefficients."""
        return self.phases + self.decay_phase

    @property
    def free_parameters(self) -> int:
        """Parameters that only the data determine: k of AICc.

        A rate with a prior is not free: its misfit to the prior is part of the objective instead.
        """
        return self.coefficients + sum(p is None for p in self.priors)

    @property
    def parameters(self) -> int:
        """All fitted parameters, the prior-constrained ones included."""
        return self.coefficients + len(self.priors)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("mono", 1, False, False, (None,), 2, 2),
        Model("uptake_mono", 1, True, False, (None, "uptake"), 3, 3),
        Model("bi_prior", 2, False, False, ("fast", "effective"), 2, 4),
        Model("bi_decay", 1, False, True, (None,), 4, 5),
        Model("bi", 2, False, False, (None, None), 6, 6),
        Model("uptake_bi", 2, True, False, (None, None, "uptake"), 6, 6),
        Model("tri", 3, False, False, (None, None, None), 8, 8),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """Bounds, prior and start grid of the log-rates of one model: shapes (rate,), and (node, rate) for the grid."""

    lower: FloatArray
    upper: FloatArray
    centre: FloatArray
    precision: FloatArray
    grid: FloatArray


def prior_by_name(prior: KineticPrior, name: PriorName) -> LognormalPrior:
    """The prior that a model names."""
    return {"effective": prior.effective, "uptake": prior.uptake, "fast": prior.fast}[name]


def log_rate_box(model: Model, physical_rate_per_h: float, prior: KineticPrior, *, first_h: float = 0.0) -> Box:
    """Bounds, priors and starts of a model for one physical decay rate.

    A clearance phase may not have a half-life below a third of the first measurement's time `first_h`: it would have
    decayed before anything was measured, so that its amplitude, and with it the integral, could be anything.
    """
    rates = len(model.priors)
    fastest, slowest_uptake = np.log(LN2 / _FASTEST_H), np.log(LN2 / _SLOWEST_UPTAKE_H)
    lower = np.full(rates, np.log(physical_rate_per_h))
    upper = np.full(rates, max(fastest, lower[0] + 1.0))
    if first_h > 0.0:
        visible = np.log(LN2 * PHASES_BEFORE_FIRST / first_h)
        upper[: model.phases] = np.clip(visible, lower[0] + 1.0, upper[0])
    if model.uptake:
        lower[model.phases] = min(slowest_uptake, upper[model.phases] - 1.0)
    centre, precision = np.zeros(rates), np.zeros(rates)
    for index, name in enumerate(model.priors):
        if name is not None:
            chosen = prior_by_name(prior, name)
            centre[index] = np.log(LN2 / chosen.median_h)
            precision[index] = chosen.log_sd**-2
    return Box(lower, upper, centre, precision, _start_grid(model, lower, upper))


def _start_grid(model: Model, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Log-spaced nodes, ends excluded; free clearance phases ordered fast to slow, uptake faster than the slowest."""
    count = _NODES[len(lower)]
    axes = [low + (high - low) * (np.arange(count) + 0.5) / count for low, high in zip(lower, upper, strict=True)]
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    clearance = nodes[:, : model.phases]
    keep = (np.diff(clearance, axis=1) < -1e-9).all(axis=1)
    if model.uptake:
        keep &= nodes[:, model.phases] > clearance.min(axis=1) + 0.3
    return np.ascontiguousarray(nodes[keep])
