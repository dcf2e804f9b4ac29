"""Laboratory values: import of a CSV file with a dry run, and single entry; both go through the same checks.

Each row is new, the same as stored, a change of a stored value (which needs a reason) or refused with its reason.
Plausibility and visit windows are soft: the value is stored and a query is opened. Not here: units and analytes
(`lutetia.clinical.analytes`), grades (`lutetia.clinical.ctcae`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from lutetia.clinical.analytes import analytes, canonical_unit
from lutetia.clinical.ctcae import grade_value, worst_grade
from lutetia.clinical.labs import COLUMNS, LabValue, baseline, check_values, read_row
from lutetia.clinical.transfusions import TRANSFUSED_ANALYTE
from lutetia.errors import InputError, LutetiaError, StaleRecordError
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.schema import canonical
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import (
    death_day,
    given_cycles,
    readable_labs,
    red_cell_days,
    site_zone,
    study_of,
)
from lutetia.workflow.edits import now_of, query_edits
from lutetia.workflow.entry_checks import SoftFinding
from lutetia.workflow.laboratory_file import FileRow, table_rows
from lutetia.workflow.missing import MISSING_CODES, missing_code
from lutetia.workflow.toxicity_records import indicated

NEW, SAME, CHANGED, REFUSED = "new", "same", "changed", "refused"
ROUNDING = Decimal("0.02")  # assumption: by so little, relative, one value differs in two units or laboratory systems
_PLAIN_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,20})?([eE][+-]?[0-9])?|\.[0-9]{1,20}")
_STORED = ("taken_at", "visit", "qualifier", "value", "unit", "lln", "uln", "missing_reason")


@dataclass(frozen=True, slots=True)
class ImportLabs:
    """A CSV file of laboratory values (columns of `lutetia.clinical.labs`) of subjects of any permitted site.

    `reason` is needed where stored values change; `skip_refused` stores the other rows although some are refused;
    `seen` is the `digest` of the dry run that the person saw, empty compares nothing.
    """

    content: bytes
    file_name: str
    reason: str | None = None
    skip_refused: bool = False
    seen: str = ""


@dataclass(frozen=True, slots=True)
class LabEntry:
    """One value of a form as the laboratory printed it, with its unit and limits of normal; may be ``<0.3``."""

    analyte: str
    value: str = ""
    unit: str = ""
    lln: str = ""
    uln: str = ""
    missing_reason: str = ""


@dataclass(frozen=True, slots=True)
class EnterLabs:
    """One sample of one subject, entered by hand.

    `versions` are those of the sample's stored values that the person saw, by analyte (none: there was none); None
    compares nothing.
    """

    subject_id: str
    taken_at: str
    entries: Sequence[LabEntry]
    sample_id: str = ""
    visit: str = ""
    reason: str | None = None
    versions: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class LabRow:
    """What the checks say of one row: `number` counts from 2 (the header is row 1), `values` is what is stored.

    `stored_version` is that of the record which the row repeats or changes, 0 where there is none.
    """

    number: int
    status: str
    reason: str
    subject_id: str
    analyte: str
    values: Mapping[str, Any]
    grade: int | None = None
    findings: tuple[str, ...] = ()
    stored_version: int = 0


@dataclass(frozen=True, slots=True)
class LabPreview:
    """The dry run of an import: every row of the file with its status."""

    rows: tuple[LabRow, ...]

    def count(self, status: str) -> int:
        """Number of rows with a status."""
        return sum(row.status == status for row in self.rows)

    @property
    def digest(self) -> str:
        """Hash of what would happen to each row, and to which version of the stored value."""
        rows = [[row.number, row.status, row.stored_version] for row in self.rows]
        return hashlib.sha256(canonical(rows).encode()).hexdigest()

    @property
    def refused(self) -> tuple[LabRow, ...]:
        """Rows that cannot be stored."""
        return tuple(row for row in self.rows if row.status == REFUSED)


@dataclass(frozen=True, slots=True)
class LabsStored:
    """What an import stored, and how many queries it opened."""

    preview: LabPreview
    queries: int
    receipt: Receipt


def preview_labs(trial: Trial, actor: Actor, command: ImportLabs) -> LabPreview:
    """Dry run of an import: what would happen to each row; writes nothing.

    Raises
    ------
    InputError
        If the file is no CSV table with the needed columns.
    """
    access.require(actor, "enter_data")
    rows = table_rows(command.content, command.file_name)
    with trial.read() as reader:
        return _checked(reader, actor, rows)


def import_labs(trial: Trial, actor: Actor, command: ImportLabs) -> LabsStored:
    """Store the rows of a file, all or none; refused rows are left out only where the command says so.

    Raises
    ------
    InputError
        If rows are refused: one line for each of them.
    ReasonRequiredError
        If stored values would change and no reason is given.
    StaleRecordError
        If something else would happen than in the dry run that the person saw.
    """
    access.require(actor, "enter_data")
    rows = table_rows(command.content, command.file_name)

    def change(reader: Reader) -> Change:
        preview = _checked(reader, actor, rows)
        if command.seen not in ("", preview.digest):
            raise StaleRecordError(f"{command.file_name}: stored values changed since the dry run; look at it again")
        return _change(reader, preview, "import_labs", skip_refused=command.skip_refused)

    return _stored(trial.commit(change, actor, command.reason))


def enter_labs(trial: Trial, actor: Actor, command: EnterLabs) -> LabsStored:
    """Store one sample entered by hand; the checks are those of the import.

    Raises
    ------
    InputError
        If a value cannot be stored: one line for each.
    ReasonRequiredError
        If a stored value would change and no reason is given.
    StaleRecordError
        If a value that would change is another one than the person saw.
    """
    access.require(actor, "enter_data")
    head = {"subject_id": command.subject_id, "sample_id": command.sample_id, "taken_at": command.taken_at,
            "visit": command.visit}  # fmt: skip
    entered = [head | {name: str(getattr(entry, name)) for name in LabEntry.__slots__} for entry in command.entries]
    if not entered:
        raise InputError("laboratory values: found none; enter at least one, or say why it is missing")
    rows = [FileRow(number, row) for number, row in enumerate(entered, start=2)]

    def change(reader: Reader) -> Change:
        preview = _checked(reader, actor, rows)
        _refuse_stale(preview, command.versions)
        return _change(reader, preview, "enter_labs", skip_refused=False)

    return _stored(trial.commit(change, actor, command.reason))


def _refuse_stale(preview: LabPreview, versions: Mapping[str, int] | None) -> None:
    """Refuse a form of which a value was stored or changed since the person opened it."""
    for row in preview.rows if versions is not None else ():
        if row.status in (NEW, CHANGED) and row.stored_version != (versions or {}).get(row.analyte, 0):
            where = f"sample {row.values['sample_id']}, {row.analyte}"
            raise StaleRecordError(f"{where}: somebody stored another value since you opened the form; compare both")


def _change(reader: Reader, preview: LabPreview, action: str, *, skip_refused: bool) -> Change:
    """The edits of a dry run; `result` is the preview and the number of queries."""
    if preview.refused and not skip_refused:
        lines = [f"row {r.number}: {r.reason}" for r in preview.refused]
        more = [] if len(lines) <= 20 else [f"… and {len(lines) - 20} more"]
        raise InputError("\n".join(["laboratory values: nothing was stored", *lines[:20], *more]))
    edits: list[Edit] = []
    asked = 0
    for row in preview.rows:
        made, queries = _row_edits(reader, row, asked)
        edits += made
        asked += queries
    return Change(action, [*edits, *_visits_done(reader, preview)], result=(preview, asked))


def _stored(receipt: Receipt) -> LabsStored:
    preview, asked = receipt.result
    return LabsStored(preview, asked, receipt)


def _visits_done(reader: Reader, preview: LabPreview) -> list[Edit]:
    """Visits after an infusion whose window holds a new sample are done."""
    days: dict[str, set[str]] = {}
    for row in preview.rows:
        if row.status == NEW and row.values["value"] is not None:
            days.setdefault(row.subject_id, set()).add(row.values["taken_at"][:10])
    return [
        Update("visits", int(v["record_id"]), {"state": "DONE", "done_on": min(found)})
        for subject_id, taken in days.items()
        for v in reader.records("visits", subject_id=subject_id, state="PLANNED")
        if v["visit"] != f"cycle {v['cycle']}"
        and (found := [d for d in taken if v["window_from_on"] <= d <= v["window_to_on"]])
    ]


def _row_edits(reader: Reader, row: LabRow, asked: int) -> tuple[list[Edit], int]:
    if row.status not in (NEW, CHANGED):
        return [], 0
    key = {k: row.values[k] for k in ("subject_id", "sample_id", "analyte")}
    edit: Edit = Create("labs", row.values)
    if row.status == CHANGED:
        edit = Update("labs", key, {k: v for k, v in row.values.items() if k not in key}, row.stored_version)
    findings = [SoftFinding("value", text) for text in row.findings]
    site = reader.record("subjects", {"subject_id": row.subject_id})["site"] if findings else ""
    queries = query_edits(reader, findings, subject_id=row.subject_id, site=site, table="labs", values=row.values,
                          after=asked)  # fmt: skip
    return [edit, *queries], len(findings)


@dataclass(frozen=True, slots=True)
class _Context:
    """What the rows of one subject are checked against."""

    subject: Record
    zone: ZoneInfo | None
    stored: Mapping[tuple[str, str], Record]
    visits: Mapping[str, Record]
    ended: str | None
    first_start: datetime | None
    values: Sequence[LabValue]
    red_cells: Sequence[date]


def _checked(reader: Reader, actor: Actor, rows: Iterable[FileRow]) -> LabPreview:
    contexts: dict[str, _Context | str] = {}
    seen: dict[tuple[str, str, str], tuple[int, LabValue]] = {}
    version = str((study_of(reader)["settings"] or {}).get("ctcae", "5.0"))
    found = []
    for line in rows:
        subject_id, analyte = line.values.get("subject_id", "").strip(), line.values.get("analyte", "")
        if subject_id not in contexts:
            contexts[subject_id] = _context(reader, actor, subject_id)
        context = contexts[subject_id]
        reason = line.problem or (context if isinstance(context, str) else "")
        if reason or isinstance(context, str):
            found.append(LabRow(line.number, REFUSED, reason, subject_id, analyte, {}))
            continue
        try:
            found.append(_checked_row(line.values, line.number, context, seen, now=now_of(reader), version=version))
        except LutetiaError as error:
            found.append(LabRow(line.number, REFUSED, str(error).removeprefix(": "), subject_id, analyte, {}))
    return LabPreview(tuple(found))


def _context(reader: Reader, actor: Actor, subject_id: str) -> _Context | str:
    """The subject's records, or why its rows are refused."""
    subject = reader.find("subjects", {"subject_id": subject_id}) if subject_id else None
    if subject is None:
        return f"subject {subject_id!r}: is not in this trial; check the number"
    if not access.may(actor, "enter_data", subject["site"]):
        return f"subject {subject_id}: is of another site; only its own site enters its data"
    given = given_cycles(reader, subject_id)
    return _Context(
        subject=subject,
        zone=site_zone(reader, subject["site"]),
        stored={(r["sample_id"], r["analyte"]): r for r in reader.records("labs", subject_id=subject_id)},
        visits={r["visit"]: r for r in reader.records("visits", subject_id=subject_id)},
        ended=death_day(reader, subject_id),
        first_start=given[0].start if given else None,
        values=readable_labs(reader, subject_id)[0],
        red_cells=red_cell_days(reader, subject_id),
    )


def _checked_row(
    row: Mapping[str, str], number: int, context: _Context, seen: dict[tuple[str, str, str], tuple[int, LabValue]], *,
    now: datetime, version: str,
) -> LabRow:  # fmt: skip
    plain = _plain(row)
    value = read_row(plain, "", zone=context.zone)
    _check_digits(plain)
    _check_moment(value, context, now)
    values = _stored_values(plain, value, context.subject["subject_id"])
    key = (values["subject_id"], values["sample_id"], values["analyte"])
    if key in seen:
        raise InputError(f"{value.analyte} of sample {values['sample_id']} is in row {seen[key][0]} already; keep one")
    others = [*context.values, *(other for (subject, _, _), (_, other) in seen.items() if subject == key[0])]
    seen[key] = (number, replace(value, sample_id=values["sample_id"]))
    grade = _grade(value, context, version)
    values["further"] = {"ctcae": version, "grade_at_entry": grade} if grade is not None else None
    findings = [d.message for d in check_values([value])] + _window_findings(value, plain, context)
    findings += _contradictions(value, values["sample_id"], others)
    status, reason = _against_stored(values, context)
    stored = context.stored.get((values["sample_id"], values["analyte"]))
    version_then = 0 if stored is None else int(stored["record_version"])
    return LabRow(number, status, reason, key[0], value.analyte, values, grade, tuple(findings), version_then)


def _plain(row: Mapping[str, str]) -> dict[str, str]:
    """The row with ``<0.3`` split into qualifier and value, and a missing value explained by a known code."""
    plain = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if plain["value"][:1] in ("<", ">") and not plain["qualifier"]:
        plain["qualifier"], plain["value"] = plain["value"][0], plain["value"][1:].strip()
    plain["missing_reason"] = missing_code(plain["missing_reason"]) if plain["missing_reason"] else ""
    if plain["value"] and plain["missing_reason"] and plain["missing_reason"] != "below detection":
        raise InputError(f"value: found {plain['value']!r} and the reason {plain['missing_reason']!r}; keep one")
    if not plain["value"]:
        if not plain["missing_reason"]:
            raise InputError(f"value: is missing; enter it, or one of {', '.join(MISSING_CODES)} as missing_reason")
        plain["unit"] = plain["unit"] or analytes_unit(plain["analyte"])
    return plain


def _check_digits(plain: Mapping[str, str]) -> None:
    """Values are kept as text, so that the text itself has to be a number for every program that reads it."""
    for name in ("value", "lln", "uln"):
        if plain[name] and not _PLAIN_NUMBER.fullmatch(plain[name]):
            raise InputError(f"{name}: found {plain[name]!r}; expected plain digits such as 4.1")


def analytes_unit(name: str) -> str:
    """The unit used inside for an analyte, for rows without a value; empty for an unknown name."""
    found = analytes().get(name.strip().lower())
    return found.unit if found is not None else ""


def _check_moment(value: LabValue, context: _Context, now: datetime) -> None:
    if value.taken_at > now:
        zone = context.zone or value.taken_at.tzinfo
        found, present = (m.astimezone(zone).strftime("%Y-%m-%d %H:%M") for m in (value.taken_at, now))
        raise InputError(f"taken_at: found {found}, in the future; it is now {present}")
    day = (value.taken_at.astimezone(context.zone) if value.has_time else value.taken_at).date().isoformat()
    if context.ended is not None and day > context.ended:
        raise InputError(f"taken_at: found {day}, after the subject died on {context.ended}; check the date")
    if day < "1990":
        raise InputError(f"taken_at: found {day}; check the year")


def _stored_values(plain: Mapping[str, str], value: LabValue, subject_id: str) -> dict[str, Any]:
    """The row as it is stored: value, unit and limits as the laboratory printed them."""
    moment = value.taken_at.astimezone(UTC).isoformat() if value.has_time else value.taken_at.date().isoformat()
    sample = plain["sample_id"] or sample_of(moment)
    return {
        "subject_id": subject_id, "sample_id": sample, "analyte": value.analyte, "taken_at": moment,
        "visit": plain["visit"] or None, "qualifier": value.qualifier or None, "value": plain["value"] or None,
        "unit": plain["unit"] or value.unit, "lln": plain["lln"] or None, "uln": plain["uln"] or None,
        "missing_reason": plain["missing_reason"] or None,
    }  # fmt: skip


def sample_of(moment: str) -> str:
    """The name of a sample without number: its time in UTC."""
    return f"T{moment[:16].replace('-', '').replace(':', '')}"


def _grade(value: LabValue, context: _Context, version: str) -> int | None:
    if value.value is None:
        return None
    start = None
    if context.first_start is not None and value.taken_at >= context.first_start:
        known = baseline(context.values, value.analyte, first_start=context.first_start)
        start = None if known is None else known.value
    grades = grade_value(value.analyte, value.value, lln=value.lln, uln=value.uln, baseline=start,
                         transfused=_transfused(value, context), version=version)  # fmt: skip
    return worst_grade(grades)


def _transfused(value: LabValue, context: _Context) -> bool:
    """Whether red cells were given because of this value, as far as they are recorded."""
    if value.analyte != TRANSFUSED_ANALYTE or not context.red_cells:
        return False
    others = [v for v in context.values if v.sample_id != value.sample_id]
    zone = context.zone or ZoneInfo("UTC")
    found = indicated([*others, value], context.red_cells, zone=zone, first_start=context.first_start)
    return any(t.value is value for t in found)


def _window_findings(value: LabValue, plain: Mapping[str, str], context: _Context) -> list[str]:
    day = value.taken_at.date().isoformat()
    entered = context.subject["randomised_on"] or ""
    visit = context.visits.get(plain["visit"])
    if visit is not None and visit["window_from_on"] and not visit["window_from_on"] <= day <= visit["window_to_on"]:
        span = f"{visit['window_from_on']} to {visit['window_to_on']}"
        return [f"taken on {day}, outside of the window of {plain['visit']} ({span}); is the visit right?"]
    if entered and day < entered and (datetime.fromisoformat(entered) - datetime.fromisoformat(day)).days > 60:
        return [f"taken on {day}, more than 60 days before randomisation; is the date right?"]
    return []


def _contradictions(value: LabValue, sample_id: str, others: Iterable[LabValue]) -> list[str]:
    """Another value of the analyte at the same time of day, under another sample's name; the last one is named."""
    twins = [o for o in others if o.analyte == value.analyte and o.taken_at == value.taken_at and o.has_time]
    other = next((o for o in reversed(twins) if o.sample_id != sample_id and o.value is not None), None)
    if value.value is None or not value.has_time or other is None or other.value is None:
        return []
    if abs(value.value - other.value) <= ROUNDING * max(value.value, other.value):
        return []
    return [f"{value.analyte} {value.reported} at the same time as {other.reported} of sample {other.sample_id}; "
            "which one is right?"]  # fmt: skip


def _against_stored(values: Mapping[str, Any], context: _Context) -> tuple[str, str]:
    stored = context.stored.get((values["sample_id"], values["analyte"]))
    if stored is None:
        return NEW, ""
    differing = [n for n in _STORED if not _equal(stored[n], values[n], unit=n == "unit")]
    if not differing:
        return SAME, "is stored already"
    name = differing[0]
    was, now = (_said(name, row[name], context.zone) for row in (stored, values))
    return CHANGED, f"{name}: stored is {was}, found {now}; a change needs a reason"


def _said(name: str, text: str | None, zone: ZoneInfo | None) -> str:
    """A stored text as people read it: a time is local, to the minute."""
    if name == "taken_at" and text and len(text) > len("2026-02-03"):
        return datetime.fromisoformat(text).astimezone(zone or UTC).strftime("%Y-%m-%d %H:%M")
    return repr(text) if text else "nothing"


def _equal(stored: str | None, entered: str | None, *, unit: bool = False) -> bool:
    """Whether two texts say the same; numbers are compared as decimals, so that 4.10 is 4.1, units by their meaning."""
    if not stored or not entered:
        return (stored or None) == (entered or None)
    if unit:
        return canonical_unit(stored) == canonical_unit(entered)
    try:
        return Decimal(stored) == Decimal(entered)
    except InvalidOperation:
        return stored == entered
