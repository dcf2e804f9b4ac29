"""The prescription of a cycle on paper: activities, limits, conditions, signatures with their meaning, the audit head.

The document is built from the stored version, never from a preview. Not here: layout (`lutetia.report`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from lutetia import __version__
from lutetia.errors import MissingRecordError
from lutetia.report.document import (
    Block,
    Callout,
    Column,
    Document,
    Facts,
    Heading,
    KeyFigure,
    KeyFigures,
    ListBlock,
    Paragraph,
    Severity,
    Table,
    rich,
)
from lutetia.report.numbers import (
    gigabecquerel,
    interval,
    known,
    nuclide,
    number,
    probability,
    typeset,
)
from lutetia.report.pdf import render_pdf
from lutetia.web.context import Page, PageContext
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles_records import (
    CycleNumber,
    CycleRecords,
    Shown,
    printed_signatures,
    read_cycle,
    shown_version,
)

_TONES: dict[str, Severity] = {"RELEASED": "ok", "ADMINISTERED": "ok", "PROPOSED": "warning",
                               "OVERRIDE_PENDING": "warning", "VOID": "danger", "REJECTED": "danger"}  # fmt: skip


def pdf(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """The newest version (or the one that the address names) as PDF."""
    page.refuse_masked()
    found = read_cycle(page, subject_id, cycle)
    version = page.number("version", otherwise=0)
    rows = next((v for v in found.versions if not version or int(v[0]["version"]) == version), None)
    shown = shown_version(page, found, rows) if rows is not None else None
    if shown is None:
        raise MissingRecordError(f"cycle {cycle}: found no stored prescription to print; propose one first")
    content = render_pdf(prescription_document(page, found, shown))
    name = f"{subject_id}-cycle-{cycle}-prescription-{shown.version}.pdf"
    return Response(content, media_type="application/pdf",
                    headers={"Content-Disposition": f'inline; filename="{name}"'})  # fmt: skip


def prescription_document(page: PageContext, found: CycleRecords, shown: Shown) -> Document:
    """The prescription as a document; every page carries program, version and the head of the audit trail."""
    t, subject_id, study = page.t, found.cycle["subject_id"], page.services.study
    receipt = page.trial.head()
    head = f"{receipt.sequence}:{receipt.head[:16]}"
    return Document(
        title=rich(t("cycles.print_title", number=found.number, subject=subject_id)),
        subtitle=rich(t("cycles.print_subtitle", study=study.name, site=found.subject["site"],
                        arm=found.subject["arm"] or "–", version=shown.version)),
        header=(study.study_id, subject_id, t("cycles.cycle", number=found.number)),
        footer=(f"Lutetia {__version__}", t("cycles.print_head", head=head),
                t("cycles.print_at", when=page.local(receipt.at))),
        intended_use=t("frame.intended_use") + (f" · {t('frame.demonstration')}" if study.demonstration else ""),
        blocks=tuple(_blocks(page, found, shown)),
    )  # fmt: skip


def _blocks(page: PageContext, found: CycleRecords, shown: Shown) -> list[Block]:
    t, row = page.t, shown.rows[0]
    state = row["state"]
    blocks: list[Block] = [
        Callout(_TONES[state], rich(t(f"cycles.prescription_states.{state}").capitalize()),
                (typeset(row["void_reason"]),) if row["void_reason"] else ()),
        _figures(page, shown),
        *(Paragraph(typeset(view.first_line(r))) for r in shown.prescription["reasons"][:1]),
        _limits(page, shown, found.number),
    ]  # fmt: skip
    if shown.stale:
        blocks.insert(0, Callout("danger", rich(t("cycles.stale_title", version=shown.version)),
                                 tuple(typeset(s) for s in shown.stale)))  # fmt: skip
    blocks += _signatures(page, found, shown)
    facts = (*view.provenance(page, shown)[:3], (t("cycles.inputs"), shown.inputs),
             (t("cycles.proposal_file"), row["result_sha256"] or "–"))  # fmt: skip
    return [*blocks, Heading(rich(t("cycles.provenance")), 2), Facts(tuple((rich(a), rich(b)) for a, b in facts))]


def _figures(page: PageContext, shown: Shown) -> KeyFigures:
    items = [
        KeyFigure(nuclide(r["nuclide"]), rich(gigabecquerel(r["prescribed_MBq"])), "GBq",
                  (rich(page.t.known(f"cycles.categories.{r['category']}", otherwise=str(r["category"] or ""))),
                   rich(page.t("cycles.base", value=gigabecquerel(r["base_MBq"])), ", ",
                        page.t("cycles.computed", value=gigabecquerel(r["proposed_MBq"])))))
        for r in shown.rows
    ]  # fmt: skip
    bound = view.bound_by(page, shown)
    return KeyFigures(
        (*items, KeyFigure(rich(page.t("cycles.bound_by")), typeset(bound), words=True)) if bound else tuple(items)
    )


def _limits(page: PageContext, shown: Shown, cycle: int) -> Table:
    t = page.t
    columns = (Column(rich(t("cycles.limit_of")), width=2.0), Column(rich(t("cycles.given_so_far")), "Gy", "right"),
               Column(rich(t("cycles.after_cycle", cycle=cycle)), "Gy (95 %)", "right", 1.6),
               Column(rich(t("cycles.end_of_course")), "Gy (95 %)", "right", 1.6),
               Column(rich(t("cycles.chance_at_end")), "", "right"))  # fmt: skip
    return Table(columns, tuple(_limit_row(page, limit) for limit in shown.limits))


def _limit_row(page: PageContext, limit: Mapping[str, Any]) -> tuple[Any, ...]:
    kind = page.t.known(f"cycles.kinds.{limit['kind']}", otherwise=limit["kind"])
    return (
        rich(f"{view.limit_name(limit)}, {kind}"), rich(number(known(limit["given_Gy"]))),
        rich(_predicted(limit, "after_cycle")), rich(_predicted(limit, "end_of_course")),
        rich(probability(known(limit["probability_over_end_of_course"]))),
    )  # fmt: skip


def _predicted(limit: Mapping[str, Any], horizon: str) -> str:
    spread = limit[f"predicted_{horizon}_interval_Gy"]
    value = number(known(limit[f"predicted_{horizon}_Gy"]))
    return f"{value} ({interval(spread)})" if spread else value


def _signatures(page: PageContext, found: CycleRecords, shown: Shown) -> list[Block]:
    t = page.t
    blocks: list[Block] = []
    if shown.conditions:
        blocks += [Heading(rich(t("cycles.acknowledged")), 2), ListBlock(tuple(typeset(c) for c in shown.conditions))]
    note = (shown.rows[0]["further"] or {}).get("note")
    blocks += [Paragraph(rich(t("cycles.note"), ": ", note))] if note else []
    signatures = printed_signatures(page, shown.rows)
    blocks.append(Heading(rich(t("cycles.signatures")), 2))
    lines = tuple(
        rich(s["text"] + (f" — {t('cycles.invalid')}" if s["status"] == "invalid" else "")) for s in signatures
    )
    blocks.append(ListBlock(lines) if lines else Paragraph(rich(t("cycles.no_signature"))))
    if signatures:
        digest = ", ".join(f"{s['digest'][:16]}" for s in signatures)
        blocks.append(Paragraph(rich(t("cycles.digests", digests=digest)), small=True))
    return blocks
