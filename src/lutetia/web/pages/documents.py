"""Documents of the trial by version, and which version is in force at which site."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.signatures import printed, signatures_of
from lutetia.web.context import Page, PageContext
from lutetia.web.files import shown
from lutetia.web.forms import Form
from lutetia.workflow import documents, study_setup
from lutetia.workflow.downloads import Download

Meaning = Literal["approved", "read"]
_MEANINGS = "document_signature.meanings"
#: Forms of the page, each with the family of its words.
_FORMS = {"add": "documents", "force": "documents", "amendment": "amendment", "signature": "document_signature"}


@dataclass(frozen=True, slots=True)
class DocumentForm:
    """The fields of a new version, as the form sends them."""

    kind: str
    title: str
    version: str
    valid_from_on: str | None = None


@dataclass(frozen=True, slots=True)
class AmendmentForm:
    """Why the protocol is amended, and the version of the study's record that the person saw."""

    reason: str
    version: int


@dataclass(frozen=True, slots=True)
class SignatureForm:
    """What is signed, and what the signature says."""

    document_id: str
    meaning: Meaning


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


def amend(page: Page) -> Response:
    """Put an amended protocol, or amended settings of the study, in force."""
    form, file = page.form("amendment"), page.upload("protocol_file")
    if file is None:
        form.errors["protocol_file"] = page.t("form.missing", field=form.label("protocol_file"))
    sent = form.read(AmendmentForm)
    if sent is not None and file is not None:
        command = study_setup.AmendProtocol(file[1], sent.reason, sent.version)
        if form.attempt(study_setup.amend_study, page.trial, page.actor, command) is not None:
            return page.redirect("/documents", notice="amendment.done")
        form.errors["protocol_file"] = form.errors.pop("")
    return _list(page, form, part="amendment", status=422)


def sign(page: Page) -> Response:
    """Sign a version of a document."""
    form = page.form("document_signature")
    sent = form.read(SignatureForm)
    signed = page.confirmed(form) if sent is not None else None
    if sent is not None and signed is not None:
        command = documents.SignDocument(sent.document_id, page.t(f"{_MEANINGS}.{sent.meaning}"), signed)
        if form.attempt(documents.sign_document, page.trial, page.actor, command) is not None:
            return page.redirect("/documents", notice="document_signature.done")
    return _list(page, form, part="signature", status=422)


def download(page: Page, document_id: str) -> Response:
    """The file of a version, opened or (`?save=yes`) saved; reading it is noted in the trail."""
    record, content = documents.read_document(page.trial, page.actor, document_id)
    is_pdf = content.startswith(b"%PDF-")
    file = Download(f"{record['title']}_{record['version']}{'.pdf' if is_pdf else ''}", content)
    media = "application/pdf" if is_pdf else "application/octet-stream"
    return shown(file, media, save=page.argument("save") == "yes")


def _list(page: PageContext, form: Form, *, part: str = "add", status: int = 200) -> Response:
    rows = queries.records(page.reader, page.actor, "documents")
    places: dict[str, list[dict[str, Any]]] = {}
    for row in queries.records(page.reader, page.actor, "document_sites"):
        places.setdefault(row["document_id"], []).append(row)
    sites = [(s["site"], f"{s['site']} {s['name']}") for s in queries.records(page.reader, page.actor, "sites")]
    zone = page.zone
    empty = {name: Form(page.t, family, zone) for name, family in _FORMS.items()}
    stored = partial(queries.stored_number, page.reader, page.actor)
    signatures = {
        row["document_id"]: [
            printed(s, zone=zone.key) for s in signatures_of(page.reader, "documents", stored(row["record_id"]))
        ]
        for row in rows
    }
    return page.render(
        "documents/list.html", status=status, documents=rows, places=places, sites=sites, kinds=documents.KINDS,
        forms=empty | {part: form}, people=queries.people(page.reader), keeps=page.may("manage_users"),
        signs=page.may("sign_forms"), study=queries.study(page.reader), signatures=signatures,
        meanings=[(m, page.t(f"{_MEANINGS}.{m}")) for m in get_args(Meaning)],
    )  # fmt: skip
