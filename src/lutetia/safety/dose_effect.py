"""Marrow dose and blood counts: which dose is set against which nadir, for the table, the figure and the findings.

Primary: dose of the first cycle against log(nadir of that cycle / baseline), arm-adjusted. Secondary: dose of the
cycles begun before a sample. Every subject counts once in a rank correlation; no value is set against a later dose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from lutetia.safety.context import Context
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.statistics.association import (
    Attenuation,
    attenuation,
    dose_effect,
    exposure_effect,
    exposure_to_date,
    percent_change,
)
from lutetia.safety.statistics.correlation import spearman, spearman_by_arm, spearman_within_arm
from lutetia.safety.statistics.groups import adjust_holm
from lutetia.safety.statistics.results import FloatArray, NotEstimable, Result
from lutetia.safety.tables.building import lab_analytes

MARROW = "red marrow"
STEP_Gy = 0.1
Answer = Result | NotEstimable


@dataclass(frozen=True, slots=True, eq=False)
class Association:
    """Everything about one analyte: the pairs of the first cycle, and the estimates.

    Slopes are percent change per `STEP_Gy`, but that of `corrected` is of the log change per true Gy. `pairs` has
    subject_id, arm, dose_Gy, sd_Gy, log_change, percent_change, sensitivity (log change without values after
    transfusion or growth factor), dose_row, row, baseline_row.
    """

    analyte: str
    pairs: pd.DataFrame
    slope: Answer
    sensitivity: Answer
    corrected: Attenuation | NotEstimable
    rank: Answer
    rank_within: Answer
    rank_by_arm: dict[str, Answer]
    to_date_slope: Answer
    to_date_rank: Answer


@lru_cache(maxsize=2)
def associations(context: Context) -> dict[str, Association]:
    """Association of every blood count with the marrow dose; slopes and rank correlations adjusted by Holm."""
    found = {analyte: _associate(context, analyte) for analyte in lab_analytes(context, HAEMATOLOGY)}
    slopes = adjust_holm({name: a.slope for name, a in found.items()})
    ranks = adjust_holm({name: a.rank for name, a in found.items()})
    return {name: _with(a, slopes[name], ranks[name]) for name, a in found.items()}


def marrow_method(context: Context) -> str:
    """The one marrow method of the analysis: that of the limit, or the most frequent; methods are never mixed."""
    own = context.limits[context.limits["region"] == MARROW]
    if len(own) and own["method"].iloc[0]:
        return str(own["method"].iloc[0])
    methods = context.cycle_doses.loc[context.cycle_doses["region"] == MARROW, "method"].value_counts()
    return min((str(name) for name in methods.index if methods[name] == methods.max()), default="")


def first_cycle_pairs(context: Context, analyte: str) -> pd.DataFrame:
    """Dose of each treated subject's first cycle and the nadir of that cycle; either may be missing."""
    doses = _marrow(context).sort_values(["subject_id", "cycle"]).drop_duplicates("subject_id")
    nadirs = context.nadirs[context.nadirs["analyte"] == analyte]
    frame = doses.merge(nadirs, on=["subject_id", "cycle"], how="left", suffixes=("_dose", ""))
    frame = frame[frame["subject_id"].isin(context.sets.saf)]
    columns = {
        "subject_id": frame["subject_id"],
        "arm": frame["arm_dose"],
        "dose_Gy": frame["absorbed_dose_Gy"],
        "sd_Gy": frame["absorbed_dose_sd_Gy"],
        "log_change": _log(frame["value"], frame["baseline"]),
        "percent_change": frame["percent_change"],
        "sensitivity": _log(frame["unaffected_value"], frame["baseline"]),
        "dose_row": frame["row_dose"],
        "row": frame["row"],
        "baseline_row": frame["baseline_row"],
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def exposures_to_date(context: Context, analyte: str) -> pd.DataFrame:
    """Every nadir with the marrow dose of the cycles begun before it: subject_id, arm, dose_Gy, log_change, row."""
    treated = context.nadirs["subject_id"].isin(context.sets.saf)
    nadirs = context.nadirs[(context.nadirs["analyte"] == analyte) & treated]
    starts = context.infusions[["subject_id", "cycle", "started_day"]]
    doses = _marrow(context).merge(starts, on=["subject_id", "cycle"])
    dose = exposure_to_date(
        list(nadirs["subject_id"]), _days(nadirs["taken_day"]), cycle_subject=list(doses["subject_id"]),
        cycle_start=_days(doses["started_day"]), cycle_dose_Gy=doses["absorbed_dose_Gy"].to_numpy(),
    )  # fmt: skip
    return pd.DataFrame(
        {
            "subject_id": nadirs["subject_id"].to_numpy(), "arm": nadirs["arm"].to_numpy(), "dose_Gy": dose,
            "log_change": _log(nadirs["value"], nadirs["baseline"]).to_numpy(), "row": nadirs["row"].to_numpy(),
        }
    )  # fmt: skip


def _associate(context: Context, analyte: str) -> Association:
    pairs = first_cycle_pairs(context, analyte)
    dose, change, arm = pairs["dose_Gy"].to_numpy(), pairs["log_change"].to_numpy(), list(pairs["arm"])
    slope, again = dose_effect(dose, change, arm), dose_effect(dose, pairs["sensitivity"].to_numpy(), arm)
    corrected = slope if isinstance(slope, NotEstimable) else attenuation(slope, dose, pairs["sd_Gy"].to_numpy(), arm)
    drawn = {"seed": context.seed, "resamples": context.resamples}
    to_date = exposures_to_date(context, analyte)
    lowest = to_date.sort_values(["log_change", "row"]).drop_duplicates("subject_id").sort_values("subject_id")
    late = exposure_effect(
        to_date["dose_Gy"].to_numpy(), to_date["log_change"].to_numpy(), arm=list(to_date["arm"]),
        subject=list(to_date["subject_id"]),
    )  # fmt: skip
    return Association(
        analyte, pairs, _percent(slope), _percent(again), corrected,
        spearman(dose, change, **drawn),
        spearman_within_arm(dose, change, arm, **drawn),
        spearman_by_arm(dose, change, arm, **drawn),
        _percent(late),
        spearman(lowest["dose_Gy"].to_numpy(), lowest["log_change"].to_numpy(), **drawn),
    )  # fmt: skip


def _with(found: Association, slope: Answer, rank: Answer) -> Association:
    return replace(found, slope=slope, rank=rank)


def _percent(slope: Answer) -> Answer:
    return slope if isinstance(slope, NotEstimable) else percent_change(slope, STEP_Gy)


def _marrow(context: Context) -> pd.DataFrame:
    doses = context.cycle_doses
    return doses[(doses["region"] == MARROW) & (doses["method"] == marrow_method(context))]


def _log(value: pd.Series, start: pd.Series) -> pd.Series:
    """ln(value / start); missing where either is not positive."""
    ratio = value.where(value > 0) / start.where(start > 0)
    return np.log(ratio)


def _days(moments: pd.Series) -> FloatArray:
    days: FloatArray = (moments.to_numpy() - np.datetime64("2000-01-01")) / np.timedelta64(1, "D")
    return days
