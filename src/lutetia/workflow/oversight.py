"""Oversight: verification against source documents, and the signed note that the audit trail was reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from lutetia.errors import AccessDeniedError, DuplicateRecordError, InputError, StaleRecordError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Sign, Trial, access
from lutetia.trial.schema import AUDIT, key_text, spec_of
from lutetia.trial.signatures import Confirmed
from lutetia.workflow.signing import record_site

AUDIT_REVIEWED = "audit trail reviewed"


@dataclass(frozen=True, slots=True)
class VerifySource:
    """Records that agree with their source documents: table, number, and the version that the monitor compared."""

    records: Sequence[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class ReviewAudit:
    """The audit trail up to this head hash was reviewed; `note` says what was found."""

    head: str
    note: str
    confirmed: Confirmed


def verify_source(trial: Trial, actor: Actor, command: VerifySource) -> Receipt:
    """Mark versions of records as agreeing with their sources, all or none; a later change shows as not verified.

    What is verified already stays as it is; `result` is how many were marked now.

    Raises
    ------
    AccessDeniedError
        Unless a monitor of every record's site asks.
    InputError
        If no record is named.
    StaleRecordError
        If records changed since they were compared; all of them are named and none is marked.
    DuplicateRecordError
        If every one of these versions is verified already.
    """
    if not command.records:
        raise InputError("source verification: found no record; expected at least one; tick one or more")

    def change(reader: Reader) -> Change:
        stale: list[str] = []
        edits: list[Edit] = []
        for table, record, version in dict.fromkeys(command.records):
            row = reader.record(table, record)
            site = record_site(reader, table, row)
            access.require(actor, "verify_source", site)
            if row["record_version"] != version:
                stale.append(f"{table} {key_text(spec_of(table), row)}")
            key = {"table_name": table, "record": record, "verified_version": version}
            if reader.find("verifications", key) is None:
                values = {"subject_id": row.get("subject_id"), "site": site, "verified_by": actor.user_id,
                          "verified_at": reader.now}  # fmt: skip
                edits.append(Create("verifications", key | values))
        _refuse_stale(stale)
        if not edits:
            raise DuplicateRecordError(
                "source verification: found all of these records verified; expected one that is not"
            )
        return Change("verify_source", edits, result=len(edits))

    return trial.commit(change, actor)


def _refuse_stale(named: Sequence[str]) -> None:
    if named:
        raise StaleRecordError(
            f"source verification: found {', '.join(named)} changed since you compared; nothing was marked; compare "
            "what is saved now, then mark again"
        )


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
        Unless the person reads every row of the trail: at all sites and unmasked.
    InputError
        If the head is not in the chain.
    """
    if not access.reads_whole_trail(actor):
        held = ", ".join(sorted(actor.roles)) or "none"
        raise AccessDeniedError(f"audit review: found the roles {held}; expected one from whom no row is hidden")

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
