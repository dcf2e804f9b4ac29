"""Jobs that break or kill the worker process: no other job waits for them, and people are told in words."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.enrolment import make_trial

from lutetia.errors import StorageError
from lutetia.trial import SYSTEM, Change, Trial
from lutetia.workflow import jobs
from lutetia.workflow.jobs import MAX_ATTEMPTS, Outcome, job_edit, run_worker

#: `lutetia worker` with kinds of jobs that break in every way, and with a short patience for silent workers.
WORKER = """
import os, signal, sys
from lutetia.cli import main
from lutetia.workflow import jobs
from lutetia.workflow.job_kinds import JOB_KINDS
def broken(trial, job):
    raise ZeroDivisionError("Jane Doe")
def short(trial, job):
    raise MemoryError
def killed(trial, job):
    os.kill(os.getpid(), signal.SIGKILL)
def good(trial, job):
    return jobs.Outcome(lambda reader: [], {"did": job["job_id"]})
JOB_KINDS |= {"broken": broken, "short": short, "killed": killed, "good": good}
jobs.SILENT_S = 0.0
sys.argv = ["lutetia", "worker", *sys.argv[1:]]
main()
"""


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        yield made


def queue(trial: Trial, *kinds: str) -> None:
    for kind in kinds:
        trial.commit(lambda reader, kind=kind: Change("queue", [job_edit(reader, SYSTEM, kind, {})]), SYSTEM)


def job(trial: Trial, number: int) -> dict[str, Any]:
    with trial.read() as reader:
        return reader.record("jobs", {"job_id": number})


def once(trial: Trial) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORKER, str(trial.folder), "--once"]
    return subprocess.run(command, check=False, timeout=60, text=True, capture_output=True)


def test_a_fault_fails_its_job_with_a_reference_and_the_worker_goes_on(trial: Trial) -> None:
    queue(trial, "broken", "short", "good")
    run = once(trial)
    short = "job 2 (short): QUEUED\n"
    assert run.stdout == f"job 1 (broken): FAILED\n{short}job 3 (good): DONE\n{short}job 2 (short): FAILED\n"
    assert run.returncode == 0
    error = job(trial, 1)["error"]
    found = re.fullmatch(r"a fault of Lutetia's; the worker's log tells more under reference ([0-9A-F]{8})", error)
    assert found
    assert f"fault {found[1]}: ZeroDivisionError at job 1 (broken)" in run.stderr
    assert "in broken" in run.stderr, "the log names the place in the code"
    assert "Jane Doe" not in run.stderr + error
    assert job(trial, 2)["error"].startswith(f"memory was short in {MAX_ATTEMPTS} attempts")


def test_a_job_that_kills_its_worker_waits_behind_the_others_and_fails_after_three_attempts(trial: Trial) -> None:
    queue(trial, "killed", "good")
    runs = [once(trial) for _ in range(MAX_ATTEMPTS + 1)]
    assert [run.returncode for run in runs] == [-signal.SIGKILL] * MAX_ATTEMPTS + [0]
    assert [run.stdout for run in runs[:2]] == ["", "job 2 (good): DONE\n"]
    state, error = (job(trial, 1)[name] for name in ("state", "error"))
    assert (state, error.partition(";")[0]) == ("FAILED", "the worker ended 3 times while it worked on this job")


class Ended:
    """A stop that is set after so many waits."""

    def __init__(self, waits: int) -> None:
        self.left = waits

    def is_set(self) -> bool:
        return self.left == 0

    def wait(self, seconds: float) -> None:
        self.left -= 1


def test_the_worker_goes_on_after_the_store_was_away(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    queue(trial, "good")
    found: Callable[..., Any] = jobs.run_next
    answers: list[Exception | None] = [StorageError("database: cannot be reached"), None, None]

    def sometimes(*arguments: Any) -> Any:
        if (error := answers.pop(0)) is not None:
            raise error
        return found(*arguments)

    monkeypatch.setattr(jobs, "run_next", sometimes)
    kinds = {"good": lambda trial, job: Outcome(lambda reader: [])}
    run_worker(trial, "w", kinds, stop=Ended(2))  # type: ignore[arg-type]
    assert job(trial, 1)["state"] == "DONE"
