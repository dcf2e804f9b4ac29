"""What the database itself refuses: changes of the audit trail, gaps in it, and the loss of kept rows.

Bodies of the trail change only into the replacement that a redaction with two different people holds.
Not here: the hash chain (`audit`), which notices what was done with these triggers switched off.
"""

from __future__ import annotations

from sqlalchemy import Connection

from lutetia.trial.schema import SCHEMA

_REDACTED = """EXISTS (SELECT 1 FROM redactions r WHERE r.target = OLD.sequence AND r.replacement = NEW.body
 AND r.confirmed_by IS NOT NULL AND r.confirmed_by <> r.proposed_by) AND NEW.sequence = OLD.sequence"""
_NEXT = "(SELECT COALESCE(MAX(sequence), 0) + 1 FROM audit)"
#: INSERT OR REPLACE would take the place of a row with an equal hash without asking the trigger against deletion.
_SAME_HASH = "EXISTS (SELECT 1 FROM audit a WHERE a.hash = NEW.hash)"
#: Tables of which no program may delete a row, with or without audit.
_KEPT = ("users", "grants", "sessions", "signatures", "signature_records", "allocations", "redactions")


def install(connection: Connection) -> None:
    """Create all triggers of the connection's kind of database."""
    make = _sqlite if connection.dialect.name == "sqlite" else _postgresql
    for statement in make():
        connection.exec_driver_sql(statement)


def _refuse(name: str, table: str, event: str, when: str = "") -> str:
    message = f"{table}: rows are never changed or removed" if event != "INSERT" else f"{table}: out of sequence"
    condition = f" WHEN {when}" if when else ""
    return (
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW{condition} "
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def _sqlite() -> list[str]:
    kept = [_refuse(f"{table}_kept", table, "DELETE") for table in _KEPT if SCHEMA[table].kept]
    return [
        _refuse("audit_no_update", "audit", "UPDATE"),
        _refuse("audit_no_delete", "audit", "DELETE"),
        _refuse("audit_in_sequence", "audit", "INSERT", f"NEW.sequence <> {_NEXT} OR {_SAME_HASH}"),
        _refuse("audit_bodies_no_update", "audit_bodies", "UPDATE", f"NOT ({_REDACTED})"),
        _refuse("audit_bodies_no_delete", "audit_bodies", "DELETE"),
        _refuse(
            "audit_bodies_once", "audit_bodies", "INSERT",
            "EXISTS (SELECT 1 FROM audit_bodies b WHERE b.sequence = NEW.sequence)",
        ),
        *kept,
    ]  # fmt: skip


def _postgresql() -> list[str]:
    functions = [
        "CREATE FUNCTION lutetia_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ': rows are never changed or removed'; END $$",
        "CREATE FUNCTION lutetia_in_sequence() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.sequence <> {_NEXT} THEN RAISE EXCEPTION 'audit: out of sequence'; END IF; RETURN NEW; END $$",
        "CREATE FUNCTION lutetia_redaction() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NOT ({_REDACTED}) THEN RAISE EXCEPTION 'audit_bodies: rows are never changed or removed'; END IF; "
        "RETURN NEW; END $$",
    ]
    rows = [
        ("audit_no_update", "audit", "UPDATE OR DELETE", "ROW", "lutetia_refuse"),
        ("audit_no_truncate", "audit", "TRUNCATE", "STATEMENT", "lutetia_refuse"),
        ("audit_in_sequence", "audit", "INSERT", "ROW", "lutetia_in_sequence"),
        ("audit_bodies_no_update", "audit_bodies", "UPDATE", "ROW", "lutetia_redaction"),
        ("audit_bodies_no_delete", "audit_bodies", "DELETE", "ROW", "lutetia_refuse"),
        ("audit_bodies_no_truncate", "audit_bodies", "TRUNCATE", "STATEMENT", "lutetia_refuse"),
    ]
    rows += [(f"{t}_kept", t, "DELETE", "ROW", "lutetia_refuse") for t in _KEPT]
    rows += [(f"{t}_kept_whole", t, "TRUNCATE", "STATEMENT", "lutetia_refuse") for t in _KEPT]
    return functions + [
        f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH {each} EXECUTE FUNCTION {function}()"
        for name, table, event, each, function in rows
    ]
