"""`lutetia validate`: the studies that compare the chain with independent and simulated truth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lutetia.cli.output import print_json, progress_line

if TYPE_CHECKING:
    from lutetia.validation.checks import Check


def validate(
    studies: Annotated[list[str] | None, typer.Argument(help="Names of studies; all of them by default.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures as a page (Markdown).")] = None,
    patient15: Annotated[
        Path | None, typer.Option(help="Folder of the licensed voxel phantom patient15, for the study dose-maps.")
    ] = None,
    requirements: Annotated[
        bool, typer.Option("--requirements", help="Print each requirement of the trial half with its tests.")
    ] = False,
    tests: Annotated[Path, typer.Option(help="Folder of the tests, for --requirements.")] = Path("tests"),
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run the validation studies (about 20 minutes for all) and print each figure with its reference and bound.

    Example: lutetia validate noise-free registration
    """
    if requirements:
        _print_requirements(tests, json)
        return
    from lutetia.errors import UnknownNameError
    from lutetia.validation.monte_carlo import patient_study
    from lutetia.validation.page import source_commit, summary, write_page
    from lutetia.validation.studies import STUDIES

    names = studies or list(STUDIES)
    for name in names:
        if name not in STUDIES:
            raise UnknownNameError("study", name, STUDIES)
    checks = []
    with progress_line() as progress:
        for name in names:
            progress(f"study {name}")
            found = patient_study(patient15) if name == "dose-maps" else STUDIES[name]()
            checks += found
            if not json:
                print("\n".join(_line(check) for check in found))
    if json:
        print_json([check.record() for check in checks])
    else:
        print(summary(checks))
    if out is not None:
        write_page(out, checks, commit=source_commit())
    if any(check.fails for check in checks):
        raise typer.Exit(1)


def _print_requirements(tests: Path, as_json: bool) -> None:
    from lutetia.validation.requirements import matrix_lines, requirement_matrix

    seen: set[str] = set()

    def show(text: str) -> None:
        """One line for each file of tests as it begins to end, with the percent that is done."""
        percent, _, file = text.partition(" % ")
        if file not in seen:
            seen.add(file)
            print(f"{percent:>3} % {file}", file=sys.stderr, flush=True)

    print("running the tests of the requirements (some minutes)", file=sys.stderr, flush=True)
    matrix = requirement_matrix(tests, show)
    if as_json:
        print_json([one.record() for one in matrix])
    else:
        print("\n".join(matrix_lines(matrix)))
    if any(one.result != "passed" for one in matrix):
        raise typer.Exit(1)


def _line(check: Check) -> str:
    if check.not_run:
        return f"NOT RUN {check.study}: {check.name}: {check.not_run}"
    verdict = "ok  " if check.holds else "FAIL"
    words = f"{verdict} {check.study}: {check.name} = {check.value:.4g} {check.unit}".rstrip()
    if check.difference_percent is None:
        return f"{words} ({check.bound})"
    return f"{words}, reference {check.reference:.4g}: {check.difference} ({check.tolerance})"
