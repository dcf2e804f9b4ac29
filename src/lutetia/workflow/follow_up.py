"""End of treatment, follow-up, response by RECIST, survival; how subjects leave: withdrawn, lost, dead, completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lutetia.errors import InputError, TransitionError
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import given_cycles, subject_of
from lutetia.workflow.cycles import cancelled_cycles
from lutetia.workflow.edits import allowed_subject, now_of, query_edits, required_text, subject_step
from lutetia.workflow.entry_checks import SoftFinding, check_form

# What a subject leaves by → the state that follows.
LEAVING = {"withdrew": "CONSENT_WITHDRAWN", "lost": "LOST", "died": "DEAD", "completed": "COMPLETED"}


@dataclass(frozen=True, slots=True)
class EndTreatment:
    """The last cycle was given, or none will be: day and reason."""

    subject_id: str
    on: str
    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A subject leaves: `event` is withdrew, lost, died or completed."""

    subject_id: str
    event: str
    on: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """The subject was seen or spoken to alive; one who was lost is in follow-up again."""

    subject_id: str
    on: str


@dataclass(frozen=True, slots=True)
class LesionSize:
    """One lesion of an assessment; target lesions have a diameter, 0 when gone."""

    lesion: str
    region: str
    kind: str
    diameter_mm: float | None = None


@dataclass(frozen=True, slots=True)
class RecordResponse:
    """A tumour assessment: the reader's overall response, and the lesions that it rests on."""

    subject_id: str
    assessed_on: str
    method: str
    response: str
    progression: str
    lesions: Sequence[LesionSize] = ()


def end_treatment(trial: Trial, actor: Actor, command: EndTreatment) -> Receipt:
    """Move a subject to follow-up; cycles that were not given are cancelled.

    Raises
    ------
    TransitionError
        If the subject is not randomised or in treatment.
    InputError
        If the day is before the last administration.
    """
    allowed_subject(trial, actor, "sign_forms", command.subject_id)
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        subject = subject_of(reader, command.subject_id)
        on = _day(reader, command.subject_id, command.on)
        edits: list[Edit] = [_event(command.subject_id, "treatment_ended", on, reason),
                             subject_step(reader, subject, "FOLLOW_UP")]  # fmt: skip
        return Change(
            "end_treatment", edits + cancelled_cycles(reader, command.subject_id, f"treatment ended: {reason}")
        )

    return trial.commit(change, actor, reason)


def leave(trial: Trial, actor: Actor, command: Leave) -> Receipt:
    """Record withdrawal of consent, loss, death or completion; cycles that were not given are cancelled.

    Raises
    ------
    TransitionError
        If the subject's state does not permit it.
    InputError
        For an unknown event, a future day, or one before the last administration.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    if command.event not in LEAVING:
        raise InputError(f"subject {command.subject_id}: found {command.event!r}; expected one of {', '.join(LEAVING)}")
    if command.event != "completed":
        required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        subject = subject_of(reader, command.subject_id)
        on = _day(reader, command.subject_id, command.on)
        edits: list[Edit] = [_event(command.subject_id, command.event, on, command.reason),
                             subject_step(reader, subject, LEAVING[command.event])]  # fmt: skip
        return Change(f"subject {command.event}", edits + cancelled_cycles(reader, command.subject_id, command.event))

    return trial.commit(change, actor, command.reason or "completed")


def record_contact(trial: Trial, actor: Actor, command: Contact) -> Receipt:
    """Record a contact (the last one dates survival); a lost subject goes on in follow-up."""
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        subject = subject_of(reader, command.subject_id)
        if subject["state"] in ("DEAD", "CONSENT_WITHDRAWN"):
            raise TransitionError(f"subject {command.subject_id}: is {subject['state']}; no contact can be recorded")
        edits: list[Edit] = [
            _event(command.subject_id, "last_contact", _day(reader, command.subject_id, command.on), "")
        ]
        if subject["state"] == "LOST":
            edits.append(subject_step(reader, subject, "FOLLOW_UP"))
        return Change("record_contact", edits)

    return trial.commit(change, actor)


def record_response(trial: Trial, actor: Actor, command: RecordResponse) -> Receipt:
    """Store a tumour assessment; a response that the target lesions do not bear out opens a query.

    Raises
    ------
    InputError
        For values that cannot be, or a progression that contradicts the response.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        entered = {n: getattr(command, n) for n in ("assessed_on", "method", "response", "progression")}
        values = check_form("responses", entered, now=now_of(reader), where="response").values
        if (values["response"] == "PD") != (values["progression"] == "yes"):
            raise InputError("response: PD and progression go together; correct one of them")
        lesions = [_lesion(reader, command, values["assessed_on"], size) for size in command.lesions]
        row = {"subject_id": command.subject_id, **values}
        edits: list[Edit] = [Create("responses", row), *(Create("lesions", r) for r in lesions)]
        if values["response"] == "PD" and not reader.records("disposition", subject_id=command.subject_id,
                                                             event="progressed"):  # fmt: skip
            edits.append(_event(command.subject_id, "progressed", values["assessed_on"], ""))
        findings = _against_lesions(reader, command.subject_id, values, lesions)
        edits += query_edits(reader, findings, subject_id=command.subject_id, site=subject["site"], table="responses",
                             values=row)  # fmt: skip
        return Change("record_response", edits)

    return trial.commit(change, actor)


def target_response(sum_mm: float, *, baseline_mm: float, least_mm: float, new_lesion: bool) -> str:
    """Response of the target lesions by RECIST 1.1.

    PD: a new lesion, or ≥ 20 % and ≥ 5 mm above the least sum; CR: sum 0; PR: ≥ 30 % below baseline; else SD.

    Parameters
    ----------
    sum_mm, baseline_mm, least_mm
        Sum of diameters now, at baseline, and the least one so far.
    new_lesion
        Whether a new lesion was seen.

    References
    ----------
    Eisenhauer et al., Eur J Cancer 2009;45:228, doi 10.1016/j.ejca.2008.10.026.

    Notes
    -----
    Lymph nodes, whose short axis counts as gone below 10 mm, are not told apart here.
    """
    if new_lesion or (sum_mm >= 1.2 * least_mm and sum_mm - least_mm >= 5.0):
        return "PD"
    if sum_mm == 0.0:
        return "CR"
    return "PR" if sum_mm <= 0.7 * baseline_mm else "SD"


def _against_lesions(
    reader: Reader, subject_id: str, values: Mapping[str, Any], lesions: Sequence[Mapping[str, Any]]
) -> list[SoftFinding]:
    earlier: dict[str, float] = {}
    for row in reader.records("lesions", subject_id=subject_id, kind="target"):
        if row["assessed_on"] < values["assessed_on"] and row["diameter_mm"] is not None:
            earlier[row["assessed_on"]] = earlier.get(row["assessed_on"], 0.0) + float(row["diameter_mm"])
    targets = [float(r["diameter_mm"]) for r in lesions if r["kind"] == "target" and r["diameter_mm"] is not None]
    if not earlier or not targets or values["response"] == "NE":
        return []
    found = target_response(
        sum(targets),
        baseline_mm=earlier[min(earlier)],
        least_mm=min(earlier.values()),
        new_lesion=any(r["kind"] == "new" for r in lesions),
    )
    if found == values["response"]:
        return []
    text = f"response {values['response']}, but the target lesions say {found} by RECIST 1.1; is it right?"
    return [SoftFinding("response", text)]


def _lesion(reader: Reader, command: RecordResponse, assessed_on: str, size: LesionSize) -> dict[str, Any]:
    entered = {n: getattr(size, n) for n in ("lesion", "region", "kind", "diameter_mm")}
    where = f"lesion {size.lesion}"
    values = check_form("lesions", {"assessed_on": assessed_on, **entered}, now=now_of(reader), where=where).values
    if values["kind"] == "target" and values["diameter_mm"] is None:
        raise InputError(f"{where}: diameter_mm is missing; a target lesion needs it, 0 when it is gone")
    return {"subject_id": command.subject_id, **values}


def _day(reader: Reader, subject_id: str, on: str) -> str:
    """A day that is not in the future and not before the last administration."""
    day = str(check_form("disposition", {"on": on}, now=now_of(reader), where=f"subject {subject_id}").values["on"])
    given = given_cycles(reader, subject_id)
    if given and day < (last := given[-1].start.date().isoformat()):
        raise InputError(
            f"subject {subject_id}: found {day}, before the last administration on {last}; correct the day"
        )
    entered = subject_of(reader, subject_id)["randomised_on"]
    if entered and day < entered:
        raise InputError(f"subject {subject_id}: found {day}, before randomisation on {entered}; correct the day")
    return day


def _event(subject_id: str, event: str, on: str, reason: str) -> Create:
    return Create("disposition", {"subject_id": subject_id, "event": event, "on": on, "reason": reason or None})
