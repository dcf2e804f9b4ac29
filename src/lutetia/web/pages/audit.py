"""The audit trail in people's words: filtered, for printing, and beside each field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.trial import access, audit, queries
from lutetia.trial.queries_audit import AuditEntry, AuditFilter, audit_trail, field_history
from lutetia.trial.schema import SCHEMA
from lutetia.web.context import Page, PageContext, RecordNumber
from lutetia.web.forms import Form
from lutetia.workflow import oversight

_SIZE = 100
_PRINTED = 5000
_FILTERS = ("subject_id", "site", "actor", "table", "since_day", "until_day")


@dataclass(frozen=True, slots=True)
class ReviewForm:
    """What a review sends: the head of the trail that the page showed, and what was found."""

    head: str
    note: str


def show(page: Page) -> Response:
    """The trail, newest first, as the filters ask; `print=yes` gives one long page."""
    return _show(page, Form(page.t, "audit", page.zone))


def review(page: Page) -> Response:
    """Record and sign that the trail was reviewed up to the head that the page showed."""
    form = page.form("audit")
    sent = form.read(ReviewForm)
    signed = page.confirmed(form) if sent is not None else None
    if sent is not None and signed is not None:
        command = oversight.ReviewAudit(sent.head, sent.note, signed)
        if form.attempt(oversight.review_audit, page.trial, page.actor, command) is not None:
            return page.redirect("/audit", notice="audit.reviewed")
    return _show(page, form, status=422)


def _show(page: PageContext, review_form: Form, *, status: int = 200) -> Response:
    form = Form(page.t, "audit", page.zone, {name: [page.argument(name)] for name in _FILTERS})
    wanted = AuditFilter(
        subject_id=form.value("subject_id") or None, table=form.value("table") or None,
        actor=form.value("actor") or None, site=form.value("site") or None,
        since=page.start_of_day(form, "since_day"), until=page.end_of_day(form, "until_day"),
    )  # fmt: skip
    printing = page.argument("print") == "yes"
    before = page.number("before", otherwise=0) or None
    size = _PRINTED if printing else _SIZE
    entries = [] if form.errors else audit_trail(page.reader, page.actor, wanted, limit=size + 1, before=before)
    return page.render(
        "audit/list.html", status=422 if form.errors else status, form=form, review_form=review_form,
        reviews=_reviews(page), entries=in_words(page, entries[:size]),
        older=entries[size - 1].sequence if len(entries) > size else 0, printing=printing,
        people=sorted(queries.people(page.reader).items(), key=lambda p: p[1]), tables=_tables(page),
        sites=[(s["site"], f"{s['site']} {s['name']}") for s in queries.records(page.reader, page.actor, "sites")],
    )  # fmt: skip


def _reviews(page: PageContext) -> dict[str, Any] | None:
    """The last review and the present head, for those who read every row of the trail."""
    if not access.reads_whole_trail(page.actor):
        return None
    rows = queries.records(page.reader, page.actor, "audit_reviews")
    last = max(rows, key=lambda row: int(row["audit_sequence"]), default=None)
    sequence, head = audit.head(page.reader)
    done = "" if last is None else page.t(
        "audit.reviewed_until", row=last["audit_sequence"], when=page.local(last["reviewed_at"]),
        who=queries.people(page.reader).get(last["reviewed_by"], last["reviewed_by"]),
    )  # fmt: skip
    return {"done": done, "head": head, "sequence": sequence}


def field(page: Page, table: str, record: RecordNumber, column: str) -> Response:
    """Every value that one field ever had: the fragment beside the field."""
    entries = field_history(page.reader, page.actor, table, record, column=column)
    rows = [
        {**row, "old": _value(page, column, e.changes[column][0]), "new": _value(page, column, e.changes[column][1])}
        for e, row in zip(entries, in_words(page, entries), strict=True)
    ]
    return page.render("audit/field.html", rows=rows)


def in_words(page: PageContext, entries: list[AuditEntry]) -> list[dict[str, Any]]:
    """Rows of the trail with names instead of accounts, and words instead of tables, columns and actions."""
    people = queries.people(page.reader)
    return [_row(page, entry, people) for entry in entries]


def _row(page: PageContext, entry: AuditEntry, people: dict[str, str]) -> dict[str, Any]:
    changes = [
        (field_words(page, column), _value(page, column, old), _value(page, column, new))
        for column, (old, new) in entry.changes.items()
    ]
    return {
        "sequence": entry.sequence, "at": page.local(entry.at), "who": people.get(entry.actor, entry.actor),
        "action": page.t.known(f"action.{entry.action}", otherwise=_plain(entry.action)), "key": entry.key,
        "table": table_words(page, entry.table), "subject_id": entry.subject_id, "site": entry.site,
        "values": [(_plain(name), _value(page, name, value)) for name, value in entry.values.items()],
        "reason": entry.reason, "changes": changes, "hash": entry.hash[:12], "software": entry.software,
    }  # fmt: skip


def table_words(page: PageContext, table: str) -> str:
    """The name of a form as people say it."""
    return page.t.known(f"table.{table}", otherwise=_plain(table)) if table else ""


def field_words(page: PageContext, column: str) -> str:
    """The name of a field as people say it."""
    return page.t.known(f"field.{column}", otherwise=_plain(column))


def _tables(page: PageContext) -> list[tuple[str, str]]:
    return sorted(((name, table_words(page, name)) for name in SCHEMA), key=lambda pair: pair[1])


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _value(page: PageContext, column: str, value: Any) -> str:
    """A stored value as people read it: instants in local time, numbers without noise, parts by name."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return page.t("frame.yes" if value else "frame.no")
    if isinstance(value, dict):
        return "; ".join(
            f"{field_words(page, name)}: {_value(page, name, part) or '–'}" for name, part in value.items()
        )
    if isinstance(value, list):
        return ", ".join(_value(page, column, part) for part in value)
    if column.endswith("_at") and isinstance(value, str) and len(value) > 10 and value[:4].isdigit():
        return page.local(value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)
