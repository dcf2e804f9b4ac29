"""Documents of the trial: protocol, consent forms and others, by version; which version is in force at which site.

A version's content is a file under its SHA-256 and never changes; a new text is a new version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from lutetia.errors import InputError
from lutetia.trial import Actor, Change, Create, Edit, Event, Reader, Receipt, Record, Sign, Trial, Update, access
from lutetia.trial.clock import day
from lutetia.trial.signatures import Confirmed
from lutetia.workflow.edits import file_edits, required_text
from lutetia.workflow.sites_users import open_site

#: Kinds of documents; a new one is a new word here.
KINDS: tuple[str, ...] = (
    "protocol", "consent", "brochure", "manual", "ethics_approval", "monitoring_report", "validation", "other",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AddDocument:
    """A version of a document with its content."""

    kind: str
    title: str
    version: str
    content: bytes
    media_type: str = "application/pdf"
    valid_from_on: str | None = None


@dataclass(frozen=True, slots=True)
class PutInForce:
    """A version holds at a site from this day; the version before it ends the day before."""

    document_id: str
    site: str
    in_force_from_on: str
    approved_on: str | None = None


@dataclass(frozen=True, slots=True)
class SignDocument:
    """A signature over a document; `meaning` such as "approved" or "read and understood"."""

    document_id: str
    meaning: str
    confirmed: Confirmed


def add_document(trial: Trial, actor: Actor, command: AddDocument) -> Receipt:
    """Store a version of a document; `result` is its number.

    Raises
    ------
    InputError
        For a kind that is not known, an empty file, or a version that this document has already.
    """
    access.require(actor, "manage_users")
    if command.kind not in KINDS:
        raise InputError(f"document: found kind {command.kind!r}; expected one of {', '.join(KINDS)}")
    if not command.content:
        raise InputError(f"document {command.title!r}: found an empty file; choose the file again")
    title = required_text(command.title, "title of the document")
    version = required_text(command.version, "version of the document")
    digest = trial.files.put(command.content)

    def change(reader: Reader) -> Change:
        for row in reader.records("documents", kind=command.kind, title=title):
            if row["version"] == version:
                raise InputError(f"document {title!r}: has a version {version} already; expected a new version")
        number = f"DOC{reader.count('documents') + 1:04d}"
        values = {
            "document_id": number, "kind": command.kind, "title": title, "version": version, "sha256": digest,
            "valid_from_on": command.valid_from_on, "added_by": actor.user_id, "added_at": reader.now,
        }  # fmt: skip
        stored = {digest: (f"{title} {version}", len(command.content), command.media_type)}
        return Change("add_document", [Create("documents", values), *file_edits(reader, actor, stored)], result=number)

    return trial.commit(change, actor)


def put_in_force(trial: Trial, actor: Actor, command: PutInForce) -> Receipt:
    """Make a version the one that holds at a site.

    Raises
    ------
    InputError
        If the day is not after the start of the version in force, or approval comes after it.
    """
    access.require(actor, "manage_users")
    start = day(command.in_force_from_on, where="in_force_from_on")
    if len(start) < 10:
        raise InputError(f"in_force_from_on: found {start!r}; expected a whole date such as 2026-05-31")

    def change(reader: Reader) -> Change:
        open_site(reader, command.site)
        document = reader.record("documents", {"document_id": command.document_id})
        if command.approved_on and command.approved_on > start:
            raise InputError(f"document: found approval on {command.approved_on}, after {start}; correct one of them")
        values = {"document_id": command.document_id, "site": command.site, "in_force_from_on": start,
                  "approved_on": command.approved_on}  # fmt: skip
        edits: list[Edit] = [*_ends(reader, document, command.site, start), Create("document_sites", values)]
        return Change("put_in_force", edits)

    return trial.commit(change, actor)


def sign_document(trial: Trial, actor: Actor, command: SignDocument) -> Receipt:
    """Sign a version of a document."""
    access.require(actor, "sign_forms")
    meaning = required_text(command.meaning, "meaning of the signature")
    covers = (("documents", {"document_id": command.document_id}),)
    return trial.commit(Change("sign_document", [Sign(covers, meaning, command.confirmed)]), actor)


def read_document(trial: Trial, actor: Actor, document_id: str) -> tuple[Record, bytes]:
    """A document's record and content; the reading is noted in the trail.

    Raises
    ------
    AccessDeniedError
        For a person without any role in the trial.
    """
    if not actor.grants:
        access.require(actor, "see_subject")
    with trial.read() as reader:
        document = reader.record("documents", {"document_id": document_id})
    content = trial.files.get(document["sha256"])
    trial.commit(Change("read_document", [Event({"document_id": document_id, "sha256": document["sha256"]})]), actor)
    return document, content


def version_in_force(reader: Reader, kind: str, site: str, on: str) -> Record | None:
    """The document of a kind that holds at a site on a day; None where none is registered."""
    documents = {row["document_id"]: row for row in reader.records("documents", kind=kind)}
    for row in reader.records("document_sites", site=site):
        begun = row["document_id"] in documents and row["in_force_from_on"] <= on
        if begun and (row["in_force_to_on"] is None or on <= row["in_force_to_on"]):
            return documents[row["document_id"]]
    return None


def _ends(reader: Reader, document: Record, site: str, start: str) -> Sequence[Edit]:
    same = {row["document_id"] for row in reader.records("documents", kind=document["kind"])}
    edits = []
    for row in reader.records("document_sites", site=site, in_force_to_on=None):
        if row["document_id"] not in same:
            continue
        if row["in_force_from_on"] >= start:
            found = f"{row['document_id']} holds at site {site} from {row['in_force_from_on']}"
            raise InputError(f"{found}; expected a later day than that; found {start}")
        last = (date.fromisoformat(start) - timedelta(days=1)).isoformat()
        edits.append(Update("document_sites", row["record_id"], {"in_force_to_on": last}))
    return edits
