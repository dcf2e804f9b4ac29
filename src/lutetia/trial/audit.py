"""The audit trail as a SHA-256 chain: how a row is hashed, how the chain is verified, how it is replayed.

Row n holds the hash of row n − 1 and of its own body (old and new values, reason), and its hash covers both:
hash_n = SHA-256(JSON[n, hash_{n−1}, at, actor, session, action, kind, table, record, subject, site, body hash,
software]).
An altered, missing or moved row shows at that row; a cut tail shows against any head that was printed before.
Not here: writing rows (`gateway`) and the two-person redaction of a body (`redaction`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from lutetia.errors import AuditError
from lutetia.trial.reader import Reader, Record
from lutetia.trial.schema import AUDIT, BODIES, DATA, SCHEMA, canonical

GENESIS = "0" * 64
COLUMNS: tuple[str, ...] = tuple(column.name for column in AUDIT.columns)
_BODY_HASH, _TABLE, _RECORD = (COLUMNS.index(name) for name in ("body_hash", "table_name", "record"))
_FETCH = 5000


@dataclass(frozen=True, slots=True)
class Verified:
    """A chain without fault: number of rows, last hash, redacted rows, rows after the head that was asked for."""

    rows: int
    head: str
    redacted: tuple[int, ...] = ()
    rows_after: int | None = None


def row_hash(values: tuple[Any, ...]) -> str:
    """SHA-256 of an audit row's columns but the last, in the order of the table."""
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def head(reader: Reader) -> tuple[int, str]:
    """Last sequence number and hash; (0, zeros) before the first row."""
    found = reader.row(select(AUDIT.c.sequence, AUDIT.c.hash).order_by(AUDIT.c.sequence.desc()).limit(1))
    return (0, GENESIS) if found is None else (found["sequence"], found["hash"])


def verify(reader: Reader, expected_head: str | None = None) -> Verified:
    """Check every row, every body and, if given, that a printed head is part of the chain.

    Parameters
    ----------
    expected_head
        A hash that a signed document, a backup or an earlier check shows.

    Raises
    ------
    AuditError
        Naming the first row that does not verify, or saying that the head is not in the chain.
    """
    previous, sequence, position = GENESIS, 0, 0 if expected_head == GENESIS else None
    replaced: dict[int, str | None] = {}
    redactions: dict[int, Record] = {}
    with closing(_rows(reader)) as rows:
        for *row, body in rows:
            sequence += 1
            _check_row(row, sequence, previous)
            previous = row[-1]
            if body is None or text_hash(body) != row[_BODY_HASH]:
                replaced[sequence] = body
            elif row[_TABLE] == "redactions":
                _note_redaction(redactions, row[_RECORD], json.loads(body)["changes"])
            position = sequence if previous == expected_head else position
    _check_replaced(replaced, redactions)
    if expected_head is not None and position is None:
        text = f"audit: found {sequence} rows without the head {expected_head}; expected it in the chain: rows were cut"
        raise AuditError(f"{text} or replaced after it was printed; restore the last backup")
    after = None if position is None else sequence - position
    return Verified(sequence, previous, tuple(replaced), after)


def _note_redaction(redactions: dict[int, Record], record: int, changes: dict[str, Any]) -> None:
    """What the trail itself tells of a redaction; the first value of each column counts, later ones do not."""
    known = redactions.setdefault(record, {})
    for column, (_, new) in changes.items():
        known.setdefault(column, new)


def _check_replaced(replaced: dict[int, str | None], redactions: dict[int, Record]) -> None:
    told = {
        row.get("target"): row.get("replacement")
        for row in redactions.values()
        if row.get("confirmed_by") not in (None, row.get("proposed_by"))
    }
    for sequence, body in replaced.items():
        if body is None or told.get(sequence) != body:
            raise AuditError(f"audit row {sequence}: its body was altered or is missing; restore the last backup")


def _check_row(row: list[Any], sequence: int, previous: str) -> None:
    if row[0] != sequence:
        raise AuditError(f"audit row {sequence}: is missing; found row {row[0]} in its place; restore the last backup")
    if row[1] != previous:
        raise AuditError(f"audit row {sequence}: does not follow row {sequence - 1}; one of them was replaced")
    if row_hash(tuple(row[:-1])) != row[-1]:
        raise AuditError(f"audit row {sequence}: was altered after it was written; restore the last backup")


def _rows(reader: Reader) -> Generator[Any]:
    statement = select(AUDIT, BODIES.c.body).join(BODIES, BODIES.c.sequence == AUDIT.c.sequence, isouter=True)
    ordered = statement.order_by(AUDIT.c.sequence)
    compiled = str(ordered.compile(reader.connection, compile_kwargs={"literal_binds": True}))
    options = {"yield_per": _FETCH}
    with reader.connection.exec_driver_sql(compiled, execution_options=options) as result:
        for part in result.partitions(_FETCH):
            yield from part


def bodies(reader: Reader, until: str | None = None) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Audit rows with their bodies in order, up to and including an instant (UTC text)."""
    with closing(_rows(reader)) as rows:
        for *row, body in rows:
            record = dict(zip(COLUMNS, row, strict=True))
            if until is not None and record["at"] > until:
                return
            yield record, {} if body is None else json.loads(body)


def replay(reader: Reader, until: str | None = None) -> dict[str, dict[int, Record]]:
    """Rebuild every table as it was at an instant, from the trail alone.

    Returns
    -------
    Records by number, by table; only columns that hold a value.
    """
    state: dict[str, dict[int, Record]] = {name: {} for name in SCHEMA}
    for row, body in bodies(reader, until):
        if row["kind"] == "event":
            continue
        records, number = state[row["table_name"]], row["record"]
        if row["kind"] == "remove":
            records.pop(number)
            continue
        new = {column: pair[1] for column, pair in body.get("changes", {}).items()}
        old = records.get(number, {"record_id": number, "record_version": 0})
        merged = old | new | {"record_version": old["record_version"] + 1}
        records[number] = {column: value for column, value in merged.items() if value is not None}
    return state


def stored_state(reader: Reader) -> dict[str, dict[int, Record]]:
    """Every table as it stands in the database, in the form of `replay`."""
    return {
        name: {row["record_id"]: {c: v for c, v in row.items() if v is not None} for row in reader.rows(select(table))}
        for name, table in DATA.items()
    }


def verify_data(reader: Reader) -> int:
    """Compare every stored record with the trail's replay; returns the number of records.

    Raises
    ------
    AuditError
        Naming the first record that was changed beside the trail.
    """
    told, stored, count = replay(reader), stored_state(reader), 0
    for name in SCHEMA:
        for number in sorted(told[name].keys() | stored[name].keys()):
            count += 1
            expected, found = told[name].get(number), stored[name].get(number)
            if canonical(expected) != canonical(found):
                text = f"{name}: record {number} differs from the audit trail; it was changed beside the gateway"
                raise AuditError(f"{text}; restore the last backup")
    return count
