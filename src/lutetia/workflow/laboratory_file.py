"""A file of laboratory values as rows of text: its letters, its columns, and rows that do not fit the header.

Here: only the form of the file. Not here: what the values mean (`laboratory`).
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lutetia.clinical.labs import COLUMNS
from lutetia.errors import InputError

MAX_ROWS = 20_000
NEEDED = ("subject_id", "analyte", "taken_at", "value", "unit")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row: `number` as a spreadsheet counts (the header is row 1); `problem` where it does not fit the header."""

    number: int
    values: Mapping[str, str]
    problem: str = ""


def table_text(content: bytes, name: str) -> str:
    """The letters of a file: UTF-8, or UTF-16 where the file says so itself.

    Raises
    ------
    InputError
        For other encodings, of which letters such as µ would have to be guessed.
    """
    try:
        text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not UTF-8 text; save the table as CSV (UTF-8)") from error
    if "\x00" in text:
        row = text[: text.index("\x00")].count("\n") + 1
        raise InputError(
            f"{name}: found a zero byte in line {row}; this is no text; save the table again as CSV (UTF-8)"
        )
    return text


def table_rows(content: bytes, name: str) -> list[FileRow]:
    """Rows of a CSV file (comma, decimal point) by column; blank rows are left out.

    Raises
    ------
    InputError
        If the file is no such table, lacks a column or has one twice, or holds no row or too many.
    """
    text = table_text(content, name)
    first = text.partition("\n")[0]
    if not text.strip():
        raise InputError(f"{name}: is empty; expected a header with {', '.join(COLUMNS)} and one value a row")
    for separator, words in ((";", "';'"), ("\t", "tabs")):
        if "," not in first and separator in first:
            raise InputError(
                f"{name}: columns are separated by {words}; expected ',' and numbers with a decimal point; save the "
                "table as CSV (comma)"
            )
    try:
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise InputError(f"{name}: is no CSV table ({error}); save it again as CSV") from error
    columns = _columns(header, name)
    rows = [_row(number, line, columns) for number, line in enumerate(lines, start=2) if any(map(str.strip, line))]
    if not rows:
        raise InputError(f"{name}: found a header and no row; expected one value a row")
    if len(rows) > MAX_ROWS:
        raise InputError(f"{name}: found {len(rows)} rows; expected at most {MAX_ROWS}; split the file")
    return rows


def _columns(header: Sequence[str], name: str) -> list[str]:
    columns = [column.strip() for column in header]
    for needed in NEEDED:
        if needed not in columns:
            raise InputError(f"{name}: the column {needed!r} is missing; expected {', '.join(COLUMNS)}")
    for column in COLUMNS:
        if columns.count(column) > 1:
            raise InputError(f"{name}: the column {column!r} stands {columns.count(column)} times; keep one")
    return columns


def _row(number: int, line: Sequence[str], columns: Sequence[str]) -> FileRow:
    values = {column: text.strip() for column, text in zip(columns, line, strict=False)}
    if any("\n" in text.strip() for text in line):
        return FileRow(number, values, "found several lines within one field; a quote is not closed")
    if len(line) == len(columns):
        return FileRow(number, values)
    hint = "put a text with a comma inside into quotes" if len(line) > len(columns) else "the row is cut off"
    return FileRow(number, values, f"found {len(line)} fields; expected {len(columns)}; {hint}")
