"""Renal function of every creatinine value: CKD-EPI 2021, Cockcroft–Gault, falls and their confirmation, KDIGO shift.

Not here: the slope itself (a mixed model); here is which values and subjects carry one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lutetia.clinical.renal import ckd_epi_2021, cockcroft_gault, gfr_category
from lutetia.safety.baseline import percent_change
from lutetia.safety.frames import typed
from lutetia.safety.reading import TrialData

FALLS = (25, 40)  # percent of the baseline rate
CONFIRM_DAYS = 28  # assumption: a fall is confirmed by a value at least four weeks later
NOT_AFTER_INFUSION_DAYS = 7
SLOPE_VALUES, SLOPE_DAYS = 3, 182
DAYS_PER_YEAR = 365.25
_PLACE = ["subject_id", "arm", "taken_at", "taken_day", "study_day", "cycle", "cycle_day", "visit", "selected",
          "on_treatment", "row"]  # fmt: skip
SHIFTS = {
    "subject_id": "object", "arm": "object", "baseline_egfr": "float64", "baseline_category": "object",
    "worst_egfr": "float64", "worst_category": "object", "worst_percent_change": "float64", "fall_25": "boolean",
    "fall_40": "boolean", "fall_25_confirmed": "boolean", "fall_40_confirmed": "boolean", "values": "int64",
    "slope_values": "int64", "slope_span_days": "float64", "slope_estimable": "bool", "row": "int64",
    "baseline_row": "float64", "rows": "object",
}  # fmt: skip


def derive_egfr(data: TrialData, labs: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Filtration rate of every creatinine value of treated subjects.

    Age is that at entry plus the time elapsed since the day of randomisation (else since the first infusion); weight is
    the last one measured up to that day, else that at entry. A subject without age or sex has no rate.

    Returns
    -------
    Columns: place of the value; egfr (mL/min per 1.73 m²), crcl (mL/min, NaN without weight), category (KDIGO),
    baseline_egfr, baseline_row, change, percent_change, years (since the first infusion), fall_25 and fall_40 (at least
    so many percent below baseline, after treatment began), fall_25_confirmed and fall_40_confirmed (so is the first
    value 28 days later or more; missing if there is none), for_slope (not within 7 days after any infusion).
    """
    own = labs[(labs["analyte"] == "creatinine") & labs["treated"] & (labs["value"] > 0)].reset_index(drop=True)
    subjects = data["subjects"].set_index("subject_id").reindex(own["subject_id"])
    frame = own[_PLACE].copy()
    frame["creatinine_umol_per_L"] = own["value"]
    start = subjects["randomised_on"].reset_index(drop=True)
    origin = start.fillna(own["taken_day"] - pd.to_timedelta(own["study_day"], unit="D"))
    age = subjects["age_years"].to_numpy() + ((own["taken_day"] - origin).dt.days / DAYS_PER_YEAR).to_numpy()
    weight = _weights(data, own)
    egfr, crcl = np.full(len(own), np.nan), np.full(len(own), np.nan)
    for sex in ("female", "male"):
        use = (subjects["sex"].to_numpy() == sex) & (age > 0)
        egfr[use] = ckd_epi_2021(own["value"].to_numpy()[use], age[use], sex)
        use &= weight > 0
        crcl[use] = cockcroft_gault(own["value"].to_numpy()[use], age[use], sex, weight_kg=weight[use])
    frame["egfr"], frame["crcl"] = egfr, crcl
    frame["category"] = [gfr_category(value) if np.isfinite(value) else "" for value in egfr]
    return _compared(frame, baseline)


def renal_outcomes(egfr: pd.DataFrame) -> pd.DataFrame:
    """One row for each treated subject with a rate after treatment began: KDIGO shift, falls, and what a slope needs.

    `slope_estimable`: at least 3 values over at least 6 months (182 days), without those within 7 days after an
    infusion; the baseline counts. Columns of `SHIFTS`.
    """
    rows = []
    known = egfr[egfr["egfr"].notna()]
    for subject, own in known.groupby("subject_id", sort=True):
        after = own[own["on_treatment"]]
        if after.empty:
            continue
        worst = after.loc[after["egfr"].idxmin()]
        start = own[own["row"] == own["baseline_row"]]
        slope = own[own["for_slope"]]
        span = (slope["taken_day"].max() - slope["taken_day"].min()) / pd.Timedelta(days=1) if len(slope) else 0.0
        rows.append(
            {
                "subject_id": subject, "arm": worst["arm"], "baseline_egfr": worst["baseline_egfr"],
                "baseline_category": start["category"].iloc[0] if len(start) else "",
                "worst_egfr": worst["egfr"], "worst_category": worst["category"],
                "worst_percent_change": worst["percent_change"], "values": len(after), "slope_values": len(slope),
                "slope_span_days": span,
                "slope_estimable": len(slope) >= SLOPE_VALUES and span >= SLOPE_DAYS,
                "row": worst["row"], "baseline_row": worst["baseline_row"], "rows": tuple(own["row"]),
            }
            | {name: _any(after[name]) for fall in FALLS for name in (f"fall_{fall}", f"fall_{fall}_confirmed")}
        )  # fmt: skip
    return typed(SHIFTS, rows)


def _any(flags: pd.Series) -> bool | None:
    """True if any is; missing if none is but some are not known, so that what cannot be judged is not taken as none."""
    if flags.fillna(False).any():
        return True
    return None if flags.isna().any() or not len(flags) else False


def _compared(frame: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    start = baseline.loc[baseline["analyte"] == "creatinine", ["subject_id", "row"]]
    start = start.rename(columns={"row": "baseline_row"})
    at = frame[["row", "egfr"]].rename(columns={"row": "baseline_row", "egfr": "baseline_egfr"})
    frame = frame.merge(start.merge(at, on="baseline_row"), on="subject_id", how="left")
    frame["change"] = frame["egfr"] - frame["baseline_egfr"]
    frame["percent_change"] = percent_change(frame["egfr"], frame["baseline_egfr"])
    frame["years"] = frame["study_day"] / DAYS_PER_YEAR
    near = frame["on_treatment"] & (frame["cycle_day"] < NOT_AFTER_INFUSION_DAYS)
    frame["for_slope"] = (
        frame["egfr"].notna() & ~near & (frame["on_treatment"] | (frame["row"] == frame["baseline_row"]))
    )
    known = frame["on_treatment"] & frame["percent_change"].notna()
    for fall in FALLS:
        fell = (frame["percent_change"] <= -fall).astype("boolean").where(known, False).where(
            frame["percent_change"].notna() | ~frame["on_treatment"]
        )  # fmt: skip
        frame[f"fall_{fall}"] = fell
        frame[f"fall_{fall}_confirmed"] = _confirmed(frame, fell)
    return frame


def _confirmed(frame: pd.DataFrame, fell: pd.Series) -> pd.Series:
    """For each fall whether the first value 28 days later or more shows it too; missing if there is no such value."""
    found = pd.Series(False, index=frame.index, dtype="boolean").where(fell.notna())
    for _, own in frame[fell.notna() & frame["on_treatment"]].groupby("subject_id", sort=False):
        days, flags = own["study_day"].to_numpy(), fell[own.index].to_numpy(dtype=bool)
        for i in np.flatnonzero(flags):
            later = np.flatnonzero(days >= days[i] + CONFIRM_DAYS)
            found[own.index[i]] = bool(flags[later[0]]) if len(later) else pd.NA
    return found


def _weights(data: TrialData, own: pd.DataFrame) -> np.ndarray:
    """Last weight measured up to the day of each value, else that at entry, kg."""
    entry = data["subjects"].set_index("subject_id")["weight_kg"].reindex(own["subject_id"]).to_numpy(dtype=float)
    vitals = data["vitals"][data["vitals"]["weight_kg"].notna()].sort_values("taken_on")
    found: np.ndarray = entry.copy()
    for subject, weights in vitals.groupby("subject_id"):
        at = np.flatnonzero((own["subject_id"] == subject).to_numpy())
        days = own["taken_day"].to_numpy()[at]
        place = np.searchsorted(weights["taken_on"].to_numpy(), days, side="right") - 1
        found[at] = np.where(place >= 0, weights["weight_kg"].to_numpy()[np.maximum(place, 0)], entry[at])
    return found
