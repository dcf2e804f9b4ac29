"""Backups while the trial runs: one encrypted file, and the proof that it can be restored.

A backup holds the database of one instant (as `dump` lines, whatever its kind), every file, the objects that wait
sealed in quarantine, and the key files; the identity list and its key only when asked for, since names stay at the
site. Its readable header shows the head of the audit trail, to be printed and kept elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lutetia.core.provenance import software
from lutetia.errors import AuditError, OutputError, StorageError
from lutetia.trial import audit, dump, identities
from lutetia.trial.container import Secret, opening, sealing
from lutetia.trial.files import private_file
from lutetia.trial.records import Actor, Change, Event
from lutetia.trial.store import Trial, build_folder, emptied_on_failure

FORMAT = "lutetia.backup/1"
QUARANTINE = "quarantine"  # folder of sealed objects that wait for a decision
_DUMP = "dump.jsonl"
_IDENTITY_KEY = "identities.key"


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """What a backup holds: head and length of the trail, number of files, instant (UTC text)."""

    head: str
    sequence: int
    files: int
    made_at: str


def write_backup(
    trial: Trial, actor: Actor, path: Path, *, secret: Secret, with_identities: bool = False
) -> BackupFacts:
    """Write an encrypted backup, whole or not at all; work may go on meanwhile.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    if path.exists():
        raise OutputError(f"{path}: exists; expected a new file, since backups are never overwritten; name another")
    trial.commit(Change("backup", [Event({"kind": "backup"})]), actor)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=path.parent) as beside:
            partial = Path(beside) / "partial"
            facts = _write(trial, partial, Path(beside) / _DUMP, secret=secret, with_identities=with_identities)
            os.replace(partial, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another place"
        ) from error
    return facts


def restore_backup(path: Path, folder: Path, *, secret: Secret, url: str | None = None) -> BackupFacts:
    """Rebuild a trial in an empty place and verify it.

    Parameters
    ----------
    url
        Empty PostgreSQL database to restore into; None makes an SQLite file.

    Raises
    ------
    StorageError
        For a wrong key, an altered or cut backup, or a place that is not empty; the place is left empty.
    AuditError
        If the restored trail does not verify or does not end at the head that the backup's header shows.
    """
    try:
        with emptied_on_failure(folder):
            header = _restored(path, folder, secret=secret, url=url)
            with Trial.open(folder) as trial:
                return _proved(trial, header["made_at"])
    except StorageError as error:
        raise StorageError(f"{path}, into {folder}: {error}") from error
    except (OSError, tarfile.TarError) as error:
        raise StorageError(f"{path}: cannot be restored ({error}); check place and file") from error


def _restored(path: Path, folder: Path, *, secret: Secret, url: str | None) -> dict[str, Any]:
    database = build_folder(folder, url)
    with contextlib.closing(database), path.open("rb") as source:
        header, stream = opening(source, secret, expected_format=FORMAT)
        sequence, head = _unpack(stream, folder, database)
    if (sequence, head) != (header["audit_sequence"], header["audit_head"]):
        raise AuditError(f"restore: found the head {head}, expected {header['audit_head']}; use another backup")
    return header


def verify_backup(path: Path, *, secret: Secret) -> BackupFacts:
    """Prove a backup: restore it into an empty temporary place, replay its trail, compare heads and files."""
    with tempfile.TemporaryDirectory(prefix="lutetia-verify-") as place:
        return restore_backup(path, Path(place) / "trial", secret=secret)


def _proved(trial: Trial, made_at: str) -> BackupFacts:
    with trial.read() as reader:
        found = audit.verify(reader)
        audit.verify_data(reader)
        for row in reader.records("files"):
            trial.files.get(row["sha256"])
        for row in reader.records("quarantine", state="waiting"):
            if not (trial.folder / QUARANTINE / f"{row['sha256']}.sealed").exists():
                what = f"object {row['sha256'][:12]} that waits in quarantine"
                raise StorageError(f"restore: found no {what}; expected it; use another backup")
    return BackupFacts(found.head, found.rows, len(trial.files.digests()), made_at)


def _write(trial: Trial, partial: Path, lines: Path, *, secret: Secret, with_identities: bool) -> BackupFacts:
    with trial.read() as reader:
        sequence, head = audit.head(reader)
        made_at = reader.now
        with private_file(lines) as file:
            file.writelines(line.encode() + b"\n" for line in dump.lines(reader))
    header = {"format": FORMAT, "audit_head": head, "audit_sequence": sequence, "made_at": made_at} | software()
    with private_file(partial) as target:
        sealed = sealing(target, secret, header)
        with tarfile.open(mode="w|", fileobj=cast(Any, sealed)) as archive:
            archive.add(lines, _DUMP)
            count = _add_files(archive, trial, with_identities=with_identities)
        sealed.finish()
        target.flush()
        os.fsync(target.fileno())
    return BackupFacts(head, sequence, count, made_at)


def _add_files(archive: tarfile.TarFile, trial: Trial, *, with_identities: bool) -> int:
    digests = trial.files.digests()
    for digest in digests:
        content = trial.files.get(digest)
        entry = tarfile.TarInfo(f"files/{digest[:2]}/{digest}")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    for sealed in sorted((trial.folder / QUARANTINE).glob("*.sealed")):
        archive.add(sealed, f"{QUARANTINE}/{sealed.name}")
    for key in sorted((trial.folder / "keys").glob("*.key")):
        if key.name != _IDENTITY_KEY or with_identities:
            archive.add(key, f"keys/{key.name}")
    if with_identities and (trial.folder / identities.FILE).exists():
        archive.add(trial.folder / identities.FILE, identities.FILE)
    return len(digests)


def _unpack(stream: Any, folder: Path, database: Any) -> tuple[int, str]:
    end = None
    with tarfile.open(mode="r|", fileobj=stream) as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            if content is None:
                continue
            if entry.name == _DUMP:
                end = dump.load(database, (line.decode() for line in content))
            else:
                _place(folder, entry.name, content)
    stream.read()  # to the closing chunk, so that a cut file is noticed
    if end is None:
        raise StorageError("restore: found no database in the backup; expected one; use another backup")
    return end


def _place(folder: Path, name: str, content: Any) -> None:
    path = (folder / name).resolve()
    if folder.resolve() not in path.parents:
        raise StorageError(f"restore: found the name {name!r} outside the trial's folder; use another backup")
    path.parent.mkdir(parents=True, exist_ok=True)
    with private_file(path) as file:
        shutil.copyfileobj(content, file)
