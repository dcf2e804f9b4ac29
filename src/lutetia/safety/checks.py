"""Doubts about rows that are used: dates out of order, missing limits of normal, implausible values, thin arms.

Nothing is changed here but an end before its start, which is taken as missing. Each check is one function of `CHECKS`:
to add one, write it and name it there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

from lutetia.clinical.analytes import analytes
from lutetia.safety.parsing import Finding, Sheet
from lutetia.safety.study import Study

Sheets = Mapping[str, Sheet]
_ORDER = ("screened", "consented", "eligible", "randomised", "treatment_ended", "last_contact")
_ENDS = (("treatments", "started_on", "ended_on"), ("adverse_events", "started_on", "ended_on_last"))
PLAUSIBLE = {"age_years": (16, 110), "height_cm": (100, 230), "weight_kg": (25, 300)}  # assumptions
DEVIATION_SHARE = 0.10  # EANM: a difference of administered and prescribed activity above 10 % is reported


def check_sheets(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    """All doubts, check by check; `day` is the day of the cut."""
    return [finding for check in CHECKS for finding in check(sheets, study, day)]


def _ends_before_starts(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    found = []
    for table, start, end in _ENDS:
        for row in sheets[table].rows:
            if row[end] is not None and row[end] < row[start]:
                text = f"ends on {row[end]} before it starts on {row[start]}; its end is taken as missing"
                found.append(Finding("dates out of order", table, (row["row"],), text))
                row |= {"ended_on": None, end: None}
    for row in sheets["administrations"].rows:
        if row["ended_at"] is not None and row["ended_at"] < row["started_at"]:
            found.append(Finding("dates out of order", "administrations", (row["row"],), "ends before it starts"))
    return found


def _disposition_order(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    found = []
    for subject, rows in _by_subject(sheets["disposition"]).items():
        known = [(_ORDER.index(row["event"]), row["on"], row) for row in rows if row["event"] in _ORDER]
        for place, on, row in known:
            later = [event for other, other_on, event in known if other > place and other_on < on]
            if later:
                text = f"{subject}: {later[0]['event']} on {later[0]['on']} before {row['event']} on {on}"
                found.append(Finding("dates out of order", "disposition", (row["row"], later[0]["row"]), text))
    return found


def _administration_order(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    found = []
    randomised = {row["subject_id"]: row["randomised_on"] for row in sheets["subjects"].rows}
    for subject, rows in _by_subject(sheets["administrations"]).items():
        ordered = sorted(rows, key=lambda row: row["started_at"])
        for one, other in pairwise(ordered):
            if other["cycle"] < one["cycle"]:
                text = f"{subject}: cycle {other['cycle']} starts after cycle {one['cycle']}"
                found.append(Finding("dates out of order", "administrations", (one["row"], other["row"]), text))
        first, start = ordered[0], randomised.get(subject)
        if start is None or first["started_day"] < start:
            text = f"{subject}: treated {'without' if start is None else 'before'} randomisation"
            found.append(Finding("randomisation", "administrations", (first["row"],), text))
    return found


def _randomisation(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    events = {row["subject_id"] for row in sheets["disposition"].rows if row["event"] == "randomised"}
    found = []
    for row in sheets["subjects"].rows:
        if row["arm"] and row["randomised_on"] is None:
            text = f"{row['subject_id']}: arm {row['arm']} without a date of randomisation; counted as randomised"
            found.append(Finding("randomisation", "subjects", (row["row"],), text))
        if not row["arm"] and (row["randomised_on"] is not None or row["subject_id"] in events):
            text = f"{row['subject_id']}: randomised, but no arm is stated; not in any arm"
            found.append(Finding("randomisation", "subjects", (row["row"],), text))
    return found


def _arms(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    count = dict.fromkeys(study.arms, 0)
    for row in sheets["subjects"].rows:
        if row["arm"]:
            count[row["arm"]] += 1
    words = {0: "no subject", 1: "one subject"}
    return [Finding("small arm", "subjects", (), f"arm {arm} has {words[n]}") for arm, n in count.items() if n < 2]


def _untreated(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    treated = {row["subject_id"] for row in sheets["administrations"].rows}
    return [
        Finding("never treated", "subjects", (row["row"],), f"{row['subject_id']}: randomised, no administration")
        for row in sheets["subjects"].rows
        if row["arm"] and row["subject_id"] not in treated
    ]


def _activities(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    found = []
    for row in sheets["administrations"].rows:
        asked, given = row["prescribed_MBq"], row["administered_MBq"]
        if asked is None or not asked:
            text = f"{row['subject_id']} cycle {row['cycle']} {row['nuclide']}: given without a prescribed activity"
            found.append(Finding("activity", "administrations", (row["row"],), text))
        elif abs(given / asked - 1.0) > DEVIATION_SHARE:
            share = f"{100.0 * given / asked:.0f} % of {asked:g} MBq"
            text = f"{row['subject_id']} cycle {row['cycle']} {row['nuclide']}: administered {share} prescribed"
            found.append(Finding("activity", "administrations", (row["row"],), text))
    return found


def _limits_of_normal(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    missing: dict[str, list[int]] = defaultdict(list)
    for row in sheets["labs"].rows:
        if row["exact_lln"] is None and row["exact_uln"] is None:
            missing[row["analyte"]].append(row["row"])
    return [
        Finding(
            "no limits of normal", "labs", tuple(rows), f"{analyte}: {len(rows)} values; grade missing where needed"
        )
        for analyte, rows in sorted(missing.items())
    ]


def _implausible(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    found = []
    for row in sheets["labs"].rows:
        low, high = analytes()[row["analyte"]].plausible
        if not low <= row["exact"] <= high:
            amount = f"{row['analyte']} {row['exact'].normalize():f} {row['unit']}"
            text = f"{row['subject_id']}: {amount} is outside {low:f} to {high:f}; check its unit"
            found.append(Finding("implausible value", "labs", (row["row"],), text))
    return found


def _people(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    found = []
    for row in sheets["subjects"].rows:
        for column, (low, high) in PLAUSIBLE.items():
            if row[column] is not None and not low <= row[column] <= high:
                text = f"{row['subject_id']}: {column} {row[column]:g} is outside {low} to {high}"
                found.append(Finding("implausible value", "subjects", (row["row"],), text))
    return found


def _prior_doses(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    """A dose of prior therapy that is not stated counts as none against a limit; this says so."""
    treated = {row["subject_id"] for row in sheets["administrations"].rows}
    found = []
    for column in ("prior_kidney_Gy", "prior_marrow_Gy"):
        rows = [r for r in sheets["subjects"].rows if r["subject_id"] in treated and r[column] is None]
        if rows:
            text = f"{column}: not stated for {len(rows)} treated subject{'s' if len(rows) > 1 else ''}; taken as none"
            found.append(Finding("prior dose not stated", "subjects", tuple(r["row"] for r in rows), text))
    return found


def _same_moment(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row in sheets["labs"].rows:
        groups[(row["subject_id"], row["analyte"], row["taken_at"], row["has_time"])].append(row["row"])
    return [
        Finding("two samples at one time", "labs", tuple(rows), f"{key[0]}: {key[1]} at {key[2].isoformat()}")
        for key, rows in groups.items()
        if len(rows) > 1
    ]


def _contact_after_end(sheets: Sheets, study: Study, day: date) -> list[Finding]:
    """Data after death cannot be right."""
    died = {row["subject_id"]: row["on"] for row in sheets["disposition"].rows if row["event"] == "died"}
    found = []
    for table, column in (("administrations", "started_day"), ("labs", "taken_day"), ("vitals", "taken_on")):
        rows: dict[str, list[int]] = defaultdict(list)
        for row in sheets[table].rows:
            if row["subject_id"] in died and row[column] > died[row["subject_id"]]:
                rows[row["subject_id"]].append(row["row"])
        text = "rows dated after death"
        found += [Finding("dates out of order", table, tuple(r), f"{subject}: {text}") for subject, r in rows.items()]
    return found


def _by_subject(sheet: Sheet) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sheet.rows:
        groups[row["subject_id"]].append(row)
    return groups


CHECKS: Sequence[Callable[[Sheets, Study, date], list[Finding]]] = (
    _ends_before_starts,
    _disposition_order,
    _administration_order,
    _contact_after_end,
    _randomisation,
    _arms,
    _untreated,
    _activities,
    _limits_of_normal,
    _implausible,
    _people,
    _prior_doses,
    _same_moment,
)
