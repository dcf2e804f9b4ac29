"""Cells of text to typed values, and rows of one table to typed rows, each used or listed with its reason.

Not here: what rows of different tables say about each other (`lutetia.safety.reading`).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from lutetia.clinical.labs import read_row
from lutetia.core.regions import canonical_region
from lutetia.dataset.folder import SURPLUS, Row
from lutetia.dataset.tables import TABLES
from lutetia.errors import LutetiaError, UnknownNameError
from lutetia.safety.schema import ColumnKind, Schema

FIRST_ROW = 2
_WHOLE = re.compile(r"\d{1,6}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_PARTIAL = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?")
_YEARS = (1900, 2200)
_LARGEST = 1e9  # no quantity of the tables comes near; far larger ones are slips of the keyboard and overflow
_WORDS = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Listed:
    """A row that the analysis does not use: where it stands, its key, why, and what was found."""

    table: str
    row: int
    key: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A doubt about data that are used, or missing data: its kind, table, rows and what was found."""

    kind: str
    table: str
    rows: tuple[int, ...]
    text: str


@dataclass(slots=True)
class Sheet:
    """Rows of one table while they are read: `rows` are used so far (each with its number as `row`)."""

    name: str
    read: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def take_out(self, reason_of: Callable[[dict[str, Any]], tuple[str, str] | None]) -> None:
        """List every row for which a reason and a detail are given, and go on without it."""
        kept = []
        for row in self.rows:
            found = reason_of(row)
            if found is None:
                kept.append(row)
            else:
                self.listed.append(Listed(self.name, row["row"], key_text(self.name, row), *found))
        self.rows = kept


class _UnreadableError(Exception):
    """A cell that cannot be read; its text says what was expected."""


def read_sheet(name: str, rows: Sequence[Row], schema: Schema, *, zone: ZoneInfo | None) -> Sheet:
    """Typed rows of one table; what cannot be read is listed (whole rows) or noted (single cells)."""
    sheet = Sheet(name, len(rows))
    for number, row in enumerate(rows, start=FIRST_ROW):
        if SURPLUS in row:
            sheet.listed.append(Listed(name, number, key_text(name, row), "more cells than the header", ""))
            continue
        try:
            typed, notes = _typed_row(row, schema.columns, zone)
        except _UnreadableError as error:
            sheet.listed.append(Listed(name, number, key_text(name, row), "cannot be read", str(error)))
            continue
        sheet.findings += [Finding("value not readable, taken as missing", name, (number,), note) for note in notes]
        sheet.rows.append({"row": number, **typed})
    _take_out_repeats(sheet, rows)
    return sheet


def read_labs(rows: Sequence[Row], *, zone: ZoneInfo | None) -> Sheet:
    """Laboratory values in the unit used inside; rows without a value are listed with their reason."""
    sheet = Sheet("labs", len(rows))
    for number, row in enumerate(rows, start=FIRST_ROW):
        if SURPLUS in row:
            sheet.listed.append(Listed("labs", number, key_text("labs", row), "more cells than the header", ""))
            continue
        try:
            typed = _typed_lab(row, zone)
        except (LutetiaError, _UnreadableError, ArithmeticError) as error:
            reason = "unknown name" if isinstance(error, UnknownNameError) else "cannot be read"
            sheet.listed.append(Listed("labs", number, key_text("labs", row), reason, str(error) or "number too large"))
            continue
        sheet.rows.append({"row": number, **typed})
    _take_out_repeats(sheet, rows)
    sheet.take_out(
        lambda row: ("no value", row["missing_reason"] or "no reason given") if row["exact"] is None else None
    )
    return sheet


def key_text(name: str, row: Mapping[str, Any]) -> str:
    """The key of a row as text, its parts joined by a slash."""
    keys = TABLES[name].keys
    return "/".join(str(row.get(f"{column}_text", row.get(column, ""))) for column in keys)


def _typed_row(row: Row, columns: Sequence[ColumnKind], zone: ZoneInfo | None) -> tuple[dict[str, Any], list[str]]:
    typed: dict[str, Any] = {}
    notes = []
    for column in columns:
        text = (row.get(column.name) or "").strip()
        try:
            if column.essential and not text:
                raise _UnreadableError("found nothing")
            typed |= _typed(column, text, zone)
        except _UnreadableError as error:
            if column.essential:
                raise _UnreadableError(f"{column.name}: {error}") from error
            notes.append(f"{column.name}: {error}")
            typed |= _typed(column, "", zone)
    return typed, notes


def _typed(column: ColumnKind, text: str, zone: ZoneInfo | None) -> dict[str, Any]:
    """The values of one cell; times and partial dates give two."""
    name = column.name
    if column.kind == "at":
        moment = _moment(text, zone) if text else None
        day = moment.date() if moment else None
        return {name: moment and moment.astimezone(UTC), name.removesuffix("_at") + "_day": day}
    if column.kind == "partial":
        first, last = _partial(text) if text else (None, None)
        return {name: first, f"{name}_last": last, f"{name}_text": text}
    if column.kind == "text" and name == "region":
        return {name: _region(text)}
    return {name: _READERS.get(column.kind, _word)(text, column.kind)}


def _word(text: str, kind: str) -> str:
    if text and text not in kind.split("|"):
        raise _UnreadableError(f"found {text!r}; expected {', '.join(kind.split('|'))}")
    return text


def _whole(text: str, kind: str) -> int | None:
    if text and not _WHOLE.fullmatch(text):
        raise _UnreadableError(f"found {text!r}; expected a whole number")
    if text and kind == "ordinal" and int(text) == 0:
        raise _UnreadableError(f"found {text!r}; expected a number from 1")
    return int(text) if text else None


def _grade(text: str, kind: str) -> int | None:
    if text and text not in ("1", "2", "3", "4", "5"):
        raise _UnreadableError(f"found {text!r}; expected a grade from 1 to 5")
    return int(text) if text else None


def _number(text: str, kind: str) -> float | None:
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or abs(float(text)) > _LARGEST or (kind == "amount" and float(text) < 0):
        raise _UnreadableError(f"found {text!r}; expected a number{' ≥ 0' if kind == 'amount' else ''}")
    return float(text)


def _yes_no(text: str, kind: str) -> bool | None:
    if text and text not in _WORDS:
        raise _UnreadableError(f"found {text!r}; expected yes or no")
    return _WORDS.get(text)


def _day(text: str, kind: str) -> date | None:
    if not text:
        return None
    first, last = _partial(text)
    if first != last:
        raise _UnreadableError(f"found {text!r}; expected a day such as 2026-05-03")
    return first


def _moment(text: str, zone: ZoneInfo | None) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _UnreadableError(f"found {text!r}; expected a time such as 2026-02-03T08:15:00+01:00") from error
    _check_year(moment.year, text)
    if moment.tzinfo is None:
        if zone is None:
            raise _UnreadableError(f"found {text!r}; expected a time with offset, such as 2026-02-03T08:15:00+01:00")
        moment = moment.replace(tzinfo=zone)
    return moment


def _partial(text: str) -> tuple[date, date]:
    """First and last day that a day, month or year can mean."""
    match = _PARTIAL.fullmatch(text)
    if match is None:
        raise _UnreadableError(f"found {text!r}; expected a day, month or year such as 2026-05-03, 2026-05 or 2026")
    year, month, day = (int(part) if part else 0 for part in match.groups())
    _check_year(year, text)
    try:
        first = date(year, month or 1, day or 1)
        last_month = month or 12
        return first, date(year, last_month, day or monthrange(year, last_month)[1])
    except (ValueError, IndexError) as error:
        raise _UnreadableError(f"found {text!r}, which is no day of the calendar") from error


def _check_year(year: int, text: str) -> None:
    if not _YEARS[0] <= year <= _YEARS[1]:
        raise _UnreadableError(f"found {text!r}; expected a year from {_YEARS[0]} to {_YEARS[1]}")


def _region(text: str) -> str:
    """Canonical name; a region that the table of organs does not know keeps its own."""
    try:
        return canonical_region(text)
    except UnknownNameError:
        return text


_READERS: dict[str, Callable[[str, str], Any]] = {
    "text": lambda text, kind: text,
    "whole": _whole,
    "ordinal": _whole,
    "grade": _grade,
    "number": _number,
    "amount": _number,
    "yes_no": _yes_no,
    "on": _day,
}


def _typed_lab(row: Row, zone: ZoneInfo | None) -> dict[str, Any]:
    text = (row.get("taken_at") or "").strip()
    value = read_row(row, "labs", zone=ZoneInfo("UTC") if len(text) <= len("2026-02-03") else zone)
    _check_year(value.taken_at.year, text)
    if not value.subject_id:
        raise _UnreadableError("subject_id: found nothing")
    return {
        "subject_id": value.subject_id,
        "sample_id": value.sample_id,
        "analyte": value.analyte,
        "taken_at": value.taken_at.astimezone(UTC),
        "taken_day": value.taken_at.date(),
        "has_time": value.has_time,
        "visit_entered": value.visit,
        "qualifier": value.qualifier,
        "below_loq": value.qualifier == "<",
        "value": _float(value.value),
        "lln": _float(value.lln),
        "uln": _float(value.uln),
        "unit": value.unit,
        "exact": value.value,
        "exact_lln": value.lln,
        "exact_uln": value.uln,
        "missing_reason": value.missing_reason,
    }


def _float(value: Decimal | None) -> float | None:
    if value is not None and not abs(float(value)) <= _LARGEST:
        raise _UnreadableError(f"found {float(value):g}; expected a number of ordinary size, at most {_LARGEST:g}")
    return None if value is None else float(value)


def _take_out_repeats(sheet: Sheet, rows: Sequence[Row]) -> None:
    """A row that repeats another is listed; rows of one key that contradict each other are all listed."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row in sheet.rows:
        groups.setdefault(_key(sheet.name, row), []).append(row["row"])
    reasons: dict[int, tuple[str, str]] = {}
    for numbers in groups.values():
        if len(numbers) == 1:
            continue
        if all(rows[n - FIRST_ROW] == rows[numbers[0] - FIRST_ROW] for n in numbers):
            reasons |= dict.fromkeys(numbers[1:], ("repeats another row", f"row {numbers[0]}"))
        else:
            stand = ", ".join(str(n) for n in numbers)
            reasons |= dict.fromkeys(numbers, ("contradicts a row of the same key", f"rows {stand}"))
    sheet.take_out(lambda row: reasons.get(row["row"]))


def _key(name: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    key = tuple(row[column] for column in TABLES[name].keys)
    return (*key, row["taken_at"]) if name == "labs" and not row["sample_id"] else key
