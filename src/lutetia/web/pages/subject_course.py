"""The page of one subject: cycles from left to right, doses against the limits, laboratory values, what waits.

Everything that reveals the arm comes from `lutetia.trial.queries`, which gives a masked person none of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from starlette.responses import Response

from lutetia.errors import InputError
from lutetia.report.figures.limits import LimitBar, limit_panel
from lutetia.report.numbers import gigabecquerel, given_number, known, nuclide_text, probability, with_sd, with_unit
from lutetia.trial import queries
from lutetia.trial.masking import HIDDEN
from lutetia.trial.reader import Record
from lutetia.trial.states import CYCLE_BEFORE_GIVEN, SUBJECT_RANDOMISED
from lutetia.web.context import Page, PageContext
from lutetia.web.pages.audit import field_words, table_words
from lutetia.web.pages.subject_frame import subject_page
from lutetia.web.pictures import Dot, sparkline
from lutetia.workflow.course_records import protocol_of, risk_factors
from lutetia.workflow.cycles import following_cycle
from lutetia.workflow.laboratory_reading import GradedValue, analyte_labels, graded_values, lab_number, unit_text

#: Half width of a 95 % interval in standard deviations (assumption: the dose is normally distributed about its value).
_Z95 = 1.96
_CYCLE_TONES = {
    "ASSESSED": "info", "HELD": "warning", "PRESCRIBED": "info", "GIVEN": "ok", "DOSED": "ok", "CLOSED": "ok",
    "DOSE_MISSING": "warning", "WITHHELD": "warning",
}  # fmt: skip
_DAY = 86400.0


def show(page: Page, subject_id: str) -> Response:
    """How the subject's course stands."""
    subject = queries.subject(page.reader, page.actor, subject_id)
    found = {
        name: queries.records(page.reader, page.actor, name, subject_id=subject_id)
        for name in ("cycles", "administrations", "doses", "prescriptions", "forecasts", "disposition", "visits",
                     "responses", "serious_events", "queries", "missing_reasons", "labs")
    }  # fmt: skip
    found["cycles"].sort(key=lambda row: int(row["cycle"]))
    return subject_page(
        page, subject_id, "course", "subjects/course.html", cycles=[_cycle(page, c, found) for c in found["cycles"]],
        step=_step(page, subject, found["cycles"]), panels=_panels(page, subject, found),
        sparks=_sparks(page, subject_id, found["administrations"] if not page.masked else []),
        timeline=_timeline(page, found), asked=_asked(page, found["queries"]), missing=_missing(page, found),
    )  # fmt: skip


def _cycle(page: PageContext, cycle: Record, found: dict[str, list[Record]]) -> dict[str, Any]:
    place = int(cycle["cycle"])
    own = {name: [r for r in found[name] if r["cycle"] == cycle["cycle"]] for name in ("administrations", "doses")}
    started = min((a["started_at"] for a in own["administrations"] if a["started_at"]), default=None)
    return {
        "number": place, "state": cycle["state"], "tone": _CYCLE_TONES.get(cycle["state"], ""),
        "words": page.t.known(f"course.states.{cycle['state']}", otherwise=cycle["state"] or ""),
        "on": _day_given(cycle, found) if cycle["state"] not in CYCLE_BEFORE_GIVEN else cycle["planned_on"],
        "given": started is not None or cycle["state"] not in CYCLE_BEFORE_GIVEN,
        "activities": [_activity(a) for a in own["administrations"]],
        "doses": [_dose(d) for d in own["doses"] if _is_total(d, "cycle")][:3],
        "proposal": _proposal(page, place, found["prescriptions"]) if not own["administrations"] else None,
        "reason": "" if page.masked else cycle["reason"] or "",
    }  # fmt: skip


def _day_given(cycle: Record, found: dict[str, list[Record]]) -> str | None:
    """Local day of the infusion, from its visit, which masked persons may see too; else of the cycle's last state."""
    name = f"cycle {cycle['cycle']}"
    days = (v["done_on"] for v in found["visits"] if v["visit"] == name and v["state"] == "DONE")
    day: str | None = next(days, None) or cycle["state_on"]
    return day


def _activity(row: Record) -> dict[str, str]:
    return {
        "nuclide": nuclide_text(row["nuclide"]),
        "given": gigabecquerel(row["administered_MBq"]),
        "prescribed": gigabecquerel(row["prescribed_MBq"]),
    }


def _dose(row: Record) -> dict[str, str]:
    value = with_sd(row["absorbed_dose_Gy"], row["absorbed_dose_sd_Gy"], most=2)
    missing = row["missing_reason"] if row["absorbed_dose_Gy"] is None else ""
    return {"region": row["region"], "value": value, "missing": missing or "", "basis": row["basis"] or ""}


def _is_total(row: Record, scope: str) -> bool:
    return bool(row["scope"] == scope and row["nuclide"] == "total" and row["region"] in ("kidneys", "red marrow"))


def _proposal(page: PageContext, cycle: int, prescriptions: list[Record]) -> dict[str, Any] | None:
    rows = [r for r in prescriptions if int(r["cycle"]) == cycle]
    if not rows:
        return None
    last = max(int(r["version"]) for r in rows)
    rows = [r for r in rows if int(r["version"]) == last]
    state = rows[0]["state"]
    return {
        "words": page.t.known(f"course.prescriptions.{state}", otherwise=state or ""),
        "tone": {"RELEASED": "ok", "PROPOSED": "warning", "OVERRIDE_PENDING": "warning"}.get(state, ""),
        "activities": [
            (nuclide_text(r["nuclide"]), gigabecquerel(r["prescribed_MBq"] or r["proposed_MBq"])) for r in rows
        ],
    }


def _step(page: PageContext, subject: Record, cycles: list[Record]) -> dict[str, str] | None:
    """What comes next where no cycle waits; None where a cycle is open or the subject's course is over."""
    base, state = f"/subjects/{subject['subject_id']}", subject["state"]
    if state in ("SCREENING", "ELIGIBLE"):
        key, path = ("screen", "screening") if state == "SCREENING" else ("randomise", "randomisation")
        return {
            "title": page.t(f"course.step_{key}"),
            "words": page.t(f"course.step_{key}_words"),
            "href": f"{base}/{path}",
        }
    if state not in ("RANDOMISED", "ON_TREATMENT") or page.masked:
        return None
    if any(c["state"] in CYCLE_BEFORE_GIVEN for c in cycles):
        return None
    if (following := following_cycle(page.trial, page.reader, subject)) is None:
        return {
            "title": page.t("course.step_end"),
            "words": page.t("course.step_end_words"),
            "href": f"{base}/follow-up",
        }
    return {
        "title": page.t("course.step_plan", cycle=following), "words": page.t("course.step_plan_words"),
        "href": f"{base}/cycles/{following}",
    }  # fmt: skip


def _panels(page: PageContext, subject: Record, found: dict[str, list[Record]]) -> list[dict[str, Any]]:
    """Doses against each limit of the arm, as the reports draw them."""
    if page.masked or subject["state"] not in SUBJECT_RANDOMISED or not subject["arm"]:
        return []
    try:
        protocol = protocol_of(page.trial, page.reader)
    except InputError:
        return []  # a study without protocol file has no limits to show
    risks = risk_factors(page.reader, subject["subject_id"], protocol)
    return [_panel(page, limit, found) for limit in protocol.limits_of(subject["arm"], risk_factors=risks)]


def _panel(page: PageContext, limit: Any, found: dict[str, list[Record]]) -> dict[str, Any]:
    column = "bed_Gy" if limit.metric == "bed" else "absorbed_dose_Gy"
    sums = [d for d in found["doses"] if d["scope"] == "cumulative" and d["region"] == limit.region
            and d["nuclide"] == "total" and limit.method in (None, d["method"])]  # fmt: skip
    last = max(sums, key=lambda d: int(d["cycle"] or 0), default=None)
    ahead = _forecasts(limit.region, found, after=int(last["cycle"] or 0) if last else 0)
    bars = [_bar(page, page.t("course.given"), last, column)]
    if last is None and all(c["state"] in CYCLE_BEFORE_GIVEN | {"CANCELLED", "WITHHELD"} for c in found["cycles"]):
        bars = [LimitBar(page.t("course.given"), None, None, page.t("course.nothing_given"))]
    for horizon in ("next", "course"):
        if (row := ahead.get(horizon)) is not None:
            words = page.t("course.after_cycle", cycle=row["cycle"]) if horizon == "next" else page.t("course.at_end")
            bars.append(_bar(page, words, row, column))
    course = ahead.get("course")
    word = page.t("course.limit", dose=given_number(limit.limit_Gy))
    note = page.t("course.bed" if limit.metric == "bed" else "course.absorbed")
    return {
        "svg": limit_panel(limit.region, bars, limit_Gy=limit.limit_Gy, limit_text=word, note=note),
        "alt": f"{limit.region}, {word}: " + "; ".join(f"{b.label} {b.value_text}" for b in bars),
        "over": "" if course is None or course["p_over_limit"] is None else probability(course["p_over_limit"]),
        "high": course is not None and (course["p_over_limit"] or 0.0) > limit.risk,
        "kind": page.t.known(f"course.kinds.{limit.kind}", otherwise=str(limit.kind)),
    }


def _forecasts(region: str, found: dict[str, list[Record]], *, after: int) -> dict[str, Record]:
    """The newest forecasts of a region by horizon; none once the cycle that they precede was measured."""
    rows = [f for f in found["forecasts"] if f["region"] == region and int(f["cycle"]) > after]
    newest = max(((int(f["cycle"]), int(f["version"])) for f in rows), default=None)
    return {f["horizon"]: f for f in rows if (int(f["cycle"]), int(f["version"])) == newest}


def _bar(page: PageContext, label: str, row: Record | None, column: str) -> LimitBar:
    dose = None if row is None else known(row[column])
    if row is None or dose is None:
        reason = "" if row is None else row.get("missing_reason") or ""
        return LimitBar(label, None, None, reason or page.t("course.no_dose"))
    sd = known(row["absorbed_dose_sd_Gy"]) if column == "absorbed_dose_Gy" else None
    spread = None if not sd else (max(0.0, dose - _Z95 * sd), dose + _Z95 * sd)
    return LimitBar(label, dose, spread, with_unit(dose, "Gy"))


def _sparks(page: PageContext, subject_id: str, given: list[Record]) -> list[dict[str, Any]]:
    values = graded_values(page.reader, subject_id)
    if not values:
        return []
    every = [_day(v.taken_at) for rows in values.values() for v in rows]
    starts = sorted({_day(datetime.fromisoformat(a["started_at"])) for a in given if a["started_at"]})
    ends = (min(every + starts), max(every + starts))
    labels = analyte_labels()
    return [_spark(page, labels[name], rows, ends, starts) for name, rows in values.items()]


def _spark(
    page: PageContext, label: str, rows: list[GradedValue], ends: tuple[float, float], starts: list[float]
) -> dict[str, Any]:
    last = rows[-1]
    dots = [Dot(_day(v.taken_at), v.value, v.grade) for v in rows]
    worst = max((v.grade for v in rows if v.grade is not None), default=None)
    return {
        "label": label, "svg": sparkline(dots, days=ends, infusions=starts, normal=(last.lln, last.uln)),
        "value": lab_number(last.value, last.qualifier),
        "unit": unit_text(last.unit),
        "on": last.taken_at.date().isoformat(), "grade": last.grade,
        "worst": worst, "count": len(rows),
    }  # fmt: skip


def _day(moment: datetime) -> float:
    return moment.timestamp() / _DAY


def _timeline(page: PageContext, found: dict[str, list[Record]]) -> list[dict[str, Any]]:
    """What happened and what is planned, the latest first."""
    t, today = page.t, page.today()
    lines = [(d["on"], t.known(f"course.events.{d['event']}", otherwise=d["event"].replace("_", " ")), "", "")
             for d in found["disposition"]]  # fmt: skip
    given = [c for c in found["cycles"] if c["state"] not in CYCLE_BEFORE_GIVEN | {"CANCELLED", "WITHHELD"}]
    lines += [(_day_given(c, found), t("course.cycle_given", cycle=c["cycle"]), "ok", "") for c in given]
    infusions = {f"cycle {c['cycle']}" for c in given}
    lines += [
        (r["assessed_on"], t("course.response", response=r["response"] or "–"), "", "") for r in found["responses"]
    ]
    lines += [
        ((s["aware_at"] or "")[:10], t("course.serious", number=s["ae_id"]), "danger", "")
        for s in found["serious_events"]
    ]
    for visit in found["visits"]:
        done = visit["state"] == "DONE"
        if done and visit["visit"] in infusions:
            continue
        window = "" if done or not visit["window_from_on"] else f"{visit['window_from_on']} – {visit['window_to_on']}"
        late = not done and (visit["window_to_on"] or visit["due_on"] or "9") < today
        tone = "planned" if not done and not late else ("danger" if late else "")
        lines.append((visit["done_on"] if done else visit["due_on"], visit["visit"], tone, window))
    known_days = [line for line in lines if line[0]]
    return [{"on": on, "words": words, "tone": tone, "window": window}
            for on, words, tone, window in sorted(known_days, key=lambda x: x[0], reverse=True)]  # fmt: skip


def _asked(page: PageContext, rows: list[Record]) -> list[dict[str, Any]]:
    waiting = sorted((r for r in rows if r["state"] != "CLOSED"), key=lambda r: str(r["opened_at"]))
    shown = []
    for row in waiting[:8]:
        _, messages = queries.query_thread(page.reader, page.actor, row["query_id"])
        first = min(messages, key=lambda m: int(m["seq"]), default=None)
        what = f"{table_words(page, row['table_name'])}, {field_words(page, row['field'] or '')}"
        text = first["text"] if first and first["text"] != HIDDEN else ""
        shown.append({"number": row["query_id"], "state": row["state"], "text": text, "what": what})
    return shown


def _missing(page: PageContext, found: dict[str, list[Record]]) -> list[dict[str, str]]:
    """Values that are known to be missing, with the reason."""
    rows = [{"what": f"{table_words(page, r['table_name'])}, {field_words(page, r['field'])}", "key": r["record_key"],
             "reason": r["reason"]} for r in found["missing_reasons"]]  # fmt: skip
    labels = analyte_labels()
    rows += [{"what": labels.get(r["analyte"], r["analyte"]), "key": r["taken_at"][:10], "reason": r["missing_reason"]}
             for r in found["labs"] if r["value"] is None and r["missing_reason"]]  # fmt: skip
    return rows
