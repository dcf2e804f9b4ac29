"""Laboratory values of one subject for reading: with their grades, and what an entry form needs to know beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lutetia.clinical.analytes import analytes, canonical_unit
from lutetia.clinical.ctcae import grade_value, worst_grade
from lutetia.clinical.labs import LabValue, baseline, reported_factor
from lutetia.report.document import plain
from lutetia.report.numbers import given_number
from lutetia.report.numbers import unit as typeset_unit
from lutetia.trial.reader import Reader, Record
from lutetia.workflow.course_records import given_cycles, readable_labs, study_of
from lutetia.workflow.toxicity_records import transfusions


@dataclass(frozen=True, slots=True)
class GradedValue:
    """One value in the unit used inside, as it was reported: with `qualifier` ``<`` or ``>`` the limit itself.

    `grade` is None where a missing limit or baseline leaves it open.
    """

    analyte: str
    sample_id: str
    taken_at: datetime
    value: float
    unit: str
    lln: float | None
    uln: float | None
    qualifier: str
    grade: int | None


@dataclass(frozen=True, slots=True)
class AnalyteLine:
    """One row of the entry form: name, label, and unit and limits as the laboratory printed them last."""

    analyte: str
    label: str
    unit: str
    lln: str
    uln: str


def graded_values(reader: Reader, subject_id: str) -> dict[str, list[GradedValue]]:
    """Values of a subject by analyte, in time order, with CTCAE grades of the trial's version.

    Grades are recomputed as at entry: multiples of the baseline count from the first administration on, and red cells
    make the value that led to them grade 3. Stored rows that are not understood are left out: `strange_rows` lists
    them.
    """
    version = str((study_of(reader)["settings"] or {}).get("ctcae", "5.0"))
    values = readable_labs(reader, subject_id)[0]
    given = given_cycles(reader, subject_id)
    start = given[0].start if given else None
    found: dict[str, list[GradedValue]] = {name: [] for name in analytes()}
    starts = {name: _baseline(values, name, start) for name in {v.analyte for v in values}}
    transfused = [t.value for t in transfusions(reader, subject_id)]
    for value in sorted(values, key=lambda v: v.taken_at):
        before = starts[value.analyte] if start is not None and value.taken_at >= start else None
        found[value.analyte].append(_graded(value, before, version, transfused=value in transfused))
    return {name: rows for name, rows in found.items() if rows}


def strange_rows(reader: Reader, subject_id: str) -> list[tuple[Record, str]]:
    """Stored rows of laboratory values that are not understood, each with the reason."""
    return readable_labs(reader, subject_id)[1]


def analyte_labels() -> dict[str, str]:
    """Words for each analyte, in the order of forms."""
    return {name: known.label for name, known in analytes().items()}


def unit_text(unit: str | None) -> str:
    """A unit as people write it, ``10⁹/L`` or ``µmol/L``; nothing for a ratio."""
    return "" if unit in (None, "", "1") else plain(typeset_unit(canonical_unit(str(unit))))


def lab_number(value: float, qualifier: str) -> str:
    """A laboratory value as it was reported: ``< 5`` where it is below quantification."""
    return f"{qualifier} {given_number(value)}" if qualifier in ("<", ">") else given_number(value)


def decided_number(row: Mapping[str, Any]) -> str:
    """A value as it was reported, of the record of a decision, which holds the number that it was computed with."""
    qualifier = str(row.get("qualifier", ""))
    return lab_number(float(row["value"]) * reported_factor(qualifier), qualifier)


def entry_lines(reader: Reader, subject_id: str) -> list[AnalyteLine]:
    """One line an analyte; unit and limits of normal are those of the subject's last sample that has them."""
    last: dict[str, Record] = {}
    for row in sorted(reader.records("labs", subject_id=subject_id), key=lambda r: str(r["taken_at"])):
        if row["value"] is not None:
            last[row["analyte"]] = row
    return [AnalyteLine(name, known.label, *_printed(last.get(name), known.unit)) for name, known in analytes().items()]


def _printed(row: Mapping[str, str | None] | None, unit: str) -> tuple[str, str, str]:
    if row is None:
        return unit, "", ""
    return row["unit"] or unit, row["lln"] or "", row["uln"] or ""


def _baseline(values: list[LabValue], analyte: str, start: datetime | None) -> LabValue | None:
    return None if start is None else baseline(values, analyte, first_start=start)


def _graded(value: LabValue, known: LabValue | None, version: str, *, transfused: bool) -> GradedValue:
    before = known.value if known is not None else None
    assert value.value is not None
    grades = grade_value(value.analyte, value.value, lln=value.lln, uln=value.uln, baseline=before,
                         transfused=transfused, version=version)  # fmt: skip
    return GradedValue(
        value.analyte, value.sample_id, value.taken_at,
        float(value.value * reported_factor(value.qualifier)), value.unit,
        None if value.lln is None else float(value.lln), None if value.uln is None else float(value.uln),
        value.qualifier, worst_grade(grades),
    )  # fmt: skip
