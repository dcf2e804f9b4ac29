"""What the commands of a trial's keeper share: under whose name they act, and what opens a backup."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lutetia.trial.container import Secret
    from lutetia.trial.records import Actor

PASSPHRASE = "LUTETIA_PASSPHRASE"


def console_actor(role: str = "data_manager") -> Actor:
    """The operating system's user, as the audit trail names who worked at the server itself."""
    from lutetia.trial.records import Actor, Grant

    name = f"console:{getpass.getuser()}"
    return Actor(name, name, (Grant(role),))


def secret_of(key: Path | None, *, confirm: bool = False) -> Secret:
    """The key file, else the passphrase from the environment, else one that is asked for."""
    from lutetia.errors import StorageError
    from lutetia.trial.container import Secret
    from lutetia.trial.keys import read_key

    if key is None:
        given = os.environ.get(PASSPHRASE)
        return Secret(passphrase=given or typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm))
    try:
        return Secret(key=read_key(key))
    except OSError as error:
        text = f"--key {key}: cannot be read ({error.strerror}); make one with  lutetia backup key FILE"
        raise StorageError(text) from error
