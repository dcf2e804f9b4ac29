"""Where each laboratory value stands: before or after the first infusion, cycle, day, protocol visit, and flags.

A value precedes an infusion when it was taken before its start; without a time of day, when it was taken on the same
local day or earlier. Days are differences of local calendar days: day 0 is the day of the infusion.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lutetia.safety.reading import TrialData
from lutetia.safety.study import BASELINE_VISIT, VisitWindow

FLAG_DAYS = 7
# which analytes a treatment changes by itself (assumption)
AFFECTS = {
    "transfusion_red": ("haemoglobin",),
    "transfusion_platelet": ("platelets",),
    "g_csf": ("neutrophils", "leukocytes"),
}
_DAY = np.timedelta64(1, "D")


def place_labs(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """Laboratory values with their place in the course.

    Parameters
    ----------
    data
        The trial.
    infusions
        As `lutetia.safety.exposure.derive_infusions`.

    Returns
    -------
    The frame of labs in order of subject, analyte and time, with arm, treated (has an infusion), on_treatment (after
    the first infusion began), study_day (days from the first infusion; NaN untreated), cycle (last infusion before it,
    0 before the first), cycle_day, visit (name of the window it lies in, or empty), selected (it is the value of that
    visit: nearest to the target day, then the later one) and affected (treatment kind within 7 days before, or empty).
    """
    labs = data["labs"].sort_values(["subject_id", "analyte", "taken_at", "row"], ignore_index=True)
    labs["arm"] = labs["subject_id"].map(data["subjects"].set_index("subject_id")["arm"]).astype("object")
    cycle, study_day, cycle_day = _courses(labs, infusions)
    labs["treated"] = np.isfinite(study_day)
    labs["on_treatment"] = cycle > 0
    labs["study_day"], labs["cycle"], labs["cycle_day"] = study_day, cycle, cycle_day
    labs["visit"] = _visit_names(labs, data.study.visits)
    labs["selected"] = _selected(labs, data.study.visits)
    labs["affected"] = _affected(labs, data["treatments"])
    return labs


def precedes(taken_at: Any, taken_day: Any, has_time: Any, *, started_at: Any, started_day: Any) -> Any:
    """Whether values were taken before an infusion began; broadcasts over arrays of times and days."""
    return np.where(has_time, taken_at < started_at, taken_day <= started_day)


def _courses(labs: pd.DataFrame, infusions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cycle (0 before the first infusion), day from the first infusion and day from that of the cycle."""
    cycle = np.zeros(len(labs), dtype=np.int64)
    study_day, cycle_day = np.full(len(labs), np.nan), np.full(len(labs), np.nan)
    taken_at, day = _utc(labs["taken_at"]), labs["taken_day"].to_numpy()
    has_time = labs["has_time"].to_numpy()
    places = labs.groupby("subject_id", sort=False).indices
    for subject, own in infusions.groupby("subject_id", sort=False):
        at = places.get(subject)
        if at is None:
            continue
        starts, days = _utc(own["started_at"]), own["started_day"].to_numpy()
        before = precedes(taken_at[at, None], day[at, None], has_time[at, None], started_at=starts, started_day=days)
        passed = (~before).sum(axis=1)  # starts are in order, so these are the first ones
        numbers = np.concatenate([[0], own["cycle"].to_numpy()])
        cycle[at] = numbers[passed]
        study_day[at] = (day[at] - days[0]) / _DAY
        cycle_day[at] = (day[at] - days[np.maximum(passed - 1, 0)]) / _DAY
    return cycle, study_day, cycle_day


def _utc(moments: pd.Series) -> np.ndarray:
    return np.asarray(moments.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[us]")


def _visit_names(labs: pd.DataFrame, visits: tuple[VisitWindow, ...]) -> np.ndarray:
    """The first window that holds the day; baseline windows before the first infusion, the others after one."""
    names = np.full(len(labs), "", dtype=object)
    day, after = labs["cycle_day"].to_numpy(), labs["on_treatment"].to_numpy()
    for visit in reversed(visits):
        side = ~after if visit.name == BASELINE_VISIT else after
        names[side & (day >= visit.first) & (day <= visit.last)] = visit.name
    return names


def _selected(labs: pd.DataFrame, visits: tuple[VisitWindow, ...]) -> np.ndarray:
    """Whether a value is the one of its visit; of the baseline visit it is the last one before the first infusion."""
    target = {visit.name: (0.0 if visit.name == BASELINE_VISIT else visit.target) for visit in visits}
    inside = labs[labs["visit"] != ""]
    away = (inside["cycle_day"] - inside["visit"].map(target).astype("float64")).abs()
    ordered = inside.assign(away=away).sort_values(["away", "taken_at", "row"], ascending=[True, False, False])
    first = ordered.drop_duplicates(["subject_id", "analyte", "cycle", "visit"]).index
    chosen = np.zeros(len(labs), dtype=bool)
    chosen[first] = True
    return chosen


def _affected(labs: pd.DataFrame, treatments: pd.DataFrame) -> np.ndarray:
    """Kind of a transfusion or growth factor given on the day or up to 7 days before (or up to its last day)."""
    kinds = np.full(len(labs), "", dtype=object)
    day = labs["taken_day"].to_numpy()
    for given in treatments[treatments["kind"].isin(AFFECTS)].itertuples():
        last = given.started_on if pd.isna(given.ended_on) else given.ended_on
        since, until = np.datetime64(given.started_on), np.datetime64(last) + FLAG_DAYS * _DAY
        own = (labs["subject_id"] == given.subject_id) & labs["analyte"].isin(AFFECTS[given.kind])
        kinds[own.to_numpy() & (day >= since) & (day <= until)] = given.kind
    return kinds
