"""All commands by name. To add one: a file beside this one with a function, and a line here."""

from __future__ import annotations

from collections.abc import Callable

import typer

from lutetia import __version__
from lutetia.cli.audit import audit
from lutetia.cli.backup import backup
from lutetia.cli.decide import decide
from lutetia.cli.demo import demo
from lutetia.cli.dicom_node import dicom_node
from lutetia.cli.dose_map import dose_map
from lutetia.cli.example import example
from lutetia.cli.export import export
from lutetia.cli.interim import interim
from lutetia.cli.kernel import kernel
from lutetia.cli.new_case import new_case
from lutetia.cli.plan import plan
from lutetia.cli.randomise import randomise
from lutetia.cli.restore import restore
from lutetia.cli.s_value import s_value
from lutetia.cli.serve import serve
from lutetia.cli.simulate import simulate
from lutetia.cli.study import study
from lutetia.cli.trial import trial
from lutetia.cli.validate import validate
from lutetia.cli.worker import worker

COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plan,
    "demo": demo,
    "example": example,
    "new-case": new_case,
    "decide": decide,
    "s-value": s_value,
    "kernel": kernel,
    "dose-map": dose_map,
    "simulate": simulate,
    "study": study,
    "randomise": randomise,
    "interim": interim,
    "validate": validate,
    "trial": trial,
    "audit": audit,
    "backup": backup,
    "restore": restore,
    "export": export,
    "serve": serve,
    "worker": worker,
    "dicom-node": dicom_node,
}

app = typer.Typer(
    help="Dosimetry-guided radioligand therapy: from scans and blood samples to organ doses to the next activity. "
    "For research and trial use under a protocol; a person signs; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(show: bool) -> None:
    if show:
        print(f"lutetia {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options that stand before a command."""


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
