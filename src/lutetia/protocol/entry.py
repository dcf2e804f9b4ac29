"""A decision entered as numbers: the DECISION.toml of ``lutetia decide``.

::

    protocol = "duonen"              # packaged name, or a file relative to this one
    arm = "B"
    cycle = 2                        # about to be given
    given_Gy = { kidneys = 7.47, "red marrow" = 0.25 }
    previous_MBq = { "Lu-177" = 3700, "Y-90" = 3700 }
    # optional keys
    no_increase = false              # or a list of reasons
    toxicity_action = "none"         # none, hold, half, stop
    risk_factors = []                # of the subject; absent: not known
    not_evaluable = []               # regions without a dose, such as "red marrow"
    given_sd_Gy = { kidneys = 0.9 }
    predicted_sd_Gy_per_GBq = { kidneys = { "Lu-177" = 0.05, "Y-90" = 0.2 } }
    draws = 1000
    seed = 1
    [predicted_Gy_per_GBq]           # of the next cycle
    kidneys = { "Lu-177" = 0.42, "Y-90" = 1.6 }
    "red marrow" = { "Lu-177" = 0.0145, "Y-90" = 0.058 }
    [bed]                            # for limits of BED
    given_Gy = { kidneys = 8.4 }
    quadratic_Gy_per_GBq2 = { kidneys = { "Lu-177" = { "Lu-177" = 0.009, "Y-90" = 0.03 }, "Y-90" = { "Y-90" = 0.12 } } }

Standard deviations become lognormal draws. All numbers of one region share one draw (assumption: errors of doses given
and predicted and of both nuclides are fully correlated, which is the cautious choice for a sum).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lutetia.core.chain import Forecast
from lutetia.core.draws import Estimate, lognormal_factors, stream
from lutetia.core.regions import canonical_region
from lutetia.errors import InputError
from lutetia.protocol import checking as check
from lutetia.protocol.allocation import FloatArray
from lutetia.protocol.controller import Decision, decide
from lutetia.protocol.profile import read_protocol
from lutetia.protocol.records import NO_INCREASE_REASONS, Protocol
from lutetia.protocol.rules import ACTIONS

_KEYS = (
    "protocol",
    "arm",
    "cycle",
    "given_Gy",
    "predicted_Gy_per_GBq",
    "previous_MBq",
    "no_increase",
    "toxicity_action",
    "risk_factors",
    "not_evaluable",
    "given_sd_Gy",
    "predicted_sd_Gy_per_GBq",
    "draws",
    "seed",
    "bed",
)
_Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """The checked content of a decision file."""

    protocol: Protocol
    arm: str
    cycle: int
    forecast: Forecast | None
    previous_MBq: Mapping[str, float]
    no_increase: bool | tuple[str, ...]
    action: str
    risk_factors: tuple[str, ...] | None

    def decide(self) -> Decision:
        """The controller's decision for these numbers."""
        return decide(
            self.protocol,
            self.arm,
            self.forecast,
            cycle=self.cycle,
            previous_MBq=self.previous_MBq,
            no_increase=self.no_increase,
            action=self.action,
            risk_factors=self.risk_factors,
        )


def read_decision(path: Path) -> DecisionEntry:
    """Read and check a decision file.

    Raises
    ------
    InputError
        If the file cannot be read or is not TOML.
    ProtocolError, UnknownNameError
        For unknown keys, negative doses, missing coefficients, or names that the protocol does not hold.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); give the path of a TOML file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path.name}: not a TOML text in UTF-8 ({error})") from error
    return parse_decision(table, where=path.name, folder=path.parent)


def parse_decision(table: _Table, *, where: str = "decision", folder: Path | None = None) -> DecisionEntry:
    """The checked content of a decision table; `folder` is where a protocol file is looked for."""
    check.known_keys(table, _KEYS, where=where)
    protocol = _protocol(check.text(table, "protocol", where=where), folder)
    arm = check.text(table, "arm", where=where)
    protocol.arm(arm)
    risk_factors = check.words(table, "risk_factors", where=where) if "risk_factors" in table else None
    return DecisionEntry(
        protocol=protocol,
        arm=arm,
        cycle=check.count(table, "cycle", where=where),
        forecast=_forecast(table, protocol, arm, where=where),
        previous_MBq=_previous(table, protocol, arm, where=where),
        no_increase=_no_increase(table, where),
        action=check.word(table, "toxicity_action", known=ACTIONS, where=where, default="none"),
        risk_factors=risk_factors,
    )


def _protocol(name: str, folder: Path | None) -> Protocol:
    if name.endswith(".toml"):
        return read_protocol((folder or Path()) / name)
    return read_protocol(name)


def _no_increase(table: _Table, where: str) -> bool | tuple[str, ...]:
    if isinstance(table.get("no_increase"), list):
        return check.words(table, "no_increase", where=where, known=NO_INCREASE_REASONS)
    return check.boolean(table, "no_increase", where=where, default=False)


def _previous(table: _Table, protocol: Protocol, arm: str, *, where: str) -> dict[str, float]:
    previous = check.numbers_by_name(table, "previous_MBq", where=where, at_least=0.0)
    nuclides = protocol.arm(arm).nuclides
    if foreign := sorted(set(previous) - set(nuclides)):
        raise InputError(f"{where}: previous_MBq: found {foreign[0]}; arm {arm} gives {', '.join(nuclides)}")
    if table.get("cycle") != 1 and (lacking := [n for n in nuclides if n not in previous]):
        raise InputError(f"{where}: previous_MBq: {lacking[0]} is missing; give the last non-zero prescription, or 0")
    return previous


def _forecast(table: _Table, protocol: Protocol, arm: str, *, where: str) -> Forecast | None:
    given = _by_region(table, "given_Gy", where)
    linear = _coefficients(table, "predicted_Gy_per_GBq", where)
    if not given and not linear and table.get("cycle") == 1:
        return None
    nuclides = protocol.arm(arm).nuclides
    skipped = {canonical_region(r, where=where) for r in check.words(table, "not_evaluable", where=where)}
    regions = tuple(dict.fromkeys(li.region for li in protocol.limits_of(arm) if li.region not in skipped))
    for region in regions:
        _require(
            region, given, where=f"{where}: given_Gy", hint=f'give its dose so far, or not_evaluable = ["{region}"]'
        )
        _require(region, linear, where=f"{where}: predicted_Gy_per_GBq", hint="give the dose of the next cycle per GBq")
        for nuclide in nuclides:
            _require(nuclide, linear[region], where=f"{where}: predicted_Gy_per_GBq: {region}", hint="give Gy per GBq")
    bed_regions = {li.region for li in protocol.limits_of(arm) if li.metric == "bed"} & set(regions)
    given_bed, quadratic = _bed(table, regions, nuclides, needed=bed_regions, where=where)
    dose = np.array([given[r] for r in regions])
    slope = np.array([[linear[r][n] / 1e3 for n in nuclides] for r in regions]).reshape(len(regions), len(nuclides))
    given_sd, slope_sd = _by_region(table, "given_sd_Gy", where), _coefficients(table, "predicted_sd_Gy_per_GBq", where)
    return _with_draws(
        regions,
        nuclides,
        values=(dose, given_bed, slope, quadratic),
        given_sd=_relative([given_sd.get(r, 0.0) for r in regions], dose, f"{where}: given_sd_Gy"),
        slope_sd=_relative(
            [[slope_sd.get(r, {}).get(n, 0.0) / 1e3 for n in nuclides] for r in regions],
            slope,
            f"{where}: predicted_sd_Gy_per_GBq",
        ),
        draws=check.count(table, "draws", where=where) if "draws" in table else 1000,
        seed=int(check.real(table.get("seed", 1), where=f"{where}: seed", at_least=0.0)),
    )


def _with_draws(
    regions: tuple[str, ...],
    nuclides: tuple[str, ...],
    *,
    values: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    given_sd: FloatArray,
    slope_sd: FloatArray,
    draws: int,
    seed: int,
) -> Forecast:
    """A forecast whose draws multiply the values of one region by lognormal factors of one shared random number."""
    dose, bed, slope, quadratic = values
    count = draws if given_sd.any() or slope_sd.any() else 1

    def factors(relative_sd: FloatArray) -> FloatArray:
        rows = [
            np.stack(
                [lognormal_factors(stream(seed, "decide", region), sd, count) for sd in np.atleast_1d(relative_sd[i])],
                axis=-1,
            )
            for i, region in enumerate(regions)
        ]
        return np.stack(rows, axis=1)

    given_factor, slope_factor = factors(given_sd)[..., 0], factors(slope_sd)
    pair = slope_factor[..., :, None] * slope_factor[..., None, :]
    return Forecast(
        regions,
        nuclides,
        given_Gy=Estimate(dose, dose * given_factor),
        given_bed_Gy=Estimate(bed, bed * given_factor),
        linear_Gy_per_MBq=Estimate(slope, slope * slope_factor),
        quadratic_Gy_per_MBq2=Estimate(quadratic, quadratic * pair),
    )


def _bed(
    table: _Table, regions: tuple[str, ...], nuclides: tuple[str, ...], *, needed: set[str], where: str
) -> tuple[FloatArray, FloatArray]:
    """BED given so far and quadratic coefficients per MBq²; zero for regions without a BED limit."""
    bed = table.get("bed", {})
    place = f"{where}: bed"
    if not isinstance(bed, Mapping):
        raise InputError(f"{place}: found {bed!r}; expected a table with given_Gy and quadratic_Gy_per_GBq2")
    check.known_keys(bed, ("given_Gy", "quadratic_Gy_per_GBq2"), where=place)
    given = _by_region(bed, "given_Gy", place)
    rows = _named_tables(bed, "quadratic_Gy_per_GBq2", place)
    dose, quadratic = np.zeros(len(regions)), np.zeros((len(regions), len(nuclides), len(nuclides)))
    for i, region in enumerate(regions):
        if region in needed:
            _require(region, given, where=f"{place}: given_Gy", hint="the protocol limits its BED: give it in Gy")
            _require(region, rows, where=f"{place}: quadratic_Gy_per_GBq2", hint="the protocol limits its BED: give it")
            dose[i], quadratic[i] = given[region], _matrix(rows[region], nuclides, f"{place}: {region}") / 1e6
    return dose, quadratic


def _matrix(row: _Table, nuclides: tuple[str, ...], where: str) -> FloatArray:
    """Symmetric matrix from a table of tables; each pair is given once or twice with the same value."""
    values = np.full((len(nuclides), len(nuclides)), np.nan)
    for first in row:
        pairs = check.numbers_by_name(row, first, where=where, at_least=0.0)
        for second, value in pairs.items():
            if first in nuclides and second in nuclides:
                i, j = nuclides.index(first), nuclides.index(second)
                if np.isfinite(values[i, j]) and values[i, j] != value:
                    raise InputError(f"{where}: {first} with {second}: found two different values; give one")
                values[i, j] = values[j, i] = value
    if np.isnan(values).any():
        i, j = np.argwhere(np.isnan(values))[0]
        raise InputError(f"{where}: the coefficient of {nuclides[i]} with {nuclides[j]} is missing; give Gy per GBq²")
    return values


def _relative(sd: list[Any], value: FloatArray, where: str) -> FloatArray:
    spread = np.array(sd, dtype=np.float64).reshape(value.shape)
    if ((spread > 0) & (value <= 0)).any():
        raise InputError(f"{where}: found a standard deviation for a value of 0; remove it")
    return np.divide(spread, value, out=np.zeros_like(spread), where=value > 0)


def _by_region(table: _Table, key: str, where: str) -> dict[str, float]:
    rows = check.numbers_by_name(table, key, where=where, at_least=0.0)
    return {canonical_region(name, where=f"{where}: {key}"): value for name, value in rows.items()}


def _coefficients(table: _Table, key: str, where: str) -> dict[str, dict[str, float]]:
    rows = _named_tables(table, key, where)
    return {r: check.numbers_by_name({r: row}, r, where=f"{where}: {key}", at_least=0.0) for r, row in rows.items()}


def _named_tables(table: _Table, key: str, where: str) -> dict[str, _Table]:
    rows = table.get(key, {})
    if not isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows.values()):
        raise InputError(f"{where}: {key}: found {rows!r}; expected a table per region")
    return {canonical_region(name, where=f"{where}: {key}"): row for name, row in rows.items()}


def _require(name: str, table: Mapping[str, Any], *, where: str, hint: str) -> None:
    if name not in table:
        raise InputError(f"{where}: {name} is missing; {hint}")
