"""The page of a form that somebody overtook: both versions, and a way back to the form with what was typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.responses import Response

from lutetia.errors import StaleRecordError
from lutetia.web.context import PageContext
from lutetia.web.forms import Form
from lutetia.web.problems import kept_fields, last_saved

#: Field of the way back: the form is shown once more, on the values saved now, with what was typed; nothing is saved.
AGAIN = "again"
_SEEN = ("version", "record_id", "record_table", "family", AGAIN)


def again(form: Form) -> bool:
    """Whether the form comes from the page of a stale form, to be shown once more."""
    return form.value(AGAIN) == "yes"


def stale_page(
    page: PageContext,
    error: StaleRecordError,
    lines: Iterable[tuple[str, str, str]],
    *,
    record: tuple[str, int] | None = None,
    hidden: Mapping[str, str] | None = None,
) -> Response:
    """Both versions of each field that differs.

    Parameters
    ----------
    lines
        Label, own entry and saved value of each field.
    record
        Table and number of the record that was saved meanwhile, of which the page says who saved it.
    hidden
        Fields of the way back besides what was typed.
    """
    saved = last_saved(page, *record) if record is not None else ""
    further = dict(hidden or {})
    kept = [(name, text) for name, text in kept_fields(page) if name not in (*_SEEN, *further)]
    return page.render(
        "errors/stale.html", status=409, versions=[line for line in lines if line[1] != line[2]],
        saved=saved or str(error), path=page.request.url.path,
        back=[*kept, *further.items(), (AGAIN, "yes")],
    )  # fmt: skip
