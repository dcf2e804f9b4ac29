"""Cycles that are known only by their result: doses from a table, as records of the ledger.

Kidneys entered singly are joined to the pair that the limit is judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lutetia.core.chain import Doubt, NuclideDose, OrganDose
from lutetia.core.draws import Estimate, combine
from lutetia.dose.organ_dose import single_kidney_doubts
from lutetia.errors import CaseError
from lutetia.plan.case import Cycle
from lutetia.plan.cycle import KIDNEYS
from lutetia.plan.ledger import MARROW, Coefficients, CycleDoses, family
from lutetia.plan.tables import MARROW_METHODS, EnteredDose, read_doses
from lutetia.plan.uncertainty import Draws, default_sizes

Key = tuple[str, str]
Entry = tuple[OrganDose, Coefficients | None]


def entered_cycle(
    cycle: Cycle, folder: Path, *, nuclides: Sequence[str], kidneys_present: int, draws: Draws
) -> tuple[CycleDoses, tuple[Doubt, ...]]:
    """Doses and, where every nuclide of `nuclides` is entered, coefficients of a cycle from `cycles.doses`."""
    assert cycle.doses is not None
    where = f"cycle {cycle.number}, doses"
    grouped: dict[Key, list[EnteredDose]] = {}
    for row in read_doses(folder / cycle.doses.file, where=where):
        grouped.setdefault((row.region, row.method), []).append(row)
    entries = [_entered(rows, cycle, draws, where) for rows in grouped.values()]
    pair, doubts = _pair(entries, kidneys_present, where)
    entries += pair
    doubts += [_method_unknown(d, cycle) for d, _ in entries if d.region == MARROW and d.method not in MARROW_METHODS]
    coefficients = {
        (dose.region, family(dose)): per_MBq
        for dose, per_MBq in entries
        if per_MBq is not None and all(n in per_MBq.nuclides for n in nuclides)
    }
    doses = tuple(dose for dose, _ in entries)
    return CycleDoses(cycle.number, cycle.administered_MBq, doses, coefficients), tuple(doubts)


def _pair(entries: Sequence[Entry], kidneys_present: int, where: str) -> tuple[list[Entry], list[Doubt]]:
    """The kidneys from single ones: their mean, as masses are not entered; the one kidney where there is one."""
    found = {dose.region: (dose, per_MBq) for dose, per_MBq in entries if dose.region in (*KIDNEYS, "kidneys")}
    if "kidneys" in found or not found:
        return [], []
    if kidneys_present == 1:
        dose, per_MBq = next(iter(found.values()))
        return [(replace(dose, region="kidneys", method=f"{dose.region} alone ({dose.method})"), per_MBq)], []
    if len(found) == 1:
        raise CaseError(f"{where}: only the {next(iter(found))} is entered; enter both, or set kidneys_present = 1")
    (left, left_MBq), (right, right_MBq) = (found[side] for side in KIDNEYS)
    parts = tuple(
        replace(a, absorbed_dose_Gy=_mean(a.absorbed_dose_Gy, b.absorbed_dose_Gy))
        for a in left.nuclides
        for b in right.nuclides
        if a.nuclide == b.nuclide
    )
    total = _mean(left.absorbed_dose_Gy, right.absorbed_dose_Gy)
    bed = None if left.bed_Gy is None or right.bed_Gy is None else _mean(left.bed_Gy, right.bed_Gy)
    doses = [float(d.absorbed_dose_Gy.value) for d in (left, right)]
    doubts = list(single_kidney_doubts(doses[0], doses[1], float(total.value), when=where))
    method = f"mean of left and right kidney, masses not entered ({left.method})"
    coefficients = None
    if left_MBq is not None and right_MBq is not None and left_MBq.nuclides == right_MBq.nuclides:
        linear = {n: _mean(left_MBq.linear_Gy_per_MBq[n], right_MBq.linear_Gy_per_MBq[n]) for n in left_MBq.nuclides}
        coefficients = Coefficients(left_MBq.nuclides, linear, None, left_MBq.cycle)
    return [(OrganDose("kidneys", method, parts, total, bed), coefficients)], doubts


def _mean(a: Estimate, b: Estimate) -> Estimate:
    return combine(lambda x, y: np.asarray(0.5 * (x + y)), a, b)


def _method_unknown(dose: OrganDose, cycle: Cycle) -> Doubt:
    text = (
        f"red marrow: the entered dose has method {dose.method!r}, which is neither blood nor image, so it counts into "
        "no limit; write blood or image into the column `method`"
    )
    return Doubt("marrow-method-unknown", text, f"cycle {cycle.number}, doses", "first-line")


def _entered(rows: list[EnteredDose], cycle: Cycle, draws: Draws, where: str) -> tuple[OrganDose, Coefficients | None]:
    region, method = rows[0].region, rows[0].method
    by_nuclide = {row.nuclide: row for row in rows}
    if set(by_nuclide) == {"total"} and len(cycle.administered_MBq) == 1:
        by_nuclide = dict.fromkeys(cycle.administered_MBq, rows[0])
    if unknown := [n for n in by_nuclide if n != "total" and n not in cycle.administered_MBq]:
        raise CaseError(
            f"{where}: {region} has a dose of {', '.join(unknown)}, which the cycle did not give; correct it"
        )
    drawn = {n: _entered_estimate(row, draws) for n, row in by_nuclide.items()}
    parts = tuple(
        NuclideDose(n, "entered", "", drawn[n], cycle.administered_MBq[n], method=method) for n in drawn if n != "total"
    )
    each = [drawn[n] for n in drawn if n != "total"]
    complete = set(by_nuclide) - {"total"} == set(cycle.administered_MBq)
    if "total" not in drawn and not complete:
        missing = ", ".join(sorted(set(cycle.administered_MBq) - set(by_nuclide)))
        raise CaseError(f"{where}: {region} lacks the dose of {missing}; add a row for it, or one of nuclide `total`")
    total = drawn.get("total") or combine(lambda *a: np.asarray(sum(a)), *each)
    parts_Gy = sum(float(e.value) for e in each)
    if abs(parts_Gy - float(total.value)) > 0.02 * float(total.value) and (complete or parts_Gy > float(total.value)):
        raise CaseError(
            f"{where}: {region} has a total of {float(total.value):g} Gy, but its nuclides add up to {parts_Gy:g} Gy; "
            "correct one of them"
        )
    beds = [row.bed_Gy for row in rows if row.bed_Gy is not None and (row.nuclide == "total" or len(rows) == 1)]
    bed = None
    if beds:
        scale = beds[0] / float(total.value) if total.value > 0 else 1.0
        bed = Estimate(np.asarray(beds[0]), total.draws * scale)
    dose = OrganDose(region, method, parts, total, bed)
    if not complete:
        return dose, None
    linear = {
        n: Estimate(e.value / a, e.draws / a)
        for n, e in drawn.items()
        if n != "total"
        for a in [cycle.administered_MBq[n]]
    }
    return dose, Coefficients(tuple(linear), linear, None, cycle.number)


def _entered_estimate(row: EnteredDose, draws: Draws) -> Estimate:
    value = row.absorbed_dose_Gy
    percent = default_sizes().entered_dose_percent
    if row.absorbed_dose_sd_Gy is not None and value > 0:
        percent = 100.0 * row.absorbed_dose_sd_Gy / value
    return Estimate(np.asarray(value), value * draws.factor(percent, "entered dose", row.region))
