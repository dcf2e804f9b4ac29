"""T16: stopping rules: where every arm stands, and what the rule does at true event rates (exact)."""

from __future__ import annotations

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.monitoring import Monitored, monitored
from lutetia.safety.tables.building import TableBuilder

COLUMNS: tuple[tuple[str, str], ...] = (
    ("evaluable", "Evaluable"), ("events", "Events"), ("stop_at", "Stop from"), ("posterior", "P(rate > p₀)"),
    ("p_stop", "P(stop), one arm"), ("p_any", "P(stop), any arm"), ("expected", "Expected subjects"),
)  # fmt: skip


def build(context: Context) -> SafetyTable:
    """The table of stopping rules."""
    table = TableBuilder("T16", "Stopping rules (advice, not binding)", "SAF, evaluable subjects")
    for key, label in COLUMNS:
        table.column(key, label)
    rules = monitored(context)
    for found in rules:
        table.row(
            found.monitor.id, f"{found.monitor.id}: {found.monitor.event}, within {found.monitor.within_days} days"
        )
        if found.rule is None:
            row = table.row(f"{found.monitor.id} / all arms", "all arms", level=1)
            for key, _ in COLUMNS:
                table.refuse(row, key, found.reason)
            continue
        _arms(table, context, found)
        _characteristics(table, found)
    for found in rules:
        for arm, (n, events) in found.earlier.items():
            table.footnotes.append(
                f"{found.monitor.id}: arm {arm} was at its boundary when {n} of its subjects were evaluable ({events} "
                "events, subjects in the order of their first infusion), and no longer is."
            )
    if not rules:
        table.footnotes.append("The study file names no stopping rule.")
    table.footnotes.append(
        "Beta-binomial rule: stop where P(rate > p₀ | data) ≥ τ; prior Beta centred at p₀. Evaluable: with an event, "
        "or followed for as many days after the first infusion. Probabilities are exact, by recursion over subjects."
    )
    return table.build()


def _arms(table: TableBuilder, context: Context, found: Monitored) -> None:
    for arm in context.arms:
        status, own = found.status[arm], found.subjects[found.subjects["arm"] == arm]
        row = table.row(f"{found.monitor.id} / {arm}", f"Arm {arm}", level=1, arm=arm)
        rows = {"labs": [r for rs in own["rows"] for r in rs]}
        table.put(row, "evaluable", n=status.n, rows=rows, count=status.n)
        table.put(row, "events", n=status.n, rows=rows, count=status.events)
        if status.stop_at is None:
            table.refuse(row, "stop_at", "no number of events stops yet", n=status.n, statistic="count")
        else:
            table.put(row, "stop_at", n=status.n, rows=rows, count=status.stop_at)
        table.put(row, "posterior", n=status.n, rows=rows, probability=status.posterior)


def _characteristics(table: TableBuilder, found: Monitored) -> None:
    assert found.rule is not None
    for one in found.characteristics:
        name = f"{found.monitor.id} / true rate {one.rate:.2f}"
        row = table.row(name, f"If the true rate were {one.rate:.2f}", level=1)
        table.put(row, "p_stop", n=found.rule.looks[-1], probability=one.p_stop)
        table.put(row, "p_any", n=found.rule.looks[-1], probability=one.p_any_arm)
        table.put(row, "expected", n=found.rule.looks[-1], estimate=one.expected_n)
