"""What a masked reader's own view of the trial holds, and the numbers by which it counts.

The trail numbers every row, records are numbered by their first row, and queries, signatures, locks and deviations have
numbers of their own: a gap in any of them would tell that something hidden was recorded, such as the second nuclide of
a cycle. So a masked reader gets places among what this reader sees: row 7 is the seventh row of the masked trail,
record 7 the one that this row created, version 2 the second that differs in a visible column. Nothing of this is
stored; it follows from the trail alone, which only grows, so a number never changes.
Here: which rows and records are in the view, their numbers, and the way back. Not here: which tables and columns are
hidden (`masking`), who is masked (`access`).
"""

from __future__ import annotations

import json
import threading
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, Select, or_, select, union_all

from lutetia.trial import masking
from lutetia.trial.reader import Reader, Record
from lutetia.trial.schema import AUDIT, BODIES, DATA, SCHEMA, key_text

#: Columns that hold a number by which something is counted: a row of the trail (or a record, by its first row), a
#: version of the record in the column `record`, or a number of the named table.
_NUMBERS: dict[tuple[str, str], str] = {
    ("queries", "record"): "row", ("verifications", "record"): "row", ("locks", "record"): "row",
    ("snapshots", "audit_sequence"): "row", ("audit_reviews", "audit_sequence"): "row", ("redactions", "target"): "row",
    ("verifications", "verified_version"): "version", ("queries", "query_id"): "queries",
    ("query_messages", "query_id"): "queries", ("signatures", "signature_id"): "signatures",
    ("delegations", "signature_id"): "signatures", ("locks", "lock_id"): "locks", ("notices", "notice_id"): "notices",
    ("deviations", "deviation_id"): "deviations",
}  # fmt: skip
#: Tables whose records have a number of their own, with the column that holds it; deviations count by subject.
_COUNTED = {"queries": "query_id", "signatures": "signature_id", "locks": "lock_id", "notices": "notice_id",
            "deviations": "deviation_id"}  # fmt: skip


@dataclass(slots=True)
class MaskedView:
    """The masked view of one database, as far as it was read; it is carried on where the trail has grown."""

    last: int = 0
    rows: array[int] = field(default_factory=lambda: array("q"))
    hidden: set[int] = field(default_factory=set)
    versions: dict[int, int] = field(default_factory=dict)
    unseen: dict[int, list[int]] = field(default_factory=dict)
    places: dict[str, dict[Any, int]] = field(default_factory=lambda: {name: {} for name in _COUNTED})
    lock: threading.Lock = field(default_factory=threading.Lock)

    def place(self, sequence: int) -> int:
        """Number of visible rows up to a row of the trail: for a visible row its own number."""
        return bisect_right(self.rows, sequence)

    def sees(self, sequence: int) -> bool:
        """Whether a row of the trail, or the record that it created, is in the view."""
        place = self.place(sequence)
        return place > 0 and self.rows[place - 1] == sequence

    def sequence(self, place: int) -> int | None:
        """The row of the trail, or the record, of a number of the view; None where there is none."""
        return self.rows[place - 1] if 0 < place <= len(self.rows) else None

    def version(self, record: int, version: int) -> int:
        """Number of versions up to this one that differ in a visible column."""
        return version - bisect_right(self.unseen.get(record, ()), version)

    def records(self, table: str, rows: Iterable[Record]) -> list[Record]:
        """Records of one table as a masked reader sees them: hidden ones left out, values masked, own numbers."""
        if table in masking.HIDDEN_TABLES:
            return []
        return [self._record(table, row) for row in rows if self.sees(int(row["record_id"]))]

    def stored(self, table: str, where: Mapping[str, Any]) -> dict[str, Any] | None:
        """Equalities by own numbers as equalities of the database; None where no record can have such a number."""
        found = dict(where)
        for name, value in where.items():
            kind = "row" if name == "record_id" else _NUMBERS.get((table, name))
            if kind is None or value is None:
                continue
            raw = self.sequence(int(value)) if kind == "row" else self._counted(kind, where, value)
            if raw is None:
                return None
            found[name] = raw
        return found

    def changes(self, table: str, record: int | None, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Old and new values of a row of the trail, masked and with own numbers."""
        shown = masking.visible_changes(table, changes, masked=True)
        about = {name: pair[1] if pair[1] is not None else pair[0] for name, pair in changes.items()}
        about = {"record_id": record, **about}
        return {name: [self._value(table, name, value, about) for value in pair] for name, pair in shown.items()}

    def key(self, table: str, text: str) -> str:
        """The key of a record in words, with own numbers."""
        if not any(named == table for named, _ in _NUMBERS):
            return text
        names, parts = SCHEMA[table].keys, text.split(" / ")
        if len(names) != len(parts):
            return masking.HIDDEN
        about = dict(zip(names, parts, strict=True))
        numbers = {n: int(v) if SCHEMA[table].types[n] == "int" else v for n, v in about.items()}
        return key_text(SCHEMA[table], {n: self._value(table, n, v, numbers) for n, v in numbers.items()})

    def _record(self, table: str, row: Record) -> Record:
        shown = masking.visible_record(table, row, masked=True)
        found = {name: self._value(table, name, value, row) for name, value in shown.items()}
        number = int(row["record_id"])
        version = self.version(number, int(row["record_version"]))
        return found | {"record_id": self.place(number), "record_version": version}

    def _value(self, table: str, column: str, value: Any, about: Mapping[str, Any]) -> Any:
        kind = _NUMBERS.get((table, column))
        if kind is None or value is None or value == masking.HIDDEN:
            return value
        if kind == "row":
            return self.place(int(value))
        if kind == "version":
            return self.version(int(about["record"]), int(value))
        place = self.places[kind].get(_counted_by(kind, about, value), 0)
        return f"{place:03d}" if isinstance(value, str) else place

    def _counted(self, kind: str, about: Mapping[str, Any], shown: Any) -> Any:
        """The stored number behind one of the view."""
        for stored, place in self.places[kind].items():
            subject, number = stored if kind == "deviations" else (None, stored)
            if place == int(shown) and about.get("subject_id") in (None, subject):
                return number
        return None

    def extend(self, reader: Reader) -> None:
        """Take in the rows that were written since."""
        named = (AUDIT.c.sequence, AUDIT.c.table_name, AUDIT.c.kind, AUDIT.c.action, AUDIT.c.record)
        with self.lock:
            statement = select(*named).where(AUDIT.c.sequence > self.last).order_by(AUDIT.c.sequence)
            fresh = reader.connection.execute(statement).all()
            if not fresh:
                return
            self.hidden.update(row["record_id"] for row in reader.rows(_hidden_records(self.last)))
            changed, targets = _changed_columns(reader, self.last), _redacted(reader, self.last)
            for sequence, table, kind, action, record in fresh:
                if kind == "event":
                    visible = action in masking.OPEN_EVENTS
                else:
                    visible = table not in masking.HIDDEN_TABLES and self._shows(record, targets)
                if visible and sequence in changed:
                    visible = self._differs(record, changed[sequence], masking.HIDDEN_COLUMNS[table])
                if visible:
                    self.rows.append(sequence)
            for table in _COUNTED.keys() & {row[1] for row in fresh}:
                self._count(reader, table)
            self.last = int(fresh[-1][0])

    def _shows(self, record: int, targets: Mapping[int, int]) -> bool:
        """Whether a record is in the view, as far as its own values tell; that of a redaction if its row is."""
        if record in targets and not self.sees(targets[record]):
            self.hidden.add(record)
        return record not in self.hidden

    def _differs(self, record: int, columns: Sequence[str], concealed: frozenset[str]) -> bool:
        """Count a change of a record, and say whether a visible column is among the changed ones."""
        version = self.versions[record] = self.versions.get(record, 1) + 1
        if set(columns) <= concealed:
            self.unseen.setdefault(record, []).append(version)
            return False
        return True

    def _count(self, reader: Reader, table: str) -> None:
        """Number the fresh records of a table in their order, deviations within their subject."""
        found, places = DATA[table], self.places[table]
        by_subject = table == "deviations"
        counted = Counter(key[0] if by_subject else None for key in places)
        for row in reader.rows(select(found).where(found.c.record_id > self.last).order_by(found.c.record_id)):
            if row["record_id"] not in self.hidden:
                family = row["subject_id"] if by_subject else None
                counted[family] += 1
                places[_counted_by(table, row, row[_COUNTED[table]])] = counted[family]


_MAKING = threading.Lock()
_VIEWS: WeakKeyDictionary[Engine, MaskedView] = WeakKeyDictionary()
#: Connections of readers for whom the view was carried on; a reader sees one state of the database.
_READ: WeakSet[Connection] = WeakSet()


def masked_view(reader: Reader) -> MaskedView:
    """The masked view of the reader's database, with every row that the reader can see."""
    engine = reader.connection.engine
    with _MAKING:
        view = _VIEWS.setdefault(engine, MaskedView())
        fresh = reader.connection not in _READ
        _READ.add(reader.connection)
    if fresh:
        view.extend(reader)
    return view


def seen_records(reader: Reader, table: str, rows: Iterable[Record], *, masked: bool) -> list[Record]:
    """Records of one table without secrets and, for a masked reader, as the masked view has them."""
    if masked:
        return masked_view(reader).records(table, rows)
    return [masking.visible_record(table, row, masked=False) for row in rows]


def _counted_by(table: str, about: Mapping[str, Any], number: Any) -> Any:
    return (about.get("subject_id"), number) if table == "deviations" else number


def _hidden_records(last: int) -> Select[Any]:
    """Records that are hidden although their table is not: they point to something hidden, or their kind tells."""
    conditions: dict[str, Any] = {
        name: DATA[name].c.table_name.in_(masking.POINTED_AWAY)
        for name in ("queries", "verifications", "locks", "missing_reasons")
    }
    for name, kinds in masking.OPEN_KINDS.items():
        conditions[name] = or_(DATA[name].c.kind.is_(None), DATA[name].c.kind.not_in(kinds))
    for name, (via, number) in {"query_messages": ("queries", "query_id"),
                                "signatures": ("signature_records", "signature_id")}.items():  # fmt: skip
        away = select(DATA[via].c[number]).where(DATA[via].c.table_name.in_(masking.POINTED_AWAY))
        conditions[name] = DATA[name].c[number].in_(away)
    found = [
        select(DATA[name].c.record_id).where(DATA[name].c.record_id > last, where) for name, where in conditions.items()
    ]
    return select(union_all(*found).subquery())


def _changed_columns(reader: Reader, last: int) -> dict[int, tuple[str, ...]]:
    """Names of the columns that each update of a partly hidden table changed, by row of the trail."""
    statement = (
        select(AUDIT.c.sequence, BODIES.c.body)
        .join(BODIES, BODIES.c.sequence == AUDIT.c.sequence)
        .where(
            AUDIT.c.sequence > last, AUDIT.c.kind == "update", AUDIT.c.table_name.in_(sorted(masking.HIDDEN_COLUMNS))
        )
    )
    return {row["sequence"]: tuple(json.loads(row["body"])["changes"]) for row in reader.rows(statement)}


def _redacted(reader: Reader, last: int) -> dict[int, int]:
    """Row of the trail that each redaction is about, by record."""
    table = DATA["redactions"]
    rows = reader.rows(select(table.c.record_id, table.c.target).where(table.c.record_id > last))
    return {row["record_id"]: row["target"] for row in rows}
