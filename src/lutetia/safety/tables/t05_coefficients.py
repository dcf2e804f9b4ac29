"""T5: absorbed dose per administered activity and dose of each cycle, by region and nuclide."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.tables.building import TableBuilder, arm_columns

QUANTITIES = (("Gy_per_GBq", "Gy/GBq"), ("absorbed_dose_Gy", "dose of the cycle, Gy"))
NOTE = (
    "Median (quartiles). Course: mean over the cycles of each subject, one value a subject. Doses of the nuclide that "
    "was not imaged are predicted from the other. Methods are never mixed: a region has a block for each method."
)


def build(context: Context) -> SafetyTable:
    """The table of dose coefficients."""
    table = TableBuilder("T5", "Absorbed dose per activity, and of each cycle", "SAF")
    groups = arm_columns(table, context, "SAF")
    doses = context.nuclide_doses[context.nuclide_doses["subject_id"].isin(context.sets.saf)]
    for (region, method), own in doses.groupby(["region", "method"], sort=True):
        for quantity, words in QUANTITIES:
            head = f"{region} ({method}) / {quantity}"
            table.row(head, f"{str(region).capitalize()} ({method}): {words}")
            for nuclide, part in own.groupby("nuclide", sort=True):
                _block(table, f"{head} / {nuclide}", str(nuclide), groups, part.assign(value=part[quantity]))
    table.footnotes.append(NOTE)
    return table.build()


def _block(
    table: TableBuilder, key: str, label: str, groups: Mapping[str, tuple[str, ...]], doses: pd.DataFrame
) -> None:
    """Course means and single cycles of one nuclide."""
    known = doses[doses["value"].notna()]
    means = known.groupby("subject_id").agg(value=("value", "mean"), rows=("row", tuple)).reset_index()
    row = table.row(key, label, level=1)
    given = set(doses["subject_id"])
    groups = {column: subjects for column, subjects in groups.items() if given.intersection(subjects)}
    for column, subjects in groups.items():
        own = means[means["subject_id"].isin(subjects)]
        table.summary(row, column, own["value"].to_numpy(), rows={"doses": [r for p in own["rows"] for r in p]})
    for cycle, part in known.groupby("cycle", sort=True):
        row = table.row(f"{key} / cycle {cycle}", f"Cycle {cycle}", level=2)
        for column, subjects in groups.items():
            own = part[part["subject_id"].isin(subjects)]
            table.summary(row, column, own["value"].to_numpy(), rows={"doses": own["row"]})
