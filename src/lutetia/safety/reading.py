"""The exchange folder as typed tables for the analysis, with an account of every row.

Rows read = rows used + rows listed with a reason, table by table (`Accounting`). A row that is dated after the data cut
is listed as such: the cut is an event date, the snapshot a database state, so later-entered values of earlier events
count. Each frame has the column `row`: the row's number in its file (header = 1), by which cells name their sources.

Not here: single cells (`lutetia.safety.parsing`), doubts about dates and amounts (`lutetia.safety.checks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any

import pandas as pd

from lutetia.dataset.folder import Dataset
from lutetia.dataset.tables import TABLES
from lutetia.errors import InputError
from lutetia.safety.checks import check_sheets
from lutetia.safety.frames import frame
from lutetia.safety.parsing import Finding, Listed, Sheet, read_labs, read_sheet
from lutetia.safety.schema import NOT_ANALYSED, SCHEMAS
from lutetia.safety.study import Study, read_study

AFTER_CUT = "after the cut"


@dataclass(frozen=True, slots=True)
class Cut:
    """The data cut: events up to and including `moment` count, or with `whole_day` those up to `day` in their own local
    time; `text` is how reports print it."""

    moment: datetime
    day: date
    whole_day: bool
    text: str


@dataclass(frozen=True, slots=True)
class TableCount:
    """Rows of one table: read = used + listed."""

    table: str
    read: int
    used: int
    listed: int


@dataclass(frozen=True, slots=True)
class Accounting:
    """What became of every row: counts by table, the rows not used, and doubts about data that are used."""

    counts: tuple[TableCount, ...]
    listed: tuple[Listed, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TrialData:
    """Typed tables of one snapshot up to a cut; `data["labs"]` is a frame."""

    frames: Mapping[str, pd.DataFrame]
    study: Study
    cut: Cut
    accounting: Accounting
    snapshot: Mapping[str, Any]
    snapshot_sha256: str

    def __getitem__(self, table: str) -> pd.DataFrame:
        return self.frames[table]


def read_trial(dataset: Dataset, cut: str | date | datetime | None = None) -> TrialData:
    """Read, check and cut the tables of a trial.

    Parameters
    ----------
    dataset
        As `lutetia.dataset.folder.read_dataset` gives it.
    cut
        Last event date that counts: a day (its whole length, in each event's own local time) or an aware moment, also
        as ISO text; None takes the snapshot's `cut_at`.

    Raises
    ------
    InputError
        If the study description is unusable, or the cut cannot be read or lies after the snapshot.
    """
    study = read_study(dataset.study)
    limit = _cut(cut if cut is not None else dataset.snapshot.get("cut_at"), dataset.snapshot)
    sheets = {
        name: read_sheet(name, dataset.tables.get(name, ()), schema, zone=study.timezone)
        for name, schema in SCHEMAS.items()
    }
    sheets["labs"] = read_labs(dataset.tables.get("labs", ()), zone=study.timezone)
    _take_out_strangers(sheets, study)
    _apply_cut(sheets, limit)
    findings = (*_missing_files(dataset), *check_sheets(sheets, study, limit.day))
    return TrialData(
        frames={name: frame(name, sheet.rows) for name, sheet in sheets.items()},
        study=study,
        cut=limit,
        accounting=_account(sheets, findings),
        snapshot=dataset.snapshot,
        snapshot_sha256=dataset.snapshot_sha256,
    )


def _cut(given: str | date | datetime | None, snapshot: Mapping[str, Any]) -> Cut:
    if given is None:
        raise InputError("snapshot.json: cut_at is missing; give the data cut, such as --cut 2026-06-30")
    text = given if isinstance(given, str) else given.isoformat()
    moment = _moment(text, "cut")
    whole_day = len(text) <= len("2026-06-30")
    taken = snapshot.get("extracted_at")
    if taken is not None and moment.date() > _moment(str(taken), "snapshot.json: extracted_at").date():
        raise InputError(f"cut: found {text}, after the snapshot was extracted ({taken}); choose an earlier day")
    return Cut(moment, moment.date(), whole_day, text)


def _moment(text: str, where: str) -> datetime:
    """An aware moment; a day stands for its last instant."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{where}: found {text!r}; expected a day such as 2026-06-30") from error
    if len(text) <= len("2026-06-30"):
        return datetime.combine(found, time.max, tzinfo=UTC)
    if found.tzinfo is None:
        raise InputError(f"{where}: found {text!r} without offset; expected a day, or a time with offset")
    return found


def _take_out_strangers(sheets: Mapping[str, Sheet], study: Study) -> None:
    """List rows of unknown arms, and rows of subjects that the table of subjects does not hold."""
    arms = ", ".join(study.arms)
    sheets["subjects"].take_out(
        lambda row: (
            ("unknown arm", f"found {row['arm']!r}; expected {arms}") if row["arm"] not in ("", *study.arms) else None
        )
    )
    known = {row["subject_id"] for row in sheets["subjects"].rows}
    for name, sheet in sheets.items():
        if name != "subjects":
            sheet.take_out(
                lambda row: None if row["subject_id"] in known else ("unknown subject", str(row["subject_id"]))
            )


def _apply_cut(sheets: Mapping[str, Sheet], cut: Cut) -> None:
    for name, sheet in sheets.items():
        column = "taken_at" if name == "labs" else SCHEMAS[name].event
        if column:
            sheet.take_out(partial(_after, column=column, cut=cut))
    _cut_subjects(sheets, cut)
    _cut_by_administration(sheets)
    _cut_forecasts(sheets)
    for row in sheets["adverse_events"].rows:
        _reopen(row, cut)
    for row in sheets["prescriptions"].rows:
        _unsign(row, cut)
    for row in sheets["treatments"].rows:
        if row["ended_on"] is not None and row["ended_on"] > cut.day:
            row["ended_on"] = cut.day


def _after(row: Mapping[str, Any], column: str, cut: Cut) -> tuple[str, str] | None:
    found = row[column]
    if column == "state_on" and found is None:
        found = row["planned_on"]
    if found is None:
        return None
    if isinstance(found, datetime) and not cut.whole_day:
        late = found > cut.moment
    else:
        late = row.get(column.removesuffix("_at") + "_day", found) > cut.day
    return (AFTER_CUT, found.isoformat()) if late else None


def _reopen(row: dict[str, Any], cut: Cut) -> None:
    """An adverse event that ended after the cut was ongoing at the cut."""
    if row["ended_on"] is not None and row["ended_on"] > cut.day:
        row |= {"ended_on": None, "ended_on_last": None, "ongoing": True, "outcome": "ongoing at the cut"}


def _unsign(row: dict[str, Any], cut: Cut) -> None:
    """A prescription that was signed after the cut was a proposal at the cut."""
    if row["signed_at"] is not None and _after(row, "signed_at", cut) is not None:
        row |= {"state": "PROPOSED", "signed_by": "", "signed_at": None, "signed_day": None}
        row |= {"override_by": "", "override_reason": ""}


def _cut_subjects(sheets: Mapping[str, Sheet], cut: Cut) -> None:
    """Subjects randomised after the cut were only screened at it; those not yet screened are listed."""
    seen = {row["subject_id"] for row in sheets["disposition"].rows}
    later = {item.key.split("/")[0] for item in sheets["disposition"].listed if item.reason == AFTER_CUT}

    def reason(row: dict[str, Any]) -> tuple[str, str] | None:
        after = row["randomised_on"] is not None and row["randomised_on"] > cut.day
        unknown = row["randomised_on"] is None and row["subject_id"] in later
        return (AFTER_CUT, "screened later") if (after or unknown) and row["subject_id"] not in seen else None

    sheets["subjects"].take_out(reason)
    known = {row["subject_id"] for row in sheets["subjects"].rows}
    for name, sheet in sheets.items():
        if name != "subjects":
            sheet.take_out(
                lambda row: None if row["subject_id"] in known else (AFTER_CUT, "subject screened after the cut")
            )
    listed = (item.key.split("/") for item in sheets["disposition"].listed if item.reason == AFTER_CUT)
    randomised_later = {key[0] for key in listed if key[1] == "randomised"}
    for row in sheets["subjects"].rows:
        on = row["randomised_on"]
        if on > cut.day if on is not None else row["subject_id"] in randomised_later:
            row |= {"arm": "", "randomised_on": None}


def _cut_by_administration(sheets: Mapping[str, Sheet]) -> None:
    """A dose belongs to the administration of its cycle."""
    given = {(row["subject_id"], row["cycle"]) for row in sheets["administrations"].rows}
    later = {tuple(item.key.split("/")[:2]) for item in sheets["administrations"].listed if item.reason == AFTER_CUT}

    def reason(row: dict[str, Any]) -> tuple[str, str] | None:
        key = (row["subject_id"], row["cycle"])
        if key in given:
            return None
        if (key[0], str(key[1])) in later:
            return AFTER_CUT, "its administration is later"
        return "no administration of this cycle", f"cycle {key[1]}"

    sheets["doses"].take_out(reason)


def _cut_forecasts(sheets: Mapping[str, Sheet]) -> None:
    """A forecast belongs to its prescription."""
    known = {(row["subject_id"], row["cycle"], row["version"]) for row in sheets["prescriptions"].rows}
    later = {tuple(item.key.split("/")[:3]) for item in sheets["prescriptions"].listed if item.reason == AFTER_CUT}

    def reason(row: dict[str, Any]) -> tuple[str, str] | None:
        key = (row["subject_id"], row["cycle"], row["version"])
        if key in known:
            return None
        if tuple(str(part) for part in key) in later:
            return AFTER_CUT, "its prescription is later"
        return "no prescription of this version", f"cycle {key[1]}, version {key[2]}"

    sheets["forecasts"].take_out(reason)


def _missing_files(dataset: Dataset) -> list[Finding]:
    stated = {entry["name"] for entry in dataset.snapshot.get("files", ())}
    wanted = [name for name in TABLES if name not in NOT_ANALYSED]
    gone = [name for name in wanted if stated and f"{name}.csv" not in stated]
    found = [Finding("file missing", name, (), f"{name}.csv is not in the snapshot") for name in gone]
    for name in wanted:
        rows = dataset.tables.get(name, ())
        absent = [column for column in TABLES[name].others if rows and column not in rows[0]]
        found += [Finding("column missing", name, (), f"{name}.csv has no column {column}") for column in absent]
    return found


def _account(sheets: Mapping[str, Sheet], findings: tuple[Finding, ...]) -> Accounting:
    counts = tuple(TableCount(s.name, s.read, len(s.rows), len(s.listed)) for s in sheets.values())
    wrong = [c for c in counts if c.read != c.used + c.listed]
    if wrong:
        raise AssertionError(f"rows of {wrong[0].table} are neither used nor listed: {wrong[0]}")
    listed = sorted((item for s in sheets.values() for item in s.listed), key=lambda item: (item.table, item.row))
    own = tuple(finding for s in sheets.values() for finding in s.findings)
    return Accounting(counts, tuple(listed), (*own, *findings))
