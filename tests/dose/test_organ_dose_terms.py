"""Source terms: S-values follow each draw of the mass; single kidneys, the pair and a solitary kidney."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lutetia.core.chain import KineticFit
from lutetia.core.draws import Estimate, exact, lognormal_factors, stream
from lutetia.dose.organ_dose import kidney_pair, organ_dose
from lutetia.dose.region_s import PatientS
from lutetia.dose.s_values import organ_s_value
from lutetia.dose.source_terms import cross_terms, patient_terms, self_term
from lutetia.errors import PhysicsError

DRAWS = 200
NUCLIDES = ("Lu-177", "Y-90")
GIVEN = {"Lu-177": 3700.0, "Y-90": 3700.0}


def curve(region: str, amplitude_MBq: float, half_life_h: float = 52.0) -> KineticFit:
    coefficient, rate = np.array([amplitude_MBq, 0, 0, 0.0]), np.array([math.log(2) / half_life_h, 0, 0, 0.0])
    return KineticFit(region, "Lu-177", "mono", exact(coefficient, DRAWS), exact(rate, DRAWS), 0.1)


def uncertain(value: float, name: str, relative: float = 0.05) -> Estimate:
    return Estimate(np.asarray(value), value * lognormal_factors(stream(4, name), relative, DRAWS))


def test_the_s_value_follows_every_draw_of_the_mass() -> None:
    mass = uncertain(150.0, "mass")
    term = self_term(curve("left kidney", 90.0), mass, "male", nuclides=NUCLIDES)
    for name in NUCLIDES:
        one_by_one = [
            float(organ_s_value(name, "left kidney", "left kidney", "male", m).Gy_per_MBq_h) for m in mass.draws
        ]
        assert term.s_Gy_per_MBq_h[name].draws == pytest.approx(np.array(one_by_one), rel=1e-12)
    halved = self_term(curve("left kidney", 90.0), exact(75.0, DRAWS), "male", nuclides=NUCLIDES)
    gain = halved.s_Gy_per_MBq_h["Lu-177"].value / term.s_Gy_per_MBq_h["Lu-177"].value
    assert 1.9 < gain < 2.0  # electrons ∝ 1/m, photons weaker


def test_the_pair_as_one_region_agrees_with_two_equal_kidneys() -> None:
    """Absorbed fractions come from each single kidney's mass."""
    single = exact(146.0, DRAWS)
    kidneys = [
        organ_dose(r, [self_term(curve(r, 90.0), single, "female", nuclides=NUCLIDES)], GIVEN, mass_g=single)
        for r in ("left kidney", "right kidney")
    ]
    pair = kidney_pair(*kidneys, mass_left_g=single, mass_right_g=single)
    whole = exact(292.0, DRAWS)
    together = organ_dose("kidneys", [self_term(curve("kidneys", 180.0), whole, "female", nuclides=NUCLIDES)], GIVEN)
    for a, b in zip(pair.nuclides, together.nuclides, strict=True):
        assert a.absorbed_dose_Gy.value == pytest.approx(b.absorbed_dose_Gy.value, rel=5e-3)
    alone = self_term(curve("kidneys", 180.0), whole, "female", nuclides=NUCLIDES, kidneys_present=1)
    one_body = organ_dose("kidneys", [alone], GIVEN)
    yttrium = [o.nuclides[1].absorbed_dose_Gy.value for o in (one_body, together)]
    assert yttrium[0] > 1.01 * yttrium[1]
    assert "single kidney" in one_body.method


def test_the_yttrium_to_lutetium_ratio_of_kidneys_is_in_the_published_range() -> None:
    mass = exact(292.0, DRAWS)
    dose = organ_dose("kidneys", [self_term(curve("kidneys", 180.0), mass, "male", nuclides=NUCLIDES)], GIVEN)
    lu, y = (float(n.absorbed_dose_Gy.value) for n in dose.nuclides)
    assert 3.6 <= y / lu <= 4.6


def test_cross_dose_of_neighbours_is_named_and_small() -> None:
    target, others = (
        curve("left kidney", 90.0),
        [curve("liver", 500.0), curve("spleen", 150.0), curve("tumour 1", 20.0)],
    )
    terms = cross_terms("left kidney", [target, *others], "male", nuclides=NUCLIDES)
    assert [t.source for t in terms] == ["liver", "spleen"]
    own = self_term(target, exact(150.0, DRAWS), "male", nuclides=NUCLIDES)
    alone, both = (organ_dose("left kidney", s, GIVEN) for s in ([own], [own, *terms]))
    gained = both.nuclides[0].absorbed_dose_Gy.value / alone.nuclides[0].absorbed_dose_Gy.value - 1
    assert 0.002 < gained < 0.08
    assert "cross-dose from liver, spleen" in both.method


def test_patient_s_values_are_moved_to_each_mass_and_cross_terms_kept() -> None:
    mass = uncertain(150.0, "mass")
    values = np.array([[6e-4, 2e-7], [2e-7, 5e-5]])
    patient = {
        n: PatientS(("left kidney", "liver"), n, values * f, np.array([150.0, 1700.0]), "test matrix", np.eye(2))
        for n, f in (("Lu-177", 1.0), ("Y-90", 6.0))
    }
    fits = [curve("liver", 500.0), curve("left kidney", 90.0), curve("tumour 1", 5.0)]
    own, liver = patient_terms("left kidney", fits, patient, mass, "male")
    assert (own.source, liver.source) == ("left kidney", "liver")
    assert own.s_Gy_per_MBq_h["Lu-177"].value == pytest.approx(6e-4)
    assert liver.s_Gy_per_MBq_h["Y-90"].value == pytest.approx(1.2e-6)
    assert np.corrcoef(own.s_Gy_per_MBq_h["Lu-177"].draws, 1 / mass.draws)[0, 1] > 0.999


def test_a_tumour_drawn_inside_the_liver_is_not_counted_twice() -> None:
    """Its activity is in the liver's curve too; a neighbour that only touches stays a source."""
    regions = ("liver", "tumour 1", "spleen")
    shared = np.array([[1.0, 0.97, 0.01], [0.97, 1.0, 0.0], [0.01, 0.0, 1.0]])
    values = np.array([[5e-5, 4e-5, 1e-7], [4e-5, 1e-2, 1e-7], [1e-7, 1e-7, 5e-4]])
    drawn = {n: PatientS(regions, n, values, np.array([1700.0, 8.0, 180.0]), "test", shared) for n in NUCLIDES}
    fits = [curve(r, 100.0) for r in regions]
    sources = {t: [s.source for s in patient_terms(t, fits, drawn, exact(m, DRAWS), "male")]
               for t, m in (("liver", 1700.0), ("tumour 1", 8.0), ("spleen", 180.0))}  # fmt: skip
    assert sources == {
        "liver": ["liver", "spleen"],
        "tumour 1": ["tumour 1", "spleen"],
        "spleen": ["spleen", "liver"],
    }


def test_the_pair_beside_single_kidneys_is_no_source_of_cross_dose() -> None:
    fits = [curve(r, 90.0) for r in ("liver", "kidneys", "left kidney", "right kidney")]
    terms = cross_terms("liver", fits, "female", nuclides=NUCLIDES)
    assert [t.source for t in terms] == ["left kidney", "right kidney"]


def test_a_shared_s_factor_multiplies_draws_only() -> None:
    factor = uncertain(1.0, "S")
    fit, mass = curve("spleen", 100.0), exact(180.0, DRAWS)
    plain = self_term(fit, mass, "female", nuclides=NUCLIDES)
    spread = self_term(fit, mass, "female", nuclides=NUCLIDES, s_factor=factor)
    for name in NUCLIDES:
        assert spread.s_Gy_per_MBq_h[name].value == plain.s_Gy_per_MBq_h[name].value
        assert spread.s_Gy_per_MBq_h[name].draws == pytest.approx(plain.s_Gy_per_MBq_h[name].draws * factor.draws)


def test_three_kidneys_and_targets_without_curve_are_refused() -> None:
    with pytest.raises(PhysicsError, match="expected 1 or 2"):
        self_term(curve("kidneys", 1.0), exact(1.0, DRAWS), "male", nuclides=NUCLIDES, kidneys_present=3)
    patient = {"Lu-177": PatientS(("liver",), "Lu-177", np.ones((1, 1)), np.ones(1), "test", np.ones((1, 1)))}
    with pytest.raises(PhysicsError, match="no curve of the region itself"):
        patient_terms("spleen", [replace(curve("liver", 1.0))], patient, exact(1.0, DRAWS), "male")
