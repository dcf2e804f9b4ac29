"""The whole trial in one archive, for people and for machines, and back without loss.

The archive (ZIP) holds `dump.jsonl` (every row, the trail and its bodies), every file, the study's files by name, and
for reading: each table as CSV, the trail in words and the signatures as they are printed. No key file is in it, so
passwords, one-time codes and the concealed randomisation list stay sealed. Not here: backups (`backup`), the exchange
folder (`exchange`).
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutetia.core.provenance import software
from lutetia.dataset.folder import escaped
from lutetia.errors import AccessDeniedError, AuditError, InputError, OutputError, StorageError
from lutetia.trial import audit, dump
from lutetia.trial.access import masked, require
from lutetia.trial.files import private_file
from lutetia.trial.masked_view import seen_records
from lutetia.trial.reader import Reader
from lutetia.trial.records import Actor, Change, Event
from lutetia.trial.schema import SCHEMA
from lutetia.trial.signatures import printed, status
from lutetia.trial.store import Trial, build_folder, emptied_on_failure

FORMAT = "lutetia.export/1"
#: What reading an archive raises that was damaged, or made by something else.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, UnicodeDecodeError, RecursionError, NotImplementedError,
)  # fmt: skip
_MANIFEST, _DUMP = "manifest.json", "dump.jsonl"
_README = """One clinical trial, exported by Lutetia.

tables/*.csv     every table, one row a record (record_id: number of its first audit row); text that a spreadsheet
                 would take for a formula begins with '
audit.csv        the audit trail in words: who did what, when, old and new values, reason
signatures.csv   signatures as they are printed, with their present state
study/           the study's own files (study.toml, protocol)
files/           every other file under its SHA-256; tables/files.csv has the names
dump.jsonl       the same for machines, complete: `lutetia trial DATA --archive FILE` rebuilds the trial from it
manifest.json    SHA-256 of each member; head of the audit trail
Instants are UTC. Key files are not included: copy the folder keys/ by another way.
"""


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """Head and length of the exported trail, number of files."""

    head: str
    sequence: int
    files: int


def export_trial(trial: Trial, actor: Actor, path: Path) -> ExportFacts:
    """Write the archive, whole or not at all; the export itself is the last row of the trail in it.

    Only its owner may read the file: it holds every arm.

    Raises
    ------
    AccessDeniedError
        If the person may not export, or only masked: the archive holds every arm.
    OutputError
        If the file exists or cannot be written.
    """
    require(actor, "export")
    if masked(actor, "export"):
        raise AccessDeniedError("export of the whole trial: found a masked role; expected an unmasked one; use --csv")
    if path.exists():
        raise OutputError(f"{path}: exists; expected a new file; name another")
    trial.commit(Change("export", [Event({"kind": "whole trial"})]), actor)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as beside:
            partial = Path(beside) / "partial"
            with (
                trial.read() as reader,
                private_file(partial) as file,
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            ):
                facts = _write(reader, trial, archive)
            os.replace(partial, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another place"
        ) from error
    return facts


def import_trial(path: Path, folder: Path, *, url: str | None = None) -> ExportFacts:
    """Rebuild a trial from its archive in an empty place and verify it, row by row and file by file.

    Raises
    ------
    InputError
        For another kind of file, or a member that was altered.
    AuditError
        If the trail does not verify. The place is left empty then.
    """
    try:
        with emptied_on_failure(folder), zipfile.ZipFile(path) as archive:
            return _load(archive, _manifest(archive), folder, url)
    except _DAMAGED as error:
        raise InputError(f"{path}: is no archive of a trial ({error}); expected one that Lutetia wrote") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be imported ({error.strerror}); check file and place") from error


def _write(reader: Reader, trial: Trial, archive: zipfile.ZipFile) -> ExportFacts:
    hashes: dict[str, str] = {}
    names = {name: trial.files.get(sha) for name, sha in (reader.records("study")[0]["files"] or {}).items()}
    _member(archive, hashes, "README.txt", [_README.encode()])
    _member(archive, hashes, _DUMP, (line.encode() + b"\n" for line in dump.lines(reader)))
    for name in SCHEMA:
        rows = seen_records(reader, name, reader.records(name), masked=False)
        _member(archive, hashes, f"tables/{name}.csv", [_csv(rows)])
    _member(archive, hashes, "audit.csv", [_csv(_trail_in_words(reader))])
    _member(archive, hashes, "signatures.csv", [_csv(_signatures_in_words(reader))])
    for name, content in names.items():
        _member(archive, hashes, f"study/{name}", [content])
    digests = trial.files.digests()
    for digest in digests:
        _member(archive, hashes, f"files/{digest}", [trial.files.get(digest)])
    sequence, head = audit.head(reader)
    record = {"format": FORMAT, "audit_head": head, "audit_sequence": sequence, "members": hashes}
    archive.writestr(_MANIFEST, json.dumps(record | {"software": software()}, indent=1))
    return ExportFacts(head, sequence, len(digests))


def _member(archive: zipfile.ZipFile, hashes: dict[str, str], name: str, parts: Iterable[bytes]) -> None:
    digest = hashlib.sha256()
    with archive.open(name, "w", force_zip64=True) as member:
        for part in parts:
            digest.update(part)
            member.write(part)
    hashes[name] = digest.hexdigest()


def _csv(rows: list[dict[str, Any]]) -> bytes:
    if not rows:
        return b""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return escaped(value) if isinstance(value, str) else value  # the machine's copy has the text as it is


def _trail_in_words(reader: Reader) -> list[dict[str, Any]]:
    people = {row["user_id"]: row["name"] for row in reader.records("users")}
    return [
        {
            "sequence": row["sequence"], "at": row["at"], "account": row["actor"],
            "name": people.get(row["actor"], row["actor"]), "action": row["action"], "kind": row["kind"],
            "table": row["table_name"], "record": row["record"], "key": body.get("key"),
            "subject_id": row["subject_id"], "site": row["site"],
            "changes": body.get("changes", body.get("values")), "reason": body.get("reason"),
            "software": row["software"], "hash": row["hash"],
        }
        for row, body in audit.bodies(reader)
    ]  # fmt: skip


def _signatures_in_words(reader: Reader) -> list[dict[str, Any]]:
    rows = reader.records("signatures")
    covers: dict[int, list[str]] = {}
    for cover in reader.records("signature_records"):
        covers.setdefault(cover["signature_id"], []).append(f"{cover['table_name']} record {cover['record']}")
    return [
        {
            "signature": row["signature_id"], "text": printed(row), "name": row["name"], "meaning": row["meaning"],
            "signed_at": row["signed_at"], "state": status(reader, row["signature_id"]),
            "records": "; ".join(covers.get(row["signature_id"], [])), "digest": row["digest"],
        }
        for row in rows
    ]  # fmt: skip


def _manifest(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    if sealed := [entry.filename for entry in archive.infolist() if entry.flag_bits & 1]:
        raise InputError(f"import: {sealed[0]} is encrypted; expected an archive as Lutetia wrote it; decrypt it first")
    try:
        manifest = json.loads(archive.read(_MANIFEST))
        if manifest["format"] != FORMAT:
            raise ValueError(manifest["format"])
        members = {str(name): bytes.fromhex(digest).hex() for name, digest in manifest["members"].items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"import: found another format ({error}); expected {FORMAT}") from error
    for name, digest in members.items():
        with archive.open(name) as member:
            if hashlib.file_digest(member, "sha256").hexdigest() != digest:  # type: ignore[arg-type]
                raise InputError(
                    f"import: {name} was altered after the export; expected it unchanged; use another copy"
                )
    found: Mapping[str, Any] = manifest
    return found


def _load(archive: zipfile.ZipFile, manifest: Mapping[str, Any], folder: Path, url: str | None) -> ExportFacts:
    with contextlib.closing(build_folder(folder, url)) as database, archive.open(_DUMP) as member:
        sequence, head = dump.load(database, io.TextIOWrapper(member, encoding="utf-8"))
    if (sequence, head) != (manifest["audit_sequence"], manifest["audit_head"]):
        raise AuditError(f"import: found the head {head}, expected {manifest['audit_head']}; use another copy")
    with Trial.open(folder) as trial:
        digests = [name.removeprefix("files/") for name in manifest["members"] if name.startswith("files/")]
        for digest in digests:
            trial.files.put(archive.read(f"files/{digest}"))
        with trial.read() as reader:
            audit.verify_data(reader)
            for row in reader.records("files"):
                trial.files.get(row["sha256"])
    return ExportFacts(head, sequence, len(digests))
