"""The ledger over cycles: what each region has received, and what the next cycle would add per MBq.

A cycle without measurements of a region is carried: Gy/GBq of the last measured cycle × administered × drift, with an
added uncertainty. Doses of different marrow methods are never added. Prior therapy counts into the cumulative dose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lutetia.core.chain import Doubt, NuclideDose, OrganDose
from lutetia.core.draws import Estimate, combine, exact
from lutetia.dose.bed import quadratic_part, radiobiology
from lutetia.plan.case import PriorTherapy
from lutetia.plan.uncertainty import Draws

MARROW = "red marrow"
BED_INCOMPLETE = "bed-incomplete"


@dataclass(frozen=True, slots=True, eq=False)
class CycleDoses:
    """Doses of one given cycle; `per_MBq` holds coefficients of nuclides by (region, method)."""

    number: int
    administered_MBq: Mapping[str, float]
    doses: tuple[OrganDose, ...]
    coefficients: Mapping[tuple[str, str], Coefficients]


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """Dose per activity of one region by one method.

    `linear_Gy_per_MBq` by nuclide, scalar Estimates; `quadratic_Gy_per_MBq2` shape (nuclide, nuclide) in the order of
    `nuclides`, or None where no BED is defined. `cycle` is the one they were measured in; 0 for the population.
    """

    nuclides: tuple[str, ...]
    linear_Gy_per_MBq: Mapping[str, Estimate]
    quadratic_Gy_per_MBq2: Estimate | None
    cycle: int


@dataclass(frozen=True, slots=True, eq=False)
class Cumulative:
    """Dose of one region so far by one method; None where a given cycle could not be evaluated."""

    region: str
    method: str
    absorbed_dose_Gy: Estimate | None
    bed_Gy: Estimate | None
    doubts: tuple[Doubt, ...] = ()


def family(dose_or_method: OrganDose | str, region: str = "") -> str:
    """What may be added over cycles: for marrow the method's id (blood, image), for other regions "organ"."""
    method = dose_or_method if isinstance(dose_or_method, str) else dose_or_method.method
    place = region if isinstance(dose_or_method, str) else dose_or_method.region
    return method if place == MARROW else "organ"


def carried_dose(
    region: str,
    method: str,
    coefficients: Coefficients,
    administered_MBq: Mapping[str, float],
    *,
    drift: float,
    cycle: int,
    spread: Estimate,
) -> OrganDose:
    """Dose of a cycle without its own measurement: D_n = A_n · l_n · drift^(cycles since) · spread.

    Parameters
    ----------
    drift
        Per cycle, of the protocol.
    cycle
        Number of the cycle that is filled in.
    spread
        Factor of the variation between cycles, value 1.
    """
    power = drift ** max(cycle - coefficients.cycle, 0) if coefficients.cycle else 1.0
    basis = f"carried from cycle {coefficients.cycle}" if coefficients.cycle else "population"

    def dose_of(nuclide: str, activity: float) -> NuclideDose:
        linear = coefficients.linear_Gy_per_MBq[nuclide]
        dose = combine(lambda c, f: np.asarray(c * f * activity * power), linear, spread)
        return NuclideDose(nuclide, basis, basis, dose, activity, method=method)

    parts = tuple(dose_of(n, a) for n, a in administered_MBq.items() if n in coefficients.linear_Gy_per_MBq)
    total = _sum(part.absorbed_dose_Gy for part in parts)
    bed = quadratic = None
    if coefficients.quadratic_Gy_per_MBq2 is not None:
        given = np.array([administered_MBq.get(n, 0.0) for n in coefficients.nuclides])
        scaled = combine(
            lambda q, f: np.asarray(q * (power * f[..., None, None]) ** 2), coefficients.quadratic_Gy_per_MBq2, spread
        )
        quadratic = scaled
        bed = combine(lambda d, q: np.asarray(d + quadratic_part(q, given)), total, scaled)
    text = f"cycle {cycle}, {region}: not measured; dose {basis}, with {_percent(spread)} % added uncertainty"
    code = "dose-carried" if coefficients.cycle else "population-dose"
    doubt = Doubt(code, text, f"cycle {cycle}, {region}", "warning" if coefficients.cycle else "first-line")
    return OrganDose(region, method, parts, total, bed, quadratic, doubts=(doubt,))


def cumulate(
    cycles: Sequence[CycleDoses], prior: Sequence[PriorTherapy], draws: Draws
) -> dict[tuple[str, str], Cumulative]:
    """Sum over all given cycles and prior therapy, by (region, family of methods).

    A region that is missing in a given cycle has no cumulative dose: None, never a partial sum.
    """
    keys = dict.fromkeys((dose.region, family(dose)) for cycle in cycles for dose in cycle.doses)
    table = {key: _cumulate_one(key, cycles, draws) for key in keys}
    for therapy in prior:
        key = (therapy.region, family(therapy.method or "organ", therapy.region))
        table[key] = _with_prior(table.get(key), key, therapy, draws, started=bool(cycles))
        if therapy.region == "kidneys":
            for single in (("left kidney", "organ"), ("right kidney", "organ")):
                if single in table:
                    table[single] = _with_prior(table[single], single, therapy, draws, started=True)
    return table


def _cumulate_one(key: tuple[str, str], cycles: Sequence[CycleDoses], draws: Draws) -> Cumulative:
    region = key[0]
    found = [_of(cycle, key) for cycle in cycles]
    doses = [dose for dose in found if dose is not None]
    methods = tuple(dict.fromkeys(dose.method for dose in doses))
    missing = [cycle.number for cycle, dose in zip(cycles, found, strict=True) if dose is None]
    if missing:
        text = (
            f"{region}: cycle {', '.join(map(str, missing))} has no dose by this method, so there is no cumulative dose"
        )
        return Cumulative(region, "; ".join(methods), None, None, (Doubt("cumulative-not-evaluable", text, region),))
    total = _sum(dose.absorbed_dose_Gy for dose in doses)
    bed, doubts = _cumulate_bed(region, doses)
    if len(methods) > 1:
        text = f"{region}: the cumulative dose joins different methods over the cycles ({'; '.join(methods)})"
        doubts = (*doubts, Doubt("methods-joined", text, region))
    return Cumulative(region, "; ".join(methods), total, bed, doubts)


def _cumulate_bed(region: str, doses: Sequence[OrganDose]) -> tuple[Estimate | None, tuple[Doubt, ...]]:
    """Sum of BED; a dose without one counts as its absorbed dose, which its BED is never below."""
    if radiobiology(region) is None:
        return None, ()
    total = _sum(dose.absorbed_dose_Gy if dose.bed_Gy is None else dose.bed_Gy for dose in doses)
    lacking = sum(dose.bed_Gy is None for dose in doses)
    return total, ((_bed_doubt(region, f"{lacking} cycle(s)"),) if lacking else ())


def _bed_doubt(region: str, what: str) -> Doubt:
    text = (
        f"{region}: the BED of {what} is not known and counts as the absorbed dose; the cumulative BED is a lower bound"
    )
    return Doubt(BED_INCOMPLETE, text, region, "warning")


def _of(cycle: CycleDoses, key: tuple[str, str]) -> OrganDose | None:
    return next((d for d in cycle.doses if (d.region, family(d)) == key), None)


def _with_prior(
    known: Cumulative | None, key: tuple[str, str], therapy: PriorTherapy, draws: Draws, *, started: bool
) -> Cumulative:
    dose = exact(therapy.absorbed_dose_Gy, draws.count)
    bed, doubts = _prior_bed(key[0], therapy, draws)
    if known is None:
        method = therapy.method or "entered"
        return Cumulative(
            key[0], f"prior therapy ({method})", None if started else dose, None if started else bed, doubts
        )
    total = None if known.absorbed_dose_Gy is None else _sum([known.absorbed_dose_Gy, dose])
    both = None if known.bed_Gy is None or bed is None else _sum([known.bed_Gy, bed])
    return replace(known, absorbed_dose_Gy=total, bed_Gy=both, doubts=(*known.doubts, *doubts))


def _prior_bed(region: str, therapy: PriorTherapy, draws: Draws) -> tuple[Estimate | None, tuple[Doubt, ...]]:
    """BED of prior therapy, its absorbed dose where it is not stated, and what must be said about the therapy."""
    text = f"{region}: {therapy.absorbed_dose_Gy:g} Gy of prior therapy counts into the cumulative dose"
    doubts = [Doubt("prior-therapy-counted", text, region, "note")]
    if therapy.region in ("left kidney", "right kidney"):
        text = (
            f"prior therapy is given for the {therapy.region} only: the kidney limit, which is judged on the pair, "
            "does not hold it; give the dose of the kidneys too"
        )
        doubts.append(Doubt("prior-single-kidney", text, therapy.region, "first-line"))
    if therapy.bed_Gy is not None:
        return exact(therapy.bed_Gy, draws.count), tuple(doubts)
    if radiobiology(region) is None:
        return None, tuple(doubts)
    return exact(therapy.absorbed_dose_Gy, draws.count), (*doubts, _bed_doubt(region, "prior therapy"))


def _sum(estimates: Iterable[Estimate]) -> Estimate:
    return combine(lambda *arrays: np.asarray(sum(arrays)), *estimates)


def _percent(spread: Estimate) -> str:
    return f"{100.0 * float(spread.sd):.0f}"
