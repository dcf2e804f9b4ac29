"""Cumulative doses of the limits' organs compared between arms, for the first page and the methods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from lutetia.safety.context import Context
from lutetia.safety.statistics.groups import (
    GroupComparison,
    PairComparison,
    dunn_holm,
    kruskal_wallis,
    median_bootstrap,
)
from lutetia.safety.statistics.results import NotEstimable, Result


@dataclass(frozen=True, slots=True)
class DoseComparison:
    """One limit: medians by arm with bootstrap intervals, the test of the arms and its pairs."""

    limit: str
    region: str
    medians: dict[str, Result | NotEstimable]
    compared: GroupComparison | NotEstimable
    pairs: tuple[PairComparison, ...] | NotEstimable


@lru_cache(maxsize=2)
def dose_comparisons(context: Context) -> dict[str, DoseComparison]:
    """Cumulative dose of every limit by arm, subjects of DOS with a complete sum."""
    found = {}
    for limit in context.data.study.limits:
        own = complete_doses(context, limit.id)
        groups = {arm: own.loc[own["arm"] == arm, "dose_Gy"].to_numpy() for arm in context.arms}
        drawn = {"seed": context.seed, "resamples": context.resamples}
        found[limit.id] = DoseComparison(
            limit.id,
            limit.region,
            {arm: median_bootstrap(values, **drawn) for arm, values in groups.items()},
            kruskal_wallis(groups, **drawn),
            dunn_holm(groups),
        )
    return found


def complete_doses(context: Context, limit: str) -> pd.DataFrame:
    """Complete cumulative doses of treated subjects for one limit."""
    own = context.limits[(context.limits["limit"] == limit) & context.limits["complete"]]
    return own[own["subject_id"].isin(context.sets.dos)].sort_values("subject_id")
