"""A real patient's anatomy for tests: the licensed voxel phantom patient15, with kinetics that we choose.

Labels and attenuation come from the CT of a woman treated with 177Lu-DOTATATE; the activities of the regions are those
of the phantom's authors, taken as 24 h after administration. Kinetics, blood and the rest of the body are ours.
The subject *is* the labels resampled to cubes of 2.2098 mm (half a slice); its true doses follow from published voxel
S values (90Y) and a photon point kernel (177Lu), not from `lutetia.dose`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, binary_closing, binary_fill_holes, label
from scipy.signal import fftconvolve

from lutetia.core.draws import stream
from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.regions import density_g_per_mL
from lutetia.core.volume import RegionMask, Volume
from lutetia.nuclear.nuclides import nuclide
from lutetia.phantom.biology import Biology, biological_rate_per_h, washout
from lutetia.phantom.shapes import Motion
from lutetia.phantom.subject import Body, Subject
from lutetia.phantom.truth import (
    BUILD_UP_D,
    DECAYS_PER_MBQ_H,
    ELECTRON_MOMENTS,
    GY_G_PER_MEV,
    PHOTONS,
    TrueDose,
    absorbed_within,
    build_up_c,
    kidney_pair,
    true_marrow_dose,
)

Float32 = NDArray[np.float32]
SHAPE, SPACING = (90, 70, 108), (4.4196, 3.9063, 3.9063)  # z, y, x as stored; z runs to the feet, y to the front
CUBE_MM = 4.4196 / 2
REFERENCE_H, GIVEN_MBQ = 24.0, 3700.0
# label, region, MBq at the reference time (authors), effective half-life of 177Lu (ours)
LABELS: tuple[tuple[int, str, float, float], ...] = (
    (15000, "liver", 104.0, 66.0),
    (16000, "spleen", 34.2, 67.0),
    (17000, "left kidney", 31.2, 53.0),
    (18000, "right kidney", 37.2, 51.0),
    (19000, "tumour 1", 15.4, 88.0),
    (20000, "tumour 2", 8.2, 80.0),
    (21000, "tumour 3", 4.8, 92.0),
)
VOXEL_S = Path(__file__).parents[1] / "reference" / "voxel_s_values_y90_2.21mm.csv"
KERNEL_DENSITY, KERNEL_MM = 1.04, 2.21


@dataclass(frozen=True, eq=False)
class Patient15:
    """Labels (0: none, n: nth region of `LABELS`) and density on cubes, head first; an `Anatomy`."""

    labels: NDArray[np.int16]
    density: Float32
    grid: Grid

    @property
    def subject(self) -> Subject:
        """Identity, blood and whole body (as the remainder of a subject without ellipsoids)."""
        rates = tuple(biological_rate_per_h(t) for t in (2.4, 14.0, 60.0))
        whole = Biology((0.70, 0.20, 0.10), rates)
        blood = Biology((8.5e-5, 1.1e-5, 8.0e-7), tuple(biological_rate_per_h(t) for t in (0.75, 5.0, 42.0)))
        return Subject("patient15", "female", 58.0, 165.0, 68.0, 0.38, Body(200.0, 130.0, 65e3, whole), (), blood)

    @property
    def biology(self) -> dict[str, Biology]:
        """True kinetics of each region; at 24 h and `GIVEN_MBQ` they give the authors' activities."""
        out = {}
        for _, region, activity, half_life_h in LABELS:
            shape = washout(1.0, half_life_h, uptake_half_time_h=0.6)
            unit = float(shape.activity_MBq(REFERENCE_H, "Lu-177", GIVEN_MBQ))
            out[region] = shape.scaled(activity / unit)
        return out

    @cached_property
    def volume_mL(self) -> dict[str, float]:
        """True volume of each region."""
        counts = np.bincount(self.labels.ravel(), minlength=len(LABELS) + 1)
        return {row[1]: float(counts[n]) * self.grid.voxel_mL for n, row in enumerate(LABELS, start=1)}

    def concentration(self, per_region: dict[str, float], other: float) -> Float32:
        """Amount per mL on the cubes: each region's amount, and a constant in the other tissue of the body."""
        table = np.array([other, *(per_region[r] / self.volume_mL[r] for _, r, _, _ in LABELS)], dtype=np.float32)
        return np.where(self.body | (self.labels > 0), table[self.labels], np.float32(0.0))

    @cached_property
    def body(self) -> NDArray[np.bool_]:
        """Inside of the skin, lungs included, without the couch."""
        parts, count = label(self.density > 0.3)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        sizes[0] = 0
        largest = binary_closing(parts == sizes.argmax(), iterations=2)
        return np.asarray([binary_fill_holes(plane) for plane in largest])

    def activity(self, grid: Grid, motion: Motion, *, time_h: float, administered_MBq: float) -> Volume:
        """Concentration of 177Lu on any grid; the rest of the body holds what the whole body has beyond the regions."""
        parts = {r: float(b.activity_MBq(time_h, "Lu-177", administered_MBq)) for r, b in self.biology.items()}
        whole = float(self.subject.body.remainder.activity_MBq(time_h, "Lu-177", administered_MBq))
        other = max(whole - sum(parts.values()), 0.0) / 62e3  # mL of the rest of the body
        return Volume(self._on(self.concentration(parts, other), grid, motion, sub=2), grid, "MBq_per_mL")

    def ct(self, grid: Grid, motion: Motion, *, seed: int) -> Volume:
        """HU from the attenuation volume (density × 1000), with noise; outside of it air."""
        slope = np.where(self.density > 1.0, 1.0 / 0.00061, 1000.0)
        hounsfield = np.clip((self.density - 1.0) * slope, -1000.0, 2000.0).astype(np.float32)
        values = self._on(hounsfield, grid, motion, sub=1, outside=-1000.0)
        return Volume(values + 9.0 * stream(seed, "patient15 ct").standard_normal(grid.shape), grid, "HU")

    def masks(self, grid: Grid, motion: Motion) -> list[RegionMask]:
        """Occupancy of each region."""
        sub = 2 if max(grid.spacing_mm) > 1.5 * CUBE_MM else 1
        return [
            RegionMask(row[1], self._on((self.labels == n).astype(np.float32), grid, motion, sub=sub), grid)
            for n, row in enumerate(LABELS, start=1)
        ]

    def _on(self, values: Float32, grid: Grid, motion: Motion, *, sub: int, outside: float = 0.0) -> Float32:
        """Linear interpolation, averaged over sub³ points a voxel."""
        to_own = np.linalg.inv(self.grid.affine) @ np.linalg.inv(motion.matrix) @ grid.affine
        total = np.zeros(grid.shape, dtype=np.float32)
        steps = (np.arange(sub) + 0.5) / sub - 0.5
        for shift in product(steps, repeat=3):
            offset = to_own[:3, 3] + to_own[:3, :3] @ np.array(shift)
            total += affine_transform(
                values, to_own[:3, :3], offset, output_shape=grid.shape, order=1, mode="constant", cval=outside
            )
        return total / sub**3

    def doses(self, nuclide_name: str, administered_MBq: float) -> list[TrueDose]:
        """Mean dose of each region from all of them and the rest of the body, the kidney pair and the marrow."""
        own = {r: b.time_integrated_activity_MBq_h(nuclide_name, administered_MBq) for r, b in self.biology.items()}
        whole = self.subject.body.remainder.time_integrated_activity_MBq_h(nuclide_name, administered_MBq)
        rest = (whole - sum(own.values())) / 62e3
        energy = self.energy_MeV(self.concentration(own, rest) * np.float32(self.grid.voxel_mL), nuclide_name)
        rows = []
        for n, (_, region, _, _) in enumerate(LABELS, start=1):
            mass = self.volume_mL[region] * density_g_per_mL(region)
            total = float(energy[self.labels == n].sum(dtype=np.float64)) * DECAYS_PER_MBQ_H * GY_G_PER_MEV / mass
            rows.append(TrueDose(region, nuclide_name, mass, own[region], total, 0.0))
        return [*rows, kidney_pair(rows), true_marrow_dose(self.subject, nuclide_name, administered_MBq)]

    def energy_MeV(self, activity_MBq_h: Float32, nuclide_name: str) -> Float32:
        """Energy absorbed in each cube per (decay per MBq·h): by voxel kernel and photon point kernel."""
        share = ELECTRON_MOMENTS[nuclide_name][0] / ELECTRON_MOMENTS["Y-90"][0]
        spread = fftconvolve(activity_MBq_h, electron_kernel(), mode="same")
        electrons = (1.0 - share) * activity_MBq_h + share * spread
        absorbed = nuclide(nuclide_name).electron_MeV * electrons
        return np.asarray(absorbed + self._photons(activity_MBq_h, nuclide_name), dtype=np.float32)

    def _photons(self, activity: Float32, nuclide_name: str) -> Float32:
        """Photon energy on blocks of 2 × 2 × 2 cubes, spread evenly over them."""
        if not PHOTONS[nuclide_name]:
            return np.zeros_like(activity)
        even = tuple(n + n % 2 for n in activity.shape)
        padded = np.pad(activity, [(0, e - n) for e, n in zip(even, activity.shape, strict=True)])
        k, j, i = (n // 2 for n in even)
        coarse = padded.reshape(k, 2, j, 2, i, 2).sum(axis=(1, 3, 5))
        energy = fftconvolve(coarse, photon_kernel(nuclide_name, 2 * CUBE_MM, 50), mode="same")
        fine = energy.repeat(2, 0).repeat(2, 1).repeat(2, 2) / 8.0
        return np.asarray(fine[tuple(slice(n) for n in activity.shape)])


def electron_kernel() -> Float32:
    """Share of the electron energy of 90Y by voxel, 11³ cubes, normalised to 1."""
    kernel = np.zeros((11, 11, 11))
    with VOXEL_S.open(encoding="utf-8") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            place = int(row["a"]), int(row["b"]), int(row["c"])
            for offset in set(permutations(place)):
                for sign in product((-1, 1), repeat=3):
                    kernel[tuple(5 + s * o for s, o in zip(sign, offset, strict=True))] = float(row["s"])
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def photon_kernel(nuclide_name: str, spacing_mm: float, half: int) -> Float32:
    """Photon energy (MeV per decay) absorbed in each voxel around a source voxel, in water."""
    axis = np.arange(-half, half + 1) * spacing_mm
    r = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    r[half, half, half] = 1.0
    total = np.zeros(r.shape)
    for line in PHOTONS[nuclide_name]:
        x = line.attenuation_per_mm * r
        build_up = 1.0 + build_up_c(line) * x * np.exp(BUILD_UP_D * x)
        part = line.absorption_per_mm * np.exp(-x) * build_up / (4.0 * np.pi * r**2) * spacing_mm**3
        # mean over a voxel of its own photons: chord of a ball of equal volume
        part[half, half, half] = absorbed_within(np.array(0.75 * spacing_mm * (3 / (4 * np.pi)) ** (1 / 3)), line)
        total += line.energy_MeV_per_decay * part
    return np.asarray(total, dtype=np.float32)


def read_patient15(folder: Path) -> Patient15:
    """Read labels and attenuation (uint16, little endian) and bring them to head-first cubes."""
    source, attenuation = (
        np.fromfile(folder / f"patient15_LuDOTATATE_{name}.i33", dtype="<u2").reshape(SHAPE)[::-1, ::-1, :]
        for name in ("src", "attn")
    )
    index = [
        np.minimum(((np.arange(round(n * s / CUBE_MM)) + 0.5) * CUBE_MM / s).astype(int), n - 1)
        for n, s in zip(SHAPE, SPACING, strict=True)
    ]
    labels = np.zeros(SHAPE, dtype=np.int16)
    for number, (value, *_) in enumerate(LABELS, start=1):
        labels[source == value] = number
    pick = np.ix_(*index)
    grid_shape = (len(index[0]), len(index[1]), len(index[2]))
    z, y, x = (-(n - 1) / 2 * CUBE_MM for n in grid_shape)
    grid = axis_aligned_grid(grid_shape, (CUBE_MM,) * 3, origin_mm=(x, y, z))
    return Patient15(labels[pick], (attenuation[pick] / 1000.0).astype(np.float32), grid)
