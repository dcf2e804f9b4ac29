"""Dosimetry of a given cycle: a case is imported, a worker computes it, its doses are stored with all draws.

Here: import of a case folder, the worker's part, doses that are missing for a reason. Not here: the chain
(`lutetia.plan`), the queue (`jobs`), the next proposal (`proposal`).
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from lutetia.core.provenance import software
from lutetia.errors import CaseError, IdentityError, InputError, StaleRecordError, TransitionError
from lutetia.plan.case import Case, Cycle, ProtocolChoice, case_file, read_case, start_times
from lutetia.plan.course import doses_of_course
from lutetia.plan.run import Planned, plan_case
from lutetia.plan.stored import StoredCycle, pack
from lutetia.plan.write import output_contents, result_content
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import (
    GivenCycle,
    course_case,
    cycle_of,
    given_cycles,
    lab_values,
    latest_result,
    protocol_of,
    study_of,
    subject_of,
)
from lutetia.workflow.cycles import void_edits
from lutetia.workflow.dose_rows import cycle_rows, dose_edits, exchange_method, sum_rows, withdrawn_rows
from lutetia.workflow.dosimetry_pictures import picture_edits, picture_files, store_pictures
from lutetia.workflow.edits import allowed_subject, cycle_step, file_edits, now_of, required_text
from lutetia.workflow.jobs import WORKER, Outcome, job_edit
from lutetia.workflow.proposal import draws_of, require_unmasked, stored_cycles
from lutetia.workflow.toxicity_records import toxicity_events

KIND = "dosimetry"
ACTIVITY_TOLERANCE = 0.01  # assumption: a case that states another activity than was recorded is another infusion
TIME_TOLERANCE = timedelta(minutes=15)  # assumption: as above, for the start of infusion, whole days apart allowed
_MEDIA = {"result.json": "application/json", "report.html": "text/html", "report.pdf": "application/pdf"}


@dataclass(frozen=True, slots=True)
class ImportCase:
    """A case folder for one given cycle; `reason` is needed where the cycle has doses already."""

    subject_id: str
    cycle: int
    folder: Path
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MissingDosimetry:
    """No doses will come for a given cycle, and why."""

    subject_id: str
    cycle: int
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """The job that computes an imported case."""

    job_id: int
    files: int
    receipt: Receipt


def import_case(trial: Trial, actor: Actor, command: ImportCase) -> Imported:
    """Check a case against the trial's records, keep its files, and queue its dosimetry.

    Raises
    ------
    IdentityError
        If the case is of another subject, sex or arm.
    CaseError
        If the case lacks the cycle or measurements, or states other activities or times than were recorded.
    TransitionError
        If the cycle was not given, or is closed.
    """
    case, cycle = check_case(trial, actor, command)
    kept = _keep_files(trial, case_file(command.folder).parent, cycle, case)
    payload = {"files": {name: digest for name, (digest, _) in kept.items()}, "reason": command.reason}

    def change(reader: Reader) -> Change:
        _check_state(reader, command)
        named = {digest: (name, size, "application/octet-stream") for name, (digest, size) in kept.items()}
        job = job_edit(reader, actor, KIND, payload, subject_id=command.subject_id, cycle=command.cycle)
        return Change("import_case", [*file_edits(reader, actor, named), job], result=job.values["job_id"])

    receipt = trial.commit(change, actor)
    return Imported(int(receipt.result), len(kept), receipt)


def check_case(trial: Trial, actor: Actor, command: ImportCase) -> tuple[Case, Cycle]:
    """The case of a folder and its cycle that is the given one, checked as by `import_case`; writes nothing."""
    allowed_subject(trial, actor, "propose", command.subject_id)
    case = read_case(command.folder)
    with trial.read() as reader:
        given = _given(reader, command.subject_id, command.cycle)
        _check_state(reader, command)
        cycle = _matching_cycle(reader, command.subject_id, case, given)
        now = now_of(reader)
    root = case_file(command.folder).parent
    case_files(root, cycle, case)
    _refuse_future(root, cycle, given, now)
    return case, cycle


def record_missing_dosimetry(trial: Trial, actor: Actor, command: MissingDosimetry) -> Receipt:
    """Say that a given cycle gets no doses; its dose is then carried in later sums, never taken as zero.

    Raises
    ------
    TransitionError
        If the cycle is not given, or has doses.
    """
    allowed_subject(trial, actor, "propose", command.subject_id)
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        cycle = cycle_of(reader, command.subject_id, command.cycle)
        protocol = protocol_of(trial, reader)
        arm = subject_of(reader, command.subject_id)["arm"]
        families = {(li.region, exchange_method(li.region, li.method or "blood")) for li in protocol.limits_of(arm)}
        rows = [
            Create("doses", {"subject_id": command.subject_id, "cycle": command.cycle, "scope": "cycle",
                             "region": region, "nuclide": "total", "method": method, "basis": "missing",
                             "missing_reason": reason})
            for region, method in sorted(families)
        ]  # fmt: skip
        return Change("dosimetry_missing", [cycle_step(reader, cycle, "DOSE_MISSING", reason=reason), *rows])

    return trial.commit(change, actor)


def recomputation_edits(
    reader: Reader, actor: Actor, subject_id: str, number: int, *, moved: bool, reason: str
) -> list[Edit]:
    """What a corrected administration makes of a cycle's doses: withdrawn now, computed again from the same files.

    The cycle is GIVEN again. Nothing is queued where a job waits already, which reads the corrected administration, or
    where the start of infusion moved: the times of the files are relative to it, so a case has to be imported again.
    """
    edits = _again(reader, actor, subject_id, number, moved=moved, reason=reason)
    row = latest_result(reader, subject_id, number)
    if row is None:
        return edits
    why = "withdrawn: the administration was corrected; to be computed again"
    edits.append(Update("results", int(row["record_id"]), {"state": "OUTDATED"}))
    edits.append(cycle_step(reader, cycle_of(reader, subject_id, number), "GIVEN"))
    edits += withdrawn_rows(reader, subject_id, number, why)
    return edits + _void_later(reader, subject_id, number, f"the administration of cycle {number} changed")


def _again(reader: Reader, actor: Actor, subject_id: str, number: int, *, moved: bool, reason: str) -> list[Edit]:
    """The job that computes a cycle again from the files of its last one, where that is possible."""
    jobs = reader.records("jobs", subject_id=subject_id, cycle=number, kind=KIND)
    if moved or not jobs or jobs[-1]["state"] == "QUEUED":
        return []
    payload = {"files": jobs[-1]["payload"]["files"], "reason": reason}
    return [job_edit(reader, actor, KIND, payload, subject_id=subject_id, cycle=number)]


def compute_doses(trial: Trial, job: Record) -> Outcome:
    """The worker's part: the chain on the imported case, with stored draws of the cycles before it.

    Raises
    ------
    LutetiaError
        If the case cannot be computed: no calibration, a fit that fails, a missing time point.
    """
    subject_id, number = str(job["subject_id"]), int(job["cycle"])
    with tempfile.TemporaryDirectory(prefix="lutetia-case-") as place:
        folder = Path(place)
        _materialise(trial, job["payload"]["files"], folder)
        imported = read_case(folder)
        with trial.read() as reader:
            given = _given(reader, subject_id, number)
            own = next(c for c in imported.cycles if c.number == given.ordinal)
            # The start may have been corrected since the import.
            _check_times(imported, own, given, f"case of {subject_id}, cycle {number}")
            case = _trial_case(trial, reader, imported, given)
            draws, protocol = draws_of(reader, subject_id), protocol_of(trial, reader)
            past = stored_cycles(trial, reader, subject_id, before_cycle=number)
            before = _results(reader, subject_id)
            again = bool(reader.records("results", subject_id=subject_id, cycle=number))
            labs, events = lab_values(reader, subject_id), toxicity_events(reader, subject_id)
            reports = bool((study_of(reader)["settings"] or {}).get("reports", True))
        planned, course = plan_case(
            case, folder, protocol, draws=draws, stored=past, labs=labs, events=events, files=[case_file(folder)]
        )
        pictures = store_pictures(trial.files, next((i for i in course.images if i.number == given.ordinal), None))
        contents = output_contents(planned) if reports else {"result.json": result_content(planned)}
    contents["draws.npz"] = pack(course.stored[given.ordinal])
    hashes = {name: trial.files.put(content) for name, content in contents.items()}
    sizes = {hashes[n]: (n, len(c), _MEDIA.get(n, "application/x-npz")) for n, c in contents.items()}
    taken = {name: planned.result[name] for name in ("inputs_sha256", "warnings", "uncertainty_percent")}
    protocol_sha256 = planned.result["protocol"]["sha256"]
    summary = taken | {"files": hashes, "case_files": job["payload"]["files"], "protocol_sha256": protocol_sha256}
    summary |= {"pictures_absent": list(pictures.absent)} if pictures.absent else {}

    later = _later_sums(trial, subject_id, given, course.stored)

    def edits(reader: Reader) -> list[Edit]:
        _check_unchanged(reader, subject_id, given, before)
        version, sha256 = planned.result["protocol"]["version"], {"result_sha256": hashes["result.json"]}
        own = [{**row, **sha256} for row in (*cycle_rows(course, given.ordinal), *sum_rows(course))]
        made = [
            *file_edits(reader, WORKER, {**sizes, **picture_files(pictures)}),
            *picture_edits(reader, WORKER, subject_id, number, pictures),
            *_result_edits(reader, job, hashes, summary, seed=draws.seed, draws=draws.count, version=version),
            *dose_edits(reader, subject_id, number, own, scopes=("cycle", "cumulative")),
            *_cycle_edits(reader, subject_id, number),
        ]
        for cycle, rows in later.items():
            sums = [{**row, **sha256} for row in rows]
            made += dose_edits(reader, subject_id, cycle, sums, scopes=("cumulative",))
        return made

    reason = job["payload"].get("reason") or ("computed after a correction of the administration" if again else None)
    return Outcome(edits, {"cycle": number, **hashes}, reason)


def _results(reader: Reader, subject_id: str) -> dict[int, str]:
    """Draws of the current result of every cycle."""
    rows = reader.records("results", subject_id=subject_id, state="CURRENT")
    return {int(r["cycle"]): r["draws_sha256"] for r in rows}


def _check_unchanged(reader: Reader, subject_id: str, given: GivenCycle, before: Mapping[int, str]) -> None:
    """Inside the write lock: what the computation started from still holds."""
    now = _given(reader, subject_id, given.cycle)
    same = (now.administered_MBq, now.started_at) == (given.administered_MBq, given.started_at)
    if not same or _results(reader, subject_id) != before:
        raise StaleRecordError(
            f"subject {subject_id}, cycle {given.cycle}: the administration or the doses of another cycle changed "
            "while this one was computed; repeat the job"
        )


def _later_sums(
    trial: Trial, subject_id: str, given: GivenCycle, stored: Mapping[int, StoredCycle]
) -> dict[int, list[dict[str, Any]]]:
    """Rows of the sums up to each later cycle that has doses, with the new doses of this one in them."""
    found = {}
    with trial.read() as reader:
        protocol, draws = protocol_of(trial, reader), draws_of(reader, subject_id)
        every = given_cycles(reader, subject_id)
        for later in every:
            if later.ordinal <= given.ordinal or latest_result(reader, subject_id, later.cycle) is None:
                continue
            case = course_case(reader, subject_id, protocol, as_of=now_of(reader), before_cycle=later.cycle + 1)
            known = stored_cycles(trial, reader, subject_id, before_cycle=later.cycle + 1) | dict(stored)
            course = doses_of_course(case, Path(), protocol, draws=draws, progress=lambda text: None, stored=known)
            found[later.cycle] = sum_rows(course)
    return found


def read_report(trial: Trial, actor: Actor, subject_id: str, cycle: int, *, name: str = "report.html") -> bytes:
    """The current result or report of a cycle: `result.json`, `report.html` or `report.pdf`.

    A report that was not stored (setting `reports` of the study) is made from the stored result, without image slices.

    Raises
    ------
    AccessDeniedError
        If the actor may not see doses.
    InputError
        If the cycle has no doses, or there is no such file.
    """
    require_unmasked(trial, actor, subject_id)
    with trial.read() as reader:
        row = latest_result(reader, subject_id, cycle)
        earlier = [r for r in reader.records("results", subject_id=subject_id) if int(r["cycle"]) < cycle]
    if row is None or name not in _MEDIA:
        raise InputError(f"subject {subject_id}, cycle {cycle}: has no {name}; expected one of {', '.join(_MEDIA)}")
    if changed := [r for r in earlier if r["computed_at"] > row["computed_at"] or _withdrawn(r, earlier)]:
        raise InputError(
            f"subject {subject_id}, cycle {cycle}: the doses of cycle {changed[0]['cycle']} changed after its {name}, "
            "whose sums are old; the page shows the new ones; import the case again for a new report"
        )
    files: Mapping[str, str] = row["summary"]["files"]
    if name in files:
        return trial.files.get(files[name])
    planned = Planned(json.loads(trial.files.get(files["result.json"])), Path())
    return output_contents(planned)[name]


def _withdrawn(result: Record, results: Sequence[Record]) -> bool:
    """Whether no result of this one's cycle holds now."""
    return all(r["state"] != "CURRENT" for r in results if r["cycle"] == result["cycle"])


def _given(reader: Reader, subject_id: str, cycle: int) -> GivenCycle:
    cycle_of(reader, subject_id, cycle)
    for given in given_cycles(reader, subject_id):
        if given.cycle == cycle:
            return given
    raise TransitionError(f"subject {subject_id}, cycle {cycle}: is not given yet; record the administration first")


def _check_state(reader: Reader, command: ImportCase) -> None:
    where = f"subject {command.subject_id}, cycle {command.cycle}"
    state = cycle_of(reader, command.subject_id, command.cycle)["state"]
    if state in ("DOSE_MISSING", "CLOSED"):
        raise TransitionError(f"{where}: is {state}; doses cannot be imported any more")
    if state == "DOSED" and not command.reason.strip():
        raise InputError(f"{where}: has doses already; say why they are computed again")
    for given in given_cycles(reader, command.subject_id):
        if given.cycle < command.cycle and given.state == "GIVEN":
            raise InputError(
                f"{where}: cycle {given.cycle} before it has no doses yet; import its case first, or record why its "
                "dosimetry is missing"
            )
    waiting = [j for j in reader.records("jobs", subject_id=command.subject_id, cycle=command.cycle, kind=KIND)
               if j["state"] in ("QUEUED", "RUNNING")]  # fmt: skip
    if waiting:
        raise TransitionError(f"{where}: job {waiting[0]['job_id']} computes its doses already; wait for its end")


def _matching_cycle(reader: Reader, subject_id: str, case: Case, given: GivenCycle) -> Cycle:
    """The case's cycle that is the given one, checked against the records of the trial."""
    if case.subject.id != subject_id:
        raise IdentityError(f"case: found subject {case.subject.id!r}; expected {subject_id!r}; check case.toml")
    record = subject_of(reader, subject_id)
    where = f"case of {subject_id}, cycle {given.ordinal}"
    if case.subject.sex != record["sex"] or case.protocol.arm != record["arm"]:
        raise IdentityError(f"{where}: sex or arm differ from the trial's record of this subject; check case.toml")
    found = next((c for c in case.cycles if c.number == given.ordinal), None)
    if found is None:
        raise CaseError(f"{where}: is not in the case, which has {len(case.cycles)} cycles; add [[cycles]] for it")
    if not (found.scans or found.regions or found.blood or found.doses or found.whole_body):
        raise CaseError(f"{where}: holds no measurement; add scans, regions or blood, or record the doses as missing")
    _check_activities(found, given, where)
    _check_times(case, found, given, where)
    return found


def _check_activities(cycle: Cycle, given: GivenCycle, where: str) -> None:
    if set(cycle.administered_MBq) != set(given.administered_MBq):
        raise CaseError(
            f"{where}: states {', '.join(sorted(cycle.administered_MBq))}; recorded as given: "
            f"{', '.join(sorted(given.administered_MBq))}"
        )
    for nuclide, recorded in given.administered_MBq.items():
        stated = cycle.administered_MBq[nuclide]
        if abs(stated - recorded) > ACTIVITY_TOLERANCE * recorded:
            raise CaseError(
                f"{where}: states {stated:g} MBq of {nuclide}; recorded as given are {recorded:g} MBq; correct one"
            )


def _check_times(case: Case, cycle: Cycle, given: GivenCycle, where: str) -> None:
    """Starts of infusion agree but for whole days: images are shifted by whole days when they are received."""
    first = min(start_times(case, cycle).values())
    apart = (first - given.start) % timedelta(days=1)
    if min(apart, timedelta(days=1) - apart) > TIME_TOLERANCE:
        raise CaseError(
            f"{where}: administered_at is {first.isoformat()}; recorded is {given.start.isoformat()}; their times of "
            "day have to agree; correct one"
        )


def _refuse_future(root: Path, cycle: Cycle, given: GivenCycle, now: datetime) -> None:
    """Refuse measurements that cannot have been made yet: hours count from the recorded start, whatever the dates."""
    elapsed = (now - given.start) / timedelta(hours=1)
    timed = [(f"scan {place} ({scan.spect})", scan.time_h) for place, scan in enumerate(cycle.scans, start=1)]
    for table in (cycle.regions, cycle.blood, cycle.whole_body):
        timed += [] if table is None else _hours(root / table.file)
    for where, hours in timed:
        if hours is not None and hours > elapsed:
            raise CaseError(
                f"{where}: time_h: found {hours:g} h after the start of infusion, which is in the future: it is "
                f"{elapsed:.1f} h now; correct the time, or import the case when it is measured"
            )


def _hours(path: Path) -> list[tuple[str, float]]:
    """The times of a table by row; a row without a number is refused where the table is computed with."""
    found = []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            with suppress(ValueError):
                found.append((f"{path.name} row {number}", float(row.get("time_h") or "")))
    return found


def _measurement_paths(case: Case, cycle: Cycle) -> list[Path]:
    tables = [t.file for t in (cycle.regions, cycle.blood, cycle.whole_body, cycle.doses) if t is not None]
    scans = [p for s in cycle.scans for p in (s.spect, s.ct) if p is not None]
    recovery = [case.calibration.recovery_csv] if case.calibration and case.calibration.recovery_csv else []
    return [*tables, *scans, *(s.file for s in cycle.segmentation), *recovery]


def case_files(root: Path, cycle: Cycle, case: Case) -> list[Path]:
    """The case file and every file that the cycle names; nothing is opened.

    Raises
    ------
    CaseError
        For a path that leads outside of the case folder, also through a link, or to nothing.
    """
    files, inside = [case_file(root)], root.resolve()
    for path in _measurement_paths(case, cycle):
        found = root / path
        if not found.resolve().is_relative_to(inside):
            raise CaseError(f"{path}: lies outside of the case folder; copy it into the folder")
        below = [found] if found.is_file() else sorted(p for p in found.rglob("*") if p.is_file())
        if not below:
            raise CaseError(f"{path}: found no such file, or an empty folder, in the case; check the path in case.toml")
        for file in below:
            if not file.resolve().is_relative_to(inside):
                raise CaseError(f"{file.relative_to(root)}: links outside of the case folder; copy the file into it")
        files += below
    return files


def _keep_files(trial: Trial, root: Path, cycle: Cycle, case: Case) -> dict[str, tuple[str, int]]:
    """Every file that the cycle names, stored by content: path in the case → hash and size."""
    kept = {}
    for file in case_files(root, cycle, case):
        content = file.read_bytes()
        kept[file.relative_to(root).as_posix()] = (trial.files.put(content), len(content))
    return kept


def _materialise(trial: Trial, files: Mapping[str, str], folder: Path) -> None:
    for name, digest in files.items():
        path = folder / PurePosixPath(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(trial.files.get(digest))


def _trial_case(trial: Trial, reader: Reader, case: Case, given: GivenCycle) -> Case:
    """The imported case with the trial's facts: who, arm, activities given, and the cycles before this one.

    The cycle keeps the case's own date, because its images carry it; delays between nuclides are the recorded ones.
    """
    protocol = protocol_of(trial, reader)
    facts = course_case(reader, case.subject.id, protocol, as_of=now_of(reader), before_cycle=given.cycle)
    own = next(c for c in case.cycles if c.number == given.ordinal)
    zero = min(start_times(case, own).values())
    starts = {n: zero + (t - given.start) for n, t in given.started_at.items()}
    cycle = own.model_copy(
        update={
            "administered_at": starts,
            "administered_MBq": dict(given.administered_MBq),
            "prescribed_MBq": dict(given.prescribed_MBq),
        }
    )
    subject = facts.subject.model_copy(update={"hematocrit": case.subject.hematocrit})
    choice = ProtocolChoice(name=protocol.name, arm=facts.protocol.arm)
    return case.model_copy(
        update={"subject": subject, "protocol": choice, "cycles": (*facts.cycles, cycle), "decision_at": None}
    )


def _result_edits(
    reader: Reader, job: Record, hashes: Mapping[str, str], summary: Mapping[str, Any], *, seed: int, draws: int,
    version: str,
) -> list[Edit]:  # fmt: skip
    """The new revision of the cycle's result; the one before it is superseded, never removed."""
    key = {"subject_id": job["subject_id"], "cycle": job["cycle"]}
    before = reader.records("results", **key)
    edits: list[Edit] = [
        Update("results", int(r["record_id"]), {"state": "SUPERSEDED"}) for r in before if r["state"] == "CURRENT"
    ]
    values = {**key, "revision": len(before) + 1, "state": "CURRENT", "inputs_sha256": summary["inputs_sha256"],
              "result_sha256": hashes["result.json"], "report_sha256": hashes.get("report.pdf"),
              "draws_sha256": hashes["draws.npz"], "software": " ".join(software().values()), "seed": seed,
              "draws": draws, "protocol_version": version, "computed_by": job["created_by"],
              "computed_at": reader.now, "summary": dict(summary)}  # fmt: skip
    return [*edits, Create("results", values)]


def _cycle_edits(reader: Reader, subject_id: str, number: int) -> list[Edit]:
    """GIVEN becomes DOSED; a new revision makes open prescriptions of later cycles void."""
    cycle = cycle_of(reader, subject_id, number)
    if cycle["state"] == "GIVEN":
        return [cycle_step(reader, cycle, "DOSED")]
    return _void_later(reader, subject_id, number, f"the doses of cycle {number} changed")


def _void_later(reader: Reader, subject_id: str, number: int, why: str) -> list[Edit]:
    """Open prescriptions of the cycles after this one become void; prescribed cycles are assessed ones again."""
    edits: list[Edit] = []
    for later in reader.records("cycles", subject_id=subject_id):
        if int(later["cycle"]) > number:
            edits += void_edits(reader, subject_id, int(later["cycle"]), why)
            if later["state"] == "PRESCRIBED":
                edits.append(cycle_step(reader, later, "ASSESSED", reason=f"the doses of cycle {number} changed"))
    return edits
