"""Snapshots: the whole data at one moment as an exchange folder, kept under its hash, for an interim or a release.

The cut is a day of events, the snapshot a state of the database: everything entered by then is in it, and who analyses
it leaves out events after the cut. The stored file never changes; the folder written from it is the same for ever.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutetia.core.provenance import software
from lutetia.dataset.folder import SNAPSHOT, STUDY, Dataset, Row, read_dataset, write_dataset
from lutetia.errors import InputError, StorageError
from lutetia.trial import Actor, Change, Create, Event, Reader, Trial, access, audit
from lutetia.trial.clock import day
from lutetia.workflow.dataset_rows import dataset_rows, masked_rows
from lutetia.workflow.edits import file_edits, required_text
from lutetia.workflow.study_setup import PROTOCOL_FILE, study_record
from lutetia.workflow.study_text import toml_text

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal content gives equal bytes


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """`cut_on`: last day of events that the analysis counts; `purpose` such as "interim 1"."""

    cut_on: str
    purpose: str


@dataclass(frozen=True, slots=True)
class TakenSnapshot:
    """A stored snapshot: its number, the hash that every table and page carries, and the audit head it stands for."""

    snapshot_id: str
    sha256: str
    audit_head: str
    cut_on: str
    subjects: int


def take_snapshot(trial: Trial, actor: Actor, command: TakeSnapshot) -> TakenSnapshot:
    """Store the data as they are now.

    Raises
    ------
    AccessDeniedError
        Without the right to take snapshots.
    InputError
        For a cut in the future.
    """
    access.require(actor, "lock")
    purpose, cut_on = required_text(command.purpose, "purpose of the snapshot"), day(command.cut_on, where="cut_on")
    with trial.read() as reader:
        if len(cut_on) < 10 or cut_on > reader.now[:10]:
            raise InputError(f"cut: found {cut_on}; expected a whole day up to today, {reader.now[:10]}")
        record, tables, files = _extracted(trial, reader, cut_on=cut_on, purpose=purpose)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "dataset"
        sha256 = write_dataset(folder, tables, files=files, snapshot=record)
        content = _zipped(folder)
    digest = trial.files.put(content)

    def change(reader: Reader) -> Change:
        values = {
            "snapshot_id": record["id"], "cut_on": cut_on, "extracted_at": record["extracted_at"], "sha256": sha256,
            "audit_head": record["audit_head"], "audit_sequence": record["audit_sequence"], "file_sha256": digest,
            "created_by": actor.user_id, "purpose": purpose,
        }  # fmt: skip
        stored = {digest: (f"{record['id']}.zip", len(content), "application/zip")}
        return Change("take_snapshot", [Create("snapshots", values), *file_edits(reader, actor, stored)])

    trial.commit(change, actor)
    return TakenSnapshot(record["id"], sha256, record["audit_head"], cut_on, len(tables["subjects"]))


def write_snapshot(trial: Trial, actor: Actor, snapshot_id: str, folder: Path) -> str:
    """Write a stored snapshot as a folder and note the export; a masked person gets the masked variant.

    Returns
    -------
    SHA-256 of the folder's snapshot: that of the stored one, or the masked variant's own.

    Raises
    ------
    AccessDeniedError
        Without the right to export.
    MissingRecordError, StorageError, OutputError
        If there is no such snapshot, its file was altered, or the folder cannot be written.
    """
    access.require(actor, "export")
    hide = access.masked(actor, "export")
    with trial.read() as reader:
        stored = reader.record("snapshots", {"snapshot_id": snapshot_id})
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "dataset"
        _unzip(trial.files.get(stored["file_sha256"]), whole)
        dataset = read_dataset(whole)
        if dataset.snapshot_sha256 != stored["sha256"]:
            raise StorageError(f"snapshot {snapshot_id}: its files do not have its hash; restore the last backup")
        contents = {p.name: p.read_bytes() for p in whole.iterdir() if not p.name.endswith(".csv")}
    written = _write(dataset, contents, folder, masked=hide)
    values = {"kind": "snapshot", "snapshot": snapshot_id, "masked": hide, "sha256": written}
    trial.commit(Change("export", [Event(values)]), actor)
    return written


def current_dataset(trial: Trial, reader: Reader, folder: Path, *, masked: bool) -> str:
    """Write the data as they are now, without keeping a snapshot; returns the hash."""
    record, tables, files = _extracted(trial, reader, cut_on=reader.now[:10], purpose="export")
    record |= {"id": f"E-{record['id'][2:]}", "masked": masked}
    return write_dataset(folder, masked_rows(tables) if masked else tables, files=files, snapshot=record)


def _extracted(
    trial: Trial, reader: Reader, *, cut_on: str, purpose: str
) -> tuple[dict[str, Any], dict[str, list[Row]], dict[str, bytes]]:
    sequence, head = audit.head(reader)
    study = study_record(reader)
    record = {
        "schema": "lutetia.snapshot/1",
        "id": f"S-{reader.now[:10]}-{head[:10]}",
        "simulated": bool(study["settings"].get("simulated", False)),
        "demonstration": trial.demonstration,
        "purpose": purpose,
        "software": software(),
        "cut_at": cut_on,
        "extracted_at": reader.now,
        "audit_head": head,
        "audit_sequence": sequence,
    }
    protocol = trial.files.get(study["files"][PROTOCOL_FILE])
    files = {STUDY: toml_text(study["settings"]).encode(), PROTOCOL_FILE: protocol}
    return record, dataset_rows(reader), files


def _write(dataset: Dataset, contents: Mapping[str, bytes], folder: Path, *, masked: bool) -> str:
    """The folder as stored, or rebuilt from masked rows with a hash of its own."""
    record = json.loads(contents[SNAPSHOT])
    files = {name: content for name, content in contents.items() if name != SNAPSHOT}
    kept = {name: value for name, value in record.items() if name not in ("files", "snapshot_sha256")}
    rows = {name: list(table) for name, table in dataset.tables.items()}
    if masked:
        kept |= {"masked": True, "masked_from": dataset.snapshot_sha256}
    return write_dataset(folder, masked_rows(rows) if masked else rows, files=files, snapshot=kept)


def _zipped(folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(path.name, _ZIP_TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=6)
    return memory.getvalue()


def _unzip(content: bytes, folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            (folder / Path(name).name).write_bytes(archive.read(name))
