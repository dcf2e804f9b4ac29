"""Absorbed fractions against Monte Carlo, limits, and other ways of computing them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import lutetia.validation
from lutetia.dose.absorbed_fraction import electron_absorbed_fraction, photon_absorbed_fraction
from lutetia.dose.point_kernels import PHOTON_FLOOR_MeV, point_kernel
from lutetia.dose.shapes import ellipsoid_overlap, organ_overlap, sphere_overlap
from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.nuclides import first_class_nuclides, nuclide
from lutetia.validation.spheres import in_cylinder

REFERENCE = Path(lutetia.validation.__file__).parent / "data" / "dose_monte_carlo.csv"
NUCLIDES = first_class_nuclides()


def monte_carlo(quantity: str) -> list[dict[str, str]]:
    lines = (line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return [row for row in csv.DictReader(lines) if row["quantity"] == quantity]


@pytest.mark.parametrize("name", NUCLIDES)
def test_the_point_kernel_holds_all_the_energy_of_a_decay(name: str) -> None:
    kernel, data = point_kernel(name), nuclide(name)
    electrons = float(kernel.electron_MeV.sum() + kernel.bremsstrahlung_MeV.sum())
    assert electrons == pytest.approx(data.electron_MeV, rel=2e-4)
    assert float(kernel.photon_MeV.sum()) == pytest.approx(data.photon_MeV, rel=2e-4)
    for part in (kernel.electron_MeV, kernel.bremsstrahlung_MeV, kernel.photon_MeV):
        assert (part >= -1e-12).all()


@pytest.mark.parametrize(
    "row", monte_carlo("cylinder_fraction_of_electrons"), ids=lambda r: f"{r['nuclide']} {r['first']} g"
)
def test_electrons_in_a_cylinder_are_those_of_an_independent_monte_carlo(row: dict[str, str]) -> None:
    fraction = in_cylinder(row["nuclide"], "electrons", float(row["first"]))
    assert fraction == pytest.approx(float(row["value"]), rel=0.01)


@pytest.mark.parametrize("row", monte_carlo("cylinder_fraction_of_photons"), ids=lambda r: f"{r['first']} g")
def test_photons_in_a_cylinder_are_those_of_an_independent_monte_carlo(row: dict[str, str]) -> None:
    fraction = in_cylinder(row["nuclide"], "photons", float(row["first"]))
    assert fraction == pytest.approx(float(row["value"]), rel=0.02)


@pytest.mark.parametrize("row", monte_carlo("shell_keV"), ids=lambda r: f"{r['first']}-{r['second']} mm")
def test_bremsstrahlung_field_of_yttrium_90_is_that_of_an_independent_monte_carlo(row: dict[str, str]) -> None:
    kernel = point_kernel("Y-90")
    cumulative = np.concatenate([[0.0], np.cumsum(kernel.bremsstrahlung_MeV)])
    low, high = np.interp([float(row["first"]), float(row["second"])], kernel.edge_mm, cumulative)
    # Monte Carlo bins are rings and slabs put into the shell of their centre: up to 10 % by binning.
    assert 1e3 * (high - low) == pytest.approx(float(row["value"]), rel=0.15)


@pytest.mark.parametrize(("mass_g", "local_over_true"), [(4.0, 1.26), (6.0, 1.22)])
def test_local_deposition_of_yttrium_90_in_small_spheres_is_23_to_28_percent_too_high(
    mass_g: float, local_over_true: float
) -> None:
    fraction = electron_absorbed_fraction("Y-90", mass_g, density_g_per_mL=1.0)
    assert 1 / float(fraction) == pytest.approx(local_over_true, abs=0.015)


@pytest.mark.parametrize(("organ", "mass_g", "excess"), [("kidney", 150.0, 0.07), ("spleen", 150.0, 0.08)])
def test_local_deposition_of_yttrium_90_in_organs_is_too_high_as_known(
    organ: str, mass_g: float, excess: float
) -> None:
    assert 1 / float(electron_absorbed_fraction("Y-90", mass_g, axes_ratio=organ)) - 1 == pytest.approx(
        excess, abs=0.02
    )


@pytest.mark.parametrize("name", NUCLIDES)
def test_absorbed_fractions_rise_with_mass_from_none_to_all(name: str) -> None:
    mass = np.geomspace(1e-4, 4e5, 400)
    for fraction in (electron_absorbed_fraction(name, mass), photon_absorbed_fraction(name, mass)):
        assert (np.diff(fraction) > -1e-12).all()
        assert (fraction >= 0).all()
        assert (fraction <= 1 + 1e-9).all()
    assert float(electron_absorbed_fraction(name, 4e5)) > 0.994


def test_table_of_masses_agrees_with_the_direct_fold() -> None:
    kernel = point_kernel("Y-90")
    for mass in (0.0371, 3.3, 71.0):
        radius_mm = 10 * (3 * mass / (4 * np.pi)) ** (1 / 3)
        fine = np.concatenate([[0.0], np.geomspace(1e-3, 5000.0, 20_000)])
        cumulative = np.concatenate([[0.0], np.cumsum(kernel.electron_MeV + kernel.bremsstrahlung_MeV)])
        deposit = np.diff(np.interp(fine, kernel.edge_mm, cumulative))
        direct = float(sphere_overlap(0.5 * (fine[1:] + fine[:-1]) / radius_mm) @ deposit) / cumulative[-1]
        assert float(electron_absorbed_fraction("Y-90", mass, density_g_per_mL=1.0)) == pytest.approx(direct, rel=2e-4)


def test_an_ellipsoid_with_equal_axes_is_the_sphere_and_longer_ones_absorb_less() -> None:
    sphere = float(electron_absorbed_fraction("Y-90", 20.0))
    assert float(electron_absorbed_fraction("Y-90", 20.0, axes_ratio=(2.0, 2.0, 2.0))) == sphere
    nearly = float(electron_absorbed_fraction("Y-90", 20.0, axes_ratio=(1.0, 1.0, 1.001)))
    assert nearly == pytest.approx(sphere, rel=2e-4)
    order = [float(electron_absorbed_fraction("Y-90", 20.0, axes_ratio=(1.0, 1.0, c))) for c in (1.5, 3.0, 6.0)]
    assert sphere > order[0] > order[1] > order[2]


def test_overlap_of_the_spleen_table_is_that_of_its_ellipsoid() -> None:
    u = np.linspace(0.0, 3.0, 61)
    np.testing.assert_allclose(organ_overlap("spleen")(u), ellipsoid_overlap((3.5, 2.0, 6.0))(u), atol=4e-3)


def test_overlap_integrates_to_the_volume() -> None:
    u = np.linspace(0.0, 6.0, 24_001)
    for overlap in (
        sphere_overlap,
        ellipsoid_overlap((1.0, 2.0, 3.0)),
        organ_overlap("kidney"),
        organ_overlap("liver"),
    ):
        assert np.trapezoid(3 * u**2 * overlap(u), u) == pytest.approx(1.0, rel=0.015)


def test_density_acts_through_mass_times_density_squared_only() -> None:
    dense = electron_absorbed_fraction("Y-90", 10.0, density_g_per_mL=2.0)
    assert float(dense) == pytest.approx(
        float(electron_absorbed_fraction("Y-90", 40.0, density_g_per_mL=1.0)), rel=1e-12
    )


def test_draws_of_the_mass_keep_their_shape() -> None:
    mass = np.full((7, 3), 150.0)
    assert electron_absorbed_fraction("177Lu", mass, axes_ratio="kidney").shape == (7, 3)


@pytest.mark.parametrize("mass", [0.0, -3.0, np.nan, np.inf, 1e9, [10.0, -1.0]])
def test_impossible_masses_are_refused(mass: float | list[float]) -> None:
    with pytest.raises(PhysicsError, match="region mass: found"):
        electron_absorbed_fraction("Lu-177", mass)


def test_impossible_shapes_and_densities_are_refused() -> None:
    with pytest.raises(PhysicsError, match="axes ratio"):
        electron_absorbed_fraction("Lu-177", 1.0, axes_ratio=(1.0, 0.0, 1.0))
    with pytest.raises(UnknownNameError, match="organ shape 'heart'"):
        electron_absorbed_fraction("Lu-177", 1.0, axes_ratio="heart")
    with pytest.raises(PhysicsError, match="density"):
        electron_absorbed_fraction("Lu-177", 1.0, density_g_per_mL=0.0)


def test_photons_below_the_floor_stay_at_the_source() -> None:
    low = sum(e * n for e, n in nuclide("Tb-161").photons if e < PHOTON_FLOOR_MeV)
    assert float(point_kernel("Tb-161").photon_MeV[0]) >= low * (1 - 1e-12)
