"""`lutetia export`: a whole trial as one archive, or its tables as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.output import print_json, progress_line


def export(
    data: Annotated[Path, typer.Argument(help="Folder of the trial.")],
    archive: Annotated[
        Path | None, typer.Option(help="Archive to write: everything, without loss; a new file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Folder to write: the tables as CSV, for `lutetia interim`.")] = None,
    cut: Annotated[str | None, typer.Option(help="With --csv: date of the data cut, noted in the snapshot.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Export a trial: all of it (data, audit trail, signatures, protocol, files), or its tables; recorded in the trail.

    Example: lutetia export DATA --archive trial.zip

    Example: lutetia export DATA --csv TABLES --cut 2026-06-30
    """
    from lutetia.cli.console import console_actor
    from lutetia.errors import InputError
    from lutetia.trial.exchange import export_dataset
    from lutetia.trial.exporting import export_trial
    from lutetia.trial.store import Trial

    if archive is None and csv is None:
        raise InputError("export: found neither --archive nor --csv; expected what to write")
    answer: dict[str, object] = {}
    with Trial.open(data) as trial, progress_line() as show:
        show("writing")
        if archive is not None:
            facts = export_trial(trial, console_actor(), archive)
            answer |= {"archive": str(archive), "audit_rows": facts.sequence, "head": facts.head, "files": facts.files}
        if csv is not None:
            digest = export_dataset(trial, console_actor(), csv, cut_at=cut)
            answer |= {"csv": str(csv), "snapshot_sha256": digest}
    if json:
        print_json(answer)
    else:
        print("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in answer.items()))
