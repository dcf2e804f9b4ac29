"""`lutetia backup`: back a trial up while it runs, and prove that the backup can be restored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.output import print_json, progress_line


def backup(
    action: Annotated[str, typer.Argument(help="make: back DATA up; verify: prove a backup; key: make a key file.")],
    path: Annotated[Path, typer.Argument(help="Trial folder (make), backup (verify) or new key file (key).")],
    out: Annotated[Path | None, typer.Option(help="make: the backup to write; a new file.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key file; without it a passphrase is asked for.")] = None,
    identities: Annotated[
        bool, typer.Option("--identities", help="make: include the site's identity list and its key.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Write an encrypted backup of a running trial, or restore one into an empty temporary place to prove it.

    Example: lutetia backup make DATA --out /backups/2026-03-02.lutetia --key site.key

    Example: lutetia backup verify /backups/2026-03-02.lutetia --key site.key
    """
    from dataclasses import asdict

    from lutetia.cli.console import console_actor, secret_of
    from lutetia.errors import InputError, UnknownNameError
    from lutetia.trial.backup import verify_backup, write_backup
    from lutetia.trial.keys import new_key_file
    from lutetia.trial.store import Trial

    if action == "key":
        new_key_file(path)
        print(f"{path}: a new key, readable by you alone; keep a copy where the backups are not")
        return
    with progress_line() as show:
        if action == "verify":
            show("restoring into a temporary place")
            facts = verify_backup(path, secret=secret_of(key))
        elif action == "make":
            if out is None:
                raise InputError("backup make: found no --out; expected the file to write")
            with Trial.open(path) as trial:
                secret = secret_of(key, confirm=True)
                show("writing")
                facts = write_backup(trial, console_actor(), out, secret=secret, with_identities=identities)
        else:
            raise UnknownNameError("action", action, ("make", "verify", "key"), where="backup")
    if json:
        print_json(asdict(facts))
        return
    done = "restored and verified" if action == "verify" else "written"
    print(f"{done}: {facts.sequence} audit rows, {facts.files} files")
    print(f"head {facts.head}, state of {facts.made_at}")
