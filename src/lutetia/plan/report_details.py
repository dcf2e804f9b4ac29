"""The pages after the first: doses per cycle, curves, images, uncertainty, methods, warnings, provenance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lutetia.plan.report_reading import (
    Result,
    bounds,
    first_line,
    mapping,
    model_name,
    of_same_sum,
    ordered,
    region_name,
    regions_of,
    rows,
    sentences,
    several,
    warnings,
)
from lutetia.report.document import (
    Block,
    Column,
    Facts,
    Figure,
    Heading,
    Inline,
    ListBlock,
    PageBreak,
    Panel,
    Paragraph,
    Span,
    Table,
    rich,
)
from lutetia.report.numbers import (
    NOT_EVALUABLE,
    fixed,
    gigabecquerel,
    given_number,
    interval,
    known,
    nuclide,
    number,
    percent,
    typeset,
    unit,
    with_sd,
)
from lutetia.report.slices import SliceImage


def detail_blocks(
    result: Result, figures: Mapping[str, tuple[Block, ...]], slices: Sequence[SliceImage]
) -> tuple[Block, ...]:
    """Blocks of the second and later pages; `figures` holds those drawn by `report_figures`, by section."""
    blocks: list[Block] = [PageBreak()]
    if rows(result.get("cycles")):
        blocks += [Heading(rich("Course so far")), *figures.get("doses", ()), *_cumulative(result)]
        blocks += [block for cycle in rows(result.get("cycles")) for block in _cycle(cycle)]
        blocks += [Heading(rich("Time–activity curves")), *figures["curves"]] if figures.get("curves") else []
    if slices:
        blocks += [Heading(rich("Images")), *(_image(s) for s in slices), *_registrations(result)]
    blocks += [
        *_decision(result),
        *_uncertainty(result),
        *_labs(result),
        *_methods(result),
        *_warnings(result),
        *_provenance(result),
    ]
    return tuple(blocks)


def _cumulative(result: Result) -> list[Block]:
    entries, cycles = ordered(rows(result.get("cumulative"))), rows(result.get("cycles"))
    if not entries:
        return []
    columns = (
        Column(rich("Region"), width=2.2),
        *(Column(rich(f"Cycle {c.get('number')}"), "Gy", "right", 1.0) for c in cycles),
        Column(rich("All cycles"), "Gy ± SD", "right", 1.5),
        Column(rich("BED"), "Gy", "right", 0.9),
    )
    cells = tuple(_cumulative_row(e, entries, cycles) for e in entries)
    return [Table(columns, cells, caption=rich("Absorbed dose by cycle"))]


def _cumulative_row(
    entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], cycles: Sequence[Mapping[str, Any]]
) -> tuple[Inline, ...]:
    doses = [of_same_sum(entry, entries, cycle).get("absorbed_dose_Gy") for cycle in cycles]
    total = with_sd(known(entry.get("absorbed_dose_Gy")), known(entry.get("absorbed_dose_sd_Gy")))
    method = Span(f" {entry.get('method')}", muted=True) if several(entries, entry.get("region")) else ""
    return (
        rich(region_name(entry.get("region")), method),
        *(_value(number(known(d))) for d in doses),
        _value(total, strong=True),
        _bed(entry.get("bed_Gy"), entry),
    )


def _cycle(cycle: Mapping[str, Any]) -> list[Block]:
    regions = regions_of(cycle)
    activity = mapping(cycle.get("administered_MBq"))
    given: list[Inline | str] = []
    for name, value in activity.items():
        given += [" + "] if given else []
        given += [nuclide(name), f" {gigabecquerel(known(value))} GBq"]
    caption = rich(f"Cycle {cycle.get('number')}", ": " if given else "", *given)
    if not regions:
        return [Paragraph(rich(caption, ". No region of this cycle could be evaluated."))]
    columns = (
        Column(rich("Region"), width=1.9),
        Column(rich("Absorbed dose"), "Gy ± SD", "right", 1.25),
        Column(rich("95 %"), "Gy", "right", 1.1),
        Column(rich("BED"), "Gy", "right", 0.7),
        Column(rich("Gy/GBq"), "", "right", 0.75),
        Column(rich("Effective half-life"), "h", "right", 0.95),
        Column(rich("Extrapo\u00adlated"), "", "right", 0.85),
        Column(rich("Model, basis"), width=1.7),
    )
    table: list[tuple[Inline, ...]] = []
    groups: list[int] = []
    for region in regions:
        groups.append(len(table))
        table += _region_rows(region, by_method=several(regions, region.get("region")))
    notes = _method_notes(regions)
    return [Table(columns, tuple(table), caption=caption, notes=notes, grouped=frozenset(groups))]


def _region_rows(region: Mapping[str, Any], *, by_method: bool) -> list[tuple[Inline, ...]]:
    mass = known(region.get("mass_g"))
    words = [f"{number(mass)} g"] if mass is not None else []
    words += [str(region.get("method"))] if by_method else []
    name = rich(region_name(region.get("region")), Span(f" {', '.join(words)}", muted=True) if words else "")
    total = with_sd(known(region.get("absorbed_dose_Gy")), known(region.get("absorbed_dose_sd_Gy")))
    spread = bounds(region.get("absorbed_dose_interval_Gy"))
    models = tuple(dict.fromkeys(model_name(mapping(e).get("model")) for e in mapping(region.get("nuclides")).values()))
    head = (
        name,
        _value(total, strong=True),
        rich(interval(spread)) if spread else rich(),
        _bed(region.get("bed_Gy"), region),
        rich(),
        rich(),
        rich(),
        rich(Span(models[0], muted=True)) if len(models) == 1 else rich(),
    )
    shown = len(models) > 1
    return [head, *(_nuclide_row(n, mapping(e), model=shown) for n, e in mapping(region.get("nuclides")).items())]


def _nuclide_row(name: str, entry: Mapping[str, Any], *, model: bool) -> tuple[Inline, ...]:
    half_life = known(entry.get("effective_half_life_h"))
    share = known(entry.get("extrapolated_fraction"))
    basis = [str(w) for w in (entry.get("basis"), model_name(entry.get("model")) if model else None) if w]
    return (
        tuple(Span(s.text, raised=s.raised, muted=True) for s in nuclide(name)),
        _value(with_sd(known(entry.get("absorbed_dose_Gy")), known(entry.get("absorbed_dose_sd_Gy")))),
        rich(),
        rich(),
        _optional(known(entry.get("Gy_per_GBq"))),
        rich() if half_life is None else rich(fixed(half_life, 1)),
        rich() if share is None else rich(percent(share)),
        tuple(Span(s.text, raised=s.raised, muted=True) for s in typeset(", ".join(basis))),
    )


def _method_notes(regions: Sequence[Mapping[str, Any]]) -> tuple[Inline, ...]:
    found: dict[str, list[str]] = {}
    for region in regions:
        if region.get("method") and not several(regions, region.get("region")):
            found.setdefault(str(region["method"]), []).append(str(region.get("region")))
    return tuple(typeset(f"{first_line(', '.join(names))}: {method}.") for method, names in found.items())


def _image(image: SliceImage) -> Figure:
    return Figure((Panel(image.png, image.alt),), typeset(image.caption))


def _uncertainty(result: Result) -> list[Block]:
    draws, seed = result.get("draws"), result.get("seed")
    text = (
        f"Each value is computed at nominal inputs. Its standard deviation and central 95 % interval come from {draws} "
        f"draws (seed {seed}) in which calibration, counts, recovery, volume, fit and mass vary; what scans, organs, "
        "nuclides and cycles share is drawn once for all of them. Chances below 1 % or above 99 % are given as bounds."
    )
    blocks: list[Block] = [Heading(rich("Uncertainty")), Paragraph(rich(text))]
    sizes = {name: known(size) for name, size in mapping(result.get("uncertainty_percent")).items()}
    if sizes:
        listed = [
            (rich(first_line(n.removesuffix("_percent").replace("_", " "))), _percent(s)) for n, s in sizes.items()
        ]
        blocks += [Heading(rich("Input uncertainties, one standard deviation"), 2), Facts(tuple(listed))]
    return blocks


def _percent(size: float | None) -> Inline:
    return rich(NOT_EVALUABLE if size is None else f"{given_number(size)} %")


def _decision(result: Result) -> list[Block]:
    """Every reason of the controller, as it gave it."""
    prescription = mapping(result.get("prescription"))
    reasons = sentences(prescription.get("reasons"))
    if not reasons:
        return []
    moment = prescription.get("decision_at")
    lead = [Paragraph(rich(f"Decided as of {_moment(moment)}."))] if moment else []
    return [Heading(rich("Decision in full")), *lead, ListBlock(tuple(typeset(first_line(r)) for r in reasons))]


def _labs(result: Result) -> list[Block]:
    found = rows(result.get("labs"))
    heading = Heading(rich("Laboratory values"))
    if not found:
        return [heading, Paragraph(rich("None were given with this case; the toxicity rules could not be applied."))]
    columns = (
        Column(rich("Analyte"), width=2.0),
        Column(rich("Value"), "", "right", 1.0),
        Column(rich("Unit"), width=1.2),
        Column(rich("Taken at"), width=2.4),
        Column(rich("CTCAE grade"), "", "right", 1.2),
    )
    cells = tuple(
        (
            rich(first_line(str(row.get("analyte") or ""))),
            _value(given_number(known(row.get("value")))),
            unit(str(row.get("unit") or "")),
            rich(_moment(row.get("taken_at"))),
            _value(NOT_EVALUABLE if known(row.get("grade")) is None else fixed(float(row["grade"]), 0)),
        )
        for row in found
    )
    return [heading, Table(columns, cells)]


def _registrations(result: Result) -> list[Block]:
    """How well every scan fits the one that the regions were drawn on."""
    cells = [
        (
            rich(f"{cycle.get('number')}"),
            rich(f"{row.get('scan')}"),
            _value(_optional_number(row.get("time_h"), 0)),
            rich(str(row.get("method") or "")),
            _value(_optional_number(row.get("correlation"), 2)),
            _value(_optional_number(row.get("inverse_consistency_mm"), 1)),
            _value(_percent_of(row.get("overlap"))),
            rich(_worst(row)),
        )
        for cycle in rows(result.get("cycles"))
        for row in rows(cycle.get("registrations"))
    ]
    if not cells:
        return []
    columns = (
        Column(rich("Cycle"), width=0.6),
        Column(rich("Scan"), width=0.6),
        Column(rich("Time"), "h", "right", 0.7),
        Column(rich("Registration"), width=2.2),
        Column(rich("Correlation"), "", "right", 1.0),
        Column(rich("Consistency"), "mm", "right", 1.0),
        Column(rich("Overlap"), "", "right", 0.8),
        Column(rich("Least well aligned"), width=1.8),
    )
    note = (
        "Correlation: of the two CTs inside the body. Consistency: largest distance after registering there and back. "
        "Overlap: share of the body seen in both scans."
    )
    heading = Heading(rich("Registration of the scans"), 2)
    return [heading, Table(columns, tuple(cells), notes=(rich(note),))]


def _optional_number(value: object, places: int) -> str:
    amount = known(value)
    return NOT_EVALUABLE if amount is None else fixed(amount, places)


def _percent_of(value: object) -> str:
    share = known(value)
    return NOT_EVALUABLE if share is None else f"{fixed(100.0 * share, 0)} %"


def _worst(row: Mapping[str, Any]) -> str:
    share = known(row.get("worst_region_correlation"))
    return "" if share is None else f"{row.get('worst_region')} ({fixed(share, 2)})"


def _moment(value: object) -> str:
    """An ISO time as people write it: a space for the T, no seconds where they are zero."""
    return str(value or "").replace("T", " ").replace(":00+", " +").replace(":00Z", " UTC")


def _methods(result: Result) -> list[Block]:
    protocol = mapping(result.get("protocol"))
    name = " ".join(str(protocol[k]) for k in ("name", "version") if protocol.get(k))
    arm = f", arm {protocol['arm']}" if protocol.get("arm") else ""
    source = f" Source: {protocol['source']}." if protocol.get("source") else ""
    title = f" {protocol['title']}." if protocol.get("title") else ""
    blocks: list[Block] = [Heading(rich("Methods and assumptions"))]
    blocks.append(Paragraph(typeset(f"Protocol {name}{arm}.{title}{source}")))
    if protocol.get("illustrative") is True:
        words = "This is an illustrative profile of the protocol: what its publication does not state is assumed."
        blocks.append(Paragraph(rich(Span(words, strong=True))))
    if _predicted(result):
        text = (
            "Y-90 is predicted from the measured Lu-177: same peptide, same infusion and same amino acids are assumed, "
            "so that both nuclides have the same biological kinetics; each has its own decay and electron range."
        )
        blocks.append(Paragraph(typeset(text)))
    others = re.compile(rf"arms\.(?!{re.escape(str(protocol.get('arm')))}\.)")
    if assumptions := [a for a in sentences(protocol.get("assumptions")) if not others.match(a)]:
        lead = "Values of the protocol file that are not established by a publication. They act on the proposal:"
        blocks += [Heading(rich("Assumptions of the protocol"), 2), Paragraph(rich(lead))]
        blocks.append(ListBlock(tuple(typeset(a) for a in assumptions)))
    return blocks


def _predicted(result: Result) -> bool:
    entries = (
        mapping(e)
        for cycle in rows(result.get("cycles"))
        for region in rows(cycle.get("regions"))
        for e in mapping(region.get("nuclides")).values()
    )
    return any("predicted" in str(e.get("basis")) for e in entries)


def _warnings(result: Result) -> list[Block]:
    found = warnings(result)
    if not found:
        return [Heading(rich("Warnings")), Paragraph(rich("None."))]
    columns = (
        Column(rich("Where"), width=1.6),
        Column(rich("Warning"), width=5.0),
        Column(rich("Severity"), width=0.9),
    )
    cells = tuple(
        (typeset(first_line(w.where) or "Whole case"), typeset(first_line(w.message)), rich(w.severity)) for w in found
    )
    return [Heading(rich("Warnings")), Table(columns, cells)]


def _provenance(result: Result) -> list[Block]:
    software, protocol = mapping(result.get("software")), mapping(result.get("protocol"))
    facts: list[tuple[str, Inline]] = [
        ("Software", rich(f"{software.get('name', 'lutetia')} {software.get('version', 'unknown')}")),
        ("Result schema", rich(str(result.get("schema") or "not stated"))),
        ("Inputs, SHA-256", rich(Span(str(result.get("inputs_sha256") or "not stated"), code=True))),
        ("Protocol", rich(" ".join(str(protocol[k]) for k in ("name", "version") if protocol.get(k)))),
        ("Draws, seed", rich(f"{result.get('draws')}, {result.get('seed')}")),
    ]
    if protocol.get("sha256"):
        facts.insert(4, ("Protocol file, SHA-256", rich(Span(str(protocol["sha256"]), code=True))))
    return [Heading(rich("Provenance")), Facts(tuple((rich(name), value) for name, value in facts))]


def _bed(value: object, entry: Mapping[str, Any]) -> Inline:
    dose = known(value)
    if dose is None:
        return (
            rich(Span("–", muted=True)) if known(entry.get("absorbed_dose_Gy")) is not None else _value(NOT_EVALUABLE)
        )
    return rich(number(dose))


def _optional(value: float | None) -> Inline:
    return rich() if value is None else rich(number(value))


def _value(text: str, *, strong: bool = False) -> Inline:
    return rich(Span(text, muted=True, emphasis=True)) if text == NOT_EVALUABLE else rich(Span(text, strong=strong))
