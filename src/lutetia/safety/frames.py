"""Typed rows as pandas frames whose columns have the same types whatever the rows, none at all included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lutetia.safety.schema import SCHEMAS, ColumnKind

MOMENT, DAY = "datetime64[us, UTC]", "datetime64[us]"
_LABS = {
    "subject_id": "object", "sample_id": "object", "analyte": "object", "taken_at": MOMENT, "taken_day": DAY,
    "has_time": "bool", "visit_entered": "object", "qualifier": "object", "below_loq": "bool", "value": "float64",
    "lln": "float64", "uln": "float64", "unit": "object", "exact": "object", "exact_lln": "object",
    "exact_uln": "object", "missing_reason": "object",
}  # fmt: skip
_TYPES = {"whole": "Int64", "number": "float64", "amount": "float64", "yes_no": "boolean", "on": DAY}


def frame(name: str, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One table as a frame: `row`, then its columns; times in UTC, days without zone, missing text empty."""
    return typed({"row": "int64", **_columns(name)}, rows)


def typed(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A frame of the given columns and types from rows; a key that a row lacks is missing."""
    return pd.DataFrame({column: _series([row.get(column) for row in rows], kind) for column, kind in columns.items()})


def _series(values: list[Any], kind: str) -> pd.Series[Any]:
    if kind == "float64":
        return pd.Series(np.array([np.nan if v is None else v for v in values], dtype=np.float64))
    return pd.Series(values, dtype=kind)


def _columns(name: str) -> dict[str, str]:
    if name == "labs":
        return dict(_LABS)
    found: dict[str, str] = {}
    for column in SCHEMAS[name].columns:
        found |= _column(column)
    return found


def _column(column: ColumnKind) -> dict[str, str]:
    if column.kind == "at":
        return {column.name: MOMENT, column.name.removesuffix("_at") + "_day": DAY}
    if column.kind == "partial":
        return {column.name: DAY, f"{column.name}_last": DAY, f"{column.name}_text": "object"}
    if column.kind in ("ordinal", "grade"):
        return {column.name: "int64"}
    return {column.name: _TYPES.get(column.kind, "object")}
