"""T12: liver: peaks on multiples of the upper limit of normal, Hy's law and its version on multiples of baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.tables.building import TableBuilder, arm_columns

Groups = Mapping[str, Sequence[str]]
PEAKS: tuple[tuple[str, str], ...] = (
    ("alt_x_uln", "ALT, × ULN"), ("ast_x_uln", "AST, × ULN"), ("alp_x_uln", "ALP, × ULN"),
    ("bilirubin_x_uln", "Bilirubin, × ULN"), ("alt_x_baseline", "ALT, × baseline"),
    ("bilirubin_x_baseline", "Bilirubin, × baseline"),
)  # fmt: skip
CUTS: tuple[tuple[str, str, float], ...] = (
    ("transaminase_x_uln", "ALT or AST ≥ 3 × ULN", 3.0), ("transaminase_x_uln", "ALT or AST ≥ 5 × ULN", 5.0),
    ("transaminase_x_uln", "ALT or AST ≥ 8 × ULN", 8.0), ("bilirubin_x_uln", "Bilirubin ≥ 2 × ULN", 2.0),
    ("alp_x_uln", "ALP ≥ 2 × ULN", 2.0), ("alt_x_baseline", "ALT ≥ 3 × baseline", 3.0),
    ("bilirubin_x_baseline", "Bilirubin ≥ 2 × baseline", 2.0),
)  # fmt: skip
SCREENS: tuple[tuple[str, str], ...] = (
    ("hy", "Hy's law: ALT or AST ≥ 3 × ULN, then bilirubin ≥ 2 × ULN within 14 days"),
    ("fold", "On baseline: ALT ≥ 3 ×, then bilirubin ≥ 2 × baseline within 14 days"),
)


def build(context: Context) -> SafetyTable:
    """The table of liver parameters."""
    table = TableBuilder("T12", "Liver parameters and screens for drug-induced injury", "SAF")
    groups = arm_columns(table, context)
    peaks = context.peaks
    table.row("peaks", "Highest value, multiples")
    for column, label in PEAKS:
        row = table.row(f"peaks / {column}", label, level=1)
        for group, subjects in groups.items():
            own = peaks[peaks["subject_id"].isin(list(subjects)) & peaks[column].notna()]
            table.summary(row, group, own[column].to_numpy(), rows={"labs": [r for rs in own["rows"] for r in rs]})
    table.row("cuts", "Subjects at or above a multiple at any time")
    for column, label, cut in CUTS:
        row = table.row(f"cuts / {label}", label, level=1)
        for group, subjects in groups.items():
            own = peaks[peaks["subject_id"].isin(list(subjects)) & peaks[column].notna()]
            rows = {"labs": [r for rs in own["rows"] for r in rs]}
            table.share(row, group, int((own[column].round(9) >= cut).sum()), len(own), rows=rows)
    _screens(table, context, groups)
    table.footnotes += [
        "Candidates of the screens are listed with ALP and a field for adjudication; a screen is no diagnosis. Liver "
        "metastases raise the baseline: the version on multiples of baseline stands beside Hy's law.",
    ]
    return table.build()


def _screens(table: TableBuilder, context: Context, groups: Groups) -> None:
    table.row("screens", "Candidates of a screen")
    known = context.peaks[context.peaks["quadrant"] != ""]
    for screen, label in SCREENS:
        row = table.row(f"screens / {screen}", label, level=1)
        found = context.candidates[context.candidates["screen"] == screen]
        for group, subjects in groups.items():
            members = set(known["subject_id"]) & set(subjects)
            own = found[found["subject_id"].isin(list(members))]
            rows = {"labs": [*own["transaminase_row"], *own["bilirubin_row"]]}
            table.share(row, group, own["subject_id"].nunique(), len(members), rows=rows)
