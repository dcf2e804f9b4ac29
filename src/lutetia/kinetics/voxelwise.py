"""Time integration voxel by voxel: from scans on one grid to maps of time-integrated activity, and their 90Y twin.

Three ways, by name:

- ``region-guided`` (default): the curve of each region, fitted to its whole activity, gives the shape; each voxel only
  its amplitude. Robust against noise and small misregistration.
- ``mono-exponential``: one exponential a voxel, its rate at least that of physical decay.
- ``bi-exponential``: two, from six scans on.

Maps have the component first and the voxels last: (component, k, j, i). Not here: dose (`lutetia.dose.voxel_dose`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.chain import Doubt
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import FitError, PhysicsError, UnknownNameError
from lutetia.kinetics.fit import fit_curves
from lutetia.kinetics.integrate import LN2, time_integrated_activity
from lutetia.kinetics.models import MODELS, log_rate_box
from lutetia.kinetics.population import population_prior
from lutetia.kinetics.transfer import transfer_nuclide
from lutetia.kinetics.varpro import fit_batch
from lutetia.kinetics.voxelwise_fit import BLOCK, NODES, fit_part
from lutetia.nuclear.nuclides import canonical_nuclide
from lutetia.nuclear.nuclides import nuclide as find_nuclide

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
Method = Literal["region-guided", "mono-exponential", "bi-exponential"]
METHODS: tuple[Method, ...] = ("region-guided", "mono-exponential", "bi-exponential")
SHORTEST_HALF_LIFE_h = 1.0
"""Fastest effective half-life of a voxel (assumption: faster clearance than this is not seen on scans hours apart)."""
# Relative sd of a region's activity in one scan that the choice of its curve assumes.
_REGION_SD = 0.05
_PART = 64 * BLOCK


@dataclass(frozen=True, slots=True, eq=False)
class VoxelCurves:
    """Sums of exponentials per voxel: `coefficient` (MBq/mL) and `rate_per_h`, both (component, ...), 0 where none."""

    coefficient: Float32
    rate_per_h: Float32

    def time_integrated(self) -> Float32:
        """Σ c/λ, MBq·h/mL, shape (...)."""
        return _summed(self.coefficient, self.rate_per_h, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class GuidedMap:
    """Amplitude of each voxel and the curve it scales.

    a_v(t) = `amplitude`[v] · Σ_c `coefficient`[region, c] e^{−`rate_per_h`[region, c] t}, region = `label`[v].
    """

    amplitude: Float32
    label: NDArray[np.integer]
    coefficient: FloatArray
    rate_per_h: FloatArray

    def time_integrated(self) -> Float32:
        """Amplitude times the integral of the region's curve, MBq·h/mL, shape (...)."""
        integral = time_integrated_activity(self.coefficient, self.rate_per_h).astype(np.float32)
        return np.asarray(self.amplitude * integral[self.label])


@dataclass(frozen=True, slots=True, eq=False)
class VoxelIntegration:
    """Maps of time-integrated activity per nuclide (MBq·h/mL), the method that made them, and doubts."""

    maps: dict[str, Volume]
    method: str
    doubts: tuple[Doubt, ...] = ()


def fit_voxels(
    time_h: ArrayLike,
    activity: NDArray[np.generic],
    *,
    physical_rate_per_h: float,
    weight: ArrayLike | None = None,
    shortest_half_life_h: float = SHORTEST_HALF_LIFE_h,
) -> VoxelCurves:
    """Mono-exponential of every voxel by weighted least squares, a(t) = c e^{−λt}, λ_physical ≤ λ, c ≥ 0.

    Parameters
    ----------
    time_h
        Shape (time,), hours, increasing.
    activity
        Shape (time, ...), at those times (not decay-corrected); noise may make it negative.
    physical_rate_per_h
        Decay constant of the nuclide, the lower bound.
    weight
        Shape (time,): 1/sd² of each scan up to a common factor; equal if None.
    shortest_half_life_h
        Sets the upper bound.

    Returns
    -------
    VoxelCurves
        One component. Voxels that no positive curve describes have coefficient 0.

    Raises
    ------
    PhysicsError
        Times that do not increase, values that are not finite, shapes or bounds that do not fit.
    """
    time, values, w = _check(time_h, activity, weight)
    upper = LN2 / shortest_half_life_h
    if not 0.0 < physical_rate_per_h < upper:
        raise PhysicsError(
            f"voxel fit: found a physical rate of {physical_rate_per_h:g} /h; expected one between 0 and {upper:g} /h"
        )
    nodes = np.geomspace(physical_rate_per_h, upper, NODES)
    flat = values.reshape(len(time), -1)
    amplitude, rate = np.empty(flat.shape[1], dtype=np.float32), np.empty(flat.shape[1], dtype=np.float32)
    _in_parts(lambda a, b: fit_part(time, flat, w, nodes, a, b, amplitude, rate), flat.shape[1], _PART)
    shape = (1, *values.shape[1:])
    return VoxelCurves(amplitude.reshape(shape), rate.reshape(shape))


def fit_voxels_bi(
    time_h: ArrayLike,
    activity: NDArray[np.generic],
    *,
    physical_rate_per_h: float,
    weight: ArrayLike | None = None,
) -> VoxelCurves:
    """Bi-exponential of every voxel with signal, both rates at least physical; arguments as `fit_voxels`.

    Raises
    ------
    FitError
        With fewer than six scans: four parameters on four points describe noise.

    Notes
    -----
    Some 50 µs a voxel; leave voxels outside the body at zero, which are skipped.
    """
    time, values, w = _check(time_h, activity, weight)
    model = MODELS["bi"]
    if len(time) < model.points:
        raise FitError(
            f"voxelwise bi-exponential: found {len(time)} scans; expected at least {model.points}; "
            "use region-guided or mono-exponential"
        )
    box = log_rate_box(model, physical_rate_per_h, population_prior("kidneys"))
    flat = values.reshape(len(time), -1)
    filled = np.flatnonzero(flat.max(axis=0, initial=0.0) > 0)
    coefficient, rate = (np.zeros((2, flat.shape[1]), dtype=np.float32) for _ in range(2))

    def fit(a: int, b: int) -> None:
        where = filled[a:b]
        curves = np.maximum(flat[:, where].T.astype(np.float64), 0.0)
        scale = np.maximum(curves.max(axis=1, keepdims=True), 1e-30)
        root = np.broadcast_to(np.sqrt(w), curves.shape).copy()
        centre = np.broadcast_to(box.centre, (len(where), len(box.centre))).copy()
        theta, linear, _, _ = fit_batch(
            time, curves / scale, root, 2, False, 0.0, box.lower, box.upper, centre, box.precision, box.grid, 3
        )
        coefficient[:, where] = (linear[:, :2] * scale).T
        rate[:, where] = np.exp(theta).T

    _in_parts(fit, len(filled), 2000)
    shape = (2, *values.shape[1:])
    return VoxelCurves(coefficient.reshape(shape), rate.reshape(shape))


def fit_amplitudes(
    time_h: ArrayLike,
    activity: NDArray[np.generic],
    label: NDArray[np.integer],
    *,
    coefficient: ArrayLike,
    rate_per_h: ArrayLike,
) -> GuidedMap:
    """Amplitude of each voxel on the curve of its region: Σ_t y(t) / Σ_t s(t).

    This is the maximum-likelihood amplitude for noise whose variance is proportional to the activity (assumption for
    reconstructed SPECT). It is linear: the voxels of a region add up to the amplitude of their sum.

    Parameters
    ----------
    time_h, activity
        Shapes (time,) and (time, ...).
    label
        Region of each voxel, 0 … R−1, shape (...).
    coefficient, rate_per_h
        Curves of the regions, shape (R, component), in any unit of activity.

    Returns
    -------
    GuidedMap
        Amplitudes ≥ 0.

    Raises
    ------
    PhysicsError
        As `fit_voxels`; labels without a curve; curves that are not positive.
    """
    time, values, _ = _check(time_h, activity, None)
    c, k = np.asarray(coefficient, dtype=np.float64), np.asarray(rate_per_h, dtype=np.float64)
    if label.shape != values.shape[1:] or int(label.min(initial=0)) < 0 or int(label.max(initial=0)) >= len(c):
        raise PhysicsError(
            f"region-guided fit: found labels of shape {label.shape} up to {label.max(initial=0)}; "
            f"expected shape {values.shape[1:]} and labels 0 to {len(c) - 1}"
        )
    shape = (c[:, :, None] * np.exp(-k[:, :, None] * time)).sum(axis=1)
    total = shape.sum(axis=1)
    if not (total > 0).all():
        raise PhysicsError("region-guided fit: found a region's curve without activity; leave the region out")
    amplitude = np.zeros(values.shape[1:], dtype=np.float32)
    for scan in values:
        amplitude += scan
    np.maximum(amplitude, 0.0, out=amplitude)
    amplitude *= (1.0 / total).astype(np.float32)[label]
    return GuidedMap(amplitude, label, c, k)


def predict_voxels(
    curves: VoxelCurves | GuidedMap,
    *,
    from_nuclide: str,
    to_nuclide: str,
    administered_ratio: float,
    delay_h: float = 0.0,
) -> Float32:
    """Time-integrated activity of another nuclide on the same peptide: physical decay exchanged voxel by voxel.

    Σ ratio · c e^{−λ max(−delay, 0)} / (λ − λ_from + λ_to); arguments as `lutetia.kinetics.transfer.transfer_nuclide`.

    Returns
    -------
    MBq·h/mL, shape (...).
    """
    if isinstance(curves, GuidedMap):
        c, k = transfer_nuclide(
            curves.coefficient, curves.rate_per_h, from_nuclide=from_nuclide, to_nuclide=to_nuclide,
            administered_ratio=administered_ratio, delay_h=delay_h,
        )  # fmt: skip
        integral = time_integrated_activity(c, k).astype(np.float32)
        return np.asarray(curves.amplitude * integral[curves.label])
    if not (np.isfinite(administered_ratio) and administered_ratio >= 0 and np.isfinite(delay_h)):
        raise PhysicsError(
            f"nuclide transfer: found an administered ratio of {administered_ratio} and a delay of {delay_h} h; "
            "expected a finite ratio ≥ 0 and a finite delay"
        )
    old, new = find_nuclide(from_nuclide).decay_constant_per_h, find_nuclide(to_nuclide).decay_constant_per_h
    rate = curves.rate_per_h
    if (rate[curves.coefficient > 0] < old * (1 - 1e-6)).any():
        raise PhysicsError(f"nuclide transfer: found effective rates below the physical decay of {from_nuclide}; refit")
    coefficient = curves.coefficient
    if delay_h < 0:
        coefficient = coefficient * np.exp(rate * np.float32(delay_h))
    predicted = _summed(coefficient, rate, new - old)
    predicted *= np.float32(administered_ratio)
    return predicted


def integrate_scans(
    scans: Sequence[Volume],
    time_h: ArrayLike,
    *,
    nuclide: str,
    method: Method = "region-guided",
    regions: Sequence[RegionMask] = (),
    predicted: Mapping[str, float] | None = None,
    delay_h: float = 0.0,
) -> VoxelIntegration:
    """Maps of time-integrated activity from scans on one grid.

    Parameters
    ----------
    scans
        MBq/mL at the time of each scan (not decay-corrected), registered and resampled to one grid.
    time_h
        Shape (scan,), hours since the start of infusion.
    nuclide
        The measured one.
    method
        One of `METHODS`. Region-guided: voxels in no region follow the curve of all those together.
    regions
        Only for region-guided; a voxel belongs to the region that fills most of it, at least half.
    predicted
        Other nuclides on the same peptide: administered activity over that of the measured one.
    delay_h
        Their start minus the start of the measured nuclide.

    Raises
    ------
    PhysicsError, FitError, UnknownNameError
        Scans on different grids, in other units, or negative where they must not be; too few scans; unknown names.
    """
    if method not in METHODS:
        raise UnknownNameError("voxelwise method", method, METHODS)
    stack, doubts = _stack(scans)
    name = canonical_nuclide(nuclide)
    rate = find_nuclide(name).decay_constant_per_h
    curves: VoxelCurves | GuidedMap
    if method == "region-guided":
        curves, text, more = _guided(stack, np.asarray(time_h, dtype=np.float64), regions, scans[0], rate)
        doubts += more
    elif method == "mono-exponential":
        curves, text = fit_voxels(time_h, stack, physical_rate_per_h=rate), "mono-exponential per voxel"
    else:
        curves, text = fit_voxels_bi(time_h, stack, physical_rate_per_h=rate), "bi-exponential per voxel"
    maps = {name: curves.time_integrated()}
    for other, ratio in (predicted or {}).items():
        maps[canonical_nuclide(other)] = predict_voxels(
            curves, from_nuclide=name, to_nuclide=other, administered_ratio=ratio, delay_h=delay_h
        )
    grid = scans[0].grid
    return VoxelIntegration({n: Volume(m, grid, "MBq_h_per_mL") for n, m in maps.items()}, text, doubts)


def _guided(
    stack: Float32, time: FloatArray, regions: Sequence[RegionMask], scan: Volume, rate: float
) -> tuple[GuidedMap, str, tuple[Doubt, ...]]:
    """Curves of the regions and of what is left, by the choice of `fit_curves`, then amplitudes."""
    label = np.zeros(scan.grid.shape, dtype=np.int16)
    largest = np.full(label.shape, 0.5, dtype=np.float32)
    for number, region in enumerate(regions, start=1):
        if not region.grid.same_as(scan.grid):
            raise PhysicsError(f"{region.region}: found another grid than that of the scans; resample it first")
        fill = np.asarray(region.mask, dtype=np.float32)
        here = fill >= largest if number == 1 else fill > largest
        here |= (fill == 0.5) & (label == 0)
        label[here], largest[here] = number, fill[here]
    totals = np.array(
        [np.bincount(label.ravel(), weights=s.ravel(), minlength=len(regions) + 1) for s in stack], dtype=np.float64
    ).T
    names = ("remainder", *(r.region for r in regions))
    empty = [n for n, row in zip(names, totals, strict=True) if not row.max() > 0]
    doubts = tuple(Doubt("voxel-region-empty", f"{n}: no activity in any scan; its map is zero", n) for n in empty)
    usable = np.maximum(totals, 0.0)
    usable[usable.max(axis=1) <= 0] = usable.sum(axis=0)
    sd = _REGION_SD * np.maximum(usable, 1e-3 * usable.max(axis=1, keepdims=True))
    fits = fit_curves(time, usable, sd, physical_rate_per_h=rate)
    guided = fit_amplitudes(time, stack, label, coefficient=fits.coefficient, rate_per_h=fits.rate)
    return guided, f"region-guided: {len(regions)} regions and the remainder, amplitude per voxel", doubts


def _stack(scans: Sequence[Volume]) -> tuple[Float32, tuple[Doubt, ...]]:
    if not scans:
        raise PhysicsError("voxelwise integration: found no scan; expected at least one")
    for number, scan in enumerate(scans, start=1):
        if scan.unit != "MBq_per_mL":
            raise PhysicsError(f"scan {number}: found {scan.unit}; expected MBq_per_mL; calibrate it first")
        if not scan.grid.same_as(scans[0].grid):
            raise PhysicsError(f"scan {number}: found another grid than that of scan 1; register and resample first")
    stack = np.stack([scan.values for scan in scans])
    negative = float(np.minimum(stack, 0.0).sum(dtype=np.float64))
    positive = float(np.maximum(stack, 0.0).sum(dtype=np.float64))
    if -negative > 0.01 * positive:
        share = 100 * -negative / max(positive, 1e-30)
        text = f"negative values amount to {share:.1f} % of the activity; voxels below zero on average are set to 0"
        return stack, (Doubt("voxel-negative", text),)
    return stack, ()


def _check(
    time_h: ArrayLike, activity: NDArray[np.generic], weight: ArrayLike | None
) -> tuple[FloatArray, Float32, FloatArray]:
    time = np.asarray(time_h, dtype=np.float64)
    values = np.ascontiguousarray(activity, dtype=np.float32)
    w = np.ones(time.shape) if weight is None else np.asarray(weight, dtype=np.float64)
    if time.ndim != 1 or values.ndim < 1 or values.shape[0] != time.size or w.shape != time.shape or time.size == 0:
        raise PhysicsError(
            f"voxel fit: found times of shape {time.shape}, activities {values.shape}, weights {w.shape}; "
            "expected one map and one weight for each time"
        )
    if not np.isfinite(time).all() or (time < 0).any() or (np.diff(time) <= 0).any():
        raise PhysicsError(f"voxel fit: found times {time.tolist()} h; expected increasing finite hours ≥ 0")
    if not np.isfinite(w).all() or (w <= 0).any():
        raise PhysicsError("voxel fit: found weights that are not positive and finite; expected 1/sd² of each scan")
    # A sum is finite only if every term is; it needs no map of its own.
    if not np.isfinite(values.sum(dtype=np.float64)):
        raise PhysicsError("voxel fit: found activities that are not a number; expected finite values everywhere")
    return time, values, w


def _summed(coefficient: Float32, rate: Float32, exchange: float) -> Float32:
    """Σ c / (λ + exchange) over components; padding has c = 0."""
    total = np.zeros(coefficient.shape[1:], dtype=np.float32)
    for c, k in zip(coefficient, rate, strict=True):
        part = k + np.float32(exchange)
        np.maximum(part, np.float32(1e-12), out=part)
        np.divide(c, part, out=part)
        total += part
    return total


def _in_parts(function: Callable[[int, int], None], count: int, part: int) -> None:
    """Run a function on ranges of voxels in threads; the compiled code runs without the interpreter's lock."""
    starts = range(0, count, part)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for future in [pool.submit(function, a, min(a + part, count)) for a in starts]:
            future.result()
