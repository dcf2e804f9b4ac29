"""Product batches of a site: received, used, returned, discarded, and what must still be there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.report.numbers import fixed, nuclide_text
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages import cycles_view as view
from lutetia.workflow import batches as workflow

#: Nuclides that the offered list names; the workflow refuses what it does not know.
NUCLIDES = ("Lu-177", "Y-90")


@dataclass(frozen=True, slots=True)
class MoveForm:
    """Activity that was returned or discarded."""

    kind: str
    activity_MBq: float
    moved_at: str
    note: str


def show(page: Page) -> Response:
    """Batches at the person's sites with their accounts."""
    page.refuse_masked()
    return _list(page, page.saved_form(view.FAMILY, {}))


def receive(page: Page) -> Response:
    """Record a batch that arrived."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    sent = form.read(workflow.ReceiveBatch)
    if sent is not None and form.attempt(workflow.receive_batch, page.trial, page.actor, sent) is not None:
        return page.redirect(f"/batches/{sent.batch}", notice="cycles.done.receive")
    return _list(page, form, status=422)


def account(page: Page, batch: str) -> Response:
    """One batch: its movements and what is left."""
    page.refuse_masked()
    return _one(page, batch, page.saved_form(view.FAMILY, {}))


def move(page: Page, batch: str) -> Response:
    """Record activity that was returned or discarded."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if (sent := form.read(MoveForm)) is not None:
        command = workflow.MoveBatch(batch, sent.kind, sent.activity_MBq, sent.moved_at, sent.note)
        if form.attempt(workflow.move_batch, page.trial, page.actor, command) is not None:
            return page.redirect(f"/batches/{batch}", notice="cycles.done.moved")
    return _one(page, batch, form, status=422)


def close(page: Page, batch: str) -> Response:
    """Close a batch that is accounted for."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    if form.attempt(workflow.close_batch, page.trial, page.actor, batch) is not None:
        return page.redirect(f"/batches/{batch}", notice="cycles.done.batch_closed")
    return _one(page, batch, form, status=422)


def _list(page: PageContext, form: Form, *, status: int = 200) -> Response:
    own = page.sites("record_administration")
    rows = queries.records(page.reader, page.actor, "product_batches")
    rows = [r for r in rows if own is None or r["site"] in own]
    rows.sort(key=lambda r: (r["state"] != "OPEN", r["calibrated_at"]), reverse=False)
    shown, part = page.paged(rows)
    sites = [(s["site"], f"{s['site']} {s['name']}") for s in queries.records(page.reader, page.actor, "sites")
             if own is None or s["site"] in own]  # fmt: skip
    return page.render(
        "cycles/batches.html", status=status, form=form, part=part, sites=sites,
        rows=[_row(page, r) for r in shown], nuclides=[(n, nuclide_text(n)) for n in NUCLIDES],
    )  # fmt: skip


def _row(page: PageContext, row: Record) -> dict[str, Any]:
    found = workflow.batch_account(page.trial, page.actor, row["batch"])
    expired = row["expires_at"] < page.reader.now
    return {
        **row, "text": nuclide_text(row["nuclide"]), "received_MBq": fixed(found.received_MBq, 0),
        "used_MBq": fixed(found.used_MBq, 0), "gone_MBq": fixed(found.returned_MBq + found.discarded_MBq, 0),
        "rest_MBq": fixed(found.rest_MBq, 0), "expired": expired,
        "open": abs(found.rest_MBq) > 0.1 * found.received_MBq,
    }  # fmt: skip


def _one(page: PageContext, batch: str, form: Form, *, status: int = 200) -> Response:
    row = workflow.batch_of(page.reader, batch)
    moves = page.reader.records("product_movements", batch=batch)  # the guard and `refuse_masked` have let it pass
    people = queries.people(page.reader)
    shown = [{**m, "at": page.local(m["moved_at"]), "who": people.get(m["moved_by"], m["moved_by"]),
              "amount": fixed(float(m["activity_MBq"]), 0)} for m in moves]  # fmt: skip
    return page.render("cycles/batch.html", status=status, form=form, row=_row(page, row), moves=shown,
                       kinds=[(k, page.t(f"cycles.moves.{k}")) for k in workflow.KINDS])  # fmt: skip
