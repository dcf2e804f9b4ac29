"""Every stored record of a subject: fields with their history, queries, source verification, signatures, locks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.errors import DuplicateRecordError, MissingRecordError, StaleRecordError
from lutetia.trial import queries
from lutetia.trial.masking import HIDDEN, hidden_table
from lutetia.trial.reader import Record
from lutetia.trial.schema import SCHEMA, TableSpec, key_text
from lutetia.web import reading_subjects
from lutetia.web.context import Page, PageContext, RecordNumber
from lutetia.web.forms import Form
from lutetia.web.pages.audit import field_words, table_words
from lutetia.web.pages.subject_forms import Field, FormSpec, show_form, take, version_of
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import missing, oversight, queries_form, signing
from lutetia.workflow.entry_checks import RULES
from lutetia.workflow.locks import open_locks

_SIZE = 100
#: Table → family of its form's words, and field → name of the words of its choices, where they are not the same.
_FAMILIES = {
    "adverse_events": "adverse_event", "lesions": "response", "responses": "response", "consents": "consent",
    "deviations": "deviation",
}  # fmt: skip
_WORDS = {("lesions", "kind"): "lesion"}


@dataclass(frozen=True, slots=True)
class QueryForm:
    """What the form of a question sends."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class MissingForm:
    """What the form of a missing value sends."""

    code: str
    note: str = ""
    reason: str | None = None


def show(page: Page, subject_id: str) -> Response:
    """The records of one form (`?table=`), to be verified, signed or opened."""
    return _show(page, subject_id, page.argument("table"), blank(page, "records"))


def show_list(page: PageContext, subject_id: str, form: Form) -> Response:
    """The subject's records again, with why its lock was refused."""
    return _show(page, subject_id, "", form, status=422)


def show_record(page: PageContext, subject_id: str, table: str, number: int, form: Form) -> Response:
    """A record again, with why its lock was refused."""
    return _record(page, subject_id, table, number, form, status=422)


def verify(page: Page, subject_id: str) -> Response:
    """Mark the chosen records as agreeing with their sources, in the versions that the monitor saw; all or none."""
    form = page.form("records")
    chosen = _chosen(form)
    if not chosen:
        form.errors[""] = page.t("records.choose")
        return _show(page, subject_id, form.value("table"), form, status=422)
    for table, record, _ in chosen:
        _of_subject(page, subject_id, table, record)
    try:
        oversight.verify_source(page.trial, page.actor, oversight.VerifySource(chosen))
    except (StaleRecordError, DuplicateRecordError) as error:
        form.errors[""] = str(error)
        page.close()  # the list is shown as it is now
        return _show(page, subject_id, form.value("table"), form, status=409)
    return page.redirect(f"/subjects/{subject_id}/records?table={chosen[0][0]}", notice="records.verified")


def sign(page: Page, subject_id: str) -> Response:
    """Sign the chosen records, in the versions that the person saw."""
    form = page.form("records")
    chosen = _chosen(form)
    meaning = form.value("meaning").strip()
    if not chosen:
        form.errors[""] = page.t("records.choose")
    if not meaning:
        form.errors["meaning"] = page.t("form.missing", field=page.t("records.meaning"))
    for table, record, _ in chosen:
        _of_subject(page, subject_id, table, record)
    confirmed = None if form.errors else page.confirmed(form)
    if confirmed is not None:
        records, versions = [(t, r) for t, r, _ in chosen], [v for _, _, v in chosen]
        command = signing.SignForms(records, meaning, confirmed, versions)
        try:
            form.attempt(signing.sign_forms, page.trial, page.actor, command)
        except StaleRecordError as error:
            form.errors[""] = str(error)
            page.close()  # the list is shown as it is now
            return _show(page, subject_id, form.value("table"), form, status=409)
    if form.errors:
        return _show(page, subject_id, form.value("table"), form, status=422)
    return page.redirect(f"/subjects/{subject_id}/records?table={chosen[0][0]}", notice="records.signed")


def record(page: Page, subject_id: str, table: str, record: RecordNumber) -> Response:
    """One record with everything that stands around it."""
    return _record(page, subject_id, table, record, blank(page, "records", field=page.argument("field")))


def open_query(page: Page, subject_id: str, table: str, record: RecordNumber) -> Response:
    """Ask about a field."""
    _of_subject(page, subject_id, table, record)
    form = page.form("records")
    sent = form.read(QueryForm)
    if sent is not None:
        command = queries_form.OpenQuery(table, record, sent.field, sent.text)
        if form.attempt(queries_form.open_query, page.trial, page.actor, command) is not None:
            return page.redirect(_path(subject_id, table, record), notice="records.asked")
    return _record(page, subject_id, table, record, form, status=422)


def missing_form(page: Page, subject_id: str, table: str, record: RecordNumber) -> Response:
    """The form that says why a field (`?field=`) has no value."""
    field = page.argument("field")
    spec, stored = _missing(page, subject_id, table, record, field)
    values = {"code": stored["reason"] or "", "note": stored["note"] or ""} if stored else {}
    return show_form(page, subject_id, spec, blank(page, "missing", **values))


def record_missing(page: Page, subject_id: str, table: str, record: RecordNumber) -> Response:
    """Say why a field has no value."""
    form = page.form("missing")
    field = form.value("field")
    spec, _ = _missing(page, subject_id, table, record, field)
    sent = form.read(MissingForm)
    if sent is None:
        return show_form(page, subject_id, spec, form, status=422)
    key = key_text(SCHEMA[table], _of_subject(page, subject_id, table, record))
    command = missing.RecordMissing(
        subject_id, table, key, field, sent.code, sent.note, sent.reason, version_of(form)
    )  # fmt: skip
    return take(page, subject_id, spec, form, missing.record_missing, command)


def _missing(page: PageContext, subject_id: str, table: str, record: int, field: str) -> tuple[FormSpec, Record | None]:
    row = _of_subject(page, subject_id, table, record)
    key = key_text(SCHEMA[table], row)
    rows = queries.of_subject(page.reader, page.actor, "missing_reasons", subject_id)
    stored = next((r for r in rows if (r["table_name"], r["record_key"], r["field"]) == (table, key, field)), None)
    spec = FormSpec(
        "missing", "records", f"/records/{table}/{record}/missing", f"/records/{table}/{record}",
        (Field("radios", "code", missing.MISSING_CODES, wide=True, column="reason"),
         Field("textarea", "note", required=False)),
        reason="required" if stored else "", hidden={"field": field},
        saved=("missing_reasons", stored) if stored else None, makes="missing_reasons",
        notes=(page.t("missing.about", field=field_words(page, field), form=table_words(page, table), name=key),),
    )  # fmt: skip
    return spec, stored


def _path(subject_id: str, table: str, record: int) -> str:
    return f"/subjects/{subject_id}/records/{table}/{record}"


def _specs(page: PageContext) -> list[TableSpec]:
    """Forms of a subject, without what is hidden from the person and without the truth of a simulation."""
    masked = page.masked
    return [
        spec
        for spec in SCHEMA.values()
        if spec.lockable and spec.name != "truth" and not hidden_table(spec.name, masked=masked)
    ]


def _of_subject(page: PageContext, subject_id: str, table: str, record: int) -> Record:
    """The record as the person may see it.

    Raises
    ------
    MissingRecordError
        If the subject has none of this number that the person may see.
    """
    known = {spec.name for spec in _specs(page)}
    found = queries.records(page.reader, page.actor, table, record_id=record) if table in known else []
    if not found or found[0]["subject_id"] != subject_id:
        raise MissingRecordError(f"{table} {record}: found none of subject {subject_id}; open the list of its records")
    return found[0]


def _chosen(form: Form) -> list[tuple[str, int, int]]:
    """Records that were ticked: table, number and the version that the person saw."""
    table = form.value("table")
    parts = [text.partition(":") for text in form.values.get("chosen", ())]
    return [(table, int(n), int(v)) for n, _, v in parts if n.isdecimal() and v.isdecimal() and len(n + v) < 18]


def _show(page: PageContext, subject_id: str, wanted: str, form: Form, *, status: int = 200) -> Response:
    queries.subject(page.reader, page.actor, subject_id)
    counts = queries.counts(page.reader, page.actor, [s.name for s in _specs(page)], subject_id)
    tables = [(name, table_words(page, name), n) for name, n in counts.items() if n]
    table = wanted if counts.get(wanted) else (tables[0][0] if tables else "subjects")
    rows = queries.of_subject(page.reader, page.actor, table, subject_id) if tables else []
    shown, part = page.paged(rows, size=_SIZE)
    site = queries.subject_site(page.reader, subject_id)
    locks = _locks(page, subject_id)
    return subject_page(
        page, subject_id, "records", "subjects/records.html", status=status, tables=tables, table=table, pager=part,
        rows=_rows(page, subject_id, table, rows=shown, locks=locks), form=form, may_lock=page.may("lock"),
        locks=[_lock(page, lock) for lock in locks], verifies=page.may("verify_source", site),
        table_title=table_words(page, table),
    )  # fmt: skip


def _locks(page: PageContext, subject_id: str) -> list[Record]:
    """Locks in force that the person may know of."""
    return queries.as_seen(page.reader, page.actor, "locks", open_locks(page.reader, subject_id))


def _rows(
    page: PageContext, subject_id: str, table: str, *, rows: Sequence[Record], locks: Sequence[Record]
) -> list[dict[str, Any]]:
    stored = {n: queries.stored_number(page.reader, page.actor, n) for n in (int(row["record_id"]) for row in rows)}
    signed = reading_subjects.signed_records(page.reader, table, list(stored.values()))
    verified = reading_subjects.verified_versions(page.reader, page.actor, table, subject_id=subject_id)
    locked = {lock["record"] for lock in locks if lock["table_name"] == table}
    spec = SCHEMA[table]
    return [
        {"id": row["record_id"], "version": row["record_version"], "key": _key(spec, row),
         "summary": _summary(page, spec, row),
         "signed": signed.get(stored[row["record_id"]], ""), "locked": row["record_id"] in locked,
         "verified": _verified(verified.get(row["record_id"]), row["record_version"])}
        for row in rows
    ]  # fmt: skip


def _verified(version: int | None, now: int) -> str:
    if version is None:
        return "open"
    return "verified" if version == now else "changed"


def _key(spec: TableSpec, row: Record) -> str:
    names = [n for n in spec.keys if n != "subject_id" and row[n] is not None]
    return " / ".join(str(row[n]) for n in names) or str(row["subject_id"])


def _summary(page: PageContext, spec: TableSpec, row: Record) -> str:
    """The first few values of a record in words."""
    filled = [n for n in spec.columns if row[n] not in (None, "", HIDDEN) and not n.endswith("sha256")][:4]
    return "; ".join(f"{field_words(page, n)} {_value(page, spec.name, n, row[n])}" for n in filled)


def _value(page: PageContext, table: str, name: str, value: Any) -> str:
    """A stored value as its form says it: local times, and the words of choices."""
    if isinstance(value, str) and name in RULES.get(table, {}) and RULES[table][name].choices:
        family = _FAMILIES.get(table, table)
        shared = page.t.known(f"subject_forms.words.{value}", otherwise=value.replace("_", " "))
        return page.t.known(f"{family}.{_WORDS.get((table, name), name)}_words.{value}", otherwise=shared)
    if name.endswith("_at") and isinstance(value, str):
        return page.local(value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _lock(page: PageContext, lock: Record) -> dict[str, Any]:
    what = page.t(f"records.levels.{lock['level']}")
    if lock["table_name"]:
        what = f"{what}: {table_words(page, lock['table_name'])} {lock['record']}"
    return {"id": lock["lock_id"], "what": what, "at": page.local(lock["locked_at"])}


def _record(page: PageContext, subject_id: str, table: str, number: int, form: Form, *, status: int = 200) -> Response:
    row, spec = _of_subject(page, subject_id, table, number), SCHEMA[table]
    site = queries.subject_site(page.reader, subject_id)
    key = key_text(spec, row)
    said = queries.of_subject(page.reader, page.actor, "missing_reasons", subject_id)
    reasons = {r["field"]: r["reason"] for r in said if (r["table_name"], r["record_key"]) == (table, key)}
    fields = [
        {"name": n, "label": field_words(page, n), "value": "" if row[n] is None else _value(page, table, n, row[n]),
         "missing": reasons.get(n, "") if row[n] is None else "", "empty": row[n] is None}
        for n in spec.names if n != "subject_id"
    ]  # fmt: skip
    asked = [q for q in queries.of_subject(page.reader, page.actor, "queries", subject_id)
             if q["table_name"] == table and number_or_key(q, number, key)]  # fmt: skip
    held = [k for k in _locks(page, subject_id) if k["table_name"] in (None, table) and k["record"] in (None, number)]
    verified = reading_subjects.verified_versions(page.reader, page.actor, table, subject_id=subject_id)
    return subject_page(
        page, subject_id, "records", "subjects/record.html", status=status, table=table, row=row, fields=fields,
        title=f"{table_words(page, table)}: {_key(spec, row)}", form=form, asked=asked,
        choices=[(f["name"], f["label"]) for f in fields], asks=page.may("manage_queries", site),
        verifies=page.may("verify_source", site), state=_verified(verified.get(number), row["record_version"]),
        signatures=signing.read_signatures(page.trial, page.actor, table, number), locks=[_lock(page, k) for k in held],
        may_lock=page.may("lock") and not any(k["level"] == "form" for k in held),
        reads_audit=page.may("read_audit"), correct=_correction(subject_id, table, row),
    )  # fmt: skip


def number_or_key(query: Record, number: int, key: str) -> bool:
    """Whether a query is about a record: by its number, or by its key where a check at entry opened it."""
    return bool(query["record"] == number or (query["record"] is None and query["record_key"] == key))


def _correction(subject_id: str, table: str, row: Record) -> str:
    """The form on which a record is corrected; empty where it has none."""
    base = f"/subjects/{subject_id}"
    ways = {
        "subjects": f"{base}/correct",
        "baseline": f"{base}/screening/baseline",
        "eligibility_items": f"{base}/screening/eligibility",
        "vitals": f"{base}/vitals/entry?record={row['record_id']}",
        "treatments": f"{base}/vitals/treatment?record={row['record_id']}",
        "labs": f"{base}/laboratory/entry?sample={row.get('sample_id')}",
        "adverse_events": f"{base}/adverse-events/{row.get('ae_id')}/correct",
        "responses": f"{base}/follow-up/response?record={row['record_id']}",
    }
    return ways.get(table, "")
