"""`lutetia serve`: the web application of a trial, on this machine only unless a TLS proxy stands in front."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def serve(
    data: Annotated[Path, typer.Option("--data", help="Folder of the trial.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    behind_tls_proxy: Annotated[
        str | None,
        typer.Option(
            help="Name under which people reach a proxy that ends TLS; permits addresses beyond this machine."
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Open a demonstration trial, made in the folder if there is none.")
    ] = False,
    subjects: Annotated[int, typer.Option(min=0, help="Virtual subjects of a new demonstration trial.")] = 24,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Server processes; by default two where there are two cores.")
    ] = None,
) -> None:
    """Serve the pages and the JSON API of a trial; end it with Ctrl-C.

    Example: lutetia serve --data demo-trial --demo
    """
    from lutetia.errors import InputError
    from lutetia.web.serving import Served, run
    from lutetia.web.settings import Settings
    from lutetia.workflow.study_file import start_notes

    if host not in _LOOPBACK and behind_tls_proxy is None:
        raise InputError(
            f"--host {host}: found an address that other machines reach; expected 127.0.0.1, because passwords and "
            "data would travel unencrypted; put a proxy that ends TLS in front and name it with --behind-tls-proxy NAME"
        )
    hosts = Settings().hosts if behind_tls_proxy is None else (behind_tls_proxy, *Settings().hosts)
    served = Served(str(data.absolute()), hosts, behind_tls_proxy is not None, demo)
    if demo:
        _prepare_demonstration(data, subjects)
    with served.trial() as found, found.read() as reader:
        notes = start_notes(reader.records("study")[0]["settings"])
    print("".join(f"Note: {note}\n" for note in notes), end="")
    with _listening(host, port) as listener:
        print(f"Lutetia serves {data} at http://{host}:{listener.getsockname()[1]}/  (end with Ctrl-C)", flush=True)
        run(served, listener, processes=processes or min(2, os.cpu_count() or 1))


def _prepare_demonstration(data: Path, subjects: int) -> None:
    """A demonstration in the folder, made where there is none."""
    from lutetia.trial.store import CONFIGURATION
    from lutetia.web.demonstration import PASSWORD

    if not (data / CONFIGURATION).exists():
        print(f"Making a demonstration trial of {subjects} virtual subjects in {data} ...", flush=True)
        _make_demonstration(data, subjects)
    print(f"Demonstration data: no real persons. The sign-in page lists the accounts; password: {PASSWORD}", flush=True)


def _make_demonstration(data: Path, subjects: int) -> None:
    """A trial in progress: people in every role, and subjects who went through its workflow until now."""
    from datetime import UTC, datetime

    from lutetia.cli.output import progress_line
    from lutetia.simulate.database import demonstrate, demonstration_start
    from lutetia.trial import ManualClock
    from lutetia.trial.store import emptied_on_failure
    from lutetia.web.demonstration import make_demonstration

    now = datetime.now(UTC)
    clock = ManualClock(demonstration_start(now, subjects))
    with emptied_on_failure(data), make_demonstration(data, clock=clock) as trial:
        if subjects:
            with progress_line() as show:
                demonstrate(
                    trial, subjects=subjects, now=now, progress=lambda begun, total: show(f"subject {begun} of {total}")
                )


def _listening(host: str, port: int) -> socket.socket:
    """A socket on the address, so that a taken port is an error of ours and port 0 can be printed."""
    from lutetia.errors import InputError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, so that the event loop sends small parts at once; else each answer waits 40 ms for the one before.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere the option would share a port that somebody else listens on
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        message = f"--port {port}: cannot listen on {host} ({error.strerror}); expected a free port; choose another"
        raise InputError(message) from error
    return listener
