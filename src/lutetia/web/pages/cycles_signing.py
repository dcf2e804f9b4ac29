"""Signatures of a prescription: propose, release, lower, reject, override, approve; each page shows what is signed.

What a signature asks for is in `context.PageContext.confirmed`. Not here: the rules who may sign what
(`lutetia.workflow.prescription`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.errors import TransitionError
from lutetia.report.numbers import nuclide_text
from lutetia.trial.signatures import Confirmed
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles import what_if_fields
from lutetia.web.pages.cycles_records import CycleNumber, CycleRecords, Shown, read_cycle, shown_proposal
from lutetia.workflow import prescription as workflow
from lutetia.workflow.prescription_choice import REASONS, ProposeCycle

Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class SignForm:
    """What every signature's form sends."""

    reason: str = ""
    note: str = ""
    inputs: str = ""
    seen_version: int = 0
    acknowledged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signing:
    """One kind of signature: the role that signs, what the workflow does, and what the form asks besides."""

    role: str
    take: Callable[[PageContext, Form, Shown, SignForm, Confirmed], object]
    states: tuple[str, ...]
    reason: bool = True
    activities: bool = False
    conditions: bool = False


def _decision(verb: Callable[..., object]) -> Callable[[PageContext, Form, Shown, SignForm, Confirmed], object]:
    def take(page: PageContext, form: Form, shown: Shown, sent: SignForm, confirmed: Confirmed) -> object:
        where = page.request.path_params
        command = workflow.DecideOnPrescription(
            where["subject_id"], int(where["cycle"]), sent.seen_version, confirmed, sent.reason, sent.acknowledged
        )
        return form.attempt(verb, page.trial, page.actor, command)

    return take


def _propose(page: PageContext, form: Form, shown: Shown, sent: SignForm, confirmed: Confirmed) -> object:
    where = page.request.path_params
    command = ProposeCycle(
        where["subject_id"], int(where["cycle"]), confirmed, _activities(form, shown), sent.reason, sent.note,
        sent.acknowledged, sent.inputs or None,
    )  # fmt: skip
    return form.attempt(workflow.propose_cycle, page.trial, page.actor, command)


def _lower(page: PageContext, form: Form, shown: Shown, sent: SignForm, confirmed: Confirmed) -> object:
    where = page.request.path_params
    command = workflow.LowerPrescription(
        where["subject_id"], int(where["cycle"]), sent.seen_version, _activities(form, shown), sent.reason, confirmed,
        sent.acknowledged,
    )  # fmt: skip
    return form.attempt(workflow.lower_prescription, page.trial, page.actor, command)


#: Signatures: name in the address → kind.
SIGNINGS: dict[str, Signing] = {
    "propose": Signing("physicist", _propose, ("PREVIEW",), reason=False, activities=True, conditions=True),
    "release": Signing("physician", _decision(workflow.release_prescription), ("PROPOSED",), reason=False,
                       conditions=True),
    "reject": Signing("physician", _decision(workflow.reject_prescription), ("PROPOSED",)),
    "override": Signing("physician", _decision(workflow.request_override), ("PROPOSED",), conditions=True),
    "approve": Signing("physician", _decision(workflow.approve_override), ("OVERRIDE_PENDING",)),
    "lower": Signing("physician", _lower, ("PROPOSED", "RELEASED"), activities=True, conditions=True),
}  # fmt: skip


def form_of(kind: str) -> Handler:
    """The page on which a person signs: what is signed, and the fields of the signature."""

    def show(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
        page.refuse_masked()
        found = read_cycle(page, subject_id, cycle)
        shown = _to_sign(page, found, kind)
        values = {view_name(n): f"{a:.12g}" for n, a in shown.activities.items()}
        return _sign_page(page, found, shown, kind, page.saved_form(view.FAMILY, values))

    return show


def sign(kind: str) -> Handler:
    """Check the signature's components, then do what it is for; mistakes are shown on the same page."""

    def post(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
        page.refuse_masked()
        found = read_cycle(page, subject_id, cycle)
        form = page.form(view.FAMILY)
        shown = _to_sign(page, found, kind)
        _check_activities(form, shown, SIGNINGS[kind])
        sent = form.read(SignForm)
        if sent is not None and not form.errors:
            page.close()
            if _signed(page, form, shown, sent, SIGNINGS[kind]) is not None:
                return page.redirect(found.path, notice=f"cycles.done.{kind}")
        found = read_cycle(page, subject_id, cycle)
        return _sign_page(page, found, shown, kind, form, status=422)

    return post


def _signed(page: PageContext, form: Form, shown: Shown, sent: SignForm, kind: Signing) -> object:
    confirmed = page.confirmed(form, role=kind.role)
    return None if confirmed is None else kind.take(page, form, shown, sent, confirmed)


def _to_sign(page: PageContext, found: CycleRecords, kind: str) -> Shown:
    shown = shown_proposal(page, found)
    if isinstance(shown, str):
        raise TransitionError(shown)
    state = "none" if shown is None else (shown.rows[0]["state"] if shown.rows else "PREVIEW")
    if shown is None or state not in SIGNINGS[kind].states:
        raise TransitionError(
            f"cycle {found.number}: found {found.cycle['state']} with prescription {state}; expected "
            f"{' or '.join(SIGNINGS[kind].states)} to {kind}; open the cycle's page"
        )
    return shown


def view_name(nuclide: str) -> str:
    """Name of the input of a nuclide's activity."""
    return f"activity.{nuclide}"


def _check_activities(form: Form, shown: Shown, kind: Signing) -> None:
    if not kind.activities:
        return
    for name in shown.activities:
        text = form.value(view_name(name)).strip()
        try:
            float(text)
        except ValueError:
            key = "form.not_a_number" if text else "form.missing"
            form.errors[view_name(name)] = form.texts(key, field=nuclide_text(name), found=text)


def _activities(form: Form, shown: Shown) -> Mapping[str, float]:
    return {name: float(form.value(view_name(name))) for name in shown.activities}


def _sign_page(
    page: PageContext, found: CycleRecords, shown: Shown, name: str, form: Form, *, status: int = 200
) -> Response:
    kind = SIGNINGS[name]
    values: dict[str, Any] = view.head(page, found)
    return page.render(
        "cycles/sign.html", status=status, form=form, kind=kind, step=name, shown=shown,
        activities=view.activities(page, shown),
        limits=view.limit_views(page, shown.limits, found.number), bound=view.bound_by(page, shown),
        fields=what_if_fields(shown), meaning=page.t(f"cycles.meaning.{name}"),
        reasons=[(r, page.t(f"cycles.reasons.{r}")) for r in REASONS],
        provenance=view.provenance(page, shown), **values,
    )  # fmt: skip
