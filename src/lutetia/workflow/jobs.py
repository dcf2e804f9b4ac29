"""Background work: a queue in the database, and what a worker process does with it.

A job is claimed inside the write lock, so that two workers never take the same one; while it runs, the worker gives
signs of life; a job whose worker ended in the middle is done again after those that nobody has tried, and fails after
`MAX_ATTEMPTS` attempts, so that no case can block the queue. The result of a job and its state are one change with one
audit trail. To add a kind: a `Handler` in the dictionary that the worker is given.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from lutetia.core.faults import logged
from lutetia.errors import LutetiaError, MissingRecordError, StorageError, TransitionError
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.schema import ACTIVITY
from lutetia.trial.store import Trial

HEARTBEAT_S = 15.0
SILENT_S = 90.0  # a worker that gave no sign of life for so long is taken for dead
MAX_ATTEMPTS = 3
WORKER = Actor("worker", "Lutetia worker")
#: Key under which every worker of the trial notes that it looks into the queue.
ANSWERS = "worker"
_AWAY_S = 5.0  # pause after the store could not be used

log = logging.getLogger("lutetia.worker")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job wants written: edits made inside the write lock, the result to show, the reason of changed values."""

    edits: Callable[[Reader], list[Edit]]
    result: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None


#: Does the work of one job outside any transaction and says what to write.
Handler = Callable[[Trial, Record], Outcome]


def job_edit(
    reader: Reader, actor: Actor, kind: str, payload: Mapping[str, Any], *, subject_id: str | None = None,
    cycle: int | None = None,
) -> Create:  # fmt: skip
    """The edit that puts a job into the queue; its number is in `values`."""
    return Create("jobs", {"job_id": reader.next_number("jobs", "job_id"), "kind": kind, "state": "QUEUED",
                           "subject_id": subject_id, "cycle": cycle, "payload": dict(payload),
                           "created_by": actor.user_id, "created_at": reader.now, "attempts": 0})  # fmt: skip


def claim_job(trial: Trial, worker: str, kinds: Mapping[str, Handler]) -> Record | None:
    """Take the oldest waiting job of these kinds, or one whose worker went silent; None when there is nothing to do."""

    def change(reader: Reader) -> Change:
        edits: list[Edit] = []
        for job in _to_do(reader, kinds):
            if int(job["attempts"]) >= MAX_ATTEMPTS:
                edits.append(_given_up(reader, job))
                continue
            values = {"state": "RUNNING", "worker": worker, "started_at": reader.now, "error": None,
                      "attempts": int(job["attempts"]) + 1}  # fmt: skip
            edits.append(Update("jobs", int(job["record_id"]), values))
            return Change("claim_job", edits, result=int(job["record_id"]))
        return Change("claim_job", edits)

    with trial.read() as reader:  # spares the write lock while nothing is to be done
        if not _to_do(reader, kinds):
            return None
    receipt = trial.commit(change, WORKER)
    if receipt.result is None:
        return None
    with trial.read() as reader:
        job = reader.record("jobs", int(receipt.result))
    trial.touch(_key(job))
    return job


def run_next(trial: Trial, worker: str, kinds: Mapping[str, Handler]) -> Record | None:
    """Do one job, if there is one, and return its record after it ended.

    An error that is meant for the user ends the job as FAILED with its text; a fault of ours ends it as FAILED with a
    reference to the log. Where memory is short, the job is tried again, as after a crash of the worker.
    """
    job = claim_job(trial, worker, kinds)
    if job is None:
        return None
    with _signs_of_life(trial, job):
        try:
            outcome = kinds[job["kind"]](trial, job)
            _finish(trial, job, outcome)
        except LutetiaError as error:
            _end(trial, job, "FAILED", str(error))
        except MemoryError as error:
            logged(log, error, f"job {job['job_id']} ({job['kind']})")
            _end(trial, job, *_out_of_memory(job))
        except Exception as error:  # noqa: BLE001 - the edge of the worker: one broken case must not end all others
            reference = logged(log, error, f"job {job['job_id']} ({job['kind']})")
            _end(trial, job, "FAILED", f"a fault of Lutetia's; the worker's log tells more under reference {reference}")
    with trial.read() as reader:
        return reader.record("jobs", int(job["record_id"]))


def run_worker(
    trial: Trial, worker: str, kinds: Mapping[str, Handler], *, stop: threading.Event, poll_s: float = 1.0,
    done: Callable[[Record], None] = lambda job: None,
) -> None:  # fmt: skip
    """Do jobs until `stop` is set; looks for a new one every `poll_s` seconds, also after the store was away."""
    answered = -HEARTBEAT_S
    while not stop.is_set():
        try:
            if time.monotonic() - answered >= HEARTBEAT_S:
                answered = time.monotonic()
                trial.touch(ANSWERS)
            job = run_next(trial, worker, kinds)
        except StorageError as error:
            log.warning("the trial's store cannot be used now (%s); the worker goes on looking", error)
            stop.wait(max(poll_s, _AWAY_S))
            continue
        if job is None:
            stop.wait(poll_s)
        else:
            done(job)


def repeat_job(trial: Trial, actor: Actor, job_id: int) -> Receipt:
    """Queue a failed job again, after its cause was removed; jobs of no subject are those of analyses.

    Raises
    ------
    TransitionError
        If it has not failed.
    """
    with trial.read() as reader:
        job = _job(reader, job_id)
        subject = None if job["subject_id"] is None else reader.record("subjects", {"subject_id": job["subject_id"]})
    if subject is None:
        access.require(actor, "run_closed_report")
    else:
        access.require(actor, "propose", subject["site"])

    def change(reader: Reader) -> Change:
        current = _job(reader, job_id)
        if current["state"] != "FAILED":
            raise TransitionError(f"job {job_id}: is {current['state']}; only a failed one can be repeated")
        same = {name: current[name] for name in ("kind", "subject_id", "cycle")}
        if current["subject_id"] and any(j["job_id"] > job_id for j in reader.records("jobs", **same)):
            raise TransitionError(f"job {job_id}: a later one of this cycle exists; import the case again instead")
        values = {"state": "QUEUED", "attempts": 0, "error": None, "finished_at": None}
        return Change("repeat_job", [Update("jobs", int(current["record_id"]), values)])

    return trial.commit(change, actor)


def _to_do(reader: Reader, kinds: Mapping[str, Handler]) -> list[Record]:
    """Jobs of these kinds that wait or whose worker went silent; those that nobody has tried come first."""
    waiting = reader.records("jobs", state="QUEUED")
    silent = [job for job in reader.records("jobs", state="RUNNING") if _silent(reader, job)]
    found = [job for job in (*waiting, *silent) if job["kind"] in kinds]
    return sorted(found, key=lambda job: (int(job["attempts"]), int(job["job_id"])))


def _silent(reader: Reader, job: Record) -> bool:
    sign = reader.value(select(ACTIVITY.c.at).where(ACTIVITY.c.key == _key(job))) or ""
    last = max(sign, job["started_at"])  # a sign may be of an earlier attempt
    return datetime.fromisoformat(reader.now) - datetime.fromisoformat(last) > timedelta(seconds=SILENT_S)


def _given_up(reader: Reader, job: Record) -> Update:
    """A job in which the worker ended too often."""
    text = f"the worker ended {MAX_ATTEMPTS} times while it worked on this job; look into its log, then repeat the job"
    return Update("jobs", int(job["record_id"]), {"state": "FAILED", "error": text, "finished_at": reader.now})


def _out_of_memory(job: Record) -> tuple[str, str]:
    """State and message of a job for which memory was short: tried again, and failed after too many attempts."""
    if int(job["attempts"]) < MAX_ATTEMPTS:
        return "QUEUED", "memory was short; this job is tried again"
    return "FAILED", (
        f"memory was short in {MAX_ATTEMPTS} attempts; run the worker on a machine with more, then repeat the job"
    )


def _finish(trial: Trial, job: Record, outcome: Outcome) -> None:
    def change(reader: Reader) -> Change:
        current = _still_ours(reader, job)
        values = {"state": "DONE", "finished_at": reader.now, "result": dict(outcome.result)}
        edits = [*outcome.edits(reader), Update("jobs", int(current["record_id"]), values)]
        return Change(f"job {job['kind']}", edits)

    trial.commit(change, WORKER, outcome.reason)


def _end(trial: Trial, job: Record, state: str, text: str) -> None:
    """End this attempt with a message, unless another worker has taken the job over."""

    def change(reader: Reader) -> Change:
        current = reader.record("jobs", int(job["record_id"]))
        if current["state"] != "RUNNING" or current["attempts"] != job["attempts"]:
            return Change("job lost", [])
        values = {"state": state, "finished_at": reader.now if state == "FAILED" else None, "error": text}
        return Change(f"job {job['kind']} failed", [Update("jobs", int(current["record_id"]), values)])

    trial.commit(change, WORKER)


def _still_ours(reader: Reader, job: Record) -> Record:
    current = reader.record("jobs", int(job["record_id"]))
    if current["state"] != "RUNNING" or current["attempts"] != job["attempts"]:
        raise TransitionError(f"job {job['job_id']}: another worker has taken it over; this result is not stored")
    return current


def _job(reader: Reader, job_id: int) -> Record:
    found = reader.find("jobs", {"job_id": job_id})
    if found is None:
        raise MissingRecordError(f"job {job_id}: does not exist")
    return found


@contextmanager
def _signs_of_life(trial: Trial, job: Record) -> Iterator[None]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            with suppress(StorageError):  # the next beat tries again; who stays silent too long loses the job
                trial.touch(_key(job))
                trial.touch(ANSWERS)

    thread = threading.Thread(target=beat, name=f"job {job['job_id']}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _key(job: Record) -> str:
    return f"job {job['job_id']}"
