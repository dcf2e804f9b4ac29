"""All given cycles of a subject in order: measured, entered or carried; with the ledger over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lutetia.core.chain import Doubt, KineticFit, OrganDose, TimeActivity
from lutetia.core.draws import Estimate
from lutetia.core.regions import shared_name
from lutetia.dose.marrow_model import red_marrow_to_blood_ratio
from lutetia.dose.organ_dose import single_kidney_doubts
from lutetia.errors import CaseError, IdentityError
from lutetia.plan.body import body_results
from lutetia.plan.case import Case, Cycle, PriorTherapy
from lutetia.plan.cycle import KIDNEYS, fit_regions, region_results
from lutetia.plan.entered import entered_cycle
from lutetia.plan.inputs import Measured, measured_cycle
from lutetia.plan.ledger import MARROW, Coefficients, Cumulative, CycleDoses, carried_dose, cumulate, family
from lutetia.plan.marrow import MarrowResult, blood_result, image_result, method_note
from lutetia.plan.population import population_coefficients
from lutetia.plan.stored import StoredCycle, check_stored
from lutetia.plan.tables import MARROW_METHODS, marrow_method
from lutetia.plan.uncertainty import Draws, default_sizes
from lutetia.protocol.records import Protocol

Progress = Callable[[str], None]
Curves = dict[tuple[str, str], tuple[TimeActivity, KineticFit]]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class CourseDoses:
    """Doses of all given cycles, the ledger, and what the forecast needs.

    `cumulative` and `last` are keyed by (region, family of methods); `last` holds the coefficients of the last cycle
    in which they were measured. `stored` holds every cycle in the form that a later run can start from.
    `single_time_point` and `not_measured` (regions of limits) speak of the last cycle;
    `marrow_incomplete` says that the marrow dose of any cycle lacks the blood or the remainder.
    """

    cycles: tuple[CycleDoses, ...]
    cumulative: Mapping[Key, Cumulative]
    last: Mapping[Key, Coefficients]
    curves: Mapping[int, Curves]
    registrations: Mapping[int, tuple[Any, ...]]
    single_time_point: bool
    marrow_incomplete: bool
    not_measured: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    files: tuple[Path, ...]
    slices: tuple[Any, ...] = field(default=())
    images: tuple[Any, ...] = field(default=())
    stored: Mapping[int, StoredCycle] = field(default_factory=dict)


@dataclass(slots=True)
class _Progressing:
    """What accumulates while the cycles are worked through in order."""

    cycles: list[CycleDoses] = field(default_factory=list)
    last: dict[Key, Coefficients] = field(default_factory=dict)
    fits: dict[str, KineticFit] = field(default_factory=dict)
    curves: dict[int, Curves] = field(default_factory=dict)
    registrations: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    slices: list[Any] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    single_time_point: bool = False
    marrow_incomplete: bool = False
    not_measured: tuple[str, ...] = ()
    patient: tuple[str, int] | None = None
    stored: dict[int, StoredCycle] = field(default_factory=dict)


def doses_of_course(
    case: Case,
    folder: Path,
    protocol: Protocol,
    *,
    draws: Draws,
    progress: Progress,
    stored: Mapping[int, StoredCycle] | None = None,
) -> CourseDoses:
    """Doses of every given cycle of a case.

    Parameters
    ----------
    folder
        The case's folder; paths of the case are relative to it.
    protocol
        Names the measured nuclide, the arm's nuclides and the drift of coefficients.
    stored
        Cycles whose doses stand already, by number: they are taken as they are, and nothing of them is read again.

    Raises
    ------
    CaseError
        For measurements that cannot be used, or a stored cycle that is not the one that the case names.
    """
    state = _Progressing()
    nuclides = _nuclides(case, protocol)
    for cycle in case.cycles:
        progress(f"cycle {cycle.number}")
        if stored is not None and cycle.number in stored:
            _take(state, cycle, stored[cycle.number], draws)
        else:
            _work(state, case, cycle, folder, protocol, nuclides, draws, progress)
    cumulative = cumulate(state.cycles, _prior_by_method(case, protocol, state.cycles), draws)
    doubts = [*state.doubts, *(d for total in cumulative.values() for d in total.doubts)]
    doubts += _cumulative_kidney_doubts(cumulative, len(case.cycles))
    return CourseDoses(
        cycles=tuple(state.cycles),
        cumulative=cumulative,
        last=state.last,
        curves=state.curves,
        registrations=state.registrations,
        single_time_point=state.single_time_point,
        marrow_incomplete=state.marrow_incomplete,
        not_measured=state.not_measured,
        doubts=tuple(doubts),
        files=tuple(state.files),
        slices=tuple(state.slices),
        images=tuple(state.images),
        stored=state.stored,
    )


def _take(state: _Progressing, cycle: Cycle, record: StoredCycle, draws: Draws) -> None:
    """Go on from a cycle whose doses stand already."""
    check_stored(record, cycle.number, cycle.administered_MBq, draws.count)
    state.cycles.append(record.doses)
    state.last, state.fits = dict(record.last), dict(record.fits)
    state.single_time_point, state.not_measured = record.single_time_point, record.not_measured
    state.marrow_incomplete |= record.marrow_incomplete
    state.doubts += record.doubts
    state.stored[cycle.number] = record


def measured_nuclide(case: Case, protocol: Protocol) -> str:
    """The nuclide that is imaged: the protocol's, or the only one of the arm."""
    if protocol.measured_nuclide is not None:
        return protocol.measured_nuclide
    arm = protocol.arm(case.protocol.arm)
    if len(arm.nuclides) != 1:
        raise CaseError(
            f"protocol {protocol.name}: names no measured_nuclide although arm {arm.name} has several; add it"
        )
    return arm.nuclides[0]


def _prior_by_method(case: Case, protocol: Protocol, cycles: Sequence[CycleDoses]) -> list[PriorTherapy]:
    """Prior therapies; a marrow dose of no stated method counts into every method, so that none overlooks it."""
    used = {family(dose) for cycle in cycles for dose in cycle.doses if dose.region == MARROW}
    used |= {limit.method or "blood" for limit in protocol.limits if limit.region == MARROW}
    every: list[PriorTherapy] = []
    for therapy in case.subject.prior_therapy:
        method = marrow_method(therapy.method or "")
        known = therapy.region != MARROW or method in MARROW_METHODS
        methods = (method if therapy.region == MARROW else therapy.method,) if known else sorted(used or {"blood"})
        every += [therapy.model_copy(update={"method": name}) for name in methods]
    return every


def _nuclides(case: Case, protocol: Protocol) -> tuple[str, ...]:
    given = (name for cycle in case.cycles for name in cycle.administered_MBq)
    return tuple(dict.fromkeys((*protocol.arm(case.protocol.arm).nuclides, *given)))


def _work(
    state: _Progressing, case: Case, cycle: Cycle, folder: Path, protocol: Protocol, nuclides: tuple[str, ...],
    draws: Draws, progress: Progress,
) -> None:  # fmt: skip
    state.single_time_point = False
    incomplete_before, said_before = state.marrow_incomplete, len(state.doubts)
    state.marrow_incomplete = False
    if cycle.doses is not None:
        _enter(state, case, cycle, folder, nuclides, draws)
    else:
        measured = measured_cycle(
            case,
            cycle,
            folder,
            nuclide=measured_nuclide(case, protocol),
            nuclides=nuclides,
            draws=draws,
            progress=progress,
        )
        _check_patient(state, cycle, measured.patient_key)
        _measure(state, case, cycle, measured, protocol, nuclides, draws)
    _carry(state, cycle, protocol, draws)
    state.stored[cycle.number] = StoredCycle(
        doses=state.cycles[-1],
        last=dict(state.last),
        fits=dict(state.fits),
        single_time_point=state.single_time_point,
        marrow_incomplete=state.marrow_incomplete,
        not_measured=state.not_measured,
        doubts=tuple(state.doubts[said_before:]),
    )
    state.marrow_incomplete |= incomplete_before


def _check_patient(state: _Progressing, cycle: Cycle, key: str) -> None:
    """The images of all cycles are of one person; keys are hashes that mean nothing outside of this run."""
    if not key:
        return
    known, number = state.patient = state.patient or (key, cycle.number)
    if key != known:
        raise IdentityError(
            f"cycle {cycle.number}, scan 1: found another patient identity than in cycle {number}; expected one "
            "subject in a case; check that no folder of another subject is named in case.toml"
        )


def _measure(
    state: _Progressing,
    case: Case,
    cycle: Cycle,
    measured: Measured,
    protocol: Protocol,
    nuclides: tuple[str, ...],
    draws: Draws,
) -> None:
    """Doses of the regions and of the marrow that were measured in this cycle."""
    doses: list[OrganDose] = []
    coefficients: dict[Key, Coefficients] = {}
    curves: Curves = {}
    sex = case.subject.sex
    fits = fit_regions(measured.organs, state.fits, seed=draws.seed)
    if measured.organs.regions:
        results = region_results(
            measured.organs, fits, nuclides=nuclides, sex=sex, kidneys_present=case.subject.kidneys_present, draws=draws
        )
        for region, result in results.items():
            doses.append(result.dose)
            coefficients[(region, "organ")] = result.coefficients
            if result.curve is not None and result.fit is not None:
                curves[(region, result.dose.method)] = (result.curve, result.fit)
        limited = {limit.region for limit in protocol.limits}
        limited |= set(KIDNEYS) if "kidneys" in limited else set()
        parts = measured.organs.regions
        state.single_time_point = any(p.curve.time_h.size == 1 for name, p in parts.items() if name in limited)
    body = body_results(
        measured.organs,
        measured.whole_body,
        fits,
        weight_kg=case.subject.weight_kg,
        nuclides=nuclides,
        sex=sex,
        draws=draws,
    )
    doses += [result.dose for result in body]
    marrow = _marrow_results(case, measured, fits, nuclides, draws)
    for found in marrow:
        key = (found.dose.region, found.dose.method)
        doses.append(found.dose)
        coefficients[key] = found.coefficients
        curves[key] = (found.curve, found.fit)
    if len(marrow) == 2:
        state.doubts.append(method_note(marrow[0], marrow[1]))
    state.marrow_incomplete |= measured.blood is None or measured.whole_body is None
    state.fits |= {region: fit for region, fit in fits.items() if measured.organs.regions[region].curve.time_h.size > 1}
    state.last |= coefficients
    state.curves[cycle.number] = curves
    state.cycles.append(CycleDoses(cycle.number, cycle.administered_MBq, tuple(doses), coefficients))
    state.registrations[cycle.number] = measured.registrations
    state.files += measured.files
    state.slices += measured.slices
    state.images += [] if measured.images is None else [measured.images]
    state.doubts += measured.doubts
    state.doubts += [_placed(d, cycle.number) for dose in doses for d in dose.doubts]


def _marrow_results(
    case: Case, measured: Measured, fits: Mapping[str, KineticFit], nuclides: tuple[str, ...], draws: Draws
) -> list[MarrowResult]:
    """Blood method first, then image method, as far as they were measured."""
    cycle, body, sex = measured.organs, measured.whole_body, case.subject.sex
    found = []
    if measured.blood is not None:
        ratio = red_marrow_to_blood_ratio(case.marrow.ratio, case.subject.hematocrit)
        blood = measured.blood
        found.append(blood_result(cycle, blood, body, fits, nuclides=nuclides, sex=sex, draws=draws, ratio=ratio))
    if measured.vertebrae:
        found.append(image_result(cycle, measured.vertebrae, body, fits, nuclides=nuclides, sex=sex, draws=draws))
    return found


def _enter(
    state: _Progressing, case: Case, cycle: Cycle, folder: Path, nuclides: tuple[str, ...], draws: Draws
) -> None:
    """A cycle known by its result; measured coefficients that hold BED are not replaced by entered ones without."""
    assert cycle.doses is not None
    doses, doubts = entered_cycle(
        cycle, folder, nuclides=nuclides, kidneys_present=case.subject.kidneys_present, draws=draws
    )
    for key, per_MBq in doses.coefficients.items():
        known = state.last.get(key)
        if known is None or known.quadratic_Gy_per_MBq2 is None or not known.cycle:
            state.last[key] = per_MBq
    state.marrow_incomplete |= not any(dose.region == MARROW for dose in doses.doses)
    state.doubts += doubts
    state.files.append(folder / cycle.doses.file)
    state.cycles.append(doses)


def _carry(state: _Progressing, cycle: Cycle, protocol: Protocol, draws: Draws) -> None:
    """Fill what was not measured in this cycle from an earlier one, or from the population.

    Filled are the regions of the limits, and single kidneys that an earlier cycle has.
    """
    current = state.cycles[-1]
    present = {(dose.region, family(dose)) for dose in current.doses}
    limited = [(limit.region, family(limit.method or "blood", limit.region)) for limit in protocol.limits]
    singles = [(side, "organ") for side in KIDNEYS if ("kidneys", "organ") not in present]
    filled = {
        key: dose
        for key in (*limited, *singles)
        if key not in present
        if (dose := _fill(state, key, cycle, protocol, draws))
    }
    state.not_measured = tuple(key[0] for key in filled if key in limited and key[0] != MARROW)
    if filled:
        state.doubts += [d for key, dose in filled.items() if key in limited for d in dose.doubts]
        doses = (*current.doses, *filled.values())
        state.cycles[-1] = CycleDoses(current.number, current.administered_MBq, doses, current.coefficients)


def _fill(state: _Progressing, key: Key, cycle: Cycle, protocol: Protocol, draws: Draws) -> OrganDose | None:
    """Dose of a region that was not measured; None where nothing is known of it. Marrow has no population value."""
    known = state.last.get(key) or (None if key[0] == MARROW else population_coefficients(key, draws))
    if known is None or not set(cycle.administered_MBq) <= set(known.nuclides):
        return None
    state.last.setdefault(key, known)
    method = key[1] if key[0] == MARROW else "carried" if known.cycle else "population"
    spread = draws.factor(default_sizes().between_cycles_percent, "between cycles", shared_name(key[0]), cycle.number)
    return carried_dose(
        key[0],
        method,
        known,
        cycle.administered_MBq,
        drift=protocol.drift_per_cycle.get(shared_name(key[0]), 1.0),
        cycle=cycle.number,
        spread=Estimate(np.asarray(1.0), spread),
    )


def _cumulative_kidney_doubts(cumulative: Mapping[Key, Cumulative], cycles: int) -> tuple[Doubt, ...]:
    """The larger single kidney over all cycles, and first-line warnings about it."""
    totals = [cumulative.get((name, "organ")) for name in (*KIDNEYS, "kidneys")]
    doses = [t.absorbed_dose_Gy for t in totals if t is not None and t.absorbed_dose_Gy is not None]
    if len(doses) != 3 or cycles < 2:
        return ()
    left, right, pair = (float(dose.value) for dose in doses)
    return single_kidney_doubts(left, right, pair, when="all cycles")


def _placed(doubt: Doubt, number: int) -> Doubt:
    where = f"cycle {number}, {doubt.where}" if doubt.where else f"cycle {number}"
    return doubt if doubt.where.startswith("cycle ") else Doubt(doubt.code, doubt.message, where, doubt.severity)
