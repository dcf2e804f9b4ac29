"""What an administration would be recorded as, before it is: the activity at the start of infusion and its deviations.

Here: looking only; nothing is written. Not here: recording (`administration`).
"""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.trial.records import Actor
from lutetia.trial.store import Trial
from lutetia.workflow.administration import NuclideGiven, amounts, check_unit, checked_part, part_deviations
from lutetia.workflow.edits import allowed_subject
from lutetia.workflow.proposal import prescription_rows


@dataclass(frozen=True, slots=True)
class GivenCheck:
    """One nuclide as it would be stored; `deviations` are (kind, severity, description)."""

    nuclide: str
    administered_MBq: float
    prescribed_MBq: float
    deviations: tuple[tuple[str, str, str], ...]


def check_given(trial: Trial, actor: Actor, subject_id: str, cycle: int, part: NuclideGiven) -> GivenCheck:
    """The activity given of one nuclide and the deviations that it would make.

    Raises
    ------
    InputError
        For values, units or times that cannot be, or a batch that cannot have been used.
    MissingRecordError
        If the cycle has no prescription, or the batch was never received.
    """
    allowed_subject(trial, actor, "record_administration", subject_id)
    with trial.read() as reader:
        rows = {r["nuclide"]: r for r in prescription_rows(reader, subject_id, cycle)}
        prescribed = float(rows[part.nuclide]["prescribed_MBq"]) if part.nuclide in rows else 0.0
        checked = checked_part(reader, part, subject_id, part.nuclide)
        check_unit(checked, prescribed, part.nuclide)
        values = amounts(part, checked)
        found = part_deviations(reader, part, values, prescribed)
    return GivenCheck(part.nuclide, float(values["administered_MBq"]), prescribed, tuple(found))
