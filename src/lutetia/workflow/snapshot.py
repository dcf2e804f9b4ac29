"""Snapshots: the whole data at one moment as an exchange folder, kept under its hash, for an interim or a release.

The cut is a day of events, the snapshot a state of the database: everything entered by then is in it, and who analyses
it leaves out events after the cut. The whole data and their masked variant are stored together, each under its hash;
stored files never change, and the folder written from one is the same for ever.
"""

from __future__ import annotations

import io
import os
import secrets
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutetia.core.provenance import software
from lutetia.dataset.folder import read_dataset, write_dataset
from lutetia.errors import InputError, OutputError, StorageError
from lutetia.trial import Actor, Change, Create, Edit, Event, Reader, Trial, access, audit
from lutetia.trial.clock import day
from lutetia.trial.exchange import dataset_tables, study_files
from lutetia.trial.masked_view import masked_view
from lutetia.workflow.edits import file_edits, required_text
from lutetia.workflow.study_setup import study_record

#: File of a whole snapshot that makes its hash unpredictable.
SALT = "salt.txt"
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
    masked_sha256: str


@dataclass(frozen=True, slots=True)
class _Packed:
    """One variant: SHA-256 of the folder's snapshot, and the folder as a stored file."""

    sha256: str
    file_sha256: str
    size: int


def take_snapshot(trial: Trial, actor: Actor, command: TakeSnapshot) -> TakenSnapshot:
    """Store the data as they are now, whole and masked.

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
        record = _record(trial, reader, cut_on=cut_on, purpose=purpose)
        whole = _packed(trial, reader, record)
        length = masked_view(reader).place(record["audit_sequence"])
        own = {"masked": True, "masked_from": whole.sha256, "audit_sequence": length}
        masked = _packed(trial, reader, record | own)
        subjects = reader.count("subjects")
    stored = {"masked_sha256": masked.sha256, "masked_file_sha256": masked.file_sha256}
    values = {
        "snapshot_id": record["id"], "cut_on": cut_on, "extracted_at": record["extracted_at"], "sha256": whole.sha256,
        "audit_head": record["audit_head"], "audit_sequence": record["audit_sequence"],
        "file_sha256": whole.file_sha256, "created_by": actor.user_id, "purpose": purpose, "further": stored,
    }  # fmt: skip
    files = {p.file_sha256: (f"{record['id']}.zip", p.size, "application/zip") for p in (whole, masked)}

    def change(reader: Reader) -> Change:
        edits: list[Edit] = [Create("snapshots", values), *file_edits(reader, actor, files)]
        return Change("take_snapshot", edits)

    trial.commit(change, actor)
    return TakenSnapshot(record["id"], whole.sha256, record["audit_head"], cut_on, subjects, masked.sha256)


def write_snapshot(trial: Trial, actor: Actor, snapshot_id: str, folder: Path) -> str:
    """Write a stored snapshot to a new folder and note the export; a masked person gets the masked variant.

    Returns
    -------
    SHA-256 of the folder's snapshot.

    Raises
    ------
    AccessDeniedError
        Without the right to export.
    MissingRecordError, StorageError, OutputError
        If there is no such snapshot, its file was altered, or the folder is not empty or cannot be written.
    """
    access.require(actor, "export")
    hide = access.masked(actor, "export")
    with trial.read() as reader:
        row = reader.record("snapshots", {"snapshot_id": snapshot_id})
    prefix, values = ("masked_", row["further"]) if hide else ("", row)
    expected = str(values[f"{prefix}sha256"])
    _unpack(trial.files.get(values[f"{prefix}file_sha256"]), folder, expected)
    event = {"kind": "snapshot", "snapshot": snapshot_id, "masked": hide, "sha256": expected}
    trial.commit(Change("export", [Event(event)]), actor)
    return expected


def _record(trial: Trial, reader: Reader, *, cut_on: str, purpose: str) -> dict[str, Any]:
    sequence, head = audit.head(reader)
    return {
        "schema": "lutetia.snapshot/1",
        "id": f"S-{reader.now[:10]}-{head[:10]}",
        "study": study_record(reader)["study_id"],
        "demonstration": trial.demonstration,
        "masked": False,
        "purpose": purpose,
        "software": software(),
        "cut_at": cut_on,
        "extracted_at": reader.now,
        "audit_head": head,
        "audit_sequence": sequence,
    }


def _packed(trial: Trial, reader: Reader, record: Mapping[str, Any]) -> _Packed:
    """One variant as a folder, zipped and put into the file store; the whole one with a salt beside the tables."""
    tables = dataset_tables(reader, hide=bool(record["masked"]))
    files = study_files(reader, trial.files) | ({} if record["masked"] else {SALT: _salt()})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "dataset"
        sha256 = write_dataset(folder, tables, files=files, snapshot=record)
        content = _zipped(folder)
    return _Packed(sha256, trial.files.put(content), len(content))


def _salt() -> bytes:
    """What keeps who sees the hash and all but the arms from trying arms until the hash fits."""
    return f"random, so that nobody guesses arms from the hash: {secrets.token_hex(16)}\n".encode()


def _zipped(folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(path.name, _ZIP_TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes(), compresslevel=6)
    return memory.getvalue()


def _unpack(content: bytes, folder: Path, expected: str) -> None:
    """Write the files beside the folder, check them, and put them in its place: all or none."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(f"{folder}: is not an empty folder; choose another one")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".lutetia-", dir=folder.parent) as beside:
            fresh = Path(beside) / "dataset"
            fresh.mkdir()
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    (fresh / Path(name).name).write_bytes(archive.read(name))
            if (found := read_dataset(fresh).snapshot_sha256) != expected:
                raise StorageError(f"snapshot: found the hash {found}, expected {expected}; restore the last backup")
            if folder.exists():
                folder.rmdir()
            os.replace(fresh, folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); free space or choose another") from error
