"""Records of the trial as rows of the exchange folder, and the same rows as a masked reader may have them.

Numbers are written in the shortest form that reads back to the same value; keys of a record's `further` become columns
after those of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lutetia.dataset.folder import Row
from lutetia.dataset.tables import TABLES
from lutetia.trial.masking import HIDDEN, HIDDEN_COLUMNS, hidden_table
from lutetia.trial.reader import Reader, Record
from lutetia.trial.values import number_text
from lutetia.workflow.randomisation import as_treated_arms


def dataset_rows(reader: Reader) -> dict[str, list[Row]]:
    """Every table of the exchange folder, in the order of the keys."""
    tables = {name: [_row(name, record) for record in reader.records(name)] for name in TABLES}
    crossed = as_treated_arms(reader)
    for row in tables["subjects"]:
        if arm := crossed.get(row["subject_id"]):
            row["as_treated_arm"] = arm
    return tables


def masked_rows(tables: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Rows without hidden tables, with hidden values replaced, and without columns beyond the contract's."""
    found: dict[str, list[Row]] = {}
    for name, rows in tables.items():
        concealed = HIDDEN_COLUMNS.get(name, frozenset())
        found[name] = [
            {c: HIDDEN if c in concealed and row[c] else row[c] for c in TABLES[name].names if c in row}
            for row in (() if hidden_table(name, masked=True) else rows)
        ]
    return found


def _row(name: str, record: Record) -> Row:
    row = {column: _text(record[column]) for column in TABLES[name].names}
    return row | {column: _text(value) for column, value in (record["further"] or {}).items() if column not in row}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number_text(value) if isinstance(value, float) else str(value)
