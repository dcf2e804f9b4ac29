"""The report of a plan: a result as a document. Page 1 is the proposal; the evidence follows.

What is here: the order of the parts and the lines that every page carries. Page 1 is `report_proposal`, the later pages
`report_details`, their figures `report_figures`. Nothing is computed: every number comes from the result.
"""

from __future__ import annotations

from lutetia.plan.report_details import detail_blocks
from lutetia.plan.report_figures import detail_figures
from lutetia.plan.report_proposal import proposal_blocks, proposal_title
from lutetia.plan.report_reading import Result, mapping, rows
from lutetia.report.document import Document, Inline, rich
from lutetia.report.numbers import fixed, known
from lutetia.report.slices import SliceImage

INTENDED_USE = "For research and trial use under a protocol; a person signs; not a medical device."


def plan_document(result: Result, *, slices: tuple[SliceImage, ...] = ()) -> Document:
    """The report of a result.

    Parameters
    ----------
    result
        As in `result.json`; optional keys may be absent, null means not evaluable.
    slices
        Images with region outlines, in the order in which they are shown.
    """
    return Document(
        title=proposal_title(result),
        subtitle=_subtitle(result),
        header=_header(result),
        footer=_footer(result),
        intended_use=INTENDED_USE,
        blocks=(*proposal_blocks(result), *detail_blocks(result, detail_figures(result), slices)),
    )


def _subtitle(result: Result) -> Inline:
    subject, protocol = mapping(result.get("subject")), mapping(result.get("protocol"))
    parts = [f"Subject {subject.get('id', 'not stated')}"]
    parts += [str(subject["sex"])] if subject.get("sex") else []
    for key, unit in (("age_years", "years"), ("weight_kg", "kg"), ("height_cm", "cm")):
        value = known(subject.get(key))
        parts += [f"{fixed(value, 0)} {unit}"] if value is not None else []
    given = len(rows(result.get("cycles")))
    course = f"protocol {protocol.get('name', 'not stated')}"
    course += " (illustrative)" if protocol.get("illustrative") is True else ""
    course += f", arm {protocol['arm']}" if protocol.get("arm") else ""
    return rich(", ".join(parts), f"; {course}; {given} cycle{'' if given == 1 else 's'} evaluated")


def _header(result: Result) -> tuple[str, ...]:
    subject, protocol = mapping(result.get("subject")), mapping(result.get("protocol"))
    name = " ".join(str(protocol[k]) for k in ("name", "version") if protocol.get(k))
    arm = f", arm {protocol['arm']}" if protocol.get("arm") else ""
    return ("Lutetia plan report", f"Subject {subject.get('id', 'not stated')}", f"Protocol {name}{arm}")


def _footer(result: Result) -> tuple[str, ...]:
    software = mapping(result.get("software"))
    sha = str(result.get("inputs_sha256") or "not stated")
    return (
        f"{software.get('name', 'lutetia')} {software.get('version', 'unknown')}",
        f"inputs SHA-256 {sha[:16]}",
        f"seed {result.get('seed')}",
    )
