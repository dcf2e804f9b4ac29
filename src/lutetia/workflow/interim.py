"""The interim analysis of a stored snapshot as background work: asked for, computed, signed, read, open or closed.

Every run of a snapshot is a version: a set of files under their hashes, of which the unmasked statistician signs all.
Closed reports show results by arm: only that statistician makes them, only the board and that statistician read them,
and every reading is noted in the audit trail. Not here: snapshots (`snapshot`), the analysis (`lutetia.safety`), what
the pages list (`interim_view`), archives and the signature sheet (`interim_files`).
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
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Event, Receipt, Sign
from lutetia.trial.signatures import VALID, Confirmed, status
from lutetia.trial.store import Trial
from lutetia.workflow.edits import file_edits
from lutetia.workflow.jobs import WORKER, Outcome, job_edit

KIND = "interim"
OPEN = ("open.html", "open.pdf")
#: What the signature says.
MEANING = "Interim analysis checked; the reports are the result of this snapshot"
_MEDIA = {"html": "text/html", "pdf": "application/pdf", "json": "application/json", "csv": "text/csv"}


@dataclass(frozen=True, slots=True)
class RequestInterim:
    """The analysis of one snapshot; `resamples` of every bootstrap, None takes the analysis's own number."""

    snapshot_id: str
    resamples: int | None = None


@dataclass(frozen=True, slots=True)
class SignInterim:
    """A signature over every file of one version of a snapshot's analysis."""

    snapshot_id: str
    version: int
    confirmed: Confirmed


def request_interim(trial: Trial, actor: Actor, command: RequestInterim) -> int:
    """Queue the interim analysis of a snapshot and return the job's number.

    Raises
    ------
    MissingRecordError
        If there is no such snapshot.
    TransitionError
        If its analysis is waiting or running, or the study asks for a lock that did not hold at the snapshot.
    """
    access.require(actor, "run_closed_report")

    def change(reader: Reader) -> Change:
        _refuse_unlocked(reader, snapshot_of(reader, command.snapshot_id))
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
    # The analysis needs much that only the worker uses; pages that import this module do without.
    from lutetia.safety.context import RESAMPLES
    from lutetia.safety.interim import make_interim

    snapshot_id, resamples = job["payload"]["snapshot_id"], job["payload"]["resamples"]
    with trial.read() as reader:
        row = snapshot_of(reader, snapshot_id)
    steps: list[str] = []

    def say(step: str) -> None:
        steps.append(step)
        trial.touch(f"job {job['job_id']} step {len(steps):03d} {step}")

    dataset = _dataset(trial.files.get(row["file_sha256"]), row["sha256"])
    drawn = RESAMPLES if resamples is None else int(resamples)
    found = make_interim(dataset, cut=row["cut_on"], resamples=drawn, progress=say)
    hashes = {name: trial.files.put(content) for name, content in found.files.items()}
    sizes = {hashes[n]: (n, len(c), _MEDIA.get(n.rpartition(".")[2], "")) for n, c in found.files.items()}

    def edits(reader: Reader) -> list[Edit]:
        first = reader.next_number("reports", "report_id")
        version = 1 + max((version_of(r) for r in reader.records("reports", snapshot_id=snapshot_id)), default=0)
        program = " ".join(software().values())
        run = {"version": version, "job_id": job["job_id"], "resamples": drawn}
        rows = [
            Create("reports", {"report_id": number, "snapshot_id": snapshot_id, "kind": name, "sha256": hashes[name],
                               "software": program, "created_by": job["created_by"], "created_at": reader.now,
                               "audit_head": row["audit_head"], "further": run})
            for number, name in enumerate(hashes, start=first)
        ]  # fmt: skip
        return [*file_edits(reader, WORKER, sizes), *rows]

    return Outcome(edits, {"files": len(hashes), "snapshot_id": snapshot_id})


def sign_interim(trial: Trial, actor: Actor, command: SignInterim) -> Receipt:
    """Sign every file of a version, open and closed.

    Raises
    ------
    MissingRecordError
        If the version was not made.
    TransitionError
        If it is signed already.
    """
    access.require(actor, "run_closed_report")

    def change(reader: Reader) -> Change:
        rows = version_rows(reader, command.snapshot_id, command.version)
        if (found := signature_of(reader, rows)) is not None and found["status"] == VALID:
            raise TransitionError(f"snapshot {command.snapshot_id}, version {command.version}: is signed already")
        covers = tuple(("reports", int(row["record_id"])) for row in rows)
        return Change("sign_interim", [Sign(covers, MEANING, command.confirmed)])

    return trial.commit(change, actor)


def interim_files(trial: Trial, actor: Actor, snapshot_id: str) -> tuple[str, ...]:
    """Names of the reports of a snapshot that the actor may read."""
    with trial.read() as reader:
        names = sorted({r["kind"] for r in reader.records("reports", snapshot_id=snapshot_id)})
    return tuple(n for n in names if access.may(actor, right_for(n)))


def read_interim(trial: Trial, actor: Actor, snapshot_id: str, name: str, *, version: int | None = None) -> bytes:
    """One report of a snapshot, of the newest version unless said; reading a closed one is noted before it is shown.

    Raises
    ------
    AccessDeniedError
        If the actor may not read it.
    MissingRecordError
        If it was not made.
    """
    access.require(actor, right_for(name))
    with trial.read() as reader:
        rows = reader.records("reports", snapshot_id=snapshot_id, kind=name)
    rows = [row for row in rows if version in (None, version_of(row))]
    if not rows:
        raise MissingRecordError(f"snapshot {snapshot_id}: has no {name}; ask for its analysis first")
    newest = max(rows, key=lambda r: int(r["report_id"]))
    if name not in OPEN:
        note_closed_reading(trial, actor, {"snapshot": snapshot_id, "file": name, "sha256": newest["sha256"]})
    return trial.files.get(newest["sha256"])


def note_closed_reading(trial: Trial, actor: Actor, values: dict[str, str]) -> None:
    """Put an unblinded view into the audit trail."""
    trial.commit(Change("read_closed_report", [Event({"kind": "closed report", **values})]), actor)


def right_for(name: str) -> str:
    """The right that reading a file needs."""
    return "open_report" if name in OPEN else "read_closed_report"


def version_of(row: Record) -> int:
    """Version of a report; the first where none is written."""
    return int((row["further"] or {}).get("version", 1))


def version_rows(reader: Reader, snapshot_id: str, version: int) -> list[Record]:
    """Reports of one version.

    Raises
    ------
    MissingRecordError
        If it was not made.
    """
    rows = [r for r in reader.records("reports", snapshot_id=snapshot_id) if version_of(r) == version]
    if not rows:
        raise MissingRecordError(f"snapshot {snapshot_id}: has no version {version} of its analysis")
    return rows


def signature_of(reader: Reader, rows: list[Record]) -> Record | None:
    """The last signature that covers every one of these reports, with its present `status`; None where there is none.

    Raises
    ------
    MissingRecordError
        If a cover names a signature that is not there.
    """
    numbers = [
        {c["signature_id"] for c in reader.records("signature_records", table_name="reports", record=row["record_id"])}
        for row in rows
    ]
    if not (common := set.intersection(*numbers)):
        return None
    found = reader.record("signatures", {"signature_id": max(common)})
    return found | {"status": status(reader, found["signature_id"])}


def snapshot_of(reader: Reader, snapshot_id: str) -> Record:
    """The record of a snapshot.

    Raises
    ------
    MissingRecordError
        If there is none of this number.
    """
    found = reader.find("snapshots", {"snapshot_id": snapshot_id})
    if found is None:
        raise MissingRecordError(f"snapshot {snapshot_id}: does not exist; take one first")
    return found


def _refuse_unlocked(reader: Reader, snapshot: Record) -> None:
    """Where `study.toml` says ``interim_needs_lock = true``, the study was locked when the snapshot was taken."""
    if not (reader.records("study")[0]["settings"] or {}).get("interim_needs_lock"):
        return
    at = snapshot["extracted_at"]
    held = (row for row in reader.records("locks", level="study") if row["locked_at"] <= at)
    if not any(row["unlocked_at"] is None or row["unlocked_at"] > at for row in held):
        raise TransitionError(
            f"snapshot {snapshot['snapshot_id']}: was taken while the study was open; expected a locked study, as "
            "study.toml demands (interim_needs_lock); lock the study and take a new snapshot"
        )


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
