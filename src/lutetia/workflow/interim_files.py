"""Archives of an interim analysis, open and closed apart, and the sheet that shows who signed which files.

The reports are finished before they are signed and never change, so the signature is a sheet of its own beside them:
it names every file with its SHA-256, the person, the time, the meaning and the audit head of the snapshot.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

from lutetia.errors import MissingRecordError
from lutetia.report.document import Block, Callout, Column, Document, Facts, Heading, Span, Table, rich
from lutetia.trial import access
from lutetia.trial.reader import Record
from lutetia.trial.records import Actor
from lutetia.trial.signatures import VALID, printed
from lutetia.trial.store import Trial
from lutetia.workflow.interim import (
    OPEN,
    note_closed_reading,
    right_for,
    signature_of,
    snapshot_of,
    version_rows,
)

SHEET = "signature.pdf"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal content gives equal bytes


def interim_archive(trial: Trial, actor: Actor, snapshot_id: str, *, version: int, closed: bool) -> bytes:
    """All files of a version's open or closed set as a ZIP, with the signature sheet where it is signed.

    Raises
    ------
    AccessDeniedError
        Without the right to read the set.
    MissingRecordError
        If the version was not made.
    """
    access.require(actor, "read_closed_report" if closed else "open_report")
    with trial.read() as reader:
        rows = [r for r in version_rows(reader, snapshot_id, version) if (r["kind"] not in OPEN) == closed]
        signed = signature_of(reader, rows) is not None
    if closed:
        note_closed_reading(trial, actor, {"snapshot": snapshot_id, "file": f"all files of version {version}"})
    contents = {row["kind"]: trial.files.get(row["sha256"]) for row in rows}
    if signed:
        contents[SHEET] = signature_sheet(trial, actor, snapshot_id, version=version, closed=closed)
    return zipped(contents)


def signature_sheet(trial: Trial, actor: Actor, snapshot_id: str, *, version: int, closed: bool) -> bytes:
    """One page (PDF) with the printed signature of a version's open or closed set; the same bytes each time.

    Raises
    ------
    AccessDeniedError
        Without the right to read the set.
    MissingRecordError
        If the version was not made or not signed.
    """
    from lutetia.report.pdf import render_pdf

    access.require(actor, "read_closed_report" if closed else "open_report")
    with trial.read() as reader:
        study = reader.records("study")[0]
        snapshot = snapshot_of(reader, snapshot_id)
        rows = [r for r in version_rows(reader, snapshot_id, version) if (r["kind"] not in OPEN) == closed]
        signature = signature_of(reader, rows)
    if signature is None:
        raise MissingRecordError(f"snapshot {snapshot_id}, version {version}: is not signed; sign it first")
    zone = str((study["settings"] or {}).get("timezone", "UTC"))
    return render_pdf(_sheet(study, snapshot, rows, signature=signature, version=version, zone=zone))


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """Files by name as a ZIP; equal contents give equal bytes."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, contents[name], compresslevel=6)
    return memory.getvalue()


def _sheet(
    study: Record, snapshot: Record, rows: Sequence[Record], *, signature: Record, version: int, zone: str
) -> Document:  # fmt: skip
    kind = "open, pooled" if right_for(rows[0]["kind"]) == "open_report" else "closed, by arm"
    words, head = printed(signature, zone=zone), str(snapshot["audit_head"])
    tone, title = ("ok", "Signed") if signature["status"] == VALID else ("danger", "Signature not valid")
    facts = (
        ("Study", f"{study['title']} ({study['study_id']})"), ("Snapshot", snapshot["snapshot_id"]),
        ("Purpose", snapshot["purpose"]), ("Data cut", snapshot["cut_on"]), ("Snapshot SHA-256", snapshot["sha256"]),
        ("Audit head of the snapshot", head), ("Audit head at signing", signature["audit_head"]),
        ("Digest that was signed", signature["digest"]), ("Software", rows[0]["software"]),
    )  # fmt: skip
    files = tuple((rich(row["kind"]), rich(Span(row["sha256"], code=True))) for row in rows)
    blocks: tuple[Block, ...] = (
        Callout("ok" if tone == "ok" else "danger", rich(title), (rich(words),)),
        Facts(tuple((rich(name), rich(str(value or "not stated"))) for name, value in facts)),
        Heading(rich("Files under this signature")),
        Table((Column(rich("File"), width=1.0), Column(rich("SHA-256"), width=3.0)), files, many=len(files) > 26),
    )
    return Document(
        title=rich("Signature of an interim analysis"),
        subtitle=rich(f"{study['title']}; {kind}; version {version}"),
        header=(f"Interim analysis: {kind}", f"version {version}"),
        footer=(f"snapshot {str(snapshot['sha256'])[:16]}", f"audit head {head}"),
        intended_use="Belongs to the reports that it names; without them it says nothing.",
        blocks=blocks,
    )
