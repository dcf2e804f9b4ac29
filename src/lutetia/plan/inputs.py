"""What was measured in a cycle, as curves with shared draws: tables here, images through `lutetia.plan.images`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutetia.core.chain import Doubt, TimeActivity
from lutetia.core.clock import hours_between
from lutetia.core.draws import Estimate
from lutetia.core.regions import density_g_per_mL, is_tumour, shared_name
from lutetia.errors import CaseError
from lutetia.nuclear.nuclides import nuclide as nuclide_named
from lutetia.plan.case import Calibration, Case, Cycle, delays_h, start_times
from lutetia.plan.curves import by_region, sample_curve
from lutetia.plan.cycle import KIDNEYS, CycleInput, RegionInput, is_organ, unpaired_kidney
from lutetia.plan.tables import read_blood, read_regions, read_whole_body
from lutetia.plan.uncertainty import Draws, default_sizes

Progress = Callable[[str], None]
MIN_BLOOD_SAMPLES = 2
LEAST_BLOOD_mL = 500.0  # assumption: nobody who is treated has less blood; finds concentrations in a wrong unit
MORE_THAN_GIVEN = 1.25  # assumption: beyond this a calibration error does not explain the excess
ORGAN_MASS_g = (5.0, 10_000.0)  # assumption: outside of this a mass is not in grams


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Everything measured in a cycle; None or empty where nothing was."""

    organs: CycleInput
    blood: TimeActivity | None
    whole_body: TimeActivity | None
    vertebrae: tuple[RegionInput, ...] = ()
    files: tuple[Path, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    slices: tuple[Any, ...] = ()
    registrations: tuple[Any, ...] = ()
    patient_key: str = ""
    images: Any = None


def table_regions(
    cycle: Cycle, folder: Path, nuclide: str, draws: Draws, calibration: Calibration | None
) -> dict[str, RegionInput]:
    """Curves and masses of the regions of `cycles.regions`.

    Raises
    ------
    CaseError
        For a region without mass: an organ dose needs it, and no reference mass is put in its place.
    """
    assert cycle.regions is not None
    where = f"cycle {cycle.number}, regions"
    grouped = by_region(read_regions(folder / cycle.regions.file, where=where))
    if unknown := sorted(set(cycle.regions.masses_g) - set(grouped)):
        raise CaseError(
            f"{where}: masses_g names {', '.join(unknown)}, not in the table; measured: {', '.join(grouped)}"
        )
    sizes = default_sizes()
    shared = draws.calibration(None if calibration is None else calibration.sd_percent)
    inputs = {}
    for region, samples in grouped.items():
        curve = sample_curve(
            samples, draws, nuclide=nuclide, default_percent=sizes.activity_percent, shared=shared,
            names=("activity", cycle.number, region),
        )  # fmt: skip
        mass = _mass(region, cycle, where, draws)
        volume = float(mass.value) / density_g_per_mL(region) if _is_vertebra(region) else None
        inputs[region] = RegionInput(curve, mass, volume)
    return inputs


def _is_vertebra(region: str) -> bool:
    return region.startswith("vertebra ")


def _mass(region: str, cycle: Cycle, where: str, draws: Draws) -> Estimate:
    assert cycle.regions is not None
    if not (is_organ(region) or _is_vertebra(region)):
        return Estimate(np.asarray(1.0), np.ones(draws.count))
    mass = cycle.regions.masses_g.get(region)
    if mass is None:
        raise CaseError(
            f'{where}: {region} has no mass; add it, e.g. masses_g = {{ "{region}" = 150.0 }} (g: volume × density)'
        )
    percent = cycle.regions.mass_sd_percent
    percent = default_sizes().mass_percent if percent is None else percent
    low, high = ORGAN_MASS_g
    if is_organ(region) and not is_tumour(region) and not low <= mass <= high:
        raise CaseError(
            f"{where}, masses_g: found {mass:g} g for the {region}; expected {low:g} to {high:g} g; masses are in grams"
        )
    return Estimate(np.asarray(mass), mass * draws.factor(percent, "mass", shared_name(region)))


def _check_amount(time_h: Sequence[float], amount_MBq: Sequence[float], cycle: Cycle, name: str, where: str) -> None:
    """Refuse curves of nothing but zeros, and amounts beyond what was given: A(t) ≤ A₀ e^(−λt), with a tolerance."""
    if max(amount_MBq, default=0.0) <= 0:
        raise CaseError(f"{where}: found no activity at any time; check region and unit, or leave it out")
    given = cycle.administered_MBq.get(name)
    if given is None:
        return
    rate = nuclide_named(name).decay_constant_per_h
    for t, amount in zip(time_h, amount_MBq, strict=True):
        left = given * math.exp(-rate * t)
        if amount > MORE_THAN_GIVEN * left:
            raise CaseError(
                f"{where}: found {amount:.4g} MBq at {t:g} h, but of the {given:g} MBq of {name} given at most "
                f"{left:.4g} MBq are left then; check units, times, decay correction and administered_MBq"
            )


def read_blood_curve(cycle: Cycle, folder: Path, nuclide: str, draws: Draws) -> TimeActivity | None:
    """Blood concentration in MBq/mL over time, as a curve; None if no sample was taken."""
    if cycle.blood is None:
        return None
    sizes = default_sizes()
    where = f"cycle {cycle.number}, blood"
    samples = read_blood(folder / cycle.blood.file, where=where)
    if len(samples) < MIN_BLOOD_SAMPLES:
        raise CaseError(
            f"{where}: found {len(samples)} sample; expected at least {MIN_BLOOD_SAMPLES}; "
            "add samples, or leave blood out (the marrow is then not evaluable)"
        )
    _check_amount(
        [s.time_h for s in samples],
        [s.value * LEAST_BLOOD_mL for s in samples],
        cycle,
        nuclide,
        f"{where}, concentration",
    )
    return sample_curve(
        samples, draws, nuclide=nuclide, default_percent=sizes.blood_percent,
        shared=draws.factor(sizes.blood_calibration_percent, "blood calibration"), names=("blood", cycle.number),
    )  # fmt: skip


def read_whole_body_curve(cycle: Cycle, folder: Path, nuclide: str, draws: Draws) -> TimeActivity | None:
    """Whole-body activity over time; None if it was not measured.

    Its calibration cancels, because the curve starts at the administered activity.
    """
    if cycle.whole_body is None:
        return None
    where = f"cycle {cycle.number}, whole_body"
    samples = read_whole_body(folder / cycle.whole_body.file, where=where)
    _check_amount([s.time_h for s in samples], [s.value for s in samples], cycle, nuclide, where)
    return sample_curve(
        samples, draws, nuclide=nuclide, default_percent=default_sizes().whole_body_percent,
        shared=np.ones(draws.count), names=("whole body", cycle.number),
    )  # fmt: skip


def measured_cycle(
    case: Case, cycle: Cycle, folder: Path, *, nuclide: str, nuclides: Sequence[str], draws: Draws, progress: Progress
) -> Measured:
    """Join what tables and images say of a cycle.

    Parameters
    ----------
    nuclide
        The measured one, of the protocol.
    nuclides
        All that doses or coefficients are needed for.
    """
    tables = {} if cycle.regions is None else table_regions(cycle, folder, nuclide, draws, case.calibration)
    imaged = None
    if cycle.scans:
        from lutetia.plan.images import imaged_regions  # loads the imaging libraries only where there are images

        imaged = imaged_regions(case, cycle, folder, nuclide=nuclide, nuclides=nuclides, draws=draws, progress=progress)
    regions = dict(imaged.regions) if imaged is not None else {}
    if both := sorted(set(tables) & set(regions)):
        raise CaseError(
            f"cycle {cycle.number}: {', '.join(both)} come from images and from regions.csv; keep one source"
        )
    regions |= tables
    _check_regions(case, cycle, regions, nuclide)
    organs = {name: part for name, part in regions.items() if is_organ(name)}
    patient_s = imaged.patient_s if imaged is not None else {}
    tables_of = (cycle.regions, cycle.blood, cycle.whole_body)
    found = Measured(
        organs=CycleInput(cycle.number, nuclide, cycle.administered_MBq, delays_h(case, cycle), organs, patient_s),
        blood=read_blood_curve(cycle, folder, nuclide, draws),
        whole_body=_whole_body(cycle, folder, nuclide, draws, regions),
        vertebrae=tuple(part for name, part in regions.items() if _is_vertebra(name)),
        files=(*(folder / t.file for t in tables_of if t is not None), *(imaged.files if imaged is not None else ())),
        doubts=(*(imaged.doubts if imaged is not None else ()), *_unused(cycle, tables)),
        slices=imaged.slices if imaged is not None else (),
        registrations=imaged.registrations if imaged is not None else (),
        patient_key=imaged.patient_key if imaged is not None else "",
        images=imaged.images if imaged is not None else None,
    )
    _check_before_next(case, cycle, found)
    return found


def _check_before_next(case: Case, cycle: Cycle, measured: Measured) -> None:
    """No measurement of a cycle may come after the start of the next one: it would see both."""
    following = next((c for c in case.cycles if c.number == cycle.number + 1), None)
    if following is None:
        return
    starts = (min(start_times(case, c).values()) for c in (cycle, following))
    interval_h = hours_between(*starts)
    curves = [part.curve for part in (*measured.organs.regions.values(), *measured.vertebrae)]
    curves += [curve for curve in (measured.blood, measured.whole_body) if curve is not None]
    for curve in curves:
        if (last := float(curve.time_h[-1])) >= interval_h:
            raise CaseError(
                f"cycle {cycle.number}, {curve.region}: measured at {last:g} h, but cycle {following.number} was given "
                f"at {interval_h:g} h; correct the times or the dates of administration"
            )


def _unused(cycle: Cycle, tables: Mapping[str, RegionInput]) -> list[Doubt]:
    """Rows of the region table that no dose can be computed from: said, not dropped in silence."""
    needs = {
        "red marrow": "the marrow dose comes from blood.csv, or from the vertebrae L1 to L5",
        "remainder": "the remainder comes from measurements of the whole body",
    }
    return [
        Doubt("region-not-used", f"{name} in regions.csv is not used; {hint}", f"cycle {cycle.number}, regions")
        for name, hint in needs.items()
        if name in tables
    ]


def _whole_body(
    cycle: Cycle, folder: Path, nuclide: str, draws: Draws, regions: Mapping[str, RegionInput]
) -> TimeActivity | None:
    """The whole-body table, or the rows `whole body` of the region table; never the field of view of an image."""
    curve = read_whole_body_curve(cycle, folder, nuclide, draws)
    row = regions.get("whole body")
    if curve is not None and row is not None:
        raise CaseError(
            f"cycle {cycle.number}: the whole body is in regions.csv and in its own table; keep one of them"
        )
    if row is not None and row.volume_mL is None:
        return row.curve
    return curve


def _check_regions(case: Case, cycle: Cycle, regions: Mapping[str, RegionInput], nuclide: str) -> None:
    place = f"cycle {cycle.number}"
    for name, part in regions.items():
        curve = part.curve
        _check_amount(curve.time_h.tolist(), curve.activity_MBq.value.tolist(), cycle, nuclide, f"{place}, {name}")
    measured = bool(regions) or cycle.blood is not None or cycle.whole_body is not None
    if measured and nuclide not in cycle.administered_MBq:
        given = ", ".join(cycle.administered_MBq)
        raise CaseError(f"{place}: the protocol measures {nuclide}, but {given} was given; check administered_MBq")
    if side := unpaired_kidney(tuple(regions), case.subject.kidneys_present):
        raise CaseError(f"{place}: only the {side} was measured; measure both, or set kidneys_present = 1")
    if case.subject.kidneys_present == 1 and all(s in regions for s in KIDNEYS):
        raise CaseError(f"{place}: two kidneys were measured, but kidneys_present = 1; correct one of them")
    if "kidneys" in regions and any(s in regions for s in KIDNEYS):
        raise CaseError(f"{place}: kidneys are given as a pair and singly; keep one of them")
