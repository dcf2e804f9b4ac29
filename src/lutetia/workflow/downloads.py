"""What people take away from the trial as one file: a snapshot, the data as they are now, the whole trial.

Each asks the right to export, masks by role and leaves a note in the audit trail.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from lutetia.trial import access
from lutetia.trial.records import Actor, Change, Event
from lutetia.trial.store import Trial
from lutetia.workflow.export import export_dataset, export_trial
from lutetia.workflow.interim import snapshot_of
from lutetia.workflow.interim_files import zipped


@dataclass(frozen=True, slots=True)
class Download:
    """A file with the name to save it under."""

    name: str
    content: bytes


def snapshot_archive(trial: Trial, actor: Actor, snapshot_id: str) -> Download:
    """A stored snapshot as a ZIP, the same bytes each time; a masked person gets the masked variant.

    Raises
    ------
    AccessDeniedError
        Without the right to export.
    MissingRecordError, StorageError
        If there is no such snapshot, or its file was altered.
    """
    access.require(actor, "export")
    hide = access.masked(actor, "export")
    with trial.read() as reader:
        row = snapshot_of(reader, snapshot_id)
    prefix, values = ("masked_", row["further"]) if hide else ("", row)
    content = trial.files.get(values[f"{prefix}file_sha256"])
    event = {"kind": "snapshot", "snapshot": snapshot_id, "masked": hide, "sha256": values[f"{prefix}sha256"]}
    trial.commit(Change("export", [Event(event)]), actor)
    return Download(f"{snapshot_id}{'-masked' if hide else ''}.zip", content)


def dataset_archive(trial: Trial, actor: Actor) -> Download:
    """The CSV folder of the data as they are now, as a ZIP.

    Raises
    ------
    AccessDeniedError
        Without the right to export.
    InputError
        If the trial was made without `study.toml`.
    """
    with tempfile.TemporaryDirectory(prefix="lutetia-export-") as place:
        folder = Path(place) / "dataset"
        export_dataset(trial, actor, folder)
        contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    with trial.read() as reader:
        name = f"{reader.records('study')[0]['study_id']}-{reader.now[:10]}"
    masked = "-masked" if access.masked(actor, "export") else ""
    return Download(f"{name}-data{masked}.zip", zipped(contents))


def trial_archive(trial: Trial, actor: Actor, folder: Path) -> Path:
    """The whole trial as one archive in a folder; it may be large, so it is a file.

    Raises
    ------
    AccessDeniedError
        Without the right to export, or for a masked role.
    """
    with trial.read() as reader:
        name = f"{reader.records('study')[0]['study_id']}-{reader.now[:10]}-trial.zip"
    path = folder / "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "_" for c in name)
    export_trial(trial, actor, path)
    return path
