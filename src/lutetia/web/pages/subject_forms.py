"""Forms about one subject: a form is a few lines of data here and looks and behaves the same everywhere.

`FormSpec` says which fields a form has; `show_form` shows it, `take` runs its use case and comes back with messages
beside the fields where that refuses. Words: `family.title`, `family.lead`, `family.submit`, `family.done`, and for each
field `family.field`, `family.field_hint` and, for choices, `family.field_words.value`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from starlette.responses import Response

from lutetia.errors import StaleRecordError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.trial.schema import SCHEMA
from lutetia.web.context import PageContext
from lutetia.web.field_messages import attempt_fields
from lutetia.web.forms import Form, values_of
from lutetia.web.pages.stale import again, stale_page
from lutetia.web.pages.subject_frame import lock_words, subject_page
from lutetia.workflow.locks import open_locks

Kind = Literal["text", "number", "date", "moment", "textarea", "select", "radios"]


@dataclass(frozen=True, slots=True)
class Field:
    """One input: `choices` are stored words, or (stored word, shown words) pairs; `column` if named otherwise there."""

    kind: Kind
    name: str
    choices: Sequence[str | tuple[str, str]] = ()
    unit: str = ""
    required: bool = True
    label: str = ""
    hint: str = ""
    wide: bool = False
    column: str = ""


@dataclass(frozen=True, slots=True)
class FormSpec:
    """A form of one subject.

    Parameters
    ----------
    family
        Of its words.
    part
        Of the subject's pages, to which it belongs.
    path, back
        Where it is sent, and where Cancel and success lead, both behind the subject's address.
    reason
        Whether a reason is asked for ("" where nothing saved changes).
    meaning
        What the signature says; empty for forms that are not signed.
    saved
        Table and record that the form corrects: it then carries the version that the person saw.
    makes
        Table of the record that the form makes: it then says that the person saw none.
    """

    family: str
    part: str
    path: str
    back: str
    fields: tuple[Field, ...] = ()
    reason: Literal["", "required", "optional"] = ""
    meaning: str = ""
    saved: tuple[str, Record] | None = None
    makes: str = ""
    hidden: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tone: str = "primary"

    @property
    def names(self) -> tuple[str, ...]:
        """Fields to which messages can belong."""
        return (*(f.name for f in self.fields), *(("reason",) if self.reason else ()))


def show_form(page: PageContext, subject_id: str, spec: FormSpec, form: Form, *, status: int = 200) -> Response:
    """The form on the subject's page."""
    t = page.t
    shown = [_worded(page, spec.family, f) for f in spec.fields]
    histories = {} if spec.saved is None else {
        f.name: f"{spec.saved[0]}/{spec.saved[1]['record_id']}/{f.name}" for f in spec.fields if f.name in spec.saved[1]
    }  # fmt: skip
    return subject_page(
        page, subject_id, spec.part, "subjects/form.html", status=status, spec=spec, fields=shown, form=form,
        title=t(f"{spec.family}.title"), lead=t.known(f"{spec.family}.lead", otherwise=""),
        send=t(f"{spec.family}.submit"), histories=histories if page.may("read_audit") else {},
        closed=_closed(page, subject_id, spec),
    )  # fmt: skip


def _closed(page: PageContext, subject_id: str, spec: FormSpec) -> str:
    """Why nothing can be saved on the form: the lock that covers it, in words; empty where none does."""
    table = spec.saved[0] if spec.saved is not None else spec.makes
    if table not in SCHEMA or not SCHEMA[table].lockable:
        return ""
    record = None if spec.saved is None else spec.saved[1]["record_id"]
    held = [lock for lock in open_locks(page.reader, subject_id)
            if lock["level"] != "form" or (lock["table_name"], lock["record"]) == (table, record)]  # fmt: skip
    return lock_words(page, held[0]) if held else ""


def take(
    page: PageContext, subject_id: str, spec: FormSpec, form: Form, verb: Callable[..., object], *arguments: object
) -> Response:
    """Run the use case with what the form says; on success go back, else show the form with its messages.

    Where somebody saved in between, both versions are shown, and a way back to the form with what was typed.
    """
    call = partial(verb, page.trial, page.actor, *arguments)
    return _take(page, subject_id, spec, form, call, lambda: _saved_now(page, subject_id, spec, form))


def take_lines(
    page: PageContext,
    subject_id: str,
    spec: FormSpec,
    form: Form,
    verb: Callable[..., object],
    command: object,
    *,
    table: str,
    column: str,
) -> Response:
    """`take` for a form whose fields are records of their own; a stale one shows both versions of each line."""

    def saved() -> tuple[Mapping[str, str], None]:
        rows = queries.of_subject(page.reader, page.actor, table, subject_id)
        return {row["item"]: row[column] or "" for row in rows}, None

    return _take(page, subject_id, spec, form, partial(verb, page.trial, page.actor, command), saved)


def read_and_take(
    page: PageContext,
    subject_id: str,
    spec: FormSpec,
    command: type[Any],
    verb: Callable[..., object],
    **given: Any,
) -> Response:
    """`take` for a use case whose command is a dataclass with the form's fields."""
    form = page.form(spec.family)
    read = form.read(command, subject_id=subject_id, **given)
    if read is None:
        return show_form(page, subject_id, spec, form, status=422)
    return take(page, subject_id, spec, form, verb, read)


def signed_take(
    page: PageContext, subject_id: str, spec: FormSpec, command: Callable[[Any], object], verb: Callable[..., object]
) -> Response:
    """`take` for a use case whose command carries a confirmed signature."""
    form = page.form(spec.family)
    confirmed = page.confirmed(form)
    if confirmed is None:
        return show_form(page, subject_id, spec, form, status=422)
    return take(page, subject_id, spec, form, verb, command(confirmed))


def version_of(form: Form) -> int | None:
    """The version of the record that the person saw (0: there was none), where the form carries one."""
    text = form.value("version")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _take(
    page: PageContext,
    subject_id: str,
    spec: FormSpec,
    form: Form,
    call: Callable[[], object],
    saved: Callable[[], tuple[Mapping[str, str], tuple[str, Record] | None]],
) -> Response:
    if again(form):
        return show_form(page, subject_id, spec, form)
    try:
        done = attempt_fields(form, spec.names, call)
    except StaleRecordError as error:
        page.close()  # the saved values are read as they are now
        texts, found = saved()
        pairs = [(_worded(page, spec.family, f), texts.get(f.column or f.name, "")) for f in spec.fields]
        lines = [(f.label, _shown(f, form.value(f.name)), _shown(f, text)) for f, text in pairs]
        if found is None:
            return stale_page(page, error, lines)
        table, row = found
        hidden = {"record_id": str(row["record_id"]), "version": str(row["record_version"])}
        return stale_page(page, error, lines, record=(table, int(row["record_id"])), hidden=hidden)
    if done:
        return page.redirect(f"/subjects/{subject_id}{spec.back}", notice=f"{spec.family}.done")
    return show_form(page, subject_id, spec, form, status=422)


def _saved_now(
    page: PageContext, subject_id: str, spec: FormSpec, form: Form
) -> tuple[Mapping[str, str], tuple[str, Record] | None]:
    """The form's record as it is saved now, by field; the one of the same key where the form makes a new one."""
    table = spec.saved[0] if spec.saved is not None else spec.makes
    rows = queries.of_subject(page.reader, page.actor, table, subject_id) if table in SCHEMA else []
    if spec.saved is not None:
        found = [row for row in rows if row["record_id"] == spec.saved[1]["record_id"]]
    else:
        keys = [name for name in SCHEMA[table].keys if name != "subject_id"] if rows else []
        found = [row for row in rows if all(str(row[name]) == form.value(name).strip() for name in keys)]
    if not found:
        return {}, None
    texts = values_of(found[0], form.zone)
    return {name: next(iter(values), "") for name, values in texts.items()}, (table, found[0])


def _shown(one: Field, text: str) -> str:
    """A field's text in the words of its choices."""
    return dict(one.choices).get(text, text)  # type: ignore[arg-type]


def _worded(page: PageContext, family: str, one: Field) -> Field:
    label = one.label or page.t(f"{family}.{one.name}")
    hint = one.hint or page.t.known(f"{family}.{one.name}_hint", otherwise="")
    return replace(one, label=label, hint=hint, choices=[_choice(page, family, one.name, c) for c in one.choices])


def _choice(page: PageContext, family: str, name: str, choice: str | tuple[str, str]) -> tuple[str, str]:
    if not isinstance(choice, str):
        return choice
    shared = page.t.known(f"subject_forms.words.{choice}", otherwise=choice.replace("_", " "))
    return choice, page.t.known(f"{family}.{name}_words.{choice}", otherwise=shared)
