"""Sign forms: a physician's signature over records of one subject, with its meaning.

Signatures that belong to a step of their own (eligibility, prescriptions, documents) are in those form families.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.errors import IdentityError, InputError
from lutetia.trial import Actor, Change, Reader, Receipt, Record, Sign, Trial, access, queries
from lutetia.trial.records import Touch
from lutetia.trial.schema import spec_of
from lutetia.trial.signatures import Confirmed, printed, signatures_of
from lutetia.workflow.course_records import subject_of
from lutetia.workflow.edits import required_text


@dataclass(frozen=True, slots=True)
class SignForms:
    """Records as (table, record number), all of one subject; `confirmed` comes from `trial.signatures.confirm`.

    `versions` are those of the records that the person saw, in their order; empty compares nothing.
    """

    records: Sequence[tuple[str, int]]
    meaning: str
    confirmed: Confirmed
    versions: Sequence[int] = ()


def sign_forms(trial: Trial, actor: Actor, command: SignForms) -> Receipt:
    """Sign records as they stand now; a later change voids the signature visibly.

    Raises
    ------
    AccessDeniedError
        Without the right to sign at the subject's site.
    IdentityError
        If the records belong to more than one subject, or to none.
    StaleRecordError
        If a record changed since the person saw it.
    """
    meaning = required_text(command.meaning, "meaning of the signature")
    if not command.records:
        raise InputError("signature: found no record; expected one or more to sign")

    def change(reader: Reader) -> Change:
        subject = subject_of_records(reader, command.records)
        access.require(actor, "sign_forms", subject["site"])
        pairs = zip(command.records, command.versions, strict=bool(command.versions))
        seen = [Touch(table, record, version) for (table, record), version in pairs]
        return Change("sign_forms", [*seen, Sign(tuple(command.records), meaning, command.confirmed)])

    return trial.commit(change, actor)


def read_signatures(trial: Trial, actor: Actor, table: str, record: int) -> list[str]:
    """Signatures of a record as they are shown and printed: name, role, time, meaning, and whether they are void."""
    with trial.read() as reader:
        stored = queries.stored_number(reader, actor, record)
        row = reader.record(table, stored)
        site = record_site(reader, table, row)
        access.require(actor, "see_subject", site)
        found = reader.find("sites", {"site": site}) if site else None
        zone = found["timezone"] if found and found["timezone"] else "UTC"
        rows = queries.as_seen(reader, actor, "signatures", signatures_of(reader, table, stored))
        return [printed(signature, zone=zone) for signature in rows]


def record_site(reader: Reader, table: str, row: Record) -> str | None:
    """Site of a record: its own, or its subject's; None for records of the whole trial."""
    names = spec_of(table).names
    if "site" in names and row["site"]:
        return str(row["site"])
    if "subject_id" in names and row["subject_id"]:
        return str(subject_of(reader, row["subject_id"])["site"])
    return None


def subject_of_records(reader: Reader, records: Sequence[tuple[str, int]]) -> Record:
    """The one subject to whom all records belong.

    Raises
    ------
    IdentityError
        If there is none or more than one.
    """
    found = set()
    for table, record in records:
        names = spec_of(table).names
        found.add(reader.record(table, record)["subject_id"] if "subject_id" in names else None)
    if len(found) != 1 or None in found:
        raise IdentityError("signature: found records of several subjects or of none; expected those of one subject")
    return subject_of(reader, str(found.pop()))
