"""Analysis datasets as CSV: subjects, exposure, doses, laboratory values, adverse events and times to events.

Names of columns follow CDISC ADaM where it has them (USUBJID, TRT01P, AVAL, BASE, CHG, PCHG, ATOXGR, BTOXGR, CNSR);
doses have no ADaM dataset, ADXD is ours. ADY counts as ADaM does: the day of the first infusion is day 1, the day
before it day −1. `SRCROW` names the row of the exchange table that a record comes from. To add a dataset: a function of
the context that gives a frame, and its entry in `DATASETS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from lutetia.clinical.analytes import analytes
from lutetia.safety.context import Context
from lutetia.safety.events import CENSORED, COMPETING
from lutetia.safety.exposure import subject_category

_CYCLE, _FLAGS = "AVISITN", {True: "Y", False: "N"}


def adam_files(context: Context) -> dict[str, bytes]:
    """Every dataset as CSV (RFC 4180, UTF-8), by file name such as ``ADSL.csv``; equal bytes for equal trials."""
    return {f"{name}.csv": csv(build(context)) for name, build in DATASETS.items()}


def csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV: empty where missing, numbers with 9 significant digits, CR LF."""
    text: str = frame.to_csv(index=False, lineterminator="\r\n", float_format="%.9g", na_rep="")
    return text.encode("utf-8")


def adsl(context: Context) -> pd.DataFrame:
    """One record a screened subject: arm as randomised and as treated, sets, demography, course and its end."""
    data, sets = context.data, context.sets
    subjects = data["subjects"].sort_values("subject_id", ignore_index=True)
    key = subjects["subject_id"]
    course = context.infusions.groupby("subject_id").agg(
        start=("started_day", "first"), end=("started_day", "last"), cycles=("cycle", "size")
    )
    ends = data["disposition"].sort_values("row")
    category = subject_category(context.decisions, data.study.tolerance).set_index("subject_id")
    frame = pd.DataFrame(
        {
            "STUDYID": data.study.title, "USUBJID": key, "SITEID": subjects["site"], "ARM": subjects["arm"],
            "TRT01P": subjects["arm"], "TRT01A": [sets.as_treated.get(s, "") for s in key],
            "STRATA": subjects["stratum_true"], "STRATAE": subjects["stratum_entered"], "SEX": subjects["sex"],
            "AGE": subjects["age_years"], "HEIGHTBL": subjects["height_cm"], "WEIGHTBL": subjects["weight_kg"],
            "RANDDT": _day(subjects["randomised_on"]), "TRTSDT": _day(_at(course["start"], key)),
            "TRTEDT": _day(_at(course["end"], key)), "CYCLES": _at(course["cycles"], key).fillna(0).astype("int64"),
            "ITTFL": _flag(key.isin(sets.itt)), "SAFFL": _flag(key.isin(sets.saf)), "DOSFL": _flag(key.isin(sets.dos)),
            "CROSSFL": _flag(key.isin([c.subject_id for c in sets.cross_overs])),
            "ACTCAT": _at(category["category"], key).fillna(""), "ACTRATIO": _at(category["ratio"], key),
            "DTHDT": _day(_at(_first_day(ends, "died"), key)),
            "LSTALVDT": _day(_at(_last_day(ends, "last_contact"), key)),
            "EOTDT": _day(_at(_first_day(ends, "treatment_ended"), key)), "DATACUT": data.cut.day.isoformat(),
            "SRCROW": _source("subjects", subjects["row"]),
        }
    )  # fmt: skip
    for limit in data.study.limits:
        own = context.limits[context.limits["limit"] == limit.id].set_index("subject_id")
        frame[f"{_name(limit.id)}GY"] = _at(own["dose_Gy"], key)
        frame[f"{_name(limit.id)}OVFL"] = [_yes_no(own["over"].get(s)) for s in key]
    return frame


def adex(context: Context) -> pd.DataFrame:
    """One record an administration: planned, prescribed and administered activity, and the decision behind it."""
    given = context.exposure
    decided = context.decisions[["subject_id", "cycle", "nuclide", "category", "reason", "against_previous"]]
    frame = given.merge(decided, on=["subject_id", "cycle", "nuclide"], how="left")
    return pd.DataFrame(
        {
            "USUBJID": frame["subject_id"], "TRT01P": frame["arm"], _CYCLE: frame["cycle"],
            "EXTRT": frame["nuclide"], "ASTDTM": frame["started_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "ASTDT": _day(frame["started_day"]), "PLANMBQ": frame["planned_MBq"], "PRESMBQ": frame["prescribed_MBq"],
            "AVALMBQ": frame["administered_MBq"], "RATIOPR": frame["administered_to_prescribed"],
            "RATIOPL": frame["prescribed_to_planned"], "ACTCAT": frame["category"].fillna("fixed"),
            "ACTPREV": frame["against_previous"].fillna(""), "ACTREAS": frame["reason"].fillna(""),
            "SAFFL": _flag(frame["subject_id"].isin(context.sets.saf)), "BATCH": frame["batch"],
            "SRCROW": _source("administrations", frame["row"]),
        }
    )  # fmt: skip


def adxd(context: Context) -> pd.DataFrame:
    """One record a dose: of each cycle by nuclide and in total, and cumulative with the sensitivity beside it."""
    parts = context.nuclide_doses.assign(PARAM="dose of the cycle", Gy_per_GBq=context.nuclide_doses["Gy_per_GBq"])
    totals = context.cycle_doses.assign(PARAM="dose of the cycle", nuclide="total")
    sums = context.cumulative.assign(PARAM="cumulative dose", nuclide="total", basis="")
    frame = pd.concat([parts, totals, sums], ignore_index=True)
    frame = frame.sort_values(["subject_id", "region", "method", "PARAM", "cycle", "nuclide"], ignore_index=True)
    rows = [
        f"doses:{int(row)}" if np.isfinite(row) and row else " ".join(f"doses:{r}" for r in many)
        for row, many in zip(frame["row"].astype(float), _tuples(frame["rows"]), strict=True)
    ]
    return pd.DataFrame(
        {
            "USUBJID": frame["subject_id"], "TRT01P": frame["arm"], "PARAM": frame["PARAM"],
            _CYCLE: frame["cycle"].astype("Int64"), "REGION": frame["region"], "METHOD": frame["method"],
            "NUCLIDE": frame["nuclide"], "BASIS": frame["basis"], "AVALGY": frame["absorbed_dose_Gy"],
            "SDGY": frame["absorbed_dose_sd_Gy"], "BEDGY": frame["bed_Gy"], "GYGBQ": frame["Gy_per_GBq"],
            "SENSGY": frame["sensitivity_Gy"],
            "IMPCYC": [" ".join(str(c) for c in cycles) for cycles in _tuples(frame["imputed_cycles"])],
            "MISSREAS": frame["missing_reason"].where(frame["basis"] == "missing", "").fillna(""),
            "DOSFL": _flag(frame["subject_id"].isin(context.sets.dos)), "SRCROW": rows,
        }
    )  # fmt: skip


def adlb(context: Context) -> pd.DataFrame:
    """One record a laboratory value and term of its grade: baseline, changes, grade, shift and flags."""
    values = context.changes.set_index("row")
    grades = context.grades
    at = values.reindex(grades["row"].where(grades["table"] == "labs", -1)).reset_index(drop=True)
    known = analytes()
    is_baseline = (grades["table"] == "labs").to_numpy() & grades["row"].isin(context.baseline["row"]).to_numpy()
    rate = context.egfr.set_index("row")
    creatinine = (grades["analyte"] == "creatinine") & (grades["table"] == "labs")
    egfr = grades["row"].where(creatinine, -1).map(rate["egfr"])
    return pd.DataFrame(
        {
            "USUBJID": grades["subject_id"], "TRT01P": grades["arm"], "PARAMCD": grades["analyte"],
            "PARAM": [f"{known[a].label} ({known[a].unit})" for a in grades["analyte"]],
            "ADT": _day(grades["taken_day"]), "ADY": _study_day(grades["study_day"]), "AVISIT": grades["visit"],
            _CYCLE: grades["cycle"], "CYCLEDY": grades["cycle_day"], "AVAL": grades["value"],
            "ANRLO": at["lln"], "ANRHI": at["uln"], "BASE": at["baseline"], "CHG": at["change"],
            "PCHG": at["percent_change"], "PRECYC": at["pre_cycle"], "PCHGPRE": at["percent_change_from_pre"],
            "ATERM": grades["term"], "ATOXDIR": grades["direction"], "ATOXGR": grades["grade"].astype("Int64"),
            "ATOXSCL": grades["scale"], "ATOXGRL": grades["grade_by_limit"].astype("Int64"),
            "ATOXGRB": grades["grade_by_baseline"].astype("Int64"), "BTOXGR": grades["baseline_grade"].astype("Int64"),
            "SHIFT1": _shift(grades), "BABNFL": _flag(grades["baseline_abnormal"]),
            "TRTEMFL": [_yes_no(v) for v in grades["emergent"]], "ONTRTFL": _flag(grades["on_treatment"]),
            "ABLFL": _flag(pd.Series(is_baseline)), "ANL01FL": _flag(grades["selected"]),
            "LOQFL": _flag(at["below_loq"].fillna(False).astype(bool)), "AFFECT": grades["affected"],
            "TRANSFL": _flag(grades["transfused"]), "EGFR": egfr, "CTCAEVER": grades["version"],
            "SRCROW": [f"{t}:{r}" for t, r in zip(grades["table"], grades["row"], strict=True)],
        }
    )  # fmt: skip


def adae(context: Context) -> pd.DataFrame:
    """One record an adverse event at its worst grade."""
    events = context.events
    return pd.DataFrame(
        {
            "USUBJID": events["subject_id"], "TRT01P": events["arm"], "AESEQ": events["ae_id"],
            "AETERM": events["term"], "AEBODSYS": events["system_organ_class"], "AETOXGR": events["grade"],
            "AESER": _flag(events["serious"]), "AREL": _flag(events["related"]), "AESI": _flag(events["aesi"]),
            "AEACN": events["action"], "AEOUT": events["outcome"], "ASTDT": _day(events["started_on"]),
            "ASTDY": _study_day(events["study_day"]), "ONGOFL": _flag(events["ongoing"]),
            "TRTEMFL": _flag(events["emergent"]), "SAFFL": _flag(events["subject_id"].isin(context.sets.saf)),
            "SRCROW": [" ".join(f"adverse_events:{r}" for r in rows) for rows in _tuples(events["rows"])],
        }
    )  # fmt: skip


def adtte(context: Context) -> pd.DataFrame:
    """One record a subject and endpoint: days from the first infusion, CNSR 0 event, 1 censored, 2 death before it."""
    times = context.durations
    status = times["status"].map({CENSORED: 1, COMPETING: 2}).fillna(0).astype("int64")
    return pd.DataFrame(
        {
            "USUBJID": times["subject_id"], "TRT01P": times["arm"], "PARAMCD": times["endpoint"],
            "PARAM": times["label"], "AVAL": times["day"], "CNSR": status,
            "SAFFL": _flag(times["subject_id"].isin(context.sets.saf)),
            "SRCROW": [f"{t}:{r}" if t else "" for t, r in zip(times["table"], times["row"], strict=True)],
        }
    )  # fmt: skip


DATASETS: Mapping[str, Callable[[Context], pd.DataFrame]] = {
    "ADSL": adsl, "ADEX": adex, "ADXD": adxd, "ADLB": adlb, "ADAE": adae, "ADTTE": adtte,
}  # fmt: skip


def _at(values: pd.Series, subjects: pd.Series) -> pd.Series:
    """Values of the given subjects; missing for those without one."""
    return values.reindex(subjects).reset_index(drop=True)


def _day(days: pd.Series) -> pd.Series:
    return pd.to_datetime(days).dt.strftime("%Y-%m-%d").astype("object").where(days.notna(), "")


def _study_day(days: pd.Series) -> pd.Series:
    """Days from the first infusion as ADaM counts them: there is no day 0."""
    return (days + (days >= 0)).astype("Int64")


def _flag(values: pd.Series) -> list[str]:
    return [_FLAGS[bool(value)] for value in values]


def _yes_no(value: object) -> str:
    """Y, N, or empty where it is not known."""
    return "" if value is None or pd.isna(value) else _FLAGS[bool(value)]


def _shift(grades: pd.DataFrame) -> list[str]:
    """Baseline to this value on the limit scale; "multiples of baseline" where these decide instead."""
    found = []
    for before, now, apart in zip(
        grades["baseline_grade"], grades["grade_by_limit"], grades["baseline_abnormal"], strict=True
    ):
        text = f"{before:.0f} to {now:.0f}" if np.isfinite(before) and np.isfinite(now) else ""
        found.append("multiples of baseline" if apart else text)
    return found


def _tuples(values: pd.Series) -> list[tuple[int, ...]]:
    return [value if isinstance(value, tuple) else () for value in values]


def _first_day(events: pd.DataFrame, name: str) -> pd.Series:
    return events[events["event"] == name].groupby("subject_id")["on"].min()


def _last_day(events: pd.DataFrame, name: str) -> pd.Series:
    return events[events["event"] == name].groupby("subject_id")["on"].max()


def _source(table: str, rows: pd.Series) -> list[str]:
    return [f"{table}:{row}" for row in rows]


def _name(text: str) -> str:
    return "".join(c for c in text.upper() if c.isalnum())
