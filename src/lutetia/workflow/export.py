"""Exports: the data as an exchange folder, as the role may see them. Every export leaves a line in the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lutetia.trial import Actor, Change, Event, Trial, access
from lutetia.workflow.snapshot import current_dataset


@dataclass(frozen=True, slots=True)
class Exported:
    """A written folder, the SHA-256 of its content, and whether arm-revealing values are hidden in it."""

    folder: Path
    sha256: str
    masked: bool


def export_dataset(trial: Trial, actor: Actor, folder: Path) -> Exported:
    """Write the data as they are now to a new folder (or over an earlier export).

    Raises
    ------
    AccessDeniedError
        Without the right to export.
    OutputError
        If the folder holds something else or cannot be written.
    """
    access.require(actor, "export")
    hide = access.masked(actor, "export")
    with trial.read() as reader:
        sha256 = current_dataset(trial, reader, folder, masked=hide)
    values = {"kind": "dataset", "masked": hide, "sha256": sha256}
    trial.commit(Change("export", [Event(values)]), actor)
    return Exported(folder, sha256, hide)
