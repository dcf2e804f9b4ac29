"""The studies against independent references: they hold, and they fail when a dose goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lutetia.cli.app import app
from lutetia.dose.kernels import voxel_kernel
from lutetia.dose.s_values import organ_s_value, sphere_s_value
from lutetia.nuclear.nuclides import nuclide
from lutetia.validation import energies, monte_carlo, s_values, spheres, voxels
from lutetia.validation.checks import Check
from lutetia.validation.notes import NOTES
from lutetia.validation.reference_data import reference_rows

TABLES = (
    "icrp107_energies",
    "voxel_s_values",
    "voxel_s_values_y90",
    "organ_self_dose",
    "sphere_monte_carlo",
    "dose_monte_carlo",
    "photon_monte_carlo",
    "patient15_monte_carlo",
)


def outside(checks: list[Check]) -> list[str]:
    assert checks
    return [f"{c.name}: {c.value:g} against {c.reference}" for c in checks if not c.holds]


@pytest.mark.parametrize(
    "study",
    [energies.nuclide_study, energies.kernel_energy_study, voxels.voxel_study, s_values.s_value_study,
     voxels.cube_study, spheres.cylinder_study],
    ids=lambda s: s.__name__,
)  # fmt: skip
def test_a_study_holds(study: Any) -> None:
    assert outside(study()) == []


def test_spheres_of_both_nuclides_hold() -> None:
    checks = spheres.sphere_study()
    assert outside(checks) == []
    masses = {c.name for c in checks if "S-value" in c.name}
    for name in ("Lu-177", "Y-90"):
        assert {f"{name} S-value, {m} g" for m in ("0.1", "1", "10", "100", "1000", "6000")} <= masses


def test_photons_of_the_trunk_hold() -> None:
    checks = monte_carlo.photon_study(photons=3_000_000)
    assert outside(checks) == []
    assert {c.name.rsplit(", ")[1] for c in checks} == {"water", "lungs", "spine", "first organ", "second organ"}


@pytest.mark.shared_data
def test_dose_maps_of_the_phantom_hold(shared_data: Path) -> None:
    checks = monte_carlo.patient_study(shared_data / "patient15")
    assert outside(checks) == []
    assert len(checks) == 21


def test_every_study_of_a_reference_says_what_it_compares_with() -> None:
    quick = (energies.nuclide_study, voxels.voxel_study, voxels.cube_study, spheres.cylinder_study)
    assert all(study()[0].study in NOTES for study in quick)
    assert {spheres.SPHERES, monte_carlo.PHOTONS, monte_carlo.PATIENT, s_values.STUDY, energies.KERNELS} <= set(NOTES)


def test_without_the_phantom_the_study_says_that_it_was_not_run(tmp_path: Path) -> None:
    (check,) = monte_carlo.patient_study(tmp_path)
    assert check.verdict == "NOT RUN"
    assert "--patient15" in check.not_run


@pytest.mark.parametrize("name", TABLES)
def test_every_reference_says_its_source_and_is_not_empty(name: str) -> None:
    assert len(reference_rows(name)) >= 6
    text = (Path(s_values.__file__).parent / "data" / f"{name}.csv").read_text(encoding="utf-8")
    head = " ".join(line for line in text.splitlines() if line.startswith("#"))
    assert any(word in head for word in ("ompMC", "ICRP Publication 107", "Lanconelli", "OLINDA"))


def test_an_organ_dose_two_percent_off_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> Any:
        value = organ_s_value(*arguments)
        return replace(value, Gy_per_MBq_h=1.02 * value.Gy_per_MBq_h)

    monkeypatch.setattr(s_values, "organ_s_value", wrong)
    assert outside(s_values.s_value_study())


def test_a_sphere_of_local_deposition_fails_for_yttrium(monkeypatch: pytest.MonkeyPatch) -> None:
    def local(name: str, mass_g: float) -> float:
        return float(sphere_s_value(name, mass_g)) * (1.1 if name == "Y-90" else 1.0)

    monkeypatch.setattr(spheres, "sphere_s_value", local)
    monkeypatch.setattr(spheres, "TRANSPORTED_g", ())
    wrong = outside(spheres.sphere_study())
    assert wrong
    assert all(text.startswith("Y-90") for text in wrong)


def test_a_source_voxel_without_the_conversion_electrons_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published table lacks them: a kernel that agrees with it there is wrong, and the study says so."""

    def poorer(name: str, *arguments: Any, **options: Any) -> Any:
        kernel = voxel_kernel(name, *arguments, **options)
        values = kernel.values.copy()
        values[tuple(n // 2 for n in values.shape)] *= 0.925
        return replace(kernel, values=values)

    monkeypatch.setattr(voxels, "voxel_kernel", poorer)
    assert any("Lu-177" in text and "source voxel" in text for text in outside(voxels.voxel_study()))


def test_the_reference_energy_of_a_ball_that_keeps_all_is_that_of_the_decay() -> None:
    data = nuclide("Lu-177")
    energy, sd = spheres.absorbed_MeV("Lu-177", (1.0, 0.0), (1.0, 0.1))
    assert energy == pytest.approx(data.electron_MeV + data.photon_MeV, rel=1e-4)
    assert 0.0 < sd < 0.1 * data.photon_MeV


def test_the_overlap_of_a_cylinder_with_itself_starts_at_one_and_integrates_to_its_volume() -> None:
    """∫ γ(r) 4π r² dr is the volume of the body; here in balls of equal volume."""
    u = np.linspace(0.0, 3.0, 6001)
    overlap = spheres.cylinder_overlap(u)
    assert overlap[0] == pytest.approx(1.0)
    assert 3.0 * float(np.trapezoid(overlap * u**2, u)) == pytest.approx(1.0, rel=2e-3)


def test_the_dose_of_a_cube_is_the_mean_over_its_voxels() -> None:
    """By brute force over all pairs of voxels."""

    octant = np.random.default_rng(1).random((4, 4, 4))
    points = np.array(list(np.ndindex(3, 3, 3)))
    apart = np.abs(points[:, None] - points[None, :])
    assert voxels.cube_dose(3, octant) == pytest.approx(float(octant[tuple(apart.T)].mean()))


def test_the_command_prints_references_and_says_loudly_what_was_not_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["validate", "s-values", "dose-maps", "--patient15", str(tmp_path)])
    assert result.exit_code == 0
    assert "reference 7.76: −0.19 % (± 1.5 %)" in result.output
    assert "NOT RUN Dose maps of a real anatomy" in result.output
    assert "1 entries were NOT RUN; they prove nothing." in result.output
