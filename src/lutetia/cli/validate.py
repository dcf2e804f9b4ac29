"""`lutetia validate`: the studies that compare the chain with independent and simulated truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lutetia.cli.output import print_json, progress_line

if TYPE_CHECKING:
    from lutetia.validation.checks import Check


def validate(
    studies: Annotated[list[str] | None, typer.Argument(help="Names of studies; all of them by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures as a page (Markdown).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run the validation studies (about 20 minutes for all) and print each figure with its bound.

    Example: lutetia validate noise-free registration
    """
    from lutetia.errors import UnknownNameError
    from lutetia.validation.page import source_commit, validation_page
    from lutetia.validation.studies import STUDIES

    names = studies or list(STUDIES)
    for name in names:
        if name not in STUDIES:
            raise UnknownNameError("study", name, STUDIES)
    checks = []
    with progress_line() as progress:
        for name in names:
            progress(f"study {name}")
            found = STUDIES[name]()
            checks += found
            if not json:
                print("\n".join(_line(check) for check in found))
    if json:
        print_json([check.record() for check in checks])
    if out is not None:
        out.write_text(validation_page(checks, commit=source_commit()), encoding="utf-8")
    if not all(check.holds for check in checks):
        raise typer.Exit(1)


def _line(check: Check) -> str:
    verdict = "ok  " if check.holds else "FAIL"
    return f"{verdict} {check.study}: {check.name} = {check.value:.4g} {check.unit} ({check.bound})"
