"""The page of one cycle: where it stands, the proposal with its limits, what was given, doses, and what-if."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from lutetia.errors import InputError
from lutetia.report.numbers import gigabecquerel, nuclide_text
from lutetia.trial import queries
from lutetia.web.context import Page, PageContext
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles_actions import next_steps
from lutetia.web.pages.cycles_records import (
    CycleNumber,
    CycleRecords,
    Shown,
    printed_signatures,
    read_cycle,
    shown_proposal,
)
from lutetia.workflow.course_records import GIVEN_STATES, lab_conditions
from lutetia.workflow.dosimetry_pictures import KIND, SUPERSEDED
from lutetia.workflow.proposal import WhatIf, what_if

#: Largest activity that can be tried, in MBq.
MOST_MBQ = 1e5


def show(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """The page of a cycle; the form that plans it where it is the next one and not planned yet."""
    every = queries.of_subject(page.reader, page.actor, "cycles", subject_id)
    following = max((int(c["cycle"]) for c in every), default=0) + 1
    if cycle == following and page.may("enter_data", queries.subject_site(page.reader, subject_id)):
        return page.redirect(f"/subjects/{subject_id}/cycles/new")
    return render_cycle(page, subject_id, cycle)


def render_cycle(page: PageContext, subject_id: str, cycle: int, *, problem: str = "", status: int = 200) -> Response:
    """The page, with what was wrong with a step that was just tried."""
    found = read_cycle(page, subject_id, cycle)
    values = view.head(page, found) | {"problem": problem}
    if page.masked:
        return page.render("cycles/masked.html", status=status, **values)
    shown = shown_proposal(page, found)
    values |= {
        "steps": next_steps(page, found, shown), "given": view.given_views(page, found),
        "prose": shown if isinstance(shown, str) else "",
        "p": _proposal(page, found, shown) if isinstance(shown, Shown) else None,
        "tries": what_if_fields(shown) if isinstance(shown, Shown) else (), "assessment": _assessment(found),
        "lacking": _lacking(page, found),
        "labs_now": () if found.cycle["state"] in GIVEN_STATES else view.labs_now(page, subject_id),
        "versions": _versions(page, found), "void": _void(page, found),
        "treated": found.cycle["state"] in GIVEN_STATES,
    }  # fmt: skip
    values |= _dosimetry(page, found)
    return page.render("cycles/show.html", status=status, **values)


def try_activities(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """What other activities would mean for every limit: a fragment, computed at once; nothing is stored."""
    page.refuse_masked()
    read_cycle(page, subject_id, cycle)
    asked = {name.partition(".")[2]: page.argument(name) for name in page.request.query_params if "." in name}
    activities = {name: _activity(page, name, text) for name, text in asked.items()}
    version = page.number("version", otherwise=0) or None
    limits = what_if(page.trial, page.actor, WhatIf(subject_id, cycle, activities, version))
    return page.render("cycles/tried.html", limits=view.limit_views(page, limits, cycle))


def _activity(page: PageContext, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        message = page.t("form.not_a_number", field=nuclide_text(name), found=text)
        raise InputError(message) from error
    if not 0 <= value <= MOST_MBQ:
        raise InputError(page.t("cycles.not_an_activity", nuclide=nuclide_text(name), most=f"{MOST_MBQ:.0f}"))
    return value


def what_if_fields(shown: Shown) -> list[dict[str, Any]]:
    """One slider a nuclide, from zero to the cap, or to one and a half times the base."""
    decision = shown.prescription
    cap = {decision["variable"]: decision["cap_MBq"]} if decision["variable"] else {}
    found = []
    for name, base in decision["base_MBq"].items():
        value = shown.activities.get(name, base)
        top = max(cap.get(name) or 1.5 * base, value)
        found.append(
            {"name": name, "text": nuclide_text(name), "value": f"{value:g}", "top": f"{50 * -(-top // 50):g}"}
        )
    return found


def _proposal(page: PageContext, found: CycleRecords, shown: Shown) -> dict[str, Any]:
    row = shown.rows[0] if shown.rows else None
    further = (row["further"] or {}) if row else {}
    return {
        "shown": shown, "state": row["state"] if row else shown.prescription["state"], "version": shown.version,
        "row": row, "activities": view.activities(page, shown), "bound": view.bound_by(page, shown),
        "limits": view.limit_views(page, shown.limits, found.number), "reasons": view.reasons(shown),
        "labs": view.labs(page, shown), "provenance": view.provenance(page, shown), "note": further.get("note") or "",
        "decided": local_decision(page, shown), "conditions": shown.conditions, "stale": shown.stale,
        "warnings": list(dict.fromkeys(view.first_line(w) for w in shown.record["warnings"])),
        "signatures": printed_signatures(page, shown.rows),
        "controller": shown.prescription["state"],
    }  # fmt: skip


def local_decision(page: PageContext, shown: Shown) -> str:
    """When the decision was computed, as local time."""
    at = shown.prescription["decision_at"]
    return page.local(at) if at else "–"


def _assessment(found: CycleRecords) -> dict[str, Any] | None:
    if not found.assessments:
        return None
    last = max(found.assessments, key=lambda a: a["assessment"])
    findings = last["findings"] or {}
    active = {n: s["stage"] for n, s in (findings.get("states") or {}).items() if s["stage"] != "NONE"}
    return {"on": last["assessed_on"], "by": last["decided_by"], "decision": last["decision"], "stages": active,
            "reasons": findings.get("reasons") or (), "no_increase": findings.get("no_increase") or ()}  # fmt: skip


def _lacking(page: PageContext, found: CycleRecords) -> tuple[str, ...]:
    if found.cycle["state"] not in ("PLANNED", "HELD"):
        return ()
    return lab_conditions(page.reader, found.cycle["subject_id"], datetime.fromisoformat(page.reader.now))


def _void(page: PageContext, found: CycleRecords) -> dict[str, Any] | None:
    """The newest version where it is void or rejected: it must not be overlooked."""
    newest: Sequence[dict[str, Any]] = found.versions[0] if found.versions else ()
    if not newest or newest[0]["state"] not in ("VOID", "REJECTED"):
        return None
    return {"version": newest[0]["version"], "state": newest[0]["state"], "reason": newest[0]["void_reason"] or ""}


def _versions(page: PageContext, found: CycleRecords) -> list[dict[str, Any]]:
    """Every version ever made, with its signatures; void ones stay."""
    decisions = queries.records(
        page.reader, page.actor, "overrides", subject_id=found.cycle["subject_id"], cycle=found.number
    )
    return [
        {"version": rows[0]["version"], "state": rows[0]["state"], "reason": rows[0]["void_reason"] or "",
         "activities": ", ".join(_prescribed(row) for row in rows),
         "signatures": printed_signatures(page, rows),
         "decisions": [d for d in decisions if d["version"] == rows[0]["version"]]}
        for rows in found.versions
    ]  # fmt: skip


def _prescribed(row: dict[str, Any]) -> str:
    return f"{nuclide_text(row['nuclide'])} {gigabecquerel(row['prescribed_MBq'])} GBq"


def _dosimetry(page: PageContext, found: CycleRecords) -> dict[str, Any]:
    subject_id, result = found.cycle["subject_id"], found.result
    jobs = queries.records(page.reader, page.actor, "jobs", subject_id=subject_id, cycle=found.number)
    stacks = queries.records(
        page.reader, page.actor, "attachments", subject_id=subject_id, cycle=found.number, kind=KIND
    )
    return {
        "doses": view.dose_rows(page, found) if found.doses else None, "curves": view.curve_views(page, result),
        "agreement": view.agreement(page, subject_id, found.number), "result": result, "results": found.results[::-1],
        "warned": view.warning_views(result, found.number), "job": jobs[-1] if jobs else None,
        "stacks": [s for s in stacks if s["state"] != SUPERSEDED],
        "absent": (result["summary"] or {}).get("pictures_absent", ()) if result is not None else (),
        "short": view.short,
    }  # fmt: skip
