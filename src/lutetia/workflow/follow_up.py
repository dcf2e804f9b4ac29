"""End of treatment, follow-up, survival; how subjects leave: withdrawn, lost, dead, completed.

What happened before a subject left can be entered afterwards: days are compared, not the order of entry.
Not here: tumour assessments (`response`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lutetia.errors import InputError, TransitionError
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt
from lutetia.trial.store import Trial
from lutetia.workflow.consent import withdrawn_consents
from lutetia.workflow.course_records import cycle_window, given_cycles, local_day, subject_of
from lutetia.workflow.cycles import cancelled_cycles
from lutetia.workflow.edits import allowed_subject, local_now, required_text, subject_step
from lutetia.workflow.entry_checks import check_form

# What a subject leaves by → the state that follows.
LEAVING = {"withdrew": "CONSENT_WITHDRAWN", "lost": "LOST", "died": "DEAD", "completed": "COMPLETED"}
# What shows a subject alive: the column with the day, and words for it. Of the disposition, contacts only;
# of laboratory samples, those with a value.
_SEEN = {
    "disposition": ("on", "contact on"),
    "visits": ("done_on", "visit on"),
    "vitals": ("taken_on", "vitals of"),
    "labs": ("taken_at", "laboratory sample of"),
    "responses": ("assessed_on", "tumour assessment of"),
    "treatments": ("started_on", "concomitant treatment of"),
    "adverse_events": ("started_on", "adverse event of"),
}
_NOT_SEEN = (*LEAVING, "treatment_ended")


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


def end_treatment(trial: Trial, actor: Actor, command: EndTreatment) -> Receipt:
    """Move a subject to follow-up; cycles that were not given are cancelled.

    Of a subject who has left since, the day is recorded and the state stays.

    Raises
    ------
    TransitionError
        If the subject is not randomised or in treatment, and did not leave on that day or later.
    InputError
        If the day is before the last administration.
    """
    allowed_subject(trial, actor, "sign_forms", command.subject_id)
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        subject = subject_of(reader, command.subject_id)
        on = _day(reader, command.subject_id, command.on)
        edits: list[Edit] = [_event(command.subject_id, "treatment_ended", on, reason)]
        if not _left_later(reader, subject, on):
            edits.append(subject_step(reader, subject, "FOLLOW_UP"))
        return Change(
            "end_treatment", edits + cancelled_cycles(reader, command.subject_id, f"treatment ended: {reason}")
        )

    return trial.commit(change, actor, reason)


def leave(trial: Trial, actor: Actor, command: Leave) -> Receipt:
    """Record withdrawal of consent (of all in force), loss, death or completion; cycles not given are cancelled.

    A cycle whose released activity may have been given before the subject died stays, so that it can be recorded.

    Raises
    ------
    TransitionError
        If the subject's state does not permit it.
    InputError
        For an unknown event, a future day, one before the last administration, or a death before a day on which the
        subject was seen.
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
        if command.event == "withdrew":
            edits += withdrawn_consents(reader, command.subject_id, on)
        kept = _may_be_given(reader, command.subject_id, on) if command.event == "died" else ()
        if command.event == "died":
            _not_seen_after(reader, subject, on)
        cancelled = cancelled_cycles(reader, command.subject_id, command.event, but=kept)
        return Change(f"subject {command.event}", edits + cancelled)

    return trial.commit(change, actor, command.reason or "completed")


def record_contact(trial: Trial, actor: Actor, command: Contact) -> Receipt:
    """Record a contact (the last one dates survival); a subject who was lost before it goes on in follow-up.

    Raises
    ------
    TransitionError
        For a contact after death or withdrawal of consent.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        subject = subject_of(reader, command.subject_id)
        on = _day(reader, command.subject_id, command.on)
        earlier = _left_later(reader, subject, on)
        if subject["state"] in ("DEAD", "CONSENT_WITHDRAWN") and not earlier:
            raise TransitionError(
                f"subject {command.subject_id}: is {subject['state']}; no later contact can be recorded"
            )
        edits: list[Edit] = [_event(command.subject_id, "last_contact", on, "")]
        if subject["state"] == "LOST" and not earlier:
            edits.append(subject_step(reader, subject, "FOLLOW_UP"))
        return Change("record_contact", edits)

    return trial.commit(change, actor)


def _day(reader: Reader, subject_id: str, on: str) -> str:
    """A day that is not in the future and not before the last administration."""
    form = check_form("disposition", {"on": on}, now=local_now(reader, subject_id), where=f"subject {subject_id}")
    day = str(form.values["on"])
    given, site = given_cycles(reader, subject_id), subject_of(reader, subject_id)["site"]
    if given and day < (last := local_day(reader, site, given[-1].start)):
        raise InputError(
            f"subject {subject_id}: found {day}, before the last administration on {last}; correct the day"
        )
    entered = subject_of(reader, subject_id)["randomised_on"]
    if entered and day < entered:
        raise InputError(f"subject {subject_id}: found {day}, before randomisation on {entered}; correct the day")
    return day


def _left_later(reader: Reader, subject: Record, day: str) -> bool:
    """Whether the subject left, by its present state, on a day or after it."""
    events = [event for event, state in LEAVING.items() if state == subject["state"]]
    rows = reader.records("disposition", subject_id=subject["subject_id"])
    return any(row["event"] in events and day <= row["on"] for row in rows)


def _may_be_given(reader: Reader, subject_id: str, died: str) -> tuple[int, ...]:
    """Cycles with a released activity whose window began before the subject died."""
    cycles = [c for c in reader.records("cycles", subject_id=subject_id) if c["state"] == "PRESCRIBED"]
    released = {r["cycle"] for r in reader.records("prescriptions", subject_id=subject_id, state="RELEASED")}
    return tuple(int(c["cycle"]) for c in cycles if c["cycle"] in released and cycle_window(reader, c)[0] <= died)


def _not_seen_after(reader: Reader, subject: Record, died: str) -> None:
    """Refuse a death before a day on which the subject was seen, spoken to, treated or ill.

    What is entered after a death is recorded is refused where it is entered (`refuse_after_death`).
    """
    for table, (column, words) in _SEEN.items():
        for row in reader.records(table, subject_id=subject["subject_id"]):
            if row[column] is None or row.get("value", "") is None or row.get("event") in _NOT_SEEN:
                continue
            day = str(row[column])
            day = local_day(reader, subject["site"], datetime.fromisoformat(day)) if len(day) > len(died) else day
            if day > died[: len(day)]:
                raise InputError(
                    f"subject {subject['subject_id']}: found death on {died}, before the {words} {day}; "
                    "correct the day that is wrong"
                )


def _event(subject_id: str, event: str, on: str, reason: str) -> Create:
    return Create("disposition", {"subject_id": subject_id, "event": event, "on": on, "reason": reason or None})
