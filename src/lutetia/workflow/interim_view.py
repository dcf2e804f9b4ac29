"""What the pages say of interim analyses: snapshots, their versions with signatures, jobs under way and their progress.

Reading only; nothing here shows a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import ACTIVITY
from lutetia.trial.signatures import VALID, printed
from lutetia.workflow.interim import KIND, OPEN, signature_of, version_of
from lutetia.workflow.jobs import ANSWERS, HEARTBEAT_S, SILENT_S

#: A job that waits longer than this has no worker, unless one has answered lately; a worker looks every second.
PATIENCE_S = 10.0
#: A worker notes every `HEARTBEAT_S` that it is there; after so many seconds without, none is.
ANSWERED_S = 3 * HEARTBEAT_S
#: Steps that the analysis names, roughly: reading, deriving, a table each, record, two reports.
USUAL_STEPS = 26


@dataclass(frozen=True, slots=True)
class Progress:
    """A job under way: its step in words, how many steps were begun, and whether no worker works on it.

    `answered_at` is when a worker of this trial last gave a sign of life; None if none ever did.
    """

    step: str
    begun: int
    unattended: bool
    answered_at: str | None

    @property
    def share(self) -> float:
        """How far it is, 0 to 1, by the number of steps."""
        return min(self.begun / USUAL_STEPS, 0.98)


@dataclass(frozen=True, slots=True)
class Version:
    """One run of a snapshot's analysis: who asked, with what, the names of its files, its signature in words."""

    number: int
    created_at: str
    created_by: str
    software: str
    resamples: int | None
    open_files: tuple[str, ...]
    closed_files: tuple[str, ...]
    signature: str
    signed: bool
    newest: bool


@dataclass(frozen=True, slots=True)
class Analysed:
    """A snapshot with the versions of its analysis, newest first, and its last job with progress."""

    snapshot: Record
    versions: tuple[Version, ...]
    job: Record | None
    progress: Progress | None

    @property
    def under_way(self) -> bool:
        """Whether its analysis waits or runs."""
        return self.progress is not None


def list_snapshots(reader: Reader, actor: Actor) -> list[Record]:
    """Snapshots, newest first, without the places of their files; `shown_sha256` is that of the actor's variant.

    Raises
    ------
    AccessDeniedError
        For a person who may not read open reports.
    """
    access.require(actor, "open_report")
    hide = access.may(actor, "export") and access.masked(actor, "export")
    rows = []
    for row in reader.records("snapshots"):
        shown = (row["further"] or {}).get("masked_sha256") if hide else row["sha256"]
        left_out = ("file_sha256", "further", "sha256", "audit_sequence", "record_version")
        kept = {name: value for name, value in row.items() if name not in left_out}
        rows.append(kept | {"shown_sha256": shown})
    return sorted(rows, key=lambda r: (r["extracted_at"], r["record_id"]), reverse=True)


def analysed_snapshots(reader: Reader, actor: Actor, *, zone: str = "UTC") -> list[Analysed]:
    """Every snapshot with what was made of it, as far as the actor may read it.

    Raises
    ------
    AccessDeniedError
        For a person who may not read open reports.
    """
    found = []
    jobs = list(reader.records("jobs", kind=KIND))
    for snapshot in list_snapshots(reader, actor):
        own = [job for job in jobs if job["payload"]["snapshot_id"] == snapshot["snapshot_id"]]
        job = max(own, key=lambda j: int(j["job_id"]), default=None)
        going = job is not None and job["state"] in ("QUEUED", "RUNNING")
        progress = job_progress(reader, job) if job is not None and going else None
        versions = _versions(reader, actor, snapshot["snapshot_id"], zone)
        found.append(Analysed(snapshot, versions, _told(job, actor), progress))
    return found


def job_progress(reader: Reader, job: Record) -> Progress:
    """How far a waiting or running job is."""
    answered = _sign(reader, ANSWERS)
    if job["state"] == "QUEUED":
        there = answered is not None and _seconds(answered, reader.now) <= ANSWERED_S
        return Progress("", 0, not there and _seconds(job["created_at"], reader.now) > PATIENCE_S, answered)
    key = f"job {job['job_id']} step "
    statement = select(ACTIVITY.c.key).where(ACTIVITY.c.key.startswith(key), ACTIVITY.c.at >= job["started_at"])
    steps = sorted(row["key"].removeprefix(key) for row in reader.rows(statement))
    last = steps[-1].partition(" ")[2] if steps else ""
    sign = max(_sign(reader, f"job {job['job_id']}") or "", job["started_at"])
    return Progress(last, len(steps), _seconds(sign, reader.now) > SILENT_S, answered or sign)


def _sign(reader: Reader, key: str) -> str | None:
    """When a sign of life under this key was last given."""
    found: str | None = reader.value(select(ACTIVITY.c.at).where(ACTIVITY.c.key == key))
    return found


def _seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def _told(job: Record | None, actor: Actor) -> Record | None:
    """The job; its error may name an arm and is for those who run the analysis."""
    if job is None or access.may(actor, "run_closed_report"):
        return job
    return job | {"error": None, "result": None}


def _versions(reader: Reader, actor: Actor, snapshot_id: str, zone: str) -> tuple[Version, ...]:
    by_number: dict[int, list[Record]] = {}
    for row in reader.records("reports", snapshot_id=snapshot_id):
        by_number.setdefault(version_of(row), []).append(row)
    numbers = sorted(by_number, reverse=True)
    return tuple(_version(reader, actor, n, by_number[n], zone=zone, newest=n == numbers[0]) for n in numbers)


def _version(
    reader: Reader, actor: Actor, number: int, rows: Sequence[Record], *, zone: str, newest: bool
) -> Version:  # fmt: skip
    names = sorted(row["kind"] for row in rows)
    signature, first = signature_of(reader, list(rows)), rows[0]
    closed = access.may(actor, "read_closed_report")
    return Version(
        number, first["created_at"], first["created_by"], first["software"],
        (first["further"] or {}).get("resamples"),
        tuple(n for n in names if n in OPEN) if access.may(actor, "open_report") else (),
        tuple(n for n in names if n not in OPEN) if closed else (),
        "" if signature is None else printed(signature, zone=zone),
        signature is not None and signature["status"] == VALID, newest,
    )  # fmt: skip
