"""`lutetia decide`: the activity controller alone, from numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutetia.cli.output import print_json
from lutetia.core.numbers import six_digits

if TYPE_CHECKING:
    from lutetia.protocol.controller import Decision


def decide(
    decision: Annotated[Path, typer.Argument(help="TOML file with doses so far and coefficients of the next cycle.")],
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Propose the activity of the next cycle from entered doses.

    Example: lutetia decide decision.toml --json
    """
    from lutetia.protocol.entry import read_decision

    result = read_decision(decision).decide()
    if json:
        print_json(decision_record(result))
    else:
        _print_tables(result)


def decision_record(decision: Decision) -> dict[str, Any]:
    """The answer of `lutetia decide --json`; numbers have 6 significant digits, what is not proposed is null."""
    from lutetia.protocol.explain import explain, signing_conditions
    from lutetia.protocol.outcomes import limit_record

    record = {
        "protocol": {"name": decision.protocol.name, "version": decision.protocol.version, "arm": decision.arm},
        "cycle": decision.cycle,
        "state": decision.state,
        "activities_MBq": decision.activities_MBq,
        "category": decision.category,
        "change_from_previous": decision.change_from_previous,
        "bound_by": decision.bound_by,
        "over_limit": decision.over_limit,
        "limits": [limit_record(outcome) for outcome in decision.limits],
        "reasons": list(explain(decision)),
        "conditions": list(signing_conditions(decision)),
        "assumptions": [str(mark) for mark in decision.protocol.marks],
    }
    return {key: _rounded(value) for key, value in record.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return six_digits(value)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _print_tables(decision: Decision) -> None:
    from rich.console import Console

    from lutetia.protocol.explain import explain, signing_conditions

    console = Console(highlight=False, markup=False)
    console.print(f"{decision.protocol.title}", style="bold")
    console.print(f"arm {decision.arm}, cycle {decision.cycle} of {decision.protocol.cycles}: {decision.state}")
    console.print(_activity_table(decision))
    console.print(_limit_table(decision))
    for sentence in explain(decision)[: -len(decision.limits) or None]:
        console.print(f"- {sentence}")
    for condition in signing_conditions(decision):
        console.print(f"before signing: {condition}", style="bold")
    if marks := len(decision.protocol.marks):
        console.print(f"{marks} values of this protocol are assumptions or unchecked; --json lists them")


def _activity_table(decision: Decision) -> Any:
    from rich.table import Table

    table = Table("nuclide")
    for column in ("proposed", "base", "previous"):
        table.add_column(column, justify="right")
    table.add_column("category")
    for nuclide, base in decision.base_MBq.items():
        proposed = None if decision.activities_MBq is None else decision.activities_MBq[nuclide]
        category = "" if decision.category is None else decision.category[nuclide]
        table.add_row(nuclide, _MBq(proposed), _MBq(base), _MBq(decision.previous_MBq.get(nuclide)), category)
    return table


def _limit_table(decision: Decision) -> Any:
    from rich.table import Table

    table = Table("limit", "kind")
    for column in ("limit", "given", "after cycle", "end of course", "P(over) at end"):
        table.add_column(column, justify="right")
    for outcome in decision.limits:
        after, end, limit = outcome.after_cycle, outcome.end_of_course, outcome.limit
        table.add_row(
            limit.id + (" *" if outcome.binding else ""),
            limit.kind,
            _Gy(limit.limit_Gy),
            _Gy(outcome.given_Gy),
            _Gy(None if after is None else after.value_Gy),
            _Gy(None if end is None else end.value_Gy),
            "–" if end is None else f"{100 * end.probability_over:.0f} %",
        )
    return table


def _MBq(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} MBq"


def _Gy(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} Gy"
