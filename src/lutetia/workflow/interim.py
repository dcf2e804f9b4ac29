"""The interim analysis of a stored snapshot as background work, and reading its reports, open or closed.

Closed reports show results by arm: only the unmasked statistician makes them, only the board and that statistician read
them, and every reading is noted in the audit trail. Not here: snapshots (`snapshot`), the analysis (`lutetia.safety`).
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from lutetia.core.provenance import software
from lutetia.dataset.folder import Dataset, read_dataset
from lutetia.errors import MissingRecordError, StorageError, TransitionError
from lutetia.safety.context import RESAMPLES
from lutetia.safety.interim import make_interim
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Event
from lutetia.trial.store import Trial
from lutetia.workflow.edits import file_edits
from lutetia.workflow.jobs import WORKER, Outcome, job_edit

KIND = "interim"
OPEN = ("open.html", "open.pdf")
_MEDIA = {"html": "text/html", "pdf": "application/pdf", "json": "application/json", "csv": "text/csv"}


@dataclass(frozen=True, slots=True)
class RequestInterim:
    """The analysis of one snapshot; `resamples` of every bootstrap, None takes the analysis's own number."""

    snapshot_id: str
    resamples: int | None = None


def request_interim(trial: Trial, actor: Actor, command: RequestInterim) -> int:
    """Queue the interim analysis of a snapshot and return the job's number.

    Raises
    ------
    MissingRecordError
        If there is no such snapshot.
    TransitionError
        If its analysis is waiting or running.
    """
    access.require(actor, "run_closed_report")

    def change(reader: Reader) -> Change:
        _snapshot(reader, command.snapshot_id)
        for job in reader.records("jobs", kind=KIND):
            if job["state"] in ("QUEUED", "RUNNING") and job["payload"]["snapshot_id"] == command.snapshot_id:
                raise TransitionError(f"snapshot {command.snapshot_id}: job {job['job_id']} analyses it already")
        payload = {"snapshot_id": command.snapshot_id, "resamples": command.resamples}
        job_row = job_edit(reader, actor, KIND, payload)
        return Change("request_interim", [job_row], result=job_row.values["job_id"])

    return int(trial.commit(change, actor).result)


def compute_interim(trial: Trial, job: Record) -> Outcome:
    """The worker's part: analyse the stored snapshot and keep every file under its hash.

    Raises
    ------
    LutetiaError
        If the snapshot was altered or its data cannot be analysed.
    """
    snapshot_id, resamples = job["payload"]["snapshot_id"], job["payload"]["resamples"]
    with trial.read() as reader:
        row = _snapshot(reader, snapshot_id)
    dataset = _dataset(trial.files.get(row["file_sha256"]), row["sha256"])
    found = make_interim(dataset, cut=row["cut_on"], resamples=RESAMPLES if resamples is None else int(resamples))
    hashes = {name: trial.files.put(content) for name, content in found.files.items()}
    sizes = {hashes[n]: (n, len(c), _MEDIA.get(n.rpartition(".")[2], "")) for n, c in found.files.items()}

    def edits(reader: Reader) -> list[Edit]:
        first = reader.next_number("reports", "report_id")
        program = " ".join(software().values())
        rows = [
            Create("reports", {"report_id": number, "snapshot_id": snapshot_id, "kind": name, "sha256": hashes[name],
                               "software": program, "created_by": job["created_by"], "created_at": reader.now,
                               "audit_head": row["audit_head"]})
            for number, name in enumerate(hashes, start=first)
        ]  # fmt: skip
        return [*file_edits(reader, WORKER, sizes), *rows]

    return Outcome(edits, {"files": len(hashes)})


def interim_files(trial: Trial, actor: Actor, snapshot_id: str) -> tuple[str, ...]:
    """Names of the newest reports of a snapshot that the actor may read."""
    with trial.read() as reader:
        names = sorted({r["kind"] for r in reader.records("reports", snapshot_id=snapshot_id)})
    return tuple(n for n in names if access.may(actor, _right(n)))


def read_interim(trial: Trial, actor: Actor, snapshot_id: str, name: str) -> bytes:
    """One report of a snapshot; reading a closed one is noted in the audit trail before it is shown.

    Raises
    ------
    AccessDeniedError
        If the actor may not read it.
    MissingRecordError
        If it was not made.
    """
    access.require(actor, _right(name))
    with trial.read() as reader:
        rows = reader.records("reports", snapshot_id=snapshot_id, kind=name)
    if not rows:
        raise MissingRecordError(f"snapshot {snapshot_id}: has no {name}; ask for its analysis first")
    newest = max(rows, key=lambda r: int(r["report_id"]))
    if name not in OPEN:
        event = Event({"kind": "closed report", "snapshot": snapshot_id, "file": name, "sha256": newest["sha256"]})
        trial.commit(Change("read_closed_report", [event]), actor)
    return trial.files.get(newest["sha256"])


def _right(name: str) -> str:
    return "open_report" if name in OPEN else "read_closed_report"


def _snapshot(reader: Reader, snapshot_id: str) -> Record:
    found = reader.find("snapshots", {"snapshot_id": snapshot_id})
    if found is None:
        raise MissingRecordError(f"snapshot {snapshot_id}: does not exist; take one first")
    return found


def _dataset(content: bytes, expected: str) -> Dataset:
    """The snapshot's tables, checked against its hash."""
    with tempfile.TemporaryDirectory(prefix="lutetia-snapshot-") as place:
        folder = Path(place)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                (folder / Path(name).name).write_bytes(archive.read(name))
        dataset = read_dataset(folder)
    if dataset.snapshot_sha256 != expected:
        raise StorageError(f"snapshot: found the hash {dataset.snapshot_sha256}, expected {expected}; restore a backup")
    return dataset
