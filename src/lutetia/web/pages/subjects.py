"""The list of subjects, and enrolment of a new one."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.trial.states import MACHINES
from lutetia.web import reading_subjects
from lutetia.web.context import Page, PageContext
from lutetia.web.field_messages import attempt_fields
from lutetia.web.forms import Form
from lutetia.web.pages.adverse_events import unreported
from lutetia.web.pages.subject_frame import TONES, blank
from lutetia.workflow import screening
from lutetia.workflow.entry_checks import RULES

STATES = MACHINES["subject"].states


def show(page: Page) -> Response:
    """Subjects at the person's sites, filtered by site, state and number."""
    wanted = {name: page.argument(name) for name in ("site", "state", "text")}
    rows = queries.subjects(page.reader, page.actor, site=wanted["site"] or None, state=wanted["state"] or None)
    text = wanted["text"].upper()
    rows = [row for row in rows if text in row["subject_id"].upper()]
    shown, part = page.paged(rows)
    return page.render(
        "subjects/list.html", rows=_rows(page, shown), part=part, form=blank(page, "subjects", **wanted),
        sites=_sites(page), states=[(s, page.t(f"subjects.states.{s}")) for s in STATES], masked=page.masked,
        due=unreported(page),
    )  # fmt: skip


def enrol_form(page: Page) -> Response:
    """The form of enrolment."""
    sites = _sites(page, action="enter_data")
    first = {"site": sites[0][0]} if len(sites) == 1 else {}
    return _enrol(page, blank(page, "subjects", **first, screened_on=page.today()))


def enrol(page: Page) -> Response:
    """Register a screened subject."""
    form = page.form("subjects")
    command = form.read(screening.Enrol)
    if command is None:
        return _enrol(page, form, status=422)
    receipts: list[Any] = []
    names = [*RULES["subjects"], "subject_id", "screened_on"]
    if not attempt_fields(form, names, lambda: receipts.append(screening.enrol(page.trial, page.actor, command))):
        return _enrol(page, form, status=422)
    return page.redirect(f"/subjects/{receipts[0].result}/screening", notice="subjects.enrolled")


def _enrol(page: PageContext, form: Form, *, status: int = 200) -> Response:
    sites = _sites(page, action="enter_data")
    return page.render("subjects/enrol.html", status=status, form=form, sites=sites, sexes=_sexes(page))


def _sexes(page: PageContext) -> list[tuple[str, str]]:
    return [(word, page.t(f"subjects.sexes.{word}")) for word in RULES["subjects"]["sex"].choices]


def _sites(page: PageContext, *, action: str = "see_subject") -> list[tuple[str, str]]:
    own = page.sites(action)
    rows = queries.records(page.reader, page.actor, "sites")
    return [(r["site"], f"{r['site']} {r['name'] or ''}") for r in rows if own is None or r["site"] in own]


def _rows(page: PageContext, subjects: Any) -> list[dict[str, Any]]:
    ids = [row["subject_id"] for row in subjects]
    visits = reading_subjects.next_visits(page.reader, ids)
    asked = reading_subjects.open_queries(page.reader, page.actor, ids)
    given = reading_subjects.cycles_given(page.reader, ids)
    return [_row(page, row, visits.get(row["subject_id"]), asked, given) for row in subjects]


def _row(
    page: PageContext, row: Record, visit: Record | None, asked: dict[str, int], given: dict[str, int]
) -> dict[str, Any]:
    state, age = row["state"] or "", row["age_years"]
    person = [page.t.known(f"subjects.sexes.{row['sex']}", otherwise=""), "" if age is None else f"{age:g}"]
    late = visit is not None and (visit["window_to_on"] or visit["due_on"]) < page.today()
    return {
        "id": row["subject_id"], "site": row["site"], "tone": TONES.get(state, ""),
        "person": ", ".join(filter(None, person)),
        "state": page.t.known(f"subjects.states.{state}", otherwise=state), "arm": row["arm"] or "",
        "randomised_on": row["randomised_on"] or "", "cycles": given.get(row["subject_id"], 0),
        "queries": asked.get(row["subject_id"], 0), "visit": visit, "late": late,
    }  # fmt: skip
