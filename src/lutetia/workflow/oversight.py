"""Oversight: verification against source documents, and the signed note that the audit trail was reviewed."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from lutetia.errors import InputError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Sign, Touch, Trial, access
from lutetia.trial.schema import AUDIT
from lutetia.trial.signatures import Confirmed
from lutetia.workflow.signing import record_site

AUDIT_REVIEWED = "audit trail reviewed"


@dataclass(frozen=True, slots=True)
class VerifySource:
    """A record that agrees with its source document; `version` is the one the monitor compared."""

    table: str
    record: int
    version: int


@dataclass(frozen=True, slots=True)
class ReviewAudit:
    """The audit trail up to this head hash was reviewed; `note` says what was found."""

    head: str
    note: str
    confirmed: Confirmed


def verify_source(trial: Trial, actor: Actor, command: VerifySource) -> Receipt:
    """Mark a version of a record as agreeing with its source; a later change shows as not verified.

    Raises
    ------
    AccessDeniedError
        Unless a monitor of the record's site asks.
    StaleRecordError, DuplicateRecordError
        If the record changed since it was compared, or this version is verified already.
    """

    def change(reader: Reader) -> Change:
        row = reader.record(command.table, command.record)
        site = record_site(reader, command.table, row)
        access.require(actor, "verify_source", site)
        values = {"table_name": command.table, "record": command.record, "verified_version": command.version,
                  "subject_id": row.get("subject_id"), "site": site, "verified_by": actor.user_id,
                  "verified_at": reader.now}  # fmt: skip
        edits: list[Edit] = [Touch(command.table, command.record, command.version), Create("verifications", values)]
        return Change("verify_source", edits)

    return trial.commit(change, actor)


def verification_state(reader: Reader, table: str, record: int) -> str:
    """``verified``, ``changed`` (verified once, changed since) or ``open``."""
    versions = {row["verified_version"] for row in reader.records("verifications", table_name=table, record=record)}
    if not versions:
        return "open"
    return "verified" if reader.record(table, record)["record_version"] in versions else "changed"


def review_audit(trial: Trial, actor: Actor, command: ReviewAudit) -> Receipt:
    """Record and sign that the trail was reviewed up to a head; `result` is the last row reviewed.

    Raises
    ------
    AccessDeniedError
        Without the right to read the trail of the whole trial.
    InputError
        If the head is not in the chain.
    """
    access.require(actor, "read_audit")

    def change(reader: Reader) -> Change:
        sequence = reader.value(select(AUDIT.c.sequence).where(AUDIT.c.hash == command.head))
        if sequence is None:
            raise InputError(f"audit review: found no row with the head {command.head}; copy it from the audit page")
        number = reader.next_number("audit_reviews", "review_id")
        values = {"review_id": number, "audit_head": command.head, "audit_sequence": sequence,
                  "reviewed_by": actor.user_id, "reviewed_at": reader.now, "note": command.note}  # fmt: skip
        signed = Sign((("audit_reviews", {"review_id": number}),), AUDIT_REVIEWED, command.confirmed)
        return Change("review_audit", [Create("audit_reviews", values), signed], result=sequence)

    return trial.commit(change, actor)


def reviewed_until(reader: Reader) -> int:
    """Last row of the trail that anybody reviewed; 0 before the first review."""
    return max((int(row["audit_sequence"]) for row in reader.records("audit_reviews")), default=0)
