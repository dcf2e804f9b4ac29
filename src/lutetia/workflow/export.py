"""Exports as the role may see them: the CSV folder, and the whole trial without loss; each is noted in the trail."""

from __future__ import annotations

from pathlib import Path

from lutetia.trial import Actor, Trial, exchange, exporting
from lutetia.trial.exporting import ExportFacts


def export_dataset(trial: Trial, actor: Actor, folder: Path) -> str:
    """Write the data as they are now to a new folder (or over an earlier export); returns its SHA-256.

    Raises
    ------
    AccessDeniedError
        Without the right to export.
    OutputError
        If the folder holds something else or cannot be written.
    """
    with trial.read() as reader:
        day = reader.now[:10]
    return exchange.export_dataset(trial, actor, folder, cut_at=day)


def export_trial(trial: Trial, actor: Actor, path: Path) -> ExportFacts:
    """Write data, trail, signatures, protocol and files as one archive, for people and for a lossless import.

    Raises
    ------
    AccessDeniedError
        Without the right to export, or for a masked role: the archive holds every arm.
    OutputError
        If the file exists or cannot be written.
    """
    return exporting.export_trial(trial, actor, path)
