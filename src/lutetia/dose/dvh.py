"""Dose-volume histograms of a region, and the numbers read from them.

The volume is that of the drawn region; partly filled voxels count with their occupancy. Not here: dose maps
(`voxel_dose`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.chain import Doubt
from lutetia.core.numbers import six_digits
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]
BINS = 200


@dataclass(frozen=True, slots=True, eq=False)
class DoseVolumeHistogram:
    """Cumulative histogram of one region: `volume_fraction`[b] of it receives at least `dose_Gy`[b].

    `dose_Gy` rises from 0 to the maximum. D98, D50 and D2 are the least doses to the hottest 98, 50 and 2 % of the
    volume. All doses are in `unit` (Gy, or Gy/h from a dose-rate map).
    """

    region: str
    unit: str
    dose_Gy: FloatArray
    volume_fraction: FloatArray
    volume_mL: float
    mean_Gy: float
    minimum_Gy: float
    maximum_Gy: float
    D98_Gy: float
    D50_Gy: float
    D2_Gy: float
    doubts: tuple[Doubt, ...] = ()


def dose_volume_histogram(
    dose: Volume, region: RegionMask, *, bins: int = BINS, resolution_mm: float | None = None
) -> DoseVolumeHistogram:
    """Cumulative dose-volume histogram of a region.

    V(D) = Σ_v w_v [D_v ≥ D] / Σ_v w_v, with w the occupancies.

    Parameters
    ----------
    dose
        In Gy or Gy/h.
    region
        On the same grid.
    bins
        Number of doses at which the curve is given.
    resolution_mm
        FWHM of the images behind the map; a region smaller than twice of it brings a doubt.

    Raises
    ------
    PhysicsError
        For other units or grids, an empty region, or doses that are not finite.
    """
    if dose.unit not in ("Gy", "Gy_per_h"):
        raise PhysicsError(f"{region.region}: found a map in {dose.unit}; expected Gy or Gy_per_h")
    if not region.grid.same_as(dose.grid):
        raise PhysicsError(f"{region.region}: found another grid than that of the dose map; resample it first")
    if bins < 2:
        raise PhysicsError(f"dose-volume histogram: found {bins} bins; expected at least 2")
    inside = np.asarray(region.mask, dtype=np.float32) > 0
    values = dose.values[inside].astype(np.float64)
    weight = np.asarray(region.mask[inside], dtype=np.float64)
    ordered, share = _descending(values, weight, where=region.region)
    level = np.linspace(0.0, ordered[0], bins)
    # Number of voxels with at least that dose, from the rising order.
    count = ordered.size - np.searchsorted(ordered[::-1], level, side="left")
    fraction = np.concatenate([[0.0], share])[count]
    d98, d50, d2 = (float(_at(ordered, share, x)) for x in (0.98, 0.50, 0.02))
    return DoseVolumeHistogram(
        region=region.region,
        unit="Gy" if dose.unit == "Gy" else "Gy/h",
        dose_Gy=level,
        volume_fraction=fraction,
        volume_mL=region.volume_mL,
        mean_Gy=float(values @ weight / weight.sum()),
        minimum_Gy=float(ordered[-1]),
        maximum_Gy=float(ordered[0]),
        D98_Gy=d98,
        D50_Gy=d50,
        D2_Gy=d2,
        doubts=_doubts(region, resolution_mm),
    )


def dose_volume_csv(histograms: Mapping[str, Sequence[DoseVolumeHistogram]]) -> str:
    """Histograms as CSV text: one row for each region, map (nuclide, or ``sum``) and dose of the curve.

    Columns: region, map, unit, volume_mL, mean, D98, D50, D2, dose, volume_percent.
    """
    lines = ["region,map,unit,volume_mL,mean,D98,D50,D2,dose,volume_percent"]
    for name, found in histograms.items():
        for one in found:
            numbers = (one.volume_mL, one.mean_Gy, one.D98_Gy, one.D50_Gy, one.D2_Gy)
            head = f"{one.region},{name},{one.unit}," + ",".join(f"{six_digits(x):g}" for x in numbers)
            lines += [
                f"{head},{six_digits(float(dose)):g},{six_digits(100.0 * float(share)):g}"
                for dose, share in zip(one.dose_Gy, one.volume_fraction, strict=True)
            ]
    return "\n".join(lines) + "\n"


def dose_at_volume(dose_Gy: ArrayLike, volume_fraction: float, weight: ArrayLike | None = None) -> float:
    """D_x: the least dose in the hottest fraction x of the volume.

    Parameters
    ----------
    dose_Gy, weight
        Shape (voxel,); occupancies, equal if None.
    volume_fraction
        Above 0, at most 1.
    """
    if not 0.0 < volume_fraction <= 1.0:
        raise PhysicsError(f"dose at volume: found a fraction of {volume_fraction}; expected above 0, at most 1")
    values = np.asarray(dose_Gy, dtype=np.float64).ravel()
    ordered, share = _descending(values, _weights(values, weight), where="dose at volume")
    return float(_at(ordered, share, volume_fraction))


def volume_at_dose(dose_Gy: ArrayLike, threshold_Gy: float, weight: ArrayLike | None = None) -> float:
    """V(x): the fraction of the volume that receives at least a dose; arguments as `dose_at_volume`."""
    values = np.asarray(dose_Gy, dtype=np.float64).ravel()
    w = _weights(values, weight)
    _descending(values, w, where="volume at dose")
    return float(w[values >= threshold_Gy].sum() / w.sum())


def _weights(values: FloatArray, weight: ArrayLike | None) -> FloatArray:
    return np.ones_like(values) if weight is None else np.asarray(weight, dtype=np.float64).ravel()


def _descending(values: FloatArray, weight: FloatArray, *, where: str) -> tuple[FloatArray, FloatArray]:
    """Doses from the hottest down, and the share of the volume that has at least that dose."""
    if values.shape != weight.shape or not weight.sum() > 0 or weight.min() < 0:
        raise PhysicsError(f"{where}: found no volume with dose; expected a region with at least one voxel")
    if not (np.isfinite(values).all() and np.isfinite(weight).all()):
        raise PhysicsError(f"{where}: found doses that are not a number; expected finite values in the region")
    order = np.argsort(values)[::-1]
    share = np.cumsum(weight[order])
    return values[order], share / share[-1]


def _at(ordered: FloatArray, share: FloatArray, fraction: float) -> float:
    return float(ordered[min(int(np.searchsorted(share, fraction * (1.0 - 1e-12))), ordered.size - 1)])


def _doubts(region: RegionMask, resolution_mm: float | None) -> tuple[Doubt, ...]:
    if resolution_mm is None:
        return ()
    diameter = 2.0 * (3.0 * region.volume_mL * 1000.0 / (4.0 * np.pi)) ** (1 / 3)
    if diameter >= 2.0 * resolution_mm:
        return ()
    text = (
        f"{region.region}: as large as a ball of {diameter:.0f} mm, imaged with {resolution_mm:g} mm resolution; "
        "its histogram shows the blur of the scanner, not the dose"
    )
    return (Doubt("dvh-smaller-than-resolution", text, region.region),)
