"""Serving a trial from one process, or from several that share the address and the database.

Each process makes its own application from what `SERVED` names; sessions, tries and jobs are in the database, so a
person may be answered by any of them. Not here: options and messages (`lutetia.cli.serve`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from lutetia.trial.store import Trial
from lutetia.web.app import create_app
from lutetia.web.demonstration import open_demonstration, printed_accounts
from lutetia.web.settings import Settings

#: Environment variable that tells a server process what to serve.
SERVED = "LUTETIA_SERVED"


@dataclass(frozen=True, slots=True)
class Served:
    """What every process of a server needs to know.

    Parameters
    ----------
    folder
        Folder of the trial.
    hosts, behind_tls
        As in `Settings`.
    demonstration
        Whether the sign-in page lists the people of a demonstration.
    """

    folder: str
    hosts: tuple[str, ...]
    behind_tls: bool
    demonstration: bool

    def trial(self) -> Trial:
        """The trial, opened; the caller closes it.

        Raises
        ------
        TrialError
            If there is none, it cannot be reached, or is of another version.
        """
        return open_demonstration(Path(self.folder)) if self.demonstration else Trial.open(Path(self.folder))

    def application(self, trial: Trial) -> FastAPI:
        """The application of the opened trial."""
        settings = Settings(hosts=self.hosts, behind_tls=self.behind_tls)
        return create_app(
            trial, settings=settings, demonstration=printed_accounts(trial) if self.demonstration else None
        )


def run(served: Served, listener: socket.socket, *, processes: int) -> None:
    """Serve until the process is told to end; a server process that dies is replaced."""
    if processes == 1:
        with served.trial() as trial:
            uvicorn.Server(_configuration(served, served.application(trial))).run(sockets=[listener])
        return
    os.environ[SERVED] = json.dumps(asdict(served))
    Multiprocess(_configuration(served, "lutetia.web.serving:application", processes), sockets=[listener]).run()


def application() -> FastAPI:
    """The application of one of several server processes; it ends when the process that started it has gone."""
    found = json.loads(os.environ[SERVED])
    served = Served(**{**found, "hosts": tuple(found["hosts"])})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return served.application(served.trial())


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _configuration(served: Served, app: FastAPI | str, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app, factory=isinstance(app, str), workers=workers, log_level="warning", server_header=False, access_log=False,
        proxy_headers=served.behind_tls, forwarded_allow_ips="127.0.0.1",
    )  # fmt: skip
