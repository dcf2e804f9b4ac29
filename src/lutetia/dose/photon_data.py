"""What a voxel is to a photon: tissue by density, and mass coefficients of each tissue by energy.

Tissues follow the mass density that CT gives: lung, adipose, soft tissue, and above it mixtures of soft tissue and
cortical bone by mass. Coefficients: `data/photon_cross_sections.csv` (builders/photon_cross_sections.py).
Left out: coherent scattering (it takes no energy and turns photons by small angles; about 2 % of the attenuation of
soft tissue at 113 keV) and pair production (below 1 % of it at 2 MeV).
To add a tissue: its columns in the table, a row of `TISSUES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ELECTRON_MASS_MeV = 0.51099895
# (tissue, density up to which it is taken, g/mL). Borders are midway between the ICRU 44 densities of neighbours (lung
# up to 0.8: assumption, it keeps the blurred border of a lung apart from fat).
TISSUES: tuple[tuple[str, float], ...] = (("lung", 0.8), ("adipose", 0.985), ("soft", 1.10))
SOFT_g_per_mL, BONE_g_per_mL = 1.06, 1.92
BONE_STEPS = 8
AIR_g_per_mL = 0.1
"""Below this density a voxel counts as air, not as body (assumption; inflated lung is 0.15 to 0.4)."""
ENERGY_BINS = 2048


@dataclass(frozen=True, slots=True, eq=False)
class PhotonTable:
    """Mass coefficients on energies evenly spaced in ln E, from `floor_MeV` to `top_MeV`; shapes (material, energy).

    `attenuation` (photo-absorption + incoherent), `absorption` (energy transferred to electrons) in cm²/g; `photo` is
    the share of photo-absorption in the attenuation.
    """

    floor_MeV: float
    top_MeV: float
    attenuation: FloatArray
    absorption: FloatArray
    photo: FloatArray


def material_index(density_g_per_mL: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Material of each voxel by its density: rows of `photon_table`, names in `material_names`."""
    index = np.zeros(density_g_per_mL.shape, dtype=np.uint8)
    for _, limit in TISSUES[:-1]:
        index += density_g_per_mL >= limit
    bone = density_g_per_mL >= TISSUES[-1][1]
    share = bone_mass_share(density_g_per_mL[bone])
    index[bone] = len(TISSUES) - 1 + np.rint(share * BONE_STEPS).astype(np.uint8)
    return index


def bone_mass_share(density_g_per_mL: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mass fraction of cortical bone in a mixture with soft tissue of that density: 1/ρ = w/ρ_b + (1 − w)/ρ_s."""
    inverse = 1.0 / np.clip(density_g_per_mL, SOFT_g_per_mL, BONE_g_per_mL)
    return np.asarray((1.0 / SOFT_g_per_mL - inverse) / (1.0 / SOFT_g_per_mL - 1.0 / BONE_g_per_mL), dtype=np.float32)


def material_names() -> tuple[str, ...]:
    """Rows of `photon_table`: tissues, mixtures with bone, water."""
    mixtures = tuple(f"bone {step + 1}/{BONE_STEPS}" for step in range(BONE_STEPS))
    return (*(name for name, _ in TISSUES), *mixtures, "water")


@cache
def photon_table(top_MeV: float, *, floor_MeV: float = 0.003) -> PhotonTable:
    """Coefficients of all materials on an even grid in ln E, log-log interpolated in the packaged table."""
    energy = np.geomspace(floor_MeV, top_MeV, ENERGY_BINS)
    photo, incoherent = (np.array([_mixed(name, kind, energy) for name in material_names()]) for kind in _KINDS)
    attenuation = photo + incoherent
    absorption = photo + incoherent * transferred_share(energy)
    arrays = (attenuation, absorption, photo / attenuation)
    for array in arrays:
        array.setflags(write=False)
    return PhotonTable(floor_MeV, top_MeV, *arrays)


def transferred_share(energy_MeV: FloatArray) -> FloatArray:
    """Mean share of the photon's energy that Klein–Nishina scattering gives to the electron."""
    k = energy_MeV[:, None] / ELECTRON_MASS_MeV
    cosine, weight = np.polynomial.legendre.leggauss(64)
    ratio = 1.0 / (1.0 + k * (1.0 - cosine))
    section = ratio**2 * (ratio + 1.0 / ratio - (1.0 - cosine**2)) * weight
    return np.asarray((section * (1.0 - ratio)).sum(axis=1) / section.sum(axis=1))


_KINDS = ("photo", "incoherent")


def _mixed(material: str, kind: str, energy: FloatArray) -> FloatArray:
    if not material.startswith("bone "):
        return _interpolated(material, kind, energy)
    step = int(material.removeprefix("bone ").split("/")[0])
    share = step / BONE_STEPS
    return share * _interpolated("bone", kind, energy) + (1.0 - share) * _interpolated("soft", kind, energy)


def _interpolated(material: str, kind: str, energy: FloatArray) -> FloatArray:
    table = _read()
    column = table[f"{material}_{kind}"]
    return np.asarray(np.exp(np.interp(np.log(energy), np.log(table["energy_MeV"]), np.log(column))))


@cache
def _read() -> dict[str, FloatArray]:
    text = (files("lutetia.dose") / "data" / "photon_cross_sections.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    values = np.array([[float(x) for x in line.split(",")] for line in lines[1:]])
    return dict(zip(lines[0].split(","), values.T, strict=True))
