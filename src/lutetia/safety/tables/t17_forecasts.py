"""T17: forecast against measurement: bias, spread, intervals, and whether P(over the limit) is calibrated."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.forecasts import calibration
from lutetia.safety.tables.building import TableBuilder, arm_columns

HORIZONS = (("next", "dose after the next cycle"), ("course", "dose at the end of the course"))
NOTE = (
    "Forecasts of the versions that were administered against the cumulative dose measured later; the end of the "
    "course is judged in subjects who were given every planned cycle. Bias and ratio: one value a subject, the mean "
    "over its forecasts. Inside: forecasts whose measured dose lies in the predicted interval of 95 %. P(over): "
    "share of forecasts with this predicted probability after which the limit was passed. Forecasts of one subject are "
    "not independent, so these shares have no interval. A measured dose of a missing cycle is not compared."
)


def build(context: Context) -> SafetyTable:
    """The table of forecasts."""
    table = TableBuilder("T17", "Forecast and measured dose", "SAF, forecasts with a measured dose")
    groups = arm_columns(table, context, "SAF")
    for limit in context.data.study.limits:
        for horizon, words in HORIZONS:
            own = context.forecasts
            own = own[(own["limit"] == limit.id) & (own["horizon"] == horizon) & own["error_Gy"].notna()]
            key = f"{limit.id} / {horizon}"
            table.row(key, f"{limit.region.capitalize()}: {words}")
            _errors(table, key, groups, own)
            _calibration(table, key, groups, own)
    table.footnotes.append(NOTE)
    return table.build()


def _errors(table: TableBuilder, key: str, groups: Mapping[str, tuple[str, ...]], own: pd.DataFrame) -> None:
    count = table.row(f"{key} / forecasts", "Forecasts", level=1)
    bias = table.row(f"{key} / bias", "Measured − predicted, Gy", level=1)
    ratio = table.row(f"{key} / ratio", "Measured / predicted", level=1)
    inside = table.row(f"{key} / inside", "Inside the interval", level=1)
    for column, subjects in groups.items():
        part = own[own["subject_id"].isin(subjects)]
        rows = _rows(part)
        table.put(count, column, n=part["subject_id"].nunique(), rows=rows, count=len(part))
        means = part.groupby("subject_id")[["error_Gy", "ratio"]].mean()
        table.summary(bias, column, means["error_Gy"].to_numpy(), rows=rows)
        table.summary(ratio, column, means["ratio"].to_numpy(), rows=rows)
        known = part[part["inside"].notna()]
        table.share(inside, column, int(known["inside"].sum()), len(known), rows=_rows(known), interval=False)


def _calibration(table: TableBuilder, key: str, groups: Mapping[str, tuple[str, ...]], own: pd.DataFrame) -> None:
    bins = calibration(own)
    for low, high in zip(bins["low"], bins["high"], strict=True):
        label = f"Passed at P(over) {low:g}–{high:g}"
        row = table.row(f"{key} / P {low:g} to {high:g}", label, level=1)
        for column, subjects in groups.items():
            part = calibration(own[own["subject_id"].isin(subjects)])
            part = part[part["low"] == low]
            if len(part):
                found = part.iloc[0]
                rows = {"forecasts": found["rows"], "doses": found["dose_rows"]}
                table.share(row, column, int(found["over"]), int(found["n"]), rows=rows, interval=False)


def _rows(own: pd.DataFrame) -> dict[str, list[int]]:
    return {"forecasts": list(own["row"]), "doses": [r for rows in own["dose_rows"] for r in rows]}
