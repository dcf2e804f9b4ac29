"""S-values of spheres and of the organs of reference adults: dose per time-integrated activity, with their method.

Self-dose: absorbed fractions at the region's own mass. Between organs: photons from the point kernel averaged over
pairs of points in stylised organs, and in the bones that hold red marrow (`marrow_sites`). Red marrow from itself and
from the remainder: published table (`data/marrow.toml`). Not here: S-values of a patient's
own regions (`region_s`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.regions import canonical_region, density_g_per_mL, is_tumour
from lutetia.dose.absorbed_fraction import SPHERE, Shape, electron_absorbed_fraction, photon_absorbed_fraction
from lutetia.dose.marrow_sites import marrow_points
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, point_kernel
from lutetia.dose.stylised import ORGANS
from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.nuclides import canonical_nuclide
from lutetia.nuclear.nuclides import nuclide as find_nuclide

FloatArray = NDArray[np.float64]
SEXES = ("female", "male")
# Body as an ellipsoid, half thickness : half width : half height (assumption; trunk of MIRD 5 Rev., height 174 cm).
BODY_AXES: Shape = (10.0, 20.0, 87.0)
SHAPES: dict[str, Shape] = {
    "left kidney": "kidney",
    "right kidney": "kidney",
    "liver": "liver",
    "spleen": "spleen",
    "whole body": BODY_AXES,
}
SELF_METHOD = "point kernel in stylised organ, own mass"
CROSS_METHOD = "photon point kernel between stylised organs"
MARROW_CROSS_METHOD = "published: OpenDose 177Lu, voxel adults of ICRP 110; other nuclides by photon point kernel"
MARROW_METHOD = "published: OLINDA/EXM 2.2"
S_UNIT = 3.6
"""Gy/(MBq h) per mGy/(MBq s)."""
_KIDNEYS = ("left kidney", "right kidney")
_PAIRS = 20_000
_MARROW_PAIRS = 100_000  # few pairs are close, and they weigh most


@dataclass(frozen=True, slots=True, eq=False)
class SValue:
    """Dose per time-integrated activity, shape of the mass asked for, and how it was computed."""

    Gy_per_MBq_h: FloatArray
    method: str


def sphere_s_value(nuclide: str, mass_g: ArrayLike, *, density_g_per_mL: float = 1.0) -> FloatArray:
    """Self-dose of a uniformly filled sphere in tissue of its density.

    S = k (E_electron φ_electron(m) + E_photon φ_photon(m)) / m

    Parameters
    ----------
    nuclide
        Name of the nuclide.
    mass_g
        Shape (...).
    density_g_per_mL
        Of the sphere and what surrounds it; published tables of spheres use 1.

    Returns
    -------
    Gy/(MBq h), shape (...).

    Raises
    ------
    UnknownNameError, PhysicsError
        For unknown nuclides; for masses outside `absorbed_fraction.MASS_LIMITS_g`.
    """
    return _self_dose(nuclide, np.asarray(mass_g, dtype=np.float64), SPHERE, density_g_per_mL)


def organ_s_value(
    nuclide: str,
    source: str,
    target: str,
    sex: str,
    mass_g: ArrayLike | None = None,
    *,
    single_kidneys_g: tuple[ArrayLike, ArrayLike] | None = None,
) -> SValue:
    """S(target ← source) of a reference woman or man.

    Parameters
    ----------
    nuclide, source, target
        Names; regions in any accepted spelling.
    sex
        ``female`` or ``male``: reference masses (ICRP 89) and positions.
    mass_g
        Mass of the target, shape (...); replaces the reference mass in self-dose (kidneys: mass of the pair, each
        kidney half). Tumours need it. Between organs it has no influence (photon dose does not depend on the target's
        mass to first order).
    single_kidneys_g
        Masses of the two kidneys instead of `mass_g`, each of shape (...), when the pair's self-dose is asked for.

    Returns
    -------
    `SValue`: Gy/(MBq h) of shape (...), and the method.

    Raises
    ------
    UnknownNameError
        For unknown names and for pairs without an S-value; what exists is listed.
    PhysicsError
        For a tumour without mass, or masses outside the tables.

    Notes
    -----
    The pair of kidneys: absorbed fractions of each single kidney plus the photons between them, per mass of the pair,
    for equal concentration in both.
    """
    if sex not in SEXES:
        raise UnknownNameError("sex", sex, SEXES)
    name, source, target = canonical_nuclide(nuclide), canonical_region(source), canonical_region(target)
    if target == "red marrow" and source in ("red marrow", "remainder"):
        return _marrow(name, source, sex, mass_g)
    if target == "red marrow" and source in _ORGAN_NAMES:
        return SValue(np.asarray(_marrow_from_organ(name, source, sex)), MARROW_CROSS_METHOD)
    if single_kidneys_g is not None and not source == target == "kidneys":
        raise PhysicsError(
            f"single kidney masses: found them for {target} ← {source}; they belong to kidneys ← kidneys"
        )
    if source == target == "kidneys":
        return _kidney_pair(name, sex, _single_masses(sex, mass_g, single_kidneys_g))
    if source == target:
        return _own(name, source, sex, mass_g)
    if source in _ORGAN_NAMES and target in _ORGAN_NAMES and not _overlapping(source, target):
        return SValue(np.asarray(stylised_cross_dose(name, source, target, sex)), CROSS_METHOD)
    raise UnknownNameError("S-value (target ← source)", f"{target} ← {source}", _supported())


def reference_mass_g(region: str, sex: str) -> float:
    """Mass of an organ of the reference adult (ICRP 89), g; a single kidney is half of the pair.

    Raises
    ------
    UnknownNameError
        If no reference mass is tabulated.
    """
    table = _masses().get(sex)
    if table is None:
        raise UnknownNameError("sex", sex, SEXES)
    name = canonical_region(region)
    if name in _KIDNEYS:
        return table["kidneys"] / 2.0
    if name not in table:
        raise UnknownNameError("reference mass", name, table)
    return table[name]


_ORGAN_NAMES = (*ORGANS, "kidneys")


def _self_dose(nuclide: str, mass_g: FloatArray, shape: Shape, density_g_per_mL: float) -> FloatArray:
    data = find_nuclide(nuclide)
    electron = electron_absorbed_fraction(data.name, mass_g, axes_ratio=shape, density_g_per_mL=density_g_per_mL)
    photon = photon_absorbed_fraction(data.name, mass_g, axes_ratio=shape, density_g_per_mL=density_g_per_mL)
    return np.asarray(GY_G_PER_MBQ_H_MEV * (data.electron_MeV * electron + data.photon_MeV * photon) / mass_g)


def _own(nuclide: str, region: str, sex: str, mass_g: ArrayLike | None) -> SValue:
    if mass_g is None and is_tumour(region):
        raise PhysicsError(f"{region}: found no mass; give its mass in g (volume × density)")
    if not is_tumour(region) and region not in SHAPES:
        raise UnknownNameError("S-value (target ← source)", f"{region} ← {region}", _supported())
    mass = np.asarray(reference_mass_g(region, sex) if mass_g is None else mass_g, dtype=np.float64)
    density = density_g_per_mL(region)
    if is_tumour(region):
        return SValue(_self_dose(nuclide, mass, SPHERE, density), "point kernel in sphere, own mass")
    return SValue(_self_dose(nuclide, mass, SHAPES[region], density), SELF_METHOD)


def _single_masses(
    sex: str, mass_g: ArrayLike | None, single_kidneys_g: tuple[ArrayLike, ArrayLike] | None
) -> tuple[FloatArray, FloatArray]:
    if single_kidneys_g is not None:
        if mass_g is not None:
            raise PhysicsError("kidneys: found the mass of the pair and of each kidney; give one of them")
        left, right = (np.asarray(m, dtype=np.float64) for m in single_kidneys_g)
        return left, right
    half = np.asarray(reference_mass_g("kidneys", sex) if mass_g is None else mass_g, dtype=np.float64) / 2.0
    return half, half


def _kidney_pair(nuclide: str, sex: str, masses_g: tuple[FloatArray, FloatArray]) -> SValue:
    """Σ_i (m_i/m)² S_i + 2 (m_1 m_2/m²) S_cross: activity shared by mass, energy per mass of the pair."""
    left, right = masses_g
    density = density_g_per_mL("kidneys")
    own = [_self_dose(nuclide, mass, "kidney", density) * mass**2 for mass in (left, right)]
    between = 2.0 * left * right * stylised_cross_dose(nuclide, "left kidney", "right kidney", sex)
    return SValue((own[0] + own[1] + between) / (left + right) ** 2, SELF_METHOD + ", each kidney by its mass")


@cache
def stylised_cross_dose(nuclide: str, source: str, target: str, sex: str) -> float:
    """Photon dose in one organ, or in red marrow, from another in stylised bodies, Gy/(MBq h).

    S = k ⟨F(ρ r) / (4π r²)⟩ over pairs of points, F the photon energy absorbed per length. Names are canonical.
    """
    if source == "kidneys":
        return 0.5 * sum(stylised_cross_dose(nuclide, side, target, sex) for side in _KIDNEYS)
    if target == "kidneys":
        return 0.5 * sum(stylised_cross_dose(nuclide, source, side, sex) for side in _KIDNEYS)
    kernel = point_kernel(nuclide)
    scale = (reference_mass_g("whole body", sex) / reference_mass_g("whole body", "male")) ** (1 / 3)
    # The same points each way round, so that S(a ← b) = S(b ← a) exactly.
    first, second = sorted((source, target))
    count = _MARROW_PAIRS if target == "red marrow" else _PAIRS
    gap = _points(first, 11, count) - _points(second, 12, count)
    distance_cm = np.linalg.norm(gap, axis=1) * scale
    density = density_g_per_mL("remainder")
    width = np.diff(kernel.edge_mm) / 10.0
    per_length = (kernel.photon_MeV + kernel.bremsstrahlung_MeV) / width
    middle = 0.05 * (kernel.edge_mm[1:] + kernel.edge_mm[:-1])
    value = np.interp(distance_cm * density, middle, per_length) / (4 * np.pi * distance_cm**2)
    return float(GY_G_PER_MBQ_H_MEV * value.mean())


@cache
def _points(organ: str, seed: int, count: int) -> FloatArray:
    if organ == "red marrow":
        return np.random.default_rng(seed).permutation(marrow_points(count, seed))
    return ORGANS[organ].sample(count, np.random.default_rng(seed))


def _overlapping(source: str, target: str) -> bool:
    return "kidneys" in (source, target) and (source in _KIDNEYS or target in _KIDNEYS)


def _marrow_from_organ(nuclide: str, organ: str, sex: str) -> float:
    """Photon dose to the red marrow: published for 177Lu, other nuclides by the ratio of stylised values."""
    published = _marrow_table()["from_organ"][sex]["kidneys" if organ in _KIDNEYS else organ] * S_UNIT
    stylised = [stylised_cross_dose(name, organ, "red marrow", sex) for name in (nuclide, "Lu-177")]
    return float(published * stylised[0] / stylised[1])


def _marrow(nuclide: str, source: str, sex: str, mass_g: ArrayLike | None) -> SValue:
    """Published self and remainder S-values; self-dose scales inversely with the marrow mass."""
    table = _marrow_table()
    if not isinstance(table.get(nuclide), dict):
        known = [
            f"red marrow ← {source} of {name}" for name, row in table.items() if "-" in name and isinstance(row, dict)
        ]
        raise UnknownNameError("S-value (target ← source)", f"red marrow ← {source} of {nuclide}", known)
    row = table[nuclide][sex]
    if source == "remainder":
        return SValue(
            np.asarray(row["remainder_organs"] * S_UNIT), MARROW_METHOD + ", without kidneys, liver and spleen"
        )
    mass = np.asarray(table["phantom"][sex]["red_marrow_g"] if mass_g is None else mass_g, dtype=np.float64)
    if not (np.isfinite(mass).all() and (mass > 0).all()):
        raise PhysicsError(f"red marrow mass: found {mass_g!r} g; expected positive finite masses")
    return SValue(row["self"] * S_UNIT * table["phantom"][sex]["red_marrow_g"] / mass, MARROW_METHOD)


@cache
def _marrow_table() -> dict[str, Any]:
    return tomllib.loads((files("lutetia.dose") / "data" / "marrow.toml").read_text(encoding="utf-8"))


@cache
def _masses() -> dict[str, dict[str, float]]:
    text = (files("lutetia.dose") / "data" / "reference_masses.toml").read_text(encoding="utf-8")
    return {sex: row for sex, row in tomllib.loads(text).items() if isinstance(row, dict)}


def _supported() -> list[str]:
    own = [f"{name} ← {name}" for name in ("kidneys", *SHAPES, "red marrow", "tumour 1")]
    cross = [f"{t} ← {s}" for s in _ORGAN_NAMES for t in _ORGAN_NAMES if s != t and not _overlapping(s, t)]
    return [*own, "red marrow ← remainder", *(f"red marrow ← {s}" for s in _ORGAN_NAMES), *cross]
