"""Sites: which take part, where they are, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.workflow import sites_users


@dataclass(frozen=True, slots=True)
class SiteForm:
    """The fields of a site that can be corrected, as the form sends them."""

    name: str
    country: str
    timezone: str
    reason: str
    version: int
    dicom_senders: str = ""
    opened_on: str = ""


def show(page: Page) -> Response:
    """All sites, and a form for a new one."""
    return _list(page, page.form("sites", {"timezone": page.services.study.zone.key}))


def add(page: Page) -> Response:
    """Open a site."""
    form = page.form("sites")
    command = form.read(sites_users.AddSite)
    if command is None or form.attempt(sites_users.add_site, page.trial, page.actor, command) is None:
        return _list(page, form, status=422)
    return page.redirect("/sites", notice="sites.added")


def edit(page: Page, site: str) -> Response:
    """One site with its fields."""
    return _site(page, site)


def change(page: Page, site: str) -> Response:
    """Correct a site's record, with a reason."""
    form = page.form("sites")
    sent = form.read(SiteForm)
    if sent is not None:
        senders = [title.strip() for title in sent.dicom_senders.split(",") if title.strip()]
        values: dict[str, Any] = {
            "name": sent.name,
            "country": sent.country,
            "timezone": sent.timezone,
            "dicom_senders": senders,
        }
        if sent.opened_on:
            values["opened_on"] = sent.opened_on
        command = sites_users.ChangeSite(site, values, sent.reason, sent.version)
        if form.attempt(sites_users.change_site, page.trial, page.actor, command) is not None:
            return page.redirect(f"/sites/{site}", notice="sites.changed")
    return _site(page, site, form=form, status=422)


def close(page: Page, site: str) -> Response:
    """Close a site for enrolment."""
    form = page.form("sites")
    command = form.read(sites_users.CloseSite, site=site)
    if command is None or form.attempt(sites_users.close_site, page.trial, page.actor, command) is None:
        return _site(page, site, closing=form, status=422)
    return page.redirect(f"/sites/{site}", notice="sites.closed")


def _list(page: PageContext, form: Form, *, status: int = 200) -> Response:
    sites = queries.records(page.reader, page.actor, "sites")
    return page.render("sites/list.html", status=status, form=form, sites=sites)


def _site(
    page: PageContext, site: str, *, form: Form | None = None, closing: Form | None = None, status: int = 200
) -> Response:
    page.reader.record("sites", {"site": site})
    record = queries.records(page.reader, page.actor, "sites", site=site)[0]
    typed = record | {"dicom_senders": ", ".join(record["dicom_senders"] or ())}
    zone = page.zone
    return page.render(
        "sites/edit.html", status=status, site=record, form=form or page.saved_form("sites", typed),
        closing=closing or Form(page.t, "sites", zone, {"on": [page.today()]}),
    )  # fmt: skip
