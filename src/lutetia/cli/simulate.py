"""`lutetia simulate`: one virtual trial as a folder of tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lutetia.cli.output import print_json, progress_line


def simulate(
    protocol: Annotated[str, typer.Option(help="Packaged protocol, or a path that ends in .toml.")] = "duonen",
    subjects: Annotated[int, typer.Option(help="Randomised subjects.")] = 56,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files, byte for byte.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier dataset there is replaced.")] = Path("trial"),
    level: Annotated[str, typer.Option(help="How doses are measured: analytic or fitted.")] = "analytic",
    effect: Annotated[
        str,
        typer.Option(help="Blood counts follow the marrow dose (planted), do not (none), or fall steeply (strong)."),
    ] = "planted",
    population: Annotated[Path | None, typer.Option(help="Population file; default: the packaged one.")] = None,
    into: Annotated[
        Path | None, typer.Option(help="Instead: a new trial folder, filled through the trial's own workflow.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Write a virtual trial: subjects, doses, laboratory values, adverse events, and the truth behind them.

    Example: lutetia simulate --protocol duonen --subjects 56 --seed 7 --out DATA
    """
    if into is not None:
        _into(into, protocol, population, subjects=subjects, seed=seed, level=level, effect=effect, json=json)
        return
    from lutetia.protocol.profile import read_protocol
    from lutetia.simulate.export import simulate_trial
    from lutetia.simulate.population import read_population
    from lutetia.simulate.trial_folder import write_trial
    from lutetia.workflow.study_file import protocol_bytes

    with progress_line() as show:
        show("simulating")
        trial = simulate_trial(
            read_protocol(protocol), subjects=subjects, seed=seed, level=level, effect=effect,
            population=read_population(population),
        )  # fmt: skip
        show("writing")
        digest = write_trial(trial, out, protocol_bytes(protocol))
    if json:
        print_json({"folder": str(out), "subjects": len(trial.subjects), "level": level, "snapshot_sha256": digest})
    else:
        print(f"{len(trial.subjects)} virtual subjects, level {level}: {out}")
        print(f"snapshot {digest}")


def _into(
    folder: Path,
    protocol: str,
    population: Path | None,
    *,
    subjects: int,
    seed: int,
    level: str,
    effect: str,
    json: bool,
) -> None:
    from datetime import UTC, datetime

    from lutetia.simulate.database import simulate_into
    from lutetia.simulate.population import read_population

    with progress_line() as show:
        block = simulate_into(
            folder, protocol=protocol, subjects=subjects, seed=seed, level=level, effect=effect,
            population=read_population(population), now=datetime.now(UTC),
            progress=lambda begun, total: show(f"{begun} of {total} subjects begun"),
        )  # fmt: skip
    if json:
        print_json({"folder": str(folder), "subjects": block.subjects.count, "level": f"database ({level})"})
    else:
        print(f"{block.subjects.count} virtual subjects went through the trial's workflow: {folder}")
