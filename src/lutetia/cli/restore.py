"""`lutetia restore`: a trial from its backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.output import print_json, progress_line


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="File that `lutetia backup make` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the trial; new or empty.")],
    key: Annotated[Path | None, typer.Option(help="Key file; without it a passphrase is asked for.")] = None,
    url: Annotated[str | None, typer.Option(help="Empty PostgreSQL database to restore into.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Restore a backup into an empty place; trail, records and files are verified before it counts as done.

    Example: lutetia restore 2026-03-02.lutetia --out DATA --key site.key
    """
    from dataclasses import asdict

    from lutetia.cli.console import secret_of
    from lutetia.trial.backup import restore_backup

    secret = secret_of(key)
    with progress_line() as show:
        show("restoring")
        facts = restore_backup(source, out, secret=secret, url=url)
    if json:
        print_json(asdict(facts))
    else:
        print(f"{out}: {facts.sequence} audit rows and {facts.files} files restored and verified\nhead {facts.head}")
