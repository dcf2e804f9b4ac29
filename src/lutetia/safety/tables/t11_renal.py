"""T11: renal function: eGFR at baseline and later, slope by a mixed model, falls of 25 % and 40 %, KDIGO shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.renal import CONFIRM_DAYS, SLOPE_DAYS, SLOPE_VALUES
from lutetia.safety.statistics.mixed import SlopeModel, slopes
from lutetia.safety.statistics.results import NotEstimable, Result
from lutetia.safety.tables.building import TableBuilder, arm_columns

UNIT = "mL/min/1.73 m²"
Groups = Mapping[str, Sequence[str]]


@lru_cache(maxsize=2)
def slope_model(context: Context) -> SlopeModel | NotEstimable:
    """Mean slope of eGFR per year by arm; values within 7 days after an infusion and subjects with few are left out."""
    own = slope_values(context)
    return slopes(
        own["egfr"].to_numpy(), own["years"].to_numpy(), arm=list(own["arm"]), subject=list(own["subject_id"])
    )


@lru_cache(maxsize=2)
def pooled_slope(context: Context) -> SlopeModel | NotEstimable:
    """The same without arms."""
    own = slope_values(context)
    arms = ["all"] * len(own)
    return slopes(own["egfr"].to_numpy(), own["years"].to_numpy(), arm=arms, subject=list(own["subject_id"]))


def slope_values(context: Context) -> pd.DataFrame:
    """Rates of treated subjects that may enter a slope."""
    own = context.egfr
    return own[own["for_slope"].fillna(False).astype(bool) & own["subject_id"].isin(context.sets.saf)]


def arm_slope(model: SlopeModel | NotEstimable, arm: str) -> Result | NotEstimable:
    """Slope of one arm."""
    if isinstance(model, NotEstimable):
        return model
    return next((a.slope for a in model.arms if a.arm == arm), NotEstimable("no subject with enough values", 0))


def build(context: Context) -> SafetyTable:
    """The table of renal function."""
    table = TableBuilder("T11", "Renal function (CKD-EPI 2021)", "SAF with eGFR at baseline and later")
    groups = arm_columns(table, context)
    _levels(table, context, groups)
    _slopes(table, context, groups)
    _falls(table, context, groups)
    _shifts(table, context, groups)
    table.footnotes += _notes(context)
    return table.build()


def outcomes(context: Context, subjects: Sequence[str]) -> pd.DataFrame:
    """Renal outcomes of subjects with a baseline."""
    own = context.renal
    return own[own["subject_id"].isin(list(subjects)) & own["baseline_egfr"].notna()]


def _levels(table: TableBuilder, context: Context, groups: Groups) -> None:
    table.row("eGFR", f"eGFR, {UNIT}")
    last = last_rates(context)
    for key, label, frame, column, level in (
        ("baseline", "Baseline", context.renal, "baseline_egfr", 1), ("last", "Last value", last, "egfr", 1),
        ("last change", "change from baseline, %", last, "percent_change", 2),
        ("lowest", "Lowest value", context.renal, "worst_egfr", 1),
        ("lowest change", "change from baseline, %", context.renal, "worst_percent_change", 2),
        ("crcl", "Last creatinine clearance (Cockcroft–Gault), mL/min", last, "crcl", 1),
    ):  # fmt: skip
        row = table.row(f"eGFR / {key}", label, level=level)
        for group, subjects in groups.items():
            own = frame[frame["subject_id"].isin(list(subjects)) & frame["baseline_egfr"].notna()]
            place = "baseline_row" if key == "baseline" else "row"
            table.summary(row, group, own[column].to_numpy(), rows={"labs": own[place].dropna().astype(int)})


def last_rates(context: Context) -> pd.DataFrame:
    """Last rate of every subject after the first infusion."""
    own = context.egfr[context.egfr["on_treatment"] & context.egfr["egfr"].notna()].sort_values(["taken_at", "row"])
    return own.drop_duplicates("subject_id", keep="last").sort_values("subject_id")


def _slopes(table: TableBuilder, context: Context, groups: Groups) -> None:
    row, model, values = table.row("slope", f"Slope, {UNIT} per year"), slope_model(context), slope_values(context)
    for group, subjects in groups.items():
        own = values[values["subject_id"].isin(list(subjects))]
        found = arm_slope(pooled_slope(context) if group == "all" else model, group)
        table.result(row, group, found, rows={"labs": own["row"]}, p=False)
    tested = table.row("slope / p", "p", level=1)
    for group, subjects in groups.items():
        own = values[values["subject_id"].isin(list(subjects))]
        found = arm_slope(pooled_slope(context) if group == "all" else model, group)
        table.p_value(tested, group, found, rows={"labs": own["row"]})
    equal = table.row("slope / arms", "Equal slopes of the arms: p", level=1)
    if isinstance(model, NotEstimable) or isinstance(model.equal_slopes, NotEstimable):
        why = model if isinstance(model, NotEstimable) else model.equal_slopes
        assert isinstance(why, NotEstimable)
        table.refuse(equal, "all", why.reason, n=why.n, statistic="p")
    else:
        table.put(equal, "all", n=model.equal_slopes.n, rows={"labs": values["row"]}, p=model.equal_slopes.p)


def _falls(table: TableBuilder, context: Context, groups: Groups) -> None:
    table.row("falls", "Fall from baseline at any time")
    for percent in (25, 40):
        for key, label, level in (
            (f"fall_{percent}", f"{percent} % or more", 1), (f"fall_{percent}_confirmed", "confirmed", 2),
        ):  # fmt: skip
            row = table.row(f"falls / {key}", label, level=level)
            for group, subjects in groups.items():
                own = outcomes(context, subjects)
                known = own[own[key].notna()]
                rows = {"labs": [r for rs in known["rows"] for r in rs]}
                table.share(row, group, int(known[key].astype(bool).sum()), len(known), rows=rows)


def _shifts(table: TableBuilder, context: Context, groups: Groups) -> None:
    everyone = outcomes(context, groups["all"])
    shifts = everyone["baseline_category"] + " → " + everyone["worst_category"]
    table.row("kdigo", "KDIGO category, baseline → worst")
    for shift in sorted(shifts.unique()):
        row = table.row(f"kdigo / {shift}", shift, level=1)
        for group, subjects in groups.items():
            own = outcomes(context, subjects)
            found = own[(own["baseline_category"] + " → " + own["worst_category"]) == shift]
            rows = {"labs": [*found["row"], *found["baseline_row"].astype(int)]}
            table.share(row, group, len(found), len(own), rows=rows, interval=False)


def _notes(context: Context) -> list[str]:
    model = slope_model(context)
    notes = [
        f"Confirmed: the first value at least {CONFIRM_DAYS} days later shows it too; subjects whose only falls have "
        f"no such value are not counted there, in neither number. Slopes: at least {SLOPE_VALUES} "
        f"values over at least {SLOPE_DAYS} days, without values within 7 days after an infusion."
    ]
    if isinstance(model, SlopeModel):
        notes.append(f"Model of the slopes: {model.method}; {model.n_subjects} subjects, {model.n_values} values.")
        notes += [f"Left out of the slopes: {len(model.left_out)} subjects."] if model.left_out else []
        notes += [f"Warning: {text}." for text in model.warnings]
    return notes
