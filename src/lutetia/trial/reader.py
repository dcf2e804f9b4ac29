"""Reading a trial: one transaction in which nothing can be written; rows come as plain dictionaries.

Here: the connection's reading side. Not here: what a person may see (`access`, `masking`, `queries`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Executable, Select, Table, and_, bindparam, func, select

from lutetia.errors import MissingRecordError, UnknownNameError
from lutetia.trial.records import Change, Key
from lutetia.trial.schema import DATA, key_text, spec_of

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """Queries on one state of the database.

    Parameters
    ----------
    connection
        In its transaction.
    now
        The trial's time at which the reading began (UTC text).
    kept
        Records that were read before, given again (as copies) to whoever asks the same; only for a short reading, in
        which nothing is written.
    """

    connection: Connection
    now: str
    kept: dict[Any, list[Record]] | None = None

    def rows(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> list[Record]:
        """All rows of a SELECT."""
        found = self.connection.execute(statement, parameters or {})
        names = tuple(found.keys())
        return [dict(zip(names, row, strict=True)) for row in found]

    def row(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Record | None:
        """First row of a SELECT, or None."""
        found = self.connection.execute(statement, parameters or {}).mappings().first()
        return None if found is None else dict(found)

    def value(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """First column of the first row, or None."""
        return self.connection.execute(statement, parameters or {}).scalar()

    def records(self, table: str, **where: Any) -> list[Record]:
        """Records whose columns equal `where`, in the order of their key."""
        if self.kept is None:
            return self.rows(*_prepared(table, where))
        asked = (table, frozenset(where.items()))
        if asked not in self.kept:
            self.kept[asked] = self.rows(*_prepared(table, where))
        return [dict(row) for row in self.kept[asked]]

    def find(self, table: str, key: Key) -> Record | None:
        """The record with this number or key, or None."""
        return next(iter(self.records(table, **key_condition(table, key))), None)

    def record(self, table: str, key: Key) -> Record:
        """The record with this number or key.

        Raises
        ------
        MissingRecordError
            If there is none.
        """
        found = self.find(table, key)
        if found is None:
            named = str(key) if isinstance(key, int) else key_text(spec_of(table), key)
            raise MissingRecordError(f"{table}: found no record {named}; expected an existing one; reload the page")
        return found

    def count(self, table: str, **where: Any) -> int:
        """Number of records whose columns equal `where`."""
        found = DATA[spec_of(table).name]
        return int(self.value(select(func.count()).select_from(found).where(_equal(found, where))))

    def next_number(self, table: str, column: str, **where: Any) -> int:
        """One more than the greatest value of an integer column; safe inside a change only."""
        found = DATA[spec_of(table).name]
        return int(self.value(select(func.max(found.c[column])).where(_equal(found, where))) or 0) + 1


#: A change, or a function that reads inside the write lock and then says what to change.
ChangeSource = Change | Callable[[Reader], Change]


def select_records(table: str, where: Mapping[str, Any]) -> Select[Any]:
    """SELECT of all columns of a table under equalities, ordered by key."""
    spec = spec_of(table)
    found = DATA[spec.name]
    order = [found.c[name] for name in spec.keys]
    return select(found).where(_equal(found, where)).order_by(*order)


def _prepared(table: str, where: Mapping[str, Any]) -> tuple[Select[Any], dict[str, Any]]:
    """`select_records` with its values apart, so that the statement is put together once for each set of columns."""
    given = {name: value for name, value in where.items() if value is not None}
    absent = tuple(name for name in where if name not in given)
    return _statement(table, tuple(given), absent), given


@lru_cache(maxsize=1024)
def _statement(table: str, given: tuple[str, ...], absent: tuple[str, ...]) -> Select[Any]:
    return select_records(table, {**{name: bindparam(name) for name in given}, **dict.fromkeys(absent)})


def key_condition(table: str, key: Key) -> dict[str, Any]:
    """Equalities that name one record: its number, or every key column (absent ones are empty).

    Raises
    ------
    UnknownNameError
        If `key` holds a column that is not part of the key.
    """
    if isinstance(key, int):
        return {"record_id": key}
    spec = spec_of(table)
    for name in key:
        if name not in spec.keys:
            raise UnknownNameError("key column", name, spec.keys, where=table)
    return {name: key.get(name) for name in spec.keys}


def _equal(table: Table, where: Mapping[str, Any]) -> Any:
    for name in where:
        if name not in table.c:
            raise UnknownNameError("column", name, table.c.keys(), where=table.name)
    return and_(True, *(table.c[n].is_(None) if v is None else table.c[n] == v for n, v in where.items()))
