"""The first page: plain sentences, made by fixed rules from estimates and their intervals.

A sentence says "shown" only where the interval (or the adjusted p) excludes no effect; what is not shown is given with
its interval, and a number that the data cannot carry with the reason. Descriptions claim nothing beyond the data.
To add one: a function of the context in `FINDINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lutetia.report.document import Column, Severity, Span, Table, rich
from lutetia.report.numbers import decimals, fixed, given_number, number, typeset
from lutetia.safety.context import Context
from lutetia.safety.dose_effect import STEP_Gy, associations
from lutetia.safety.dose_findings import complete_doses, dose_comparisons
from lutetia.safety.modification import ORDER, categories, category_effects
from lutetia.safety.monitoring import monitored
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.printing import printed_p
from lutetia.safety.statistics.groups import GroupComparison
from lutetia.safety.statistics.proportions import clopper_pearson
from lutetia.safety.statistics.results import NotEstimable, Result, holm
from lutetia.safety.tables.building import label_of
from lutetia.safety.tables.t07_laboratory import as_percent, course_tests
from lutetia.safety.tables.t10_adverse_events import chosen, emergent_events
from lutetia.safety.tables.t11_renal import UNIT, outcomes, pooled_slope

Status = Literal["shown", "not shown", "described", "not estimable"]
ALPHA = 0.05
# KDIGO 2012 guideline (Kidney Int Suppl 2013;3:1–150): sustained decline of more than this is rapid progression.
RAPID_DECLINE = 5.0
TONES: Mapping[str, Severity] = {"shown": "warning", "not shown": "ok", "described": "info", "not estimable": "danger"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One question, its answer in words, what kind of answer it is, and where the numbers are."""

    key: str
    question: str
    answer: str
    status: Status
    see: str


def derive_findings(context: Context) -> tuple[Finding, ...]:
    """Every finding in the order of the first page."""
    return tuple(make(context) for make in FINDINGS)


def finding_table(findings: Sequence[Finding]) -> Table:
    """The findings as a table: question, answer, status, tables."""
    rows = tuple(
        (
            typeset(f.question),
            typeset(f.answer),
            rich(Span(f.status, strong=True, tone=TONES[f.status])),
            rich(Span(f.see, muted=True)),
        )
        for f in findings
    )
    shares = (("Question", 1.35), ("Answer", 5.0), ("Status", 0.85), ("See", 0.65))
    columns = tuple(Column(rich(title), width=width) for title, width in shares)
    return Table(columns, rows)


def modifications(context: Context) -> Finding:
    """Which modification predominates in each arm with a variable nuclide, by subjects."""
    own, parts, shown = categories(context), [], False
    for arm in (a for a in context.arms if context.data.study.arms[a].variable):
        among = own[own["arm"] == arm]
        if among.empty:
            parts.append(f"arm {arm}: no decision about a cycle from 2 on")
            continue
        counts = {name: int((among["category"] == name).sum()) for name in ORDER}
        top = max(ORDER, key=lambda name: counts[name])
        share = clopper_pearson(counts[top], len(among))
        assert isinstance(share, Result)
        more = (share.low or 0.0) > 0.5
        shown |= more
        word = {"reduced": "reductions", "unchanged": "unchanged activities", "increased": "increases"}[top]
        verb = f"{word} predominated" if more else f"mostly {word}, a majority not shown"
        variable = context.data.study.arms[arm].variable
        parts.append(f"arm {arm} ({variable}): {verb}, {_share(counts[top], len(among), unit='subjects')}")
    fixed = [a for a in context.arms if not context.data.study.arms[a].variable]
    answer = "; ".join(parts) + "." if parts else "No arm has a variable nuclide."
    answer += f" Fixed activity: arm {', '.join(fixed)}." if fixed else ""
    status: Status = "shown" if shown else "described" if len(own) else "not estimable"
    return Finding("modifications", "Were activities modified?", _sentence(answer), status, "T4, T14, F11")


def doses(context: Context) -> Finding:
    """Median cumulative dose by arm, where it is highest, and the share of the second nuclide."""
    parts, shown = [], False
    for name, found in dose_comparisons(context).items():
        medians = {arm: r for arm, r in found.medians.items() if isinstance(r, Result)}
        limit = next(li for li in context.data.study.limits if li.id == name)
        if not medians:
            parts.append(f"No complete cumulative dose to {found.region}")
            continue
        listed = ", ".join(f"{arm} {_median(r)}" for arm, r in medians.items())
        what = " (BED)" if limit.metric == "bed" else ""
        text = f"Median cumulative dose to {found.region}{what}, Gy (95 % CI): {listed}"
        top = max(medians, key=lambda arm: medians[arm].estimate)
        if len(medians) > 1:
            above, words = _highest(found.pairs, top, [a for a in medians if a != top])
            shown |= above
            text += f"; highest in arm {top}{_by_nuclide(context, limit.id, top)}, {words}"
        parts.append(text)
    answer = ". ".join(parts) + "." if parts else "The study names no limit."
    some = any(isinstance(r, Result) for f in dose_comparisons(context).values() for r in f.medians.values())
    status: Status = "shown" if shown else "described" if some else "not estimable"
    return Finding("doses", "What were the kidney and marrow doses?", answer, status, "T6b, F3, F4")


def _highest(pairs: object, top: str, others: Sequence[str]) -> tuple[bool, str]:
    """Whether an arm is shown to be above others, and in words against which."""
    if isinstance(pairs, NotEstimable) or not isinstance(pairs, tuple):
        return False, "a difference between arms is not estimable"
    lower = {
        (p.second if p.first == top else p.first) for p in pairs if top in (p.first, p.second) and p.p_adjusted < ALPHA
    }
    against = [arm for arm in others if arm in lower]
    rest = [arm for arm in others if arm not in lower]
    words = [f"shown against {_and(against)}"] if against else []
    words += [f"not shown against {_and(rest)}"] if rest else []
    return bool(against), " and ".join(words)


def _by_nuclide(context: Context, limit: str, arm: str) -> str:
    """The share of every nuclide in an arm that has several, in words."""
    own = complete_doses(context, limit)
    own = own[own["arm"] == arm]
    doses = context.by_nuclide
    region = own["region"].iloc[0]
    doses = doses[(doses["region"] == region) & (doses["method"] == own["method"].iloc[0])]
    doses = doses[doses["subject_id"].isin(own["subject_id"])]
    sums = doses.groupby("nuclide")["absorbed_dose_Gy"].sum()
    if len(sums) < 2 or not sums.sum() > 0:
        return ""
    most = str(sums.idxmax())
    return f" ({100.0 * sums.max() / sums.sum():.0f} % of it from {most})"


def over_limits(context: Context) -> Finding:
    """How many subjects are over each limit."""
    parts = []
    for limit in context.data.study.limits:
        own = context.limits[(context.limits["limit"] == limit.id) & context.limits["over"].notna()]
        own = own[own["subject_id"].isin(context.sets.saf)]
        shares = [
            f"arm {arm} {_share(int(part['over'].astype(bool).sum()), len(part))}"
            for arm in context.arms
            if len(part := own[own["arm"] == arm])
        ]
        kind = "BED" if limit.metric == "bed" else "dose"
        text = "; ".join(shares) or "no complete dose"
        parts.append(f"Over {given_number(limit.limit_Gy)} Gy {kind} to {limit.region} ({limit.kind} limit): {text}.")
    return Finding(
        "over limits", "Who passed a limit?", " ".join(parts) or "The study names no limit.", "described", "T6, L5"
    )


def declines(context: Context) -> Finding:
    """Whether blood counts fell over the course, in all subjects (Holm over blood counts) and in every arm."""
    tests = {a: t for a, t in course_tests(context).items() if a in HAEMATOLOGY}
    overall = {a: as_percent(t["all"]) for a, t in tests.items()}
    known = {a: r for a, r in overall.items() if isinstance(r, Result)}
    if not known:
        return Finding("declines", "Did blood counts fall?", _refused(overall), "not estimable", "T7")
    usable = {a: r.p for a, r in known.items() if r.p is not None}
    adjusted = dict(zip(usable, holm(list(usable.values())), strict=True))
    below = [a for a, r in known.items() if r.estimate < 0 and adjusted.get(a, 1.0) < ALPHA]
    fell = sorted(below, key=lambda a: known[a].estimate)
    parts = [f"{label_of(a)} {_estimate(known[a], '%')}{_arms_that_fell(tests[a], context.arms)}" for a in fell]
    rest = [f"{label_of(a)} {_estimate(r, '%')}" for a, r in known.items() if a not in fell]
    text = f"Level over the course against baseline, largest fall first: {'; '.join(parts)}." if fell else ""
    text += f" Not shown to fall: {'; '.join(rest)}." if rest else ""
    return Finding("declines", "Did blood counts fall?", text.strip(), "shown" if fell else "not shown", "T7, F5, F6")


def _arms_that_fell(tests: Mapping[str, Result | NotEstimable], arms: Sequence[str]) -> str:
    fell = [
        arm for arm in arms if isinstance(r := tests[arm], Result) and r.estimate < 0 and (r.p_adjusted or 1.0) < ALPHA
    ]
    if len(fell) == len(arms):
        return ", in every arm"
    return f", in arm{'s' if len(fell) > 1 else ''} {_and(fell)}" if fell else ", in no single arm"


def association(context: Context) -> Finding:
    """Whether a larger marrow dose goes with a deeper nadir: slope within arms first, rank correlation second."""
    found = associations(context)
    slopes = {a: f.slope for a, f in found.items() if isinstance(f.slope, Result)}
    question = "Did the fall depend on the marrow dose?"
    if not slopes:
        return Finding(
            "association", question, _refused({a: f.slope for a, f in found.items()}), "not estimable", "T13"
        )
    deeper = [a for a, s in slopes.items() if s.estimate < 0 and (s.p_adjusted or 1.0) < ALPHA]
    rest = [a for a in slopes if a not in deeper]
    text = f"Within arms (first cycle, change of the nadir per {STEP_Gy:g} Gy): "
    parts = [f"shown for {_and([f'{_small(a)} {_estimate(slopes[a], chr(37))}' for a in deeper])}"] if deeper else []
    parts += [f"not shown for {_and([f'{_small(a)} {_estimate(slopes[a], chr(37))}' for a in rest])}"] if rest else []
    ranks = {a: f.rank for a, f in found.items() if isinstance(f.rank, Result)}
    tied = [a for a, r in ranks.items() if r.estimate < 0 and (r.p_adjusted or 1.0) < ALPHA]
    words = _and([f"{_small(a)} (ρ {number(ranks[a].estimate, most=2)})" for a in tied])
    text += "; ".join(parts) + ". Across arms, which differ in more than dose (rank correlation, Holm): "
    text += f"shown for {words}." if tied else "not shown for any blood count."
    return Finding("association", question, text, "shown" if deeper else "not shown", "T13, F7")


def category(context: Context) -> Finding:
    """Whether the modification category itself goes with the fall, within arms."""
    effects = category_effects(context)
    tests = {a: e.course.within_arm for a, e in effects.items()}
    known = {a: (t, effects[a].adjusted) for a, t in tests.items() if isinstance(t, Result)}
    question = "Did the fall depend on the modification category?"
    if not known:
        return Finding("category", question, _refused(tests), "not estimable", "T14")
    shown = [a for a, (_, p) in known.items() if p is not None and p < ALPHA]
    later = [a for a, e in effects.items() if e.landmark_adjusted is not None and e.landmark_adjusted < ALPHA]
    smallest = min((p for _, p in known.values() if p is not None), default=1.0)
    text = (
        f"Within arms: shown for {_and([_small(a) for a in shown])}"
        if shown
        else f"Within arms: not shown for any blood count (smallest adjusted p {printed_p(smallest)})"
    )
    text += (
        f"; from cycle 2 on: shown for {_and([_small(a) for a in later])}" if later else "; from cycle 2 on: not shown"
    )
    pooled = [
        a for a, e in effects.items() if isinstance(e.course.pooled, GroupComparison) and e.course.pooled.p < ALPHA
    ]
    if pooled and not shown:
        text += (
            f". Pooled over arms categories differ in {_and([_small(a) for a in pooled])}, which mirrors arm and dose "
            "rather than the category"
        )
    return Finding("category", question, f"{text}.", "shown" if shown or later else "not shown", "T14")


def renal(context: Context) -> Finding:
    """Whether renal function declined, how fast at most, and who lost 40 %."""
    model = pooled_slope(context)
    question, own = "Did renal function decline?", outcomes(context, context.sets.saf)
    known = own[own["fall_40_confirmed"].notna()]
    falls = f"Confirmed fall of 40 % or more: {_share(int(known['fall_40_confirmed'].astype(bool).sum()), len(known))}."
    if isinstance(model, NotEstimable):
        return Finding("renal", question, f"Slope not estimable: {model.reason}. {falls}", "not estimable", "T11")
    slope = model.arms[0].slope
    if slope.low is None or slope.high is None:
        return Finding(
            "renal", question, f"Slope {_estimate(slope, UNIT + ' per year')}. {falls}", "not estimable", "T11"
        )
    fell = slope.high < 0
    text = f"eGFR {'declined' if fell else 'decline not shown'}: slope {_estimate(slope, UNIT + ' per year')}; "
    rapid = f"a mean decline of more than {RAPID_DECLINE:g} per year (rapid progression, KDIGO) is "
    text += rapid + ("excluded" if slope.low > -RAPID_DECLINE else "not excluded")
    return Finding("renal", question, f"{text}. {falls}", "shown" if fell else "not shown", "T11, F10")


def hepatic(context: Context) -> Finding:
    """Whether a liver screen found somebody, and how often that could still happen."""
    known = context.peaks[(context.peaks["quadrant"] != "") & context.peaks["subject_id"].isin(context.sets.saf)]
    question = "Was there liver toxicity?"
    if known.empty:
        reason = "No subject has transaminases and bilirubin with limits of normal."
        return Finding("hepatic", question, reason, "not estimable", "T12")
    hy = context.candidates[context.candidates["screen"] == "hy"]["subject_id"]
    cases = hy[hy.isin(known["subject_id"])].nunique()
    worst = context.worst[context.worst["analyte"].isin(("alt", "ast", "bilirubin"))]
    severe = worst[(worst["worst_emergent"] >= 3) & worst["subject_id"].isin(known["subject_id"])][
        "subject_id"
    ].nunique()
    text = (
        f"Candidates of Hy's law: {_share(cases, len(known))}. ALT, AST or bilirubin of grade 3 or worse: "
        f"{_share(severe, len(known))}."
    )
    return Finding("hepatic", question, text, "shown" if cases or severe else "not shown", "T12, F9, L3")


def toxicity(context: Context) -> Finding:
    """Severe laboratory values and adverse events."""
    worst, saf = context.worst, context.sets.saf
    counted = worst[
        worst["analyte"].isin(HAEMATOLOGY) & worst["worst_emergent"].notna() & worst["subject_id"].isin(saf)
    ]
    own, graded = counted[counted["worst_emergent"] >= 3], counted["subject_id"].nunique()
    apart = own[own["analyte"] != "lymphocytes"]
    events = emergent_events(context)
    severe, serious = (
        chosen(events, "grade 3")["subject_id"].nunique(),
        chosen(events, "serious")["subject_id"].nunique(),
    )
    n = len(saf)
    if not n:
        return Finding(
            "toxicity", "How severe was toxicity?", "Nobody was treated by the cut.", "not estimable", "T9, T10"
        )
    text = (
        f"Blood counts of grade 3 or worse: {_share(own['subject_id'].nunique(), graded)}; lymphocytes apart: "
        f"{_share(apart['subject_id'].nunique(), graded)}. Adverse events of grade 3 or worse: {_share(severe, n)}; "
        f"serious: {_share(serious, n)}."
    )
    return Finding("toxicity", "How severe was toxicity?", text, "described", "T9, T10, L1, L2")


def stopping(context: Context) -> Finding:
    """Whether an arm is at or above its stopping boundary."""
    rules, parts, crossed = monitored(context), [], False
    for found in rules:
        if found.rule is None:
            parts.append(f"{found.monitor.id}: {found.reason}")
            continue
        over = [arm for arm, status in found.status.items() if status.crossed]
        crossed |= bool(over or found.earlier)
        states = ", ".join(f"{arm} {s.events} of {s.n}" for arm, s in found.status.items())
        words = f"at or above the boundary: arm {_and(over)}" if over else "no arm is at its boundary"
        words += "".join(
            f"; arm {arm} was at it when {n} subjects were evaluable ({events} event{'' if events == 1 else 's'})"
            for arm, (n, events) in found.earlier.items()
        )
        parts.append(f"{found.monitor.id}: {words} (events of evaluable subjects: {states})")
    if not rules:
        return Finding("stopping", "Is a stopping rule met?", "The study file names no rule.", "not estimable", "T16")
    judged = any(status.n for f in rules if f.rule is not None for status in f.status.values())
    status: Status = "shown" if crossed else "not shown" if judged else "not estimable"
    return Finding("stopping", "Is a stopping rule met?", _sentence("; ".join(parts) + "."), status, "T16, F13")


FINDINGS: tuple[Callable[[Context], Finding], ...] = (
    modifications, doses, over_limits, declines, association, category, renal, hepatic, toxicity, stopping,
)  # fmt: skip


def _share(count: int, n: int, *, unit: str = "") -> str:
    found = clopper_pearson(count, n)
    if isinstance(found, NotEstimable):
        return f"not estimable ({found.reason})"
    low, high = 100.0 * (found.low or 0.0), 100.0 * (found.high or 0.0)
    return (
        f"{count} of {n}{' ' + unit if unit else ''} ({100.0 * found.estimate:.0f} %; 95 % CI {low:.0f} to {high:.0f})"
    )


def _median(found: Result) -> str:
    if found.low is None or found.high is None:
        return f"{number(found.estimate, most=2)} (no interval)"
    places = decimals(found.estimate, digits=3, most=2)
    return f"{fixed(found.estimate, places)} ({fixed(found.low, places)} to {fixed(found.high, places)})"


def _estimate(found: Result, unit: str) -> str:
    value = number(found.estimate, most=1)
    if found.low is None or found.high is None:
        return f"{value} {unit} (no interval)"
    return f"{value} {unit} (95 % CI {number(found.low, most=1)} to {number(found.high, most=1)})"


def _refused(tests: Mapping[str, object]) -> str:
    reasons = {t.reason for t in tests.values() if isinstance(t, NotEstimable)}
    return f"Not estimable: {'; '.join(sorted(reasons)) or 'no data'}."


def _small(analyte: str) -> str:
    label = label_of(analyte)
    return label if label[1:2].isupper() else f"{label[0].lower()}{label[1:]}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
