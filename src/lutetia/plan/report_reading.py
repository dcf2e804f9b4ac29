"""Reading of a result for its report: optional keys, names of things, words for codes. Nothing is computed here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lutetia.report.document import Inline, Span, rich
from lutetia.report.numbers import given_number, known, typeset

Result = Mapping[str, Any]

BOUND_BY = {
    "cap": "the protocol's largest activity",
    "step": "the largest step up from the previous cycle",
    "no increase": "an increase is not permitted",
    "minimum": "the protocol's smallest activity",
    "base": "base activity of the protocol",
    "fixed": "fixed by the arm",
    "toxicity": "a toxicity rule",
}
MODEL = {
    "mono": "mono-exponential",
    "uptake_mono": "uptake, mono-exponential",
    "bi_prior": "bi-exponential, prior",
    "bi_decay": "bi-exponential, decay",
    "bi": "bi-exponential",
    "uptake_bi": "uptake, bi-exponential",
    "tri": "tri-exponential",
}
_LABEL = {"kidneys": "kidneys (pair)"}
_ORDER = ("kidneys", "left kidney", "right kidney", "red marrow", "liver", "spleen")


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning as the report shows it."""

    message: str
    where: str
    severity: str


def mapping(value: object) -> Mapping[str, Any]:
    """The value where it is a mapping, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def rows(value: object) -> tuple[Mapping[str, Any], ...]:
    """The mappings of a list, else nothing."""
    return tuple(mapping(v) for v in value) if isinstance(value, (list, tuple)) else ()


def sentences(value: object) -> tuple[str, ...]:
    """A string or a list of strings as a tuple without empty ones."""
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return tuple(str(v) for v in value if v) if isinstance(value, (list, tuple)) else ()


def bounds(value: object) -> tuple[float, float] | None:
    """A pair of finite numbers, or None."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        return None
    low, high = (known(v) for v in value)
    return None if low is None or high is None else (low, high)


def warnings(result: Result) -> tuple[Warned, ...]:
    """All warnings of the result and of its regions, each message once with all its places, first-line ones first."""
    found = [_warned(w, "") for w in _listed(result.get("warnings"))]
    said = {w.message for w in found}
    for cycle in rows(result.get("cycles")):
        for region in rows(cycle.get("regions")):
            place = f"cycle {cycle.get('number')}, {region.get('region')}"
            own = (_warned(w, place) for w in _listed(region.get("warnings")))
            found += [Warned(w.message, place, w.severity) for w in own if w.message not in said]
    order = {"first-line": 0, "warning": 1, "note": 2}
    places: dict[tuple[str, str], dict[str, None]] = {}
    for warned in found:
        places.setdefault((warned.message, warned.severity), {})[warned.where] = None
    merged = (Warned(m, together(tuple(w for w in where if w)), s) for (m, s), where in places.items())
    return tuple(sorted(merged, key=lambda w: order.get(w.severity, 1)))


def together(places: Sequence[str]) -> str:
    """Places in few words: cycle 1, liver; cycle 2, liver → cycles 1 and 2: liver."""
    cycles: dict[str, list[str]] = {}
    others: list[str] = []
    for place in places:
        match = re.fullmatch(r"cycle (\d+)(?:, (.+))?", place)
        if match:
            cycles.setdefault(match[2] or "", []).append(match[1])
        else:
            others.append(place)
    regions: dict[str, list[str]] = {}
    for region, numbers in cycles.items():
        regions.setdefault(_and(numbers), []).append(region)
    named = [_cycles(numbers, [n for n in names if n]) for numbers, names in regions.items()]
    covered = {region for region in cycles if region}
    return "; ".join([*named, *(o for o in others if o not in covered)])


def _cycles(numbers: str, regions: Sequence[str]) -> str:
    head = f"cycle{'s' if ' ' in numbers else ''} {numbers}"
    return f"{head}: {', '.join(regions)}" if regions else head


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _listed(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def _warned(value: object, where: str) -> Warned:
    if isinstance(value, Mapping):
        place = str(value.get("where") or where)
        return Warned(str(value.get("message", "")), place, str(value.get("severity") or "warning"))
    return Warned(str(value), where, "warning")


def first_line(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def region_name(name: object) -> str:
    """A region as a person reads it."""
    text = str(name or "")
    return first_line(_LABEL.get(text, text))


def ordered(entries: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Entries by region: organs with limits first, tumours and others after them in their own order."""

    def rank(entry: Mapping[str, Any]) -> int:
        region = entry.get("region")
        return _ORDER.index(str(region)) if region in _ORDER else len(_ORDER)

    return tuple(sorted(entries, key=rank))


def regions_of(cycle: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Regions of a cycle in the order of the report."""
    return ordered(rows(cycle.get("regions")))


def several(entries: Sequence[Mapping[str, Any]], region: object) -> bool:
    """Whether a region stands there more than once, that is, by several methods."""
    return len([e for e in entries if e.get("region") == region]) > 1


def of_same_sum(
    total: Mapping[str, Any], totals: Sequence[Mapping[str, Any]], cycle: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The region of a cycle that a cumulative dose counts: by method only where a region is summed by several."""
    found = [r for r in rows(cycle.get("regions")) if r.get("region") == total.get("region")]
    if several(totals, total.get("region")):
        found = [r for r in found if r.get("method") == total.get("method")]
    return found[0] if found else {}


def model_name(code: object) -> str:
    """A kinetic model in words."""
    return MODEL.get(str(code), str(code).replace("_", " ")) if code else ""


def forecast(limit: Mapping[str, Any], horizon: str) -> tuple[float | None, tuple[float, float] | None]:
    """Predicted dose and interval of a limit; `horizon` is after_cycle or end_of_course."""
    spread = limit.get(f"interval_{horizon}_Gy", limit.get(f"predicted_{horizon}_interval_Gy"))
    return known(limit.get(f"predicted_{horizon}_Gy")), bounds(spread)


def nuclides(result: Result) -> tuple[str, ...]:
    """Every nuclide of the proposal and of the cycles, in the order in which they appear."""
    prescription = mapping(result.get("prescription"))
    names: list[str] = []
    for key in ("base_MBq", "activities_MBq"):
        names += mapping(prescription.get(key))
    for cycle in rows(result.get("cycles")):
        names += mapping(cycle.get("administered_MBq"))
    names += mapping(prescription.get("category"))
    return tuple(dict.fromkeys(names))


def cap_MBq(prescription: Mapping[str, Any], nuclide: str) -> float | None:
    """Largest activity of a nuclide by the protocol: one number for the variable nuclide, or one per nuclide."""
    cap = prescription.get("cap_MBq")
    if isinstance(cap, Mapping):
        return known(cap.get(nuclide))
    return known(cap) if nuclide == prescription.get("variable") else None


def why(prescription: Mapping[str, Any], limits: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The reasons that page 1 does not say elsewhere: not those under other headings, nor those of its limit table."""
    said = {*sentences(prescription.get("why_not_more")), *sentences(prescription.get("what_would_change"))}
    tabled = tuple(f"{x.get('id')} (" for x in limits)
    return tuple(r for r in sentences(prescription.get("reasons")) if r not in said and not r.startswith(tabled))


def without_heading(text: str, heading: str) -> str:
    """A sentence without its own heading: ``Why not more: …`` under the heading "Why not more"."""
    head, colon, rest = text.partition(": ")
    return rest if colon and head.startswith(heading) else text


def conditions(prescription: Mapping[str, Any]) -> tuple[str, ...]:
    """Open conditions; that nothing is proposed is not one that anybody can close."""
    return tuple(c for c in sentences(prescription.get("conditions")) if not c.startswith("nothing is proposed"))


def limit_name(limit: Mapping[str, Any]) -> Inline:
    """A limit as a person reads it: region, value and metric."""
    metric = "BED " if limit.get("metric") == "bed" else ""
    region = str(limit.get("region") or limit.get("id"))
    return rich(first_line(region), f" {metric}{given_number(known(limit.get('limit_Gy')))} Gy")


def bound_text(result: Result) -> Inline:
    """What set the activity, in words."""
    code = mapping(result.get("prescription")).get("bound_by")
    if code is None:
        return ()
    for limit in rows(result.get("limits")):
        if limit.get("id") == code:
            return limit_name(limit)
    return typeset(first_line(BOUND_BY.get(str(code), str(code))))


def given_by(limit: Mapping[str, Any]) -> str:
    """Kind and method of a limit in a few words."""
    kind = {"hard": "hard limit", "soft": "soft limit", "advisory": "advisory"}
    words = [kind.get(str(limit.get("kind")), str(limit.get("kind") or ""))]
    words += [f"{limit['method']} method"] if limit.get("method") else []
    return ", ".join(w for w in words if w)


def strong(text: str | Inline) -> Inline:
    """Text in strong style."""
    spans = typeset(text) if isinstance(text, str) else text
    return tuple(Span(s.text, strong=True, raised=s.raised, tone=s.tone) for s in spans)
