"""Why a value is missing: not done, unknown, not applicable or below detection; never an empty field without a word."""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.errors import InputError, LockedRecordError, MissingRecordError
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.schema import TableSpec, key_text, spec_of
from lutetia.trial.store import Trial
from lutetia.workflow.edits import allowed_subject
from lutetia.workflow.locks import open_locks

MISSING_CODES = ("not done", "unknown", "not applicable", "below detection")
_SPELLINGS = {
    "nd": "not done",
    "unk": "unknown",
    "na": "not applicable",
    "n/a": "not applicable",
    "bld": "below detection",
    "<lod": "below detection",
}


@dataclass(frozen=True, slots=True)
class RecordMissing:
    """One field of one form that has no value; `key` in words, such as ``DUO-014 / 2026-03-02``.

    `version` is that of the stored reason that the person saw, 0 where there was none; None compares nothing.
    """

    subject_id: str
    table: str
    key: str
    field: str
    code: str
    note: str = ""
    reason: str | None = None
    version: int | None = None


def missing_code(text: str) -> str:
    """One of `MISSING_CODES`, written in any accepted way.

    Raises
    ------
    InputError
        For another word.
    """
    plain = text.strip().lower().replace("_", " ").replace("-", " ")
    plain = _SPELLINGS.get(plain, plain)
    if plain not in MISSING_CODES:
        raise InputError(f"missing_reason: found {text!r}; expected one of {', '.join(MISSING_CODES)}")
    return plain


def record_missing(trial: Trial, actor: Actor, command: RecordMissing) -> Receipt:
    """Say why a field has no value; saying something else later needs a reason.

    Raises
    ------
    InputError
        For an unknown code, table or field, and a field that has a value.
    MissingRecordError, LockedRecordError
        If there is no such record, or it is locked.
    ReasonRequiredError
        If another code was stored.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)
    code, spec = missing_code(command.code), spec_of(command.table)
    if command.field not in spec.names:
        raise InputError(f"{command.table}: has no field {command.field!r}; expected one of {', '.join(spec.names)}")
    if spec.keys[0] != "subject_id" or command.key.split(" / ")[0] != command.subject_id:
        raise InputError(f"{command.table} {command.key}: is no form of subject {command.subject_id}; expected its own")
    key = {"table_name": command.table, "record_key": command.key, "field": command.field}

    def change(reader: Reader) -> Change:
        _require_empty(reader, spec, command)
        values = {"reason": code, "note": command.note or None, "recorded_by": actor.user_id, "recorded_at": reader.now}
        edit: Edit = Create("missing_reasons", {**key, **values, "subject_id": command.subject_id,
                                                "site": subject["site"]})  # fmt: skip
        if (stored := reader.find("missing_reasons", key)) is not None:
            said = (stored["reason"], stored["note"]) == (values["reason"], values["note"])
            edit = (
                Update("missing_reasons", key, {}) if said else Update("missing_reasons", key, values, command.version)
            )
        return Change("record_missing", [edit])

    return trial.commit(change, actor, command.reason)


def _require_empty(reader: Reader, spec: TableSpec, command: RecordMissing) -> None:
    """Refuse a record that is not there, that has the value, or that may not be changed."""
    where = f"{spec.name} {command.key}"
    rows = reader.records(spec.name, subject_id=command.subject_id)
    row = next((r for r in rows if key_text(spec, r) == command.key), None)
    if row is None:
        raise MissingRecordError(f"{where}: is not in this trial; enter the form first, with what is known")
    if row[command.field] not in (None, ""):
        raise InputError(
            f"{where}: {command.field}: found the value {row[command.field]}; expected none; correct it first"
        )
    for lock in open_locks(reader, command.subject_id):
        if lock["table_name"] in (None, spec.name) and lock["record"] in (None, row["record_id"]):
            raise LockedRecordError(f"{where}: found the {lock['level']} locked since {lock['locked_at']}; expected it "
                                    "open; ask the data manager to unlock it with a reason")  # fmt: skip
