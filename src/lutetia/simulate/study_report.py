"""The report of a study as a document: what was simulated, doses and modifications by arm, tests, assumptions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lutetia.errors import OutputError
from lutetia.report.document import (
    Block,
    Callout,
    Column,
    Document,
    Figure,
    Heading,
    KeyFigure,
    KeyFigures,
    ListBlock,
    Panel,
    Paragraph,
    Table,
    rich,
)
from lutetia.report.figures.limits import LimitBar, limit_panel
from lutetia.report.html import render_html
from lutetia.report.pdf import render_pdf
from lutetia.simulate.pictures import line_panel
from lutetia.simulate.population import read_population

INTENDED_USE = (
    "Virtual subjects: the numbers describe the assumptions, not patients. For planning and for testing of a protocol; "
    "not for decisions about a patient."
)
# Fewer forecasts than these tell a share within 14 points at best.
FEWEST_FORECASTS = 50
Record = Mapping[str, Any]
# Rows of the table by arm: words, name of the outcome, whether it is a share.
ROWS: tuple[tuple[str, str, bool], ...] = (
    ("Subjects in a trial", "subjects", False),
    ("Cycles given", "cycles given", False),
    ("Kidney dose, median of subjects (Gy)", "kidneys true median Gy", False),
    ("Kidney dose as measured (Gy)", "kidneys measured median Gy", False),
    ("Measured kidney doses off by > 10 %", "kidneys off by more than 10 %", True),
    ("Kidney BED, median of subjects (Gy)", "kidneys true median BED Gy", False),
    ("Subjects over a kidney BED of 28 Gy", "kidneys BED over 28 Gy", True),
    ("Subjects over a kidney BED of 40 Gy", "kidneys BED over 40 Gy", True),
    ("Marrow dose, median of subjects (Gy)", "red marrow true median Gy", False),
    ("Tumour dose, median of subjects (Gy)", "tumour 1 true median Gy", False),
    ("Decisions: reduced", "category reduced", True),
    ("Decisions: unchanged", "category unchanged", True),
    ("Decisions: increased", "category increased", True),
    ("Decisions: withheld", "category withheld", True),
    ("Decisions: stopped", "category stopped", True),
    ("Decisions above a soft limit (override)", "override proposals", True),
    ("Holds for toxicity, per subject", "holds", False),
    ("Haematology grade 3+, not lymphocytes", "haematology G3+ (not lymphocytes)", True),
    ("Platelets grade 2+", "platelets G2+", True),
    ("Lymphocytes grade 3+", "lymphocytes G3+", True),
    ("Creatinine grade 2+", "creatinine G2+", True),
)
_DOSE_ROWS = next(i for i, row in enumerate(ROWS) if row[1].startswith("category"))


def study_rows(result: Record) -> list[list[str]]:
    """The table by arm as text: name, then mean over trials and the range of 90 % of trials for every arm."""
    rows = []
    over = [(f"Subjects over the limit {li['id']}", f"over {li['id']}", True) for li in result["limits"]]
    for words, name, share in (*ROWS[:_DOSE_ROWS], *over, *ROWS[_DOSE_ROWS:]):
        cells = [arm.get(name) for arm in result["arms"].values()]
        if any(cell is not None for cell in cells):
            rows.append([words, *(_cell(cell, share) for cell in cells)])
    return rows


def rejection_rows(result: Record) -> list[list[str]]:
    """Rejection rates as text."""
    return [
        [_test_words(name), percent_text(row["rejected"]), percent_text(row["standard_error"]), str(row["trials"])]
        for name, row in result["tests"].items()
    ]


def study_document(result: Record) -> Document:
    """The report of a study from its result record."""
    protocol = result["protocol"]
    return Document(
        title=rich(f"Virtual trials of protocol {protocol['name']}"),
        subtitle=rich(
            f"{result['trials']} trials of {result['subjects']} subjects, level {result['level']}, "
            f"biology {result['biology']}, dose effect {result['effect']}, seed {result['seed']}"
        ),
        header=(f"Protocol {protocol['name']} {protocol['version']}", f"level {result['level']}"),
        footer=(f"{result['software']['name']} {result['software']['version']}", f"protocol {protocol['sha256'][:12]}"),
        intended_use=INTENDED_USE,
        blocks=tuple(_blocks(result)),
    )


def write_study(result: Record, folder: Path) -> None:
    """Write `study.json`, `report.html` and `report.pdf` into a folder, each whole or not at all.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    _write_all(folder, {"study.json": _json(result)} | _rendered(study_document(result), "report"))


def write_report(record: Record, document: Document, folder: Path, *, name: str) -> None:
    """Write a record and its document as `name`.json, .html and .pdf; raises as `write_study`."""
    _write_all(folder, {f"{name}.json": _json(record)} | _rendered(document, name))


def _json(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False).encode() + b"\n"


def _rendered(document: Document, name: str) -> dict[str, bytes]:
    return {f"{name}.html": render_html(document).encode(), f"{name}.pdf": render_pdf(document)}


def _write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / f".{name}.part").write_bytes(content)
        for name in contents:
            os.replace(folder / f".{name}.part", folder / name)
    except OSError as error:
        for name in contents:
            (folder / f".{name}.part").unlink(missing_ok=True)
        raise OutputError(
            f"{folder}: cannot be written ({error.strerror}); free space and run the same command again"
        ) from error


def _blocks(result: Record) -> list[Block]:
    blocks: list[Block] = [
        Callout(
            "info",
            rich("What this is"),
            (
                rich(
                    "Virtual subjects with known truth went through measurement, the activity controller and the "
                    "toxicity rules of the protocol. Every number depends on the assumptions at the end."
                ),
            ),
        ),
        _key_figures(result),
        Heading(rich("By arm")),
        _arm_table(result),
        *_figures(result),
    ]
    if result["published"]:
        blocks += [Heading(rich("Published directions")), _published_table(result)]
    blocks += [Heading(rich("Tests")), _test_table(result)]
    blocks += _stopping(result["stopping"])
    blocks += [*_calibration(result["calibration"]), Heading(rich("Assumptions"))]
    return [*blocks, *_assumptions(result)]


def _key_figures(result: Record) -> KeyFigures:
    items = []
    for arm, outcomes in list(result["arms"].items())[:4]:
        kidney = outcomes["kidneys true median Gy"]
        first = next((f"over {li['id']}" for li in result["limits"] if li["region"] == "kidneys"), "")
        over = outcomes.get(first, {"mean": None})
        details = (rich(f"{percent_text(over['mean'])} over the limit"),) if over["mean"] is not None else ()
        items.append(KeyFigure(rich(f"Arm {arm}: kidneys"), rich(number_text(kidney["mean"])), "Gy", details))
    return KeyFigures(tuple(items))


def _arm_table(result: Record) -> Table:
    columns = (Column(rich("")), *(Column(rich(f"Arm {arm}"), align="right") for arm in result["arms"]))
    note = (
        "Mean over trials; in brackets the range that holds 90 % of the trials. Decisions are those about cycles 2 and "
        "later, the variable nuclide against its base. Doses are true doses unless said otherwise. A proposal above a "
        "soft limit counts as given: the override is assumed to be granted."
    )
    return Table(columns, tuple(tuple(rich(cell) for cell in row) for row in study_rows(result)), notes=(rich(note),))


def _figures(result: Record) -> list[Block]:
    panels = []
    for limit in (li for li in result["limits"] if li["metric"] == "absorbed_dose"):
        title, name, bars = f"{limit['id']}: median dose in a trial", f"{limit['region']} true median Gy", []
        for arm, outcomes in result["arms"].items():
            row = outcomes[name]
            if row["mean"] is not None:
                interval = (row["low"], row["high"])
                bars.append(LimitBar(f"Arm {arm}", row["mean"], interval, number_text(row["mean"])))
        if bars:
            value = limit["limit_Gy"]
            picture = limit_panel(title, bars, limit_Gy=value, limit_text=f"{value:g} Gy")
            panels.append(Panel(picture, title))
    caption = "Median of the subjects of a trial: mean over trials and the range of 90 % of them; line: the limit."
    return [Figure(tuple(panels), rich(caption), columns=2)] if panels else []


def _published_table(result: Record) -> Table:
    columns = (Column(rich("Published statement")), Column(rich("Holds in"), "of trials", align="right"))
    rows = tuple((rich(p["statement"]), rich(percent_text(p["share_of_trials"]))) for p in result["published"])
    return Table(columns, rows)


def _test_table(result: Record) -> Table:
    columns = (
        Column(rich("Test at 5 %")),
        Column(rich("Rejects"), align="right"),
        Column(rich("Standard error"), align="right"),
        Column(rich("Trials"), align="right"),
    )
    note = (
        "The tests are those of the interim report. Dose: measured marrow dose of cycle 1 against log(nadir of cycle 1 "
        "/ baseline), adjusted for arm; with an effect the rate is the power, without one that of false alarms. "
        "Category: reduced, unchanged, increased against the lowest value of the course; pooled over arms it confuses "
        "arm and category. Only the first trials of a long study are tested."
    )
    return Table(columns, tuple(tuple(rich(c) for c in row) for row in rejection_rows(result)), notes=(rich(note),))


def stopping_titles(stopping: Record) -> list[str]:
    """Column titles of `stopping_rows`."""
    return ["stopping rule", *(f"arm {arm}" for arm in stopping["event_rate"]), "any", *_rate_titles(stopping)]


def _rate_titles(stopping: Record) -> list[str]:
    rules = stopping["rules"]
    return [f"at {100.0 * float(rate):.0f} %" for rate in rules[0]["exact_at_rate"]] if rules else []


def stopping_rows(stopping: Record) -> list[list[str]]:
    """Share of trials that each rule stops, by arm and for any arm, then the exact probability at true event rates."""
    rows = [
        [
            rule["rule"],
            *(percent_text(share) for share in rule["stopped"].values()),
            *(percent_text(share) for share in rule["exact_at_rate"].values()),
        ]
        for rule in stopping["rules"]
    ]
    rates = [percent_text(rate) for rate in stopping["event_rate"].values()]
    return [["event rate", *rates, "", *("" for _ in _rate_titles(stopping))], *rows] if rows else []


def _stopping(stopping: Record) -> list[Block]:
    rows = stopping_rows(stopping)
    if not rows:
        return []
    titles = stopping_titles(stopping)
    columns = tuple(Column(rich(t), align="right" if i else "left") for i, t in enumerate(titles))
    note = (
        "By arm and for any arm: share of trials in which the boundary is crossed; at rates: exact probability for one "
        f"arm. Event: {stopping['event']}, within {stopping['within_days']:.0f} days of the first infusion. The trial "
        "goes on here whatever a rule says. p0: acceptable rate; τ: posterior probability that stops; looks."
    )
    table = Table(columns, tuple(tuple(rich(c) for c in row) for row in rows), notes=(rich(note),))
    return [Heading(rich("Stopping rules")), table]


def coverage_rows(calibration: Record) -> list[list[str]]:
    """Coverage of the nominal 95 % intervals as text."""
    return [
        [row["quantity"], f"{100.0 * row['share_that_holds_the_truth']:.1f} %", str(row["intervals"])]
        for row in calibration["coverage"]
        if row["intervals"]
    ]


def _calibration(calibration: Record) -> list[Block]:
    rows = coverage_rows(calibration)
    if not rows:
        return []
    columns = (
        Column(rich("Nominal 95 % interval of the dose")),
        Column(rich("Holds the truth"), align="right"),
        Column(rich("Intervals"), align="right"),
    )
    lines = {
        row["horizon"]: [(b["said"], b["came_true"]) for b in row["bins"] if b["forecasts"] >= FEWEST_FORECASTS]
        for row in calibration["reliability"]
    }
    picture = line_panel(
        "P(over a limit): said and come true", lines, x_title="probability that was said",
        y_title="share that came true", x_range=(0.0, 1.0), y_high=1.0, diagonal=True,
    )  # fmt: skip
    caption = (
        "Forecasts before every cycle, kidneys and marrow, in ten classes of the probability that was said (those of "
        f"fewer than {FEWEST_FORECASTS} are left out); dashed: perfect. The end of the course is compared with the "
        "dose that the prescribed activity would truly have given in all remaining cycles."
    )
    return [
        Heading(rich("Calibration")),
        Table(columns, tuple(tuple(rich(cell) for cell in row) for row in rows)),
        Figure((Panel(picture, "Reliability of the probability over a limit"),), rich(caption), columns=2),
    ]


def _assumptions(result: Record) -> list[Block]:
    population = read_population()
    chosen = [n for n, s in population.quantities.items() if s.status == "assumption"]
    carried = (
        "Base activities, drift 1, even allocation and a risk of 50 % (protocol), the kidney dose of 0.47 Gy/GBq with "
        "a spread of 30 %, and S-values and decay that give 90Y about four times the dose of 177Lu per activity carry "
        "the directions of doses and modifications. Slopes of blood counts carry toxicity and power."
    )
    words = f"Population {result['population']['name']}: {len(chosen)} of {len(population.quantities)} are assumptions."
    items = tuple(rich(text) for text in result["assumptions"])
    return [Paragraph(rich(carried)), Paragraph(rich(words)), ListBlock(items)]


def _test_words(name: str) -> str:
    kind, _, rest = name.partition(" ")
    if kind == "dose":
        analyte, _, source = rest.partition(" ")
        return f"Marrow dose and {analyte}: {'power' if source == 'effect' else 'false alarms'}"
    how, _, analyte = rest.rpartition(" ")
    return f"Category and {analyte}, {how}"


def _cell(row: Record | None, share: bool) -> str:
    if row is None or row["mean"] is None:
        return "–"
    if not share:
        return f"{number_text(row['mean'])} ({number_text(row['low'])}–{number_text(row['high'])})"
    low, high = (f"{100.0 * row[end]:.0f}" for end in ("low", "high"))
    return f"{percent_text(row['mean'])} ({low}–{high})"


def percent_text(value: float | None) -> str:
    """A share as percent; a dash where it is not known."""
    if value is None:
        return "–"
    if 0.0 < value < 0.001:
        return "<0.1 %"
    return f"{100.0 * value:.0f} %" if value >= 0.1 or value == 0.0 else f"{100.0 * value:.1f} %"


def number_text(value: float | None) -> str:
    """A number with about three digits; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
