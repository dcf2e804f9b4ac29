"""Changes by category of activity modification: described, tested pooled and within arms, and from a landmark on.

Not here: how an activity is categorised (the protocol), slopes against the dose (`association`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from lutetia.errors import InputError
from lutetia.safety.statistics.bootstrap import RESAMPLES
from lutetia.safety.statistics.correlation import spearman, spearman_within_arm
from lutetia.safety.statistics.groups import GroupComparison, kruskal_wallis, median_exact
from lutetia.safety.statistics.results import LEVEL, NotEstimable, Result, columns


@dataclass(frozen=True, slots=True)
class CategorySummary:
    """Median change of one category."""

    category: str
    n: int
    median: Result | NotEstimable


@dataclass(frozen=True, slots=True)
class CategoryAnalysis:
    """Change by modification category: described, tested pooled, tested within arms."""

    summaries: tuple[CategorySummary, ...]
    pooled: GroupComparison | NotEstimable
    pooled_trend: Result | NotEstimable
    within_arm: Result | NotEstimable
    n: int
    method: str
    warnings: tuple[str, ...] = ()


def category_effect(
    category: Sequence[str], change: ArrayLike, arm: Sequence[object], *, order: Sequence[str],
    resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL,
) -> CategoryAnalysis:  # fmt: skip
    """Change by modification category: medians, a pooled test, and a test within arms.

    Pooled, the category mirrors the arm and the dose: with a true dose effect a pooled test rejects in about a fifth of
    trials without any effect of the category itself. The within-arm test is therefore reported beside it.

    Parameters
    ----------
    category
        Category of each subject; those not in `order` are left out and counted.
    change
        Change of each subject.
    arm
        Arm of each subject.
    order
        Categories from least to most activity; their places are the scores of the trend tests.
    """
    values = columns({"change": change})["change"]
    if len(category) != len(values):
        raise InputError(f"modification category: found {len(category)} categories for {len(values)} changes")
    ranked = {name: float(i) for i, name in enumerate(order)}
    score = np.array([ranked.get(str(c), np.nan) for c in category], dtype=np.float64)
    groups = {name: values[score == ranked[name]] for name in order}
    summaries = tuple(
        CategorySummary(name, int(np.isfinite(v).sum()), median_exact(v, level=level)) for name, v in groups.items()
    )
    unknown = int(np.isnan(score).sum())
    warnings = (f"{unknown} subjects without one of these categories left out",) if unknown else ()
    return CategoryAnalysis(
        summaries,
        kruskal_wallis(groups, resamples=resamples, seed=seed, level=level),
        spearman(score, values, resamples=resamples, seed=seed, level=level),
        spearman_within_arm(score, values, arm, resamples=resamples, seed=seed, level=level),
        int((np.isfinite(score) & np.isfinite(values)).sum()),
        "medians by category; Kruskal–Wallis and rank correlation pooled; rank correlation within arms",
        warnings,
    )  # fmt: skip


def landmark_effect(
    category: Sequence[str], later_change: ArrayLike, arm: Sequence[object], *, observed: ArrayLike,
    order: Sequence[str], resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL,
) -> CategoryAnalysis:  # fmt: skip
    """Category decided at the landmark (cycle 2) against the change from then on, in subjects still observed then.

    The category is known before any change that it is set against, so that toxicity cannot choose it.

    Parameters
    ----------
    category
        Category of cycle 2.
    later_change
        Change from the last value before cycle 2 to the later nadir.
    observed
        True for subjects who were still treated and observed at the landmark.
    """
    values, present = columns({"later_change": later_change})["later_change"], np.asarray(observed, dtype=bool)
    if present.shape != values.shape or len(category) != len(values):
        raise InputError(f"landmark: found {len(values)} changes, {present.size} flags, {len(category)} categories")
    found = category_effect(
        [c for c, use in zip(category, present, strict=True) if use], values[present],
        [a for a, use in zip(arm, present, strict=True) if use], order=order, resamples=resamples, seed=seed,
        level=level,
    )  # fmt: skip
    gone = int((~present).sum())
    warnings = (f"{gone} subjects not observed at the landmark left out",) if gone else ()
    return replace(found, method=f"landmark at cycle 2: {found.method}", warnings=warnings + found.warnings)
