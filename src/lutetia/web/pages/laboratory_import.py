"""Import of laboratory values from a CSV file: a dry run that says what happens to every row, then the import."""

from __future__ import annotations

from starlette.responses import Response

from lutetia.errors import StaleRecordError
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages.laboratory import plain_reason
from lutetia.web.pages.subject_frame import blank
from lutetia.workflow import laboratory
from lutetia.workflow.laboratory_file import table_text
from lutetia.workflow.laboratory_reading import unit_text

_SHOWN = 400
_ORDER = (laboratory.REFUSED, laboratory.CHANGED, laboratory.NEW, laboratory.SAME)


def show(page: Page) -> Response:
    """The form for a file."""
    return page.render("laboratory/import.html", form=blank(page, "lab_import"), preview=None)


def preview(page: Page) -> Response:
    """Dry run of an uploaded file."""
    form, file = page.form("lab_import"), page.upload("file")
    if file is None:
        form.errors["file"] = page.t("form.missing", field=page.t("lab_import.file"))
        return page.render("laboratory/import.html", status=422, form=form, preview=None)
    return _preview(page, form, laboratory.ImportLabs(file[1], file[0]), field="file")


def store(page: Page) -> Response:
    """Store the rows of the file that was previewed; they are checked again."""
    form = page.form("lab_import")
    command = laboratory.ImportLabs(
        form.value("content").encode(), form.value("file_name") or "file", form.value("reason").strip() or None,
        form.value("skip_refused") == "yes", form.value("seen"),
    )  # fmt: skip
    try:
        stored = form.attempt(laboratory.import_labs, page.trial, page.actor, command)
    except StaleRecordError as error:
        form.errors[""] = str(error)
        return _preview(page, form, command, field="", status=409)
    if stored is None:
        return _preview(page, form, command, field="", status=422)
    return page.render("laboratory/imported.html", stored=stored, counts=_counts(stored.preview))


def _preview(
    page: PageContext, form: Form, command: laboratory.ImportLabs, *, field: str, status: int = 200
) -> Response:
    problem = form.errors.pop("", "")
    found = form.attempt(laboratory.preview_labs, page.trial, page.actor, command)
    if found is None:
        form.errors[field or "file"] = form.errors.pop("")
        return page.render("laboratory/import.html", status=422, form=form, preview=None)
    refused = found.count(laboratory.REFUSED)
    if problem and status == 422 and refused and not command.skip_refused:
        form.errors["skip_refused"] = page.t.plural("lab_import.tick", refused)
    elif problem:
        about_reason = status == 422 and found.count(laboratory.CHANGED) > 0
        form.errors["reason" if about_reason else ""] = problem.partition("\n")[0]
    rows = sorted(found.rows, key=lambda row: (_ORDER.index(row.status), row.number))
    return page.render(
        "laboratory/import.html", status=status, form=form, preview=found, counts=_counts(found), rows=rows[:_SHOWN],
        plain=plain_reason, unit_text=unit_text,
        more=max(0, len(rows) - _SHOWN), file_name=command.file_name,
        content=table_text(command.content, command.file_name),
    )  # fmt: skip


def _counts(found: laboratory.LabPreview) -> dict[str, int]:
    return {status: found.count(status) for status in _ORDER}
