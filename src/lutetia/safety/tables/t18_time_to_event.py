"""T18: time to first events: cumulative incidence where death competes, Kaplan–Meier for death, tests of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import pandas as pd

from lutetia.safety.adverse_events import DAYS_PER_MONTH
from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.statistics.gray import gray_test
from lutetia.safety.statistics.results import NotEstimable, Result, holm
from lutetia.safety.statistics.survival import (
    Curve,
    CurveTest,
    aalen_johansen,
    at_time,
    kaplan_meier,
    log_rank,
)
from lutetia.safety.tables.building import TableBuilder, arm_columns

MONTHS = (3, 6, 12)
WHOLE = ("death", "progression or death")  # no event competes with these
NOTE = (
    "Share with the event by month, in percent, with its 95 % interval: cumulative incidence with death as a competing "
    "event (Aalen–Johansen), for death and progression-free survival one less Kaplan–Meier. Arms: Gray's test, for "
    "those two the log-rank test, adjusted by Holm over the endpoints. Dated by the sample that showed the grade."
)


@lru_cache(maxsize=2)
def curves(context: Context) -> Mapping[str, Mapping[str, Curve | NotEstimable]]:
    """Curve of every endpoint and arm ("all" too)."""
    found: dict[str, dict[str, Curve | NotEstimable]] = {}
    for endpoint in endpoints(context):
        own = durations(context, endpoint)
        found[endpoint] = {
            arm: _curve(own if arm == "all" else own[own["arm"] == arm], endpoint) for arm in (*context.arms, "all")
        }
    return found


@lru_cache(maxsize=2)
def arm_tests(context: Context) -> Mapping[str, CurveTest | NotEstimable]:
    """Gray's test of the arms for every endpoint with competing deaths, the log-rank test for the others."""
    found: dict[str, CurveTest | NotEstimable] = {}
    for endpoint in endpoints(context):
        own = durations(context, endpoint)
        day, arm = own["day"].to_numpy(), list(own["arm"])
        whole = endpoint in WHOLE
        found[endpoint] = (
            log_rank(day, (own["status"] == 1).to_numpy(), arm)
            if whole
            else gray_test(day, own["status"].to_numpy(), arm)
        )
    return found


def build(context: Context) -> SafetyTable:
    """The table of times to events."""
    table = TableBuilder("T18", "Time to first events", "SAF followed for the event")
    groups = arm_columns(table, context)
    tests = arm_tests(context)
    tested = {name: t.p for name, t in tests.items() if isinstance(t, CurveTest)}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    for endpoint, by_arm in curves(context).items():
        own = durations(context, endpoint)
        table.row(endpoint, f"{_upper(str(own['label'].iloc[0]))}")
        _events(table, own, endpoint, groups)
        for month in MONTHS:
            row = table.row(f"{endpoint} / month {month}", f"By month {month}, %", level=1)
            for column, subjects in groups.items():
                among = own[own["subject_id"].isin(list(subjects))]
                table.result(row, column, _share(by_arm[column], month), rows=_rows(among))
        row, test = table.row(f"{endpoint} / arms", "Arms: adjusted p", level=1), tests[endpoint]
        if isinstance(test, NotEstimable):
            table.refuse(row, "all", test.reason, n=test.n, statistic="p_adjusted")
        else:
            table.put(row, "all", n=test.n, rows=_rows(own), p_adjusted=adjusted[endpoint])
    table.footnotes.append(NOTE)
    return table.build()


def endpoints(context: Context) -> list[str]:
    """Endpoints for which somebody was followed, in their order."""
    own = context.durations[context.durations["subject_id"].isin(context.sets.saf)]
    return [str(name) for name in own["endpoint"].unique()]


def durations(context: Context, endpoint: str) -> pd.DataFrame:
    """Times of the treated subjects for one endpoint."""
    own = context.durations[context.durations["endpoint"] == endpoint]
    return own[own["subject_id"].isin(context.sets.saf)].sort_values("subject_id")


def _curve(own: pd.DataFrame, endpoint: str) -> Curve | NotEstimable:
    if own.empty:
        return NotEstimable("no subject was followed")
    if endpoint in WHOLE:
        return kaplan_meier(own["day"].to_numpy(), (own["status"] == 1).to_numpy())
    return aalen_johansen(own["day"].to_numpy(), own["status"].to_numpy())


def _share(curve: Curve | NotEstimable, month: int) -> Result | NotEstimable:
    """Share with the event at a month, in percent."""
    if isinstance(curve, NotEstimable):
        return curve
    found = at_time(curve, month * DAYS_PER_MONTH)
    if isinstance(found, NotEstimable):
        return NotEstimable(f"nobody was observed until month {month}", found.n, found.method)
    ends = [None if v is None else 100.0 * (1.0 - v if curve.start else v) for v in (found.low, found.high)]
    estimate = 100.0 * (1.0 - found.estimate if curve.start else found.estimate)
    low, high = sorted(v for v in ends if v is not None) if None not in ends else (None, None)
    return Result("share with the event", estimate, low, high, None, found.n, found.method, warnings=found.warnings)


def _events(table: TableBuilder, own: pd.DataFrame, endpoint: str, groups: Mapping[str, Sequence[str]]) -> None:
    row = table.row(f"{endpoint} / events", "Events; deaths before", level=1)
    for column, subjects in groups.items():
        among = own[own["subject_id"].isin(list(subjects))]
        counts = {"events": int((among["status"] == 1).sum()), "deaths": int((among["status"] == 2).sum())}
        table.put(row, column, n=len(among), rows=_rows(among), **counts)


def _rows(own: pd.DataFrame) -> dict[str, list[int]]:
    """Rows in which the events stand."""
    hit = own[own["status"] == 1]
    return {str(name): [int(r) for r in part["row"]] for name, part in hit.groupby("table")}


def _upper(words: str) -> str:
    """A capital at the beginning, but for names such as eGFR."""
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]
