"""The whole of `lutetia plan` for one case: read → measure → doses of every cycle → ledger → proposal → result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lutetia.clinical.labs import LabValue
from lutetia.core.provenance import sha256_of_files, software
from lutetia.plan.case import Case, Cycle, case_file, read_case
from lutetia.plan.course import CourseDoses, doses_of_course
from lutetia.plan.proposal import Proposal, propose
from lutetia.plan.result import SCHEMA, cumulative_record, curve_record, doubt_record, region_record, rounded
from lutetia.plan.stored import StoredCycle
from lutetia.plan.uncertainty import Draws, default_sizes
from lutetia.protocol.findings import ToxicityEvent
from lutetia.protocol.profile import read_protocol
from lutetia.protocol.records import Protocol

Progress = Callable[[str], None]


def _quiet(text: str) -> None:
    """No progress shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """The result as plain values, the pictures for the report, the case's folder, and images by cycle (dose maps)."""

    result: dict[str, Any]
    folder: Path
    slices: tuple[Any, ...] = field(default=())
    images: tuple[Any, ...] = field(default=())


def run_plan(case_path: Path, *, draws: int = 1000, seed: int = 1, progress: Progress = _quiet) -> Planned:
    """Compute doses of every given cycle and the proposal for the next one; writes nothing.

    Parameters
    ----------
    case_path
        Case folder or `case.toml`.
    draws, seed
        Number of draws of the uncertain inputs, and their seed.

    Raises
    ------
    LutetiaError
        Any bad input, with what, where and what to do.
    """
    progress("reading the case")
    case, file = read_case(case_path), case_file(case_path)
    folder = file.parent
    protocol = _protocol(case, folder)
    files = [file] if case.protocol.file is None else [file, folder / case.protocol.file]
    shared = Draws(seed, case.subject.id, draws)
    return plan_case(case, folder, protocol, draws=shared, files=files, progress=progress)[0]


def plan_case(
    case: Case,
    folder: Path,
    protocol: Protocol,
    *,
    draws: Draws,
    stored: Mapping[int, StoredCycle] | None = None,
    labs: Sequence[LabValue] | None = None,
    events: Sequence[ToxicityEvent] = (),
    files: Sequence[Path] = (),
    progress: Progress = _quiet,
) -> tuple[Planned, CourseDoses]:
    """The chain on a case that was read already; writes nothing.

    Parameters
    ----------
    folder, protocol
        Where the case's files lie, and the rules, which the case names.
    stored
        Cycles whose doses stand already, as in `lutetia.plan.course.doses_of_course`.
    labs, events
        As in `lutetia.plan.proposal.propose`.
    files
        Further inputs that the result's hash covers, besides those that the chain reads.

    Raises
    ------
    LutetiaError
        Any bad input, with what, where and what to do.
    """
    protocol.arm(case.protocol.arm)
    course = doses_of_course(case, folder, protocol, draws=draws, progress=progress, stored=stored)
    progress("deciding the next activity")
    proposal = propose(case, folder, protocol, course, draws=draws, labs=labs, events=events)
    hashed = sha256_of_files([*files, *course.files, *proposal.files], folder)
    result = _result(case, protocol, course, proposal, draws, hashed)
    return Planned(rounded(result), folder, course.slices, course.images), course


def _protocol(case: Case, folder: Path) -> Protocol:
    if case.protocol.file is not None:
        return read_protocol(folder / case.protocol.file)
    assert case.protocol.name is not None
    return read_protocol(case.protocol.name)


def _result(
    case: Case, protocol: Protocol, course: CourseDoses, proposal: Proposal, draws: Draws, inputs_sha256: str
) -> dict[str, Any]:
    subject = case.subject
    doubts = dict.fromkeys((*course.doubts, *proposal.doubts))
    return {
        "schema": SCHEMA,
        "software": software(),
        "inputs_sha256": inputs_sha256,
        "seed": draws.seed,
        "draws": draws.count,
        "subject": {
            "id": subject.id,
            "sex": subject.sex,
            "age_years": subject.age_years,
            "height_cm": subject.height_cm,
            "weight_kg": subject.weight_kg,
            "kidneys_present": subject.kidneys_present,
            "risk_factors": None if subject.risk_factors is None else list(subject.risk_factors),
        },
        "protocol": {
            "name": protocol.name,
            "version": protocol.version,
            "arm": case.protocol.arm,
            "title": protocol.title,
            "source": protocol.source,
            "sha256": protocol.sha256,
            "illustrative": protocol.illustrative,
            "assumptions": [str(mark) for mark in protocol.marks],
        },
        "cycles": [_cycle_record(cycle, course) for cycle in case.cycles],
        "cumulative": [cumulative_record(total) for total in course.cumulative.values()],
        "limits": proposal.limits,
        "prescription": proposal.prescription,
        "labs": proposal.labs,
        "uncertainty_percent": _sizes(case),
        "warnings": [doubt_record(doubt) for doubt in doubts],
    }


def _cycle_record(cycle: Cycle, course: CourseDoses) -> dict[str, Any]:
    doses = next(c for c in course.cycles if c.number == cycle.number)
    curves = course.curves.get(cycle.number, {})
    records = []
    for dose in doses.doses:
        pair = curves.get((dose.region, dose.method))
        curve = {pair[0].nuclide: curve_record(*pair)} if pair is not None else None
        records.append(region_record(dose, curve))
    return {
        "number": cycle.number,
        "administered_MBq": dict(cycle.administered_MBq),
        "regions": records,
        "registrations": [asdict(found) for found in course.registrations.get(cycle.number, ())],
    }


def _sizes(case: Case) -> dict[str, float]:
    """The input uncertainties that were used, those of the case in place of the defaults."""
    sizes = default_sizes()
    stated = {name: getattr(sizes, name) for name in sizes.__dataclass_fields__}
    if case.calibration and case.calibration.sd_percent is not None:
        stated["calibration_percent"] = case.calibration.sd_percent
    return stated
