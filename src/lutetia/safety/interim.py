"""The interim analysis: a snapshot of a trial → `interim.json`, the closed and the open report, analysis datasets.

The same snapshot, cut, seed and software give the same bytes. Not here: the command (`lutetia.cli.interim`).
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from lutetia.core.numbers import six_digits
from lutetia.core.provenance import software
from lutetia.dataset.folder import Dataset
from lutetia.errors import OutputError
from lutetia.report.html import render_html
from lutetia.report.pdf import render_pdf
from lutetia.safety.adam import adam_files
from lutetia.safety.as_treated import as_treated_tables
from lutetia.safety.catalogue import TABLES
from lutetia.safety.cells import Cell, SafetyTable
from lutetia.safety.context import RESAMPLES, Context, derive_context
from lutetia.safety.findings import derive_findings
from lutetia.safety.listings import derive_listings
from lutetia.safety.methods import derive_methods
from lutetia.safety.reading import read_trial
from lutetia.safety.report import Reported, closed_document, open_document

SCHEMA = "lutetia.interim/1"
JSON_NAME = "interim.json"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Interim:
    """The analysis: its record (`interim.json`) and all files by name."""

    reported: Reported
    record: Mapping[str, Any]
    files: Mapping[str, bytes]


def run_interim(
    dataset: Dataset,
    *,
    out: Path,
    cut: str | date | datetime | None = None,
    seed: int = 1,
    resamples: int = RESAMPLES,
    progress: Progress = lambda step: None,
) -> Interim:
    """Analyse a snapshot and write everything into a folder, all files or none.

    Parameters
    ----------
    dataset
        As `lutetia.dataset.folder.read_dataset` gives it.
    out
        New folder, or one of an earlier interim analysis, which is replaced.
    cut
        Last event date that counts; the snapshot's own by default.
    seed, resamples
        Of every bootstrap.
    progress
        Called with the step under way.

    Raises
    ------
    InputError
        If the data or the cut are unusable.
    OutputError
        If the folder holds something else, or cannot be written.
    """
    check_out(out)
    found = make_interim(dataset, cut=cut, seed=seed, resamples=resamples, progress=progress)
    progress("writing")
    _write(out, found.files)
    return found


def make_interim(
    dataset: Dataset,
    *,
    cut: str | date | datetime | None = None,
    seed: int = 1,
    resamples: int = RESAMPLES,
    progress: Progress = lambda step: None,
) -> Interim:
    """The same without writing; raises as `run_interim`."""
    progress("reading")
    data = read_trial(dataset, cut)
    progress("deriving")
    context = derive_context(data, seed=seed, resamples=resamples)
    reported = analyse(context, progress)
    progress("record and datasets")
    record = interim_record(reported)
    files = {JSON_NAME: _json(record), "listed_rows.csv": _listed_rows(context)}
    files |= {f"adam/{name}": content for name, content in adam_files(context).items()}
    for name, document in (("closed", closed_document(reported)), ("open", open_document(reported))):
        progress(f"{name} report")
        files |= {f"{name}.html": render_html(document).encode(), f"{name}.pdf": render_pdf(document)}
    return Interim(reported, record, files)


def analyse(context: Context, progress: Progress = lambda step: None) -> Reported:
    """All tables, findings and methods of a context."""
    tables = {}
    for name, build in TABLES.items():
        progress(f"table {name}")
        tables[name] = build(context)
    tables |= as_treated_tables(context, TABLES)
    return Reported(context, tables, derive_findings(context), derive_methods(context, tables))


def interim_record(reported: Reported) -> dict[str, Any]:
    """Everything that the reports print, in long form: one record a number."""
    context = reported.context
    data = context.data
    return {
        "schema": SCHEMA,
        "software": software(),
        "snapshot_sha256": data.snapshot_sha256,
        "snapshot_id": data.snapshot.get("id"),
        "audit_head": data.snapshot.get("audit_head"),
        "data_cut": data.cut.text,
        "simulated": data.study.simulated,
        "protocol": {
            "name": data.study.protocol,
            "version": data.study.protocol_version,
            "sha256": data.study.protocol_sha256,
        },
        "ctcae": data.study.ctcae,
        "seed": context.seed,
        "resamples": context.resamples,
        "analysis_sets": {name: len(context.sets.of(name)) for name in ("ITT", "SAF", "DOS")},
        "rows": [
            {"table": c.table, "read": c.read, "used": c.used, "listed": c.listed} for c in data.accounting.counts
        ],
        "findings": [
            {"key": f.key, "question": f.question, "answer": f.answer, "status": f.status, "see": f.see}
            for f in reported.findings
        ],
        "methods": [{"section": title, "lines": lines} for title, lines in reported.methods.sections()],
        "tables": [_table_record(table) for table in reported.tables.values()],
        "listings": [
            {
                "id": each.id,
                "title": each.title,
                "columns": list(each.columns),
                "rows": [list(row) for row in each.rows],
            }
            for each in derive_listings(context)
        ],
        "cells": [_cell_record(cell) for table in reported.tables.values() for cell in table.cells],
    }


def _table_record(table: SafetyTable) -> dict[str, Any]:
    return {
        "id": table.id,
        "title": table.title,
        "analysis_set": table.analysis_set,
        "columns": [{"key": c.key, "label": c.label, "unit": c.unit} for c in table.columns],
        "rows": [{"key": r.key, "label": r.label, "level": r.level} for r in table.rows],
        "footnotes": list(table.footnotes),
    }


def _cell_record(cell: Cell) -> dict[str, Any]:
    value = six_digits(cell.value) if isinstance(cell.value, float) else cell.value
    record = {
        "table": cell.table,
        "row": cell.row,
        "column": cell.column,
        "statistic": cell.statistic,
        "value": value,
        "n": cell.n,
        "source_rows": list(cell.source_rows),
        "arm": cell.arm,
    }
    return record | ({"reason": cell.reason} if cell.reason else {})


def _json(record: Mapping[str, Any]) -> bytes:
    """JSON with one line for each item of the long lists, so that two files can be compared by lines."""
    parts = []
    for key, value in record.items():
        if isinstance(value, list):
            lines = ",\n  ".join(_dumps(item) for item in value)
            parts.append(f" {_dumps(key)}: [\n  {lines}\n ]" if value else f" {_dumps(key)}: []")
        else:
            parts.append(f" {_dumps(key)}: {_dumps(value)}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _listed_rows(context: Context) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["table", "row", "key", "reason", "found"])
    writer.writerows([i.table, i.row, i.key, i.reason, i.detail] for i in context.data.accounting.listed)
    return text.getvalue().encode()


def check_out(out: Path) -> None:
    """Refuse a folder that holds something else than an earlier interim analysis.

    Raises
    ------
    OutputError
        With what to do.
    """
    if out.exists() and not (out.is_dir() and ((out / JSON_NAME).is_file() or not any(out.iterdir()))):
        raise OutputError(
            f"{out}: is not an empty folder or an earlier interim analysis; choose another one with --out"
        )


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".lutetia-", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        for name, content in files.items():
            path = beside / "new" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if out.exists():
            os.replace(out, beside / "old")
        os.replace(beside / "new", out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); free space or choose another") from error
    finally:
        if (beside / "old").exists() and not out.exists():
            os.replace(beside / "old", out)
        shutil.rmtree(beside, ignore_errors=True)
