"""`lutetia randomise`: try a randomisation scheme before the trial, and replay a revealed one after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutetia.cli.output import print_json
from lutetia.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from lutetia.trial.randomisation_records import RandomisationSpec


def randomise(
    action: Annotated[str, typer.Argument(help="simulate: try a scheme; replay: check a revealed seed.")],
    revealed: Annotated[Path | None, typer.Argument(help="For replay: the file of the revealed seed.")] = None,
    scheme: Annotated[str, typer.Option(help="blocks, minimisation or simple.")] = "blocks",
    subjects: Annotated[int, typer.Option(help="Subjects in a trial.")] = 92,
    arms: Annotated[str, typer.Option(help="Names of the arms, separated by commas.")] = "A,B,C,D",
    ratio: Annotated[str | None, typer.Option(help="One number an arm, such as 2,1,1,1.", show_default=False)] = None,
    centres: Annotated[int, typer.Option(help="Sites, a factor of the scheme; 0 leaves them out.")] = 5,
    factor: Annotated[
        list[str] | None, typer.Option(help="A further factor and its levels, such as diabetes=no,yes; repeatable.")
    ] = None,
    block_sizes: Annotated[str, typer.Option(help="Sizes that a block draws from.")] = "4,8",
    p_best: Annotated[float, typer.Option(help="Minimisation: probability of the arm that balances best.")] = 0.8,
    overall_weight: Annotated[float, typer.Option(help="Minimisation: weight of the balance of whole arms.")] = 1.0,
    trials: Annotated[int, typer.Option(help="Number of virtual trials.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Simulate a randomisation scheme before a trial, or replay all allocations from a revealed seed after it.

    Example: lutetia randomise simulate --scheme minimisation --subjects 92 --centres 5 --factor diabetes=no,yes

    Example: lutetia randomise replay revealed.json
    """
    if action == "replay":
        _replay(revealed, json=json)
        return
    if action != "simulate":
        raise UnknownNameError("action", action, ("simulate", "replay"), where="randomise")
    from lutetia.trial.randomisation import check_spec
    from lutetia.trial.randomisation_records import RandomisationSpec

    names = tuple(arms.split(","))
    parts = _whole(ratio, "--ratio") if ratio else (1,) * len(names)
    spec = check_spec(
        RandomisationSpec(
            scheme, names, parts, _factors(centres, factor or []), _whole(block_sizes, "--block-sizes"), p_best,
            overall_weight,
        )
    )  # fmt: skip
    _simulate(spec, subjects=subjects, trials=trials, seed=seed, json=json)


def _simulate(spec: RandomisationSpec, *, subjects: int, trials: int, seed: int, json: bool) -> None:
    from lutetia.trial.randomisation_simulation import simulate_scheme

    found = simulate_scheme(spec, subjects=subjects, trials=trials, seed=seed)
    record: dict[str, Any] = {
        "schema": "lutetia.randomisation-simulation/1",
        "scheme": spec.scheme,
        "subjects": subjects,
        "trials": trials,
        "seed": seed,
        "factors": {factor.name: list(factor.levels) for factor in spec.factors},
        "arm_size_range": _summary(found.size_range),
        "largest_range_within_a_level": _summary(found.largest_level_range),
        "guessed_share": _summary(found.guessed),
        "guessed_by_chance": max(spec.ratio) / sum(spec.ratio),
    }
    if json:
        print_json(record)
        return
    print(f"{spec.scheme}: {subjects} subjects, arms {', '.join(spec.arms)}, {trials} virtual trials, seed {seed}")
    for key, words in (
        ("arm_size_range", "largest minus smallest arm"),
        ("largest_range_within_a_level", "the same within one level of a factor"),
        ("guessed_share", "arms guessed from earlier ones of the site"),
    ):
        row = record[key]
        print(f"  {words:43} mean {row['mean']:6.2f}   median {row['median']:6.2f}   95 % {row['p95']:6.2f}")


def _summary(values: Any) -> dict[str, float]:
    import numpy as np

    from lutetia.core.numbers import six_digits

    median, p95 = np.quantile(values, [0.5, 0.95])
    return {"mean": six_digits(values.mean()), "median": six_digits(median), "p95": six_digits(p95)}


def _factors(centres: int, further: list[str]) -> tuple[Any, ...]:
    from lutetia.trial.randomisation_records import Factor

    found = [Factor("site", tuple(f"{number:02d}" for number in range(1, centres + 1)))] if centres > 0 else []
    for text in further:
        name, equals, levels = text.partition("=")
        if not (name and equals and levels):
            raise InputError(f"--factor: found {text!r}; expected a name and its levels, such as diabetes=no,yes")
        found.append(Factor(name, tuple(levels.split(","))))
    return tuple(found)


def _whole(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option}: found {text!r}; expected whole numbers separated by commas") from error


def _replay(revealed: Path | None, *, json: bool) -> None:
    from lutetia.trial.randomisation_reveal import replay_file

    if revealed is None:
        raise InputError("randomise replay: found no file; give the file of the revealed seed")
    found = replay_file(revealed)
    if json:
        print_json({"schema": "lutetia.randomisation-replay/1", "allocations": found.allocations,
                    "commitment": found.commitment, "reproduced": True})  # fmt: skip
    else:
        print(f"{found.allocations} allocations reproduced; published hash {found.commitment} agrees")
