"""`lutetia worker`: the background process that computes doses and interim analyses of a trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from types import FrameType


def worker(
    data: Annotated[Path, typer.Argument(help="Folder of the trial.")],
    once: Annotated[bool, typer.Option("--once", help="Do the waiting jobs and end.")] = False,
    poll_s: Annotated[float, typer.Option(min=0.1, max=60.0, help="Seconds between looks into the queue.")] = 1.0,
) -> None:
    """Compute imported cases and interim analyses in the background; several may run, and a crash loses nothing.

    The log (standard error) holds the code positions of faults, under the references that pages show.

    Example: lutetia worker DATA
    """
    import logging
    import os
    import signal
    import socket
    import threading

    from lutetia.trial.store import Trial
    from lutetia.workflow.job_kinds import JOB_KINDS
    from lutetia.workflow.jobs import run_next, run_worker

    name = f"{socket.gethostname()}:{os.getpid()}"
    stop = threading.Event()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")

    def ended(number: int, frame: FrameType | None) -> None:
        stop.set()

    with Trial.open(data) as trial:
        if once:
            done = 0
            while (job := run_next(trial, name, JOB_KINDS)) is not None:
                _say(job)
                done += 1
            if not done:
                print(f"worker: no job of {data} waits")
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ended)
        print(f"worker {name}: waiting for jobs of {data}; end it with Ctrl-C", flush=True)
        run_worker(trial, name, JOB_KINDS, stop=stop, poll_s=poll_s, done=_say)


def _say(job: dict[str, Any]) -> None:
    """One line a job, without its content."""
    print(f"job {job['job_id']} ({job['kind']}): {job['state']}", flush=True)
