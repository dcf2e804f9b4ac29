"""Simulated table cases through the whole of `lutetia plan`: how near the doses are, and what the intervals cover."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutetia.core.draws import stream
from lutetia.core.regions import shared_name
from lutetia.dose.s_values import organ_s_value
from lutetia.phantom.example import TABLE_REGIONS, write_table_example
from lutetia.phantom.subject import reference_woman
from lutetia.phantom.truth import kidney_pair, true_doses
from lutetia.plan.run import run_plan
from lutetia.validation.checks import Check
from lutetia.validation.truths import FAMILIES, TrueCurve, draw_curve

ADMINISTERED = {"Lu-177": 3700.0, "Y-90": 3700.0}
SCHEDULES_H = ((4.0, 24.0, 96.0, 168.0), (24.0, 96.0, 168.0), (4.0, 24.0, 72.0, 168.0))
# region, share of the administered activity, median effective half-life of 177Lu in h, mass in g (assumptions)
ORGANS = (
    ("left kidney", 0.0085, 52.0, 150.0),
    ("right kidney", 0.0080, 52.0, 140.0),
    ("liver", 0.06, 67.0, 1500.0),
    ("spleen", 0.017, 67.0, 170.0),
    ("tumour 1", 0.006, 77.0, 18.0),
)
Doses = dict[tuple[str, str], float]
JUDGED = ("kidneys", "liver", "spleen", "tumour 1")


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative standard deviations of what is measured; all zero for exact tables."""

    noise: float = 0.05
    calibration: float = 0.04
    mass: float = 0.05
    s_value: float = 0.03


def simulate_table_case(folder: Path, seed: int, errors: Errors) -> Doses:
    """Write a table case of one simulated subject; returns the true dose in Gy by region and nuclide.

    Truth: numerical integral of the true curve × S at the true mass × the true error of S. Cross-dose between organs
    (below 2 %) is part of the truth through the same S-values of organ pairs.
    """
    generator = stream(seed, "validation", "table case")
    shared = np.exp(errors.calibration * generator.standard_normal())
    rows, masses = ["region,time_h,activity_MBq,sd_MBq"], {}
    curves: dict[str, TrueCurve] = {}
    true_mass, s_error = {}, {}
    systematic: dict[str, tuple[float, float]] = {}
    family = FAMILIES[seed % len(FAMILIES)]
    times = np.array(SCHEDULES_H[seed // len(FAMILIES) % len(SCHEDULES_H)])
    for region, fraction, median_h, mass in ORGANS:
        scale = fraction * np.exp(0.25 * generator.standard_normal())
        curve = draw_curve(family, generator, scale=scale, median_h=median_h)
        true_mass[region] = mass * np.exp(0.15 * generator.standard_normal())
        of_s, of_mass = generator.standard_normal(2)
        # Both kidneys are drawn by one person on one image, and have one organ model: their errors are one.
        of_s, of_mass = systematic.setdefault(shared_name(region), (of_s, of_mass))
        s_error[region] = np.exp(errors.s_value * of_s)
        masses[region] = true_mass[region] * np.exp(errors.mass * of_mass)
        exact = curve.activity_MBq(times, administered_MBq=ADMINISTERED["Lu-177"])
        seen = exact * shared * np.exp(errors.noise * generator.standard_normal(len(times)))
        sd = max(errors.noise, 0.01)
        rows += [f"{region},{t:g},{a:.8g},{sd * a:.6g}" for t, a in zip(times, seen, strict=True)]
        curves[region] = curve
    (folder / "regions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "case.toml").write_text(_case_text(masses, errors), encoding="utf-8")
    return _true_doses(curves, true_mass, s_error)


def _case_text(masses: dict[str, float], errors: Errors) -> str:
    listed = ", ".join(f'"{region}" = {mass:.6g}' for region, mass in masses.items())
    given = ", ".join(f'"{name}" = {activity}' for name, activity in ADMINISTERED.items())
    return f"""schema = "lutetia.case/1"
[subject]
id = "SIM"
sex = "female"
[protocol]
name = "duonen"
arm = "B"
[calibration]
sd_percent = {100.0 * errors.calibration}
[[cycles]]
number = 1
administered_at = 2026-01-12T09:30:00+01:00
administered_MBq = {{ {given} }}
[cycles.regions]
file = "regions.csv"
masses_g = {{ {listed} }}
mass_sd_percent = {100.0 * errors.mass}
"""


def _true_doses(curves: dict[str, TrueCurve], mass_g: dict[str, float], s_error: dict[str, float]) -> Doses:
    doses = {}
    organs = ("left kidney", "right kidney", "liver", "spleen")
    for name, given in ADMINISTERED.items():
        integral = {r: c.time_integrated_activity_MBq_h(name, given) for r, c in curves.items()}
        for region in curves:
            own = float(organ_s_value(name, region, region, "female", mass_g[region]).Gy_per_MBq_h)
            cross = 0.0
            if region in organs:
                cross = sum(
                    integral[o] * float(organ_s_value(name, o, region, "female").Gy_per_MBq_h)
                    for o in organs
                    if o != region
                )
            doses[(region, name)] = s_error[region] * (integral[region] * own + cross)
        weight = mass_g["left kidney"] + mass_g["right kidney"]
        doses[("kidneys", name)] = sum(doses[(s, name)] * mass_g[s] for s in organs[:2]) / weight
    return doses


def _planned(seeds: Iterable[int], errors: Errors, draws: int) -> Iterator[tuple[Doses, dict[str, dict[str, Any]]]]:
    """True doses and the planned regions of cycle 1, case by case."""
    with tempfile.TemporaryDirectory() as place:
        for seed in seeds:
            truth = simulate_table_case(Path(place), seed, errors)
            result = run_plan(Path(place), draws=draws, seed=seed).result
            yield truth, {row["region"]: row for row in result["cycles"][0]["regions"]}


def coverage_study(count: int = 300) -> list[Check]:
    """Share of 95 % intervals of the total dose that hold the truth, over simulated cases of all families."""
    covered: dict[str, list[bool]] = {region: [] for region in JUDGED}
    error: dict[str, list[float]] = {region: [] for region in JUDGED}
    for truth, found in _planned(range(1, count + 1), Errors(), 1000):
        for region in JUDGED:
            true = truth[(region, "Lu-177")] + truth[(region, "Y-90")]
            low, high = found[region]["absorbed_dose_interval_Gy"]
            covered[region].append(low <= true <= high)
            error[region].append(found[region]["absorbed_dose_Gy"] / true - 1.0)
    pooled = _percent([hit for hits in covered.values() for hit in hits])
    name = "95 % intervals that hold the truth"
    checks = [Check("coverage", f"{name}, all regions", pooled, "%", 92.0, 98.0)]
    checks += [
        Check("coverage", f"{name}, {region}", _percent(hits), "%", low=92.0) for region, hits in covered.items()
    ]
    checks += [
        Check("coverage", f"median error of the dose, {region}", 100.0 * float(np.median(e)), "%", -3.0, 3.0)
        for region, e in error.items()
    ]
    return checks


def _percent(hits: list[bool]) -> float:
    return 100.0 * float(np.mean(hits))


def noise_free_study() -> list[Check]:
    """Largest error of the dose from exact tables of mono-exponential kinetics, by nuclide."""
    worst = {"Lu-177": 0.0, "Y-90": 0.0}
    exact = Errors(0.0, 0.0, 0.0, 0.0)
    for truth, found in _planned(range(FAMILIES.index("mono"), 10 * len(FAMILIES), len(FAMILIES)), exact, 200):
        for region in JUDGED:
            for name in worst:
                dose = found[region]["nuclides"][name]["absorbed_dose_Gy"]
                worst[name] = max(worst[name], abs(dose / truth[(region, name)] - 1.0))
    return [
        *example_tables_study(),
        Check(
            "noise-free tables",
            "largest error of the absorbed dose, mono-exponential truths, 177Lu",
            100.0 * worst["Lu-177"],
            "%",
            high=1.0,
        ),
        Check(
            "noise-free tables",
            "largest error of the absorbed dose, mono-exponential truths, 90Y",
            100.0 * worst["Y-90"],
            "%",
            high=3.0,
        ),
    ]


def example_tables_study() -> list[Check]:
    """Exact tables of the example subject (uptake, two phases), against truth computed apart from the S-values.

    The truth folds analytic integrals with the phantom's own absorbed fractions (`lutetia.phantom.truth`).
    """
    subject = reference_woman()
    times = SCHEDULES_H[0]
    with tempfile.TemporaryDirectory() as place:
        folder = write_table_example(Path(place) / "case")
        for number in (1, 2):
            rows = ["region,time_h,activity_MBq,sd_MBq"]
            for region in TABLE_REGIONS:
                exact = subject.organ(region).biology.activity_MBq(np.array(times), "Lu-177", ADMINISTERED["Lu-177"])
                rows += [f"{region},{t:g},{a:.9g},{0.01 * a:.6g}" for t, a in zip(times, exact, strict=True)]
            (folder / f"cycle{number}" / "regions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        found = {row["region"]: row for row in run_plan(folder, draws=200).result["cycles"][0]["regions"]}
    checks = []
    for name, bound in (("Lu-177", 1.0), ("Y-90", 3.0)):
        doses = true_doses(subject, name, ADMINISTERED[name])
        truth = {dose.region: dose.absorbed_dose_Gy for dose in [*doses, kidney_pair(doses)]}
        errors = [abs(found[r]["nuclides"][name]["absorbed_dose_Gy"] / truth[r] - 1.0) for r in JUDGED]
        label = f"largest error of the absorbed dose, example's subject, {name}"
        checks.append(Check("noise-free tables", label, 100.0 * max(errors), "%", high=bound))
    return checks
