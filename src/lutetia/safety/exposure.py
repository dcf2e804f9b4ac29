"""What was planned, prescribed and given: infusions, activities of each nuclide, and the decisions about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lutetia.safety.frames import DAY, MOMENT, typed
from lutetia.safety.reading import TrialData

CATEGORIES = ("reduced", "unchanged", "increased", "withheld", "stopped")
_STOPPED = ("withheld", "stopped")
UNDECIDED = ("DRAFT", "PROPOSED", "OVERRIDE_PENDING")  # a proposal that nobody released or rejected is no decision
INFUSIONS = {
    "subject_id": "object", "arm": "object", "cycle": "int64", "started_at": MOMENT, "started_day": DAY,
    "next_at": MOMENT, "next_day": DAY, "last": "bool", "rows": "object",
}  # fmt: skip
DECISIONS = {
    "subject_id": "object", "arm": "object", "cycle": "int64", "version": "int64", "nuclide": "object",
    "base_MBq": "float64", "prescribed_MBq": "float64", "previous_MBq": "float64", "category": "object",
    "category_recorded": "object", "against_previous": "object", "reason": "object", "bound_by": "object",
    "override": "bool", "given": "bool", "row": "int64",
}  # fmt: skip


def derive_infusions(data: TrialData) -> pd.DataFrame:
    """One row for each cycle given, in order of time: start of its first nuclide and of the next infusion.

    Columns: subject_id, arm, cycle, started_at, started_day (local day), next_at, next_day (missing for the last one),
    last, rows (of administrations). Rows with no activity are no infusion.
    """
    arm = dict(zip(data["subjects"]["subject_id"], data["subjects"]["arm"], strict=True))
    given = data["administrations"]
    given = given[given["administered_MBq"] > 0]
    rows = []
    for subject, own in given.groupby("subject_id", sort=True):
        firsts = own.sort_values(["started_at", "row"]).groupby("cycle", sort=False).agg(
            started_at=("started_at", "first"), started_day=("started_day", "first"), rows=("row", tuple)
        )  # fmt: skip
        firsts = firsts.sort_values("started_at").reset_index()
        for i, first in enumerate(firsts.itertuples()):
            follows = firsts.iloc[i + 1] if i + 1 < len(firsts) else None
            rows.append(
                {
                    "subject_id": subject,
                    "arm": arm[subject],
                    "cycle": first.cycle,
                    "started_at": first.started_at,
                    "started_day": first.started_day,
                    "next_at": None if follows is None else follows["started_at"],
                    "next_day": None if follows is None else follows["started_day"],
                    "last": follows is None,
                    "rows": first.rows,
                }
            )
    return typed(INFUSIONS, rows)


def ended_early(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """The event that ended the treatment of each subject who was given fewer cycles than planned.

    Rows of the disposition; where the study plans no number of cycles, those with a reason.
    """
    events = data["disposition"]
    ended = events[events["event"] == "treatment_ended"].sort_values(["on", "row"]).drop_duplicates("subject_id")
    if data.study.cycles is None:
        return ended[ended["reason"] != ""]
    counts = infusions.groupby("subject_id").size().reindex(ended["subject_id"]).fillna(0)
    return ended[counts.to_numpy() < data.study.cycles]


def derive_exposure(data: TrialData) -> pd.DataFrame:
    """One row for each administration: planned, prescribed and administered activity, and their ratios.

    Columns of administrations, with arm, administered_to_prescribed and prescribed_to_planned (NaN where unknown).
    """
    frame = data["administrations"].copy()
    arm = data["subjects"].set_index("subject_id")["arm"]
    frame["arm"] = frame["subject_id"].map(arm).astype("object")
    base = [
        data.study.arms[a].base_MBq.get(n, np.nan) if a in data.study.arms else np.nan
        for a, n in zip(frame["arm"], frame["nuclide"], strict=True)
    ]
    frame["planned_MBq"] = frame["planned_MBq"].fillna(pd.Series(base, index=frame.index, dtype="float64"))
    frame["administered_to_prescribed"] = frame["administered_MBq"] / frame["prescribed_MBq"].replace(0.0, np.nan)
    frame["prescribed_to_planned"] = frame["prescribed_MBq"] / frame["planned_MBq"].replace(0.0, np.nan)
    return frame.sort_values(["subject_id", "cycle", "nuclide"], ignore_index=True)


def derive_decisions(data: TrialData) -> pd.DataFrame:
    """One row for each decision about the variable nuclide, with its category against base and previous.

    Of several versions the one that was administered counts, else the last that was released or rejected and is not
    void; a proposal that is still open at the cut is no decision. The category is derived
    from prescribed / base with the study's tolerance; what was recorded stands beside it. `withheld` and `stopped` are
    taken as recorded, since they have no activity. `against_previous` compares with the last activity above 0 that was
    prescribed in an earlier cycle (None for the first). Arms of fixed activity have no decisions.
    """
    arms = data["subjects"].set_index("subject_id")["arm"]
    table = data["prescriptions"]
    versions = given_versions(data)
    tolerance = data.study.tolerance
    rows = []
    for subject, own in table.groupby("subject_id", sort=True):
        arm = arms[subject]
        variable = data.study.arms[arm].variable if arm in data.study.arms else None
        if variable is None:
            continue
        previous = np.nan
        for row in _decided(own[own["nuclide"] == variable], versions):
            base = row.base_MBq if np.isfinite(row.base_MBq) else data.study.arms[arm].base_MBq[variable]
            rows.append(
                {
                    "subject_id": subject, "arm": arm, "cycle": row.cycle, "version": row.version,
                    "nuclide": variable, "base_MBq": base, "prescribed_MBq": row.prescribed_MBq,
                    "previous_MBq": previous,
                    "category": categorise(row.prescribed_MBq, base, tolerance, row.category),
                    "category_recorded": row.category,
                    "against_previous": categorise(row.prescribed_MBq, previous, tolerance, row.category),
                    "reason": row.reason, "bound_by": row.bound_by, "override": bool(row.override_by),
                    "given": (subject, row.cycle) in versions, "row": row.row,
                }
            )  # fmt: skip
            if row.prescribed_MBq > 0:
                previous = row.prescribed_MBq
    return typed(DECISIONS, rows)


def given_versions(data: TrialData) -> dict[tuple[str, int], int | None]:
    """Prescription version of each administered cycle by (subject, cycle); None where it is not stated."""
    found: dict[tuple[str, int], int | None] = {}
    for row in data["administrations"].itertuples():
        version = None if pd.isna(row.prescription_version) else int(row.prescription_version)
        found[(row.subject_id, row.cycle)] = version if version is not None else found.get((row.subject_id, row.cycle))
    return found


def _decided(rows: pd.DataFrame, versions: dict[tuple[str, int], int | None]) -> list[Any]:
    """One row for each cycle of one subject and nuclide."""
    found = []
    for cycle, own in rows.sort_values(["cycle", "version"]).groupby("cycle", sort=True):
        given = own[own["version"] == versions.get((own["subject_id"].iloc[0], cycle))]
        closed = own[~own["state"].isin(UNDECIDED)]
        valid = closed[closed["state"] != "VOID"]
        chosen = next((part for part in (given, valid, closed) if len(part)), closed)
        found += list(chosen.tail(1).itertuples())
    return found


def categorise(prescribed_MBq: float, reference_MBq: float, tolerance: float, recorded: str) -> str | None:
    """Reduced (< 1 − tolerance), unchanged or increased (> 1 + tolerance) against a reference activity.

    Without an activity: as recorded if that is withheld or stopped, else withheld. None without a reference.
    """
    if not np.isfinite(prescribed_MBq) or prescribed_MBq <= 0:
        return recorded if recorded in _STOPPED else "withheld"
    if not np.isfinite(reference_MBq) or reference_MBq <= 0:
        return None
    ratio = round(prescribed_MBq / reference_MBq, 9)
    if ratio < round(1.0 - tolerance, 9):
        return "reduced"
    return "increased" if ratio > round(1.0 + tolerance, 9) else "unchanged"


def subject_category(decisions: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Category of each subject: prescribed / base summed over the decided cycles with an activity, from cycle 2 on.

    Columns: subject_id, arm, ratio, category, cycles, rows (of prescriptions).
    """
    kinds = {"subject_id": "object", "arm": "object", "ratio": "float64", "category": "object", "cycles": "int64",
             "rows": "object"}  # fmt: skip
    decided = decisions[(decisions["cycle"] >= 2) & (decisions["prescribed_MBq"] > 0)]
    rows = []
    for subject, own in decided.groupby("subject_id", sort=True):
        asked, base = own["prescribed_MBq"].sum(), own["base_MBq"].sum()
        rows.append(
            {
                "subject_id": subject,
                "arm": own["arm"].iloc[0],
                "ratio": asked / base if base else np.nan,
                "category": categorise(asked, base, tolerance, ""),
                "cycles": len(own),
                "rows": tuple(own["row"]),
            }
        )
    return typed(kinds, rows)
