"""The baseline of each analyte, and the change of later values from it and from before their cycle."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lutetia.safety.reading import TrialData
from lutetia.safety.study import BASELINE_VISIT

WITHIN_DAYS = 28


def derive_baseline(data: TrialData, labs: pd.DataFrame) -> pd.DataFrame:
    """Last value before the first infusion, at most 28 days old (or as the study's baseline window says).

    Parameters
    ----------
    data
        The trial.
    labs
        As `lutetia.safety.visits.place_labs`.

    Returns
    -------
    One row for each subject and analyte that has one: subject_id, arm, analyte, value, exact, exact_lln, exact_uln,
    unit, taken_at, taken_day, study_day, below_loq, affected, row.
    """
    window = next((v for v in data.study.visits if v.name == BASELINE_VISIT), None)
    within = WITHIN_DAYS if window is None else -window.first
    before = labs[labs["treated"] & ~labs["on_treatment"] & (labs["study_day"] >= -within)]
    last = before.sort_values(["taken_at", "row"]).drop_duplicates(["subject_id", "analyte"], keep="last")
    columns = ["subject_id", "arm", "analyte", "value", "lln", "uln", "exact", "exact_lln", "exact_uln", "unit",
               "taken_at", "taken_day", "study_day", "below_loq", "affected", "row"]  # fmt: skip
    return last[columns].sort_values(["subject_id", "analyte"], ignore_index=True)


def derive_changes(labs: pd.DataFrame, baseline: pd.DataFrame, infusions: pd.DataFrame) -> pd.DataFrame:
    """Values with their baseline, the value before their cycle, and the changes from both.

    percent_change = 100 (y / baseline − 1); from a baseline of zero it is missing. Added columns: baseline,
    baseline_row, change, percent_change, pre_cycle, pre_cycle_row, percent_change_from_pre. `pre_cycle` is the last
    value before the infusion of the cycle, for cycle 1 the baseline; 28 days old at most.
    """
    start = baseline[["subject_id", "analyte", "value", "row"]]
    start = start.rename(columns={"value": "baseline", "row": "baseline_row"})
    frame = labs.merge(start, on=["subject_id", "analyte"], how="left", sort=False)
    frame["change"] = frame["value"] - frame["baseline"]
    frame["percent_change"] = percent_change(frame["value"], frame["baseline"])
    pre = _before_cycles(labs, infusions)
    frame = frame.merge(pre, on=["subject_id", "analyte", "cycle"], how="left", sort=False)
    first = frame["cycle"] == frame["subject_id"].map(infusions.groupby("subject_id")["cycle"].first())
    frame.loc[first, "pre_cycle"] = frame.loc[first, "baseline"]
    frame.loc[first, "pre_cycle_row"] = frame.loc[first, "baseline_row"]
    frame["percent_change_from_pre"] = percent_change(frame["value"], frame["pre_cycle"])
    return frame


def percent_change(value: pd.Series, start: pd.Series) -> pd.Series:
    """100 (y / start − 1); missing where the start is zero or missing."""
    return 100.0 * (value / start.where(start > 0, np.nan) - 1.0)


def _before_cycles(labs: pd.DataFrame, infusions: pd.DataFrame) -> pd.DataFrame:
    """For each cycle but the first the last value of the cycle before it, at most 28 days before its infusion."""
    starts = infusions[["subject_id", "cycle", "started_day"]].copy()
    starts["follows"] = starts.groupby("subject_id")["cycle"].shift(1)
    pairs = starts.dropna(subset=["follows"]).astype({"follows": "int64"})
    earlier = labs[["subject_id", "analyte", "cycle", "value", "row", "taken_day", "taken_at"]]
    earlier = earlier.rename(columns={"cycle": "follows", "value": "pre_cycle", "row": "pre_cycle_row"})
    joined = pairs.merge(earlier, on=["subject_id", "follows"])
    near = joined["started_day"] - joined["taken_day"] <= pd.Timedelta(days=WITHIN_DAYS)
    last = joined[near].sort_values(["taken_at", "pre_cycle_row"])
    last = last.drop_duplicates(["subject_id", "analyte", "cycle"], keep="last")
    return last[["subject_id", "analyte", "cycle", "pre_cycle", "pre_cycle_row"]]
