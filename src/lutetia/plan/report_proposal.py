"""First page of the report: what is proposed, what set it, why not more, the limits, the conditions, the signatures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutetia.plan.report_reading import (
    Result,
    bound_text,
    first_line,
    forecast,
    given_by,
    limit_name,
    mapping,
    nuclides,
    rows,
    sentences,
    strong,
    warnings,
    why,
    without_heading,
)
from lutetia.plan.report_reading import conditions as open_conditions
from lutetia.report.document import (
    Block,
    Callout,
    Column,
    Columns,
    Figure,
    Heading,
    Inline,
    KeyFigure,
    KeyFigures,
    ListBlock,
    Panel,
    Paragraph,
    Severity,
    Signature,
    SignatureBlock,
    Span,
    Table,
    plain,
    rich,
)
from lutetia.report.figures.limits import LimitBar, limit_panel
from lutetia.report.numbers import (
    NO_CHANGE,
    NOT_EVALUABLE,
    change,
    gigabecquerel,
    given_number,
    interval,
    known,
    nuclide,
    number,
    percent,
    probability,
    typeset,
    typeset_text,
    with_unit,
)

NOT_PREDICTED = "not predicted"


@dataclass(frozen=True, slots=True)
class _Situation:
    """How a state is presented: colour, headline, sentence, heading of the activities, and who signs."""

    severity: Severity
    headline: str
    sentence: str
    activity: str = ""
    override: bool = False


_OK = _Situation("ok", "An activity is proposed", "")
_NOTHING: dict[str, _Situation] = {
    "OK": _Situation("warning", "Nothing is proposed", "The result holds no activity."),
    "HELD": _Situation(
        "warning",
        "Held: nothing is proposed now",
        "The cycle is withheld, not lost: it stays in the plan. Decide again when the conditions are met.",
    ),
    "INFEASIBLE": _Situation(
        "danger",
        "Infeasible: nothing can be proposed",
        "No activity that the protocol allows keeps every hard limit.",
    ),
    "STOP": _Situation("danger", "Stop: nothing is proposed", "The treatment ends by the rules of the protocol."),
    "COMPLETE": _Situation("info", "Complete: no further cycle is planned", "All planned cycles have been given."),
}
_OVER: dict[str, _Situation] = {
    "INFEASIBLE": _Situation(
        "danger",
        "Infeasible: the activity shown is over a limit",
        "It is the smallest that the protocol allows, not a recommendation. "
        "Two physicians must override in writing before it may be given.",
        "over a limit",
        override=True,
    ),
    "STOP": _Situation(
        "danger",
        "Stop: a limit has been passed",
        "The activity shown is the smallest that the protocol allows, not a recommendation. "
        "Two physicians must override in writing before it may be given.",
        "over a limit",
        override=True,
    ),
}


def proposal_blocks(result: Result) -> tuple[Block, ...]:
    """Blocks of the first page."""
    situation = _situation(result)
    blocks: list[Block] = [*_first_line(result), _state(result, situation), _figures(result, situation)]
    blocks += [_limit_figure(result), _limit_table(result)] if rows(result.get("limits")) else []
    blocks += [_reasons(result), _signatures(result, situation)]
    return tuple(blocks)


def proposal_title(result: Result) -> Inline:
    """Title of the report: the cycle that is decided, in one line."""
    prescription = mapping(result.get("prescription"))
    if prescription.get("state") == "COMPLETE":
        return rich("Course complete")
    word = "Proposal" if prescription.get("state") == "OK" and _activities(result) else "Decision"
    return rich(f"{word} for cycle {prescription.get('cycle', '?')}")


def _activities(result: Result) -> Mapping[str, Any]:
    return mapping(mapping(result.get("prescription")).get("activities_MBq"))


def _situation(result: Result) -> _Situation:
    state = str(mapping(result.get("prescription")).get("state"))
    sentence = "This report cannot present it: do not treat from it."
    unknown = _Situation("danger", f"Unknown state {state}", sentence, "do not use")
    if not _activities(result):
        return _NOTHING.get(state, unknown)
    return _OK if state == "OK" else _OVER.get(state, unknown)


def _first_line(result: Result) -> list[Block]:
    found = [w for w in warnings(result) if w.severity == "first-line"]
    if not found:
        return []
    lines = tuple(
        rich(typeset(first_line(w.message)), Span(f" ({w.where})", muted=True) if w.where else "") for w in found
    )
    if len(lines) == 1:
        return [Callout("warning", lines[0], label="Read first")]
    return [Callout("warning", rich(f"{len(lines)} warnings"), lines, label="Read first")]


def _state(result: Result, situation: _Situation) -> Callout:
    prescription = mapping(result.get("prescription"))
    label = f"State: {prescription.get('state')}"
    if situation.activity or not _activities(result):
        reasons = [typeset(first_line(r)) for r in why(prescription, rows(result.get("limits")))]
        return Callout(situation.severity, rich(situation.headline), (rich(situation.sentence), *reasons), label)
    count = len(open_conditions(prescription))
    still = f"{count} condition{' is' if count == 1 else 's are'} open" if count else "it is not signable"
    still = "it is ready to be signed" if prescription.get("signable") is True else still
    over = tuple(_likely_over(x) for x in rows(result.get("limits")) if _chance(x) > 0.5)
    return Callout("warning" if over else "ok", rich(f"{situation.headline}; {still}"), over, label)


def _chance(limit: Mapping[str, Any]) -> float:
    """Chance of passing a limit: the larger of after the next cycle and at the end of the course."""
    keys = ("probability_over_after_cycle", "probability_over_end_of_course")
    return max(known(limit.get(k)) or 0.0 for k in keys)


def _likely_over(limit: Mapping[str, Any]) -> Inline:
    """What a proposal that is allowed, but is likely to pass a limit, must say."""
    words = f" is likely to be passed ({probability(_chance(limit))}); it is {_article(given_by(limit))} in this arm."
    return rich(limit_name(limit), words)


def _article(words: str) -> str:
    return words if words.startswith("advisory") else f"a {words}"


def _figures(result: Result, situation: _Situation) -> KeyFigures:
    items = [_nuclide_figure(result, name, situation) for name in nuclides(result)]
    prescription = mapping(result.get("prescription"))
    bound = bound_text(result)
    if bound:
        over = [x for x in rows(result.get("limits")) if x.get("id") == prescription.get("bound_by")]
        details = tuple(rich(Span(given_by(x), muted=True)) for x in over)
        items.append(KeyFigure(rich("Set by"), bound, details=details, words=True))
    if prescription.get("state") != "COMPLETE":
        items.append(_signable(prescription, proposed=bool(_activities(result))))
    return KeyFigures(tuple(items))


def _nuclide_figure(result: Result, name: str, situation: _Situation) -> KeyFigure:
    prescription = mapping(result.get("prescription"))
    category = str(mapping(prescription.get("category")).get(name) or "")
    activity = known(_activities(result).get(name))
    if activity is None:
        return KeyFigure(nuclide(name), rich("none"), details=(rich(category),) if category else (), words=True)
    base = known(mapping(prescription.get("base_MBq")).get(name))
    words = rich(strong(category)) if category else rich()
    if base:
        against = change(activity / base - 1.0)
        compared = "equals" if against == NO_CHANGE else f"{against} against"
        words = rich(words, ": " if category else "", f"{compared} base {gigabecquerel(base)} GBq")
    previous = known(mapping(prescription.get("change_from_previous")).get(name))
    details = [words] if words else []
    if previous is not None:
        against = change(previous)
        compared = "as in the previous cycle" if against == NO_CHANGE else f"{against} against the previous cycle"
        details.append(rich(Span(compared, muted=True)))
    label = rich(nuclide(name), f", {situation.activity}" if situation.activity else "")
    tone: Severity = situation.severity if situation.activity else "info"
    return KeyFigure(label, rich(gigabecquerel(activity)), "GBq", tuple(details), tone)


def _signable(prescription: Mapping[str, Any], *, proposed: bool) -> KeyFigure:
    count = len(open_conditions(prescription))
    if prescription.get("signable") is True and proposed:
        return KeyFigure(
            rich("Signature"), rich("Ready to sign"), details=(rich("no condition open"),), tone="ok", words=True
        )
    detail = rich(f"{count} condition{'' if count == 1 else 's'} open, listed below") if count else rich()
    words = "Not yet signable" if proposed else "No activity to sign"
    tone: Severity = "warning" if proposed else "info"
    return KeyFigure(rich("Signature"), rich(words), details=(detail,) if count else (), tone=tone, words=True)


def _limit_figure(result: Result) -> Figure:
    cycle = mapping(result.get("prescription")).get("cycle")
    missing = _missing(result)
    panels = tuple(_limit_bars(limit, cycle, missing) for limit in rows(result.get("limits")))
    return Figure(panels, columns=min(2, len(panels)))


def _missing(result: Result) -> str:
    """What a prediction that is absent means: without an activity there is nothing to predict."""
    return NOT_EVALUABLE if _activities(result) else NOT_PREDICTED


def _limit_bars(limit: Mapping[str, Any], cycle: object, missing: str) -> Panel:
    value = known(limit.get("limit_Gy")) or 0.0
    given = (known(limit.get("given_Gy")), None)
    pairs = (
        ("given so far", given, NOT_EVALUABLE),
        (f"after cycle {cycle}", forecast(limit, "after_cycle"), missing),
        ("end of course", forecast(limit, "end_of_course"), missing),
    )
    bars = [
        LimitBar(label, dose, spread, absent if dose is None else with_unit(dose, "Gy"))
        for label, (dose, spread), absent in pairs
    ]
    name = plain(limit_name(limit))
    alt = f"{name}: " + "; ".join(f"{b.label} {b.value_text}" for b in bars)
    title = first_line(str(limit.get("region") or limit.get("id")))
    metric = "biologically effective dose, Gy" if limit.get("metric") == "bed" else "absorbed dose, Gy"
    word = f"limit {given_number(value)} Gy"
    return Panel(limit_panel(title, bars, limit_Gy=value, limit_text=word, note=metric), typeset_text(alt))


def _limit_table(result: Result) -> Table:
    cycle = mapping(result.get("prescription")).get("cycle")
    columns = (
        Column(rich("Limit"), width=1.95),
        Column(rich("Given"), "Gy", "right", 1.2),
        Column(rich(f"After cycle {cycle}"), "Gy (95 %)", "right", 1.7),
        Column(rich("P(over)"), "", "right", 0.85),
        Column(rich("End of course"), "Gy (95 %)", "right", 1.7),
        Column(rich("P(over)"), "", "right", 0.85),
        Column(rich("Controllable"), "", "right", 1.05),
    )
    limits = rows(result.get("limits"))
    note = (
        "P(over): share of draws above the limit. "
        "Controllable: share of the next dose that the variable nuclide decides."
    )
    binding = frozenset(n for n, limit in enumerate(limits) if limit.get("binding") is True)
    marked = (rich(" Marked: what set the activity."),) if binding else ()
    return Table(
        columns,
        tuple(_limit_row(x, _missing(result)) for x in limits),
        notes=(rich(note, *marked),),
        emphasised=binding,
    )


def _limit_row(limit: Mapping[str, Any], missing: str) -> tuple[Inline, ...]:
    return (
        rich(limit_name(limit), Span(f" {given_by(limit)}", muted=True)),
        _value(limit.get("given_Gy")),
        _forecast(*forecast(limit, "after_cycle"), missing),
        _over(limit.get("probability_over_after_cycle")),
        _forecast(*forecast(limit, "end_of_course"), missing),
        _over(limit.get("probability_over_end_of_course")),
        _dash(percent(known(limit.get("controllable_fraction")))),
    )


def _forecast(value: float | None, spread: tuple[float, float] | None, missing: str) -> Inline:
    if value is None:
        return rich(Span(missing, muted=True, emphasis=True))
    return rich(strong(number(value)), Span(f" ({interval(spread)})", muted=True) if spread else "")


def _value(value: object) -> Inline:
    return _quiet(number(known(value)))


def _over(value: object) -> Inline:
    chance = known(value)
    tone: Severity | None = "danger" if chance is not None and chance > 0.5 else None
    return rich(Span(probability(chance), strong=True, tone=tone)) if tone else _dash(probability(chance))


def _dash(text: str) -> Inline:
    """A dash for what is missing beside a dose that is missing, whose cell says why."""
    return rich(Span("–", muted=True)) if text == NOT_EVALUABLE else rich(text)


def _quiet(text: str) -> Inline:
    return rich(Span(text, muted=True, emphasis=True)) if text == NOT_EVALUABLE else rich(text)


def _reasons(result: Result) -> Block:
    prescription = mapping(result.get("prescription"))
    left: list[Block] = []
    reasons = why(prescription, rows(result.get("limits")))
    if _situation(result) is _OK and reasons:
        left += [Heading(rich("Why this activity"), quiet=True), *_said(reasons, "Why this activity")]
    if more := sentences(prescription.get("why_not_more")):
        left += [Heading(rich("Why not more"), quiet=True), *_said(more, "Why not more")]
    if would := sentences(prescription.get("what_would_change")):
        left += [Heading(rich("What would change it"), quiet=True), *_said(would, "What would change it")]
    conditions = open_conditions(prescription)
    words = "Conditions before signing" if _activities(result) else "Open conditions"
    right: list[Block] = [Heading(rich(words), quiet=True)]
    if conditions:
        right.append(ListBlock(tuple(typeset(first_line(c)) for c in conditions), "checkbox"))
    else:
        right.append(Paragraph(rich("No condition is open.")))
    return Columns((tuple(left), tuple(right)), (1.35, 1.0)) if left else Columns((tuple(right),))


def _said(words: tuple[str, ...], heading: str) -> list[Block]:
    lines = tuple(typeset(first_line(without_heading(w, heading))) for w in words)
    return [Paragraph(lines[0])] if len(lines) == 1 else [ListBlock(lines)]


def _signatures(result: Result, situation: _Situation) -> SignatureBlock:
    action = "I have read this report" if _activities(result) else "I have seen that nothing is proposed"
    action = "I prescribe the activity above" if situation is _OK else action
    people = [
        Signature(rich("Medical physicist"), rich("I have checked the dosimetry")),
        Signature(rich("Physician"), rich(action)),
    ]
    if situation.override:
        people[1] = Signature(rich("Physician"), rich("I override the limit; reason in writing"))
        people.append(Signature(rich("Second physician"), rich("I agree to the override")))
    return SignatureBlock(tuple(people))
