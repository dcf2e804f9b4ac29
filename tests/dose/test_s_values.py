"""S-values of spheres and reference organs against published ones, and how they scale."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import lutetia.validation
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV
from lutetia.dose.s_values import organ_s_value, reference_mass_g, sphere_s_value
from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.nuclides import nuclide

REFERENCE = Path(lutetia.validation.__file__).parent / "data" / "organ_self_dose.csv"
MGY_PER_MBQ_S = 1 / 3.6


def published() -> list[dict[str, str]]:
    lines = (line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return list(csv.DictReader(lines))


@pytest.mark.parametrize("row", published(), ids=lambda r: f"{r['sex']} {r['organ']}")
@pytest.mark.parametrize("source", ["olinda", "opendose"])
def test_self_dose_of_reference_organs_is_the_published_one_within_one_percent(
    row: dict[str, str], source: str
) -> None:
    organ = row["organ"].lower()
    found = organ_s_value(row["nuclide"], organ, organ, row["sex"])
    assert float(found.Gy_per_MBq_h) * MGY_PER_MBQ_S == pytest.approx(float(row[source]), rel=0.01)
    assert float(row["mass_g"]) == reference_mass_g(organ, row["sex"])


def test_large_spheres_take_all_the_energy_over_their_mass() -> None:
    data = nuclide("Lu-177")
    whole = GY_G_PER_MBQ_H_MEV * (data.electron_MeV + data.photon_MeV) / 4e5
    local = GY_G_PER_MBQ_H_MEV * data.electron_MeV / 4e5
    assert local < float(sphere_s_value("Lu-177", 4e5)) <= whole * (1 + 1e-9)
    assert float(sphere_s_value("Y-90", 4e5)) == pytest.approx(
        GY_G_PER_MBQ_H_MEV * nuclide("Y-90").electron_MeV / 4e5, rel=7e-3
    )


@pytest.mark.parametrize("name", ["Lu-177", "Y-90", "I-131"])
def test_s_values_of_spheres_fall_with_mass(name: str) -> None:
    value = sphere_s_value(name, np.geomspace(0.01, 6000.0, 300))
    assert (np.diff(value) < 0).all()


def test_the_unit_is_gray_per_megabecquerel_hour() -> None:
    assert pytest.approx(0.57678, rel=1e-4) == GY_G_PER_MBQ_H_MEV


def test_kidneys_take_the_absorbed_fraction_of_each_single_kidney() -> None:
    pair = float(organ_s_value("Y-90", "kidneys", "kidneys", "male", 300.0).Gy_per_MBq_h)
    single = float(organ_s_value("Y-90", "left kidney", "left kidney", "male", 150.0).Gy_per_MBq_h)
    between = float(organ_s_value("Y-90", "left kidney", "right kidney", "male").Gy_per_MBq_h)
    assert pair == pytest.approx(0.5 * (single + between), rel=1e-9)
    assert between < 0.002 * single


def test_unequal_kidneys_may_be_given_one_by_one() -> None:
    equal = organ_s_value("Y-90", "kidneys", "kidneys", "male", single_kidneys_g=(150.0, 150.0)).Gy_per_MBq_h
    unequal = organ_s_value("Y-90", "kidneys", "kidneys", "male", single_kidneys_g=(50.0, 250.0)).Gy_per_MBq_h
    assert float(equal) == pytest.approx(
        float(organ_s_value("Y-90", "kidneys", "kidneys", "male", 300.0).Gy_per_MBq_h), rel=1e-12
    )
    assert float(unequal) == pytest.approx(float(equal), rel=0.02)
    with pytest.raises(PhysicsError, match="give one of them"):
        organ_s_value("Y-90", "kidneys", "kidneys", "male", 300.0, single_kidneys_g=(150.0, 150.0))
    with pytest.raises(PhysicsError, match="belong to kidneys"):
        organ_s_value("Y-90", "liver", "liver", "male", single_kidneys_g=(150.0, 150.0))


def test_self_dose_follows_the_mass_nearly_inversely_for_electrons() -> None:
    light, heavy = (float(organ_s_value("Lu-177", "spleen", "spleen", "male", m).Gy_per_MBq_h) for m in (100.0, 200.0))
    assert 1.90 < light / heavy < 2.0


def test_draws_of_the_mass_give_draws_of_the_s_value() -> None:
    mass = np.array([[250.0, 290.0], [310.0, 330.0]])
    assert organ_s_value("177Lu", "Kidney", "kidneys", "female", mass).Gy_per_MBq_h.shape == (2, 2)


def test_dose_between_organs_is_the_same_both_ways_and_small() -> None:
    there = organ_s_value("Lu-177", "liver", "kidneys", "female")
    back = organ_s_value("Lu-177", "kidneys", "liver", "female")
    assert there.method == back.method == "photon point kernel between stylised organs"
    assert float(there.Gy_per_MBq_h) == pytest.approx(float(back.Gy_per_MBq_h), rel=1e-12)
    own = float(organ_s_value("Lu-177", "kidneys", "kidneys", "female").Gy_per_MBq_h)
    assert 1e-4 * own < float(there.Gy_per_MBq_h) < 1e-2 * own


def test_the_right_kidney_is_nearer_to_the_liver_and_the_left_to_the_spleen() -> None:
    def value(source: str, target: str) -> float:
        return float(organ_s_value("Lu-177", source, target, "male").Gy_per_MBq_h)

    assert value("liver", "right kidney") > value("liver", "left kidney")
    assert value("spleen", "left kidney") > value("spleen", "right kidney")


def test_red_marrow_is_the_published_value_scaled_by_mass() -> None:
    reference = organ_s_value("Lu-177", "red marrow", "red marrow", "male")
    assert float(reference.Gy_per_MBq_h) * MGY_PER_MBQ_S == pytest.approx(1.15e-5, rel=1e-9)
    heavier = organ_s_value("Lu-177", "red marrow", "red marrow", "male", 2340.0)
    assert float(heavier.Gy_per_MBq_h) * MGY_PER_MBQ_S == pytest.approx(0.575e-5, rel=1e-9)
    assert "published" in reference.method


def test_tumours_are_spheres_of_their_own_mass() -> None:
    found = organ_s_value("Y-90", "Lesion 2", "tumour 2", "female", 12.0)
    assert float(found.Gy_per_MBq_h) == pytest.approx(float(sphere_s_value("Y-90", 12.0, density_g_per_mL=1.05)))
    with pytest.raises(PhysicsError, match="tumour 2: found no mass"):
        organ_s_value("Y-90", "tumour 2", "tumour 2", "female")


@pytest.mark.parametrize(
    ("source", "target"), [("tumour 1", "red marrow"), ("kidneys", "left kidney"), ("whole body", "liver")]
)
def test_pairs_without_an_s_value_are_refused_with_a_list_of_what_exists(source: str, target: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown S-value"):
        organ_s_value("Lu-177", source, target, "male")


def test_unknown_sex_nuclide_and_marrow_nuclide_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown sex 'other'"):
        organ_s_value("Lu-177", "liver", "liver", "other")
    with pytest.raises(UnknownNameError, match="unknown nuclide"):
        organ_s_value("Xx-1", "liver", "liver", "male")
    with pytest.raises(UnknownNameError, match="red marrow"):
        organ_s_value("I-131", "red marrow", "red marrow", "male")


def test_whole_body_self_dose_lies_between_electrons_alone_and_everything() -> None:
    data, mass = nuclide("Lu-177"), reference_mass_g("whole body", "male")
    found = float(organ_s_value("Lu-177", "whole body", "whole body", "male").Gy_per_MBq_h) * mass / GY_G_PER_MBQ_H_MEV
    assert 0.99 * data.electron_MeV < found < data.electron_MeV + data.photon_MeV
