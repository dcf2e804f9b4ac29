"""Nuclides by name. To add one: a table in `data/nuclides.toml`."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from lutetia.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Nuclide:
    """A radionuclide: half-life and mean energies emitted per decay."""

    name: str
    half_life_h: float
    electron_MeV: float
    photon_MeV: float

    @property
    def decay_constant_per_h(self) -> float:
        """ln 2 / half-life."""
        return math.log(2.0) / self.half_life_h


@cache
def _table() -> dict[str, Nuclide]:
    text = (files("lutetia.nuclear") / "data" / "nuclides.toml").read_text(encoding="utf-8")
    return {
        name: Nuclide(name, row["half_life_h"], row["electron_keV"] / 1e3, row["photon_keV"] / 1e3)
        for name, row in tomllib.loads(text).items()
        if isinstance(row, dict)
    }


def canonical_nuclide(name: str, *, where: str = "") -> str:
    """Canonical name: ``177Lu``, ``Lu177``, ``lutetium-177`` and ``^177^Lutetium`` all give ``Lu-177``.

    Raises
    ------
    UnknownNameError
        If the nuclide is not in the table; the known ones are listed.
    """
    plain = re.sub(r"[\s\-_\^\[\]]", "", name).lower()
    for long, short in (("lutetium", "lu"), ("yttrium", "y"), ("gallium", "ga"), ("copper", "cu"), ("indium", "in"), ("iodine", "i"), ("terbium", "tb")):
        plain = plain.replace(long, short)
    match = re.fullmatch(r"(?:([a-z]{1,2})(\d{1,3}m?)|(\d{1,3}m?)([a-z]{1,2}))", plain)
    known = _table()
    if match:
        symbol, mass = (match[1] or match[4]).capitalize(), match[2] or match[3]
        if (found := f"{symbol}-{mass}") in known:
            return found
    raise UnknownNameError("nuclide", name, known, where=where)


def nuclide(name: str) -> Nuclide:
    """The nuclide of that name, in any accepted spelling."""
    return _table()[canonical_nuclide(name)]
