"""Laboratory analytes and their units; conversion in decimals, so that a boundary value stays on its boundary.

To add an analyte: one table in `data/analytes.toml` (and, for grading, one in `data/ctcae5.toml`).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from lutetia.errors import UnitError, UnknownNameError


@dataclass(frozen=True, slots=True)
class Analyte:
    """One analyte: the unit used inside, and factors from other units (keys are normalised by `canonical_unit`).

    `plausible`, `lln` and `uln` are the ranges, in the unit used inside, of a value and of its limits of normal.
    """

    name: str
    label: str
    unit: str
    factors: dict[str, Decimal]
    plausible: tuple[Decimal, Decimal]
    lln: tuple[Decimal, Decimal]
    uln: tuple[Decimal, Decimal]


@cache
def analytes() -> dict[str, Analyte]:
    """All analytes by canonical name."""
    return {
        name: Analyte(
            name,
            row["label"],
            row["unit"],
            {unit: Decimal(factor) for unit, factor in row["factors"].items()},
            *(_bounds(row[what]) for what in ("plausible", "lln", "uln")),
        )
        for name, row in _table().items()
    }


def _bounds(row: list[str]) -> tuple[Decimal, Decimal]:
    low, high = row
    return Decimal(low), Decimal(high)


def canonical_analyte(name: str, *, where: str = "") -> str:
    """Canonical name of an analyte written in any accepted way, such as ``Hb`` or ``SGPT``.

    Raises
    ------
    UnknownNameError
        With the nearest spelling that is accepted, or the known analytes where none is near.
    """
    known = _known_analyte(name)
    if known is None:
        near = difflib.get_close_matches(_plain(name), _spellings(), n=1, cutoff=0.7)
        raise UnknownNameError("analyte", name, near or analytes(), where=where)
    return known


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", " ", name.strip().lower())


@cache
def _spellings() -> tuple[str, ...]:
    """Every accepted way to write an analyte."""
    return tuple(word for known, row in _table().items() for word in (known, *row["aliases"]))


@lru_cache(maxsize=4096)
def _known_analyte(name: str) -> str | None:
    plain = _plain(name)
    return next((known for known, row in _table().items() if plain == known or plain in row["aliases"]), None)


@lru_cache(maxsize=4096)
def canonical_unit(unit: str) -> str:
    """One spelling for each unit: ``x10E9/l``, ``G/L`` and ``10*9/L`` give ``10^9/L``; ``µmol/l`` gives ``umol/L``."""
    plain = unit.strip().replace("µ", "u").replace("μ", "u").replace(" ", "").replace("·", "")
    plain = re.sub(r"^[x×*]", "", plain)
    plain = re.sub(r"^10(?:\*\*|\*|\^|[eE])?([39])", r"10^\1", plain.replace("³", "3").replace("⁹", "9"))
    if plain in ("G/L", "Gpt/L", "G/l"):
        return "10^9/L"
    key = plain.lower().replace("mcl", "ul").replace("mm^3", "ul").replace("mm3", "ul").replace("cmm", "ul")
    return _SPELLINGS.get(key, plain)


_SPELLINGS = {
    "10^9/l": "10^9/L",
    "10^3/ul": "10^3/uL",
    "k/ul": "10^3/uL",
    "thou/ul": "10^3/uL",
    "/ul": "/uL",
    "cells/ul": "/uL",
    "1/ul": "/uL",
    "g/l": "g/L",
    "g/dl": "g/dL",
    "mg/dl": "mg/dL",
    "mmol/l": "mmol/L",
    "umol/l": "umol/L",
    "u/l": "U/L",
    "iu/l": "U/L",
    "ukat/l": "ukat/L",
    "": "1",
    "1": "1",
    "inr": "1",
    "ratio": "1",
}


def convert(analyte: str, value: Decimal, unit: str) -> Decimal:
    """A value in the unit used inside.

    Raises
    ------
    UnitError
        If the analyte is not known in that unit; the known ones are listed.
    """
    return value * unit_factor(analyte, unit)


def unit_factor(analyte: str, unit: str, *, where: str = "") -> Decimal:
    """By how much a value in `unit` is multiplied to be in the unit used inside; raises `UnitError` like `convert`."""
    entry = analytes()[canonical_analyte(analyte)]
    factor = entry.factors.get(canonical_unit(unit))
    if factor is None:
        place = f"{where}: " if where else ""
        raise UnitError(f"{place}{entry.name}: found unit {unit!r}; expected one of {', '.join(entry.factors)}")
    return factor


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = (files("lutetia.clinical") / "data" / "analytes.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
