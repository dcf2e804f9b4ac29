"""Red marrow: hand-worked doses of both methods, the remainder and its bound, named choices only."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutetia.core.draws import Estimate, exact
from lutetia.dose.marrow import (
    MarrowSource,
    blood_method,
    compare_methods,
    image_method,
    remainder_MBq_h,
    whole_body_bound_MBq_h,
)
from lutetia.dose.marrow_model import (
    MarrowFactors,
    marrow_factors,
    marrow_model,
    marrow_table,
    red_marrow_to_blood_ratio,
)
from lutetia.errors import PhysicsError, UnknownNameError

DRAWS = 5
ONE = exact(1.0, DRAWS)
SURE = MarrowFactors(ONE, ONE, ONE, ONE)


def source(nuclide: str = "Lu-177", **changes: object) -> MarrowSource:
    lu = MarrowSource(
        nuclide=nuclide,
        basis="measured",
        administered_MBq=3700.0,
        concentration_MBq_h_per_mL=exact(3.0, DRAWS),
        whole_body_MBq_h=exact(150_000.0, DRAWS),
        organs_MBq_h={"kidneys": exact(7000.0, DRAWS), "liver": exact(12_000.0, DRAWS)},
    )
    return replace(lu, **changes)


@pytest.mark.parametrize(
    ("nuclide", "sex", "self_mGy", "mass_g"),
    [("Lu-177", "male", 1.15e-5, 1170), ("Lu-177", "female", 1.49e-5, 900),
     ("Y-90", "male", 5.61e-5, 1170), ("Y-90", "female", 7.30e-5, 900)],
)  # fmt: skip
def test_self_dose_from_blood_by_hand(nuclide: str, sex: str, self_mGy: float, mass_g: float) -> None:
    alone = source(nuclide, organs_MBq_h={})
    dose = blood_method([alone], sex, SURE)
    # mGy/(MBq·s) × 1e-3 Gy/mGy × 3600 s/h
    expected = 3.0 / 1.06 * mass_g * self_mGy * 1e-3 * 3600.0
    assert dose.terms_Gy[nuclide]["self"].value == pytest.approx(expected, rel=1e-12)


def test_blood_remainder_and_organs_add_up_by_hand() -> None:
    dose = blood_method([source()], "male", SURE, cross_Gy_per_MBq_h={"Lu-177": {"kidneys": 4e-7, "liver": 2e-7}})
    marrow = 3.0 / 1.06 * 1170.0
    rest = 150_000.0 - 7000.0 - 12_000.0 - marrow
    expected = marrow * 1.15e-5 * 3.6 + rest * 9.3079e-8 * 3.6 + 7000.0 * 4e-7 + 12_000.0 * 2e-7
    assert dose.dose.absorbed_dose_Gy.value == pytest.approx(expected, rel=1e-9)
    assert dose.upper is None
    assert dose.for_limit is dose.dose
    assert dose.dose.bed_Gy is None
    assert (dose.dose.region, dose.dose.method) == ("red marrow", "blood")
    assert "remainder from whole body" in dose.dose.nuclides[0].method


def test_an_organ_without_cross_s_value_stays_in_the_remainder() -> None:
    dose = blood_method([source()], "male", SURE, cross_Gy_per_MBq_h={"Lu-177": {"kidneys": 4e-7}})
    marrow = 3.0 / 1.06 * 1170.0
    expected = (150_000.0 - 7000.0 - marrow) * 9.3079e-8 * 3.6
    assert dose.terms_Gy["Lu-177"]["remainder"].value == pytest.approx(expected, rel=1e-9)
    assert any(d.code == "marrow-organ-in-remainder" and "liver" in d.message for d in dose.dose.doubts)


def test_without_whole_body_the_remainder_is_left_out_and_its_bound_is_what_limits_see() -> None:
    dose = blood_method([source(whole_body_MBq_h=None, organs_MBq_h={})], "female", SURE)
    marrow = 3.0 / 1.06 * 900.0
    bound = 3700.0 * 159.528 / math.log(2.0)
    assert "remainder" not in dose.terms_Gy["Lu-177"]
    assert dose.dose.absorbed_dose_Gy.value == pytest.approx(marrow * 1.49e-5 * 3.6, rel=1e-9)
    expected = marrow * 1.49e-5 * 3.6 + (bound - marrow) * 1.0609e-7 * 3.6
    assert dose.for_limit.absorbed_dose_Gy.value == pytest.approx(expected, rel=1e-6)
    assert dose.for_limit is dose.upper
    assert "not included" in dose.dose.nuclides[0].method
    assert "bound" in dose.for_limit.nuclides[0].method
    warning = next(d for d in dose.dose.doubts if d.code == "marrow-remainder-bound")
    assert warning.severity == "first-line"
    assert warning in dose.for_limit.doubts


@settings(max_examples=40, deadline=None)
@given(whole=st.floats(1.0, 8e5), kidneys=st.floats(0.0, 5e4), blood=st.floats(0.0, 30.0))
def test_no_measured_whole_body_curve_within_decay_passes_the_bound(whole: float, kidneys: float, blood: float) -> None:
    bound = float(whole_body_bound_MBq_h(3700.0, "Lu-177"))
    parts = {"organs_MBq_h": {"kidneys": exact(kidneys, DRAWS)}, "concentration_MBq_h_per_mL": exact(blood, DRAWS)}
    cross = {"Lu-177": {"kidneys": 4e-7}}
    measured = source(whole_body_MBq_h=exact(min(whole, bound), DRAWS), **parts)
    unknown = blood_method([replace(measured, whole_body_MBq_h=None)], "male", SURE, cross_Gy_per_MBq_h=cross)
    known = blood_method([measured], "male", SURE, cross_Gy_per_MBq_h=cross)
    assert unknown.dose.absorbed_dose_Gy.value <= known.dose.absorbed_dose_Gy.value * (1 + 1e-12)
    assert known.dose.absorbed_dose_Gy.value <= unknown.for_limit.absorbed_dose_Gy.value * (1 + 1e-12)


def test_a_haematocrit_alone_never_changes_the_ratio() -> None:
    """Known failure mode: the ratio switched silently between 1 and 0.19/(1 − Hct)."""
    assert red_marrow_to_blood_ratio().value == 1.0
    assert red_marrow_to_blood_ratio("unity", hematocrit=0.38).value == 1.0
    sgouros = red_marrow_to_blood_ratio("sgouros", hematocrit=0.38)
    assert sgouros.value == pytest.approx(0.19 / 0.62)
    dose = blood_method([source()], "male", SURE, ratio=sgouros)
    assert "RMBLR = 0.19/(1 − 0.38)" in dose.dose.nuclides[0].method
    plain = blood_method([source()], "male", SURE)
    assert "RMBLR = 1" in plain.dose.nuclides[0].method
    share = dose.terms_Gy["Lu-177"]["self"].value / plain.terms_Gy["Lu-177"]["self"].value
    assert share == pytest.approx(0.19 / 0.62)


@pytest.mark.parametrize("hematocrit", [None, 38.0, 0.0])
def test_the_sgouros_ratio_refuses_a_missing_or_percent_haematocrit(hematocrit: float | None) -> None:
    with pytest.raises(PhysicsError, match=r"0\.38, not 38"):
        red_marrow_to_blood_ratio("sgouros", hematocrit=hematocrit)


def test_image_method_by_hand_and_its_distance_from_blood() -> None:
    vertebra = source(concentration_MBq_h_per_mL=exact(6.0, DRAWS), organs_MBq_h={})
    image = image_method([vertebra], "male", SURE)
    expected = 6.0 / (0.78 * 0.60) * 1170.0 * 1.15e-5 * 3.6
    assert image.terms_Gy["Lu-177"]["self"].value == pytest.approx(expected, rel=1e-12)
    assert image.dose.method == "image"
    blood = blood_method([replace(vertebra, concentration_MBq_h_per_mL=exact(3.0, DRAWS))], "male", SURE)
    ratio, doubt = compare_methods(blood.dose, image.dose)
    assert ratio == pytest.approx(float(image.dose.absorbed_dose_Gy.value / blood.dose.absorbed_dose_Gy.value))
    assert "median 4.2, range 2.5–6.2" in doubt.message


def test_the_dose_of_two_nuclides_is_the_sum_of_each() -> None:
    lu, y = source(), source("Y-90", basis="predicted", whole_body_MBq_h=exact(60_000.0, DRAWS))
    both = blood_method([lu, y], "female", SURE)
    alone = [blood_method([s], "female", SURE).dose.absorbed_dose_Gy.value for s in (lu, y)]
    assert both.dose.absorbed_dose_Gy.value == pytest.approx(sum(alone), rel=1e-12)
    assert [n.nuclide for n in both.dose.nuclides] == ["Lu-177", "Y-90"]
    assert any(d.code == "marrow-remainder-model" and "bremsstrahlung" in d.message for d in both.dose.doubts)


def test_inconsistent_whole_body_curves_are_said_in_the_first_line() -> None:
    cross = {"Lu-177": {"kidneys": 4e-7, "liver": 2e-7}}
    low = blood_method([source(whole_body_MBq_h=exact(15_000.0, DRAWS))], "male", SURE, cross_Gy_per_MBq_h=cross)
    assert low.terms_Gy["Lu-177"]["remainder"].value == 0.0
    assert any(d.code == "whole-body-below-organs" and d.severity == "first-line" for d in low.dose.doubts)
    high = blood_method([source(whole_body_MBq_h=exact(1e6, DRAWS))], "male", SURE)
    assert any(d.code == "whole-body-above-administered" for d in high.dose.doubts)


def test_shared_factors_correlate_the_nuclides_and_widen_the_dose() -> None:
    factors = marrow_factors(7, "S-1", 2000)
    lu = source(concentration_MBq_h_per_mL=exact(3.0, 2000), whole_body_MBq_h=None, organs_MBq_h={})
    dose = blood_method([lu, replace(lu, nuclide="Y-90")], "male", factors).dose
    first, second = (n.absorbed_dose_Gy.draws for n in dose.nuclides)
    assert np.corrcoef(first, second)[0, 1] > 0.999
    assert dose.absorbed_dose_Gy.sd / dose.absorbed_dose_Gy.value == pytest.approx(math.hypot(0.10, 0.20), rel=0.06)
    again = marrow_factors(7, "S-1", 2000)
    assert np.array_equal(again.s_value.draws, factors.s_value.draws)


@settings(max_examples=30, deadline=None)
@given(factor=st.floats(0.1, 10.0))
def test_dose_is_linear_in_every_activity(factor: float) -> None:
    base = source()
    more = replace(
        base,
        administered_MBq=base.administered_MBq * factor,
        concentration_MBq_h_per_mL=exact(3.0 * factor, DRAWS),
        whole_body_MBq_h=exact(150_000.0 * factor, DRAWS),
        organs_MBq_h={o: exact(float(a.value) * factor, DRAWS) for o, a in base.organs_MBq_h.items()},
    )
    doses = [blood_method([s], "male", SURE).dose.absorbed_dose_Gy.value for s in (base, more)]
    assert doses[1] == pytest.approx(factor * doses[0], rel=1e-9)


def test_remainder_s_values_follow_from_their_definition() -> None:
    """S(RM←RB) without marrow = [S(RM←TB) m_TB − S(RM←RM) m_RM] / m_RB; OLINDA 2.2 S(RM←TB) in mGy/(MBq·s)."""
    total_body = {("Lu-177", "male"): 2.74e-7, ("Lu-177", "female"): 3.28e-7,
                  ("Y-90", "male"): 1.45e-6, ("Y-90", "female"): 1.73e-6}  # fmt: skip
    for (nuclide, sex), s_total in total_body.items():
        phantom, row = marrow_table()["phantom"][sex], marrow_table()[nuclide][sex]
        rest = phantom["whole_body_g"] - phantom["red_marrow_g"]
        derived = (s_total * phantom["whole_body_g"] - row["self"] * phantom["red_marrow_g"]) / rest
        assert row["remainder_all"] == pytest.approx(derived, rel=0.04)
        assert row["remainder_all"] <= row["remainder_organs"]


def test_body_mass_scaling_is_a_named_option() -> None:
    plain = marrow_model("177Lu", "male", organs_removed=False)
    heavy = marrow_model("177Lu", "male", organs_removed=False, body_mass_g=146_000.0)
    assert heavy.remainder_Gy_per_MBq_h == pytest.approx(plain.remainder_Gy_per_MBq_h / 2)
    assert "body mass" in heavy.remainder_note
    assert "body mass" not in plain.remainder_note


def test_remainder_broadcasts_and_is_never_negative() -> None:
    whole, organ = np.array([[10.0], [1.0]]), np.array([2.0, 5.0, 0.5])
    assert remainder_MBq_h(whole, organ, 1.0) == pytest.approx(np.array([[7.0, 4.0, 8.5], [0.0, 0.0, 0.0]]))


def test_kidneys_counted_twice_are_refused() -> None:
    both = {"kidneys": exact(7000.0, DRAWS), "left kidney": exact(3500.0, DRAWS)}
    with pytest.raises(PhysicsError, match="give one or the other"):
        blood_method([source(organs_MBq_h=both)], "male", SURE)


def test_unknown_nuclide_and_sex_name_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="Y-90"):
        marrow_model("Ga-68", "male", organs_removed=False)
    with pytest.raises(UnknownNameError, match="female"):
        marrow_model("Lu-177", "other", organs_removed=False)  # type: ignore[arg-type]


def test_zero_draw_spread_means_zero_sd() -> None:
    dose = blood_method([source()], "male", SURE).dose.absorbed_dose_Gy
    assert isinstance(dose, Estimate)
    assert dose.sd == 0.0
