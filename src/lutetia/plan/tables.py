"""The CSV tables of a case: regions, blood, whole body and entered doses; every bad row is named with its reason."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutetia.core.regions import canonical_region
from lutetia.errors import CaseError
from lutetia.nuclear.nuclides import canonical_nuclide

MAX_TABLE_BYTES = 20_000_000
MARROW_METHODS = ("blood", "image")
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value at one time; `region` is "blood" or "whole body" for their tables."""

    region: str
    time_h: float
    value: float
    sd: float | None


@dataclass(frozen=True, slots=True)
class EnteredDose:
    """Dose of a cycle that is known only by its result."""

    region: str
    nuclide: str
    absorbed_dose_Gy: float
    absorbed_dose_sd_Gy: float | None
    bed_Gy: float | None
    method: str


def read_rows(
    path: Path, *, required: tuple[str, ...], optional: tuple[str, ...] = (), where: str, extra: bool = False
) -> list[Row]:
    """Rows of a CSV file with a header, stripped; refuses missing columns, short or long rows, and unknown columns

    unless `extra` says that the format lets a file carry more.
    """
    if not path.is_file():
        raise CaseError(
            f"{where}: found no file {path.name}; check the path in case.toml (it is relative to the case file)"
        )
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise CaseError(
            f"{where}, {path.name}: larger than {MAX_TABLE_BYTES // 1_000_000} MB; expected a small CSV table"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise CaseError(f"{where}, {path.name}: cannot be read ({error.strerror}); check the file") from error
    except UnicodeDecodeError as error:
        raise CaseError(f"{where}, {path.name}: not UTF-8 text; save the table as CSV (UTF-8)") from error
    kept = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    reader = csv.DictReader(kept, strict=True)
    columns = [c.strip() for c in _header(reader, f"{where}, {path.name}")]
    reader.fieldnames = columns
    _check_columns(columns, required, tuple(columns) if extra else optional, f"{where}, {path.name}")
    rows: list[Row] = []
    for number, row in enumerate(_whole_rows(reader, f"{where}, {path.name}"), start=1):
        if None in row or None in row.values():
            raise CaseError(f"{where}, {path.name} row {number}: expected {len(columns)} values separated by commas")
        rows.append({name: (value or "").strip() for name, value in row.items()})
    if not rows:
        raise CaseError(f"{where}, {path.name}: the table has no rows")
    return rows


def _header(reader: csv.DictReader[str], where: str) -> Sequence[str]:
    try:
        return reader.fieldnames or []
    except csv.Error as error:
        raise CaseError(f"{where}: the header is not CSV ({error}); save the table again as CSV") from error


def _whole_rows(reader: csv.DictReader[str], where: str) -> Iterator[dict[str | Any, str | Any]]:
    try:
        yield from reader
    except csv.Error as error:
        raise CaseError(
            f"{where} row {reader.line_num - 1}: not CSV ({error}); check its quotes and commas there"
        ) from error


def _check_columns(columns: list[str], required: tuple[str, ...], optional: tuple[str, ...], where: str) -> None:
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise CaseError(f"{where}: the column {', '.join(twice)} is there twice; keep one")
    if missing := [c for c in required if c not in columns]:
        raise CaseError(f"{where}: missing column {', '.join(missing)}; expected {','.join(required + optional)}")
    if unknown := [c for c in columns if c not in required + optional]:
        hint = "activities are in MBq and times in hours; other units are not converted here"
        raise CaseError(
            f"{where}: unknown column {', '.join(unknown)}; expected {','.join(required + optional)} ({hint})"
        )


def number(text: str, *, where: str, minimum: float | None = None, above: float | None = None) -> float:
    """A finite number from a table cell, with its bounds checked."""
    try:
        value = float(text)
    except ValueError as error:
        hint = " (use a decimal point)" if "," in text else ""
        raise CaseError(f"{where}: found {text!r}; expected a number{hint}") from error
    if not math.isfinite(value):
        raise CaseError(f"{where}: found {text!r}; expected a finite number; leave out rows that were not measured")
    if minimum is not None and value < minimum:
        raise CaseError(f"{where}: found {text}; expected at least {minimum:g}")
    if above is not None and value <= above:
        raise CaseError(f"{where}: found {text}; expected more than {above:g}")
    return value


def _optional(row: Row, column: str, *, where: str) -> float | None:
    text = row.get(column, "")
    return number(text, where=f"{where}, {column}", minimum=0.0) if text else None


def _samples(path: Path, *, value: str, where: str, of: str = "") -> list[Sample]:
    sd = f"sd_{value.removeprefix('activity_')}"
    first = () if of else ("region",)
    rows = read_rows(path, required=(*first, "time_h", value), optional=(sd,), where=where)
    samples = []
    for index, row in enumerate(rows, start=1):
        place = f"{where}, {path.name} row {index}"
        region = of or canonical_region(row["region"], where=place)
        time_h = number(row["time_h"], where=f"{place}, time_h")
        if time_h <= 0:
            raise CaseError(
                f"{place}, time_h: found {time_h:g}; a sample comes after the start of infusion (time 0); correct it"
            )
        measured = number(row[value], where=f"{place}, {value}", minimum=0.0)
        spread = _optional(row, sd, where=place)
        if spread == 0.0:
            raise CaseError(f"{place}, {sd}: found 0; expected more than 0, or an empty cell for the usual uncertainty")
        samples.append(Sample(region, time_h, measured, spread))
    _refuse_doubles(samples, f"{where}, {path.name}")
    return sorted(samples, key=lambda s: (s.region, s.time_h))


def _refuse_doubles(samples: list[Sample], where: str) -> None:
    seen = set()
    for sample in samples:
        key = (sample.region, sample.time_h)
        if key in seen:
            raise CaseError(
                f"{where}: {sample.region or 'the sample'} at {sample.time_h:g} h is given twice; keep one row"
            )
        seen.add(key)


def read_regions(path: Path, *, where: str) -> list[Sample]:
    """`region,time_h,activity_MBq[,sd_MBq]`: activity at that time, not decay-corrected."""
    return _samples(path, value="activity_MBq", where=where)


def read_blood(path: Path, *, where: str) -> list[Sample]:
    """`time_h,activity_MBq_per_mL[,sd_MBq_per_mL]`: measured nuclide at sample time."""
    return _samples(path, value="activity_MBq_per_mL", where=where, of="blood")


def read_whole_body(path: Path, *, where: str) -> list[Sample]:
    """`time_h,activity_MBq[,sd_MBq]` of the whole body."""
    return _samples(path, value="activity_MBq", where=where, of="whole body")


def read_doses(path: Path, *, where: str) -> list[EnteredDose]:
    """`region,nuclide,absorbed_dose_Gy,absorbed_dose_sd_Gy,bed_Gy,method` of a cycle known by its result."""
    columns = ("region", "nuclide", "absorbed_dose_Gy", "absorbed_dose_sd_Gy", "bed_Gy", "method")
    rows = read_rows(path, required=columns[:3], optional=columns[3:], where=where)
    doses = []
    for index, row in enumerate(rows, start=1):
        place = f"{where}, {path.name} row {index}"
        nuclide = "total" if row["nuclide"].lower() == "total" else canonical_nuclide(row["nuclide"], where=place)
        dose = number(row["absorbed_dose_Gy"], where=f"{place}, absorbed_dose_Gy", minimum=0.0)
        sd, bed = (_optional(row, c, where=place) for c in ("absorbed_dose_sd_Gy", "bed_Gy"))
        region = canonical_region(row["region"], where=place)
        if bed is not None and bed < dose:
            raise CaseError(
                f"{place}, bed_Gy: found {bed:g} below the absorbed dose of {dose:g} Gy; correct one of them"
            )
        method = row.get("method") or "entered"
        method = marrow_method(method) if region == "red marrow" else method
        doses.append(EnteredDose(region, nuclide, dose, sd, bed, method))
    _refuse_double_doses(doses, f"{where}, {path.name}")
    return doses


def marrow_method(text: str) -> str:
    """Id of a marrow method written as a word or two (``Blood method`` → ``blood``); other texts stay as they are."""
    word = text.strip().lower().removesuffix("method").removesuffix("based").strip(" -_")
    return word if word in MARROW_METHODS else text


def _refuse_double_doses(doses: list[EnteredDose], where: str) -> None:
    keys = [(d.region, d.nuclide, d.method) for d in doses]
    if twice := [k for k in set(keys) if keys.count(k) > 1]:
        region, nuclide, method = twice[0]
        raise CaseError(f"{where}: {region}, {nuclide}, method {method!r} is given twice; keep one row")
