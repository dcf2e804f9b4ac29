"""Protocol deviations: recorded by people or by the checks of other forms, and reviewed by a physician."""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.errors import MissingRecordError, TransitionError
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor, Change, Receipt, Update
from lutetia.trial.store import Trial
from lutetia.workflow.edits import allowed_subject, deviation_edits, local_now, refuse_twin, required_text
from lutetia.workflow.entry_checks import check_form


@dataclass(frozen=True, slots=True)
class RecordDeviation:
    """What happened otherwise than the protocol says."""

    subject_id: str
    on: str
    kind: str
    severity: str
    description: str


@dataclass(frozen=True, slots=True)
class ReviewDeviation:
    """A physician has looked at a deviation; `assessment` says what follows from it."""

    subject_id: str
    deviation_id: str
    assessment: str
    version: int | None = None


def record_deviation(trial: Trial, actor: Actor, command: RecordDeviation) -> str:
    """Store a deviation and return its number.

    Raises
    ------
    InputError
        For values that cannot be.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        entered = {n: getattr(command, n) for n in ("on", "kind", "severity", "description")}
        values = check_form("deviations", entered, now=local_now(reader, command.subject_id), where="deviation").values
        known = reader.records("deviations", subject_id=command.subject_id)
        refuse_twin(known, values, "deviation_id", "deviation")
        row = (values["kind"], values["severity"], values["description"])
        (edit,) = deviation_edits(reader, command.subject_id, [row], on=values["on"])
        return Change("record_deviation", [edit], result=edit.values["deviation_id"])  # type: ignore[union-attr]

    return str(trial.commit(change, actor).result)


def review_deviation(trial: Trial, actor: Actor, command: ReviewDeviation) -> Receipt:
    """A physician's review; it is done once.

    Raises
    ------
    MissingRecordError
        If there is no such deviation.
    TransitionError
        If it was reviewed already.
    """
    allowed_subject(trial, actor, "sign_forms", command.subject_id)
    assessment = required_text(command.assessment, "assessment")

    def change(reader: Reader) -> Change:
        key = {"subject_id": command.subject_id, "deviation_id": command.deviation_id}
        row = reader.find("deviations", key)
        if row is None:
            raise MissingRecordError(f"subject {command.subject_id}: has no deviation {command.deviation_id}")
        if row["reviewed_by"]:
            raise TransitionError(f"deviation {command.deviation_id}: was reviewed by {row['reviewed_by']} already")
        review = {"reviewed_at": reader.now, "assessment": assessment}
        further = {**(row["further"] or {}), "review": review}
        values = {"reviewed_by": actor.user_id, "further": further}
        return Change("review_deviation", [Update("deviations", int(row["record_id"]), values, command.version)])

    return trial.commit(change, actor, "reviewed")
