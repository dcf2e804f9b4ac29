"""The methods section, written from what was run: every statistic's own words, how often, with its warnings.

Derivations are described with the constants that they used. Not here: the statistics themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.dose_effect import associations, marrow_method
from lutetia.safety.dose_findings import dose_comparisons
from lutetia.safety.modification import category_effects
from lutetia.safety.monitoring import monitored
from lutetia.safety.nadir import FIRST_DAY, LAST_DAY
from lutetia.safety.statistics.mixed import SlopeModel
from lutetia.safety.statistics.proportions import CLOPPER
from lutetia.safety.statistics.results import NotEstimable
from lutetia.safety.study import BASELINE_VISIT
from lutetia.safety.tables.t07_laboratory import arm_comparisons, course_tests
from lutetia.safety.tables.t07_model import models
from lutetia.safety.tables.t09_worst_grade import grade_tests
from lutetia.safety.tables.t10_adverse_events import RATE
from lutetia.safety.tables.t11_renal import pooled_slope, slope_model
from lutetia.safety.tables.t18_time_to_event import arm_tests, curves
from lutetia.safety.visits import FLAG_DAYS

SETS = "Data and analysis sets"


@dataclass(frozen=True, slots=True)
class Run:
    """One statistic that was asked for: in which table, of what, by which method, and what it warned of."""

    table: str
    what: str
    method: str
    warnings: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Methods:
    """Text about sets and derivations, and every statistic that was run."""

    derivations: tuple[tuple[str, tuple[str, ...]], ...]
    runs: tuple[Run, ...]

    def sections(self) -> list[tuple[str, list[str]]]:
        """Titles with their lines."""
        found = [(title, list(lines)) for title, lines in self.derivations]
        found.append(("Statistics that were run", _statistics(self.runs)))
        if lines := _warnings(self.runs):
            found.append(("Warnings, and what was not estimable", lines))
        return found

    def pooled(self, tables: set[str]) -> Methods:
        """Those of some tables, for a report without arms: without warnings, which name arms, and sizes of sets."""
        runs = tuple(replace(run, warnings=()) for run in self.runs if run.table in tables and not run.refused)
        return Methods(tuple((title, lines) for title, lines in self.derivations if title != SETS), runs)


def derive_methods(context: Context, tables: Mapping[str, SafetyTable]) -> Methods:
    """The methods of one report."""
    runs = [
        *_runs("T6b", dose_comparisons(context)),
        *_runs("T7", course_tests(context)),
        *_runs("T7", arm_comparisons(context)),
        *_runs("T7b", models(context)),
        *_runs("T9", grade_tests(context)),
        *_runs("T11", {"slope": slope_model(context), "pooled slope": _arms(pooled_slope(context))}),
        *_runs("T13", associations(context)),
        *_runs("T14", category_effects(context)),
        *_runs("T18", curves(context)),
        *_runs("T18", arm_tests(context)),
        *_runs("T16", {found.monitor.id: found for found in monitored(context)}),
    ]
    runs += [run for name, table in tables.items() for run in _from_cells(name, table)]
    return Methods(_derivations(context), tuple(sorted(runs, key=lambda r: (_place(r.table), r.method, r.what))))


def _arms(model: SlopeModel | NotEstimable) -> object:
    """The slopes alone: a model of one group has no test of groups."""
    return model if isinstance(model, NotEstimable) else model.arms


def _runs(table: str, found: object) -> list[Run]:
    return [Run(table, what, method, warnings, refused) for what, method, warnings, refused in _walk(found, "")]


def _walk(found: object, path: str) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Every record with a method, in order; tables of data are passed over."""
    if isinstance(found, NotEstimable):
        yield path, found.method, (), found.reason
    elif isinstance(found, Mapping):
        for key, item in found.items():
            yield from _walk(item, f"{path} {key}".strip())
    elif isinstance(found, tuple):
        for item in found:
            yield from _walk(item, path)
    elif dataclasses.is_dataclass(found) and not isinstance(found, type):
        if isinstance(method := getattr(found, "method", None), str):
            yield path, method, tuple(getattr(found, "warnings", ())), ""
        for field in dataclasses.fields(found):
            value = getattr(found, field.name)
            if not isinstance(value, str | int | float | pd.DataFrame):
                yield from _walk(value, _longer(path, field.name))


def _longer(path: str, name: str) -> str:
    words = name.replace("_", " ")
    return (
        path
        if words in path or name in ("cells", "arms", "summaries", "change", "median", "slope")
        else f"{path} {words}"
    )


def _from_cells(name: str, table: SafetyTable) -> list[Run]:
    """Methods that leave their mark in the cells: exact intervals of proportions, rates of first events."""
    runs = []
    places = {(c.row, c.column) for c in table.cells if c.statistic == "percent" and c.value is not None}
    exact = sum(1 for c in table.cells if c.statistic == "low" and (c.row, c.column) in places)
    runs += [Run(name, "", CLOPPER)] * exact
    if name == "T10":
        rates = sum(
            1 for c in table.cells if c.statistic == "estimate" and c.row.startswith("rate") and c.value is not None
        )
        runs += [Run(name, "", RATE)] * rates
    return runs


def _statistics(runs: Sequence[Run]) -> list[str]:
    counts: dict[str, dict[str, int]] = {}
    for run in runs:
        if run.method and not run.refused:
            own = counts.setdefault(run.method, {})
            own[run.table] = own.get(run.table, 0) + 1
    return [f"{method}: {_tables(own)}." for method, own in counts.items()] or ["None."]


def _tables(counts: Mapping[str, int]) -> str:
    """Tables in order with the number of times."""
    return ", ".join(f"{table} ({counts[table]})" for table in sorted(counts, key=_place))


def _warnings(runs: Sequence[Run]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for text in (*run.warnings, *((f"not estimable: {run.refused}",) if run.refused else ())):
            names = found.setdefault((run.table, text), [])
            names += [run.what] if run.what and run.what not in names else []
    return [
        f"{table}: {text}{f' ({_listed(names)})' if names else ''}."
        for (table, text), names in sorted(found.items(), key=lambda item: _place(item[0][0]))
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _place(table: str) -> tuple[int, str]:
    digits = "".join(c for c in table if c.isdigit())
    return int(digits or 0), table


def _derivations(context: Context) -> tuple[tuple[str, tuple[str, ...]], ...]:
    data, sets = context.data, context.sets
    study = data.study
    baseline = next((v for v in study.visits if v.name == BASELINE_VISIT), None)
    within = f"{-baseline.first} days" if baseline is not None else "28 days"
    zone = f"Local days are those of {study.timezone}" if study.timezone else "Days are those of each time's own offset"
    return (
        (
            SETS,
            (
                f"Data cut {printed_cut(data.cut.text)}: events up to the cut count, also where they were entered "
                f"later; adverse events open at the cut are ongoing. {zone}.",
                f"ITT, randomised by the cut: {len(sets.itt)}. SAF, at least one administration, in the randomised "
                f"arm: {len(sets.saf)}. DOS, every given cycle has its dose: {len(sets.dos)}. LAB, for each analyte, "
                "baseline and a later value.",
                f"Rows: {_rows(context)}. Every row is used or listed with its reason.",
            ),
        ),
        (
            "Derivations",
            (
                f"Baseline: last value before the first infusion, at most {within} old; a value of the same day "
                "without a time counts as before.",
                f"Nadir: lowest value from day {FIRST_DAY} after an infusion to the next one, its pre-dose sample "
                f"included, or to day {LAST_DAY} after the last. Values within {FLAG_DAYS} days after a transfusion or "
                "growth factor are kept and flagged.",
                f"Grades: CTCAE version {study.ctcae}, compared in decimals, in the units of the criterion; emergent: "
                "worse than baseline. eGFR: CKD-EPI 2021.",
                f"Marrow dose: method “{marrow_method(context) or 'none'}”. A cycle without dose makes the cumulative "
                "dose missing, never zero.",
                "Modification: prescribed activity of the variable nuclide against base, tolerance "
                f"{study.tolerance:g}.",
            ),
        ),
        (
            "Intervals and tests",
            (
                "Intervals are central 95 % intervals, tests two-sided. p-values are adjusted by Holm within the "
                "family that the table names; nothing is adjusted across tables.",
                f"Bootstrap: {context.resamples} resamples of subjects, seed {context.seed}; equal seeds and data give "
                "equal numbers.",
            ),
        ),
    )


def printed_cut(text: str) -> str:
    """A cut as people read it: a day, or a day with the time and its offset."""
    if len(text) <= len("2026-06-30"):
        return text
    moment = datetime.fromisoformat(text)
    zone = "UTC" if moment.utcoffset() is not None and not moment.utcoffset() else moment.strftime("%z")
    return f"{moment:%Y-%m-%d %H:%M} {zone}"


def _rows(context: Context) -> str:
    counts = context.data.accounting.counts
    read, used = sum(c.read for c in counts), sum(c.used for c in counts)
    return f"{read} read = {used} used + {read - used} listed"
