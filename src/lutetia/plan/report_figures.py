"""Figures of the report from a result: what is drawn and its words; how it is drawn is `lutetia.report.figures`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lutetia.plan.report_reading import (
    Result,
    bounds,
    cap_MBq,
    mapping,
    nuclides,
    of_same_sum,
    ordered,
    region_name,
    regions_of,
    rows,
    several,
)
from lutetia.report import palette
from lutetia.report.document import Block, Figure, Heading, Key, Panel, rich
from lutetia.report.figures.activities import CycleActivity, activity_panel
from lutetia.report.figures.contributions import CycleDose, cumulative_panel
from lutetia.report.figures.curves import Curve, time_activity_panel
from lutetia.report.figures.methods import MethodDoses, method_panel
from lutetia.report.numbers import gigabecquerel, given_number, known, nuclide, nuclide_text, with_unit

_CURVES_PER_CYCLE = 12


def detail_figures(result: Result) -> dict[str, tuple[Block, ...]]:
    """Figures by section: ``doses`` and ``curves``."""
    cycles = rows(result.get("cycles"))
    doses = [*_activities(result), *_cumulative(result), *_marrow(cycles)]
    curves = [block for cycle in cycles for block in _curves(cycle)]
    return {"doses": tuple(doses), "curves": tuple(curves)}


def _legend(names: Iterable[str], *extra: Key) -> tuple[Key, ...]:
    return (*(Key(palette.nuclide_colour(n), "box", nuclide(n)) for n in names), *extra)


def _activities(result: Result) -> list[Block]:
    cycles, prescription = rows(result.get("cycles")), mapping(result.get("prescription"))
    proposal = mapping(prescription.get("activities_MBq"))
    labels = [f"cycle {c.get('number')}" for c in cycles] + ([f"cycle {prescription.get('cycle')}"] if proposal else [])
    panels = []
    for name in nuclides(result):
        values = [known(mapping(c.get("administered_MBq")).get(name)) for c in cycles]
        values += [known(proposal.get(name))] if proposal else []
        base, cap = known(mapping(prescription.get("base_MBq")).get(name)), cap_MBq(prescription, name)
        series = CycleActivity(name, f"{nuclide_text(name)} activity", tuple(values), base, cap)
        drawn = activity_panel(series, labels, proposed=len(cycles) if proposal else None)
        said = ", ".join(
            f"{label} {gigabecquerel(v)} GBq" for label, v in zip(labels, values, strict=True) if v is not None
        )
        panels.append(Panel(drawn, f"{nuclide_text(name)}: {said}"))
    caption = (
        "Activity administered in each cycle; the open bar is the activity shown on page 1."
        if proposal
        else "Activity administered in each cycle."
    )
    return [Figure(tuple(panels), rich(caption), columns=min(2, len(panels)))] if panels else []


def _cumulative(result: Result) -> list[Block]:
    cycles, totals = rows(result.get("cycles")), ordered(rows(result.get("cumulative")))
    shown = [t for t in totals if not several(totals, t.get("region")) or _limit_of(result, t)]
    panels = tuple(_cumulative_panel(t, totals, cycles, _limit_of(result, t)) for t in shown)
    before, near = rich("given before"), rich("limit, where it is near")
    legend = _legend(nuclides(result), Key(palette.GRID, "box", before), Key(palette.LIMIT, "line", near))
    caption = rich("Cumulative absorbed dose, cycle by cycle, stacked by nuclide. The vertical scales differ.")
    return [Figure(panels, caption, 3, legend)] if panels else []


def _limit_of(result: Result, total: Mapping[str, Any]) -> Mapping[str, Any]:
    """The limit of absorbed dose that a cumulative dose counts for, else nothing."""
    for limit in rows(result.get("limits")):
        same = limit.get("region") == total.get("region") and limit.get("method") in (None, total.get("method"))
        if same and limit.get("metric") == "absorbed_dose":
            return limit
    return {}


def _cumulative_panel(
    total: Mapping[str, Any],
    totals: Sequence[Mapping[str, Any]],
    cycles: Sequence[Mapping[str, Any]],
    limit: Mapping[str, Any],
) -> Panel:
    found = [of_same_sum(total, totals, cycle) for cycle in cycles]
    steps = [CycleDose(f"cycle {c.get('number')}", _parts(r)) for c, r in zip(cycles, found, strict=True)]
    dose, bound = with_unit(known(total.get("absorbed_dose_Gy")), "Gy"), known(limit.get("limit_Gy"))
    name, word = region_name(total.get("region")), f"limit {given_number(bound)} Gy"
    drawn = cumulative_panel(name, steps, limit_Gy=bound, limit_text=word, note=dose)
    return Panel(drawn, f"{name}: {dose} over {len(steps)} cycles{f', {word}' if bound is not None else ''}")


def _parts(region: Mapping[str, Any]) -> tuple[tuple[str, float], ...] | None:
    doses = {n: known(mapping(e).get("absorbed_dose_Gy")) for n, e in mapping(region.get("nuclides")).items()}
    if not doses or None in doses.values():
        total = known(region.get("absorbed_dose_Gy"))
        return None if total is None else (("", total),)
    return tuple((n, d) for n, d in doses.items() if d is not None)


def _marrow(cycles: Sequence[Mapping[str, Any]]) -> list[Block]:
    found = [[r for r in rows(c.get("regions")) if r.get("region") == "red marrow"] for c in cycles]
    methods = list(dict.fromkeys(str(r.get("method")) for regions in found for r in regions))
    if len(methods) < 2:
        return []
    series = []
    for method in methods:
        each = [next((r for r in regions if str(r.get("method")) == method), {}) for regions in found]
        doses = tuple(known(r.get("absorbed_dose_Gy")) for r in each)
        series.append(MethodDoses(method, doses, tuple(bounds(r.get("absorbed_dose_interval_Gy")) for r in each)))
    labels = [f"cycle {c.get('number')}" for c in cycles]
    alt = "; ".join(f"{m.label}: {', '.join(with_unit(d, 'Gy') for d in m.dose_Gy)}" for m in series)
    text = rich("Red marrow by each method, per cycle, with 95 % intervals. Methods are never mixed in one sum.")
    return [Figure((Panel(method_panel("Red marrow, dose per cycle", series, labels), alt),), text, 2)]


def _curves(cycle: Mapping[str, Any]) -> list[Block]:
    drawn = [(r, c) for r in regions_of(cycle) if (c := _region_curves(r))][:_CURVES_PER_CYCLE]
    if not drawn:
        return []
    scans = [c for r, curves in drawn if not _of_blood(r) for c in curves]
    end = max((max(c.grid_h, default=0.0) for c in scans), default=0.0) or None
    panels = tuple(_curve_panel(region, curves, end) for region, curves in drawn)
    names = dict.fromkeys(c.nuclide for _, curves in drawn for c in curves)
    marks = (
        Key(palette.MUTED, "point", rich("measured ± SD")),
        Key(palette.MUTED, "line", rich("fit with 95 % band")),
        Key(palette.MUTED, "dash", rich("beyond the last scan")),
    )
    legend = _legend(names, *marks)
    return [Heading(rich(f"Cycle {cycle.get('number')}"), 2), Figure(panels, (), 3, legend)]


# Marrow methods whose curve is a concentration with a name and time axis of its own.
_CONCENTRATIONS = {"blood": "Blood", "image": "Vertebrae"}


def _of_blood(region: Mapping[str, Any]) -> bool:
    """Whether the curve of a region is that of the blood, with its own time axis."""
    return region.get("method") == "blood"


def _curve_panel(region: Mapping[str, Any], curves: Sequence[Curve], end_h: float | None) -> Panel:
    concentration = _CONCENTRATIONS.get(str(region.get("method")))
    name = concentration or region_name(region.get("region"))
    total = with_unit(known(region.get("absorbed_dose_Gy")), "Gy")
    points = sum(len(c.time_h) for c in curves)
    note = f"red marrow {total}" if concentration else total
    unit = "MBq/mL" if concentration else "MBq"
    end = None if _of_blood(region) else end_h
    return Panel(
        time_activity_panel(name, curves, note=note, unit=unit, end_h=end),
        f"{name}: {points} measured points and fitted curve; absorbed dose {total}",
    )


def _region_curves(region: Mapping[str, Any]) -> tuple[Curve, ...]:
    entries = mapping(region.get("nuclides"))
    raw = {n: mapping(mapping(e).get("curve")) for n, e in entries.items()}
    times = [t for c in raw.values() for t in _numbers(c.get("time_h"))]
    return tuple(_curve(n, c, max(times, default=None)) for n, c in raw.items() if _numbers(c.get("grid_h")))


def _curve(name: str, curve: Mapping[str, Any], last_h: float | None) -> Curve:
    keys = ("time_h", "activity_MBq", "sd_MBq", "grid_h", "fit_MBq", "fit_low_MBq", "fit_high_MBq")
    time, activity, sd, grid, fit, low, high = (_numbers(curve.get(k)) for k in keys)
    sd = sd if len(sd) == len(time) else (0.0,) * len(time)
    band = len(low) == len(high) == len(grid)
    return Curve(name, time, activity, sd, grid, fit, low if band else (), high if band else (), last_h)


def _numbers(value: object) -> tuple[float, ...]:
    return tuple(known(v) or 0.0 for v in value) if isinstance(value, (list, tuple)) else ()
