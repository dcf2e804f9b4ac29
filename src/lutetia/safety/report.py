"""The closed (by arm) and the open (pooled) report as documents: order of sections, tables, figures, listings.

Not here: the numbers (`lutetia.safety.tables`), the sentences of the first page (`lutetia.safety.findings`), how a
document becomes HTML and PDF (`lutetia.report`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lutetia.core.provenance import software
from lutetia.report.document import (
    Block,
    Callout,
    Document,
    Facts,
    Heading,
    KeyFigure,
    KeyFigures,
    ListBlock,
    PageBreak,
    Paragraph,
    Span,
    rich,
)
from lutetia.report.numbers import typeset
from lutetia.safety.as_treated import SUFFIX
from lutetia.safety.catalogue import OPEN
from lutetia.safety.cells import SafetyTable, pooled
from lutetia.safety.context import Context
from lutetia.safety.figure_catalogue import FIGURES
from lutetia.safety.findings import Finding, finding_table
from lutetia.safety.listings import listings
from lutetia.safety.methods import Methods, printed_cut
from lutetia.safety.printing import printed_table
from lutetia.safety.suppression import SMALLEST_SHOWN, suppress_small, without_denominator, without_rows_a_nuclide

CLOSED_USE = "By arm: for the data monitoring board only. Describes groups; not for decisions about a patient."
OPEN_USE = "Pooled over all arms, small numbers suppressed. Describes groups; not for decisions about a patient."


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the closed report: tables and figures in order."""

    title: str
    parts: tuple[str, ...]


SECTIONS: tuple[Section, ...] = (
    Section("Subjects", ("F1", "T1", "T2")),
    Section("Activities and their modification", ("F2", "F11", "T4", "T3")),
    Section("Absorbed doses", ("F4", "T6", "T6b", "F3", "F12", "T17", "T5")),
    Section("Blood counts", ("F6", "F5", "F8", "T7", "T7b", "T8", "T9", "T18")),
    Section("Dose and effect", ("F7", "T13", "T14")),
    Section("Kidneys", ("F10", "T11")),
    Section("Liver", ("F9", "T12")),
    Section("Adverse events", ("T10",)),
    Section("Stopping rules", ("F13", "T16")),
)
# Tables that are printed by arm as treated too, where somebody crossed over.
AS_TREATED = ("T9", "T10", "T11")
# Wide tables are printed in parts: columns by key or by the beginning of their keys.
PARTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "T4": (
        ("decisions", "reduced", "unchanged", "increased", "withheld", "stopped", "override"),
        ("decisions", "previous "),
        ("decisions", "reason "),
    ),
}


@dataclass(frozen=True, slots=True)
class Reported:
    """What both reports are made of."""

    context: Context
    tables: Mapping[str, SafetyTable]
    findings: tuple[Finding, ...]
    methods: Methods


def closed_document(reported: Reported) -> Document:
    """The report by arm."""
    context = reported.context
    blocks: list[Block] = [*_front(reported), PageBreak()]
    for section in SECTIONS:
        blocks.append(Heading(rich(section.title)))
        for part in section.parts:
            blocks += _part(reported, part)
    blocks += _as_treated(reported.tables)
    blocks += [Heading(rich("Listings")), *listings(context)]
    blocks += [Heading(rich("Data and missing values")), *table_blocks(reported.tables["T15"])]
    blocks += [Heading(rich("Methods")), *_methods(reported.methods), *_provenance(context)]
    return _document(context, "closed, by arm", CLOSED_USE, blocks)


def _as_treated(tables: Mapping[str, SafetyTable]) -> list[Block]:
    """Toxicity by arm as treated, where somebody crossed over; the other tables are in the record only."""
    changed = [name for name in tables if name.endswith(SUFFIX)]
    if not changed:
        return []
    printed = [name for name in changed if name.removesuffix(SUFFIX) in AS_TREATED]
    others = ", ".join(name.removesuffix(SUFFIX) for name in changed if name not in printed)
    note = f"By arm as treated; {others} by arm as treated are in interim.json."
    blocks: list[Block] = [Heading(rich("Sensitivity: arms as treated")), Paragraph(rich(note), small=True)]
    return [*blocks, *(block for name in printed for block in table_blocks(tables[name]))]


def open_document(reported: Reported) -> Document:
    """The report pooled over arms with small numbers suppressed."""
    context = reported.context
    tables = {name: suppress_small(pooled(reported.tables[name])) for name in OPEN}
    tables["T15"] = without_rows_a_nuclide(tables["T15"])
    if 0 < len(context.sets.itt) - len(context.sets.saf) < SMALLEST_SHOWN:
        tables["T10"] = without_denominator(tables["T10"])
    note = (
        "All arms together. Counts of 1 to 4, and numbers from which such a count could be computed, are shown as “s”; "
        "smallest and largest values are left out. Activities, doses and results by arm are in the closed report."
    )
    blocks: list[Block] = [
        *_simulated(context),
        Callout("info", rich("What this report shows"), (rich(note),)),
        *_open_figures(context, tables),
    ]
    for title, names in (("Subjects", ("T1", "T2")), ("Adverse events", ("T10",)), ("Data", ("T15",))):
        blocks.append(Heading(rich(title)))
        for name in names:
            blocks += table_blocks(tables[name])
    blocks += [Heading(rich("Methods")), *_methods(reported.methods.pooled(set(OPEN))), *_provenance(context)]
    return _document(context, "open, pooled", OPEN_USE, blocks)


def table_blocks(table: SafetyTable) -> list[Block]:
    """A table, in parts where it is too wide for a page."""
    parts = PARTS.get(table.id.removesuffix(SUFFIX))
    if parts is None:
        return [printed_table(table)]
    blocks: list[Block] = []
    for n, names in enumerate(parts):
        columns = tuple(c for c in table.columns if any(_named(c.key, name) for name in names))
        kept = {c.key for c in columns}
        cells = tuple(c for c in table.cells if c.column in kept)
        notes = table.footnotes if n == len(parts) - 1 else ()
        title = table.title if n == 0 else f"{table.title} (continued)"
        part = SafetyTable(table.id, title, table.analysis_set, columns, table.rows, cells, notes)
        blocks.append(printed_table(part))
    return blocks


def _named(key: str, name: str) -> bool:
    return key.startswith(name) if name.endswith(" ") else key == name


def _part(reported: Reported, name: str) -> list[Block]:
    if name.startswith("F"):
        return [FIGURES[name](reported.context)] if name in FIGURES else []
    return table_blocks(reported.tables[name])


def _front(reported: Reported) -> list[Block]:
    context = reported.context
    blocks: list[Block] = [*_simulated(context), _key_figures(context), Heading(rich("What the data show"))]
    blocks += [finding_table(reported.findings)]
    blocks.append(
        Paragraph(
            rich(
                "“Shown” means that the 95 % interval, or where several are tested the p-value adjusted by Holm, "
                "excludes no effect. “Not shown” is not proof of absence: the interval says what remains possible. "
                "Sentences are made from the tables by fixed rules."
            ),
            small=True,
        )
    )
    return blocks


def _simulated(context: Context) -> list[Block]:
    if not context.data.study.simulated:
        return []
    text = rich("These are virtual subjects. The report shows what the software does, not what a treatment does.")
    return [Callout("warning", text, (), "simulated data")]


def _key_figures(context: Context) -> KeyFigures:
    sets, deaths = context.sets, context.data["disposition"]
    died = deaths[(deaths["event"] == "died") & deaths["subject_id"].isin(sets.itt)]["subject_id"].nunique()
    cycles = len(context.infusions[context.infusions["subject_id"].isin(sets.saf)])
    return KeyFigures(
        (
            KeyFigure(rich("Randomised"), rich(str(len(sets.itt))), details=(rich(_by_arm(context, "ITT")),)),
            KeyFigure(rich("Treated"), rich(str(len(sets.saf))), details=(rich(f"{cycles} cycles given"),)),
            KeyFigure(rich("Doses complete"), rich(str(len(sets.dos))), details=(rich(_by_arm(context, "DOS")),)),
            KeyFigure(rich("Deaths"), rich(str(died)), details=(rich("from any cause, by the cut"),)),
        )
    )


def _by_arm(context: Context, members: str) -> str:
    return ", ".join(f"{arm} {len(context.sets.of(members, arm))}" for arm in context.arms)


def _open_figures(context: Context, tables: Mapping[str, SafetyTable]) -> list[Block]:
    """Randomised and treated, unless they are small."""
    sets = context.sets
    items = [
        KeyFigure(rich("Randomised"), rich(str(len(sets.itt)))),
        KeyFigure(rich("Treated"), rich(str(len(sets.saf)))),
    ]
    small = any(0 < v < SMALLEST_SHOWN for v in (len(sets.itt), len(sets.saf), len(sets.itt) - len(sets.saf)))
    return [] if small else [KeyFigures(tuple(items))]


def _methods(methods: Methods) -> list[Block]:
    blocks: list[Block] = []
    for title, lines in methods.sections():
        blocks.append(Heading(rich(title), 2))
        blocks.append(ListBlock(tuple(typeset(line) for line in lines)))
    return blocks


def _provenance(context: Context) -> list[Block]:
    data, own = context.data, software()
    cut = printed_cut(data.cut.text)
    items = [
        ("Study", data.study.title),
        ("Data cut", cut),
        ("Snapshot", str(data.snapshot.get("id", ""))),
        ("Snapshot SHA-256", data.snapshot_sha256),
        ("Snapshot taken", str(data.snapshot.get("extracted_at", "not stated"))),
        ("Audit head", str(data.snapshot.get("audit_head") or "none")),
        ("Protocol", f"{data.study.protocol} {data.study.protocol_version}, SHA-256 {data.study.protocol_sha256}"),
        ("CTCAE", f"version {data.study.ctcae}"),
        ("Software", f"{own['name']} {own['version']}"),
        ("Bootstrap", f"{context.resamples} resamples, seed {context.seed}"),
    ]
    facts = Facts(tuple((rich(name), rich(Span(value) if value else "not stated")) for name, value in items))
    return [Heading(rich("Provenance"), 2), facts]


def _document(context: Context, kind: str, use: str, blocks: Sequence[Block]) -> Document:
    data, own = context.data, software()
    cut = printed_cut(data.cut.text)
    protocol = f"protocol {data.study.protocol} {data.study.protocol_version}"
    head = str(data.snapshot.get("audit_head") or "")[:10]
    trail = (f"audit head {head}",) if head else ()
    marks = (f"cut {cut}", f"snapshot {data.snapshot_sha256[:16]}", *trail, f"{own['name']} {own['version']}", protocol)
    return Document(
        title=rich("Interim safety report"),
        subtitle=rich(f"{data.study.title or data.study.protocol}; {kind}; data cut {cut}"),
        header=(f"Interim safety report: {kind}", f"data cut {cut}", protocol),
        footer=(
            f"snapshot {data.snapshot_sha256}",
            *trail,
            f"{own['name']} {own['version']}",
            f"CTCAE {data.study.ctcae}",
        ),
        intended_use=use,
        stamp=" · ".join(marks),
        blocks=tuple(blocks),
    )
