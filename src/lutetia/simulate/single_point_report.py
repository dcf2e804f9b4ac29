"""The table of single scans as text and as a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lutetia.report.document import Block, Column, Document, Figure, Heading, Panel, Paragraph, Table, rich
from lutetia.simulate.pictures import line_panel
from lutetia.simulate.single_point import HOURS, METHODS, NUCLIDES
from lutetia.simulate.study_report import INTENDED_USE

_NAMES = {
    "haenscheid": "Hänscheid",
    "madsen": "Madsen",
    "bayesian": "Bayesian",
    "own half-life": "own half-life",
}
_HOW = {"Lu-177": "177Lu", "Y-90": "90Y"}


def single_point_rows(record: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Column titles and text: percent of kidneys off by more than 10 %, by nuclide, method and scan hour."""
    titles = ["nuclide", "method", *(f"{hour:.0f} h" for hour in HOURS)]
    lines = [
        [_HOW[name], _NAMES[method], *(f"{y:.1f}" for _, y in _line(record, method, name))]
        for name in NUCLIDES
        for method in METHODS
    ]
    return titles, lines


def best_hour_rows(record: Mapping[str, Any]) -> list[list[str]]:
    """Nuclide, method, best hour, and T_eff/ln 2."""
    return [
        [_HOW[row["nuclide"]], _NAMES[row["method"]], f"{row['scan_h']:.0f} h", f"{row['expected_h']:.0f} h"]
        for row in record["best_hours"]
    ]


def single_point_document(record: Mapping[str, Any]) -> Document:
    """The facts of single scans as a document."""
    titles, lines = single_point_rows(record)
    words = (
        f"{record['subjects']} virtual subjects, second cycle, one SPECT scan; every point has noise of "
        f"{100 * record['noise']:.0f} %. Calibration and mass are left out: they act on every method alike. The own "
        "half-life comes from all scans of the first cycle. Curves of the methods are those of lutetia.kinetics; 90Y "
        "is predicted from the 177Lu curve."
    )
    why = (
        "With a population half-life the error is smallest where Ã = A(t)·exp(kt)/k does not depend on k: at t = 1/k = "
        "T_eff/ln 2 of the nuclide whose dose is wanted, also when it is predicted from 177Lu. Hours are those of the "
        "method alone, without noise."
    )
    blocks: tuple[Block, ...] = (
        Paragraph(rich(words)),
        Figure(
            tuple(_panel(record, name) for name in NUCLIDES),
            rich("Share of kidneys whose time-integrated activity is off by more than 10 %, by hour of the scan."),
            columns=2,
        ),
        Heading(rich("Percent of kidneys off by more than 10 %")),
        _table(titles, lines),
        Heading(rich("Best hour")),
        Paragraph(rich(why)),
        _table(["nuclide", "method", "best hour", "T_eff/ln 2"], best_hour_rows(record)),
    )
    return Document(
        title=rich("One scan a cycle: how far it misleads"),
        subtitle=rich(f"Population {record['population']}, seed {record['seed']}"),
        header=("Single time points", f"seed {record['seed']}"),
        intended_use=INTENDED_USE,
        blocks=blocks,
    )


def _line(record: Mapping[str, Any], method: str, name: str) -> list[tuple[float, float]]:
    rows = [r for r in record["rows"] if (r["method"], r["nuclide"]) == (method, name)]
    return [(r["scan_h"], 100.0 * r["share_off_by_more_than_10_percent"]) for r in rows]


def _panel(record: Mapping[str, Any], name: str) -> Panel:
    expected = next(r["expected_h"] for r in record["best_hours"] if r["nuclide"] == name)
    picture = line_panel(
        f"{_HOW[name]}: off by more than 10 %", {_NAMES[m]: _line(record, m, name) for m in METHODS},
        x_title="hour of the scan", y_title="% of kidneys", x_range=(0.0, 180.0), y_high=100.0,
        mark=(expected, "T_eff/ln 2"),
    )  # fmt: skip
    return Panel(picture, f"Share off by more than 10 %, {_HOW[name]}")


def _table(titles: list[str], lines: list[list[str]]) -> Table:
    columns = tuple(Column(rich(t), align="left" if i < 2 else "right") for i, t in enumerate(titles))
    return Table(columns, tuple(tuple(rich(c) for c in line) for line in lines))
