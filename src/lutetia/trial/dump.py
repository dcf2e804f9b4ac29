"""A trial as plain lines: every table, the trail and its bodies, whatever the database; and back into an empty one.

The one form that exports and backups share. A line is a JSON list: table, then the row's values in the order of the
first line of that table. Not here: files, archives, encryption (`exporting`, `backup`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, ProgrammingError

from lutetia.errors import AuditError, InputError
from lutetia.trial import audit
from lutetia.trial.database import REVISIONS, Database
from lutetia.trial.reader import Reader
from lutetia.trial.schema import AUDIT, BODIES, DATA, canonical

FORMAT = "lutetia.dump/1"
_TABLES: dict[str, Table] = {**DATA, AUDIT.name: AUDIT, BODIES.name: BODIES}
_BATCH = 2000


def lines(reader: Reader) -> Iterator[str]:
    """Header, then each table's columns and rows in the order of their number."""
    sequence, head = audit.head(reader)
    yield canonical({"format": FORMAT, "schema": REVISIONS[-1], "audit_sequence": sequence, "audit_head": head})
    for name, table in _TABLES.items():
        yield canonical([name, [column.name for column in table.columns]])
        order = next(iter(table.primary_key.columns))
        result = reader.connection.execute(select(table).order_by(order), execution_options={"yield_per": _BATCH})
        with result:
            for row in result:
                yield canonical([name, list(row)])


def load(database: Database, text: Iterable[str]) -> tuple[int, str]:
    """Fill an empty schema with dumped lines and verify the trail; returns its length and head.

    Raises
    ------
    InputError
        For lines of another format or schema.
    AuditError
        If the trail that was loaded does not verify or does not end as the header says. Nothing is kept then.
    """
    rows = iter(text)
    header = _header(next(rows, ""))
    with database.writing() as connection:
        _insert(connection, rows)
        reader = Reader(connection, "")
        found = audit.verify(reader, header["audit_head"])
        if (found.rows, found.head) != (header["audit_sequence"], header["audit_head"]):
            text_found = f"found {found.rows} audit rows, expected {header['audit_sequence']}"
            raise AuditError(f"restore: {text_found}; the file was cut or mixed; use another copy")
    return found.rows, found.head


def content_hash(reader: Reader) -> str:
    """SHA-256 over every line: equal for two databases with the same content, whatever their kind."""
    digest = hashlib.sha256()
    for line in lines(reader):
        digest.update(line.encode())
    return digest.hexdigest()


def _header(line: str) -> dict[str, Any]:
    try:
        header = json.loads(line)
        if header["format"] != FORMAT:
            raise ValueError(header["format"])
        if not isinstance(header["audit_sequence"], int) or not isinstance(header["audit_head"], str):
            raise TypeError("no length and head of the trail")
        known = header["schema"] in REVISIONS
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"dump: found another kind of file ({error}); expected one that Lutetia wrote") from error
    if not known:
        text = f"dump: found schema {header['schema']}, expected one of {', '.join(REVISIONS)}"
        raise InputError(f"{text}; it was written by a newer program; install that one")
    return dict(header)


def _line(text: str, number: int, columns: dict[str, list[str]]) -> tuple[str, list[Any]]:
    """Table and values of a line; its first line names the columns of a table."""
    try:
        name, values = json.loads(text)
        if name not in _TABLES:
            raise ValueError(f"unknown table {name!r}")
        if name in columns and len(values) != len(columns[name]):
            raise ValueError(f"{len(values)} values for {len(columns[name])} columns of {name}")
        if name not in columns and (unknown := set(values) - {c.name for c in _TABLES[name].columns}):
            raise ValueError(f"unknown column {sorted(unknown)[0]!r} of {name}")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"dump, line {number}: cannot be read ({error}); the file was cut or mixed") from error
    return name, values


def _insert(connection: Any, rows: Iterator[str]) -> None:
    columns: dict[str, list[str]] = {}
    pending: list[dict[str, Any]] = []
    current = ""
    for number, line in enumerate(rows, start=2):
        name, values = _line(line, number, columns)
        if name not in columns:
            columns[name] = values
            continue
        if pending and (name != current or len(pending) >= _BATCH):
            _insert_rows(connection, current, pending)
            pending = []
        current = name
        pending.append(dict(zip(columns[name], values, strict=True)))
    if pending:
        _insert_rows(connection, current, pending)


def _insert_rows(connection: Any, name: str, rows: list[dict[str, Any]]) -> None:
    try:
        connection.execute(_TABLES[name].insert(), rows)
    except (DataError, IntegrityError, InterfaceError, ProgrammingError, OverflowError) as error:
        found = str(getattr(error, "orig", error)).splitlines()[0]
        raise InputError(f"dump, table {name}: cannot be stored ({found}); the file was cut or mixed") from error
