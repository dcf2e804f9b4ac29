"""`lutetia dicom-node`: the DICOM receiver of a trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from types import FrameType

    from lutetia.workflow.dicom_intake import Received


def dicom_node(
    data: Annotated[Path, typer.Argument(help="Folder of the trial.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback address; 0 takes a free one.")] = (
        11112
    ),
    title: Annotated[str, typer.Option(help="Our application entity title, at most 16 characters.")] = "LUTETIA",
) -> None:
    """Receive images for a trial: senders named by a site, pseudonyms at the door, filed by subject and cycle.

    Example: lutetia dicom-node DATA --port 11112
    """
    import signal
    import threading

    from lutetia.errors import InputError
    from lutetia.node.receiver import start_node
    from lutetia.trial.store import Trial
    from lutetia.workflow.dicom_intake import SiteIdentities

    if not 0 < len(title.strip()) <= 16:
        raise InputError(f"dicom-node: found --title {title!r}; expected 1 to 16 characters")
    stop = threading.Event()

    def ended(number: int, frame: FrameType | None) -> None:
        stop.set()

    with Trial.open(data) as trial:
        node = start_node(trial, SiteIdentities(trial), port=port, title=title, report=_say)
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, ended)
            print(f"DICOM node {title}: listening on 127.0.0.1:{node.port} for {data}; end it with Ctrl-C", flush=True)
            while not stop.wait(0.5):
                pass
        finally:
            node.stop()


def _say(received: Received) -> None:
    """One line an object, without anything that its header said."""
    place = f" {received.subject_id}, cycle {received.cycle or 'not known'}" if received.subject_id else ""
    print(f"{received.outcome}{place}{': ' + received.reason if received.reason else ''}", flush=True)
