"""Laboratory values: rows of text to checked records, and the baseline among them.

Columns: analyte, taken_at, value, unit; optional subject_id, sample_id, visit, qualifier, lln, uln, missing_reason.
Limits of normal are in the unit of their row. Not here: grading (`lutetia.clinical.ctcae`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from lutetia.clinical.analytes import analytes, canonical_analyte, unit_factor
from lutetia.core.chain import Doubt
from lutetia.core.clock import first_instant, localise
from lutetia.errors import InputError, LutetiaError

COLUMNS = (
    "subject_id",
    "sample_id",
    "analyte",
    "taken_at",
    "visit",
    "qualifier",
    "value",
    "unit",
    "lln",
    "uln",
    "missing_reason",
)
QUALIFIERS = ("", "=", "<", ">")
_SHOWN_ERRORS = 20


@dataclass(frozen=True, slots=True)
class LabValue:
    """One laboratory value in the unit used inside.

    `value` is None when missing. With `qualifier` ``<`` it is half the lower limit of quantification that was entered;
    with ``>`` the limit itself. `has_time` is False where only the day is known (then `taken_at` is its first minute).
    """

    analyte: str
    value: Decimal | None
    unit: str
    taken_at: datetime
    lln: Decimal | None = None
    uln: Decimal | None = None
    qualifier: str = ""
    subject_id: str = ""
    sample_id: str = ""
    visit: str = ""
    missing_reason: str = ""
    has_time: bool = True

    @property
    def reported(self) -> str:
        """The value with unit as the laboratory reported it, such as ``< 5 U/L``; the half is for computing only."""
        if self.value is None:
            return self.missing_reason
        sign = f"{self.qualifier} " if self.qualifier else ""
        return f"{sign}{(self.value * reported_factor(self.qualifier)).normalize():f} {self.unit}".removesuffix(" 1")


def reported_factor(qualifier: str) -> int:
    """By how much a value is multiplied to be the number that was reported: with ``<`` it is half of the limit."""
    return 2 if qualifier == "<" else 1


def read_rows(rows: Iterable[Mapping[str, str]], where: str, *, zone: ZoneInfo | None = None) -> list[LabValue]:
    """Checked laboratory values from rows of text, in the order of the rows.

    Parameters
    ----------
    rows
        As from `csv.DictReader`; columns beyond the known ones are kept out, not refused.
    where
        Name of the table, with which every message begins.
    zone
        For times without offset; None refuses them.

    Raises
    ------
    InputError
        One line for each row that cannot be used, with its number (the header is row 1) and reason.
    """
    values: list[LabValue] = []
    problems: list[str] = []
    seen: dict[tuple[str, str, str], int] = {}
    for number, row in enumerate(rows, start=2):
        place = f"{where} row {number}"
        try:
            value = read_row(row, place, zone=zone)
        except LutetiaError as error:
            problems.append(str(error))
            continue
        key = (value.subject_id, value.sample_id or value.taken_at.isoformat(), value.analyte)
        if key in seen:
            problems.append(f"{place}: {value.analyte} of the same sample stands in row {seen[key]} already; keep one")
        seen[key] = number
        values.append(value)
    if problems:
        more = f"\n… and {len(problems) - _SHOWN_ERRORS} more rows" if len(problems) > _SHOWN_ERRORS else ""
        raise InputError("\n".join(problems[:_SHOWN_ERRORS]) + more)
    return values


def check_values(values: Sequence[LabValue]) -> tuple[Doubt, ...]:
    """Doubts about values outside their plausible range, which are most often in another unit than stated."""
    doubts = []
    for value in values:
        if value.value is None:
            continue
        low, high = analytes()[value.analyte].plausible
        if not low <= value.value <= high:
            found = f"{value.analyte} {value.value.normalize():f} {value.unit}"
            text = f"{found} is outside {low:f} to {high:f}; check its unit"
            doubts.append(Doubt("lab_implausible", text, where=value.taken_at.date().isoformat()))
    return tuple(doubts)


def baseline(
    values: Iterable[LabValue], analyte: str, *, first_start: datetime, within_days: float = 28
) -> LabValue | None:
    """Last value before the first administration, at most `within_days` old.

    A value of the same day whose time is not known counts as before.
    """
    earliest = first_start - timedelta(days=within_days)
    candidates = [v for v in values if v.analyte == analyte and v.value is not None and v.taken_at >= earliest]
    before = [v for v in candidates if v.taken_at < first_start or _same_day_without_time(v, first_start)]
    return max(before, key=lambda v: v.taken_at, default=None)


def _same_day_without_time(value: LabValue, moment: datetime) -> bool:
    return not value.has_time and value.taken_at.date() == moment.astimezone(value.taken_at.tzinfo).date()


def read_row(row: Mapping[str, str], place: str, *, zone: ZoneInfo | None = None) -> LabValue:
    """One checked laboratory value from one row of text; `place` begins every message, `zone` as in `read_rows`.

    Raises
    ------
    InputError, UnknownNameError
        For a missing column, an unknown analyte, unit or qualifier, a number or time that cannot be read, and limits of
        normal in the wrong order or of another unit than the row.
    """
    for column in ("analyte", "taken_at", "value", "unit"):
        if column not in row:
            raise InputError(f"{place}: the column {column!r} is missing; expected {', '.join(COLUMNS)}")
    text = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
    analyte = canonical_analyte(text["analyte"], where=place)
    moment, has_time = _moment(text["taken_at"], place, zone)
    qualifier = text.get("qualifier", "")
    if qualifier not in QUALIFIERS:
        raise InputError(f"{place}: qualifier: found {qualifier!r}; expected <, > or nothing")
    factor = unit_factor(analyte, text["unit"], where=place)
    amount, lln, uln = (_scaled(text.get(key, ""), factor, f"{place}: {key}") for key in ("value", "lln", "uln"))
    if lln is not None and uln is not None and lln >= uln:
        raise InputError(f"{place}: found lln {text['lln']} not below uln {text['uln']}")
    _check_limits(analyte, lln, uln, text, place)
    if amount is not None:
        amount = amount / reported_factor(qualifier)
    return LabValue(
        analyte=analyte,
        value=amount,
        unit=analytes()[analyte].unit,
        taken_at=moment,
        lln=lln,
        uln=uln,
        qualifier="" if qualifier == "=" else qualifier,
        subject_id=text.get("subject_id", ""),
        sample_id=text.get("sample_id", ""),
        visit=text.get("visit", ""),
        missing_reason=text.get("missing_reason", ""),
        has_time=has_time,
    )


def _check_limits(analyte: str, lln: Decimal | None, uln: Decimal | None, text: Mapping[str, str], place: str) -> None:
    """Refuse limits of normal that no laboratory prints in this unit: a grade by them would be wrong."""
    known = analytes()[analyte]
    for name, limit, (low, high) in (("lln", lln, known.lln), ("uln", uln, known.uln)):
        if limit is not None and not low <= limit <= high:
            raise InputError(
                f"{place}: {name}: found {text[name]} {text['unit']} for {known.label}; expected {low:f} to "
                f"{high:f} {known.unit}; are the limits of normal in another unit than the value? Convert them, or "
                "leave them out"
            )


def _moment(text: str, place: str, zone: ZoneInfo | None) -> tuple[datetime, bool]:
    """Aware time and whether the time of day was stated."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{place}: taken_at: found {text!r}; expected a time such as 2026-02-03T08:15:00+01:00"
        ) from error
    if zone is not None and len(text) <= len("2026-02-03"):
        return first_instant(moment, zone), False
    return localise(moment, zone, where=f"{place}: taken_at"), len(text) > len("2026-02-03")


def _scaled(text: str, factor: Decimal, place: str) -> Decimal | None:
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise InputError(f"{place}: found {text!r}; expected a number with a decimal point") from error
    if not number.is_finite() or number < 0:
        raise InputError(f"{place}: found {text!r}; expected a number ≥ 0")
    return number * factor
