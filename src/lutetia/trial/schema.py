"""Every table of a trial's database, as compact lines: key columns, further columns, what the gateway demands.

Here: names, types and rules. The tables of the exchange format take their columns from `lutetia.dataset.tables`; the
text of `SPECS` adds the ones that only a running trial has. Not here: what a masked reader sees (`masking`), permitted
states (`states`), triggers (`triggers`).
To add a column, table or index: one line here and one migration under `migrations/versions`.

Types: text unless `:int`, `:real` (double precision) or `:json` follows the name. Columns named `_on` hold ISO dates,
`_at` instants in UTC; a laboratory value is text, because its decimals are part of what the laboratory reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text, func, literal_column, types

from lutetia.dataset.tables import TABLES
from lutetia.errors import UnknownNameError

_EXCHANGE_TYPES = (
    "subjects.age_years subjects.height_cm subjects.weight_kg subjects.prior_kidney_Gy subjects.prior_marrow_Gy "
    "prescriptions.base_MBq prescriptions.proposed_MBq prescriptions.prescribed_MBq forecasts.absorbed_dose_Gy "
    "forecasts.absorbed_dose_sd_Gy forecasts.bed_Gy forecasts.p_over_limit administrations.planned_MBq "
    "administrations.prescribed_MBq administrations.administered_MBq administrations.residual_MBq "
    "doses.absorbed_dose_Gy doses.absorbed_dose_sd_Gy doses.bed_Gy doses.mass_g vitals.weight_kg"
)
_EXCHANGE_INTEGERS = (
    "cycles.cycle prescriptions.cycle prescriptions.version forecasts.cycle forecasts.version administrations.cycle "
    "administrations.prescription_version doses.cycle vitals.ecog adverse_events.seq adverse_events.grade truth.cycle"
)
_EXCHANGE_OPERATIONAL = {"subjects": "state state_on", "prescriptions": "inputs_sha256 void_reason"}
_EXCHANGE_FLOW = {
    "subjects": "state state_on arm randomised_on",
    "cycles": "state state_on reason",
    "prescriptions": "state proposed_by proposed_at signed_by signed_at override_by override_reason void_reason",
    "deviations": "reviewed_by",
}
NULLABLE_KEYS = frozenset({("doses", "cycle"), ("truth", "cycle"), ("truth", "item"), ("truth", "nuclide")})

#: name | key columns | further columns | flags. `reason`: a changed saved value needs a reason; `kept`: rows never go.
SPECS = """
study | study_id | title protocol_name protocol_version demonstration settings:json created_at files:json state |
    kept
sites | site | name country timezone state opened_on closed_on dicom_senders:json consent_version | kept reason
users | user_id | name email state password_hash totp_secret totp_confirmed_at totp_step:int failures:int
    last_failure_at locked_at locked_until password_changed_at must_change | kept
grants | grant_id | user_id role site granted_by granted_at ended_by ended_at | kept
sessions | session_id | user_id token_hash started_at ended_at end_reason second_factor signed_at address | kept
delegations | delegation_id | user_id site task started_on ended_on delegated_by signature_id | kept reason
documents | document_id | kind title version sha256 valid_from_on valid_to_on added_by added_at | kept
document_sites | document_id site | approved_on in_force_from_on in_force_to_on | reason
consents | subject_id kind consent_version | document_id signed_on withdrawn_on taken_by note | reason
eligibility_items | subject_id item | answer value note answered_by answered_on | reason
missing_reasons | table_name record_key field | subject_id site reason note recorded_by recorded_at | reason
visits | subject_id visit | cycle:int due_on window_from_on window_to_on done_on state | reason
assessments | subject_id cycle:int assessment | assessed_on decision findings:json reason decided_by decided_at |
    kept reason
results | subject_id cycle:int revision:int | state inputs_sha256 result_sha256 report_sha256 draws_sha256 software
    seed:int draws:int protocol_version computed_by computed_at summary:json | kept
overrides | subject_id cycle:int version:int user_id | role decision reason decided_at signature_id | kept
lesions | subject_id assessed_on lesion | region kind diameter_mm:real note | reason
serious_events | subject_id ae_id | aware_at due_at reported_at causality causality_by causality_at expectedness
    expectedness_by expectedness_at narrative | reason
product_batches | batch | nuclide product site supplier activity_MBq:real calibrated_at expires_at received_on state
    note | kept reason
product_movements | batch movement:int | kind moved_at activity_MBq:real subject_id cycle:int moved_by note | kept
attachments | attachment_id | subject_id cycle:int kind sha256 name media_type added_by added_at state |
dicom_objects | sop_instance_uid | subject_id cycle:int series_uid study_uid frame_uid modality sop_class taken_at
    sha256 sender received_at state description |
quarantine | sha256 | reason sender modality received_at state decided_by decided_at |
signatures | signature_id:int | user_id name role meaning signed_at session_id digest audit_head state voided_at
    void_reason | kept
signature_records | signature_id:int table_name record:int | | kept
queries | query_id:int | subject_id site table_name record:int record_key field state opened_by opened_at
    answered_at closed_by closed_at source | kept
query_messages | query_id:int seq:int | kind text user_id sent_at | kept
verifications | table_name record:int verified_version:int | subject_id site verified_by verified_at | kept
locks | lock_id:int | level subject_id table_name record:int state locked_by locked_at unlocked_by unlocked_at
    reason | kept
randomisation_schemes | scheme_id | kind specification:json commitment sealed_seed state generated_by generated_at
    opened_at revealed_seed revealed_at | kept
randomisation_list | scheme_id stratum position:int | sealed | kept
allocations | subject_id | scheme_id stratum position:int slot:int arm draw allocated_by allocated_at receipt | kept
randomisation_events | subject_id event:int | kind on reason impact details:json recorded_by recorded_at | kept
jobs | job_id:int | kind state subject_id cycle:int payload:json created_by created_at started_at finished_at
    attempts:int worker error result:json | kept
files | sha256 | size:int media_type name added_by added_at | kept
snapshots | snapshot_id | cut_on extracted_at sha256 audit_head audit_sequence:int file_sha256 created_by purpose |
    kept
reports | report_id:int | snapshot_id kind sha256 software created_by created_at audit_head | kept
audit_reviews | review_id:int | audit_head audit_sequence:int reviewed_by reviewed_at note | kept
redactions | target:int | fields:json replacement reason proposed_by proposed_at confirmed_by confirmed_at | kept
notices | notice_id:int | user_id role site kind text created_at seen_at |
"""


#: Columns, besides keys and subjects, by which tables are asked often: every request looks up its session, every
#: changed record its signatures, the overview what is due and what waits.
INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "sessions": (("token_hash",), ("user_id",)),
    "grants": (("user_id",),),
    "signature_records": (("table_name", "record"),),
    "queries": (("table_name", "record"), ("state",)),
    "visits": (("state", "due_on"),),
    "prescriptions": (("state",),),
    "jobs": (("state",),),
}


@dataclass(frozen=True, slots=True)
class TableSpec:
    """Rules of one table: `reasoned` columns need a reason to change, `flow` ones follow a state machine instead."""

    name: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    types: dict[str, str]
    exchange: bool = False
    reasoned: bool = False
    kept: bool = False
    flow: frozenset[str] = frozenset()

    @property
    def lockable(self) -> bool:
        """Whether a lock of the study, a subject or a form holds this table."""
        return self.exchange or (self.reasoned and "subject_id" in self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Key and further columns, without the bookkeeping ones."""
        return (*self.keys, *self.columns)


class JsonText(types.TypeDecorator[Any]):
    """A JSON value kept as canonical text, alike on both databases."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """Python value to text."""
        return None if value is None else canonical(value)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Text to Python value."""
        return None if value is None else json.loads(value)


def canonical(value: Any) -> str:
    """One JSON text per value: sorted keys, no spaces, no NaN; the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _typed(words: str) -> dict[str, str]:
    pairs = (word.partition(":") for word in words.split())
    return {name: kind or "text" for name, _, kind in pairs}


def _operational(line: str) -> TableSpec:
    name, keys, columns, flags = (part.strip() for part in line.split("|"))
    key_types, column_types = _typed(keys), _typed(columns)
    state = frozenset(c for c in column_types if c in {"state", "ended_at", "ended_by", "ended_on", "done_on"})
    return TableSpec(
        name, tuple(key_types), tuple(column_types), key_types | column_types,
        reasoned="reason" in flags.split(), kept="kept" in flags.split(), flow=state,
    )  # fmt: skip


def _exchange(name: str) -> TableSpec:
    found = TABLES[name]
    further = tuple(_EXCHANGE_OPERATIONAL.get(name, "").split())
    columns = (*found.others, *further)
    kinds = dict.fromkeys((*found.keys, *columns), "text")
    kinds |= {c: "real" for c in kinds if f"{name}.{c}" in _EXCHANGE_TYPES.split()}
    kinds |= {c: "int" for c in kinds if f"{name}.{c}" in _EXCHANGE_INTEGERS.split()}
    flow = frozenset(_EXCHANGE_FLOW.get(name, "").split())
    return TableSpec(name, found.keys, columns, kinds, exchange=True, reasoned=True, flow=flow)


SCHEMA: dict[str, TableSpec] = {
    spec.name: spec
    for spec in (
        *map(_exchange, TABLES),
        *(_operational(line) for line in SPECS.strip().replace("\n    ", " ").splitlines()),
    )
}

metadata = MetaData()
_TYPES: dict[str, Any] = {"text": Text, "int": BigInteger, "real": Double, "json": JsonText}


def _table(spec: TableSpec) -> Table:
    columns: list[Any] = [
        Column("record_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
        Column("record_version", Integer, nullable=False),
    ]
    for name in spec.names:
        required = name in spec.keys and (spec.name, name) not in NULLABLE_KEYS
        index = name == "subject_id" and spec.keys[0] != "subject_id"
        columns.append(Column(name, _TYPES[spec.types[name]](), nullable=not required, index=index))
    columns.append(Column("further", JsonText()))
    table = Table(spec.name, metadata, *columns)
    unique = [_present(spec, table.c[name]) for name in spec.keys]
    Index(f"uq_{spec.name}", *unique, unique=True)
    for names in INDEXES.get(spec.name, ()):
        Index(f"ix_{spec.name}_{'_'.join(names)}", *(table.c[name] for name in names))
    return table


def _present(spec: TableSpec, column: Column[Any]) -> Any:
    """A key column for the unique index, in which two missing values are the same."""
    if (spec.name, column.name) not in NULLABLE_KEYS:
        return column
    return func.coalesce(column, literal_column("-1" if spec.types[column.name] == "int" else "''"))


DATA: dict[str, Table] = {name: _table(spec) for name, spec in SCHEMA.items()}

AUDIT = Table(
    "audit",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("previous", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False, index=True),
    Column("session_id", Text),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("record", BigInteger),
    Column("subject_id", Text, index=True),
    Column("site", Text),
    Column("body_hash", Text, nullable=False),
    Column("software", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    Index("ix_audit_table_record", "table_name", "record"),
)
BODIES = Table(
    "audit_bodies",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)
#: The one table outside the audit: when a session was last used, when a worker last gave a sign of life.
ACTIVITY = Table("activity", metadata, Column("key", Text, primary_key=True), Column("at", Text, nullable=False))
VERSION = Table("alembic_version", metadata, Column("version_num", Text, primary_key=True))


def spec_of(table: str) -> TableSpec:
    """Rules of a table by name.

    Raises
    ------
    UnknownNameError
        For a name that the schema does not have.
    """
    if table not in SCHEMA:
        raise UnknownNameError("table", table, SCHEMA)
    return SCHEMA[table]


def key_text(spec: TableSpec, values: Any) -> str:
    """The key of a record in words, such as ``DUO-014 / 1 / Lu-177``."""
    return " / ".join(str(values[name]) for name in spec.keys if values.get(name) is not None)


def exchange_tables() -> Iterable[TableSpec]:
    """Tables of the exchange format in the order of the contract."""
    return (SCHEMA[name] for name in TABLES)
