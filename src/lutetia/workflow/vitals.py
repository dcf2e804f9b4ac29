"""Weight and performance status, and concomitant treatments that the analysis needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lutetia.errors import InputError
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import refuse_after_death, subject_of, weight_of
from lutetia.workflow.edits import allowed_subject, changed_record, local_now, query_edits
from lutetia.workflow.entry_checks import SoftFinding, check_form, dates_in_order

WEIGHT_CHANGE = 0.15  # assumption: a larger change since the last weight is asked about


@dataclass(frozen=True, slots=True)
class RecordVitals:
    """Weight and ECOG status of a day; `reason` is needed where stored values change.

    `version` is that of the record that the person saw, 0 where there was none; None compares nothing. Of a record that
    the person saw, a field without value is emptied; else it stays as it is.
    """

    subject_id: str
    taken_on: str
    weight_kg: float | None = None
    ecog: int | None = None
    reason: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class RecordTreatment:
    """A concomitant treatment: transfusion, growth factor, anticoagulant or nephrotoxic drug; open without an end.

    `version` as in `RecordVitals`.
    """

    subject_id: str
    kind: str
    started_on: str
    agent: str = ""
    ended_on: str | None = None
    reason: str | None = None
    version: int | None = None


def record_vitals(trial: Trial, actor: Actor, command: RecordVitals) -> Receipt:
    """Store weight and ECOG status; a weight far from the last one opens a query.

    Raises
    ------
    InputError
        For values that cannot be, or a form without any.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)
    if command.weight_kg is None and command.ecog is None:
        raise InputError("vitals: found neither weight nor ECOG status; enter one, or record why it is missing")

    def change(reader: Reader) -> Change:
        entered = {"taken_on": command.taken_on, "weight_kg": command.weight_kg, "ecog": command.ecog}
        found = check_form("vitals", entered, now=local_now(reader, command.subject_id))
        refuse_after_death(reader, command.subject_id, found.values["taken_on"], "vitals: taken_on")
        findings = [*found.findings, *_jump(reader, command.subject_id, found.values)]
        key = {"subject_id": command.subject_id, "taken_on": found.values["taken_on"]}
        return Change("record_vitals", _saved(reader, "vitals", key, found.values, command.version)
                      + query_edits(reader, findings, subject_id=command.subject_id, site=subject["site"],
                                    table="vitals", values={**key, **found.values}))  # fmt: skip

    return trial.commit(change, actor, command.reason)


def record_treatment(trial: Trial, actor: Actor, command: RecordTreatment) -> Receipt:
    """Store a concomitant treatment, or its end.

    Raises
    ------
    InputError
        For values that cannot be.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        entered = {"kind": command.kind, "started_on": command.started_on, "ended_on": command.ended_on,
                   "agent": command.agent}  # fmt: skip
        values = check_form("treatments", entered, now=local_now(reader, command.subject_id), where="treatment").values
        dates_in_order(values, ("started_on", "ended_on"), where="treatment")
        for name in ("started_on", "ended_on"):
            refuse_after_death(reader, command.subject_id, values.get(name) or "", f"treatment: {name}")
        key = {"subject_id": subject_of(reader, command.subject_id)["subject_id"], "kind": values["kind"],
               "started_on": values["started_on"]}  # fmt: skip
        return Change("record_treatment", _saved(reader, "treatments", key, values, command.version))

    return trial.commit(change, actor, command.reason)


def _saved(reader: Reader, table: str, key: dict[str, Any], values: dict[str, Any], version: int | None) -> list[Edit]:
    """A new record, or new values of the stored one; what is empty is emptied only where the person saw the record."""
    stored = reader.find(table, key)
    if stored is None:
        return [Create(table, {**values, **key})]
    new = {name: value for name, value in values.items() if (value is not None or version) and name not in key}
    return [changed_record(table, stored, new, version)]


def _jump(reader: Reader, subject_id: str, values: dict[str, Any]) -> list[SoftFinding]:
    before = weight_of(reader, subject_id, until=values["taken_on"])
    weight = values.get("weight_kg")
    if weight is None or before is None or abs(weight / before - 1.0) <= WEIGHT_CHANGE:
        return []
    return [SoftFinding("weight_kg", f"weight {weight:g} kg after {before:g} kg; is it right?")]
