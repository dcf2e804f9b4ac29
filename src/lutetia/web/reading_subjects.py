"""What the lists of subjects ask of the trial, for the subjects of one page: one statement each, whatever their number.

The caller passes subjects that the person may see (from `lutetia.trial.queries`); nothing here reveals an arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import and_, func, select

from lutetia.trial import queries
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import DATA
from lutetia.workflow.tasks import OVER

_VISITS, _QUERIES, _CYCLES, _SUBJECTS = DATA["visits"], DATA["queries"], DATA["cycles"], DATA["subjects"]
_GIVEN = ("GIVEN", "DOSED", "DOSE_MISSING", "CLOSED")


def next_visits(reader: Reader, subjects: Sequence[str]) -> dict[str, Record]:
    """The earliest planned visit of each subject for whom anything is still due."""
    planned = (
        select(_VISITS.c.subject_id, _VISITS.c.visit, _VISITS.c.due_on, _VISITS.c.window_to_on)
        .join(_SUBJECTS, _SUBJECTS.c.subject_id == _VISITS.c.subject_id)
        .where(_VISITS.c.state == "PLANNED", _VISITS.c.subject_id.in_(list(subjects)), _SUBJECTS.c.state.not_in(OVER))
        .order_by(_VISITS.c.due_on.desc())
    )
    return {row["subject_id"]: row for row in reader.rows(planned)}


def open_queries(reader: Reader, actor: Actor, subjects: Sequence[str]) -> dict[str, int]:
    """Number of queries of each subject that are not closed, as far as the person may know of them."""
    shown = queries.visible_pointers(actor, _QUERIES)
    return _counted(reader, _QUERIES, and_(_QUERIES.c.state != "CLOSED", shown), subjects)


def cycles_given(reader: Reader, subjects: Sequence[str]) -> dict[str, int]:
    """Number of cycles of each subject that were given."""
    return _counted(reader, _CYCLES, _CYCLES.c.state.in_(_GIVEN), subjects)


def first_messages(reader: Reader, queries: Sequence[int]) -> dict[int, str]:
    """Text with which each query was opened; for persons from whom the arm is not hidden."""
    table = DATA["query_messages"]
    opened = select(table.c.query_id, table.c.text).where(table.c.seq == 1, table.c.query_id.in_(list(queries)))
    return {row["query_id"]: row["text"] or "" for row in reader.rows(opened)}


def _counted(reader: Reader, table: Any, condition: Any, subjects: Sequence[str]) -> dict[str, int]:
    statement = (
        select(table.c.subject_id, func.count().label("n"))
        .where(condition, table.c.subject_id.in_(list(subjects)))
        .group_by(table.c.subject_id)
    )
    return {row["subject_id"]: row["n"] for row in reader.rows(statement)}


def signed_records(reader: Reader, table: str, records: Sequence[int]) -> dict[int, str]:
    """State of the newest signature of each record that was ever signed: ``valid`` or ``void``."""
    covers, signatures = DATA["signature_records"], DATA["signatures"]
    statement = (
        select(covers.c.record, signatures.c.state)
        .join(signatures, signatures.c.signature_id == covers.c.signature_id)
        .where(covers.c.table_name == table, covers.c.record.in_(list(records)))
        .order_by(covers.c.signature_id)
    )
    return {row["record"]: row["state"] for row in reader.rows(statement)}


def verified_versions(reader: Reader, actor: Actor, table: str, *, subject_id: str) -> dict[int, int]:
    """The highest version of each record of a subject that was verified against its source."""
    rows = queries.records(reader, actor, "verifications", table_name=table, subject_id=subject_id)
    return {row["record"]: row["verified_version"] for row in sorted(rows, key=itemgetter("verified_version"))}
