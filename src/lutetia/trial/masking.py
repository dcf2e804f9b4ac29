"""What is hidden from whom, in one place: arm-revealing tables and columns from masked readers, secrets from everybody.

The number of nuclides of a cycle tells the arm, so tables with a row a nuclide are hidden as a whole, and free text
beside them too. Used by queries, audit readings, exports and pages alike. Not here: who is masked (`access.masked`).
To hide a column: one word of `HIDDEN_COLUMNS`. By which numbers a masked reader counts: `masked_view`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lutetia.errors import AccessDeniedError
from lutetia.trial.reader import Record

_HIDDEN = """
prescriptions forecasts administrations doses truth results overrides assessments allocations randomisation_schemes
randomisation_list randomisation_events product_batches product_movements jobs reports attachments dicom_objects
quarantine signature_records files
"""
#: Tables of which a masked reader sees no row. A signature of a prescription has a row a nuclide in
#: `signature_records`, and the sizes in `files` grow with the nuclides.
HIDDEN_TABLES = frozenset(_HIDDEN.split())
#: Tables to which nothing points that a masked reader sees: no query, lock, verification, signature or missing reason.
POINTED_AWAY = tuple(sorted({*HIDDEN_TABLES, "deviations"}))
#: Kinds of records, by table, that a masked reader sees; one of another kind does not exist for this reader, because
#: there may be one a nuclide.
OPEN_KINDS: dict[str, tuple[str, ...]] = {
    "deviations": ("window", "eligibility", "consent", "laboratory", "randomisation", "other"),
    "notices": ("account_locked", "password_reset", "codes_reset"),
}
#: Columns, by table, that a masked reader does not see. An update of nothing else is hidden as a whole. The digest of a
#: signature is a hash of the records: whoever knows all but the arm could guess it.
HIDDEN_COLUMNS: dict[str, frozenset[str]] = {
    "subjects": frozenset({"arm", "further"}),
    "cycles": frozenset({"reason", "further"}),
    "deviations": frozenset({"description", "kind", "further"}),
    "disposition": frozenset({"reason"}),
    "adverse_events": frozenset({"related_to", "action", "further"}),
    "study": frozenset({"settings", "files"}),
    "serious_events": frozenset({"narrative"}),
    "eligibility_items": frozenset({"note"}),
    "query_messages": frozenset({"text"}),
    "missing_reasons": frozenset({"note"}),
    "consents": frozenset({"note"}),
    "lesions": frozenset({"note"}),
    "redactions": frozenset({"replacement"}),
    "snapshots": frozenset({"file_sha256"}),
    "signatures": frozenset({"meaning", "digest", "void_reason"}),
    "sessions": frozenset({"signed_at"}),
}
#: Columns that nobody reads through a query, masked or not.
SECRETS: dict[str, frozenset[str]] = {
    "users": frozenset({"password_hash", "totp_secret", "totp_step"}),
    "sessions": frozenset({"token_hash"}),
    "randomisation_schemes": frozenset({"sealed_seed"}),
    "randomisation_list": frozenset({"sealed"}),
}
#: Actions without a change of a record that a masked reader sees in the audit trail.
_EVENTS = """
sign_in_failed signature_failed read_document read_closed_report export backup upgrade enter_identity read_identity
"""
OPEN_EVENTS = frozenset(_EVENTS.split())
#: What a masked reader sees of an event of the audit trail.
OPEN_EVENT_VALUES = frozenset({"kind", "account", "failures", "address", "snapshot", "head"})
#: Tables beside whose rows a masked reader sees the reason. One reason stands at all rows of an action, so that of a
#: lowered activity stands at the signature too: what is not named here is hidden.
_REASONS = """
users grants sessions delegations sites locks documents document_sites labs vitals treatments baseline responses
redactions
"""
_OPEN_REASONS = frozenset(_REASONS.split())
#: Shown in place of a hidden value, so that its absence is not taken for a missing one.
HIDDEN = "(hidden)"


def hidden_table(table: str, *, masked: bool) -> bool:
    """Whether a reader sees no row of this table."""
    return masked and table in HIDDEN_TABLES


def visible_record(table: str, record: Record, *, masked: bool) -> Record:
    """A record without secrets and, for a masked reader, without arm-revealing values, whether it has any or not."""
    secret, concealed = SECRETS.get(table, frozenset()), HIDDEN_COLUMNS.get(table, frozenset())
    found = {name: value for name, value in record.items() if name not in secret}
    if not masked:
        return found
    return {name: HIDDEN if name in concealed else value for name, value in found.items()}


def visible_changes(table: str, changes: Mapping[str, Any], *, masked: bool) -> dict[str, Any]:
    """Old and new values of an audit row as a reader may see them; that a hidden one changed is hidden too."""
    secret, concealed = SECRETS.get(table, frozenset()), HIDDEN_COLUMNS.get(table, frozenset())
    return {
        name: [None if value is None else HIDDEN for value in pair] if name in secret else list(pair)
        for name, pair in changes.items()
        if not (masked and name in concealed)
    }


def visible_event(values: Mapping[str, Any], *, masked: bool) -> dict[str, Any]:
    """Values of an audit event as a reader may see them."""
    return {name: value for name, value in values.items() if not masked or name in OPEN_EVENT_VALUES}


def require_open_columns(table: str, columns: Iterable[str], *, masked: bool) -> None:
    """Refuse a question about a column whose values the reader does not see: the number of answers would tell them.

    Raises
    ------
    AccessDeniedError
        Naming the column.
    """
    hidden = SECRETS.get(table, frozenset()) | (HIDDEN_COLUMNS.get(table, frozenset()) if masked else frozenset())
    for name in columns:
        if name in hidden:
            raise AccessDeniedError(f"{table}.{name}: found a role from which it is hidden; expected an unmasked one")


def reason_reveals(table: str) -> bool:
    """Whether the reason of an audit row could tell a masked reader the arm."""
    return table not in _OPEN_REASONS
