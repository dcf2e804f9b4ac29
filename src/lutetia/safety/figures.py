"""Figures of subjects, activities and doses (F1–F4, F11, F12): what of the trial goes into which panel, and in words.

The panels are drawn in `lutetia.report.figures`; a figure without data stays and says why it is empty. Those of
laboratory values are in `lutetia.safety.figures_laboratory`, the catalogue in `lutetia.safety.figure_catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lutetia.report.document import Figure, Inline, Key, Panel, rich
from lutetia.report.figures.agreement import agreement_panel
from lutetia.report.figures.boxes import Group, box_panel
from lutetia.report.figures.cycle_activity import NuclideActivity, cycle_activity_panel
from lutetia.report.figures.flow import ArmFlow, flow_panel
from lutetia.report.figures.frame import Labels
from lutetia.report.figures.heat_map import CATEGORIES, heat_map_panel
from lutetia.report.figures.scatter import Cloud
from lutetia.report.figures.stacks import Stack, stack_panel
from lutetia.report.numbers import change, given_number, nuclide_text, typeset, typeset_text
from lutetia.report.palette import nuclide_colour
from lutetia.safety.context import Context
from lutetia.safety.exposure import ended_early
from lutetia.safety.study import DoseLimit

ENDINGS: tuple[tuple[str, str], ...] = (
    ("completed", "completed"), ("treatment_ended", "treatment ended early"), ("died", "died"), ("lost", "lost"),
    ("withdrew", "withdrew"), ("progressed", "progressed"),
)  # fmt: skip


def caption(name: str, title: str, *more: str) -> Inline:
    """Number and title of a figure, and what the reader needs to read it."""
    return rich(*typeset(f"{name}\u2002{title}. "), *typeset(" ".join(more)))


def flow_figure(context: Context) -> Figure:
    """F1: subjects from screening to analysis."""
    subjects, sets = context.data["subjects"], context.sets
    outside = subjects[subjects["arm"] == ""]["subject_id"]
    events = context.data["disposition"]
    failed = events[(events["event"] == "screen_failed") & events["subject_id"].isin(outside)]
    why = failed["reason"].replace("", "reason not recorded").value_counts()
    reasons = [f"{reason}: {count}" for reason, count in sorted(why.items(), key=lambda pair: (-pair[1], pair[0]))]
    pending = len(outside) - failed["subject_id"].nunique()
    aside = (f"Not randomised: {len(outside)}", *reasons, *([f"in screening: {pending}"] if pending else []))
    arms = [_arm_flow(context, arm, n) for n, arm in enumerate(sets.arms)]
    picture = flow_panel(
        Labels("Flow of subjects"), [(f"Screened: {len(subjects)}",), (f"Randomised: {len(sets.itt)}",)], aside, arms
    )
    words = f"Flow of subjects: {len(subjects)} screened, {len(sets.itt)} randomised, {len(sets.saf)} treated."
    return Figure((Panel(picture, words),), caption("F1", "Flow of subjects", "SAF: safety; DOS: every dose known."))


def _arm_flow(context: Context, arm: str, position: int) -> ArmFlow:
    sets, events = context.sets, context.data["disposition"]
    itt, saf = sets.of("ITT", arm), sets.of("SAF", arm)
    events = pd.concat([events[events["event"] != "treatment_ended"], ended_early(context.data, context.infusions)])
    own = events[events["subject_id"].isin(itt)]
    lines = [
        f"{words}: {own.loc[own['event'] == event, 'subject_id'].nunique()}"
        for event, words in ENDINGS
        if (own["event"] == event).any() or event == "completed"
    ]
    completed, *others = lines
    return ArmFlow(
        arm,
        (
            (f"Arm {arm}: {len(itt)} randomised", f"treated: {len(saf)}", f"not treated: {len(itt) - len(saf)}"),
            (completed.capitalize(), *others),
            (f"Analysed (SAF): {len(saf)}", f"doses complete (DOS): {len(sets.of('DOS', arm))}"),
        ),
        position,
    )


def activity_figure(context: Context) -> Figure:
    """F2: administered activity of each cycle by arm and nuclide."""
    given = context.exposure[context.exposure["subject_id"].isin(context.sets.saf)]
    cycles = sorted(int(c) for c in given["cycle"].unique())
    highest = float(given["administered_MBq"].max()) / 1000.0 if len(given) else None
    panels = []
    for arm in context.arms:
        own, study = given[given["arm"] == arm], context.data.study.arms[arm]
        series = [
            NuclideActivity(
                nuclide,
                tuple(_GBq(own[(own["nuclide"] == nuclide) & (own["cycle"] == cycle)]) for cycle in cycles),
                base / 1000.0,
            )
            for nuclide, base in study.base_MBq.items()
        ]
        words = study.description or " and ".join(study.base_MBq)
        labels = Labels(f"Arm {arm}", y="GBq", note=typeset_text(words))
        picture = cycle_activity_panel(labels, series, [f"cycle {c}" for c in cycles], highest_GBq=highest)
        panels.append(
            Panel(picture, f"Administered activity of arm {arm} in each cycle, base {_bases(study.base_MBq)}")
        )
    text = "Points: subjects; bars: medians; dashed: base of the protocol; n: subjects given the cycle (SAF)."
    return Figure(tuple(panels), caption("F2", "Administered activity per cycle", text), 2, _nuclide_keys(context))


def _GBq(rows: pd.DataFrame) -> tuple[float, ...]:
    return tuple(sorted(rows["administered_MBq"] / 1000.0))


def _bases(base_MBq: Mapping[str, float]) -> str:
    return ", ".join(f"{nuclide_text(n)} {given_number(v / 1000.0)} GBq" for n, v in base_MBq.items())


def _nuclide_keys(context: Context) -> tuple[Key, ...]:
    names = sorted({nuclide for arm in context.data.study.arms.values() for nuclide in arm.base_MBq})
    return tuple(Key(nuclide_colour(name), "box", typeset(name)) for name in names)


def contribution_figure(context: Context) -> Figure:
    """F3: mean cumulative dose by nuclide and arm."""
    panels = []
    for limit in dose_limits(context):
        method = limit_method_of(context, limit)
        own = context.by_nuclide
        own = own[(own["region"] == limit.region) & (own["method"] == method)]
        stacks = [_stack(context, own, arm) for arm in context.arms]
        labels = Labels(f"{limit.region.capitalize()}: mean cumulative dose", y="Gy", note=method)
        text = f"limit {given_number(limit.limit_Gy)} Gy" if limit.metric == "absorbed_dose" else ""
        shown = limit.limit_Gy if text else None
        alt = f"Mean cumulative absorbed dose to {limit.region} by arm and nuclide"
        panels.append(Panel(stack_panel(labels, stacks, limit=shown, limit_text=text), alt))
    text = "Means, because means of the nuclides add up to the mean of the total; subjects of DOS."
    return Figure(tuple(panels), caption("F3", "What each nuclide contributes", text), 2, _nuclide_keys(context))


def _stack(context: Context, doses: pd.DataFrame, arm: str) -> Stack:
    subjects = context.sets.of("DOS", arm)
    own = doses[doses["subject_id"].isin(subjects) & doses["absorbed_dose_Gy"].notna()]
    if own.empty:
        return Stack(arm, (), 0)
    means = own.groupby("nuclide")["absorbed_dose_Gy"].sum() / own["subject_id"].nunique()
    return Stack(arm, tuple((str(n), float(means[n])) for n in sorted(means.index)), own["subject_id"].nunique())


def dose_limits(context: Context) -> tuple[DoseLimit, ...]:
    """One limit of each region, the first that the study names."""
    found: dict[str, DoseLimit] = {}
    for limit in context.data.study.limits:
        found.setdefault(limit.region, limit)
    return tuple(found.values())


def limit_method_of(context: Context, limit: DoseLimit) -> str:
    """The method by which a limit's doses were summed."""
    own = context.limits[context.limits["limit"] == limit.id]
    return str(own["method"].iloc[0]) if len(own) else ""


def cumulative_figure(context: Context) -> Figure:
    """F4: cumulative dose of every subject against every limit."""
    panels = []
    for limit in context.data.study.limits:
        own = context.limits[(context.limits["limit"] == limit.id) & context.limits["complete"]]
        groups = [
            Group(arm, tuple(sorted(own.loc[own["arm"] == arm, "dose_Gy"])), n) for n, arm in enumerate(context.arms)
        ]
        what = "BED" if limit.metric == "bed" else "absorbed dose"
        labels = Labels(f"{limit.region.capitalize()}: cumulative {what}", y="Gy", note=limit_method_of(context, limit))
        words = f"limit {given_number(limit.limit_Gy)} Gy"
        picture = box_panel(labels, groups, limit=limit.limit_Gy, limit_text=words)
        medians = "; ".join(f"arm {g.label} median {np.median(g.values):.3g} Gy" for g in groups if g.values)
        panels.append(Panel(picture, f"Cumulative {what} to {limit.region} by arm, {words}: {medians}"))
    text = "Box: quartiles; whiskers: within 1.5 quartile ranges; every subject with a complete sum is a mark."
    return Figure(tuple(panels), caption("F4", "Cumulative doses by arm", text), 2)


def modification_figure(context: Context) -> Figure:
    """F11: category of every decision about the variable nuclide."""
    cycles = sorted(int(c) for c in context.decisions["cycle"].unique())
    panels = []
    for arm in context.arms:
        variable = context.data.study.arms[arm].variable
        if variable is None:
            continue
        own = context.decisions[context.decisions["arm"] == arm]
        table = own.pivot_table(index="subject_id", columns="cycle", values="category", aggfunc="last")
        rows = [
            [_category(table.loc[s].get(c)) if s in table.index else None for c in cycles]
            for s in context.sets.of("SAF", arm)
        ]
        labels = Labels(f"Arm {arm}: {nuclide_text(variable)}", note=f"{len(rows)} subjects")
        panels.append(Panel(heat_map_panel(labels, [f"cycle {c}" for c in cycles], rows), _decided(arm, own)))
    names = [n for n in CATEGORIES if n in set(context.decisions["category"].dropna())]
    keys = tuple(Key(CATEGORIES[n][0], "box", rich(f"{n} {CATEGORIES[n][1]}")) for n in names)
    text = "Columns: subjects, sorted; prescribed activity of the variable nuclide against base; empty: not decided."
    return Figure(tuple(panels), caption("F11", "Modification of activity", text), 2, keys)


def _category(value: object) -> str | None:
    return value if isinstance(value, str) and value in CATEGORIES else None


def _decided(arm: str, decisions: pd.DataFrame) -> str:
    counts = decisions["category"].value_counts()
    return f"Decisions of arm {arm}: " + ", ".join(f"{counts[n]} {n}" for n in CATEGORIES if n in counts)


def prediction_figure(context: Context) -> Figure:
    """F12: dose predicted for the next cycle against the dose measured in it."""
    panels = []
    for limit in dose_limits(context):
        pairs = predicted_pairs(context, limit)
        clouds = [
            Cloud(arm, tuple(own["predicted_cycle_Gy"]), tuple(own["measured_cycle_Gy"]), n)
            for n, arm in enumerate(context.arms)
            if len(own := pairs[pairs["arm"] == arm])
        ]
        labels = Labels(limit.region.capitalize(), x="predicted before the cycle (Gy)", y="measured (Gy)")
        picture = agreement_panel(labels, clouds, words=agreement_words(pairs))
        alt = f"Measured against predicted dose to {limit.region}: {len(pairs)} cycles"
        panels.append(Panel(picture, alt))
    text = "One mark a cycle from the second on; bias: geometric mean of measured / predicted, with the 95 % range."
    return Figure(tuple(panels), caption("F12", "Predicted and measured dose of the next cycle", text), 2)


def predicted_pairs(context: Context, limit: DoseLimit) -> pd.DataFrame:
    """Administered cycles from the second on with a forecast before them and a measured dose."""
    own = context.forecasts
    own = own[(own["limit"] == limit.id) & (own["horizon"] == "next") & (own["cycle"] > 1)]
    known = (own["predicted_cycle_Gy"] > 0) & (own["measured_cycle_Gy"] > 0)
    return own[known & own["subject_id"].isin(context.sets.saf)].sort_values(["arm", "subject_id", "cycle"])


def agreement_words(pairs: pd.DataFrame) -> Sequence[str]:
    """Bias and 95 % range of measured / predicted in words."""
    if len(pairs) < 3:
        return ()
    ratio = np.log(pairs["measured_cycle_Gy"] / pairs["predicted_cycle_Gy"]).to_numpy()
    middle, spread = float(ratio.mean()), float(ratio.std(ddof=1))
    low, high = float(np.expm1(middle - 1.96 * spread)), float(np.expm1(middle + 1.96 * spread))
    return (f"bias {change(float(np.expm1(middle)))}", f"95 % of cycles {change(low)} to {change(high)}")
