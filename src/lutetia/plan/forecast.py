"""From the ledger to the controller's `Forecast`: given dose and coefficients of the next cycle, by limit region.

The coefficients are those of the last measured cycle × drift^(cycles since), with the variation between cycles added
to their draws. Regions without a cumulative dose or coefficient are left out: the controller calls them not evaluable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lutetia.core.chain import Forecast
from lutetia.core.draws import Estimate, combine, exact
from lutetia.errors import ProtocolError
from lutetia.plan.ledger import Coefficients, Cumulative, family
from lutetia.plan.uncertainty import Draws, default_sizes
from lutetia.protocol.records import Limit, Protocol


def build_forecast(
    limits: Sequence[Limit],
    nuclides: Sequence[str],
    cumulative: Mapping[tuple[str, str], Cumulative],
    last: Mapping[tuple[str, str], Coefficients],
    *,
    protocol: Protocol,
    cycle: int,
    draws: Draws,
) -> Forecast | None:
    """Forecast of the next cycle for the regions of the limits.

    Parameters
    ----------
    cumulative, last
        By (region, family of methods): dose so far; coefficients of the last measured cycle.
    cycle
        Number of the next cycle.

    Returns
    -------
    None when no limit's region can be evaluated.
    """
    _refuse_two_methods(limits)
    rows = [row for row in (_row(li, nuclides, cumulative, last, protocol, cycle, draws) for li in limits) if row]
    distinct = {row[0]: row for row in rows}
    if not distinct:
        return None
    regions = tuple(distinct)
    parts = [distinct[region][1:] for region in regions]
    stacked = [_stack([part[i] for part in parts]) for i in range(4)]
    return Forecast(regions, tuple(nuclides), *stacked)


def _refuse_two_methods(limits: Sequence[Limit]) -> None:
    """One region has one dose in a forecast."""
    methods: dict[str, set[str]] = {}
    for limit in limits:
        methods.setdefault(limit.region, set()).add(limit_family(limit)[1])
    for region, names in methods.items():
        if len(names) > 1:
            raise ProtocolError(
                f"protocol: found limits for the {region} by different methods ({', '.join(sorted(names))}); "
                "expected one method a region; keep the limits of one method"
            )


def limit_family(limit: Limit) -> tuple[str, str]:
    """The ledger's key of a limit: its region and the family of its method."""
    return (limit.region, family(limit.method or "blood", limit.region))


def _row(
    limit: Limit,
    nuclides: Sequence[str],
    cumulative: Mapping[tuple[str, str], Cumulative],
    last: Mapping[tuple[str, str], Coefficients],
    protocol: Protocol,
    cycle: int,
    draws: Draws,
) -> tuple[str, Estimate, Estimate, Estimate, Estimate] | None:
    key = limit_family(limit)
    total, per_MBq = cumulative.get(key), last.get(key)
    if total is None or total.absorbed_dose_Gy is None or per_MBq is None:
        return None
    bed = total.bed_Gy
    if limit.metric == "bed" and bed is None:
        return None
    power = protocol.drift_per_cycle.get(limit.region, 1.0) ** max(cycle - per_MBq.cycle, 0) if per_MBq.cycle else 1.0
    spread = draws.factor(default_sizes().between_cycles_percent, "between cycles", limit.region, cycle)
    factor = Estimate(np.asarray(power), power * spread)
    linear = combine(
        lambda f, *parts: np.stack([f * part for part in parts], axis=-1),
        factor,
        *(per_MBq.linear_Gy_per_MBq[n] for n in nuclides),
    )
    return (
        limit.region,
        total.absorbed_dose_Gy,
        bed or exact(0.0, draws.count),
        linear,
        _quadratic(per_MBq, nuclides, factor),
    )


def _quadratic(per_MBq: Coefficients, nuclides: Sequence[str], factor: Estimate) -> Estimate:
    if per_MBq.quadratic_Gy_per_MBq2 is None:
        return exact(np.zeros((len(nuclides), len(nuclides))), len(factor.draws))
    order = np.array([per_MBq.nuclides.index(n) for n in nuclides])

    def scaled(q: np.ndarray, f: np.ndarray) -> np.ndarray:
        return np.asarray(q[..., order[:, None], order[None, :]] * f[..., None, None] ** 2)

    return combine(scaled, per_MBq.quadratic_Gy_per_MBq2, factor)


def _stack(estimates: Sequence[Estimate]) -> Estimate:
    return Estimate(np.stack([e.value for e in estimates]), np.stack([e.draws for e in estimates], axis=1))
