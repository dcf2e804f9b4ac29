"""T7b: longitudinal mixed model of the blood counts: adjusted change at every nadir and at the last value, by arm."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.statistics.mixed import LongitudinalModel, longitudinal
from lutetia.safety.statistics.results import NotEstimable, Result
from lutetia.safety.tables.building import TableBuilder, lab_analytes, label_of

LAST = "last value"
NOTE = (
    "Model of log(value): arm × occasion + log(baseline) + centre, random subject, REML; adjusted change from the mean "
    "baseline with 95 % interval. A nadir is the lowest of several values: compare arms and cycles, not with zero."
)


@lru_cache(maxsize=2)
def models(context: Context) -> Mapping[str, LongitudinalModel | NotEstimable]:
    """The model of every blood count."""
    return {analyte: _model(context, analyte) for analyte in lab_analytes(context, HAEMATOLOGY)}


def build(context: Context) -> SafetyTable:
    """The table of the models."""
    table = TableBuilder("T7b", "Longitudinal model of blood counts: adjusted change, %", "LAB")
    for arm in context.arms:
        table.column(arm, f"Arm {arm}", arm=arm)
    table.column("arms", "Arms alike: p")
    for analyte, model in models(context).items():
        table.row(analyte, label_of(analyte))
        values, order = model_values(context, analyte)
        for occasion in order:
            row = table.row(f"{analyte} / {occasion}", f"{occasion.capitalize()}, %", level=1)
            own = values[values["occasion"] == occasion]
            for arm in context.arms:
                found = _change(model, arm, occasion)
                table.result(row, arm, found, rows={"labs": own.loc[own["arm"] == arm, "row"]}, p=False)
        _interaction(table, analyte, model, values)
    table.footnotes += [NOTE, *_warnings(context)]
    return table.build()


def model_values(context: Context, analyte: str) -> tuple[pd.DataFrame, list[str]]:
    """Nadirs of the cycles and last values of treated subjects with a baseline, and the occasions in order."""
    nadirs = context.nadirs[context.nadirs["analyte"] == analyte]
    nadirs = nadirs.assign(occasion=[f"nadir of cycle {c}" for c in nadirs["cycle"]])
    last = context.last[context.last["analyte"] == analyte].assign(occasion=LAST)
    columns = ["subject_id", "arm", "occasion", "value", "baseline", "row"]
    both = pd.concat([nadirs[columns], last[columns]], ignore_index=True)
    both = both[both["subject_id"].isin(context.sets.saf) & both["baseline"].notna()]
    cycles = sorted(int(c) for c in nadirs["cycle"].unique())
    return both, [*(f"nadir of cycle {c}" for c in cycles), LAST]


def _model(context: Context, analyte: str) -> LongitudinalModel | NotEstimable:
    own, order = model_values(context, analyte)
    centre = own["subject_id"].map(context.data["subjects"].set_index("subject_id")["site"])
    return longitudinal(
        own["value"].to_numpy(), own["baseline"].to_numpy(), arm=list(own["arm"]), occasion=list(own["occasion"]),
        subject=list(own["subject_id"]), centre=list(centre), order=order,
    )  # fmt: skip


def _change(model: LongitudinalModel | NotEstimable, arm: str, occasion: str) -> Result | NotEstimable:
    if isinstance(model, NotEstimable):
        return model
    found = (c.change for c in model.cells if c.arm == arm and c.occasion == occasion)
    return next(found, NotEstimable("no value of this arm and occasion"))


def _interaction(
    table: TableBuilder, analyte: str, model: LongitudinalModel | NotEstimable, values: pd.DataFrame
) -> None:
    test = model if isinstance(model, NotEstimable) else model.interaction
    if isinstance(test, NotEstimable):
        table.refuse(analyte, "arms", test.reason, n=test.n, statistic="p")
    else:
        table.put(analyte, "arms", n=test.n, rows={"labs": values["row"]}, p=test.p)


def _warnings(context: Context) -> list[str]:
    found = []
    for analyte, model in models(context).items():
        if isinstance(model, LongitudinalModel):
            found += [f"{label_of(analyte)}: {text}." for text in model.warnings]
            found += [f"{label_of(analyte)}: fitted without the random subject."] if model.fallback else []
    return found
