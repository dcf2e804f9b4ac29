"""Adverse events as one row an event at its worst grade, and the time that every subject was at risk.

Not here: laboratory grades (`lutetia.safety.grading`), tables (`lutetia.safety.tables.t10_adverse_events`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lutetia.safety.frames import DAY, typed
from lutetia.safety.reading import TrialData

DAYS_PER_MONTH = 365.25 / 12.0
RELATED = ("possible", "probable", "definite")
_ENDS = ("died", "lost", "withdrew", "last_contact", "completed")
EVENTS = {
    "subject_id": "object", "arm": "object", "ae_id": "object", "term": "object", "system_organ_class": "object",
    "grade": "Int64", "serious": "bool", "related": "bool", "aesi": "bool", "action": "object", "outcome": "object",
    "started_on": DAY, "study_day": "float64", "ongoing": "bool", "emergent": "bool", "rows": "object",
}  # fmt: skip
AT_RISK = {"subject_id": "object", "arm": "object", "first_day": DAY, "last_day": DAY, "months": "float64"}


def derive_events(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """One row for each event of a randomised subject, at the worst of its grades.

    An event is emergent when it may have begun on the day of the first infusion or later (a partial date counts with
    its last possible day), or when a row from then on has a higher grade than every row before, or no grade. Of such a
    worsened event grade, begin, seriousness, relation and special interest are those of the rows from the worsening on;
    of the others those of all rows.
    """
    arms = data["subjects"].set_index("subject_id")["arm"]
    first = infusions.groupby("subject_id")["started_day"].min()
    rows = []
    for (subject, event), own in data["adverse_events"].groupby(["subject_id", "ae_id"], sort=True):
        own = own.sort_values(["seq", "row"])
        if arms[subject] == "":
            continue
        start = first.get(subject)
        own, emergent = _emergent(own, start)
        begin = own["started_on"].min()
        actions = [a for a in own["action"] if a not in ("", "none")]
        rows.append(
            {
                "subject_id": subject, "arm": arms[subject], "ae_id": event, "term": own["term"].iloc[0],
                "system_organ_class": next((c for c in own["system_organ_class"] if c), "not coded"),
                "grade": own["grade"].max() if own["grade"].notna().any() else None,
                "serious": _any(own["serious"]), "related": bool(own["related"].isin(RELATED).any()),
                "aesi": _any(own["aesi"]), "action": actions[-1] if actions else "none",
                "outcome": own["outcome"].iloc[-1], "started_on": begin,
                "study_day": np.nan if start is None else (begin - start).days,
                "ongoing": _any(own["ongoing"].tail(1)), "emergent": emergent,
                "rows": tuple(own["row"]),
            }
        )  # fmt: skip
    return typed(EVENTS, rows)


def derive_time_at_risk(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """Days from the first infusion to death, loss, withdrawal, completion or the last contact, whichever is last.

    To the cut where none is recorded.

    The day of the first infusion counts, so that nobody has no time at risk.
    """
    first = infusions.groupby("subject_id")["started_day"].min()
    ends = data["disposition"][data["disposition"]["event"].isin(_ENDS)]
    last = ends.groupby("subject_id")["on"].max()
    arms = data["subjects"].set_index("subject_id")["arm"]
    cut = pd.Timestamp(data.cut.day)
    rows = []
    for subject, start in first.items():
        end = max(min(last.get(subject, cut), cut), start)
        months = ((end - start).days + 1) / DAYS_PER_MONTH
        rows.append(
            {"subject_id": subject, "arm": arms[subject], "first_day": start, "last_day": end, "months": months}
        )
    return typed(AT_RISK, rows)


def _emergent(rows: pd.DataFrame, start: pd.Timestamp | None) -> tuple[pd.DataFrame, bool]:
    """The rows of an event that count, and whether they began or worsened after the first infusion."""
    if start is None:
        return rows, False
    later = rows["started_on_last"] >= start
    if later.all():
        return rows, True
    before = rows.loc[~later, "grade"].astype("float64").max()
    worse = later & ~(rows["grade"].astype("float64") <= before)
    if not worse.any():
        return rows, False
    since = rows.loc[worse, "seq"].iloc[0]
    return rows[later & (rows["seq"] >= since)], True


def _any(values: pd.Series) -> bool:
    return bool(values.fillna(False).any())
