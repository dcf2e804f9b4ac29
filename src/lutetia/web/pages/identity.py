"""The site's own identity list: enter or read, with a reason, who a subject is; names stay out of the trial's data."""

from __future__ import annotations

from dataclasses import replace

from starlette.responses import Response

from lutetia.trial import identities
from lutetia.web.context import Page, PageContext
from lutetia.web.pages.subject_forms import Field, FormSpec, read_and_take, show_form
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import identity_list

_ENTER = FormSpec(
    "identity", "identity", "/identity", "/identity",
    (Field("text", "name"), Field("date", "birth_date", required=False), Field("text", "local_number", required=False)),
)  # fmt: skip
_AGAIN = replace(_ENTER, fields=(*_ENTER.fields, Field("textarea", "lost")))
_CORRECT = FormSpec(
    "identity_correction", "identity", "/identity/correct", "/identity",
    tuple(replace(f, required=False) for f in _ENTER.fields), reason="required",
)  # fmt: skip
_READ = FormSpec("identity_reading", "identity", "/identity/read", "", (Field("textarea", "reason"),))


def show(page: Page, subject_id: str) -> Response:
    """The form that enters a line of the list, or that reads it where there is one."""
    if identities.has_identity(page.trial, subject_id):
        return show_form(page, subject_id, _READ, blank(page, "identity_reading"))
    return show_form(page, subject_id, _entering(page, subject_id), blank(page, "identity"))


def correct_form(page: Page, subject_id: str) -> Response:
    """The form that corrects a line, without showing it."""
    return show_form(page, subject_id, _CORRECT, blank(page, "identity_correction"))


def correct(page: Page, subject_id: str) -> Response:
    """Correct a line of the list, with a reason."""
    return read_and_take(page, subject_id, _CORRECT, identity_list.CorrectIdentity, identity_list.correct_identity)


def _entering(page: PageContext, subject_id: str) -> FormSpec:
    """The form that enters a line; where one was entered that this list does not hold, it says so."""
    entered = identities.left_behind(page.trial, subject_id)
    return _ENTER if entered is None else replace(
        _AGAIN, notes=(page.t("identity.left_behind", when=page.local(entered)),)
    )  # fmt: skip


def enter(page: Page, subject_id: str) -> Response:
    """Write a line of the list."""
    spec = _entering(page, subject_id)
    return read_and_take(page, subject_id, spec, identity_list.EnterIdentity, identity_list.enter_identity)


def read(page: Page, subject_id: str) -> Response:
    """Show a line of the list; the reading is recorded first."""
    form = page.form("identity_reading")
    reason = form.value("reason").strip()
    if not reason:
        form.errors["reason"] = page.t("form.missing", field=page.t("identity_reading.reason"))
        return show_form(page, subject_id, _READ, form, status=422)
    found = identity_list.read_identity(page.trial, page.actor, subject_id, reason=reason)
    return subject_page(page, subject_id, "identity", "subjects/identity.html", identity=found)
