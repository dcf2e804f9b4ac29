"""Change over the course that no choice of the lowest value biases: mean of the log ratios to baseline.

The lowest of several values lies below the baseline even where nothing happens. Whether values fell is therefore judged
by the mean over the course, mean over its values of log(y / baseline), in which each subject counts once.
Not here: nadirs (`lutetia.safety.nadir`), which describe depth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lutetia.safety.frames import typed
from lutetia.safety.nadir import FIRST_DAY
from lutetia.safety.statistics.groups import GroupComparison, kruskal_wallis, paired_wilcoxon_by_group
from lutetia.safety.statistics.results import NotEstimable, Result

COURSE = {
    "subject_id": "object", "arm": "object", "analyte": "object", "baseline": "float64", "mean": "float64",
    "log_ratio": "float64", "percent_change": "float64", "values": "int64", "rows": "object",
}  # fmt: skip


def derive_course_means(changes: pd.DataFrame) -> pd.DataFrame:
    """Geometric mean of the values from day 7 after the first infusion on, and its change from baseline.

    log_ratio = mean over values of ln(y / baseline); percent_change = 100 (exp(log_ratio) − 1). One row for each
    subject and analyte with a positive baseline and at least one positive later value.
    """
    use = changes["on_treatment"] & (changes["study_day"] >= FIRST_DAY) & (changes["baseline"] > 0)
    own = changes[use & (changes["value"] > 0)]
    rows = []
    for (subject, analyte), part in own.groupby(["subject_id", "analyte"], sort=True):
        ratio = float(np.log(part["value"] / part["baseline"]).mean())
        start = float(part["baseline"].iloc[0])
        rows.append(
            {
                "subject_id": subject, "arm": part["arm"].iloc[0], "analyte": analyte, "baseline": start,
                "mean": start * np.exp(ratio), "log_ratio": ratio, "percent_change": 100.0 * np.expm1(ratio),
                "values": len(part), "rows": (int(part["baseline_row"].iloc[0]), *part["row"]),
            }
        )  # fmt: skip
    return typed(COURSE, rows)


def last_values(changes: pd.DataFrame) -> pd.DataFrame:
    """Last value after the first infusion of every subject and analyte."""
    own = changes[changes["on_treatment"]].sort_values(["taken_at", "row"])
    last = own.drop_duplicates(["subject_id", "analyte"], keep="last")
    return last.sort_values(["subject_id", "analyte"], ignore_index=True)


def change_within_arms(course: pd.DataFrame, arms: tuple[str, ...]) -> dict[str, Result | NotEstimable]:
    """Signed-rank test of the log ratios in every arm, Holm over arms; estimates are median log ratios."""
    pairs = {arm: course.loc[course["arm"] == arm, "log_ratio"].to_numpy() for arm in arms}
    return paired_wilcoxon_by_group({arm: (np.zeros(len(v)), v) for arm, v in pairs.items()})


def change_overall(course: pd.DataFrame) -> Result | NotEstimable:
    """The same test in all subjects."""
    values = course["log_ratio"].to_numpy()
    return paired_wilcoxon_by_group({"all": (np.zeros(len(values)), values)})["all"]


def change_between_arms(
    course: pd.DataFrame, arms: tuple[str, ...], *, seed: int, resamples: int
) -> GroupComparison | NotEstimable:
    """Kruskal–Wallis test of the log ratios of the arms."""
    groups: Mapping[str, np.ndarray] = {arm: course.loc[course["arm"] == arm, "log_ratio"].to_numpy() for arm in arms}
    return kruskal_wallis(groups, seed=seed, resamples=resamples)
