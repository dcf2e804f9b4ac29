"""Reading for people: every function takes the reader and the actor, keeps to the actor's sites and masks.

Here: records of subjects, tables, lists of people, counts for an overview. The audit trail is in `queries_audit`. Not
here: writing. To add a query: a function that asks `_scope` first and passes its rows through `masking`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import false, func, select, true

from lutetia.errors import AccessDeniedError, MissingRecordError
from lutetia.trial.access import masked, may, require, visible_sites
from lutetia.trial.masked_view import masked_view, seen_records
from lutetia.trial.masking import POINTED_AWAY, hidden_table, require_open_columns
from lutetia.trial.reader import Reader, Record, select_records
from lutetia.trial.records import Actor
from lutetia.trial.schema import DATA, spec_of

#: Tables about the trial's people, files and machinery: for those who manage users or read the whole audit.
_PEOPLE = frozenset({"users", "grants", "sessions", "delegations", "redactions", "audit_reviews", "notices"})
_NOBODY = frozenset({"randomisation_list"})
#: Tables that everybody who is signed in may read.
_COMMON = frozenset({"study", "sites", "documents", "document_sites"})
#: Tables without site or subject that every role with sight of subjects may read.
_UNPLACED = frozenset({"snapshots", "reports", "randomisation_schemes", "files"})


def records(reader: Reader, actor: Actor, table: str, **where: Any) -> list[Record]:
    """Records of any table as this person may see them: own sites, masked, without secrets.

    What a masked person gives in `where` and gets in records are numbers of the own view; see `masked_view`.

    Raises
    ------
    AccessDeniedError
        If the person may see none of this table.
    """
    hide = _masked_for(actor, table)
    _require_table(actor, table)
    require_open_columns(table, where, masked=hide)
    if hidden_table(table, masked=hide):
        return []
    wanted = masked_view(reader).stored(table, where) if hide else where
    rows = [] if wanted is None else _at_own_sites(reader, actor, table, wanted)
    return seen_records(reader, table, rows, masked=hide)


def as_seen(reader: Reader, actor: Actor, table: str, rows: Iterable[Record]) -> list[Record]:
    """Records that were read otherwise and at the person's sites, as this person may see them."""
    return seen_records(reader, table, rows, masked=_masked_for(actor, table))


def stored_number(reader: Reader, actor: Actor, number: int) -> int:
    """The number in the database of the record that this person knows by `number`.

    Raises
    ------
    MissingRecordError
        If the person's own view has no such record.
    """
    found = masked_view(reader).sequence(number) if masked(actor, "read_audit") else number
    if found is None:
        raise MissingRecordError(f"record {number}: found none that you may see; expected one; reload the page")
    return found


def own_row(reader: Reader, actor: Actor, sequence: int) -> int:
    """Number of rows of the trail up to this one that the person sees: what the person calls it."""
    return masked_view(reader).place(sequence) if masked(actor, "read_audit") else sequence


def counts(reader: Reader, actor: Actor, tables: Iterable[str], subject_id: str) -> dict[str, int]:
    """Number of records of a subject by table, as far as the person sees them."""
    subject(reader, actor, subject_id)
    if masked(actor):
        return {table: len(records(reader, actor, table, subject_id=subject_id)) for table in tables}
    return {table: reader.count(table, subject_id=subject_id) for table in tables}


def _at_own_sites(reader: Reader, actor: Actor, table: str, where: Mapping[str, Any]) -> list[Record]:
    """Records at the actor's sites; of one subject they are read as for everybody, and then its site is looked at."""
    sites, found = _sites_within(actor, table), DATA[spec_of(table).name]
    if sites is None:
        return reader.records(table, **where)
    if where.get("subject_id") is None:
        return reader.rows(select_records(table, where).where(_scope(actor, found)))
    if _has_site(found):
        return [row for row in reader.records(table, **where) if row["site"] in sites]
    own = reader.find("subjects", {"subject_id": where["subject_id"]})
    return reader.records(table, **where) if own is not None and own["site"] in sites else []


def subjects(reader: Reader, actor: Actor, *, site: str | None = None, state: str | None = None) -> list[Record]:
    """Subjects at the actor's sites."""
    where = {name: value for name, value in (("site", site), ("state", state)) if value is not None}
    return records(reader, actor, "subjects", **where)


def subject(reader: Reader, actor: Actor, subject_id: str) -> Record:
    """One subject.

    Raises
    ------
    MissingRecordError
        If there is none of this name, or it belongs to a site that the actor does not see; the text is the same.
    """
    found = records(reader, actor, "subjects", subject_id=subject_id)
    if not found:
        raise MissingRecordError(f"subject {subject_id}: found none at your sites; expected one; check the number")
    return found[0]


def subject_site(reader: Reader, subject_id: str) -> str:
    """Site of a subject, to ask `access.require` with.

    Raises
    ------
    MissingRecordError
        If there is no such subject.
    """
    return str(reader.record("subjects", {"subject_id": subject_id})["site"])


def of_subject(reader: Reader, actor: Actor, table: str, subject_id: str) -> list[Record]:
    """Records of one table that belong to a subject the actor may see."""
    subject(reader, actor, subject_id)
    return records(reader, actor, table, subject_id=subject_id)


def query_thread(reader: Reader, actor: Actor, query_id: int) -> tuple[Record, list[Record]]:
    """A data query and its messages in order.

    Raises
    ------
    MissingRecordError
        If there is none of this number at the actor's sites.
    """
    found = records(reader, actor, "queries", query_id=query_id)
    if not found:
        raise MissingRecordError(f"query {query_id}: found none; expected an existing one")
    return found[0], records(reader, actor, "query_messages", query_id=query_id)


def study(reader: Reader) -> Record:
    """The study's record: title, protocol, settings, demonstration mark, files."""
    return reader.records("study")[0]


def people(reader: Reader) -> dict[str, str]:
    """Printed names by account, for showing who did what."""
    users = DATA["users"]
    return {row["user_id"]: row["name"] for row in reader.rows(select(users.c.user_id, users.c.name))}


def accrual(reader: Reader, actor: Actor, *, by_arm: bool = False) -> list[Record]:
    """Number of subjects by site and state (and arm, unless the actor is masked): columns site, state, arm, n.

    Raises
    ------
    AccessDeniedError
        If `by_arm` is asked by a masked person.
    """
    require(actor, "see_subject")
    if by_arm and masked(actor):
        raise AccessDeniedError("accrual by arm: found a masked role; expected an unmasked one")
    table = DATA["subjects"]
    columns = [table.c.site, table.c.state, *([table.c.arm] if by_arm else [])]
    statement = select(*columns, func.count().label("n")).where(_scope(actor, table)).group_by(*columns)
    return reader.rows(statement.order_by(*columns))


def count_by(reader: Reader, actor: Actor, table: str, column: str, **where: Any) -> dict[Any, int]:
    """Number of records by the values of a column, at the actor's sites: one statement.

    Raises
    ------
    AccessDeniedError
        If the table or column is hidden from the person.
    """
    _require_table(actor, table)
    found, hide = DATA[spec_of(table).name], _masked_for(actor, table)
    require_open_columns(table, (column, *where), masked=hide)
    if hidden_table(table, masked=hide):
        raise AccessDeniedError(f"{table}.{column}: found a role from which it is hidden; expected an unmasked one")
    conditions = [found.c[name] == value for name, value in where.items()]
    if "table_name" in found.c:
        conditions.append(visible_pointers(actor, found))
    statement = select(found.c[column], func.count().label("n")).where(_scope(actor, found), *conditions)
    return {row[column]: row["n"] for row in reader.rows(statement.group_by(found.c[column]))}


def latest(reader: Reader, actor: Actor, table: str, subject_id: str, *, column: str, limit: int = 1) -> list[Record]:
    """The last records of a subject by a column such as `taken_at`, newest first."""
    subject(reader, actor, subject_id)
    hide = _masked_for(actor, table)
    require_open_columns(table, (column,), masked=hide)
    found = DATA[spec_of(table).name]
    statement = select(found).where(found.c.subject_id == subject_id).order_by(found.c[column].desc()).limit(limit)
    return seen_records(reader, table, reader.rows(statement), masked=hide)


def visible_pointers(actor: Actor, table: Any) -> Any:
    """Condition on a table whose rows point to a record (queries, locks): they point to none hidden from the actor."""
    return table.c.table_name.not_in(POINTED_AWAY) if masked(actor) else true()


def _masked_for(actor: Actor, table: str) -> bool:
    return masked(actor, "read_audit" if table in _PEOPLE else "see_subject")


def _require_table(actor: Actor, table: str) -> None:
    if table in _COMMON:
        return
    if table in _NOBODY:
        raise AccessDeniedError(f"{table}: is read by nobody; expected to see allocations once they are made")
    if table in _PEOPLE:
        if may(actor, "manage_users") or visible_sites(actor, "read_audit") is None:
            return
        raise AccessDeniedError(f"{table}: found the roles {', '.join(sorted(actor.roles))}; expected an administrator")
    require(actor, "see_subject")


def _sites_within(actor: Actor, table: str) -> frozenset[str] | None:
    """Sites whose records of a table the actor sees; None means all."""
    return None if table in _PEOPLE or table in _COMMON else visible_sites(actor)


def _scope(actor: Actor, table: Any) -> Any:
    sites = _sites_within(actor, table.name)
    if sites is None:
        return true()
    if _has_site(table):
        return table.c.site.in_(sorted(sites))
    if "subject_id" in table.c:
        own = DATA["subjects"]
        inside = select(own.c.subject_id).where(own.c.site.in_(sorted(sites)))
        return table.c.subject_id.in_(inside)
    if table.name == "query_messages":
        asked = DATA["queries"]
        return table.c.query_id.in_(select(asked.c.query_id).where(_scope(actor, asked)))
    return true() if table.name in _UNPLACED else false()


def _has_site(table: Any) -> bool:
    """Whether a row's own column tells the site of its subject; that of a missing reason is the site of the entry."""
    return "site" in table.c and table.name != "missing_reasons"
