"""Monte Carlo of a nuclide's photons in the patient: energy per voxel, with its statistical uncertainty.

Photons start where the activity is, are followed through the tissues that the densities stand for, and deposit their
energy where they set electrons free (electrons of photons reach less than a SPECT voxel). What leaves the box around
body and activity has escaped. The result is the same for a seed whatever the number of threads.
Not here: electrons (`voxel_dose`), cross sections (`photon_data`).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import stream
from lutetia.core.geometry import Grid
from lutetia.dose.photon_data import AIR_g_per_mL, PhotonTable, material_index, photon_table
from lutetia.dose.photon_transport_loop import transport_batch
from lutetia.dose.spectra import Emissions, photon_emissions
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide as find_nuclide

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
BATCHES = 32
FLOOR_MeV = 0.003


@dataclass(frozen=True, slots=True, eq=False)
class PhotonEnergy:
    """Photon energy absorbed per decay anywhere in the source, and its statistical standard deviation.

    `energy_MeV`, `sd_MeV` have the shape of the grid. `region_MeV` and `region_sd_MeV` have shape (label,): sums over
    the voxels of each label, whose uncertainty includes the correlation between voxels (empty without labels).
    `emitted_MeV` = absorbed + `escaped_MeV`, apart from noise.
    """

    energy_MeV: Float32
    sd_MeV: Float32
    emitted_MeV: float
    escaped_MeV: float
    photons: int
    region_MeV: FloatArray
    region_sd_MeV: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What a batch needs: the box, its source and its coefficients."""

    source: FloatArray
    source_voxel: NDArray[np.int64]
    line_cumulative: FloatArray
    line_MeV: FloatArray
    spacing_cm: FloatArray
    density: Float32
    material: NDArray[np.uint8]
    table: PhotonTable
    majorant: FloatArray


def photon_energy(
    activity: NDArray[np.floating],
    density_g_per_mL: Float32,
    grid: Grid,
    *,
    nuclide: str,
    lines: Emissions | None = None,
    photons: int = 2_000_000,
    seed: int = 1,
    material: NDArray[np.uint8] | None = None,
    labels: NDArray[np.integer] | None = None,
    workers: int | None = None,
) -> PhotonEnergy:
    """Follow the nuclide's photons from an activity map.

    Parameters
    ----------
    activity
        Shape (k, j, i), ≥ 0, any unit; only the distribution counts.
    density_g_per_mL
        Shape (k, j, i), 0 to 5.
    nuclide, lines
        Whose photons; or their energies (MeV) and numbers per decay, instead of the nuclide's own.
    photons
        Histories in all; they come in 32 batches.
    seed
        Same seed, same result.
    material
        Shape (k, j, i): rows of `photon_data.material_names` instead of tissue by density.
    labels
        Shape (k, j, i), 0 … L−1: regions whose sums are wanted with their uncertainty.
    workers
        Threads; all processors if None.

    Returns
    -------
    PhotonEnergy
        MeV per decay.

    Raises
    ------
    PhysicsError
        Activity or densities out of range, without activity, or shapes that do not fit; too few photons.

    Notes
    -----
    The standard deviation is that of the mean of the batches (31 degrees of freedom: itself known within 13 %).
    """
    _check(activity, density_g_per_mL, grid, (labels, material), photons)
    energy, number = photon_emissions(find_nuclide(nuclide)) if lines is None else lines
    emitted = float(energy @ number)
    regions = 0 if labels is None else int(labels.max(initial=0)) + 1
    if emitted == 0.0:
        zeros = np.zeros(grid.shape, dtype=np.float32)
        return PhotonEnergy(zeros, zeros, 0.0, 0.0, 0, np.zeros(regions), np.zeros(regions))
    box = _box(activity, density_g_per_mL)
    chosen = material_index(density_g_per_mL[box]) if material is None else material[box]
    scene = _scene(activity[box], density_g_per_mL[box], chosen, grid, (energy, number))
    inside = None if labels is None else labels[box]
    per_batch = photons // BATCHES
    mean, sd, escaped, region = _run(scene, per_batch, seed, inside, regions, workers or os.cpu_count() or 1)
    return PhotonEnergy(
        energy_MeV=_placed(mean * np.float32(emitted), box, grid.shape),
        sd_MeV=_placed(sd * np.float32(emitted), box, grid.shape),
        emitted_MeV=emitted,
        escaped_MeV=escaped * emitted,
        photons=per_batch * BATCHES,
        region_MeV=region.mean(axis=0) * emitted,
        region_sd_MeV=region.std(axis=0, ddof=1) / np.sqrt(BATCHES) * emitted,
    )


def _check(
    activity: NDArray[np.floating],
    density: Float32,
    grid: Grid,
    maps: tuple[NDArray[np.integer] | None, ...],
    photons: int,
) -> None:
    shapes = {np.shape(a) for a in (activity, density, *maps) if a is not None}
    if shapes != {grid.shape}:
        raise PhysicsError(f"photon transport: found arrays of shapes {sorted(shapes)} on a grid of {grid.shape}")
    if not (np.isfinite(activity.sum(dtype=np.float64)) and activity.min() >= 0 and activity.max() > 0):
        raise PhysicsError("photon transport: found activity that is negative, not a number, or nowhere; expected ≥ 0")
    if not (np.isfinite(density.sum(dtype=np.float64)) and density.min() >= 0 and density.max() <= 5.0):
        raise PhysicsError("photon transport: found densities outside 0 to 5 g/mL; check the unit of the density map")
    if photons < 10 * BATCHES:
        raise PhysicsError(f"photon transport: found {photons} photons; expected at least {10 * BATCHES}")


def _box(activity: NDArray[np.floating], density: Float32) -> tuple[slice, slice, slice]:
    """Smallest box that holds body and activity."""
    spans = []
    filled = (density > AIR_g_per_mL) | (activity > 0)
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(filled.any(axis=other))
        spans.append(slice(int(where[0]), int(where[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _scene(
    activity: NDArray[np.floating],
    density: Float32,
    material: NDArray[np.uint8],
    grid: Grid,
    emissions: Emissions,
) -> _Scene:
    flat = activity.ravel()
    voxels = np.flatnonzero(flat)
    source = np.cumsum(flat[voxels], dtype=np.float64)
    energy, number = emissions
    keep = (energy > FLOOR_MeV) & (number > 0)
    low = float((energy * number)[~keep].sum())
    shares = np.cumsum((energy * number)[keep])
    if low > 0:
        # Photons below the floor deposit where they start: as a line at the floor, which travels 5 μm in tissue.
        shares, energy = (
            np.append(shares, (shares[-1] if shares.size else 0.0) + low),
            np.append(energy[keep], FLOOR_MeV),
        )
    else:
        energy = energy[keep]
    table = photon_table(max(float(energy.max()), 2.0 * FLOOR_MeV), floor_MeV=FLOOR_MeV)
    dense = np.ascontiguousarray(density, dtype=np.float32)
    material = np.ascontiguousarray(material)
    heaviest = np.zeros(table.attenuation.shape[0])
    np.maximum.at(heaviest, material.ravel(), dense.ravel())
    majorant = np.asarray((table.attenuation * heaviest[:, None]).max(axis=0))
    return _Scene(
        source / source[-1], voxels.astype(np.int64), shares / shares[-1], energy,
        np.array(grid.spacing_mm) / 10.0, dense, material, table, majorant,
    )  # fmt: skip


def _run(
    scene: _Scene, photons: int, seed: int, labels: NDArray[np.integer] | None, regions: int, workers: int
) -> tuple[Float32, Float32, float, FloatArray]:
    """Mean and standard deviation of the mean over batches, escaped share, region sums (batch, label)."""
    shape = scene.density.shape
    total, squares = np.zeros(scene.density.size), np.zeros(scene.density.size)
    region = np.zeros((BATCHES, regions))
    escaped = 0.0
    keys = stream(seed, "photon transport").integers(0, 2**64, size=BATCHES, dtype=np.uint64)
    scores = [np.empty(scene.density.size, dtype=np.float32) for _ in range(min(workers, BATCHES))]
    with ThreadPoolExecutor(len(scores)) as pool:
        for first in range(0, BATCHES, len(scores)):
            now = range(first, min(first + len(scores), BATCHES))
            futures = [
                pool.submit(_batch, scene, keys[b], photons, score) for b, score in zip(now, scores, strict=False)
            ]
            # Added in the order of the batches: rounding does not depend on which thread ends first.
            for batch, future, score in zip(now, futures, scores, strict=False):
                escaped += future.result() / BATCHES
                total += score
                squares += np.square(score, dtype=np.float64)
                if labels is not None:
                    region[batch] = np.bincount(labels.ravel(), weights=score, minlength=regions)
    mean = total / BATCHES
    squares /= BATCHES
    np.subtract(squares, mean**2, out=squares)
    np.maximum(squares, 0.0, out=squares)
    sd = np.sqrt(squares / (BATCHES - 1))
    return mean.astype(np.float32).reshape(shape), sd.astype(np.float32).reshape(shape), escaped, region


def _batch(scene: _Scene, key: np.uint64, photons: int, score: Float32) -> float:
    score[:] = 0.0
    table = scene.table
    bins_per_log = (table.attenuation.shape[1] - 1) / np.log(table.top_MeV / table.floor_MeV)
    escaped, _ = transport_batch(
        key, photons, scene.source, scene.source_voxel, scene.line_cumulative, scene.line_MeV, scene.spacing_cm,
        scene.density, scene.material, table.attenuation, table.absorption, table.photo, scene.majorant,
        float(np.log(table.floor_MeV)), float(bins_per_log), table.floor_MeV, score,
    )  # fmt: skip
    return escaped


def _placed(values: Float32, box: tuple[slice, slice, slice], shape: tuple[int, int, int]) -> Float32:
    """The box's values in the whole grid, zero elsewhere."""
    whole = np.zeros(shape, dtype=np.float32)
    whole[box] = values
    return whole
