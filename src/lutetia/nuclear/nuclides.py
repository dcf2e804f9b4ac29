"""Nuclides by name. To add one: a table in `data/nuclides.toml` (builders/build_nuclides.py)."""

from __future__ import annotations

import difflib
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from lutetia.errors import UnknownNameError
from lutetia.nuclear.icrp107 import icrp107_names, read_icrp107
from lutetia.nuclear.records import BetaBranch, Nuclide

__all__ = ["Nuclide", "canonical_nuclide", "first_class_nuclides", "nuclide"]

_ELEMENTS = {
    "lutetium": "lu",
    "yttrium": "y",
    "gallium": "ga",
    "copper": "cu",
    "indium": "in",
    "iodine": "i",
    "terbium": "tb",
    "fluorine": "f",
    "technetium": "tc",
    "actinium": "ac",
    "lead": "pb",
}
_INSTALL = "nuclide (others than the built-in ones need the extra: pip install 'lutetia[nuclides]')"


@cache
def _table() -> dict[str, Nuclide]:
    text = (files("lutetia.nuclear") / "data" / "nuclides.toml").read_text(encoding="utf-8")
    return {name: _from_row(name, row) for name, row in tomllib.loads(text).items() if isinstance(row, dict)}


def _from_row(name: str, row: dict[str, Any]) -> Nuclide:
    return Nuclide(
        name=name,
        half_life_h=row["half_life_h"],
        electron_MeV=row["electron_keV"] / 1e3,
        photon_MeV=row["photon_keV"] / 1e3,
        beta_MeV=row["beta_keV"] / 1e3,
        mass_number=row["mass_number"],
        betas=tuple(BetaBranch(q / 1e3, n, charge, shape) for q, n, charge, shape in row["betas"]),
        electrons=tuple((e / 1e3, n) for e, n in row["electrons"]),
        photons=tuple((e / 1e3, n) for e, n in row["photons"]),
    )


def first_class_nuclides() -> tuple[str, ...]:
    """Names of the nuclides that need no extra."""
    return tuple(_table())


def canonical_nuclide(name: str, *, where: str = "") -> str:
    """Canonical name: ``177Lu``, ``Lu177``, ``lutetium-177`` and ``^177^Lutetium`` all give ``Lu-177``.

    Raises
    ------
    UnknownNameError
        If neither the table nor the optional extra holds the nuclide; close names are listed.
    """
    plain = re.sub(r"[\s\-_\^\[\]]", "", name).lower()
    for long, short in _ELEMENTS.items():
        plain = plain.replace(long, short)
    match = re.fullmatch(r"(?:([a-z]{1,2})(\d{1,3}[mn]?)|(\d{1,3}m?)([a-z]{1,2}))", plain)
    found = f"{(match[1] or match[4]).capitalize()}-{match[2] or match[3]}" if match else name
    if found in _table() or found in icrp107_names():
        return found
    known = [*_table(), *difflib.get_close_matches(found, icrp107_names(), n=4)]
    raise UnknownNameError("nuclide" if icrp107_names() else _INSTALL, name, known, where=where)


def nuclide(name: str) -> Nuclide:
    """The nuclide of that name, in any accepted spelling."""
    canonical = canonical_nuclide(name)
    return _table()[canonical] if canonical in _table() else read_icrp107(canonical)
