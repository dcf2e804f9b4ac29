"""Steps of a cycle without signature: plan, move, assess, hold, lift, withhold, cancel, close, make void."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.errors import LutetiaError, TransitionError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.field_messages import beside_fields
from lutetia.web.forms import Form
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles import render_cycle
from lutetia.web.pages.cycles_records import CycleNumber, read_cycle
from lutetia.web.problems import status_of
from lutetia.workflow import cycles as workflow
from lutetia.workflow.cycle_interval import interval_of
from lutetia.workflow.prescription import VoidPrescription, void_prescription

Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class StepForm:
    """What the form of a step sends."""

    reason: str


@dataclass(frozen=True, slots=True)
class DayForm:
    """A day for a cycle; the reason where it lies outside of the protocol's interval."""

    planned_on: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MoveForm:
    """Another day for a cycle."""

    planned_on: str
    reason: str
    version: int


Take = Callable[[PageContext, Form, Record], object]


def _ended(verb: Callable[..., object]) -> Take:
    def take(page: PageContext, form: Form, cycle: Record) -> object:
        sent = form.read(StepForm)
        if sent is None:
            return None
        command = workflow.EndCycle(cycle["subject_id"], int(cycle["cycle"]), sent.reason)
        return form.attempt(verb, page.trial, page.actor, command)

    return take


def _move(page: PageContext, form: Form, cycle: Record) -> object:
    sent = form.read(MoveForm)
    if sent is None:
        return None
    command = workflow.MoveCycle(cycle["subject_id"], int(cycle["cycle"]), sent.planned_on, sent.reason, sent.version)
    done = form.attempt(workflow.move_cycle, page.trial, page.actor, command)
    beside_fields(form, ("planned_on", "reason"))
    return done


def _void(page: PageContext, form: Form, cycle: Record) -> object:
    sent = form.read(StepForm)
    if sent is None:
        return None
    found = read_cycle(page, cycle["subject_id"], int(cycle["cycle"]))
    version = int(found.versions[0][0]["version"]) if found.versions else 0
    page.close()
    command = VoidPrescription(cycle["subject_id"], int(cycle["cycle"]), version, sent.reason)
    return form.attempt(void_prescription, page.trial, page.actor, command)


#: Steps with a form of their own: name in the address → what it does.
STEPS: dict[str, Take] = {
    "move": _move,
    "hold": _ended(workflow.hold_cycle),
    "lift": _ended(workflow.lift_hold),
    "withhold": _ended(workflow.withhold_cycle),
    "cancel": _ended(workflow.cancel_cycle),
    "void": _void,
    "withdraw": _void,
}


def form_of(step: str) -> Handler:
    """The page with the form of a step."""

    def show(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
        page.refuse_masked()
        record = read_cycle(page, subject_id, cycle).cycle
        saved = {"planned_on": record["planned_on"]} if step == "move" else {}
        return _form_page(page, subject_id, cycle, step, page.saved_form(view.FAMILY, saved))

    return show


def take(step: str) -> Handler:
    """Do a step, or show its form again."""

    def post(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
        page.refuse_masked()
        form, found = page.form(view.FAMILY), read_cycle(page, subject_id, cycle)
        page.close()
        if STEPS[step](page, form, found.cycle) is not None:
            return page.redirect(found.path, notice=f"cycles.done.{step}")
        return _form_page(page, subject_id, cycle, step, form, status=422)

    return post


def _form_page(page: PageContext, subject_id: str, cycle: int, step: str, form: Form, *, status: int = 200) -> Response:
    found = read_cycle(page, subject_id, cycle)
    return page.render("cycles/step.html", status=status, step=step, form=form, **view.head(page, found))


def assess(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Assess laboratory values and events by the protocol's rules."""
    page.refuse_masked()
    command = workflow.AssessCycle(subject_id, cycle)
    return _at_once(page, subject_id, cycle, lambda: workflow.assess_cycle(page.trial, page.actor, command), "assess")


def close(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Close a cycle whose doses are known or recorded as missing."""
    page.refuse_masked()
    command = workflow.EndCycle(subject_id, cycle)
    return _at_once(page, subject_id, cycle, lambda: workflow.close_cycle(page.trial, page.actor, command), "close")


def _at_once(page: PageContext, subject_id: str, cycle: int, verb: Callable[[], Any], step: str) -> Response:
    """A step without form; its refusal is shown on the cycle's page."""
    try:
        verb()
    except LutetiaError as error:
        status, _ = status_of(error)
        if status not in (409, 422):
            raise
        return render_cycle(page, subject_id, cycle, problem=str(error), status=status)
    return page.redirect(f"/subjects/{subject_id}/cycles/{cycle}", notice=f"cycles.done.{step}")


def show_plan(page: Page, subject_id: str) -> Response:
    """The form for the subject's next cycle."""
    return _plan_page(page, subject_id, page.form(view.FAMILY))


def plan(page: Page, subject_id: str) -> Response:
    """Plan the subject's next cycle."""
    form = page.form(view.FAMILY)
    if (sent := form.read(DayForm)) is not None:
        command = workflow.PlanCycle(subject_id, sent.planned_on, sent.reason)
        number = form.attempt(workflow.plan_cycle, page.trial, page.actor, command)
        if number is not None:
            return page.redirect(f"/subjects/{subject_id}/cycles/{number}", notice="cycles.done.plan")
        beside_fields(form, ("planned_on", "reason"))
    return _plan_page(page, subject_id, form, status=422)


def _plan_page(page: PageContext, subject_id: str, form: Form, *, status: int = 200) -> Response:
    subject = queries.subject(page.reader, page.actor, subject_id)
    try:
        number, refused = workflow.following_cycle(page.trial, page.reader, subject), ""
    except TransitionError as error:
        number, refused = None, str(error)
    return page.render("cycles/plan.html", status=status, subject=subject, number=number, refused=refused, form=form,
                       due=interval_of(page.trial, page.reader, subject_id))  # fmt: skip
