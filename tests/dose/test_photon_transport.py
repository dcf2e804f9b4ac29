"""Photon Monte Carlo: energy, determinism, the point kernel in water, an independent code in lung and bone."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import lutetia.validation
from lutetia.core.geometry import axis_aligned_grid
from lutetia.dose.photon_data import (
    BONE_STEPS,
    bone_mass_share,
    material_index,
    material_names,
    photon_table,
    transferred_share,
)
from lutetia.dose.photon_transport import photon_energy
from lutetia.dose.photon_transport_loop import scatter, uniform
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV
from lutetia.dose.spectra import photon_emissions
from lutetia.dose.voxel_dose_kernels import kernel_octant
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide
from lutetia.validation import trunk_phantom as trunk

REFERENCE = Path(lutetia.validation.__file__).parent / "data" / "photon_monte_carlo.csv"
TRUNK = axis_aligned_grid(trunk.SHAPE, (trunk.VOXEL_MM,) * 3)


def point(size: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    activity = np.zeros((size,) * 3, dtype=np.float32)
    activity[(size // 2,) * 3] = 1.0
    return activity, np.ones((size,) * 3, dtype=np.float32)


def water(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, material_names().index("water"), dtype=np.uint8)


@pytest.mark.parametrize(("energy", "published"), [(0.03, 0.1557), (0.06, 0.03190), (0.1, 0.02546), (0.2, 0.02967)])
def test_absorption_of_water_is_the_published_one(energy: float, published: float) -> None:
    """Mass energy-absorption coefficients, cm²/g: NIST tables of X-ray mass attenuation coefficients."""
    table = photon_table(0.5)
    row = table.absorption[material_names().index("water")]
    grid = np.linspace(np.log(table.floor_MeV), np.log(table.top_MeV), row.size)
    assert float(np.interp(np.log(energy), grid, row)) == pytest.approx(published, rel=0.005)


def test_tissue_follows_density() -> None:
    density = np.array([0.0, 0.26, 0.9, 1.05, 1.2, 1.92, 4.0], dtype=np.float32)
    names = [material_names()[n] for n in material_index(density)]
    assert names[:4] == ["lung", "lung", "adipose", "soft"]
    assert names[4].startswith("bone")
    assert names[5] == names[6] == f"bone {BONE_STEPS}/{BONE_STEPS}"
    share = bone_mass_share(np.array([1.06, 1.92], dtype=np.float32))
    np.testing.assert_allclose(share, [0.0, 1.0], atol=1e-6)


def test_scattering_gives_electrons_the_klein_nishina_share() -> None:
    state = np.array([12345], dtype=np.uint64)
    for energy in (0.06, 0.208, 1.0):
        kept = np.array([scatter(energy, state)[0] for _ in range(60_000)]) / energy
        assert 1 - kept.mean() == pytest.approx(float(transferred_share(np.array([energy]))[0]), rel=0.01)


def test_the_random_stream_is_uniform() -> None:
    state = np.array([1], dtype=np.uint64)
    numbers = np.array([uniform(state) for _ in range(100_000)])
    assert 0 < numbers.min() < numbers.max() < 1
    counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 100  # χ² of 49 degrees of freedom: 1e-5


def test_no_photon_energy_is_lost() -> None:
    activity, density = point(21, 10.0)
    found = photon_energy(
        activity, density, axis_aligned_grid((21,) * 3, (10.0,) * 3), nuclide="Lu-177", photons=200_000
    )
    assert float(found.energy_MeV.sum(dtype=np.float64)) + found.escaped_MeV == pytest.approx(
        found.emitted_MeV, rel=0.005
    )
    assert found.photons == 200_000


def test_photons_below_the_floor_stay_where_they_start() -> None:
    activity, density = point(5, 10.0)
    found = photon_energy(
        activity, density, axis_aligned_grid((5,) * 3, (10.0,) * 3),
        nuclide="Lu-177", lines=(np.array([1e-3, 2e-3]), np.array([1.0, 0.5])), photons=3200,
    )  # fmt: skip
    assert found.emitted_MeV == pytest.approx(2e-3)
    assert float(found.energy_MeV[2, 2, 2]) == pytest.approx(2e-3, rel=0.01)


def test_the_same_seed_gives_the_same_map_whatever_the_threads() -> None:
    activity, density = point(15, 10.0)
    grid = axis_aligned_grid((15,) * 3, (10.0,) * 3)
    one, three, other = (
        photon_energy(activity, density, grid, nuclide="Lu-177", photons=32_000, seed=seed, workers=workers)
        for seed, workers in ((5, 1), (5, 3), (6, 2))
    )
    np.testing.assert_array_equal(one.energy_MeV, three.energy_MeV)
    np.testing.assert_array_equal(one.sd_MeV, three.sd_MeV)
    assert one.escaped_MeV == three.escaped_MeV
    assert not np.array_equal(one.energy_MeV, other.energy_MeV)


def test_the_stated_uncertainty_is_the_spread_between_seeds() -> None:
    activity, density = point(15, 10.0)
    grid, labels = axis_aligned_grid((15,) * 3, (10.0,) * 3), np.zeros((15,) * 3, dtype=np.int64)
    labels[7, 7, 7], labels[5:10, 5:10, 2:5] = 1, 2
    runs = [
        photon_energy(activity, density, grid, nuclide="Lu-177", photons=16_000, seed=s, labels=labels)
        for s in range(24)
    ]
    spread = np.std([r.region_MeV for r in runs], axis=0, ddof=1)
    stated = np.sqrt(np.mean([r.region_sd_MeV**2 for r in runs], axis=0))
    np.testing.assert_allclose(stated, spread, rtol=0.45)
    voxel = np.std([r.energy_MeV[7, 7, 7] for r in runs], ddof=1)
    assert float(np.mean([r.sd_MeV[7, 7, 7] for r in runs])) == pytest.approx(voxel, rel=0.45)


@pytest.mark.parametrize("name", ["Lu-177", "I-131"])
def test_in_water_it_is_the_photon_point_kernel(name: str) -> None:
    size, step = 61, 16.0
    activity, density = point(size, step)
    axis = (np.arange(size) - size // 2) * step
    r = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    shell = np.minimum((r / 40).astype(np.int64), 6)
    density *= 1.04
    found = photon_energy(
        activity, density, axis_aligned_grid((size,) * 3, (step,) * 3),
        nuclide=name, photons=1_000_000, material=water(activity.shape), labels=shell,
    )  # fmt: skip
    octant = kernel_octant(name, (step,) * 3, ("photon",), (size // 2 + 1,) * 3)
    whole = np.pad(octant, [(size // 2, 0)] * 3, mode="reflect") * (step**3 / 1000 * 1.04 / GY_G_PER_MBQ_H_MEV)
    expected = np.bincount(shell.ravel(), weights=whole.ravel())
    difference = found.region_MeV[:6] / expected[:6] - 1
    assert np.abs(difference).max() < 0.01 + 3 * float((found.region_sd_MeV / found.region_MeV)[:6].max())


def test_tissues_lung_and_bone_agree_with_an_independent_monte_carlo() -> None:
    lines = (line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    rows = {r["region"]: (float(r["energy_MeV"]), float(r["sd_MeV"])) for r in csv.DictReader(lines)}
    material = material_index(trunk.density())
    material[np.isin(trunk.labels(), (1, 4, 5))] = material_names().index("water")
    energy, number = photon_emissions(nuclide("Lu-177"))
    above = energy > 0.01
    found = photon_energy(
        trunk.activity(), trunk.density(), TRUNK, nuclide="Lu-177", lines=(energy[above], number[above]),
        photons=3_000_000, material=material, labels=trunk.labels(),
    )  # fmt: skip
    for number_of, (name, _, _) in enumerate(trunk.LABELS):
        if name == "air":
            continue
        value, sd = rows[name]
        noise = np.hypot(sd / value, found.region_sd_MeV[number_of] / found.region_MeV[number_of])
        limit = 0.02 if name in ("lungs", "spine") else 0.01
        assert abs(found.region_MeV[number_of] / value - 1) < limit + 2 * noise, name


def test_bad_input_is_refused() -> None:
    activity, density = point(5, 10.0)
    grid = axis_aligned_grid((5,) * 3, (10.0,) * 3)
    for broken, text in ((-activity, "negative"), (activity * np.nan, "not a number"), (activity * 0, "nowhere")):
        with pytest.raises(PhysicsError, match=text):
            photon_energy(broken, density, grid, nuclide="Lu-177")
    with pytest.raises(PhysicsError, match="outside 0 to 5"):
        photon_energy(activity, density * 7, grid, nuclide="Lu-177")
    with pytest.raises(PhysicsError, match="shapes"):
        photon_energy(activity, density[:4], grid, nuclide="Lu-177")
    with pytest.raises(PhysicsError, match="at least 320"):
        photon_energy(activity, density, grid, nuclide="Lu-177", photons=10)
