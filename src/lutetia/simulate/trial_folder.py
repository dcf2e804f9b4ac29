"""One virtual trial as the exchange folder (`lutetia.dataset`), byte for byte from its seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lutetia.core.provenance import software
from lutetia.dataset.folder import Row, write_dataset
from lutetia.simulate.export import VirtualTrial
from lutetia.simulate.export_clinical import clinical_tables
from lutetia.simulate.export_doses import dose_tables
from lutetia.simulate.export_events import event_tables
from lutetia.simulate.export_study import study_text


def write_trial(trial: VirtualTrial, folder: Path, protocol_file: bytes | None = None) -> str:
    """Write the exchange folder of a virtual trial, all or none; returns the snapshot's SHA-256.

    Parameters
    ----------
    protocol_file
        Content of the protocol's file, which then lies beside `study.toml` under the name that this gives.
    """
    tables: dict[str, Sequence[Row]] = {**clinical_tables(trial), **event_tables(trial), **dose_tables(trial)}
    block = trial.block
    record = {
        "schema": "lutetia.snapshot/1",
        "id": f"simulated-{trial.protocol.name}-{len(trial.subjects)}-{block.seed}",
        "simulated": True,
        "level": block.level,
        "dose_effect": trial.effects.mode,
        "seed": block.seed,
        "software": software(),
        "cut_at": trial.cut.isoformat(),
        "extracted_at": trial.cut.isoformat(),
        "audit_head": None,
    }
    files = {"study.toml": study_text(trial).encode()}
    if protocol_file is not None:
        files[f"{trial.protocol.name}.toml"] = protocol_file
    return write_dataset(folder, tables, files=files, snapshot=record)
