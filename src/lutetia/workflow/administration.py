"""The administration of a cycle: activity per nuclide, measured before and after, with batch and deviations.

Here: recording and correcting what was given. Not here: what should have been given (`prescription`), batches
(`batches`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from lutetia.errors import InputError, TransitionError
from lutetia.plan.activity import administered_activity_MBq
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Remove, Update
from lutetia.trial.states import check_transition
from lutetia.trial.store import Trial
from lutetia.workflow.batches import batch_of, corrected_use, left_MBq, use_edit
from lutetia.workflow.course_records import (
    cycle_of,
    cycle_window,
    given_cycles,
    local_day,
    refuse_after_death,
    study_of,
    subject_of,
)
from lutetia.workflow.dosimetry import recomputation_edits
from lutetia.workflow.edits import (
    allowed_subject,
    cycle_step,
    deviation_edits,
    now_of,
    query_edits,
    required_text,
    subject_step,
)
from lutetia.workflow.entry_checks import Checked, check_form, dates_in_order
from lutetia.workflow.prescription import void_reasons
from lutetia.workflow.proposal import prescription_rows

DEVIATION = 0.10  # administered against prescribed
NON_STANDARDISED = 0.25  # above the label
ROUNDING_MBQ = 1e-6  # a difference that only the rounding of decimals makes is none
DAYS_APART = 3.0  # assumption: nuclides of one cycle that are given further apart are two cycles, or a slip
BATCH_TOLERANCE = 1.05  # assumption: two activity meters differ by less
SUPERSEDED = "the entry was corrected and makes no deviation any more"
UNIT_FACTOR = 20.0  # assumption: an activity before the infusion so far from the prescription is one in another unit
# Activity of one cycle on the product's label; Lu-177: 7.4 GBq of [177Lu]Lu-DOTA-TATE. Setting `label_MBq` of a study.
LABEL_MBQ = {"Lu-177": 7400.0}


@dataclass(frozen=True, slots=True)
class NuclideGiven:
    """One nuclide: activity before and after the infusion with the times of both measurements (ISO with offset)."""

    nuclide: str
    batch: str
    measured_MBq: float
    measured_at: str
    residual_MBq: float
    residual_at: str
    started_at: str
    ended_at: str


@dataclass(frozen=True, slots=True)
class RecordAdministration:
    """What was given of a released prescription.

    `not_given` says why a nuclide is missing. `explanation` says why an activity differs from the prescription by more
    than 10 %, or why an expired batch was used. `given_despite` is the explanation where it was given although the
    prescription did not stand any more. Without these such a record is refused.
    """

    subject_id: str
    cycle: int
    version: int
    given: Sequence[NuclideGiven]
    not_given: Mapping[str, str] = field(default_factory=dict)
    given_despite: str = ""
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class CorrectAdministration:
    """Right a wrong entry; `version` is the record version that the person saw."""

    subject_id: str
    cycle: int
    given: NuclideGiven
    reason: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Administered:
    """What was stored: activity at the start of infusion by nuclide, and the deviations that it made."""

    administered_MBq: Mapping[str, float]
    deviations: tuple[str, ...]
    receipt: Receipt


def record_administration(trial: Trial, actor: Actor, command: RecordAdministration) -> Administered:
    """Record the administration of a cycle, make its deviations, and move cycle, prescription and subject on.

    Raises
    ------
    InputError
        For values, units or times that cannot be, a batch that cannot have been used, nuclides that are not those
        prescribed, or a difference from the prescription that nobody explains.
    TransitionError
        If the prescription is not released, or does not stand any more and no explanation is given. Nothing is stored
        then, so that what was given can still be recorded.
    """
    allowed_subject(trial, actor, "record_administration", command.subject_id)

    def change(reader: Reader) -> Change:
        rows = prescription_rows(reader, command.subject_id, command.cycle, command.version)
        check_transition("prescription", rows[0]["state"], "ADMINISTERED", where=_place(command))
        parts = _checked_parts(reader, command, rows)
        first = min(datetime.fromisoformat(c.values["started_at"]) for c in parts.values())
        check_order(reader, command.subject_id, command.cycle, first)
        if why := _not_standing(trial, reader, rows, first):
            if not command.given_despite.strip():
                raise TransitionError(
                    f"{_place(command)}: does not stand any more, because {'; '.join(why)}; make it void and propose a "
                    "new version. If it was given already, record it with the explanation why"
                )
            text = f"given although {'; '.join(why)}: {command.given_despite.strip()}"
            return _stored(trial, reader, actor, command, rows, parts, [("procedure", "critical", text)])
        return _stored(trial, reader, actor, command, rows, parts, [])

    receipt = trial.commit(change, actor)
    amounts_MBq, found = receipt.result
    return Administered(amounts_MBq, tuple(found), receipt)


def correct_administration(trial: Trial, actor: Actor, command: CorrectAdministration) -> Receipt:
    """Right a wrong entry of an administration, with a reason, after the checks of its recording.

    Doses that were computed from it are withdrawn and computed again; deviations that the wrong entry made are marked.

    Raises
    ------
    InputError
        For values, units or times that cannot be, or a batch that cannot have been used.
    StaleRecordError
        If somebody changed it meanwhile.
    """
    allowed_subject(trial, actor, "record_administration", command.subject_id)
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        part, where = command.given, f"subject {command.subject_id}, cycle {command.cycle}, {command.given.nuclide}"
        cycle = {"subject_id": command.subject_id, "cycle": command.cycle}
        before = reader.record("administrations", {**cycle, "nuclide": part.nuclide})
        checked = checked_part(reader, part, command.subject_id, where)
        check_unit(checked, float(before["prescribed_MBq"]), where)
        others = [r for r in reader.records("administrations", **cycle) if r["nuclide"] != part.nuclide]
        starts = [_start(checked), *(datetime.fromisoformat(r["started_at"]) for r in others if r["started_at"])]
        check_together(starts, where)
        check_order(reader, command.subject_id, command.cycle, min(starts))
        values = amounts(part, checked)
        edits: list[Edit] = [Update("administrations", int(before["record_id"]), values, command.version)]
        edits += corrected_use(reader, actor, before, values)
        edits += _corrected_deviations(reader, before, part, values, reason)
        edits += _corrected_visit(reader, command, min(starts))
        edits += _given_after_all(reader, before)
        moved = before["started_at"] != values["started_at"]
        edits += recomputation_edits(reader, actor, command.subject_id, command.cycle, moved=moved, reason=reason)
        return Change("correct_administration", edits)

    return trial.commit(change, actor, reason)


def check_together(starts: Sequence[datetime], where: str) -> None:
    """Refuse nuclides of one cycle that were given too far apart.

    Raises
    ------
    InputError
        If more than `DAYS_APART` lie between the first and the last start.
    """
    days = (max(starts) - min(starts)).total_seconds() / 86400
    if days > DAYS_APART:
        raise InputError(f"{where}: the nuclides were given {days:.0f} days apart; expected one cycle; check the dates")


def check_order(reader: Reader, subject_id: str, number: int, first: datetime) -> None:
    """Refuse a cycle that would begin before the one before it, or after the next one.

    Raises
    ------
    InputError
        Naming the other cycle.
    """
    for other in given_cycles(reader, subject_id):
        if other.cycle != number and (other.cycle < number) != (other.start < first):
            raise InputError(
                f"subject {subject_id}, cycle {number}: found the start {first.isoformat()}, but cycle {other.cycle} "
                f"began {other.start.isoformat()}; correct the time"
            )


def _stored(
    trial: Trial, reader: Reader, actor: Actor, command: RecordAdministration, rows: Sequence[Record],
    parts: Mapping[str, Checked], deviations: list[tuple[str, str, str]],
) -> Change:  # fmt: skip
    subject, cycle = subject_of(reader, command.subject_id), cycle_of(reader, command.subject_id, command.cycle)
    by_nuclide = {r["nuclide"]: r for r in rows}
    edits: list[Edit] = []
    administered = {}
    asked = 0
    for part in command.given:
        row, values = by_nuclide[part.nuclide], amounts(part, parts[part.nuclide])
        administered[part.nuclide] = values["administered_MBq"]
        record, findings = _head(command, row) | values, parts[part.nuclide].findings
        edits += [Create("administrations", record), _used(reader, actor, command, part, values)]
        edits += query_edits(
            reader,
            findings,
            subject_id=command.subject_id,
            site=subject["site"],
            table="administrations",
            values=record,
            after=asked,
        )
        asked += len(findings)
        deviations += _explained(part_deviations(reader, part, values, float(row["prescribed_MBq"])), command)
    for nuclide, why in command.not_given.items():
        edits += _missing_edits(reader, actor, command, by_nuclide[nuclide], why, subject["site"])
        deviations.append(("missing_nuclide", "major", f"{nuclide} was not given: {why}"))
    day = local_day(reader, subject["site"], min(_start(p) for p in parts.values()))
    deviations += _window_deviations(reader, cycle, day)
    edits += deviation_edits(reader, command.subject_id, deviations, on=day)
    edits += [Update("prescriptions", int(r["record_id"]), {"state": "ADMINISTERED"}) for r in rows]
    edits.append(cycle_step(reader, cycle, "GIVEN"))
    edits += _visit_done(reader, command, day)
    if subject["state"] == "RANDOMISED":
        edits.append(subject_step(reader, subject, "ON_TREATMENT"))
    return Change("record_administration", edits, result=(administered, [d[2] for d in deviations]))


def _checked_parts(reader: Reader, command: RecordAdministration, rows: Sequence[Record]) -> dict[str, Checked]:
    where = _place(command)
    named = [p.nuclide for p in command.given]
    wanted = {r["nuclide"] for r in rows}
    if len(set(named)) != len(named) or {*named, *command.not_given} != wanted or set(named) & set(command.not_given):
        raise InputError(f"{where}: found {named} given and {list(command.not_given)} not given; expected each of "
                         f"{sorted(wanted)} once")  # fmt: skip
    if not named:
        raise InputError(f"{where}: no nuclide was given; withhold the cycle instead, with a reason")
    for nuclide, why in command.not_given.items():
        required_text(why, f"{where}: why {nuclide} was not given")
    prescribed_MBq = {r["nuclide"]: float(r["prescribed_MBq"]) for r in rows}
    parts = {p.nuclide: checked_part(reader, p, command.subject_id, f"{where}, {p.nuclide}") for p in command.given}
    for nuclide, checked in parts.items():
        check_unit(checked, prescribed_MBq[nuclide], f"{where}, {nuclide}")
    check_together([_start(checked) for checked in parts.values()], where)
    return parts


def check_unit(checked: Checked, prescribed_MBq: float, where: str) -> None:
    """Refuse an activity before the infusion that only another unit explains.

    Raises
    ------
    InputError
        If it is not within a factor of `UNIT_FACTOR` of the prescribed one.
    """
    found = float(checked.values["measured_MBq"])
    if prescribed_MBq and not 1 / UNIT_FACTOR < found / prescribed_MBq < UNIT_FACTOR:
        raise InputError(
            f"{where}: found {found:g} MBq before the infusion where {prescribed_MBq:.0f} MBq are prescribed; expected "
            "megabecquerel; check the unit (1 GBq is 1000 MBq)"
        )


def checked_part(reader: Reader, part: NuclideGiven, subject_id: str, where: str) -> Checked:
    """The entries of one nuclide, checked: types, ranges, order of times, batch of this nuclide and site."""
    names = ("batch", "measured_MBq", "measured_at", "residual_MBq", "residual_at", "started_at", "ended_at")
    checked = check_form("administrations", {n: getattr(part, n) for n in names}, now=now_of(reader), where=where)
    order = (("measured_at", "started_at"), ("started_at", "ended_at"), ("ended_at", "residual_at"))
    dates_in_order(checked.values, *order, where=where)
    hours = (_start(checked) - datetime.fromisoformat(checked.values["measured_at"])).total_seconds() / 3600
    if hours > 48:
        raise InputError(f"{where}: the activity was measured {hours:.0f} h before the infusion; check both times")
    batch = batch_of(reader, part.batch)
    if batch["nuclide"] != part.nuclide:
        raise InputError(f"{where}: batch {part.batch} is of {batch['nuclide']}; choose a batch of {part.nuclide}")
    site = subject_of(reader, subject_id)["site"]
    if batch["site"] != site:
        raise InputError(f"{where}: batch {part.batch} was received at site {batch['site']}; expected site {site}")
    day = local_day(reader, site, _start(checked))
    refuse_after_death(reader, subject_id, day, f"{where}: started_at")
    if day < batch["received_on"]:
        raise InputError(f"{where}: found the infusion on {day}, but batch {part.batch} was received on "
                         f"{batch['received_on']}; correct the times or choose another batch")  # fmt: skip
    return checked


def _not_standing(trial: Trial, reader: Reader, rows: Sequence[Record], first: datetime) -> tuple[str, ...]:
    why = void_reasons(trial, reader, rows, as_of=first)
    return (*why, *(text for _, _, text in _before_release(rows, first)))


def _before_release(rows: Sequence[Record], first: datetime) -> list[tuple[str, str, str]]:
    if not rows[0]["signed_at"] or first >= datetime.fromisoformat(rows[0]["signed_at"]):
        return []
    return [("procedure", "critical", "the infusion began before the prescription was released")]


def amounts(part: NuclideGiven, checked: Checked) -> dict[str, Any]:
    """What is stored of a nuclide: the activity at the start of infusion, and what it was computed from."""
    values = checked.values
    moments = {n: datetime.fromisoformat(values[n]) for n in ("measured_at", "residual_at", "started_at")}
    amount = administered_activity_MBq(
        part.nuclide, measured_MBq=values["measured_MBq"], residual_MBq=values["residual_MBq"], **moments
    )
    measured = {n: values[n] for n in ("measured_MBq", "measured_at", "residual_at")}
    return {"started_at": values["started_at"], "ended_at": values["ended_at"], "administered_MBq": round(amount, 3),
            "residual_MBq": values["residual_MBq"], "batch": values["batch"], "further": measured}  # fmt: skip


def _used(
    reader: Reader, actor: Actor, command: RecordAdministration, part: NuclideGiven, values: Mapping[str, Any]
) -> Edit:
    amount, at = values["administered_MBq"], values["started_at"]
    return use_edit(
        reader, actor, part.batch, activity_MBq=amount, at=at, subject_id=command.subject_id, cycle=command.cycle
    )


def _missing_edits(
    reader: Reader, actor: Actor, command: RecordAdministration, row: Record, why: str, site: str
) -> list[Edit]:
    record = _head(command, row) | {"administered_MBq": 0.0}
    key = f"{command.subject_id} / {command.cycle} / {row['nuclide']}"
    note = {"table_name": "administrations", "record_key": key, "field": "started_at", "site": site,
            "subject_id": command.subject_id, "reason": "not done", "note": why, "recorded_by": actor.user_id,
            "recorded_at": reader.now}  # fmt: skip
    return [Create("administrations", record), Create("missing_reasons", note)]


def _head(command: RecordAdministration, row: Record) -> dict[str, Any]:
    return {"subject_id": command.subject_id, "cycle": command.cycle, "nuclide": row["nuclide"],
            "planned_MBq": row["base_MBq"], "prescribed_MBq": row["prescribed_MBq"],
            "prescription_version": command.version}  # fmt: skip


def activity_deviations(
    reader: Reader, nuclide: str, administered_MBq: float, prescribed_MBq: float
) -> list[tuple[str, str, str]]:
    """Deviations of a given activity as (kind, severity, description): against the prescription and the label."""
    found = []
    off = administered_MBq - prescribed_MBq
    if abs(off) > DEVIATION * prescribed_MBq + ROUNDING_MBQ:
        percent = f" ({100 * off / prescribed_MBq:+.0f} %)" if prescribed_MBq else ""
        text = f"{nuclide}: {administered_MBq:.0f} MBq given, {prescribed_MBq:.0f} MBq prescribed{percent}"
        far = abs(off) > 2 * DEVIATION * prescribed_MBq + ROUNDING_MBQ
        found.append(("activity", "critical" if not prescribed_MBq else "major" if far else "minor", text))
    label = (study_of(reader)["settings"] or {}).get("label_MBq", LABEL_MBQ).get(nuclide)
    if label and administered_MBq > label * (1 + NON_STANDARDISED) + ROUNDING_MBQ:
        text = f"{nuclide}: {administered_MBq:.0f} MBq given, more than 25 % above the label's {label:.0f} MBq"
        found.append(("non_standardised", "minor", text))
    return found


def part_deviations(
    reader: Reader,
    part: NuclideGiven,
    values: Mapping[str, Any],
    prescribed_MBq: float,
    *,
    but: tuple[str, int] | None = None,
) -> list[tuple[str, str, str]]:
    """All deviations of one nuclide as it is stored (`amounts`): its activity, and its batch.

    Parameters
    ----------
    but
        Subject and cycle whose earlier use of the batch is corrected and does not count.
    """
    found = activity_deviations(reader, part.nuclide, values["administered_MBq"], prescribed_MBq)
    batch = batch_of(reader, part.batch)
    if values["started_at"] > batch["expires_at"]:
        found.append(("procedure", "critical", f"{part.nuclide}: batch {part.batch} expired at {batch['expires_at']}"))
    left = left_MBq(reader, part.batch, at=values["started_at"], but=but)
    if values["administered_MBq"] > left * BATCH_TOLERANCE + 1.0:
        text = (
            f"{part.nuclide}: {values['administered_MBq']:.0f} MBq taken from batch {part.batch}, which held {left:.0f}"
        )
        found.append(("procedure", "major", f"{text} MBq then"))
    return found


def _explained(found: Sequence[tuple[str, str, str]], command: RecordAdministration) -> list[tuple[str, str, str]]:
    """Deviations with the person's explanation; refused without one where the dose or the product differs."""
    why = (command.explanation or command.given_despite).strip()
    unexplained = [text for kind, _, text in found if kind in ("activity", "procedure")]
    if unexplained and not why:
        raise InputError(f"{_place(command)}: {'; '.join(unexplained)}; check it, and where it is right explain why")
    return [(kind, severity, f"{text}; {why}" if why else text) for kind, severity, text in found]


def _window_deviations(reader: Reader, cycle: Record, day: str) -> list[tuple[str, str, str]]:
    first, last = cycle_window(reader, cycle)
    if first <= day <= last:
        return []
    return [("window", "minor", f"cycle {cycle['cycle']} given on {day}; its window is {first} to {last}")]


def _corrected_deviations(
    reader: Reader, before: Record, part: NuclideGiven, values: Mapping[str, Any], reason: str
) -> list[Edit]:
    """Deviations that the corrected entry makes, and a mark on those that only the wrong one made."""
    subject_id, number = before["subject_id"], int(before["cycle"])
    site, cycle = subject_of(reader, subject_id)["site"], cycle_of(reader, subject_id, number)
    rows = prescription_rows(reader, subject_id, number, int(before["prescription_version"]))
    start = datetime.fromisoformat(values["started_at"])
    day = local_day(reader, site, start)
    found = part_deviations(reader, part, values, float(before["prescribed_MBq"]), but=(subject_id, number))
    found = [*found, *_window_deviations(reader, cycle, day), *_before_release(rows, start)]
    wrong = [d for d in reader.records("deviations", subject_id=subject_id) if _of_entry(d, before, cycle)]
    still = {text for _, _, text in found}
    edits: list[Edit] = [
        Update("deviations", int(d["record_id"]), {"severity": "minor", "description": _superseded(d, reason)})
        for d in wrong
        if d["description"].partition(";")[0] not in still
    ]
    known = {d["description"].partition(";")[0] for d in wrong}
    new = [(kind, severity, f"{text}; {reason}") for kind, severity, text in found if text not in known]
    return [*edits, *deviation_edits(reader, subject_id, new, on=day)]


def _of_entry(deviation: Record, before: Record, cycle: Record) -> bool:
    """Whether a deviation was made by the entry of this nuclide in this cycle, and still counts."""
    text, state = deviation["description"] or "", str(cycle["state_on"] or "")
    if SUPERSEDED in text:
        return False
    day = (before["started_at"] or state)[:10]
    near = abs((date.fromisoformat(deviation["on"]) - date.fromisoformat(day)).days) <= DAYS_APART
    return near and text.startswith((f"{before['nuclide']}:", f"{before['nuclide']} was not given",
                                     f"cycle {cycle['cycle']} given on", "the infusion began before"))  # fmt: skip


def _superseded(deviation: Record, reason: str) -> str:
    return f"{deviation['description']}; {SUPERSEDED}: {reason}"


def _corrected_visit(reader: Reader, command: CorrectAdministration, first: datetime) -> list[Edit]:
    """The day of the infusion visit follows the corrected start."""
    visit = reader.find("visits", {"subject_id": command.subject_id, "visit": f"cycle {command.cycle}"})
    day = local_day(reader, subject_of(reader, command.subject_id)["site"], first)
    if visit is None or visit["done_on"] == day:
        return []
    return [Update("visits", int(visit["record_id"]), {"done_on": day})]


def _given_after_all(reader: Reader, before: Record) -> list[Edit]:
    """A nuclide that was recorded as not given and was given has no reason for its absence any more."""
    key = f"{before['subject_id']} / {before['cycle']} / {before['nuclide']}"
    notes = reader.records("missing_reasons", table_name="administrations", record_key=key)
    return [Remove("missing_reasons", int(r["record_id"])) for r in notes]


def _visit_done(reader: Reader, command: RecordAdministration, day: str) -> list[Edit]:
    """The infusion visit is done; the study's visits after an infusion get their windows."""
    key = {"subject_id": command.subject_id, "visit": f"cycle {command.cycle}"}
    edits: list[Edit] = []
    if reader.find("visits", key) is not None:
        edits.append(Update("visits", key, {"done_on": day, "state": "DONE"}))
    start = date.fromisoformat(day)
    for visit in (study_of(reader)["settings"] or {}).get("visits", ()):
        first, last = visit["window_days"]
        if first <= 0:
            continue
        days = {"window_from_on": first, "due_on": (first + last) // 2, "window_to_on": last}
        row = {name: (start + timedelta(days=after)).isoformat() for name, after in days.items()}
        head = {"subject_id": command.subject_id, "visit": f"cycle {command.cycle} {visit['name']}"}
        edits.append(Create("visits", {**head, "cycle": command.cycle, "state": "PLANNED", **row}))
    return edits


def _start(checked: Checked) -> datetime:
    return datetime.fromisoformat(checked.values["started_at"])


def _place(command: RecordAdministration) -> str:
    return f"subject {command.subject_id}, cycle {command.cycle}, version {command.version}"
