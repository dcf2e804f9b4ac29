"""Blood counts by category of activity modification: of the whole course, and from the landmark of cycle 2 on.

Not here: how an activity is categorised (`lutetia.safety.exposure`), the tests (`lutetia.safety.statistics`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from lutetia.safety.context import Context
from lutetia.safety.exposure import subject_category
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.statistics.modification import CategoryAnalysis, category_effect, landmark_effect
from lutetia.safety.statistics.results import NotEstimable, Result, holm
from lutetia.safety.tables.building import lab_analytes

ORDER = ("reduced", "unchanged", "increased")
LANDMARK = 2


@dataclass(frozen=True, slots=True, eq=False)
class CategoryEffect:
    """One analyte: percent changes by category; `adjusted` are p-values of the trend within arms, Holm over analytes.

    `rows` and `landmark_rows` have subject_id, arm, category, change, row and prescriptions (rows).
    """

    analyte: str
    course: CategoryAnalysis
    landmark: CategoryAnalysis
    rows: pd.DataFrame
    landmark_rows: pd.DataFrame
    adjusted: float | None = None
    landmark_adjusted: float | None = None


@lru_cache(maxsize=2)
def category_effects(context: Context) -> dict[str, CategoryEffect]:
    """Change at the lowest value by category of the course, and later change by category of cycle 2."""
    found = {analyte: _effect(context, analyte) for analyte in lab_analytes(context, HAEMATOLOGY)}
    course = _adjust({a: e.course.within_arm for a, e in found.items()})
    landmark = _adjust({a: e.landmark.within_arm for a, e in found.items()})
    return {
        a: CategoryEffect(a, e.course, e.landmark, e.rows, e.landmark_rows, course.get(a), landmark.get(a))
        for a, e in found.items()
    }


@lru_cache(maxsize=2)
def categories(context: Context) -> pd.DataFrame:
    """Category of every treated subject of an arm with a variable nuclide, from cycle 2 on."""
    found = subject_category(context.decisions, context.data.study.tolerance)
    return found[found["subject_id"].isin(context.sets.saf)]


def landmark_table(context: Context, analyte: str) -> pd.DataFrame:
    """Category of cycle 2, and the lowest later value against the last one before that cycle.

    `observed`: the cycle was given and there is a value before it and one after it.
    """
    decided = context.decisions[(context.decisions["cycle"] == LANDMARK) & context.decisions["prescribed_MBq"].gt(0)]
    nadirs = context.nadirs[(context.nadirs["analyte"] == analyte) & (context.nadirs["cycle"] >= LANDMARK)]
    lowest = nadirs.sort_values(["value", "row"]).drop_duplicates("subject_id").set_index("subject_id")
    before = nadirs[nadirs["cycle"] == LANDMARK].set_index("subject_id")["pre_cycle"]
    own = decided[decided["subject_id"].isin(context.sets.saf)].sort_values("subject_id")
    later, start = lowest["value"].reindex(own["subject_id"]), before.reindex(own["subject_id"])
    change = 100.0 * (later / start.where(start > 0) - 1.0).to_numpy()
    return pd.DataFrame(
        {
            "subject_id": own["subject_id"].to_numpy(), "arm": own["arm"].to_numpy(),
            "category": own["category"].to_numpy(), "change": change,
            "observed": own["given"].to_numpy() & np.isfinite(change),
            "row": lowest["row"].reindex(own["subject_id"]).to_numpy(),
            "prescriptions": [(row,) for row in own["row"]],
        }
    )  # fmt: skip


def _effect(context: Context, analyte: str) -> CategoryEffect:
    drawn = {"seed": context.seed, "resamples": context.resamples}
    lowest = context.extremes[context.extremes["analyte"] == analyte][["subject_id", "percent_change", "row"]]
    own = categories(context).merge(lowest, on="subject_id", how="left")
    own = own.rename(columns={"percent_change": "change", "rows": "prescriptions"}).sort_values("subject_id")
    landmark = landmark_table(context, analyte)
    return CategoryEffect(
        analyte,
        category_effect(list(own["category"]), own["change"].to_numpy(), list(own["arm"]), order=ORDER, **drawn),
        landmark_effect(
            list(landmark["category"]), landmark["change"].to_numpy(), list(landmark["arm"]),
            observed=landmark["observed"].to_numpy(), order=ORDER, **drawn,
        ),
        own,
        landmark[landmark["observed"].astype(bool)],
    )  # fmt: skip


def _adjust(tests: dict[str, Result | NotEstimable]) -> dict[str, float]:
    usable = {name: t.p for name, t in tests.items() if isinstance(t, Result) and t.p is not None}
    return dict(zip(usable, holm(list(usable.values())), strict=True))
