"""`lutetia study`: many virtual trials and their operating characteristics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutetia.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lutetia.simulate.study import StudySpec


def study(
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Packaged protocol, or a path that ends in .toml; several are compared. Default: duonen."),
    ] = None,
    subjects: Annotated[int, typer.Option(help="Subjects in a trial.")] = 56,
    trials: Annotated[int, typer.Option(help="Number of trials.")] = 200,
    level: Annotated[str, typer.Option(help="How doses are measured: analytic or fitted.")] = "analytic",
    effect: Annotated[
        str,
        typer.Option(help="Blood counts follow the marrow dose (planted), do not (none), or fall steeply (strong)."),
    ] = "planted",
    biology: Annotated[
        str, typer.Option(help="Sink effect of the tumours: drawn (correlations) or compartment (mechanistic model).")
    ] = "drawn",
    seed: Annotated[int, typer.Option(help="The result depends on it, not on the number of workers.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler, such as tcp://host:8786.")] = None,
    population: Annotated[Path | None, typer.Option(help="Population file; default: the packaged one.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of study.json, the report, and parts to resume from.")] = Path(
        "study"
    ),
    shape_map: Annotated[
        bool, typer.Option("--map", help="Instead: where DUONEN's published directions hold, over a declared grid.")
    ] = False,
    schedule: Annotated[
        list[str] | None,
        typer.Option(help="Scan hours (4,24,72,168) or METHOD@HOUR (madsen@72); several are compared. Level fitted."),
    ] = None,
    single_time_point: Annotated[
        bool, typer.Option("--single-time-point", help="Instead: kidneys off by more than 10 % with one scan a cycle.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Run virtual trials and report doses, modifications, toxicity and power by arm; the same command resumes.

    Example: lutetia study --protocol duonen --subjects 56 --trials 200 --workers 2 --out DIR
    """
    from lutetia.protocol.profile import read_protocol
    from lutetia.simulate.population import read_population
    from lutetia.simulate.study import run_study, study_result, study_spec
    from lutetia.simulate.study_report import write_study

    if single_time_point:
        _single_time_point(population, out, seed=seed, json=json)
        return
    people, names = read_population(population), protocol or ["duonen"]
    specs = [
        study_spec(
            read_protocol(name), subjects=subjects, trials=trials, seed=seed, level=level, effect=effect,
            biology=biology, population=people,
        )
        for name in names
    ]  # fmt: skip
    if len(specs) > 1 or schedule:
        _compare(specs, schedule or [], out, workers=workers, scheduler=scheduler, json=json)
        return
    spec = specs[0]
    if shape_map:
        _map(spec, out, workers=workers, scheduler=scheduler, json=json)
        return
    with _progress() as show:
        outcomes = run_study(spec, out, workers=workers, scheduler=scheduler, progress=show)
    result = study_result(spec, outcomes)
    write_study(result, out)
    if json:
        print_json(result)
    else:
        _print(result, out)


def _map(spec: StudySpec, out: Path, *, workers: int, scheduler: str | None, json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from lutetia.simulate.shape_map import map_document, map_record, map_rows, run_map, statement_key
    from lutetia.simulate.study_report import write_report

    with _progress() as show:
        rows = run_map(spec, workers=workers, scheduler=scheduler, progress=show)
    record = map_record(spec, rows)
    write_report(record, map_document(spec, rows), out, name="map")
    if json:
        print_json(record)
        return
    titles, lines = map_rows(rows)
    table = Table(*titles)
    for line in lines:
        table.add_row(*line)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print("A statement holds where it is true in more than half of the trials:")
    for words in statement_key(rows):
        console.print(words)
    console.print(f"report: {out / 'map.html'}")


def _compare(
    specs: list[StudySpec], schedules: list[str], out: Path, *, workers: int, scheduler: str | None, json: bool
) -> None:
    from rich.console import Console
    from rich.table import Table

    from lutetia.simulate.compare import comparison_document, comparison_rows, run_comparison, variants
    from lutetia.simulate.study_report import write_report

    chosen = variants(specs, schedules)
    with _progress() as show:
        record = run_comparison(chosen, out, workers=workers, scheduler=scheduler, progress=show)
    write_report(record, comparison_document(record), out, name="comparison")
    if json:
        print_json(record)
        return
    titles, lines = comparison_rows(record)
    console = Console(highlight=False, markup=False)
    for part in (slice(2, 9), slice(9, None)):
        table = Table()
        table.add_column("study, arm", no_wrap=True)
        for title in titles[part]:
            table.add_column(title, justify="right")
        for name, arm, *cells in lines:
            table.add_row(f"{name}, {arm}", *cells[part.start - 2 : None if part.stop is None else part.stop - 2])
        console.print(table)
    console.print(f"report: {out / 'comparison.html'}")


def _single_time_point(population: Path | None, out: Path, *, seed: int, json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from lutetia.simulate.population import packaged_measurement, read_population
    from lutetia.simulate.single_point import single_point_record
    from lutetia.simulate.single_point_report import best_hour_rows, single_point_document, single_point_rows
    from lutetia.simulate.study_report import write_report

    record = single_point_record(read_population(population), packaged_measurement(), seed=seed)
    write_report(record, single_point_document(record), out, name="single-time-point")
    if json:
        print_json(record)
        return
    titles, lines = single_point_rows(record)
    table, best = Table(*titles), Table("nuclide", "method", "best hour", "T_eff/ln 2")
    for line in lines:
        table.add_row(*line)
    for line in best_hour_rows(record):
        best.add_row(*line)
    console = Console(highlight=False, markup=False)
    console.print("Percent of kidneys off by more than 10 % in time-integrated activity, by hour of the scan:")
    console.print(table)
    console.print(best)
    console.print(f"report: {out / 'single-time-point.html'}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar of finished trials on a terminal, nothing when piped."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("trials", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print(result: Mapping[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from lutetia.simulate.study_report import coverage_rows, rejection_rows, stopping_rows, stopping_titles, study_rows

    console = Console(highlight=False, markup=False)
    console.print(
        f"{result['trials']} virtual trials of {result['subjects']} subjects, protocol {result['protocol']['name']}, "
        f"level {result['level']}, biology {result['biology']}, effect {result['effect']}, seed {result['seed']}"
    )
    table = Table("mean over trials (90 % of trials)")
    for arm in result["arms"]:
        table.add_column(f"arm {arm}", justify="right")
    for row in study_rows(result):
        table.add_row(*row)
    console.print(table)
    tests = Table("test at 5 %", "rejects", "standard error", "trials")
    for row in rejection_rows(result):
        tests.add_row(*row)
    console.print(tests)
    shown = slice(1, len(result["arms"]) + 2)
    stopping = Table()
    stopping.add_column("stopping rule: trials stopped", no_wrap=True)
    for title in stopping_titles(result["stopping"])[shown]:
        stopping.add_column(title, justify="right")
    for rule, *shares in stopping_rows(result["stopping"]):
        stopping.add_row(rule, *shares[: shown.stop - 1])
    console.print(stopping)
    for quantity, covered, intervals in coverage_rows(result["calibration"]):
        console.print(f"{covered:>7} of {intervals} nominal 95 % dose intervals hold the truth: {quantity}")
    for statement in result["published"]:
        share = statement["share_of_trials"]
        words = "–" if share is None else f"{100 * share:.1f} %"
        console.print(f"{words:>7} of trials: {statement['statement']}")
    if count := len(result["assumptions"]):
        console.print(
            f"{count} values of this protocol and most of the population are assumptions; the report lists them"
        )
    console.print(f"report: {out / 'report.html'}")
