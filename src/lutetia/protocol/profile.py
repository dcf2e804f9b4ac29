"""From a protocol file to a `Protocol`: every key is known, every number in range, nothing contradicts itself."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from lutetia.core.regions import canonical_region
from lutetia.errors import ProtocolError, UnknownNameError
from lutetia.protocol import checking as check
from lutetia.protocol.records import (
    ALLOCATIONS,
    KINDS,
    METRICS,
    NO_INCREASE_REASONS,
    Arm,
    Kind,
    Limit,
    Mark,
    Protocol,
)

SCHEMA = "lutetia.protocol/1"
_TOP = (
    "schema",
    "name",
    "version",
    "title",
    "source",
    "illustrative",
    "cycles",
    "interval_weeks",
    "measured_nuclide",
    "allocation",
    "grid_MBq",
    "category_reference",
    "category_tolerance",
    "no_increase_when",
    "drift_per_cycle",
    "risk_factors",
    "labs_max_age_days",
    "limits",
    "arms",
    "assumptions",
    "check_primary_source",
)
_LIMIT = (
    "id",
    "region",
    "method",
    "metric",
    "limit_Gy",
    "kind",
    "risk",
    "tolerance_Gy",
    "limit_without_risk_factors_Gy",
    "prescribed_doses_Gy",
    "alpha_beta_Gy",
    "repair_half_life_h",
    "arms",
)
_ARM = (
    "description",
    "base_MBq",
    "variable",
    "min_factor",
    "max_factor",
    "cap_MBq",
    "step_up",
    "limit_kind",
)
_NUCLIDE = re.compile(r"[A-Z][a-z]?-\d{1,3}m?")


def packaged_protocols() -> tuple[str, ...]:
    """Names of the protocols that come with the program."""
    folder = files("lutetia.protocol") / "versions"
    return tuple(sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")))


def read_protocol(name: str | Path) -> Protocol:
    """Read a packaged protocol by its name, or a protocol file by its path.

    Parameters
    ----------
    name
        A packaged name such as ``"duonen"``, or a path (a `Path`, or a text that ends in ``.toml``).

    Raises
    ------
    UnknownNameError
        If no packaged protocol has the name.
    ProtocolError
        If the file cannot be read, has unknown keys, or contradicts itself.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        return parse_protocol(_bytes(Path(name)), where=Path(name).name)
    if name not in packaged_protocols():
        raise UnknownNameError("protocol", name, packaged_protocols())
    content = (files("lutetia.protocol") / "versions" / f"{name}.toml").read_bytes()
    return parse_protocol(content, where=f"protocol {name}")


def parse_protocol(content: bytes, *, where: str = "protocol") -> Protocol:
    """A `Protocol` from the bytes of its file.

    Raises
    ------
    ProtocolError
        If the text is not TOML, has unknown keys, or contradicts itself.
    """
    return _parsed(content, where)


@lru_cache(maxsize=16)
def _parsed(content: bytes, where: str) -> Protocol:
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProtocolError(f"{where}: not a TOML text in UTF-8 ({error})") from error
    check.known_keys(table, _TOP, where=where)
    check.word(table, "schema", known=[SCHEMA], where=where)
    protocol = _protocol(table, hashlib.sha256(content).hexdigest(), where)
    _check_consistency(protocol, where)
    return replace(protocol, marks=_marks(table, where))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProtocolError(
            f"{path}: cannot be read ({error.strerror or error}); give the path of a TOML file"
        ) from error


def _protocol(table: Mapping[str, Any], sha256: str, where: str) -> Protocol:
    cycles = check.count(table, "cycles", where=where)
    name = check.text(table, "name", where=where)
    drift = check.numbers_by_name(table, "drift_per_cycle", where=where, above=0.0)
    return Protocol(
        name=name,
        version=check.text(table, "version", where=where),
        title=check.text(table, "title", where=where, default=name),
        source=check.text(table, "source", where=where),
        illustrative=check.boolean(table, "illustrative", where=where, default=False),
        cycles=cycles,
        interval_weeks=check.optional_number(table, "interval_weeks", where=where, above=0.0),
        measured_nuclide=_optional_nuclide(table, "measured_nuclide", where),
        allocation=check.word(table, "allocation", known=ALLOCATIONS, where=where),
        grid_MBq=check.number(table, "grid_MBq", where=where, above=0.0),
        category_reference=check.word(
            table, "category_reference", known=("base", "previous"), where=where, default="base"
        ),
        category_tolerance=check.real(
            table.get("category_tolerance", 0.05), where=f"{where}: category_tolerance", at_least=0.0, below=1.0
        ),
        no_increase_when=check.words(table, "no_increase_when", where=where, known=NO_INCREASE_REASONS),
        drift_per_cycle={canonical_region(r, where=f"{where}: drift_per_cycle"): g for r, g in drift.items()},
        risk_factors=check.words(table, "risk_factors", where=where),
        labs_max_age_days=check.real(
            table.get("labs_max_age_days", 14), where=f"{where}: labs_max_age_days", above=0.0
        ),
        limits=_limits(table, cycles, where),
        arms=_arms(table, cycles, where),
        marks=(),
        sha256=sha256,
    )


def _limits(table: Mapping[str, Any], cycles: int, where: str) -> tuple[Limit, ...]:
    rows = table.get("limits")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ProtocolError(f"{where}: limits: expected one [[limits]] table or more")
    return tuple(_limit(row, cycles, f"{where}: limit {i + 1}") for i, row in enumerate(rows))


def _limit(row: Mapping[str, Any], cycles: int, where: str) -> Limit:
    check.known_keys(row, _LIMIT, where=where)
    higher = check.optional_number(row, "limit_without_risk_factors_Gy", where=where, above=0.0)
    doses = row.get("prescribed_doses_Gy", [])
    if not isinstance(doses, list) or (doses and len(doses) != cycles):
        raise ProtocolError(f"{where}: prescribed_doses_Gy: expected a list of {cycles} numbers, one a planned cycle")
    return Limit(
        id=check.text(row, "id", where=where),
        region=canonical_region(check.text(row, "region", where=where), where=where),
        metric=check.word(row, "metric", known=METRICS, where=where),
        limit_Gy=check.number(row, "limit_Gy", where=where, above=0.0),
        kind=cast(Kind, check.word(row, "kind", known=KINDS, where=where)),
        risk=check.number(row, "risk", where=where, above=0.0, below=1.0),
        method=check.text(row, "method", where=where) if "method" in row else None,
        tolerance_Gy=check.optional_number(row, "tolerance_Gy", where=where, at_least=0.0) or 0.0,
        limit_without_risk_factors_Gy=higher,
        prescribed_doses_Gy=tuple(check.real(d, where=f"{where}: prescribed_doses_Gy", at_least=0.0) for d in doses),
        alpha_beta_Gy=check.optional_number(row, "alpha_beta_Gy", where=where, above=0.0),
        repair_half_life_h=check.optional_number(row, "repair_half_life_h", where=where, above=0.0),
        arms=check.words(row, "arms", where=where),
    )


def _arms(table: Mapping[str, Any], cycles: int, where: str) -> dict[str, Arm]:
    rows = table.get("arms")
    if not isinstance(rows, dict) or not rows or not all(isinstance(row, dict) for row in rows.values()):
        raise ProtocolError(f"{where}: arms: expected one [arms.NAME] table or more")
    return {name: _arm(name, row, cycles, f"{where}: arm {name}") for name, row in rows.items()}


def _arm(name: str, row: Mapping[str, Any], cycles: int, where: str) -> Arm:
    check.known_keys(row, _ARM, where=where)
    base = check.numbers_by_name(row, "base_MBq", where=where, above=0.0)
    if not base:
        raise ProtocolError(f'{where}: base_MBq is missing; give the activity per nuclide, {{ "Lu-177" = 7400 }}')
    for nuclide in base:
        _check_nuclide(nuclide, f"{where}: base_MBq")
    variable = _optional_nuclide(row, "variable", where)
    kind = check.word(row, "limit_kind", known=KINDS, where=where) if "limit_kind" in row else None
    if variable is None:
        _refuse_adjustment(row, where)
    elif variable not in base:
        raise ProtocolError(
            f"{where}: variable nuclide {variable} has no base activity; base_MBq names {', '.join(base)}"
        )
    return Arm(
        name=name,
        base_MBq=base,
        variable=variable,
        minimum_MBq=None
        if variable is None
        else check.number(row, "min_factor", where=where, at_least=0.0) * base[variable],
        cap_MBq=None if variable is None else _caps(row, base[variable], cycles, where),
        step_up=check.optional_number(row, "step_up", where=where, at_least=0.0),
        limit_kind=cast("Kind | None", kind),
        description=check.text(row, "description", where=where, default=name),
    )


def _refuse_adjustment(row: Mapping[str, Any], where: str) -> None:
    for key in ("min_factor", "max_factor", "cap_MBq", "step_up"):
        if key in row:
            raise ProtocolError(f"{where}: {key} is set but no nuclide is variable; remove it or name `variable`")


def _caps(row: Mapping[str, Any], base_MBq: float, cycles: int, where: str) -> tuple[float, ...] | None:
    factor = check.optional_number(row, "max_factor", where=where, above=0.0)
    listed = row.get("cap_MBq")
    if factor is not None and listed is not None:
        raise ProtocolError(f"{where}: found max_factor and cap_MBq; expected one of them")
    if factor is not None:
        return (factor * base_MBq,) * cycles
    if listed is None:
        return None
    values = listed if isinstance(listed, list) else [listed] * cycles
    if len(values) != cycles:
        raise ProtocolError(f"{where}: cap_MBq: found {len(values)} numbers; expected {cycles}, one a planned cycle")
    return tuple(check.real(v, where=f"{where}: cap_MBq", above=0.0) for v in values)


def _check_consistency(protocol: Protocol, where: str) -> None:
    names = [limit.id for limit in protocol.limits]
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise ProtocolError(f"{where}: limits: the id {repeated[0]!r} is used twice")
    reserved = {"cap", "step", "minimum", "base", "fixed", "no increase", "toxicity"}
    if taken := reserved.intersection(names):
        raise ProtocolError(f"{where}: limits: the id {sorted(taken)[0]!r} has a meaning of its own; choose another")
    for limit in protocol.limits:
        _check_limit(limit, protocol, f"{where}: limit {limit.id}")
    for arm in protocol.arms.values():
        _check_arm(arm, protocol, f"{where}: arm {arm.name}")


def _check_limit(limit: Limit, protocol: Protocol, where: str) -> None:
    higher = limit.limit_without_risk_factors_Gy
    if higher is not None and higher < limit.limit_Gy:
        raise ProtocolError(f"{where}: without risk factors {higher:g} Gy is below {limit.limit_Gy:g} Gy with them")
    if higher is not None and not protocol.risk_factors:
        raise ProtocolError(f"{where}: depends on risk factors, but the protocol names none; add `risk_factors`")
    if limit.tolerance_Gy and protocol.allocation != "cycle_count":
        raise ProtocolError(f"{where}: tolerance_Gy needs allocation cycle_count; found {protocol.allocation}")
    if limit.prescribed_doses_Gy and protocol.allocation != "prescribed_doses":
        raise ProtocolError(
            f"{where}: prescribed_doses_Gy needs allocation prescribed_doses; found {protocol.allocation}"
        )
    if sum(limit.prescribed_doses_Gy) > limit.limit_Gy * (1 + 1e-9):
        total = sum(limit.prescribed_doses_Gy)
        raise ProtocolError(
            f"{where}: prescribed_doses_Gy sum to {total:g} Gy, above the limit of {limit.limit_Gy:g} Gy"
        )
    if unknown := sorted(set(limit.arms) - set(protocol.arms)):
        raise UnknownNameError("arm", unknown[0], protocol.arms, where=where)


def _check_arm(arm: Arm, protocol: Protocol, where: str) -> None:
    if protocol.allocation == "cycle_count" and arm.variable is not None:
        raise ProtocolError(f"{where}: allocation cycle_count gives the base activity; found variable {arm.variable}")
    if protocol.allocation == "prescribed_doses" and not any(
        li.prescribed_doses_Gy for li in protocol.limits_of(arm.name)
    ):
        raise ProtocolError(f"{where}: allocation prescribed_doses needs a limit with prescribed_doses_Gy")
    if arm.variable is None or arm.minimum_MBq is None:
        return
    base = arm.base_MBq[arm.variable]
    if protocol.grid_MBq > base:
        raise ProtocolError(f"{where}: grid_MBq {protocol.grid_MBq:g} is above the base activity of {base:g} MBq")
    if arm.minimum_MBq > base:
        raise ProtocolError(f"{where}: the minimum of {arm.minimum_MBq:g} MBq is above the base of {base:g} MBq")
    if arm.cap_MBq is not None and min(arm.cap_MBq) < arm.minimum_MBq:
        raise ProtocolError(
            f"{where}: the cap of {min(arm.cap_MBq):g} MBq is below the minimum of {arm.minimum_MBq:g} MBq"
        )
    if arm.cap_MBq is not None and arm.cap_MBq[0] < base:
        raise ProtocolError(f"{where}: the cap of cycle 1, {arm.cap_MBq[0]:g} MBq, is below the base of {base:g} MBq")


def _optional_nuclide(table: Mapping[str, Any], key: str, where: str) -> str | None:
    if key not in table:
        return None
    name = check.text(table, key, where=where)
    _check_nuclide(name, f"{where}: {key}")
    return name


def _check_nuclide(name: str, where: str) -> None:
    if not _NUCLIDE.fullmatch(name):
        raise ProtocolError(f'{where}: found {name!r}; expected a nuclide written like "Lu-177"')


def _marks(table: Mapping[str, Any], where: str) -> tuple[Mark, ...]:
    marks = [_mark(table, p, "assumption", where) for p in check.words(table, "assumptions", where=where)]
    return (*marks, *(_mark(table, p, "check", where) for p in check.words(table, "check_primary_source", where=where)))


def _mark(table: Mapping[str, Any], path: str, kind: str, where: str) -> Mark:
    value: Any = table
    for part in path.split("."):
        if isinstance(value, list) and (rows := [r for r in value if isinstance(r, dict) and r.get("id") == part]):
            value = rows[0]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            key = "assumptions" if kind == "assumption" else "check_primary_source"
            raise ProtocolError(
                f"{where}: {key}: {path!r} names no value of this file; write it like limits.kidneys.kind"
            )
    return Mark(path, _shown(value), "assumption" if kind == "assumption" else "check")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
