"""Forms about one subject: a form is a few lines of data here and looks and behaves the same everywhere.

`FormSpec` says which fields a form has; `show_form` shows it, `take` runs its use case and comes back with messages
beside the fields where that refuses. Words: `family.title`, `family.lead`, `family.submit`, `family.done`, and for each
field `family.field`, `family.field_hint` and, for choices, `family.field_words.value`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from starlette.responses import Response

from lutetia.errors import StaleRecordError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import PageContext
from lutetia.web.field_messages import attempt_fields
from lutetia.web.forms import Form
from lutetia.web.pages.subject_frame import subject_page

Kind = Literal["text", "number", "date", "moment", "textarea", "select", "radios"]


@dataclass(frozen=True, slots=True)
class Field:
    """One input: `choices` are stored words, or (stored word, shown words) pairs."""

    kind: Kind
    name: str
    choices: Sequence[str | tuple[str, str]] = ()
    unit: str = ""
    required: bool = True
    label: str = ""
    hint: str = ""
    wide: bool = False


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
    """

    family: str
    part: str
    path: str
    back: str
    fields: tuple[Field, ...] = ()
    reason: Literal["", "required", "optional"] = ""
    meaning: str = ""
    saved: tuple[str, Record] | None = None
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
    )  # fmt: skip


def take(
    page: PageContext, subject_id: str, spec: FormSpec, form: Form, verb: Callable[..., object], *arguments: object
) -> Response:
    """Run the use case with what the form says; on success go back, else show the form with its messages."""
    if attempt_fields(form, spec.names, verb, page.trial, page.actor, *arguments):
        return page.redirect(f"/subjects/{subject_id}{spec.back}", notice=f"{spec.family}.done")
    return show_form(page, subject_id, spec, form, status=422)


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
    try:
        return take(page, subject_id, spec, form, verb, command)
    except StaleRecordError as error:
        rows = queries.of_subject(page.reader, page.actor, table, subject_id)
        saved = {row["item"]: row[column] or "" for row in rows}
        pairs = ((_worded(page, spec.family, f).label, form.value(f.name), saved.get(f.name, "")) for f in spec.fields)
        differing = [line for line in pairs if line[1] != line[2]]
        return page.render("errors/stale.html", status=409, versions=differing, saved=str(error))


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
    """The version of the record that the person saw, where the form carries one."""
    text = form.value("version")
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _worded(page: PageContext, family: str, one: Field) -> Field:
    label = one.label or page.t(f"{family}.{one.name}")
    hint = one.hint or page.t.known(f"{family}.{one.name}_hint", otherwise="")
    return replace(one, label=label, hint=hint, choices=[_choice(page, family, one.name, c) for c in one.choices])


def _choice(page: PageContext, family: str, name: str, choice: str | tuple[str, str]) -> tuple[str, str]:
    if not isinstance(choice, str):
        return choice
    shared = page.t.known(f"subject_forms.words.{choice}", otherwise=choice.replace("_", " "))
    return choice, page.t.known(f"{family}.{name}_words.{choice}", otherwise=shared)
