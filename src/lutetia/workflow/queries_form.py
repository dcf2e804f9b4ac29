"""Data queries: opened by monitors, data managers or a check at entry, answered at the site, closed by who may open.

OPEN → ANSWERED → CLOSED; an answer that does not settle it goes back (OPEN). Every step is a message of the thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.errors import TransitionError, UnknownNameError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Record, Trial, Update, access
from lutetia.trial.schema import key_text, spec_of
from lutetia.workflow.edits import required_text
from lutetia.workflow.signing import record_site

OPEN, ANSWERED, CLOSED = "OPEN", "ANSWERED", "CLOSED"
#: step → states it may start from, state it leads to.
STEPS: dict[str, tuple[tuple[str, ...], str]] = {
    "answer": ((OPEN,), ANSWERED),
    "close": ((OPEN, ANSWERED), CLOSED),
    "reopen": ((ANSWERED, CLOSED), OPEN),
}


@dataclass(frozen=True, slots=True)
class OpenQuery:
    """A question about one field of a record (table and record number)."""

    table: str
    record: int
    field: str
    text: str


@dataclass(frozen=True, slots=True)
class QueryStep:
    """An answer, a closing remark, or why the answer does not settle it; `version` is the one the person saw."""

    query_id: int
    text: str
    version: int | None = None


def open_query(trial: Trial, actor: Actor, command: OpenQuery) -> Receipt:
    """Ask about a saved value; `result` is the query's number.

    Raises
    ------
    AccessDeniedError
        Without the right to open queries at the record's site.
    UnknownNameError
        For a table or field that does not exist.
    """
    text = required_text(command.text, "question")
    spec = spec_of(command.table)

    def change(reader: Reader) -> Change:
        row = reader.record(command.table, command.record)
        site = record_site(reader, command.table, row)
        access.require(actor, "manage_queries", site)
        _check_field(command)
        number = reader.next_number("queries", "query_id")
        values = {
            "query_id": number, "subject_id": row.get("subject_id"), "site": site, "table_name": command.table,
            "record": command.record, "record_key": key_text(spec, row), "field": command.field, "state": OPEN,
            "opened_by": actor.user_id, "opened_at": reader.now, "source": "person",
        }  # fmt: skip
        edits: list[Edit] = [Create("queries", values), _message(reader, actor, number, "open", text)]
        return Change("open_query", edits, result=number)

    return trial.commit(change, actor)


def answer_query(trial: Trial, actor: Actor, command: QueryStep) -> Receipt:
    """Answer an open query at its site."""
    return _step(trial, actor, command, "answer", right="answer_query")


def close_query(trial: Trial, actor: Actor, command: QueryStep) -> Receipt:
    """Close a query whose answer settles it, or that needs none."""
    return _step(trial, actor, command, "close", right="manage_queries")


def reopen_query(trial: Trial, actor: Actor, command: QueryStep) -> Receipt:
    """Send an answer back, or take a closed query up again."""
    return _step(trial, actor, command, "reopen", right="manage_queries")


def read_thread(reader: Reader, query_id: int) -> list[Record]:
    """Messages of a query in order."""
    return sorted(reader.records("query_messages", query_id=query_id), key=lambda row: int(row["seq"]))


def _step(trial: Trial, actor: Actor, command: QueryStep, step: str, *, right: str) -> Receipt:
    text = required_text(command.text, f"text to {step} the query")

    def change(reader: Reader) -> Change:
        query = reader.record("queries", {"query_id": command.query_id})
        access.require(actor, right, query["site"])
        olds, new = STEPS[step]
        if query["state"] not in olds:
            found = f"query {command.query_id}: is {query['state']}"
            raise TransitionError(f"{found}; to {step} it, expected {' or '.join(olds)}; reload the page")
        values = {"state": new}
        if step == "answer":
            values |= {"answered_at": reader.now}
        if step == "close":
            values |= {"closed_by": actor.user_id, "closed_at": reader.now}
        edits: list[Edit] = [
            Update("queries", query["record_id"], values, command.version),
            _message(reader, actor, command.query_id, step, text),
        ]
        return Change(f"{step}_query", edits)

    return trial.commit(change, actor)


def _message(reader: Reader, actor: Actor, query_id: int, kind: str, text: str) -> Create:
    number = reader.next_number("query_messages", "seq", query_id=query_id)
    values = {"query_id": query_id, "seq": number, "kind": kind, "text": text, "user_id": actor.user_id,
              "sent_at": reader.now}  # fmt: skip
    return Create("query_messages", values)


def _check_field(command: OpenQuery) -> None:
    names = spec_of(command.table).names
    if command.field not in names:
        raise UnknownNameError("field", command.field, names, where=command.table)
