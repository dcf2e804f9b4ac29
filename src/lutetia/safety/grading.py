"""CTCAE grades of every laboratory value, the worst of each subject, and what emerged under treatment.

The rules of a single value are those of `lutetia.clinical.ctcae`; here is which baseline, which limits and which
transfusion go with which value. Limit scale (LLN, ULN, fixed cuts) and baseline multiples stay apart in columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lutetia.clinical.ctcae import ScaleGrades, grade_scales, is_emergent
from lutetia.clinical.transfusions import RED_CELLS, TRANSFUSED_ANALYTE, TRANSFUSED_GRADE, indicating_value
from lutetia.safety.frames import DAY, MOMENT, typed
from lutetia.safety.reading import TrialData

GRADES = {
    "subject_id": "object", "arm": "object", "analyte": "object", "term": "object", "direction": "object",
    "taken_at": MOMENT, "taken_day": DAY, "study_day": "float64", "cycle": "int64", "cycle_day": "float64",
    "visit": "object", "selected": "bool", "on_treatment": "bool", "affected": "object", "value": "float64",
    "grade": "float64", "scale": "object", "grade_by_limit": "float64", "grade_by_baseline": "float64",
    "baseline_grade": "float64", "baseline_abnormal": "bool", "has_baseline": "bool", "emergent": "boolean",
    "transfused": "bool", "version": "object", "table": "object", "row": "int64",
}  # fmt: skip
WORST = {
    "subject_id": "object", "arm": "object", "analyte": "object", "term": "object", "direction": "object",
    "values": "int64", "missing": "int64", "worst_grade": "float64", "worst_emergent": "float64",
    "worst_by_limit": "float64", "worst_by_baseline": "float64", "baseline_grade": "float64",
    "baseline_abnormal": "bool", "has_baseline": "bool", "worst_day": "float64", "worst_cycle": "float64",
    "worst_unaffected": "float64", "table": "object", "row": "int64", "rows": "object", "baseline_row": "float64",
}  # fmt: skip


def grade_labs(data: TrialData, labs: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Grades of every laboratory value, one row for each of its terms.

    Parameters
    ----------
    data
        The trial; its study names the CTCAE version.
    labs, baseline
        As `lutetia.safety.visits.place_labs` and `lutetia.safety.baseline.derive_baseline`.

    Returns
    -------
    Columns of `GRADES`: `grade` with its `scale`; `grade_by_limit` and `grade_by_baseline`, the two scales apart;
    `baseline_grade` (limit scale) and `baseline_abnormal` (above ULN, in a term graded on multiples then); `emergent`
    (worse than baseline on one scale; missing with the grade; False before treatment). A red-cell transfusion makes the
    last haemoglobin within 7 days before it grade 3; if there is none after treatment began, it has a row of its own
    (`table` "treatments", no value).

    Raises
    ------
    UnknownNameError
        For a CTCAE version without data.
    """
    version = data.study.ctcae
    starts = {(b.subject_id, b.analyte): b for b in baseline.itertuples()}
    before = {key: _baseline_grades(b, version) for key, b in starts.items()}
    transfused, alone = _transfusions(data["treatments"], labs)
    rows: list[dict[str, Any]] = []
    for value in labs.itertuples():
        start = starts.get((value.subject_id, value.analyte))
        grades = grade_scales(
            value.analyte, value.exact, lln=value.exact_lln, uln=value.exact_uln,
            baseline=start.exact if start is not None and value.on_treatment else None,
            baseline_uln=start.exact_uln if start is not None else None,
            transfused=value.row in transfused, version=version,
        )  # fmt: skip
        own = before.get((value.subject_id, value.analyte), {})
        rows += [_graded(value, g, own.get(g.term), value.row in transfused) for g in grades]
    rows += [_transfusion_row(t, before.get((t.subject_id, TRANSFUSED_ANALYTE), {}), labs, version) for t in alone]
    frame = typed(GRADES, rows)
    return frame.sort_values(["subject_id", "analyte", "term", "taken_at", "table", "row"], ignore_index=True)


def worst_grades(grades: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Worst grade of each subject and term after the first infusion, unscheduled values included.

    `worst_grade` is the highest known grade, `worst_emergent` the highest of the treatment-emergent ones (0: none
    emerged), `worst_by_limit` and `worst_by_baseline` the highest on each scale, `worst_unaffected` the highest
    emergent one without values within 7 days after a transfusion or growth factor; `missing` counts values without a
    grade. `row` with `table` is where the worst emergent grade stands (the first; of the worst grade if none emerged).
    """
    key = ["subject_id", "analyte", "term"]
    after = grades[grades["on_treatment"]].reset_index(drop=True)
    emerged = after["emergent"].fillna(False).astype(bool)
    after = after.assign(
        emergent_grade=after["grade"].where(emerged, 0.0).where(after["grade"].notna()),
        is_missing=after["grade"].isna(),
    )
    after["unaffected"] = after["emergent_grade"].where(after["affected"] == "")
    worst = after.groupby(key, sort=True).agg(
        arm=("arm", "first"), direction=("direction", "first"), values=("row", "size"),
        missing=("is_missing", "sum"), worst_grade=("grade", "max"), worst_emergent=("emergent_grade", "max"),
        worst_by_limit=("grade_by_limit", "max"), worst_by_baseline=("grade_by_baseline", "max"),
        baseline_grade=("baseline_grade", "first"), baseline_abnormal=("baseline_abnormal", "any"),
        has_baseline=("has_baseline", "first"), worst_unaffected=("unaffected", "max"),
    ).reset_index()  # fmt: skip
    worst = worst.merge(_places(after, key), on=key, how="left")
    labs = after[after["table"] == "labs"].groupby(key)["row"].agg(tuple).rename("rows").reset_index()
    start = baseline[["subject_id", "analyte", "row"]].rename(columns={"row": "baseline_row"})
    worst = worst.merge(labs, on=key, how="left").merge(start, on=["subject_id", "analyte"], how="left")
    worst["rows"] = [rows if isinstance(rows, tuple) else () for rows in worst["rows"]]
    worst[["table", "row"]] = worst[["table", "row"]].fillna({"table": "", "row": 0})
    return worst[list(WORST)].astype(WORST)


def _places(after: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Where the worst emergent grade stands first, or the worst grade if none emerged."""
    ranked = after[after["grade"].notna()].sort_values(
        [*key, "emergent_grade", "grade", "taken_at", "row"], ascending=[True] * 3 + [False, False, True, True]
    )
    first = ranked.drop_duplicates(key)[[*key, "study_day", "cycle", "table", "row"]]
    return first.rename(columns={"study_day": "worst_day", "cycle": "worst_cycle"})


def _baseline_grades(start: Any, version: str) -> dict[str, ScaleGrades]:
    """Grades of the baseline value itself on the limit scale, by term."""
    found = grade_scales(start.analyte, start.exact, lln=start.exact_lln, uln=start.exact_uln, version=version)
    return {grade.term: grade for grade in found}


def _graded(value: Any, now: ScaleGrades, before: ScaleGrades | None, transfused: bool) -> dict[str, Any]:
    return {
        "subject_id": value.subject_id, "arm": value.arm, "analyte": value.analyte, "term": now.term,
        "direction": now.direction, "taken_at": value.taken_at, "taken_day": value.taken_day,
        "study_day": value.study_day, "cycle": value.cycle, "cycle_day": value.cycle_day, "visit": value.visit,
        "selected": value.selected, "on_treatment": value.on_treatment, "affected": value.affected,
        "value": value.value, "grade": now.grade, "scale": now.scale, "grade_by_limit": now.by_limit,
        "grade_by_baseline": now.by_baseline, "baseline_grade": None if before is None else before.by_limit,
        "baseline_abnormal": now.baseline_abnormal, "has_baseline": before is not None,
        "emergent": is_emergent(now, before) if value.on_treatment else False,
        "transfused": transfused, "version": now.version, "table": "labs", "row": value.row,
    }  # fmt: skip


def _transfusions(treatments: pd.DataFrame, labs: pd.DataFrame) -> tuple[set[int], list[Any]]:
    """Rows of the haemoglobin values that led to a red-cell transfusion, and transfusions without such a value."""
    values = labs[labs["analyte"] == TRANSFUSED_ANALYTE]
    rows, alone = set(), []
    for given in treatments[treatments["kind"] == RED_CELLS].itertuples():
        own = values[values["subject_id"] == given.subject_id]
        first = _first_day(labs, given.subject_id)
        days, treated = own["taken_day"].tolist(), own["on_treatment"].tolist()
        place = indicating_value(days, treated, given.started_on, first_day=first)
        if place is not None:
            rows.add(int(own["row"].iloc[place]))
        elif first is not None and given.started_on >= first:
            alone.append(given)
    return rows, alone


def _first_day(labs: pd.DataFrame, subject: str) -> Any:
    """Day of the first infusion, from any placed value; None for subjects without one."""
    own = labs[(labs["subject_id"] == subject) & labs["treated"]]
    if own.empty:
        return None
    return own["taken_day"].iloc[0] - pd.Timedelta(days=float(own["study_day"].iloc[0]))


def _transfusion_row(given: Any, before: Mapping[str, ScaleGrades], labs: pd.DataFrame, version: str) -> dict[str, Any]:
    start = next(iter(before.values()), None)
    own = labs[labs["subject_id"] == given.subject_id]
    day = (given.started_on - _first_day(labs, given.subject_id)) / pd.Timedelta(days=1)
    during = own[own["study_day"] <= day]
    return {
        "subject_id": given.subject_id, "arm": own["arm"].iloc[0], "analyte": TRANSFUSED_ANALYTE, "term": "Anemia",
        "direction": "low", "taken_at": given.started_on.tz_localize("UTC"), "taken_day": given.started_on,
        "study_day": day, "cycle": max(int(during["cycle"].max()) if len(during) else 1, 1), "visit": "",
        "selected": False, "on_treatment": True, "affected": "", "grade": TRANSFUSED_GRADE, "scale": "transfusion",
        "grade_by_limit": TRANSFUSED_GRADE, "baseline_grade": None if start is None else start.by_limit,
        "baseline_abnormal": False, "has_baseline": start is not None,
        "emergent": start is None or (start.by_limit or 0) < TRANSFUSED_GRADE, "transfused": True, "version": version,
        "table": "treatments", "row": given.row,
    }  # fmt: skip
