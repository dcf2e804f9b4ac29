"""Documents of the trial by version, and which version is in force at which site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.workflow import documents


@dataclass(frozen=True, slots=True)
class DocumentForm:
    """The fields of a new version, as the form sends them."""

    kind: str
    title: str
    version: str
    valid_from_on: str | None = None


def show(page: Page) -> Response:
    """All documents; who keeps them also sees the forms."""
    return _list(page, page.form("documents"))


def add(page: Page) -> Response:
    """Store a version of a document."""
    form, file = page.form("documents"), page.upload("file")
    sent = form.read(DocumentForm)
    if file is None:
        form.errors["file"] = page.t("form.missing", field=form.label("file"))
    elif sent is not None:
        media = "application/pdf" if file[1].startswith(b"%PDF-") else "application/octet-stream"
        command = documents.AddDocument(sent.kind, sent.title, sent.version, file[1], media, sent.valid_from_on)
        if form.attempt(documents.add_document, page.trial, page.actor, command) is not None:
            return page.redirect("/documents", notice="documents.added")
    return _list(page, form, status=422)


def put_in_force(page: Page) -> Response:
    """Make a version the one that holds at a site."""
    form = page.form("documents")
    command = form.read(documents.PutInForce)
    if command is None or form.attempt(documents.put_in_force, page.trial, page.actor, command) is None:
        return _list(page, form, part="force", status=422)
    return page.redirect("/documents", notice="documents.put_in_force")


def download(page: Page, document_id: str) -> Response:
    """The file of a version; reading it is noted in the trail.."""
    record, content = documents.read_document(page.trial, page.actor, document_id)
    is_pdf = content.startswith(b"%PDF-")
    name = "".join(
        c if c.isascii() and (c.isalnum() or c in "-.") else "_" for c in f"{record['title']}_{record['version']}"
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}{".pdf" if is_pdf else ""}"'}
    return Response(content, media_type="application/pdf" if is_pdf else "application/octet-stream", headers=headers)


def _list(page: PageContext, form: Form, *, part: str = "add", status: int = 200) -> Response:
    rows = queries.records(page.reader, page.actor, "documents")
    places: dict[str, list[dict[str, Any]]] = {}
    for row in queries.records(page.reader, page.actor, "document_sites"):
        places.setdefault(row["document_id"], []).append(row)
    sites = [(s["site"], f"{s['site']} {s['name']}") for s in queries.records(page.reader, page.actor, "sites")]
    empty = Form(page.t, "documents", page.services.study.zone)
    return page.render(
        "documents/list.html", status=status, documents=rows, places=places, sites=sites, kinds=documents.KINDS,
        add_form=form if part == "add" else empty, force_form=form if part == "force" else empty,
        people=queries.people(page.reader), keeps=page.may("manage_users"),
    )  # fmt: skip
