"""Figures of laboratory values and monitoring (F5–F10, F13)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lutetia.report.document import Figure, Panel
from lutetia.report.figures.edish import edish_panel
from lutetia.report.figures.frame import HALF, Labels, nothing_to_draw
from lutetia.report.figures.incidence import Steps, incidence_panel
from lutetia.report.figures.scatter import Cloud, FittedLine, scatter_panel
from lutetia.report.figures.stopping import ArmPath, stopping_panel
from lutetia.report.figures.trajectories import Trajectory, trajectory_panel
from lutetia.report.figures.waterfall import Bar, waterfall_panel
from lutetia.report.numbers import number
from lutetia.safety.context import Context
from lutetia.safety.dose_effect import Association, associations
from lutetia.safety.figures import caption
from lutetia.safety.monitoring import Monitored, monitored
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.printing import printed_p
from lutetia.safety.statistics.boundaries import boundary
from lutetia.safety.statistics.results import NotEstimable, Result
from lutetia.safety.statistics.survival import Curve, aalen_johansen, numbers_at_risk
from lutetia.safety.tables.building import lab_analytes, label_of
from lutetia.safety.tables.t07_laboratory import course_tests

FALLING_MOST = 2  # analytes of the waterfall
LEAST_AT_A_PLACE = 3
ENDPOINTS = ("platelets ≥ G2", "lymphocytes ≥ G2", "neutrophils ≥ G2", "haemoglobin ≥ G2")
MONTH = 365.25 / 12.0


def waterfall_figure(context: Context) -> Figure:
    """F5: largest fall of every subject, for the analytes that fell most."""
    panels = []
    for analyte in _fell_most(context):
        own = context.extremes
        own = own[(own["analyte"] == analyte) & own["subject_id"].isin(context.sets.saf)]
        own = own[own["percent_change"].notna()].sort_values("subject_id")
        bars = [Bar(float(r.percent_change), context.arms.index(r.arm)) for r in own.itertuples()]
        labels = Labels(f"{label_of(analyte)}: largest change from baseline", y="%", note=f"{len(bars)} subjects")
        picture = waterfall_panel(labels, bars, [f"arm {arm}" for arm in context.arms])
        panels.append(Panel(picture, f"{label_of(analyte)}: lowest value of {len(bars)} subjects against baseline"))
    text = "One bar a subject, lowest value of the course against baseline; the two blood counts that fell most."
    return Figure(tuple(panels) or _empty("No blood counts."), caption("F5", "Largest fall of blood counts", text), 1)


def _fell_most(context: Context) -> list[str]:
    tests = course_tests(context)
    found = {a: tests[a]["all"] for a in lab_analytes(context, HAEMATOLOGY)}
    size = {a: r.estimate if isinstance(r, Result) else 0.0 for a, r in found.items()}
    return sorted(size, key=lambda a: (size[a], a))[:FALLING_MOST]


def trajectory_figure(context: Context) -> Figure:
    """F6: blood counts over nadirs and pre-cycle values by arm."""
    panels = []
    for analyte in lab_analytes(context, HAEMATOLOGY):
        own, ticks = occasions(context, analyte)
        lines = [
            _trajectory(own[own["arm"] == arm], f"arm {arm}", ticks, position=n) for n, arm in enumerate(context.arms)
        ]
        labels = Labels(label_of(analyte), y="change from baseline, % (geometric mean, 95 % CI)")
        alt = f"{label_of(analyte)}: change from baseline before every cycle, at every nadir and at the end, by arm"
        panels.append(Panel(trajectory_panel(labels, lines, ticks), alt))
    text = "b: baseline; n: nadir of the cycle; p: last value before the cycle; end: last value."
    return Figure(tuple(panels) or _empty("No blood counts."), caption("F6", "Course of blood counts", text), 2)


def occasions(context: Context, analyte: str) -> tuple[pd.DataFrame, list[tuple[float, str]]]:
    """Log ratios to baseline (subject_id, arm, place, log_ratio) at pre-cycle values, nadirs and the last value."""
    nadirs = context.nadirs[
        (context.nadirs["analyte"] == analyte) & context.nadirs["subject_id"].isin(context.sets.saf)
    ]
    nadirs = nadirs[nadirs["baseline"] > 0]
    cycles = sorted(int(c) for c in nadirs["cycle"].unique())
    parts, ticks = [nadirs.assign(place=0.0, ratio=1.0).drop_duplicates("subject_id")], [(0.0, "b")]
    for cycle in cycles:
        own = nadirs[nadirs["cycle"] == cycle]
        if cycle != cycles[0]:
            parts.append(own.assign(place=len(ticks), ratio=own["pre_cycle"] / own["baseline"]))
            ticks.append((float(len(ticks)), f"p{cycle}"))
        parts.append(own.assign(place=len(ticks), ratio=own["value"] / own["baseline"]))
        ticks.append((float(len(ticks)), f"n{cycle}"))
    last = context.last[(context.last["analyte"] == analyte) & context.last["subject_id"].isin(context.sets.saf)]
    last = last[last["baseline"] > 0]
    parts.append(last.assign(place=len(ticks), ratio=last["value"] / last["baseline"]))
    ticks.append((float(len(ticks)), "end"))
    every = pd.concat([part[["subject_id", "arm", "place", "ratio"]] for part in parts], ignore_index=True)
    every = every[every["ratio"] > 0]
    return every.assign(log_ratio=np.log(every["ratio"])), ticks


def _trajectory(
    own: pd.DataFrame, label: str, ticks: Sequence[tuple[float, str]], *, position: int, column: str = "log_ratio"
) -> Trajectory:
    rows = [
        _interval(own.loc[own["place"] == place, column].to_numpy(), log=column == "log_ratio") for place, _ in ticks
    ]
    if not rows:
        return Trajectory(label, (), (), (), (), (), position)
    middle, low, high, count = zip(*rows, strict=True)
    return Trajectory(label, tuple(p for p, _ in ticks), middle, low, high, count, position)


def _interval(values: np.ndarray, *, log: bool) -> tuple[float, float, float, int]:
    """Mean with its t interval, as percent change where the values are log ratios; no interval below three values."""
    n = len(values)
    if not n:
        return np.nan, np.nan, np.nan, 0
    mean = float(values.mean())
    half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / np.sqrt(n) if n > 2 else np.nan
    ends = (mean, mean - half, mean + half)
    middle, low, high = (100.0 * float(np.expm1(v)) for v in ends) if log else ends
    return middle, low, high, n


def association_figure(context: Context) -> Figure:
    """F7: change at the nadir of the first cycle against the marrow dose of that cycle."""
    panels = []
    for analyte, found in associations(context).items():
        pairs = found.pairs[found.pairs["dose_Gy"].notna() & found.pairs["percent_change"].notna()]
        clouds = [
            Cloud(arm, tuple(own["dose_Gy"]), tuple(own["percent_change"]), n)
            for n, arm in enumerate(context.arms)
            if len(own := pairs[pairs["arm"] == arm].sort_values("subject_id"))
        ]
        words = _rank_words(found.rank)
        labels = Labels(label_of(analyte), x="marrow dose of the first cycle (Gy)", y="% change at its nadir")
        picture = scatter_panel(labels, clouds, fit=_line(found), words=words)
        panels.append(Panel(picture, f"{label_of(analyte)}: change at the nadir against marrow dose; {words}"))
    text = (
        "One mark a subject; line: slope within arms (least squares with arm intercepts) through the mean. ρ is of all "
        "subjects; the slope and its interval, adjusted for arm, are in T13."
    )
    return Figure(tuple(panels) or _empty("No marrow doses."), caption("F7", "Blood counts and marrow dose", text), 2)


def _rank_words(rank: Result | NotEstimable) -> str:
    if isinstance(rank, NotEstimable):
        return f"ρ not estimable: {rank.reason}"
    low, high = number(rank.low, most=2), number(rank.high, most=2)
    p = "" if rank.p is None else f", p {'' if rank.p < 0.001 else '= '}{printed_p(rank.p)}"
    ends = f" (95 % CI {low} to {high})" if rank.low is not None else ""
    return f"ρ = {number(rank.estimate, most=2)}{ends}{p}, n = {rank.n}"


def _line(found: Association) -> FittedLine | None:
    pairs = found.pairs[found.pairs["dose_Gy"].notna() & found.pairs["log_change"].notna()]
    if isinstance(found.slope, NotEstimable) or len(pairs) < 3:
        return None
    slope = float(np.log1p(found.slope.estimate / 100.0)) / 0.1
    low, high = float(pairs["dose_Gy"].min()), float(pairs["dose_Gy"].max())
    grid = np.linspace(low, high, 25)
    log_change = pairs["log_change"].mean() + slope * (grid - pairs["dose_Gy"].mean())
    return FittedLine(tuple(float(g) for g in grid), tuple(float(v) for v in 100.0 * np.expm1(log_change)))


def incidence_figure(context: Context) -> Figure:
    """F8: cumulative incidence of the first grade 2 or worse; death before it competes."""
    panels = []
    for endpoint in ENDPOINTS:
        own = context.durations[
            (context.durations["endpoint"] == endpoint) & context.durations["subject_id"].isin(context.sets.saf)
        ]
        if own.empty:
            continue
        ticks = _month_ticks(float(own["day"].max()) / MONTH)
        groups = [
            _steps(own[own["arm"] == arm], f"arm {arm}", ticks, position=n)
            for n, arm in enumerate(context.arms)
            if (own["arm"] == arm).any()
        ]
        labels = Labels(_first_upper(str(own["label"].iloc[0])), x="months since the first infusion", y="% of subjects")
        alt = f"Cumulative incidence of {own['label'].iloc[0]} by arm"
        panels.append(Panel(incidence_panel(labels, groups, ticks), alt))
    text = "Treatment-emergent; death before the event competes (Aalen–Johansen); value at the last observation."
    empty = _empty("No graded values.")
    return Figure(tuple(panels) or empty, caption("F8", "Cumulative incidence of grade 2 or worse", text), 2)


def _steps(own: pd.DataFrame, label: str, ticks: Sequence[float], *, position: int) -> Steps:
    months = own["day"].to_numpy() / MONTH
    curve = aalen_johansen(months, own["status"].to_numpy())
    time, value = (curve.time, curve.value) if isinstance(curve, Curve) else ((), ())
    return Steps(label, time, value, numbers_at_risk(months, ticks), float(months.max()), position)


def _month_ticks(last: float) -> list[float]:
    step = next((s for s in (1, 2, 3, 6, 12, 24) if last / s <= 6.0), 36)
    return [float(n * step) for n in range(int(np.ceil(last / step)) + 1)] if last > 0 else [0.0, 1.0]


def _first_upper(words: str) -> str:
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]


def edish_figure(context: Context) -> Figure:
    """F9: highest transaminase against highest bilirubin, on limits of normal and on baseline."""
    panels = []
    for title, x, y, unit in (
        ("Against the upper limit of normal", "transaminase_x_uln", "bilirubin_x_uln", "upper limit of normal"),
        ("Against the subject's own baseline", "alt_x_baseline", "bilirubin_x_baseline", "baseline"),
    ):
        own = context.peaks[context.peaks["subject_id"].isin(context.sets.saf)]
        own = own[(own[x] > 0) & (own[y] > 0)].sort_values("subject_id")
        clouds = [
            Cloud(arm, tuple(part[x]), tuple(part[y]), n)
            for n, arm in enumerate(context.arms)
            if len(part := own[own["arm"] == arm])
        ]
        enzyme = "ALT or AST" if "uln" in x else "ALT"
        labels = Labels(title, x=f"highest {enzyme} (× {unit})", y=f"highest bilirubin (× {unit})")
        panels.append(Panel(edish_panel(labels, clouds), f"{title}: {len(own)} subjects"))
    text = "One mark a subject, highest values after the first infusion at any time; dashed: 3\u00a0× and 2\u00a0×."
    return Figure(tuple(panels), caption("F9", "Evaluation of drug-induced liver injury (eDISH)", text), 2)


def egfr_figure(context: Context) -> Figure:
    """F10: eGFR and its change by arm over quarters of a year."""
    means, ticks = quarterly_egfr(context)
    panels = []
    for column, title, unit in (
        ("log_ratio", "Change of eGFR", "change from baseline, % (geometric mean, 95 % CI)"),
        ("egfr", "eGFR", "mL/min/1.73 m² (mean, 95 % CI)"),
    ):
        lines = [
            _trajectory(means[means["arm"] == arm], f"arm {arm}", ticks, position=n, column=column)
            for n, arm in enumerate(context.arms)
        ]
        labels = Labels(title, x="months since the first infusion", y=unit)
        reference = 0.0 if column == "log_ratio" else None
        picture = trajectory_panel(labels, lines, ticks, reference=reference)
        panels.append(Panel(picture, f"{title} by arm over months since the first infusion"))
    text = "Values of a quarter of a year are averaged within the subject; baseline at month 0; at least 3 subjects."
    return Figure(tuple(panels), caption("F10", "Course of renal function", text), 2)


def quarterly_egfr(context: Context) -> tuple[pd.DataFrame, list[tuple[float, str]]]:
    """Mean eGFR and log ratio to baseline of every subject and quarter (place: months), and the places with subjects.

    A place needs three subjects of one arm.
    """
    own = context.egfr[context.egfr["subject_id"].isin(context.sets.saf) & context.egfr["egfr"].notna()]
    own = own[(own["baseline_egfr"] > 0) & (own["on_treatment"] | (own["row"] == own["baseline_row"]))]
    place = np.where(own["on_treatment"], np.maximum(np.round(own["years"] * 4.0), 1.0) * 3.0, 0.0)
    own = own.assign(place=place, log_ratio=np.log(own["egfr"] / own["baseline_egfr"]))
    means = own.groupby(["subject_id", "arm", "place"], sort=True)[["log_ratio", "egfr"]].mean().reset_index()
    counts = means.groupby(["place", "arm"]).size().groupby("place").max()
    ticks = [(float(p), f"{p:.0f}") for p in sorted(counts[counts >= LEAST_AT_A_PLACE].index)]
    return means, ticks


def stopping_figure(context: Context) -> Figure:
    """F13: stopping boundaries and the path of every arm."""
    panels = []
    for found in monitored(context):
        labels = Labels(_first_upper(found.monitor.id), x="evaluable subjects of an arm", y="events")
        if found.rule is None:
            panels.append(Panel(nothing_to_draw(labels, found.reason), found.reason))
            continue
        edge = [(point.n, point.stop_at) for point in boundary(found.rule) if point.stop_at is not None]
        paths = [_path(found, arm, n) for n, arm in enumerate(context.arms)]
        state = "; ".join(f"arm {arm} {s.events} of {s.n}" for arm, s in found.status.items())
        panels.append(Panel(stopping_panel(labels, edge, paths), f"Stopping boundary {found.monitor.id}: {state}"))
    text = "Events among evaluable subjects in the order of their first infusion; at or above the red line: stop."
    empty = _empty("The study file names no stopping rule.")
    return Figure(tuple(panels) or empty, caption("F13", "Stopping boundaries", text), 2)


def _path(found: Monitored, arm: str, position: int) -> ArmPath:
    own = found.subjects[found.subjects["arm"] == arm].sort_values("order")
    return ArmPath(f"arm {arm}", tuple(int(v) for v in own["event"].astype(int).cumsum()), position)


def _empty(reason: str) -> tuple[Panel, ...]:
    return (Panel(nothing_to_draw(Labels(""), reason, width=HALF), reason),)
