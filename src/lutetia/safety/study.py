"""`study.toml` of the exchange folder as checked records: arms, limits, visit windows, category rule, monitors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

from lutetia.core.clock import time_zone
from lutetia.errors import InputError

METRICS = ("absorbed_dose", "bed")
BASELINE_VISIT = "baseline"


@dataclass(frozen=True, slots=True)
class StudyArm:
    """Planned activity of each nuclide, and the nuclide whose activity the dosimetry varies (None: fixed activity)."""

    name: str
    description: str
    base_MBq: Mapping[str, float]
    variable: str | None


@dataclass(frozen=True, slots=True)
class DoseLimit:
    """A cumulative limit; `method` None takes any one method, and methods are never mixed."""

    id: str
    region: str
    metric: str
    limit_Gy: float
    kind: str
    method: str | None


@dataclass(frozen=True, slots=True)
class VisitWindow:
    """First and last day of a visit, counted from the infusion of its cycle; `target` is the day aimed at."""

    name: str
    first: int
    last: int
    target: float


@dataclass(frozen=True, slots=True)
class Monitor:
    """A stopping rule: the event in words, its window after each first infusion, and the numbers of the boundary."""

    id: str
    event: str
    within_days: int
    p0: float
    tau: float
    prior_ess: float
    looks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """What the analysis needs from `study.toml`."""

    title: str
    protocol: str
    protocol_version: str
    protocol_sha256: str
    arms: Mapping[str, StudyArm]
    limits: tuple[DoseLimit, ...]
    visits: tuple[VisitWindow, ...]
    monitors: tuple[Monitor, ...]
    tolerance: float
    ctcae: str
    coding_version: str
    planned_n: int | None
    cycles: int | None
    interval_weeks: float | None
    simulated: bool
    timezone: ZoneInfo | None


def read_study(table: Mapping[str, Any]) -> Study:
    """Checked study description from the parsed `study.toml`.

    Raises
    ------
    InputError
        If a key is missing or has a value of another kind; the message names it.
    """
    protocol = _table(table, "protocol", required=False)
    category = _table(table, "category", required=False)
    visits = tuple(_visit(row, f"visits {i}") for i, row in enumerate(_tables(table, "visits"), start=1))
    zone = table.get("timezone")
    return Study(
        title=_text(table, "title", default=""),
        protocol=_text(protocol, "name", default=_text(protocol, "file", default="")),
        protocol_version=_text(protocol, "version", default=""),
        protocol_sha256=_text(protocol, "sha256", default=""),
        arms=_arms(_table(table, "arms")),
        limits=tuple(_limit(row, f"limits {i}") for i, row in enumerate(_tables(table, "limits"), start=1)),
        visits=visits,
        monitors=tuple(_monitor(row, f"monitors {i}") for i, row in enumerate(_tables(table, "monitors"), start=1)),
        tolerance=_number(category, "tolerance", default=0.05, where="category"),
        ctcae=_text(table, "ctcae", default="5.0"),
        coding_version=_text(table, "coding_version", default=""),
        planned_n=_whole(table, "planned_n"),
        cycles=_whole(table, "cycles"),
        interval_weeks=_number(table, "interval_weeks", default=None),
        simulated=bool(table.get("simulated", False)),
        timezone=time_zone(str(zone), where="study.toml: timezone") if zone else None,
    )


def _arms(table: Mapping[str, Any]) -> dict[str, StudyArm]:
    if not table:
        raise InputError("study.toml: arms: found none; expected one table per arm, such as [arms.A]")
    return {name: _arm(name, row) for name, row in table.items()}


def _arm(name: str, row: Any) -> StudyArm:
    where = f"arms.{name}"
    base = _table(row if isinstance(row, Mapping) else {}, "base_MBq", where=where)
    activities = {nuclide: _number(base, nuclide, where=f"{where}.base_MBq") for nuclide in base}
    variable = row.get("variable")
    if variable is not None and variable not in activities:
        raise InputError(f"study.toml: {where}: variable is {variable!r}; expected one of {', '.join(activities)}")
    return StudyArm(name, _text(row, "description", default=""), activities, variable)


def _limit(row: Mapping[str, Any], where: str) -> DoseLimit:
    metric = _text(row, "metric", default="absorbed_dose", where=where)
    if metric not in METRICS:
        raise InputError(f"study.toml: {where}: metric is {metric!r}; expected {' or '.join(METRICS)}")
    limit_Gy = _number(row, "limit_Gy", where=where)
    region = _text(row, "region", where=where)
    method = row.get("method")
    kind = _text(row, "kind", default="soft", where=where)
    return DoseLimit(_text(row, "id", default=region, where=where), region, metric, limit_Gy, kind, method)


def _visit(row: Mapping[str, Any], where: str) -> VisitWindow:
    window = row.get("window_days")
    if not _is_window(window):
        raise InputError(f"study.toml: {where}: window_days is {window!r}; expected two whole days, first ≤ last")
    target = _number(row, "target_day", default=(window[0] + window[1]) / 2, where=where)
    return VisitWindow(_text(row, "name", where=where), window[0], window[1], target)


def _is_window(window: Any) -> TypeGuard[Sequence[int]]:
    whole = isinstance(window, list) and len(window) == 2 and all(isinstance(day, int) for day in window)
    return whole and window[0] <= window[1]


def _monitor(row: Mapping[str, Any], where: str) -> Monitor:
    return Monitor(
        id=_text(row, "id", where=where),
        event=_text(row, "event", where=where),
        within_days=int(_number(row, "within_days", default=56, where=where)),
        p0=_number(row, "p0", where=where),
        tau=_number(row, "tau", where=where),
        prior_ess=_number(row, "prior_ess", default=2.0, where=where),
        looks=tuple(int(look) for look in row.get("looks", ())),
    )


def _table(table: Mapping[str, Any], key: str, *, required: bool = True, where: str = "") -> Mapping[str, Any]:
    place = f"{where}: {key}" if where else key
    found = table.get(key, None if required else {})
    if not isinstance(found, Mapping):
        raise InputError(f"study.toml: {place}: found {found!r}; expected a table")
    return found


def _tables(table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
        raise InputError(f"study.toml: {key}: found {found!r}; expected tables [[{key}]]")
    return found


_REQUIRED = object()


def _text(row: Mapping[str, Any], key: str, *, default: Any = _REQUIRED, where: str = "") -> str:
    place = f"study.toml: {where}: " if where else "study.toml: "
    found = row.get(key, default)
    if not isinstance(found, str):
        raise InputError(f"{place}{key}: found {'nothing' if found is _REQUIRED else repr(found)}; expected text")
    return found


def _number(row: Mapping[str, Any], key: str, *, default: Any = _REQUIRED, where: str = "") -> Any:
    place = f"study.toml: {where}: " if where else "study.toml: "
    found = row.get(key, default)
    if found is not default and (isinstance(found, bool) or not isinstance(found, int | float)):
        raise InputError(f"{place}{key}: found {found!r}; expected a number")
    if found is _REQUIRED:
        raise InputError(f"{place}{key}: found nothing; expected a number")
    return found


def _whole(row: Mapping[str, Any], key: str) -> int | None:
    found = _number(row, key, default=None)
    return None if found is None else int(found)
