"""Times to events from the first infusion, and the events that a stopping rule counts.

An event by grade is the first treatment-emergent value of at least that grade; it is dated by the sample. Subjects
without it are followed to their last value of that analyte, others to death, withdrawal, loss, last contact or the cut.
Death before the event is a competing event. To add an endpoint: an entry of `ENDPOINTS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lutetia.clinical.analytes import canonical_analyte
from lutetia.errors import InputError, UnknownNameError
from lutetia.safety.frames import typed
from lutetia.safety.nadir import HAEMATOLOGY, directions
from lutetia.safety.reading import TrialData
from lutetia.safety.study import Monitor

CENSORED, EVENT, COMPETING = 0, 1, 2
DURATIONS = {
    "subject_id": "object", "arm": "object", "endpoint": "object", "label": "object", "day": "float64",
    "status": "int64", "table": "object", "row": "int64",
}  # fmt: skip
MONITORED = {
    "subject_id": "object", "arm": "object", "evaluable": "bool", "event": "bool", "order": "int64",
    "first_day": "object", "followed_days": "float64", "what": "object", "rows": "object",
}  # fmt: skip
_ENDS = ("died", "lost", "withdrew", "last_contact", "completed")
_CLAUSE = re.compile(r"grade (\d) or more of ([\w ,/\-]+)")
_FALL = re.compile(r"egfr fall of (\d+) ?%( confirmed)?")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Name, label and the events of each subject in order (study_day, table, row); `analytes` must be followed."""

    key: str
    label: str
    analytes: tuple[str, ...]
    firsts: Callable[[pd.DataFrame, pd.DataFrame, TrialData], pd.DataFrame]


def _by_grade(analytes: tuple[str, ...], grade: int) -> Callable[[pd.DataFrame, pd.DataFrame, TrialData], pd.DataFrame]:
    way = directions()

    def firsts(grades: pd.DataFrame, egfr: pd.DataFrame, data: TrialData) -> pd.DataFrame:
        own = grades[grades["analyte"].isin(analytes) & grades["on_treatment"] & (grades["grade"] >= grade)]
        own = own[own["emergent"].fillna(False).astype(bool) & (own["direction"] == own["analyte"].map(way))]
        return own.sort_values(["study_day", "row"])[["subject_id", "study_day", "table", "row"]]

    return firsts


def _by_fall(percent: int, confirmed: bool) -> Callable[[pd.DataFrame, pd.DataFrame, TrialData], pd.DataFrame]:
    column = f"fall_{percent}_confirmed" if confirmed else f"fall_{percent}"

    def firsts(grades: pd.DataFrame, egfr: pd.DataFrame, data: TrialData) -> pd.DataFrame:
        own = egfr[egfr[column].fillna(False).astype(bool)].assign(table="labs")
        return own.sort_values(["study_day", "row"])[["subject_id", "study_day", "table", "row"]]

    return firsts


def _by_disposition(*names: str) -> Callable[[pd.DataFrame, pd.DataFrame, TrialData], pd.DataFrame]:
    def firsts(grades: pd.DataFrame, egfr: pd.DataFrame, data: TrialData) -> pd.DataFrame:
        own = data["disposition"][data["disposition"]["event"].isin(names)].assign(table="disposition")
        own = own.sort_values(["on", "row"]).rename(columns={"on": "study_day"})
        return own[["subject_id", "study_day", "table", "row"]]

    return firsts


ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.key: endpoint
    for endpoint in (
        *(Endpoint(f"{a} ≥ G2", f"{a} of grade 2 or more", (a,), _by_grade((a,), 2)) for a in HAEMATOLOGY),
        Endpoint(
            "haematology ≥ G3", "haematological value of grade 3 or more, lymphocytes apart",
            tuple(a for a in HAEMATOLOGY if a != "lymphocytes"),
            _by_grade(tuple(a for a in HAEMATOLOGY if a != "lymphocytes"), 3),
        ),
        Endpoint("creatinine ≥ G2", "creatinine of grade 2 or more", ("creatinine",), _by_grade(("creatinine",), 2)),
        Endpoint("eGFR fall 25 %", "eGFR 25 % or more below baseline", ("creatinine",), _by_fall(25, False)),
        Endpoint("eGFR fall 40 %", "eGFR 40 % or more below baseline", ("creatinine",), _by_fall(40, False)),
        Endpoint("progression or death", "progression or death", (), _by_disposition("progressed", "died")),
        Endpoint("death", "death", (), _by_disposition("died")),
    )
}  # fmt: skip


def derive_durations(
    data: TrialData, infusions: pd.DataFrame, labs: pd.DataFrame, *, grades: pd.DataFrame, egfr: pd.DataFrame
) -> pd.DataFrame:
    """Days from the first infusion to each endpoint, or to its end of observation, one row a subject and endpoint.

    `status`: 0 censored, 1 event, 2 death before the event. A subject without any value of the endpoint's analytes
    after treatment began has no row. The day of the infusion is day 0; an event on it stands at half a day.
    """
    first = infusions.groupby("subject_id", sort=True).agg(arm=("arm", "first"), day=("started_day", "first"))
    ends, deaths = _observation(data, first)
    rows = []
    for endpoint in ENDPOINTS.values():
        found = _since_start(endpoint.firsts(grades, egfr, data), first["day"])
        followed = _followed(labs, endpoint.analytes) if endpoint.analytes else ends
        for subject, course in first.iterrows():
            if subject not in followed or not course["arm"]:
                continue
            event: Any = found.loc[subject] if subject in found.index else None
            day, status = _outcome(event, followed[subject], deaths.get(subject))
            rows.append(
                {
                    "subject_id": subject, "arm": course["arm"], "endpoint": endpoint.key, "label": endpoint.label,
                    "day": day, "status": status, "table": event["table"] if status == EVENT else "",
                    "row": event["row"] if status == EVENT else 0,
                }
            )  # fmt: skip
    return typed(DURATIONS, rows)


def monitor_events(
    monitor: Monitor, infusions: pd.DataFrame, labs: pd.DataFrame, *, grades: pd.DataFrame, egfr: pd.DataFrame
) -> pd.DataFrame:
    """Who is evaluable for a stopping rule and who had its event within its days after the first infusion.

    The rule is read from its words: clauses "grade N or more of ANALYTE, ANALYTE" and "eGFR fall of N %" (with
    "confirmed" if so), separated by semicolons. A subject is evaluable with an event, or when followed for as many days
    (a value of any analyte of the rule on or after that day). `order` counts evaluable subjects of an arm by the day of
    the first infusion.

    Raises
    ------
    InputError
        If the words cannot be read.
    """
    rules, analytes = _clauses(monitor), monitor_analytes(monitor)
    followed = _followed(labs, analytes)
    first = infusions.groupby("subject_id", sort=True).agg(arm=("arm", "first"), day=("started_day", "first"))
    hits = pd.concat([firsts(grades, egfr, None) for _, firsts in rules])
    hits = hits[(hits["study_day"] >= 0) & (hits["study_day"] <= monitor.within_days)]
    rows = []
    for subject, course in first.sort_values(["day"], kind="stable").iterrows():
        own = hits[hits["subject_id"] == subject]
        days = followed.get(subject, np.nan)
        rows.append(
            {
                "subject_id": subject, "arm": course["arm"], "event": bool(len(own)),
                "evaluable": bool(len(own)) or days >= monitor.within_days, "first_day": course["day"],
                "followed_days": days, "what": monitor.event, "rows": tuple(own.loc[own["table"] == "labs", "row"]),
                "order": 0,
            }
        )  # fmt: skip
    frame = typed(MONITORED, rows)
    frame["order"] = frame["evaluable"].groupby(frame["arm"]).cumsum().where(frame["evaluable"], 0).astype("int64")
    return frame


def monitor_analytes(monitor: Monitor) -> tuple[str, ...]:
    """Analytes that a stopping rule watches, sorted.

    Raises
    ------
    InputError
        If the words of its event cannot be read.
    """
    return tuple(sorted({name for names, _ in _clauses(monitor) for name in names}))


def _clauses(monitor: Monitor) -> list[tuple[tuple[str, ...], Callable[..., pd.DataFrame]]]:
    found: list[tuple[tuple[str, ...], Callable[..., pd.DataFrame]]] = []
    for clause in monitor.event.lower().split(";"):
        text = clause.strip()
        if match := _CLAUSE.fullmatch(text):
            names = [name.strip() for name in re.split(r",| and ", match[2]) if name.strip()]
            try:
                analytes = tuple(canonical_analyte(name) for name in names)
            except UnknownNameError as error:
                raise InputError(f"study.toml: monitors: {monitor.id}: {error}") from error
            found.append((analytes, _by_grade(analytes, int(match[1]))))
        elif (match := _FALL.fullmatch(text)) and match[1] in ("25", "40"):
            found.append((("creatinine",), _by_fall(int(match[1]), bool(match[2]))))
        else:
            raise InputError(
                f"study.toml: monitors: {monitor.id}: found {text!r}; expected clauses such as "
                "'grade 3 or more of platelets, neutrophils' or 'eGFR fall of 40 % confirmed', separated by semicolons"
            )
    return found


def _followed(labs: pd.DataFrame, analytes: tuple[str, ...]) -> dict[Any, float]:
    """Day of the last value of any of the analytes after treatment began."""
    own = labs[labs["on_treatment"] & labs["analyte"].isin(analytes)]
    return dict(own.groupby("subject_id")["study_day"].max())


def _observation(data: TrialData, first: pd.DataFrame) -> tuple[dict[Any, float], dict[Any, float]]:
    """Day of the end of observation, and of death, from the first infusion."""
    events, cut = data["disposition"], pd.Timestamp(data.cut.day)
    ends = events[events["event"].isin(_ENDS)].groupby("subject_id")["on"].max()
    died = events[events["event"] == "died"].groupby("subject_id")["on"].min()
    day = pd.Timedelta(days=1)
    last = {s: (min(ends.get(s, cut), cut) - start) / day for s, start in first["day"].items()}
    return last, {s: (on - first["day"][s]) / day for s, on in died.items() if s in first.index}


def _since_start(events: pd.DataFrame, starts: pd.Series) -> pd.DataFrame:
    """The first event of each subject from the first infusion on, dates as study days."""
    day = events["study_day"]
    if isinstance(day.dtype, np.dtype) and day.dtype.kind == "M":
        day = (day - starts.reindex(events["subject_id"]).to_numpy()) / pd.Timedelta(days=1)
    own = events.assign(study_day=day.astype("float64"))
    own = own[own["study_day"] >= 0].sort_values("study_day", kind="stable")
    return own.drop_duplicates("subject_id").set_index("subject_id")


def _outcome(event: Any, followed: float, death: float | None) -> tuple[float, int]:
    if event is not None:
        return max(float(event["study_day"]), 0.5), EVENT
    if death is not None and death >= followed:
        return max(death, 0.5), COMPETING
    return max(followed, 0.5), CENSORED
