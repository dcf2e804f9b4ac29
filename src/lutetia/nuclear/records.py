"""What a nuclide is: half-life, mean energies, branches and lines. Names and tables: `nuclides`."""

from __future__ import annotations

import math
from dataclasses import dataclass

Line = tuple[float, float]


@dataclass(frozen=True, slots=True)
class BetaBranch:
    """One beta branch: endpoint, emissions per decay, charge of the daughter (negative: positron), shape of the
    spectrum.
    """

    endpoint_MeV: float
    per_decay: float
    charge: int
    shape: str


@dataclass(frozen=True, slots=True)
class Nuclide:
    """A radionuclide: half-life and what it emits per decay (parent only, no progeny).

    Parameters
    ----------
    electron_MeV, photon_MeV
        Mean energies per decay; electrons: beta, conversion and Auger; photons: gamma, X and annihilation.
    beta_MeV, alpha_MeV
        The part of betas in `electron_MeV`; alpha particles with their recoil, which no dose function accepts.
    betas
        Branches, from which spectra are computed.
    electrons, photons
        Lines (energy in MeV, emissions per decay).
    beta_table
        (energy in MeV, electrons per MeV and decay): spectrum of nuclides whose branches are not tabulated.
    """

    name: str
    half_life_h: float
    electron_MeV: float
    photon_MeV: float
    beta_MeV: float = 0.0
    alpha_MeV: float = 0.0
    mass_number: int = 0
    betas: tuple[BetaBranch, ...] = ()
    electrons: tuple[Line, ...] = ()
    photons: tuple[Line, ...] = ()
    beta_table: tuple[Line, ...] = ()

    @property
    def decay_constant_per_h(self) -> float:
        """ln 2 / half-life."""
        return math.log(2.0) / self.half_life_h
