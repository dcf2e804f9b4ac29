"""Nadir of each cycle (peak for analytes whose rise is the harm), its time and recovery, and the worst value overall.

The nadir of a cycle is the lowest value from day 7 after its infusion to the next infusion, that infusion's pre-dose
sample included, or to day 84 after the last infusion. Unscheduled values count. Values within 7 days after a
transfusion or growth factor are kept and flagged; a second nadir without them is the sensitivity analysis.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lutetia.clinical.ctcae import criteria
from lutetia.safety.frames import DAY

FIRST_DAY, LAST_DAY = 7, 84
HAEMATOLOGY = ("haemoglobin", "platelets", "leukocytes", "neutrophils", "lymphocytes")
NADIRS = {
    "subject_id": "object", "arm": "object", "analyte": "object", "cycle": "int64", "direction": "object",
    "value": "float64", "day": "float64", "taken_day": DAY, "row": "int64", "values": "int64", "baseline": "float64",
    "baseline_row": "float64", "percent_change": "float64", "pre_cycle": "float64", "pre_cycle_row": "float64",
    "percent_change_from_pre": "float64", "affected": "bool", "unaffected_value": "float64",
    "unaffected_percent_change": "float64", "recovered": "boolean", "recovery_days": "float64", "rows": "object",
}  # fmt: skip
EXTREMES = {
    "subject_id": "object", "arm": "object", "analyte": "object", "direction": "object", "value": "float64",
    "study_day": "float64", "cycle": "int64", "row": "int64", "values": "int64", "baseline": "float64",
    "baseline_row": "float64", "percent_change": "float64", "affected": "bool", "unaffected_percent_change": "float64",
    "rows": "object",
}  # fmt: skip


def directions(version: str = "5.0") -> dict[str, str]:
    """By analyte, whether its fall (low) or rise (high) is the harm; low where criteria exist for both."""
    found: dict[str, str] = {}
    for criterion in criteria(version):
        if criterion.below or criterion.analyte not in found:
            found[criterion.analyte] = "low" if criterion.below else "high"
    return found


def derive_nadirs(changes: pd.DataFrame, grades: pd.DataFrame, infusions: pd.DataFrame) -> pd.DataFrame:
    """Nadir (peak) of each subject, analyte and cycle.

    Parameters
    ----------
    changes, infusions
        As `lutetia.safety.baseline.derive_changes` and `lutetia.safety.exposure.derive_infusions`.
    grades
        As `lutetia.safety.grading.grade_labs`, for the recovery.

    Returns
    -------
    One row for each subject, analyte and cycle that has a value in the window, columns of `NADIRS`. `day` counts from
    the infusion of the cycle. `recovered`: a later value of the same course, before the next infusion (or up to the cut
    after the last), is no longer worse than the baseline in its grade; missing where the nadir is not worse in grade,
    where grades are missing, and where no value follows. `recovery_days` runs from the nadir to that value.
    """
    key = ["subject_id", "analyte", "cycle"]
    inside = changes[changes["on_treatment"] & (changes["cycle_day"] >= FIRST_DAY)]
    last = infusions.loc[infusions["last"], ["subject_id", "cycle"]].assign(final=True)
    marked = inside.merge(last, on=["subject_id", "cycle"], how="left")
    window = marked[marked["final"].isna() | (marked["cycle_day"] <= LAST_DAY)]
    found = _extremes(window, key).rename(columns={"cycle_day": "day"})
    return _as(NADIRS, found.merge(_recoveries(found, grades), on=key, how="left"))


def derive_extremes(changes: pd.DataFrame) -> pd.DataFrame:
    """The worst value of each subject and analyte after the first infusion, all values included (`EXTREMES`)."""
    return _as(EXTREMES, _extremes(changes[changes["on_treatment"]], ["subject_id", "analyte"]))


def _extremes(values: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The first lowest (highest) value of each group, the same without affected values, and the rows of the group."""
    way = values["analyte"].map(directions()).fillna("low").astype("object")
    ranked = values.assign(direction=way, rank=np.where(way == "low", values["value"], -values["value"]))
    ranked = ranked.sort_values([*key, "rank", "taken_at", "row"])
    found = ranked.drop_duplicates(key).copy()
    found["affected"] = found["affected"] != ""
    free = ranked[ranked["affected"] == ""].drop_duplicates(key)[[*key, "value", "percent_change"]]
    free = free.rename(columns={"value": "unaffected_value", "percent_change": "unaffected_percent_change"})
    counts = values.sort_values("row").groupby(key)["row"].agg(values="size", rows=tuple).reset_index()
    return found.merge(free, on=key, how="left").merge(counts, on=key, how="left")


def _recoveries(nadirs: pd.DataFrame, grades: pd.DataFrame) -> pd.DataFrame:
    """First value after each nadir whose grade is not worse than the baseline, by subject, analyte and cycle."""
    key = ["subject_id", "analyte", "cycle"]
    way = directions()
    own = grades[(grades["table"] == "labs") & grades["on_treatment"] & grades["emergent"].notna()]
    own = own[own["direction"] == own["analyte"].map(way)]
    own = own[[*key, "row", "taken_day", "emergent"]].astype({"emergent": "bool"})
    at = nadirs[[*key, "row", "taken_day"]].rename(columns={"row": "nadir_row", "taken_day": "nadir_day"})
    course = own.merge(at, on=key)
    worse = course[(course["row"] == course["nadir_row"]) & course["emergent"]][key]
    later = course[course["taken_day"] > course["nadir_day"]].merge(worse, on=key)
    back = later[~later["emergent"]].groupby(key).agg(day=("taken_day", "min"), nadir=("nadir_day", "first"))
    back["recovery_days"] = (back["day"] - back["nadir"]) / pd.Timedelta(days=1)
    seen = later[key].drop_duplicates().merge(back[["recovery_days"]].reset_index(), on=key, how="left")
    return seen.assign(recovered=seen["recovery_days"].notna().astype("boolean"))


def _as(columns: dict[str, str], found: pd.DataFrame) -> pd.DataFrame:
    return found[list(columns)].astype(columns).reset_index(drop=True)
