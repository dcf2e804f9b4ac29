"""Absorbed doses of each cycle, their sums, Gy per GBq, limits, and what was predicted against what was measured.

A dose that was not determined in its cycle, also one carried from another cycle, is missing, never zero: then the sum
over the cycles is missing too, and a sensitivity sum (last Gy/GBq of each nuclide times its activity) stands beside it,
flagged. Methods are never mixed in one sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lutetia.safety.frames import typed
from lutetia.safety.reading import TrialData
from lutetia.safety.study import DoseLimit

TOTAL, CARRIED = "total", "carried"
CARRIED_REASON = "not measured in this cycle: carried from another one or the population"
PRIOR = {"kidneys": "prior_kidney_Gy", "red marrow": "prior_marrow_Gy"}
_KEY = ["subject_id", "region", "method"]
CUMULATIVE = {
    "subject_id": "object", "arm": "object", "region": "object", "method": "object", "cycles_given": "int64",
    "cycles_dosed": "int64", "complete": "bool", "absorbed_dose_Gy": "float64", "absorbed_dose_sd_Gy": "float64",
    "bed_Gy": "float64", "sensitivity_Gy": "float64", "imputed_cycles": "object", "rows": "object",
    "administration_rows": "object",
}  # fmt: skip
LIMITS = {
    "subject_id": "object", "arm": "object", "limit": "object", "region": "object", "metric": "object",
    "method": "object", "limit_Gy": "float64", "cycles_given": "int64", "complete": "bool", "dose_Gy": "float64",
    "prior_Gy": "float64", "total_Gy": "float64", "over": "boolean", "sensitivity_Gy": "float64",
    "sensitivity_over": "boolean", "imputed_cycles": "object", "rows": "object",
}  # fmt: skip


def cycle_doses(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """Total dose of each given cycle, region and method: one row each, a missing one included.

    Columns: subject_id, arm, cycle, region, method, basis (missing where no dose was determined), absorbed_dose_Gy,
    absorbed_dose_sd_Gy, bed_Gy, mass_g, missing_reason, row (0 where the table has no row).
    """
    table = data["doses"]
    table = table[(table["scope"] == "cycle") & (table["nuclide"] == TOTAL)]
    kinds = table[["region", "method"]].drop_duplicates()
    grid = infusions[["subject_id", "arm", "cycle"]].merge(kinds, how="cross")
    columns = ["basis", "absorbed_dose_Gy", "absorbed_dose_sd_Gy", "bed_Gy", "mass_g", "missing_reason", "row"]
    frame = grid.merge(table[[*_KEY, "cycle", *columns]], on=[*_KEY, "cycle"], how="left")
    frame["row"] = frame["row"].fillna(0).astype("int64")
    frame["missing_reason"] = frame["missing_reason"].fillna("no row in the table").astype("object")
    carried = frame["basis"] == CARRIED
    frame.loc[carried, "missing_reason"] = CARRIED_REASON
    gone = frame["absorbed_dose_Gy"].isna() | (frame["basis"] == "missing") | carried
    frame.loc[gone, "basis"] = "missing"
    frame.loc[gone, ["absorbed_dose_Gy", "absorbed_dose_sd_Gy", "bed_Gy"]] = np.nan
    return frame.sort_values([*_KEY, "cycle"], ignore_index=True)


def nuclide_doses(data: TrialData) -> pd.DataFrame:
    """Dose of each cycle by nuclide with Gy per administered GBq, carried ones left out.

    Columns: subject_id, arm, cycle, region, method, nuclide, basis, absorbed_dose_Gy, administered_MBq, Gy_per_GBq,
    started_at, row, administration_row.
    """
    table = data["doses"]
    table = table[(table["scope"] == "cycle") & (table["nuclide"] != TOTAL) & table["absorbed_dose_Gy"].notna()]
    table = table[table["basis"] != CARRIED]
    given = data["administrations"][["subject_id", "cycle", "nuclide", "administered_MBq", "started_at", "row"]]
    given = given.rename(columns={"row": "administration_row"})
    frame = table[[*_KEY, "cycle", "nuclide", "basis", "absorbed_dose_Gy", "row"]].merge(
        given, on=["subject_id", "cycle", "nuclide"], how="left"
    )
    frame["arm"] = frame["subject_id"].map(data["subjects"].set_index("subject_id")["arm"]).astype("object")
    activity_GBq = frame["administered_MBq"].where(frame["administered_MBq"] > 0) / 1000.0
    frame["Gy_per_GBq"] = frame["absorbed_dose_Gy"] / activity_GBq
    return frame.sort_values([*_KEY, "cycle", "nuclide"], ignore_index=True)


def cumulative_doses(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """Sum over the given cycles by subject, region and method; missing where a cycle's dose is missing.

    The standard deviation is the sum of those of the cycles (errors of calibration, recovery and mass are shared by all
    cycles, so it does not fall with their number; an upper bound). `sensitivity_Gy` uses for a missing cycle the last
    Gy/GBq before it (the first after it, if none was before) times its activity; `imputed_cycles` names such cycles.
    """
    per_cycle, coefficients = cycle_doses(data, infusions), nuclide_doses(data)
    by_key = dict(iter(coefficients.groupby(_KEY, sort=False)))
    activities = dict(iter(data["administrations"].groupby("subject_id", sort=False)))
    rows = []
    for key, own in per_cycle.groupby(_KEY, sort=True):
        subject, region, method = key
        missing = own.loc[own["basis"] == "missing", "cycle"]
        imputed = _imputed(missing, by_key.get(key), activities[subject], own)
        given = activities[subject]
        rows.append(
            {
                "subject_id": subject, "arm": own["arm"].iloc[0], "region": region, "method": method,
                "cycles_given": len(own), "cycles_dosed": len(own) - len(missing), "complete": not len(missing),
                "absorbed_dose_Gy": own["absorbed_dose_Gy"].sum(skipna=False),
                "absorbed_dose_sd_Gy": own["absorbed_dose_sd_Gy"].sum(skipna=False),
                "bed_Gy": own["bed_Gy"].sum(skipna=False),
                "sensitivity_Gy": own["absorbed_dose_Gy"].sum() + imputed,
                "imputed_cycles": tuple(missing), "rows": tuple(r for r in own["row"] if r),
                "administration_rows": tuple(given.loc[given["cycle"].isin(missing), "row"]),
            }
        )  # fmt: skip
    return typed(CUMULATIVE, rows)


def cumulative_by_nuclide(data: TrialData, infusions: pd.DataFrame) -> pd.DataFrame:
    """Sum over the given cycles of each nuclide's absorbed dose; missing where a cycle's total is missing.

    Columns: subject_id, arm, region, method, nuclide, absorbed_dose_Gy, complete, rows.
    """
    per_nuclide = nuclide_doses(data)
    sums = per_nuclide.groupby([*_KEY, "nuclide"], sort=True).agg(
        arm=("arm", "first"), absorbed_dose_Gy=("absorbed_dose_Gy", "sum"), rows=("row", tuple),
        dosed=("cycle", "nunique"),
    ).reset_index()  # fmt: skip
    given = data["administrations"]
    given = given[given["administered_MBq"] > 0]
    counts = given.groupby(["subject_id", "nuclide"])["cycle"].nunique().rename("given").reset_index()
    frame = sums.merge(counts, on=["subject_id", "nuclide"], how="left")
    frame["complete"] = frame["dosed"] == frame["given"]
    frame.loc[~frame["complete"], "absorbed_dose_Gy"] = np.nan
    return frame.drop(columns=["dosed", "given"])


def limit_doses(data: TrialData, infusions: pd.DataFrame, cumulative: pd.DataFrame | None = None) -> pd.DataFrame:
    """Cumulative dose of every treated subject against every limit, by the limit's metric and method.

    A limit without a method takes the one that most rows of its region have. `total_Gy` adds the dose of prior therapy,
    by which `over` is judged; for a BED limit a prior absorbed dose cannot be added and `over` is missing if there is
    one. `over` is missing where the sum is; `sensitivity_over` then stands in, flagged by `imputed_cycles`.
    `cumulative` can be handed in if it was derived already.
    """
    sums = cumulative_doses(data, infusions) if cumulative is None else cumulative
    subjects = data["subjects"].set_index("subject_id")
    treated = infusions.groupby("subject_id", sort=True).agg(arm=("arm", "first"), cycles=("cycle", "size"))
    rows = []
    for limit in data.study.limits:
        method = limit_method(data, limit)
        own = sums[(sums["region"] == limit.region) & (sums["method"] == method)].set_index("subject_id")
        for subject, course in treated.iterrows():
            found = own.loc[subject] if subject in own.index else None
            prior = _prior(subjects.loc[subject], limit.region)
            rows.append(
                {"subject_id": subject, "arm": course["arm"], "cycles_given": course["cycles"]}
                | _against(limit, method, found, prior)
            )
    return typed(LIMITS, rows)


def limit_method(data: TrialData, limit: DoseLimit) -> str:
    """The limit's method, or the most frequent one of its region; empty where the region has no dose."""
    if limit.method:
        return limit.method
    table = data["doses"]
    methods = table.loc[(table["region"] == limit.region) & (table["nuclide"] == TOTAL), "method"].value_counts()
    return min((name for name in methods.index if methods[name] == methods.max()), default="")


def _against(limit: DoseLimit, method: str, found: Any, prior: float) -> dict[str, Any]:
    head = {"limit": limit.id, "region": limit.region, "metric": limit.metric, "method": method,
            "limit_Gy": limit.limit_Gy, "prior_Gy": prior}  # fmt: skip
    if found is None:
        return head | {"complete": False, "over": None, "sensitivity_over": None, "imputed_cycles": (), "rows": ()}
    absorbed = limit.metric == "absorbed_dose"
    dose = float(found["absorbed_dose_Gy"] if absorbed else found["bed_Gy"])
    sensitivity = float(found["sensitivity_Gy"]) if absorbed else dose
    added = prior if absorbed or prior == 0 else np.nan
    return head | {
        "complete": bool(np.isfinite(dose)),
        "dose_Gy": dose,
        "total_Gy": dose + added,
        "over": _over(dose + added, limit.limit_Gy),
        "sensitivity_Gy": sensitivity,
        "sensitivity_over": _over(sensitivity + added, limit.limit_Gy),
        "imputed_cycles": found["imputed_cycles"],
        "rows": found["rows"],
    }


def _over(dose_Gy: float, limit_Gy: float) -> bool | None:
    return dose_Gy > limit_Gy if np.isfinite(dose_Gy) else None


def _prior(subject: pd.Series, region: str) -> float:
    """Dose of prior therapy; not stated counts as none (it is listed among the missing data)."""
    value = float(subject[PRIOR[region]]) if region in PRIOR else 0.0
    return value if np.isfinite(value) else 0.0


def _imputed(missing: pd.Series, own: pd.DataFrame | None, given: pd.DataFrame, cycles: pd.DataFrame) -> float:
    """Dose of the missing cycles by Gy/GBq of the nearest cycle in time; NaN where a nuclide has none."""
    total = 0.0
    for cycle in missing:
        for row in given[given["cycle"] == cycle].itertuples():
            known = None if own is None else own[(own["nuclide"] == row.nuclide) & own["Gy_per_GBq"].notna()]
            if known is None or not len(known):
                return np.nan
            known = known.sort_values("started_at")
            before = known[known["started_at"] < row.started_at]
            nearest = before.iloc[-1] if len(before) else known.iloc[0]
            total += nearest["Gy_per_GBq"] * row.administered_MBq / 1000.0
    return total
