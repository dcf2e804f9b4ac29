"""Any nuclide of ICRP Publication 107, through the optional extra `nuclides` (package ``icrp107-database``).

Not here: the first-class nuclides, which need no extra (`nuclides`). The extra's data carry a not-for-profit notice.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

from lutetia.errors import InputError
from lutetia.nuclear.records import Nuclide

_HOURS = {"ns": 1 / 3.6e12, "us": 1 / 3.6e9, "ms": 1 / 3.6e6, "s": 1 / 3600, "m": 1 / 60, "h": 1.0, "d": 24.0}
_HOURS |= {"y": 365.2422 * 24, "ky": 365.2422e3 * 24, "My": 365.2422e6 * 24, "Gy": 365.2422e9 * 24}
_ELECTRONS, _PHOTONS = ("IE", "auger"), ("gamma", "X", "annihilation")


def icrp107_names() -> tuple[str, ...]:
    """Names of all nuclides that the extra holds; empty where it is not installed."""
    folder = _folder()
    return tuple(sorted(p.stem for p in folder.glob("*.json"))) if folder else ()


@cache
def read_icrp107(name: str) -> Nuclide:
    """One nuclide from the extra's file, parent only; the beta spectrum is normalised to the yields of the branches.

    Raises
    ------
    InputError
        If the extra is not installed, or its file has an unknown time unit.
    """
    folder = _folder()
    if folder is None:
        raise InputError(
            f"nuclide {name}: found no ICRP-107 tables; install the extra: pip install 'lutetia[nuclides]'"
        )
    data: dict[str, Any] = json.loads(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
    emissions: dict[str, list[list[float]]] = data["emissions"]
    if data["time_unit"] not in _HOURS:
        raise InputError(f"nuclide {name}: found time unit {data['time_unit']!r}; expected one of {', '.join(_HOURS)}")
    betas = [*emissions["beta-"], *emissions["beta+"]]
    electrons, photons = _lines(emissions, _ELECTRONS), _lines(emissions, _PHOTONS)
    beta_MeV = _energy(betas)
    return Nuclide(
        name=name,
        half_life_h=data["half_life"] * _HOURS[data["time_unit"]],
        electron_MeV=beta_MeV + _energy(electrons),
        photon_MeV=_energy(photons),
        beta_MeV=beta_MeV,
        alpha_MeV=_energy(_lines(emissions, ("alpha", "alpha recoil", "fission"))),
        mass_number=int("".join(c for c in name.split("-")[1] if c.isdigit())),
        electrons=electrons,
        photons=photons,
        beta_table=_normalised(emissions["b-spectra"], sum(n for _, n in betas)),
    )


def _folder() -> Path | None:
    found = importlib.util.find_spec("icrp107_database")
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0]) / "icrp107" if places else None


def _lines(emissions: dict[str, list[list[float]]], kinds: tuple[str, ...]) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((e, n) for kind in kinds for e, n in emissions[kind]))


def _energy(lines: list[list[float]] | tuple[tuple[float, float], ...]) -> float:
    return sum(e * n for e, n in lines)


def _normalised(spectrum: list[list[float]], yield_per_decay: float) -> tuple[tuple[float, float], ...]:
    area = sum(0.5 * (b[1] + a[1]) * (b[0] - a[0]) for a, b in itertools.pairwise(spectrum))
    return tuple((e, n * yield_per_decay / area) for e, n in spectrum) if area > 0 else ()
