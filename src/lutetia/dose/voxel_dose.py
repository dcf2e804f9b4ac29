"""Dose maps: from an activity map to dose rate, or from time-integrated activity to dose, voxel by voxel.

Methods by name (`METHODS`): what becomes of the electrons and of the photons.

- ``kernel``: both by the nuclide's voxel kernel, convolved as in uniform tissue; energy is neither made nor lost.
- ``local electrons``: electrons stay in their voxel, photons by kernel. The honest choice for organ means of 177Lu on
  SPECT maps, which already carry a blur of about 10 mm, far more than the range of these electrons.
- ``local deposition``: electrons stay in their voxel, photons are left out.
- ``monte carlo``: photons by Monte Carlo through the patient's tissues, electrons by kernel.
- ``monte carlo and local electrons``: photons by Monte Carlo, electrons stay.

With a density map, electron energy is divided by the mass where it falls; photon energy falls where the mass is: in
proportion to the density, the total in the body kept (a lung takes a quarter of what the same volume of tissue would).

Not here: time integration (`lutetia.kinetics.voxelwise`), histograms (`dvh`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lutetia.core.chain import Doubt
from lutetia.core.geometry import Grid
from lutetia.core.volume import Unit, Volume
from lutetia.dose.kernels import SOFT_TISSUE_G_PER_ML, SPACING_LIMITS_mm
from lutetia.dose.photon_data import AIR_g_per_mL
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, point_kernel
from lutetia.dose.voxel_dose_kernels import Part, convolved
from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.nuclides import canonical_nuclide
from lutetia.nuclear.nuclides import nuclide as find_nuclide

Float32 = NDArray[np.float32]
Box = tuple[slice, slice, slice]
DENSITY_LIMITS_g_per_mL = (0.0, 5.0)
LARGEST_ANISOTROPY = 5.0
"""Longest over shortest side of a voxel (assumption: beyond it a map is no picture of what 1 to 10 mm ranges do)."""
# Electrons that deposit 95 % of their energy within this radius stay in a SPECT voxel for the purpose of organ means.
_LOCAL_RADIUS_mm = 2.0
DEFAULT_PHOTONS = 5_000_000
LARGEST_IN_AIR = 0.02
"""Share of the activity in air above which a doubt is raised (assumption; blur carries a little out of the body)."""


@dataclass(frozen=True, slots=True)
class Method:
    """What becomes of electrons and photons."""

    electrons: Literal["kernel", "local"]
    photons: Literal["kernel", "monte carlo", "none"]

    @property
    def photon_parts(self) -> tuple[Part, ...]:
        """Parts of the nuclide's photon kernel that are convolved.

        Bremsstrahlung leaves the voxel even where electrons are taken to stay; only local deposition keeps it.
        """
        if self.photons == "kernel":
            return ("bremsstrahlung", "photon")
        return () if self.photons == "none" else ("bremsstrahlung",)


METHODS: dict[str, Method] = {
    "kernel": Method("kernel", "kernel"),
    "local electrons": Method("local", "kernel"),
    "local deposition": Method("local", "none"),
    "monte carlo": Method("kernel", "monte carlo"),
    "monte carlo and local electrons": Method("local", "monte carlo"),
}
RESULT_UNIT: dict[str, Unit] = {"MBq_per_mL": "Gy_per_h", "MBq_h_per_mL": "Gy"}


@dataclass(frozen=True, slots=True, eq=False)
class VoxelDose:
    """A dose map (Gy, or Gy/h from an activity map) and how it was made.

    Parameters
    ----------
    dose, sd
        Map, and its statistical standard deviation (Monte Carlo only; voxels are correlated).
    method
        Name and particulars of the method.
    blur
        Which blur the map carries.
    escaped_share
        Share of the emitted energy (electrons and photons) that is not in the map: it left the map or the body, fell on
        air, or was left out by the method.
    """

    dose: Volume
    sd: Volume | None
    nuclide: str
    method: str
    blur: str
    escaped_share: float
    doubts: tuple[Doubt, ...] = ()


def voxel_dose(
    activity: Volume,
    nuclide: str,
    *,
    density: Volume | None = None,
    method: str = "kernel",
    photons: int = DEFAULT_PHOTONS,
    seed: int = 1,
    resolution_mm: float | None = None,
) -> VoxelDose:
    """Dose map of one nuclide.

    By kernel D(v) = ρ_K / ρ(v) · Σ_u A(u) K_e(v − u) + c · Σ_u A(u) K_γ(v − u), with K_e for electrons, K_γ for photons
    and c such that the photon energy in the body is that of uniform tissue (c = ρ_K / ρ where ρ is uniform);
    by local deposition D(v) = k E_electron ã(v) / ρ(v); by Monte Carlo D(v) = k Ã e(v) / (ρ(v) V), e energy per decay.

    Parameters
    ----------
    activity
        MBq_per_mL (result in Gy/h) or MBq_h_per_mL (result in Gy).
    nuclide
        In any accepted spelling.
    density
        g_per_mL on the same grid, 0 to 5; without it the whole grid is soft tissue of 1.04 g/mL. Monte Carlo needs it.
    method
        Key of `METHODS`.
    photons, seed
        Histories and seed of the Monte Carlo; the same seed gives the same map.
    resolution_mm
        FWHM of the imaging system that the activity map comes from; None where it is not blurred.

    Raises
    ------
    UnknownNameError
        For unknown nuclides and methods, with the close names.
    PhysicsError
        Other units, grids or densities; activity that is negative or not a number; skewed voxels or voxels of very
        different sides.

    Notes
    -----
    The kernel reaches over the whole map. Energy is carried as in uniform tissue: ranges of electrons in lung are too
    short, those in bone too long, and photons meet no air; near lung and skin, use Monte Carlo. Dose in voxels below
    0.1 g/mL is not shown (0).
    """
    name = canonical_nuclide(nuclide)
    if method not in METHODS:
        raise UnknownNameError("dose method", method, METHODS)
    check_inputs(activity, density)
    chosen = METHODS[method]
    if chosen.photons == "monte carlo" and density is None:
        raise PhysicsError(f"{method}: found no density map; expected one in g/mL from CT, or use the method kernel")
    box = _box(activity.values, None if density is None else density.values)
    grid = activity.grid
    local = activity.values[box]
    rho = None if density is None else density.values[box]
    if chosen.electrons == "kernel":
        energy_dose = convolved(local, name, grid.spacing_mm, parts=("electron",))
        energy_dose *= np.float32(grid.voxel_mL)
    else:
        energy_dose = local * np.float32(_local_MeV(name, chosen) * GY_G_PER_MBQ_H_MEV / SOFT_TISSUE_G_PER_ML)
    if chosen.photon_parts:
        photon_dose = convolved(local, name, grid.spacing_mm, parts=chosen.photon_parts)
        photon_dose *= np.float32(grid.voxel_mL)
        energy_dose += photon_dose if rho is None else _where_the_mass_is(photon_dose, rho)
        del photon_dose
    sd: Float32 | None = None
    if chosen.photons == "monte carlo" and rho is not None:
        sd = _add_photons(energy_dose, local, rho, grid, name, photons=photons, seed=seed)
    return _result(
        activity, density, box, (energy_dose, sd), name, _text(method, chosen, photons, seed), (chosen, resolution_mm)
    )


def check_inputs(activity: Volume, density: Volume | None = None) -> None:
    """Refuse maps that no method may see; errors as `voxel_dose`."""
    if activity.unit not in RESULT_UNIT:
        raise PhysicsError(f"activity map: found {activity.unit}; expected MBq_per_mL or MBq_h_per_mL")
    spacing = activity.grid.spacing_mm
    low, high = SPACING_LIMITS_mm
    if max(spacing) > LARGEST_ANISOTROPY * min(spacing) or min(spacing) < low or max(spacing) > high:
        text = " × ".join(f"{s:.3g}" for s in spacing)
        raise PhysicsError(
            f"activity map: found voxels of {text} mm; expected sides between {low} and {high} mm, the longest at most "
            f"{LARGEST_ANISOTROPY:g} times the shortest; resample it"
        )
    axes = activity.grid.affine[:3, :3] / np.asarray(spacing)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise PhysicsError("activity map: found skewed voxels; resample to an orthogonal grid")
    if not np.isfinite(activity.values.sum(dtype=np.float64)):
        raise PhysicsError("activity map: found values that are not a number or infinite; expected finite values ≥ 0")
    if activity.values.min() < 0:
        count = int((activity.values < 0).sum())
        raise PhysicsError(
            f"activity map: found {count} negative voxels, down to {float(activity.values.min()):.3g}; expected ≥ 0; "
            "set noise below zero to 0 before"
        )
    if density is not None:
        _check_density(density, activity.grid)


def recommended_method(nuclide: str, *, measured_by_spect: bool) -> str:
    """Method for organ means: local electrons on a SPECT map of a short-ranged nuclide, otherwise kernel.

    A SPECT map is already blurred; 177Lu electrons move activity by far less. The map of 90Y predicted from 177Lu needs
    the kernel, since its electrons leave small organs.
    """
    kernel = point_kernel(canonical_nuclide(nuclide))
    share = np.cumsum(kernel.electron_MeV) / max(float(kernel.electron_MeV.sum()), 1e-300)
    short = kernel.edge_mm[1 + int(np.argmax(share >= 0.95))] <= _LOCAL_RADIUS_mm
    return "local electrons" if measured_by_spect and short else "kernel"


def _check_density(density: Volume, grid: Grid) -> None:
    if density.unit != "g_per_mL":
        raise PhysicsError(f"density map: found {density.unit}; expected g_per_mL")
    if not density.grid.same_as(grid):
        raise PhysicsError(
            f"density map: found a grid of {density.grid.shape} voxels that is not that of the activity map "
            f"({grid.shape} voxels, same position needed); resample it to the activity map"
        )
    values = density.values
    low, high = DENSITY_LIMITS_g_per_mL
    if not np.isfinite(values.sum(dtype=np.float64)) or values.min() < low or values.max() > high:
        hint = "; these look like Hounsfield units" if values.min() < -100 else ""
        raise PhysicsError(
            f"density map: found values from {float(values.min()):.4g} to {float(values.max()):.4g}; expected "
            f"{low:g} to {high:g} g/mL{hint}"
        )


def _box(activity: Float32, density: Float32 | None) -> Box:
    """Smallest box around body and activity; everything, without a density map."""
    if density is None:
        k, j, i = (slice(0, n) for n in activity.shape)
        return k, j, i
    filled = (density >= AIR_g_per_mL) | (activity > 0)
    spans = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(filled.any(axis=other))
        spans.append(slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 1))
    return spans[0], spans[1], spans[2]


def _where_the_mass_is(energy_dose: Float32, density: Float32) -> Float32:
    """Photon energy in proportion to the density, the sum over the body kept; changed in place.

    Photons are absorbed by mass. As in uniform tissue, a lung would take its volume's share, four times too much.
    """
    solid = density >= AIR_g_per_mL
    energy_dose *= solid
    before = float(energy_dose.sum(dtype=np.float64))
    energy_dose *= density
    after = float(energy_dose.sum(dtype=np.float64))
    if after > 0.0:
        energy_dose *= np.float32(before / after)
    return energy_dose


def _local_MeV(name: str, method: Method) -> float:
    """Electron energy that stays: all of it, less the bremsstrahlung where that goes its own way by kernel."""
    total = find_nuclide(name).electron_MeV
    return total - float(point_kernel(name).bremsstrahlung_MeV.sum()) if method.photon_parts else total


def _add_photons(
    energy_dose: Float32, local: Float32, density: Float32, grid: Grid, name: str, *, photons: int, seed: int
) -> Float32:
    """Add photon energy in the units of the convolution (Gy at 1.04 g/mL); returns its standard deviation."""
    from lutetia.dose.photon_transport import photon_energy

    total = float(local.sum(dtype=np.float64)) * grid.voxel_mL
    if total == 0.0:
        return np.zeros_like(energy_dose)
    shape = (local.shape[0], local.shape[1], local.shape[2])
    found = photon_energy(local, density, Grid(shape, grid.affine), nuclide=name, photons=photons, seed=seed)
    factor = np.float32(GY_G_PER_MBQ_H_MEV * total / (SOFT_TISSUE_G_PER_ML * grid.voxel_mL))
    energy_dose += found.energy_MeV * factor
    return found.sd_MeV * factor


def _result(
    activity: Volume,
    density: Volume | None,
    box: Box,
    maps: tuple[Float32, Float32 | None],
    name: str,
    text: str,
    origin: tuple[Method, float | None],
) -> VoxelDose:
    """Divide by the density, place in the whole grid, and say what was done."""
    unit = RESULT_UNIT[activity.unit]
    energy_dose, sd = maps
    total_MBq = float(activity.values.sum(dtype=np.float64)) * activity.grid.voxel_mL
    solid = None
    if density is not None:
        rho = density.values[box]
        solid = rho >= AIR_g_per_mL
        energy_dose *= solid
    escaped = _escaped(energy_dose, activity.grid, name, total_MBq)
    if density is not None and solid is not None:
        scale = np.float32(SOFT_TISSUE_G_PER_ML) / np.maximum(rho, np.float32(AIR_g_per_mL))
        energy_dose *= scale
        sd = None if sd is None else np.asarray(sd * scale * solid, dtype=np.float32)
    tissue = "soft tissue of 1.04 g/mL" if density is None else "density map"
    return VoxelDose(
        dose=_volume(energy_dose, box, activity.grid, unit),
        sd=None if sd is None else _volume(sd, box, activity.grid, unit),
        nuclide=name,
        method=f"{text}, {tissue}",
        blur=_blur(*origin),
        escaped_share=escaped,
        doubts=(*_doubts(activity, solid, box), *_blurred_twice(name, *origin)),
    )


def _escaped(energy_dose: Float32, grid: Grid, name: str, total_MBq: float) -> float:
    """Share of the emitted energy that the map does not hold; `energy_dose` is Gy at 1.04 g/mL."""
    data = find_nuclide(name)
    emitted = (data.electron_MeV + data.photon_MeV) * GY_G_PER_MBQ_H_MEV * total_MBq
    if emitted == 0.0:
        return 0.0
    absorbed = float(energy_dose.sum(dtype=np.float64)) * grid.voxel_mL * SOFT_TISSUE_G_PER_ML
    return 1.0 - absorbed / emitted


def _volume(values: Float32, box: Box, grid: Grid, unit: Unit) -> Volume:
    if values.shape == grid.shape:
        return Volume(values, grid, unit)
    whole = np.zeros(grid.shape, dtype=np.float32)
    whole[box] = values
    return Volume(whole, grid, unit)


def _text(name: str, method: Method, photons: int, seed: int) -> str:
    if method.photons == "monte carlo":
        return f"{name} ({photons} photons, seed {seed})"
    return name


def _blur(method: Method, resolution_mm: float | None) -> str:
    own = "electrons at their range" if method.electrons == "kernel" else "electrons local"
    if resolution_mm is None:
        return f"activity map taken as it is, {own}"
    return (
        f"activity map blurred by imaging (FWHM {resolution_mm:g} mm), {own}; small regions are low by partial volume"
    )


def _blurred_twice(name: str, method: Method, resolution_mm: float | None) -> tuple[Doubt, ...]:
    """Note for organ means: a kernel on a map that the scanner has blurred by more than the electrons' range."""
    advised = recommended_method(name, measured_by_spect=True)
    if resolution_mm is None or advised != "local electrons" or method.electrons == "local":
        return ()
    message = f"electrons of {name} reach far less than the blur of the map; for organ means use 'local electrons'"
    return (Doubt("voxel-blurred-twice", message, severity="note"),)


def _doubts(activity: Volume, solid: NDArray[np.bool_] | None, box: Box) -> tuple[Doubt, ...]:
    doubts = []
    total = float(activity.values.sum(dtype=np.float64))
    if total == 0.0:
        return (Doubt("voxel-no-activity", "the activity map is zero everywhere; so is the dose"),)
    if solid is not None:
        in_air = 1.0 - float(activity.values[box][solid].sum(dtype=np.float64)) / total
        if in_air > LARGEST_IN_AIR:
            text = f"{100 * in_air:.1f} % of the activity lies where the density is below {AIR_g_per_mL} g/mL"
            doubts.append(Doubt("voxel-activity-in-air", text + "; check that both maps are of one position"))
    return tuple(doubts)
