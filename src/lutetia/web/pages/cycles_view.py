"""Words and pictures of the cycle page: state line, activities, limits, curves, doses, forecasts beside measurements.

Everything here turns records into what a template prints; numbers are formatted by `lutetia.report.numbers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lutetia.report.figures.curves import Curve, time_activity_panel
from lutetia.report.figures.limits import LimitBar, limit_panel
from lutetia.report.numbers import (
    NO_CHANGE,
    change,
    gigabecquerel,
    given_number,
    interval,
    known,
    nuclide_text,
    number,
    percent,
    probability,
    typeset_text,
    with_sd,
    with_unit,
)
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import PageContext
from lutetia.web.pages.cycles_records import CycleRecords, Shown, stored_json
from lutetia.workflow.administration import activity_deviations
from lutetia.workflow.course_records import cycle_window
from lutetia.workflow.laboratory_reading import analyte_labels, decided_number, graded_values, lab_number, unit_text
from lutetia.workflow.verification import bias_of, predicted_and_measured

#: Labels of form fields are the texts `cycles.FIELD`.
FAMILY = "cycles"
STEPS = ("PLANNED", "ASSESSED", "PRESCRIBED", "GIVEN", "DOSED")
#: Other states → the step at which the line stands.
_PLACE = {"HELD": "ASSESSED", "DOSE_MISSING": "DOSED", "CLOSED": "DOSED"}
ENDED = ("WITHHELD", "CANCELLED")
_ORDER = ("kidneys", "left kidney", "right kidney", "red marrow", "spleen", "liver", "salivary glands", "whole body")
_SEVERITY = {"first-line": 0, "warning": 1, "note": 2}
TONES = {"reduced": "warning", "increased": "info", "withheld": "warning", "stopped": "danger"}


def first_line(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def state_line(page: PageContext, found: CycleRecords) -> list[dict[str, str]]:
    """The steps of a cycle, each done, current, ended or to come, with the date on which it was made."""
    state = found.cycle["state"]
    reached = STEPS.index(_PLACE.get(state, state)) if state not in ENDED else -1
    made = _dates(page, found)
    line = []
    for place, step in enumerate(STEPS):
        status = "done" if made[step] and (place < reached or reached < 0) else "todo"
        label = page.t(f"cycles.states.{step}")
        if place == reached:
            status = "held" if state in ("HELD", "DOSE_MISSING") else "current"
            label = page.t(f"cycles.states.{state}")
        line.append({"label": label, "status": status, "detail": made[step]})
    if state in ENDED:
        ended = {"label": page.t(f"cycles.states.{state}"), "status": "held", "detail": found.cycle["state_on"] or ""}
        line = [*(s for s in line if s["status"] == "done"), ended]
    return line


def _dates(page: PageContext, found: CycleRecords) -> dict[str, str]:
    standing, result = found.standing, found.result
    assessed = max((a["assessed_on"] for a in found.assessments), default="")
    signed = page.local(standing[0]["signed_at"]) if standing and standing[0]["signed_at"] else ""
    started = [a["started_at"] for a in found.given if a["started_at"]]
    waiting = standing and standing[0]["state"] in ("PROPOSED", "OVERRIDE_PENDING")
    return {
        "PLANNED": page.t("cycles.for_day", day=found.cycle["planned_on"]),
        "ASSESSED": assessed,
        "PRESCRIBED": page.t("cycles.waits") if waiting else signed,
        "GIVEN": page.local(min(started)) if started else "",
        "DOSED": page.local(result["computed_at"]) if result else "",
    }


def activities(page: PageContext, shown: Shown) -> list[dict[str, Any]]:
    """One big number a nuclide: prescribed (or proposed), beside base and proposal, with its category."""
    decision, prescribed = shown.prescription, shown.activities
    proposed = {r["nuclide"]: float(r["proposed_MBq"]) for r in shown.rows} or dict(decision["activities_MBq"] or {})
    category = {r["nuclide"]: r["category"] for r in shown.rows} or dict(decision["category"] or {})
    found = []
    for name, base in decision["base_MBq"].items():
        value, kind = prescribed.get(name), str(category.get(name) or "")
        against = change(value / base - 1.0) if value is not None and base else ""
        found.append({
            "name": typeset_text(name), "label": nuclide_text(name),
            "value": gigabecquerel(value) if value is not None else "",
            "category": page.t.known(f"cycles.categories.{kind}", otherwise=kind), "tone": TONES.get(kind, ""),
            "base": gigabecquerel(base), "against": "" if against == "no change" else against,
            "proposed": gigabecquerel(proposed.get(name)) if name in proposed else "",
            "changed": name in proposed and value != proposed[name],
        })  # fmt: skip
    return found


def limit_name(limit: Mapping[str, Any]) -> str:
    """A limit as a person reads it: region, value, metric."""
    metric = "BED " if limit["metric"] == "bed" else ""
    return f"{first_line(str(limit['region']))} {metric}{given_number(known(limit['limit_Gy']))} Gy"


def bound_by(page: PageContext, shown: Shown) -> str:
    """What set the activity."""
    code = str(shown.prescription.get("bound_by") or "")
    for limit in shown.limits:
        if limit["id"] == code:
            return limit_name(limit)
    return page.t.known(f"cycles.bounds.{code}", otherwise=code.replace("_", " ")) if code else ""


def limit_views(page: PageContext, limits: Sequence[Mapping[str, Any]], cycle: int) -> list[dict[str, Any]]:
    """Each limit as a picture of dose bars with intervals, and its probabilities."""
    return [_limit_view(page, limit, cycle) for limit in limits]


def _limit_view(page: PageContext, limit: Mapping[str, Any], cycle: int) -> dict[str, Any]:
    top, absent = known(limit["limit_Gy"]) or 0.0, page.t("cycles.not_predicted")
    rows = [(page.t("cycles.given_so_far"), limit["given_Gy"], None),
            (page.t("cycles.after_cycle", cycle=cycle), limit["predicted_after_cycle_Gy"],
             limit["predicted_after_cycle_interval_Gy"]),
            (page.t("cycles.end_of_course"), limit["predicted_end_of_course_Gy"],
             limit["predicted_end_of_course_interval_Gy"])]  # fmt: skip
    bars = [LimitBar(label, known(dose), _pair(spread), with_unit(known(dose), "Gy") if dose is not None else absent)
            for label, dose, spread in rows]  # fmt: skip
    metric = page.t("cycles.metric_bed" if limit["metric"] == "bed" else "cycles.metric_dose")
    text = page.t("cycles.limit", value=given_number(top))
    chance = limit["probability_over_end_of_course"]
    return {
        "name": limit_name(limit), "kind": page.t.known(f"cycles.kinds.{limit['kind']}", otherwise=limit["kind"]),
        "svg": limit_panel(first_line(str(limit["region"])), bars, limit_Gy=top, limit_text=text, note=metric),
        "alt": f"{limit_name(limit)}: " + "; ".join(f"{b.label} {b.value_text}" for b in bars),
        "after": _dash(probability(known(limit["probability_over_after_cycle"]))),
        "end": _dash(probability(known(chance))), "high": chance is not None and chance > 0.5,
        "high_after": (limit["probability_over_after_cycle"] or 0.0) > 0.5,
        "share": _dash(percent(known(limit["controllable_fraction"]))), "binding": bool(limit["binding"]),
        "interval": _dash(interval(limit["predicted_end_of_course_interval_Gy"])),
        "interval_after": _dash(interval(limit["predicted_after_cycle_interval_Gy"])),
        "method": limit["method"] or "",
    }  # fmt: skip


def _pair(spread: Any) -> tuple[float, float] | None:
    return (float(spread[0]), float(spread[1])) if spread is not None else None


def _dash(text: str) -> str:
    return "–" if text == "not evaluable" else text


def reasons(shown: Shown) -> dict[str, list[str]]:
    """Sentences of the decision: why this activity, why not more, what would change it."""
    decision = shown.prescription
    more, other = list(decision["why_not_more"]), list(decision["what_would_change"])
    tabled = tuple(f"{limit['id']} (" for limit in shown.limits)
    said = {*more, *other}
    why = [r for r in decision["reasons"] if r not in said and not r.startswith(tabled)]
    return {
        "why": [typeset_text(first_line(r)) for r in why],
        "more": [typeset_text(first_line(r.partition(": ")[2] or r)) for r in more],
        "other": [typeset_text(first_line(r.partition(": ")[2] or r)) for r in other],
    }


def labs(page: PageContext, shown: Shown) -> list[dict[str, Any]]:
    """The laboratory values of a stored decision with their grades, the worst first."""
    return _lab_lines(page, [_decided(row) for row in shown.record["labs"]])


def labs_now(page: PageContext, subject_id: str) -> list[dict[str, Any]]:
    """The last value of each analyte as it stands now, with its grade, the worst first."""
    latest = [rows[-1] for rows in graded_values(page.reader, subject_id).values()]
    return _lab_lines(page, [(v.analyte, lab_number(v.value, v.qualifier), v.unit, v.taken_at.isoformat(), v.grade)
                             for v in latest])  # fmt: skip


def _decided(row: Mapping[str, Any]) -> tuple[str, str, str, str, int | None]:
    return row["analyte"], decided_number(row), row["unit"], row["taken_at"], row["grade"]


def _lab_lines(page: PageContext, rows: Sequence[tuple[str, str, str, str, int | None]]) -> list[dict[str, Any]]:
    words, newest = analyte_labels(), max((r[3] for r in rows), default="")
    lines = []
    places = {name: place for place, name in enumerate(words)}
    for analyte, value, per, taken, grade in sorted(rows, key=lambda r: (-(r[4] or 0), places.get(r[0], 99))):
        day = page.local(taken)[:10]
        lines.append({
            "analyte": first_line(words.get(analyte, analyte)), "value": value,
            "unit": unit_text(per), "day": "" if day == page.local(newest)[:10] else day,
            "grade": "–" if grade is None else str(grade),
            "tone": ("", "", "warning", "danger", "danger", "danger")[grade or 0],
        })  # fmt: skip
    return lines


def provenance(page: PageContext, shown: Shown) -> list[tuple[str, str]]:
    """By which rules, program, draws and inputs the proposal came about."""
    record, protocol = shown.record, shown.record["protocol"]
    rules = f"{protocol['name']} {protocol['version']}"
    return [
        (page.t("cycles.rules"), rules + (f" ({page.t('cycles.illustrative')})" if protocol["illustrative"] else "")),
        (page.t("cycles.program"), " ".join(record["software"].values())),
        (page.t("cycles.draws"), page.t("cycles.draws_of", draws=record["draws"], seed=record["seed"])),
        (page.t("cycles.inputs"), short(shown.inputs)),
    ]


def short(digest: str | None) -> str:
    """The first digits of a hash."""
    return f"{digest[:12]}…" if digest else "–"


def curve_views(page: PageContext, result: Record | None) -> list[dict[str, Any]]:
    """Measured points with fits and 95 % bands, one picture a region."""
    if result is None or not page.trial.files.has(result["result_sha256"]):
        return []
    entry = stored_json(page, result["result_sha256"])["cycles"][-1]
    found = [(r, _curves(r)) for r in _ordered(entry["regions"])]
    ends = [max(c.grid_h) for r, curves in found for c in curves if r.get("method") != "blood"]
    return [_curve_view(page, region, curves, max(ends, default=0.0) or None) for region, curves in found if curves]


def _curve_view(
    page: PageContext, region: Mapping[str, Any], curves: Sequence[Curve], end_h: float | None
) -> dict[str, Any]:
    blood = region.get("method") == "blood"
    title = page.t("cycles.blood") if blood else first_line(str(region["region"]))
    dose = with_unit(known(region["absorbed_dose_Gy"]), "Gy")
    note = page.t("cycles.marrow_dose", dose=dose) if blood else dose
    per = "MBq/mL" if region.get("method") in ("blood", "image") else "MBq"
    svg = time_activity_panel(title, curves, note=note, unit=per, end_h=None if blood else end_h)
    points = sum(len(c.time_h) for c in curves)
    return {"svg": svg, "alt": page.t("cycles.curve_alt", region=title, points=points, dose=dose)}


def _curves(region: Mapping[str, Any]) -> list[Curve]:
    raw = {n: e["curve"] for n, e in (region.get("nuclides") or {}).items() if e.get("curve")}
    last = max((t for c in raw.values() for t in c.get("time_h") or ()), default=None)
    found = []
    for name, curve in raw.items():
        time, grid = tuple(curve.get("time_h") or ()), tuple(curve.get("grid_h") or ())
        sd = tuple(curve.get("sd_MBq") or ()) or (0.0,) * len(time)
        low, high = (tuple(curve.get(k) or ()) for k in ("fit_low_MBq", "fit_high_MBq"))
        if grid:
            found.append(Curve(name, time, tuple(curve.get("activity_MBq") or ()), sd, grid,
                               tuple(curve["fit_MBq"]), low, high, last))  # fmt: skip
    return found


def _ordered(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda r: _ORDER.index(r["region"]) if r["region"] in _ORDER else len(_ORDER))


def dose_rows(page: PageContext, found: CycleRecords) -> dict[str, Any]:
    """Doses by organ and nuclide with their sum up to this cycle, and the methods that they name by letter."""
    nuclides = sorted({r["nuclide"] for r in found.doses} - {"total"})
    groups: dict[tuple[str, str], dict[tuple[str, str], Record]] = {}
    for row in found.doses:
        groups.setdefault((row["region"], row["method"]), {})[row["scope"], row["nuclide"]] = row
    heads = [{"region": region, "method": method} for region, method in groups]
    methods: dict[str, str] = {}
    rows = [
        _dose_row(page, head, groups[head["region"], head["method"]], nuclides, methods) for head in _ordered(heads)
    ]
    common = _common_bases(found.doses, nuclides)
    for row in rows:
        row["basis"] = "; ".join(words for name, words in row["bases"].items() if name not in common)
    heads_of = [
        {"name": typeset_text(n), "basis": _origin_words(page, common[n]) if n in common else ""} for n in nuclides
    ]
    single = heads_of[0]["basis"] if len(nuclides) == 1 else ""
    if len(nuclides) == 1:  # the sum is this nuclide's dose
        heads_of = []
        for row in rows:
            row["parts"] = []
    return {
        "nuclides": heads_of, "rows": rows, "methods": [(letter, typeset_text(m)) for m, letter in methods.items()],
        "single": single, "bed": any(r["bed"] != "–" for r in rows), "mass": any(r["mass"] != "–" for r in rows),
    }  # fmt: skip


def _common_bases(doses: Sequence[Record], nuclides: Sequence[str]) -> dict[str, str]:
    """Where every dose of a nuclide has the same origin: nuclide → origin."""
    found = {n: {_origin(r) for r in doses if r["nuclide"] == n and r["scope"] == "cycle"} for n in nuclides}
    return {n: next(iter(bases)) for n, bases in found.items() if len(bases) == 1}


def _origin(row: Mapping[str, Any]) -> str:
    """Where a dose comes from, as the chain says it; the exchange format has fewer words."""
    return str((row["further"] or {}).get("basis") or row["basis"])


def _origin_words(page: PageContext, origin: str) -> str:
    return page.t.known(f"cycles.basis.{origin}", otherwise=typeset_text(origin))


def _dose_row(
    page: PageContext, head: Mapping[str, Any], cells: Mapping[tuple[str, str], Record], nuclides: Sequence[str],
    methods: dict[str, str],
) -> dict[str, Any]:  # fmt: skip
    total = cells.get(("cycle", "total"), {})
    text = str((total.get("further") or {}).get("method") or head["method"])
    letter = methods.setdefault(text, chr(ord("a") + len(methods)))
    bases = {n: _origin(cells["cycle", n]) for n in nuclides if ("cycle", n) in cells}
    words = {
        n: page.t("cycles.basis_of", nuclide=nuclide_text(n), basis=_origin_words(page, b)) for n, b in bases.items()
    }
    return {
        "region": first_line(head["region"]) + (f", {head['method']}" if head["region"] == "red marrow" else ""),
        "letter": letter, "bases": words,
        "parts": [_dose(cells.get(("cycle", n))) for n in nuclides], "total": _dose(total),
        "bed": _plain(total.get("bed_Gy")), "mass": _plain(total.get("mass_g")),
        "sum": _dose(cells.get(("cumulative", "total"))), "missing": total.get("missing_reason") or "",
        "inner": head["region"] in ("left kidney", "right kidney"),
    }  # fmt: skip


def _dose(row: Mapping[str, Any] | None) -> str:
    if not row or row.get("absorbed_dose_Gy") is None:
        return "–"
    return with_sd(row["absorbed_dose_Gy"], row.get("absorbed_dose_sd_Gy"))


def _plain(value: float | None) -> str:
    return "–" if value is None else number(value)


def agreement(page: PageContext, subject_id: str, cycle: int) -> list[dict[str, str]]:
    """The sum up to this cycle as it was predicted and as it was measured later, with the subject's mean bias."""
    pairs = predicted_and_measured(page.trial, page.actor, subject_id)
    bias = {b.region: b for b in bias_of(pairs)}
    found = []
    for pair in pairs:
        if pair.cycle != cycle or pair.measured_Gy is None:
            continue
        mean = bias[pair.region].mean_percent if pair.region in bias else None
        found.append({
            "region": first_line(pair.region), "predicted": with_sd(pair.predicted_Gy, pair.predicted_sd_Gy),
            "measured": with_sd(pair.measured_Gy, pair.measured_sd_Gy), "difference": _signed(pair.difference_percent),
            "bias": _signed(mean), "basis": pair.basis if pair.basis != "measured" else "",
            "cycles": page.t.plural("cycles.of_cycles", bias[pair.region].pairs) if mean is not None else "",
        })  # fmt: skip
    return found


def _signed(percent: float | None) -> str:
    """A difference in per cent with its sign, also where it is nought."""
    if percent is None:
        return "–"
    text = change(percent / 100.0)
    return "±0 %" if text == NO_CHANGE else text


def warning_views(result: Record | None, cycle: int) -> list[dict[str, str]]:
    """Warnings of the result that concern this cycle, each once with its places, the gravest first."""
    summary = (result["summary"] or {}) if result is not None else {}
    places: dict[tuple[str, str], list[str]] = {}
    for row in summary.get("warnings") or ():
        where = str(row.get("where") or "")
        if where.startswith("cycle ") and not f"{where},".startswith(f"cycle {cycle},"):
            continue
        key = (str(row["message"]), str(row.get("severity") or "warning"))
        places.setdefault(key, []).append(where.removeprefix(f"cycle {cycle}, "))
    found = [{"text": typeset_text(first_line(text)), "severity": severity,
              "where": ", ".join(dict.fromkeys(w for w in where if w))}
             for (text, severity), where in places.items()]  # fmt: skip
    return sorted(found, key=lambda w: _SEVERITY.get(w["severity"], 1))


def head(page: PageContext, found: CycleRecords) -> dict[str, Any]:
    """What every page below a cycle needs: who, which cycle, its address, its state line."""
    first, last = cycle_window(page.reader, found.cycle)
    every = queries.records(page.reader, page.actor, "cycles", subject_id=found.cycle["subject_id"])
    return {
        "subject": found.subject, "cycle": found.cycle, "number": found.number, "path": found.path,
        "window": (first, last), "line": state_line(page, found),
        "siblings": sorted(int(c["cycle"]) for c in every), "people": queries.people(page.reader),
    }  # fmt: skip


def given_views(page: PageContext, found: CycleRecords) -> list[dict[str, Any]]:
    """What was given, one entry a nuclide, with its deviations."""
    subject_id = found.cycle["subject_id"]
    stored = [d["description"] for d in queries.records(page.reader, page.actor, "deviations", subject_id=subject_id)]
    return [_given_view(page, row, stored) for row in found.given]


def _given_view(page: PageContext, row: Record, stored: Sequence[str]) -> dict[str, Any]:
    amount, prescribed = float(row["administered_MBq"] or 0.0), float(row["prescribed_MBq"] or 0.0)
    measured = row["further"] or {}
    deviations = activity_deviations(page.reader, row["nuclide"], amount, prescribed) if amount else []
    return {
        "nuclide": nuclide_text(row["nuclide"]), "given": amount > 0, "amount": gigabecquerel(amount),
        "prescribed": gigabecquerel(prescribed), "ratio": change(amount / prescribed - 1.0) if prescribed else "",
        "deviations": [_with_explanation(d[2], stored).partition(": ")[2] for d in deviations],
        "off": any(d[0] == "activity" for d in deviations), "batch": row["batch"] or "–",
        "started": page.local(row["started_at"]), "ended": page.local(row["ended_at"]),
        "measured": measured.get("measured_MBq"), "measured_at": page.local(measured.get("measured_at")),
        "residual": row["residual_MBq"], "residual_at": page.local(measured.get("residual_at")),
        "number": number, "version": row["prescription_version"],
    }  # fmt: skip


def _with_explanation(text: str, stored: Sequence[str]) -> str:
    """A deviation with what the person wrote about it, where it is on record."""
    return next((line for line in stored if line.startswith(f"{text}; ")), text)
