"""Locks: those in force, locking a form, a subject or the study, and opening a lock with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.signatures import Confirmed
from lutetia.web.context import Page, PageContext, RecordNumber
from lutetia.web.forms import Form
from lutetia.web.pages import records
from lutetia.web.pages.audit import table_words
from lutetia.web.pages.subject_frame import blank
from lutetia.workflow import locks


@dataclass(frozen=True, slots=True)
class LockForm:
    """What a lock button sends."""

    level: str
    study_id: str = ""
    subject_id: str | None = None
    table: str | None = None
    record: int | None = None


def show(page: Page) -> Response:
    """All locks in force."""
    return _list(page, blank(page, "locks"))


def lock(page: Page) -> Response:
    """Lock what the form names."""
    form = page.form("locks")
    sent = form.read(LockForm)
    if sent is None:
        return _list(page, form, status=422)
    owner = None if sent.table is not None else sent.subject_id
    confirmed = _confirmed(page, form, sent) if sent.level == "study" else None
    if form.errors:
        return _list(page, form, status=422)
    command = locks.Lock(sent.level, owner, sent.table, sent.record, sent.study_id, confirmed)
    if form.attempt(locks.lock, page.trial, page.actor, command) is None:
        return _refused(page, form, sent)
    return page.redirect(_back(sent), notice="locks.locked")


def _refused(page: PageContext, form: Form, sent: LockForm) -> Response:
    """What was refused, on the page where the person was: of the record, of the subject, or of all locks."""
    if sent.subject_id is None:
        return _list(page, form, status=422)
    if sent.table is not None and sent.record is not None:
        return records.show_record(page, sent.subject_id, sent.table, sent.record, form)
    return records.show_list(page, sent.subject_id, form)


def unlock_form(page: Page, lock_id: RecordNumber) -> Response:
    """The form that opens a lock."""
    return _unlock(page, lock_id, blank(page, "locks"))


def unlock(page: Page, lock_id: RecordNumber) -> Response:
    """Open a lock, with its reason."""
    form = page.form("locks")
    command = form.read(locks.Unlock, lock_id=lock_id)
    if command is None or form.attempt(locks.unlock, page.trial, page.actor, command) is None:
        return _unlock(page, lock_id, form, status=422)
    return page.redirect("/locks", notice="locks.opened")


def _confirmed(page: PageContext, form: Form, sent: LockForm) -> Confirmed | None:
    """The signature of who locks the study, once its id is typed right; else a message on the form."""
    study_id = page.services.study.study_id
    if sent.study_id.strip() != study_id:
        form.errors["study_id"] = page.t("locks.study_id_differs", study_id=study_id, found=sent.study_id)
        return None
    return page.confirmed(form)


def _back(sent: LockForm) -> str:
    if sent.subject_id is None:
        return "/locks"
    return f"/subjects/{sent.subject_id}/records" + (f"?table={sent.table}" if sent.table else "")


def _list(page: PageContext, form: Form, *, status: int = 200) -> Response:
    people = queries.people(page.reader)
    rows = [
        {**row, "who": people.get(row["locked_by"], row["locked_by"]), "what": page.t(f"records.levels.{row['level']}"),
         "form": table_words(page, row["table_name"] or "")}
        for row in locks.open_locks(page.reader)
    ]  # fmt: skip
    study_locked = any(row["level"] == "study" for row in rows)
    points = {} if study_locked else asdict(locks.open_points(page.reader))
    return page.render(
        "locks/list.html", status=status, rows=rows, form=form, study_locked=study_locked, meaning=locks.STUDY_LOCKED,
        points=[(page.t(f"locks.points.{name}"), number) for name, number in points.items()],
        waits=points.get("queries", 0) > 0,
    )  # fmt: skip


def _unlock(page: PageContext, lock_id: int, form: Form, *, status: int = 200) -> Response:
    row = page.reader.record("locks", {"lock_id": lock_id})
    return page.render(
        "locks/unlock.html", status=status, form=form, lock=row, what=page.t(f"records.levels.{row['level']}"),
        form_name=table_words(page, row["table_name"] or ""),
    )  # fmt: skip
