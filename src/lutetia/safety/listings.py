"""Listings of the closed report: single subjects behind the counts, in the order subject, day.

At most `MOST_ROWS` rows of a listing are printed. Rows that the analysis does not use stand by table and reason; the
account of every row is written as CSV.
To add a listing: a function and a line of `LISTINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from lutetia.clinical.analytes import analytes
from lutetia.report.document import Block, Column, Heading, Paragraph, Table, rich
from lutetia.report.numbers import gigabecquerel, number, typeset
from lutetia.safety.cells import source
from lutetia.safety.context import Context
from lutetia.safety.reading import AFTER_CUT

MOST_ROWS, MOST_NUMBERS = 150, 240
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows of text under column names."""

    id: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""


def derive_listings(context: Context) -> tuple[Listing, ...]:
    """Every listing of the report."""
    return tuple(make(context) for make in LISTINGS)


def listings(context: Context) -> list[Block]:
    """The listings as blocks of a document; an empty one says so."""
    blocks: list[Block] = []
    for listing in derive_listings(context):
        title = f"{listing.id}\u2002{listing.title}"
        if not listing.rows:
            blocks += [Heading(typeset(title), 2), Paragraph(rich("None."))]
            continue
        shown = listing.rows[:MOST_ROWS]
        notes = [listing.note] if listing.note else []
        if len(listing.rows) > len(shown):
            notes.append(f"{len(shown)} of {len(listing.rows)} rows are printed; all are in interim.json.")
        rows = tuple(tuple(typeset(cell) for cell in row) for row in shown)
        heads = [Column(typeset(name)) for name in listing.columns]
        widths = [max(_width(row[n]) for row in (listing.columns, *shown)) for n in range(len(heads))]
        columns = tuple(replace(head, width=width) for head, width in zip(heads, widths, strict=True))
        blocks.append(
            Table(
                columns,
                rows,
                typeset(title),
                tuple(typeset(n) for n in notes),
                levels=(0,) * len(rows),
                many=len(rows) > 26,
            )
        )
    return blocks


def severe_values(context: Context) -> Listing:
    """L1: laboratory terms that reached grade 3 or more under treatment."""
    own = context.grades[context.grades["emergent"].fillna(False).astype(bool) & (context.grades["grade"] >= 3)]
    own = own[own["subject_id"].isin(context.sets.saf)].sort_values(["subject_id", "term", "study_day", "row"])
    rows = []
    for (subject, term), part in own.groupby(["subject_id", "term"], sort=True):
        worst = _worst(part)
        unit = analytes()[worst["analyte"]].unit
        value = "transfusion" if pd.isna(worst["value"]) else f"{number(worst['value'])} {unit if unit != '1' else ''}"
        value += " (transfused)" if worst["transfused"] and value != "transfusion" else ""
        days = f"{part['study_day'].min():.0f} to {part['study_day'].max():.0f}" if len(part) > 1 else _day(worst)
        place = f"{worst['table']}:{worst['row']}"
        rows.append(
            (subject, worst["arm"], term, f"{worst['grade']:.0f}", value, _day(worst), days, str(len(part)), place)
        )
    columns = ("Subject", "Arm", "Term", "Worst grade", "Value", "Day", "Days of grade ≥ 3", "Values", "Source row")
    return Listing("L1", "Laboratory values of grade 3 or worse", columns, tuple(rows), "Days from the first infusion.")


def severe_events(context: Context) -> Listing:
    """L2: adverse events of grade 3 or more, and serious ones."""
    own = context.events[context.events["emergent"] & context.events["subject_id"].isin(context.sets.saf)]
    own = own[(own["grade"].fillna(0) >= 3) | own["serious"]].sort_values(["subject_id", "study_day", "ae_id"])
    rows = tuple(
        (
            e.subject_id, e.arm, e.term, "–" if pd.isna(e.grade) else f"{e.grade}", _yes(e.serious), _yes(e.related),
            _number(e.study_day), e.action or "–", e.outcome or "–",
        )
        for e in own.itertuples()
    )  # fmt: skip
    columns = ("Subject", "Arm", "Event", "Grade", "Serious", "Related", "Day", "Action", "Outcome")
    return Listing("L2", "Adverse events of grade 3 or worse, or serious", columns, rows)


def liver_cases(context: Context) -> Listing:
    """L3: candidates of the liver screens."""
    names = {"hy": "Hy's law (× ULN)", "fold": "× baseline"}
    rows = tuple(
        (
            c.subject_id, c.arm, names[c.screen], c.transaminase.upper(), _date(c.transaminase_day),
            f"{number(c.transaminase_multiple)} ×", _date(c.bilirubin_day), f"{number(c.bilirubin_multiple)} ×",
            "–" if pd.isna(c.alp_x_uln) else f"{number(c.alp_x_uln)} × ULN", "",
        )
        for c in context.candidates[context.candidates["subject_id"].isin(context.sets.saf)].itertuples()
    )  # fmt: skip
    columns = ("Subject", "Arm", "Screen", "Enzyme", "Day", "Multiple", "Bilirubin day", "Multiple", "ALP",
               "Adjudication")  # fmt: skip
    return Listing("L3", "Candidates for drug-induced liver injury", columns, rows)


def overrides(context: Context) -> Listing:
    """L4: prescriptions released above a limit by two people."""
    own = context.data["prescriptions"]
    own = own[(own["override_by"] != "") & own["subject_id"].isin(context.sets.itt)]
    rows = []
    for (subject, cycle, _), part in own.groupby(["subject_id", "cycle", "version"], sort=True):
        first, part = part.iloc[0], part.sort_values("nuclide")
        asked = ", ".join(f"{p.nuclide} {gigabecquerel(p.prescribed_MBq)}" for p in part.itertuples())
        why = first["override_reason"] or "no reason recorded"
        bound = ", ".join(sorted(set(part["bound_by"]) - {""})) or "–"
        rows.append((subject, context.sets.arm[subject], str(cycle), asked, bound, first["override_by"], why))
    columns = ("Subject", "Arm", "Cycle", "Prescribed, GBq", "Bound by", "Second person", "Reason")
    return Listing("L4", "Overrides of a limit", columns, tuple(rows))


def over_limit(context: Context) -> Listing:
    """L5: cumulative doses over a limit."""
    own = context.limits[context.limits["subject_id"].isin(context.sets.saf)]
    over = own["over"].fillna(False).astype(bool) | own["sensitivity_over"].fillna(False).astype(bool)
    rows = tuple(
        (
            d.subject_id, d.arm, d.region, "BED" if d.metric == "bed" else "absorbed", d.method or "–",
            str(d.cycles_given), "incomplete" if pd.isna(d.dose_Gy) else number(d.dose_Gy), number(d.limit_Gy),
            number(d.prior_Gy) if d.prior_Gy else "–",
            number(d.sensitivity_Gy) if d.imputed_cycles else "–",
        )
        for d in own[over].sort_values(["limit", "arm", "subject_id"]).itertuples()
    )  # fmt: skip
    columns = ("Subject", "Arm", "Region", "Metric", "Method", "Cycles", "Dose, Gy", "Limit, Gy", "Prior, Gy",
               "With missing cycles filled in, Gy")  # fmt: skip
    return Listing("L5", "Cumulative doses over a limit", columns, rows)


def deaths(context: Context) -> Listing:
    """L6: deaths from any cause."""
    events = context.data["disposition"]
    own = events[(events["event"] == "died") & events["subject_id"].isin(context.sets.itt)].sort_values("subject_id")
    last = context.infusions.groupby("subject_id")["started_day"].max()
    first = context.infusions.groupby("subject_id")["started_day"].min()
    rows = tuple(
        (
            d.subject_id, context.sets.arm[d.subject_id], _date(d.on), _since(d.on, first.get(d.subject_id)),
            _since(d.on, last.get(d.subject_id)), d.reason or "no cause recorded",
        )
        for d in own.itertuples()
    )  # fmt: skip
    columns = ("Subject", "Arm", "Date", "Days from first infusion", "Days from last infusion", "Cause")
    return Listing("L6", "Deaths", columns, rows)


def missing_doses(context: Context) -> Listing:
    """L7: given cycles without a dose."""
    own = context.cycle_doses[context.cycle_doses["basis"] == "missing"]
    own = own[own["subject_id"].isin(context.sets.saf)]
    rows = []
    for (subject, arm, cycle), part in own.groupby(["subject_id", "arm", "cycle"], sort=True):
        for reason, group in part.groupby("missing_reason", sort=True):
            rows.append((subject, arm, str(cycle), ", ".join(group["region"]), reason or "no reason recorded"))
    columns = ("Subject", "Arm", "Cycle", "Regions", "Reason")
    return Listing("L7", "Missing dosimetry", columns, tuple(rows))


def cross_overs(context: Context) -> Listing:
    """L8: subjects who were given other nuclides than those of their arm."""
    rows = tuple(
        (c.subject_id, c.arm, c.treated or "undecided", ", ".join(map(str, c.cycles)), c.text)
        for c in context.sets.cross_overs
    )
    return Listing("L8", "Not treated as randomised", ("Subject", "Randomised", "Treated as", "Cycles", "What"), rows)


def unused_rows(context: Context) -> Listing:
    """L9: rows of the snapshot that the analysis does not use, by table and reason; those after the cut are counted."""
    listed = [item for item in context.data.accounting.listed if item.reason != AFTER_CUT]
    later = len(context.data.accounting.listed) - len(listed)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for item in listed:
        groups.setdefault((item.table, item.reason, item.detail), []).append(item.row)
    rows = tuple(
        (f"{table}.csv", reason, detail, str(len(numbers)), _numbers(table, numbers))
        for (table, reason, detail), numbers in groups.items()
    )
    note = "listed_rows.csv names every row with its key."
    note += f" {later} rows are dated after the data cut and are not printed." if later else ""
    return Listing("L9", "Rows that are not used", ("Table", "Reason", "Found", "Rows", "Row numbers"), rows, note)


def _numbers(table: str, rows: Sequence[int]) -> str:
    """Row numbers as ranges; many are cut short."""
    text = source(**{table: rows})[0].partition(":")[2].replace(",", ", ")
    return text if len(text) <= MOST_NUMBERS else f"{text[:MOST_NUMBERS].rpartition(',')[0]}, …"


def doubts(context: Context) -> Listing:
    """L10: doubts about data that are used."""
    rows = tuple(
        (finding.kind, finding.table, _some(finding.rows), finding.text) for finding in context.data.accounting.findings
    )
    return Listing("L10", "Doubts about data that are used", ("Kind", "Table", "Rows", "What"), rows)


LISTINGS: tuple[Callable[[Context], Listing], ...] = (
    severe_values, severe_events, liver_cases, overrides, over_limit, deaths, missing_doses, cross_overs, unused_rows,
    doubts,
)  # fmt: skip


def _width(text: str) -> float:
    """Relative width of a text: a long one is broken over lines."""
    return min(float(len(text)), 40.0) + 3.0


def _worst(values: pd.DataFrame) -> pd.Series:
    """The most extreme value of the highest grade, the first of them."""
    highest = values[values["grade"] == values["grade"].max()].sort_values(["study_day", "row"])
    known = highest["value"].dropna()
    if known.empty:
        return highest.iloc[0]
    return highest.loc[known.idxmin() if highest["direction"].iloc[0] == "low" else known.idxmax()]


def _day(row: pd.Series) -> str:
    return _number(row["study_day"])


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.0f}"


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _date(value: object) -> str:
    return str(value)[:10]


def _since(day: pd.Timestamp, start: pd.Timestamp | None) -> str:
    return "–" if start is None else str((day - start).days)


def _some(rows: Sequence[int]) -> str:
    shown = ", ".join(str(r) for r in rows[:8])
    return f"{shown}, … ({len(rows)})" if len(rows) > 8 else shown
