"""What waits for a person: every kind of open work, the right that does it, and the records in which it shows.

A person is told of a kind of work only where the right to do it is held, and of that person's sites only; whether it
can be done now, the use case decides. One statement a kind, whatever the number of subjects. To add a kind: a line of
`KINDS`, most urgent kinds first; the pages need a text and an address for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, literal, null, or_, select

from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import AUDIT, DATA
from lutetia.workflow.interim import OPEN
from lutetia.workflow.oversight import reviewed_until

#: A planned cycle is to be assessed from so many days before it (laboratory values hold for as long).
ASSESS_DAYS = 7
#: States of subjects for whom nothing more is due.
OVER = ("SCREEN_FAILED", "COMPLETED", "CONSENT_WITHDRAWN", "LOST", "DEAD")

_T = DATA
_SUBJECTS, _CYCLES, _SERIOUS = _T["subjects"], _T["cycles"], _T["serious_events"]
_RX, _QUERIES, _DEVIATIONS = _T["prescriptions"], _T["queries"], _T["deviations"]


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of open work: `item` is a cycle, query, event, … of its kind; `on` a day or instant, if known."""

    kind: str
    subject_id: str | None
    site: str | None
    item: str
    on: str | None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of work: its name, the right that does it, and the statement that finds it (for an actor and a day)."""

    name: str
    action: str
    found: Callable[[Actor, str], Select[Any]]
    by_site: bool = True


def tasks(reader: Reader, actor: Actor, *, today: str, limit: int) -> dict[str, list[Task]]:
    """Open work of every kind that the actor may do, the most urgent kinds first; at most `limit` of each."""
    found: dict[str, list[Task]] = {}
    for kind in KINDS:
        if not access.may(actor, kind.action):
            continue
        statement = kind.found(actor, today)
        if kind.by_site and (sites := access.visible_sites(actor, kind.action)) is not None:
            statement = statement.where(statement.selected_columns["site"].in_(sorted(sites)))
        rows = reader.rows(statement.limit(limit))
        if rows:
            found[kind.name] = [_task(kind.name, row) for row in rows]
    return found


def unreviewed(reader: Reader, actor: Actor) -> int:
    """Rows of the audit trail that nobody has reviewed yet; 0 for whoever does not read the whole trail unmasked."""
    may_read = access.may(actor, "read_audit") and access.visible_sites(actor, "read_audit") is None
    if not may_read or access.masked(actor, "read_audit"):
        return 0
    last = reader.value(select(AUDIT.c.sequence).order_by(AUDIT.c.sequence.desc()).limit(1)) or 0
    return int(last) - reviewed_until(reader)


def _task(kind: str, row: Record) -> Task:
    item = row["item"]
    return Task(kind, row["subject_id"], row["site"], "" if item is None else str(item), row["on_or_at"])


def _columns(subject: Any, site: Any, item: Any, on: Any) -> tuple[Any, ...]:
    return subject.label("subject_id"), site.label("site"), item.label("item"), on.label("on_or_at")


def _of_subjects(table: Any, item: Any, on: Any, *conditions: ColumnElement[bool]) -> Select[Any]:
    """Records of subjects for whom something may still be due."""
    return (
        select(*_columns(_SUBJECTS.c.subject_id, _SUBJECTS.c.site, item, on))
        .join_from(table, _SUBJECTS, _SUBJECTS.c.subject_id == table.c.subject_id)
        .where(_SUBJECTS.c.state.not_in(OVER), *conditions)
        .order_by(on, _SUBJECTS.c.subject_id)
    )


def _serious(column: str) -> Callable[[Actor, str], Select[Any]]:
    """Serious events of which this is not known, whatever became of the subject."""
    return lambda actor, today: (
        select(*_columns(_SUBJECTS.c.subject_id, _SUBJECTS.c.site, _SERIOUS.c.ae_id, _SERIOUS.c.due_at))
        .join_from(_SERIOUS, _SUBJECTS, _SUBJECTS.c.subject_id == _SERIOUS.c.subject_id)
        .where(_SERIOUS.c[column].is_(None))
        .order_by(_SERIOUS.c.due_at)
    )


def _cycles(*states: str) -> Callable[[Actor, str], Select[Any]]:
    return lambda actor, today: _of_subjects(
        _CYCLES, _CYCLES.c.cycle, _CYCLES.c.planned_on, _CYCLES.c.state.in_(states)
    )


def _to_assess(actor: Actor, today: str) -> Select[Any]:
    until = (date.fromisoformat(today) + timedelta(days=ASSESS_DAYS)).isoformat()
    planned = (_CYCLES.c.state == "PLANNED") & (_CYCLES.c.planned_on <= until)
    return _of_subjects(_CYCLES, _CYCLES.c.cycle, _CYCLES.c.planned_on, or_(planned, _CYCLES.c.state == "HELD"))


def _to_propose(actor: Actor, today: str) -> Select[Any]:
    stands = exists().where(
        _RX.c.subject_id == _CYCLES.c.subject_id,
        _RX.c.cycle == _CYCLES.c.cycle,
        _RX.c.state.in_(("PROPOSED", "OVERRIDE_PENDING")),
    )
    return _of_subjects(_CYCLES, _CYCLES.c.cycle, _CYCLES.c.planned_on, _CYCLES.c.state == "ASSESSED", ~stands)


def _proposals(state: str) -> Callable[[Actor, str], Select[Any]]:
    """Proposals in a state that another person brought there."""

    def found(actor: Actor, today: str) -> Select[Any]:
        others = [or_(c.is_(None), c != actor.user_id) for c in (_RX.c.proposed_by, _RX.c.override_by)]
        return _of_subjects(_RX, _RX.c.cycle, _RX.c.proposed_at, _RX.c.state == state, *others).distinct()

    return found


def _subjects(state: str) -> Callable[[Actor, str], Select[Any]]:
    return lambda actor, today: (
        select(*_columns(_SUBJECTS.c.subject_id, _SUBJECTS.c.site, null(), _SUBJECTS.c.state_on))
        .where(_SUBJECTS.c.state == state)
        .order_by(_SUBJECTS.c.state_on, _SUBJECTS.c.subject_id)
    )


def _to_sign(actor: Actor, today: str) -> Select[Any]:
    """Subjects in screening with consent and an answered checklist."""
    tables = (_T["consents"], _T["eligibility_items"])
    there = [exists().where(table.c.subject_id == _SUBJECTS.c.subject_id) for table in tables]
    return _subjects("SCREENING")(actor, today).where(*there)


def _data_queries(state: str, at: str) -> Callable[[Actor, str], Select[Any]]:
    return lambda actor, today: (
        select(*_columns(_QUERIES.c.subject_id, _QUERIES.c.site, _QUERIES.c.query_id, _QUERIES.c[at]))
        .where(_QUERIES.c.state == state)
        .order_by(_QUERIES.c[at], _QUERIES.c.query_id)
    )


def _deviations(actor: Actor, today: str) -> Select[Any]:
    return _of_subjects(_DEVIATIONS, _DEVIATIONS.c.deviation_id, _DEVIATIONS.c.on, _DEVIATIONS.c.reviewed_by.is_(None))


def _never_verified(actor: Actor, today: str) -> Select[Any]:
    """Subjects of whom no record was ever compared with its source."""
    table = _T["verifications"]
    compared = exists().where(table.c.subject_id == _SUBJECTS.c.subject_id)
    return (
        select(*_columns(_SUBJECTS.c.subject_id, _SUBJECTS.c.site, null(), _SUBJECTS.c.randomised_on))
        .where(_SUBJECTS.c.state != "SCREEN_FAILED", ~compared)
        .order_by(_SUBJECTS.c.randomised_on, _SUBJECTS.c.subject_id)
    )


def _locked_accounts(actor: Actor, today: str) -> Select[Any]:
    users = _T["users"]
    columns = _columns(null(), null(), users.c.user_id, users.c.locked_at)
    return select(*columns).where(users.c.state == "locked").order_by(users.c.locked_at)


def _to_analyse(actor: Actor, today: str) -> Select[Any]:
    snapshots, reports = _T["snapshots"], _T["reports"]
    made = exists().where(reports.c.snapshot_id == snapshots.c.snapshot_id)
    columns = _columns(null(), null(), snapshots.c.snapshot_id, snapshots.c.extracted_at)
    return select(*columns).where(~made).order_by(snapshots.c.extracted_at.desc())


def _reports(*, signed: bool) -> Callable[[Actor, str], Select[Any]]:
    """Analysed snapshots with a file that is signed, or with one that is not; the newest first."""
    reports, covers, signatures = _T["reports"], _T["signature_records"], _T["signatures"]
    covered = exists().where(
        covers.c.table_name == "reports",
        covers.c.record == reports.c.record_id,
        signatures.c.signature_id == covers.c.signature_id,
        signatures.c.state == "valid",
    )
    columns = _columns(null(), null(), reports.c.snapshot_id, reports.c.created_at)
    return lambda actor, today: (
        select(*columns)
        .where(reports.c.kind == OPEN[0], covered if signed else ~covered)
        .order_by(reports.c.created_at.desc())
    )


def _no_list(actor: Actor, today: str) -> Select[Any]:
    """One row while the trial has no randomisation list."""
    made = select(_T["randomisation_schemes"].c.record_id).exists()
    return select(*_columns(null(), null(), literal(""), null())).where(~made)


KINDS: tuple[Kind, ...] = (
    Kind("report", "enter_data", _serious("reported_at")),
    Kind("causality", "sign_forms", _serious("causality")),
    Kind("expectedness", "judge_expectedness", _serious("expectedness")),
    Kind("approve", "release", _proposals("OVERRIDE_PENDING")),
    Kind("release", "release", _proposals("PROPOSED")),
    Kind("administer", "record_administration", _cycles("PRESCRIBED")),
    Kind("propose", "propose", _to_propose),
    Kind("assess", "enter_data", _to_assess),
    Kind("dosimetry", "propose", _cycles("GIVEN")),
    Kind("randomise", "randomise", _subjects("ELIGIBLE")),
    Kind("sign_eligibility", "sign_forms", _to_sign),
    Kind("screening", "enter_data", _subjects("SCREENING")),
    Kind("answer", "answer_query", _data_queries("OPEN", "opened_at")),
    Kind("close", "manage_queries", _data_queries("ANSWERED", "answered_at")),
    Kind("review_deviation", "sign_forms", _deviations),
    Kind("verify", "verify_source", _never_verified),
    Kind("unlock", "manage_users", _locked_accounts, by_site=False),
    Kind("make_list", "generate_list", _no_list, by_site=False),
    Kind("analyse", "run_closed_report", _to_analyse, by_site=False),
    Kind("sign_analysis", "run_closed_report", _reports(signed=False), by_site=False),
    Kind("read_report", "read_closed_report", _reports(signed=True), by_site=False),
)  # fmt: skip
