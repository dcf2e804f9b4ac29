"""Organ doses from dose maps of a real anatomy against an independent Monte Carlo (ompMC) on the same voxels."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import lutetia.validation
from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV
from lutetia.dose.voxel_dose import voxel_dose
from lutetia.validation import patient_phantom as patient

REFERENCE = Path(lutetia.validation.__file__).parent / "data" / "patient15_monte_carlo.csv"
pytestmark = pytest.mark.shared_data
NAMES = [row[1] for row in patient.REGIONS]


@cache
def expected(nuclide: str) -> dict[str, tuple[float, float]]:
    """MeV per decay and its statistical sd by region: electrons, photons and what starts below 10 keV."""
    lines = (line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    rows = [r for r in csv.DictReader(lines) if r["nuclide"] == nuclide]
    local = sum(float(r["energy_MeV"]) for r in rows if r["region"] == "local")
    decays = np.array([row[2] for row in patient.REGIONS]) / sum(row[2] for row in patient.REGIONS)
    out = {}
    for number, name in enumerate(NAMES):
        parts = [r for r in rows if r["region"] == name]
        energy = sum(float(r["energy_MeV"]) for r in parts) + local * float(decays[number])
        out[name] = energy, float(np.hypot.reduce([float(r["sd_MeV"]) for r in parts]))
    return out


def deviations(folder: Path, nuclide: str, method: str) -> dict[str, float]:
    """Ours over Monte Carlo less 1, by region."""
    folder = folder / "patient15"
    grid = axis_aligned_grid(patient.SHAPE, patient.SPACING_MM)
    activity = Volume(patient.activity(folder) / np.float32(grid.voxel_mL), grid, "MBq_h_per_mL")
    density = patient.density(folder)
    dose = voxel_dose(
        activity, nuclide, density=Volume(density, grid, "g_per_mL"), method=method, photons=1_000_000
    ).dose.values
    energy = np.bincount(patient.labels(folder).ravel(), weights=(dose * density).ravel().astype(np.float64))
    energy *= grid.voxel_mL / GY_G_PER_MBQ_H_MEV
    return {name: energy[n] / expected(nuclide)[name][0] - 1 for n, name in enumerate(NAMES, start=1)}


@pytest.mark.parametrize("method", ["kernel", "monte carlo"])
def test_organ_doses_of_lutetium_agree_with_monte_carlo(shared_data: Path, method: str) -> None:
    found = deviations(shared_data, "Lu-177", method)
    assert max(abs(found[name]) for name in NAMES) < 0.015, found


def test_local_electrons_of_lutetium_serve_organs_but_not_ragged_tumours_drawn_sharply(shared_data: Path) -> None:
    found = deviations(shared_data, "Lu-177", "local electrons")
    assert max(abs(found[name]) for name in NAMES if "tumour" not in name) < 0.02, found
    assert all(0.02 < found[name] < 0.05 for name in NAMES if "tumour" in name), found


@pytest.mark.parametrize("method", ["kernel", "monte carlo"])
def test_organ_doses_of_yttrium_agree_with_monte_carlo(shared_data: Path, method: str) -> None:
    found = deviations(shared_data, "Y-90", method)
    assert max(abs(found[name]) for name in NAMES if "tumour" not in name) < 0.02, found
    assert max(abs(found[name]) for name in NAMES if "tumour" in name) < 0.03, found


def test_local_deposition_of_yttrium_is_far_too_high_in_small_tumours(shared_data: Path) -> None:
    found = deviations(shared_data, "Y-90", "local deposition")
    assert found["left kidney"] > 0.05
    assert found["tumour 1"] > 0.2
