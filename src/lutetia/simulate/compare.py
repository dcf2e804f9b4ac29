"""Protocols and imaging schedules side by side: one study each, with the same seed, and one table of them all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lutetia.errors import InputError
from lutetia.protocol.records import Protocol
from lutetia.report.document import Block, Column, Document, Figure, Heading, Panel, Paragraph, Table, rich
from lutetia.report.figures.canvas import shorten
from lutetia.report.figures.limits import LimitBar, limit_panel
from lutetia.simulate.population import packaged_measurement
from lutetia.simulate.schedules import schedule
from lutetia.simulate.study import StudySpec, run_study, study_result
from lutetia.simulate.study_report import INTENDED_USE, number_text, percent_text

Record = Mapping[str, Any]
# Title, name of the outcome, whether it is a share.
COLUMNS: tuple[tuple[str, str, bool], ...] = (
    ("cycles", "cycles given", False),
    ("kidneys Gy", "kidneys true median Gy", False),
    ("> 23 Gy %", "kidneys dose over 23 Gy", True),
    ("BED > 28 %", "kidneys BED over 28 Gy", True),
    ("BED > 40 %", "kidneys BED over 40 Gy", True),
    ("marrow Gy", "red marrow true median Gy", False),
    ("tumour Gy", "tumour 1 true median Gy", False),
    ("lower %", "category reduced", True),
    ("higher %", "category increased", True),
    ("not given %", "not given", True),
    ("G3+ %", "haematology G3+ (not lymphocytes)", True),
    ("off > 10 %", "kidneys off by more than 10 %", True),
)


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One study of a comparison."""

    name: str
    spec: StudySpec


def variants(specs: Sequence[StudySpec], schedules: Sequence[str]) -> tuple[Variant, ...]:
    """Every study with every imaging schedule, named by what differs.

    Raises
    ------
    InputError
        If two would have the same name, or for a schedule that cannot be read.
    """
    names = _protocol_names([s.protocol for s in specs])
    if not schedules:
        found = [Variant(name, s) for name, s in zip(names, specs, strict=True)]
    else:
        found = [
            Variant(f"{name}, {text}" if len(specs) > 1 else text, _scheduled(s, text))
            for name, s in zip(names, specs, strict=True)
            for text in schedules
        ]
    chosen = [variant.name for variant in found]
    if len(set(chosen)) < len(chosen):
        raise InputError(f"comparison: found {', '.join(chosen)}; expected different protocols and schedules")
    return tuple(found)


def _protocol_names(protocols: Sequence[Protocol]) -> list[str]:
    """Names, with versions and the beginning of the file's hash where names alone do not tell them apart."""
    names = [protocol.name for protocol in protocols]
    return [f"{p.name} {p.version} {p.sha256[:6]}" if names.count(p.name) > 1 else p.name for p in protocols]


def _scheduled(spec: StudySpec, text: str) -> StudySpec:
    """A study at level fitted with other scans; intervals of single scans are not judged."""
    measurement = schedule(text, packaged_measurement())
    judged = 0 if measurement.single_point else spec.calibrated_blocks
    return replace(spec, measurement=measurement, level="fitted", calibrated_blocks=judged)


def run_comparison(
    chosen: Sequence[Variant],
    folder: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run every study, each with its parts in a folder of its own, and put the results side by side.

    Parameters
    ----------
    chosen
        Of `variants`.
    folder
        Holds one folder a study; the same command resumes.
    workers, scheduler
        As in `run_study`.
    progress
        Called with trials done and trials in all, over all studies.
    """
    total, done = sum(v.spec.trials for v in chosen), 0
    results = []
    for variant in chosen:
        before, show = done, progress or (lambda finished, of: None)
        outcomes = run_study(
            variant.spec, folder / _slug(variant.name), workers=workers, scheduler=scheduler,
            progress=lambda finished, of, before=before, show=show: show(before + finished, total),  # type: ignore[misc]
        )  # fmt: skip
        results.append({"name": variant.name, "result": study_result(variant.spec, outcomes)})
        done += variant.spec.trials
    return {"schema": "lutetia.study-comparison/1", "variants": results}


def comparison_rows(record: Record) -> tuple[list[str], list[list[str]]]:
    """Column titles and text: one row for every arm of every study."""
    rows = []
    for variant in record["variants"]:
        for arm, outcomes in variant["result"]["arms"].items():
            cells = [_cell(outcomes, name, share) for _, name, share in COLUMNS]
            rows.append([variant["name"], arm, *cells])
    return ["study", "arm", *(title for title, _, _ in COLUMNS)], rows


def _cell(outcomes: Record, name: str, share: bool) -> str:
    if name == "not given":
        parts = [outcomes[f"category {kind}"]["mean"] for kind in ("withheld", "stopped")]
        return "–" if None in parts else percent_text(sum(parts)).removesuffix(" %")
    mean = outcomes[name]["mean"]
    return percent_text(mean).removesuffix(" %") if share else number_text(mean)


def comparison_document(record: Record) -> Document:
    """The comparison as a document."""
    first = record["variants"][0]["result"]
    titles, rows = comparison_rows(record)
    words = (
        f"{first['trials']} trials of {first['subjects']} subjects each, seed {first['seed']}: all studies use the "
        "same virtual subjects, so that they differ by protocol or schedule alone. Means over trials; doses are true "
        "doses, medians of the subjects of a trial; thresholds are the same for all, whatever the limits of a protocol."
    )
    notes = (
        "BED: kidneys, Gy; 28 Gy was proposed with and 40 Gy without risk factors (Bodei et al. 2008). Lower, "
        "higher, not given: decisions about cycles 2 and later. G3+: subjects with haemoglobin, platelets or "
        "neutrophils of grade 3 or more. Off > 10 %: measured cycles whose kidney dose is off by more than 10 %. A "
        "protocol that permits no increase after a single scan never increases with one scan a cycle."
    )
    columns = tuple(Column(rich(t), align="left" if i < 2 else "right") for i, t in enumerate(titles))
    table = Table(columns, tuple(tuple(rich(c) for c in row) for row in rows), notes=(rich(notes),))
    blocks: tuple[Block, ...] = (
        Paragraph(rich(words)),
        Heading(rich("By study and arm")),
        table,
        *_stopping(record),
        *_figure(record),
    )
    return Document(
        title=rich("Comparison of virtual trials"),
        subtitle=rich(", ".join(v["name"] for v in record["variants"])),
        header=("Comparison", f"seed {first['seed']}"),
        intended_use=INTENDED_USE,
        blocks=blocks,
    )


def _stopping(record: Record) -> list[Block]:
    """Share of trials in which any arm is stopped, by rule."""
    by_study = [[rule["rule"] for rule in v["result"]["stopping"]["rules"]] for v in record["variants"]]
    rules = [rule for rule in by_study[0] if all(rule in names for names in by_study)]
    if not rules:
        return []
    rows = []
    for variant in record["variants"]:
        found = {r["rule"]: r["stopped"]["any"] for r in variant["result"]["stopping"]["rules"]}
        rows.append([variant["name"], *(percent_text(found.get(rule)) for rule in rules)])
    columns = (Column(rich("Any arm stopped")), *(Column(rich(rule), align="right") for rule in rules))
    return [Heading(rich("Stopping rules")), Table(columns, tuple(tuple(rich(c) for c in row) for row in rows))]


def _figure(record: Record) -> list[Block]:
    bars = [
        LimitBar(
            shorten(f"{arm}, {variant['name']}", 9.5, 80.0),
            row["mean"],
            (row["low"], row["high"]),
            number_text(row["mean"]),
        )
        for variant in record["variants"]
        for arm, outcomes in variant["result"]["arms"].items()
        if (row := outcomes["kidneys true median Gy"])["mean"] is not None
    ]
    picture = limit_panel("Kidney dose, median in a trial", bars, limit_Gy=23.0, limit_text="23 Gy")
    caption = "Median of the subjects of a trial: mean over trials and the range of 90 % of them."
    return [Figure((Panel(picture, "Kidney dose by study and arm"),), rich(caption), columns=2)] if bars else []


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
