"""Organ dose: hand-worked doses of measured and predicted nuclides, cross-dose, BED, shared draws, the kidney pair."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutetia.core.chain import KineticFit, OrganDose
from lutetia.core.draws import Estimate, exact, lognormal_factors, stream
from lutetia.dose.bed import biologically_effective_dose, quadratic_part, radiobiology
from lutetia.dose.organ_dose import (
    SourceTerm,
    dose_coefficients,
    kidney_pair,
    mass_from_volume,
    organ_dose,
    single_kidney_doubts,
)
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide

LN2 = math.log(2.0)
DRAWS = 400
LU, Y = nuclide("Lu-177").decay_constant_per_h, nuclide("Y-90").decay_constant_per_h
S = {"Lu-177": 8.6e-2 / 150.0, "Y-90": 0.5 / 150.0}  # Gy/(MBq·h): rounded local values of a 150 g organ


def curve(region: str = "left kidney", half_life_h: float = 50.0, amplitude_MBq: float = 90.0) -> KineticFit:
    """Uptake with 1 h half-time (biological) and washout; 5 % noise common to the curve."""
    coefficient = np.array([amplitude_MBq, -amplitude_MBq, 0.0, 0.0])
    rate = np.array([LN2 / half_life_h, LN2 / 1.0, 0.0, 0.0])
    noise = lognormal_factors(stream(1, region, "curve"), 0.05, DRAWS)
    return KineticFit(
        region, "Lu-177", "uptake", Estimate(coefficient, noise[:, None] * coefficient), exact(rate, DRAWS), 0.12
    )


def term(source: str = "left kidney", mass_g: Estimate | None = None, **curve_options: float) -> SourceTerm:
    mass = mass_g or exact(150.0, DRAWS)
    s = {n: Estimate(v * 150.0 / mass.value, v * 150.0 / mass.draws) for n, v in S.items()}
    return SourceTerm(source, curve(source, **curve_options), s, "self, test values")


def tandem(region: str = "left kidney", *sources: SourceTerm, **options: object) -> OrganDose:
    return organ_dose(region, sources or (term(region),), {"Lu-177": 3700.0, "Y-90": 1850.0}, **options)


def predicted_integral_MBq_h(amplitude: float, half_life_h: float, ratio: float) -> float:
    slow, fast = LN2 / half_life_h - LU + Y, LN2 / 1.0 - LU + Y
    return ratio * amplitude * (1 / slow - 1 / fast)


def test_measured_and_predicted_dose_by_hand() -> None:
    dose = tandem()
    lu_MBq_h = 90.0 * (50.0 / LN2 - 1.0 / LN2)
    y_MBq_h = predicted_integral_MBq_h(90.0, 50.0, 0.5)
    lu, y = dose.nuclides
    assert lu.absorbed_dose_Gy.value == pytest.approx(lu_MBq_h * S["Lu-177"], rel=1e-12)
    assert y.absorbed_dose_Gy.value == pytest.approx(y_MBq_h * S["Y-90"], rel=1e-12)
    assert y.time_integrated_activity_MBq_h is not None
    assert y.time_integrated_activity_MBq_h.value == pytest.approx(y_MBq_h, rel=1e-12)
    assert (lu.basis, y.basis) == ("measured", "predicted from Lu-177")
    assert lu.effective_half_life_h == pytest.approx(50.0)
    assert y.effective_half_life_h == pytest.approx(LN2 / (LN2 / 50.0 - LU + Y))
    assert dose.absorbed_dose_Gy.value == pytest.approx(lu.absorbed_dose_Gy.value + y.absorbed_dose_Gy.value)
    assert any(d.code == "nuclide-predicted" and "same peptide" in d.message for d in dose.doubts)


def test_bed_holds_all_components_of_both_nuclides_and_equals_its_coefficients() -> None:
    dose = tandem()
    amplitude = [90 * S["Lu-177"], -90 * S["Lu-177"], 45 * S["Y-90"], -45 * S["Y-90"]]
    rate = [LN2 / 50, LN2, LN2 / 50 - LU + Y, LN2 - LU + Y]
    expected = biologically_effective_dose(amplitude, rate, alpha_beta_Gy=2.6, repair_half_life_h=2.8)
    assert dose.bed_Gy is not None
    assert dose.bed_coefficient_Gy_per_MBq2 is not None
    assert dose.bed_Gy.value == pytest.approx(expected, rel=1e-10)
    administered = np.array([3700.0, 1850.0])
    again = dose.absorbed_dose_Gy.draws + quadratic_part(dose.bed_coefficient_Gy_per_MBq2.draws, administered)
    assert dose.bed_Gy.draws == pytest.approx(again, rel=1e-12)


def test_a_later_start_of_the_predicted_nuclide_changes_bed_but_not_dose() -> None:
    together, later = tandem(), tandem(start_h={"Lu-177": 0.0, "Y-90": 24.0})
    assert later.absorbed_dose_Gy.value == pytest.approx(together.absorbed_dose_Gy.value, rel=1e-12)
    assert later.bed_Gy is not None
    assert together.bed_Gy is not None
    assert later.absorbed_dose_Gy.value < later.bed_Gy.value < together.bed_Gy.value


def test_a_measured_nuclide_started_second_is_integrated_from_its_own_start() -> None:
    """Washout only: seen from time zero its curve is 6 h too early, so its coefficient is e^(+6λ) too large."""
    rate = LN2 / 50.0
    shifted = np.array([90.0 * math.exp(6.0 * rate), 0.0, 0.0, 0.0])
    fit = replace(
        curve(), coefficient_MBq=exact(shifted, DRAWS), rate_per_h=exact(np.array([rate, 0.0, 0.0, 0.0]), DRAWS)
    )
    source = replace(term(), fit=fit)
    dose = tandem("left kidney", source, start_h={"Lu-177": 6.0, "Y-90": 0.0})
    assert dose.nuclides[0].absorbed_dose_Gy.value == pytest.approx(90.0 / rate * S["Lu-177"], rel=1e-12)
    assert dose.nuclides[1].absorbed_dose_Gy.value == pytest.approx(45.0 / (rate - LU + Y) * S["Y-90"], rel=1e-12)


def test_cross_dose_is_added_with_its_own_curve_and_named() -> None:
    cross = {n: exact(v / 500.0, DRAWS) for n, v in S.items()}
    liver = SourceTerm("liver", curve("liver", 70.0, 300.0), cross, "cross, test values")
    alone, both = tandem(), tandem("left kidney", term(), liver)
    added = 300.0 * (70.0 / LN2 - 1.0 / LN2) * S["Lu-177"] / 500.0
    gained = both.nuclides[0].absorbed_dose_Gy.value - alone.nuclides[0].absorbed_dose_Gy.value
    assert gained == pytest.approx(added, rel=1e-9)
    own = both.nuclides[0].time_integrated_activity_MBq_h
    assert own is not None
    assert own.value == pytest.approx(90.0 * 49.0 / LN2)
    assert "cross-dose from liver" in both.method


@settings(max_examples=30, deadline=None)
@given(lu=st.floats(100.0, 9000.0), y=st.floats(0.0, 9000.0))
def test_coefficients_per_activity_predict_any_other_activity(lu: float, y: float) -> None:
    """The dose of a cycle with other activities and proportional curves follows from linear and quadratic terms."""
    per_MBq = dose_coefficients(
        "left kidney", [term()], 3700.0, nuclides=("Lu-177", "Y-90"), parameters=radiobiology("kidneys")
    )
    other = replace(term(), fit=curve(amplitude_MBq=90.0 * lu / 3700.0))
    dose = organ_dose("left kidney", [other], {"Lu-177": lu, "Y-90": y})
    given_MBq = np.array([lu, y])
    assert per_MBq.quadratic_Gy_per_MBq2 is not None
    assert dose.bed_Gy is not None
    linear = per_MBq.linear_Gy_per_MBq.value @ given_MBq
    assert dose.absorbed_dose_Gy.value == pytest.approx(linear, rel=1e-9)
    bed = linear + quadratic_part(per_MBq.quadratic_Gy_per_MBq2.value, given_MBq)
    assert dose.bed_Gy.value == pytest.approx(bed, rel=1e-9)


def test_organs_without_radiobiology_have_no_bed() -> None:
    dose = organ_dose("spleen", [term("spleen")], {"Lu-177": 3700.0})
    assert dose.bed_Gy is None
    assert dose.bed_coefficient_Gy_per_MBq2 is None


def test_mass_is_volume_times_density_and_never_the_volume() -> None:
    volume = Estimate(np.asarray(140.0), 140.0 * lognormal_factors(stream(2, "volume"), 0.05, DRAWS))
    mass = mass_from_volume(volume, "left kidney")
    assert mass.value == pytest.approx(147.0)
    assert mass.draws == pytest.approx(volume.draws * 1.05)
    with pytest.raises(PhysicsError, match="volume ≤ 0"):
        mass_from_volume(exact(0.0, 3), "liver")


def test_a_volume_error_shared_by_recovery_and_mass_enters_the_dose_once_each() -> None:
    """Recovery falls with a smaller drawn volume: the activity draws rise with V^−0.2 while S falls with 1/V."""
    factor = lognormal_factors(stream(3, "volume"), 0.08, DRAWS)
    mass = Estimate(np.asarray(150.0), 150.0 * factor)
    base = term("left kidney", mass)
    corrected = base.fit.coefficient_MBq.value * factor[:, None] ** -0.2
    fit = replace(base.fit, coefficient_MBq=Estimate(base.fit.coefficient_MBq.value, corrected))
    dose = organ_dose("left kidney", [replace(base, fit=fit)], {"Lu-177": 3700.0}).absorbed_dose_Gy
    assert np.corrcoef(dose.draws, mass.draws)[0, 1] < -0.99
    assert dose.draws == pytest.approx(dose.value * factor**-1.2, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(left_g=st.floats(40.0, 300.0), right_g=st.floats(40.0, 300.0), share=st.floats(0.1, 0.9))
def test_the_pair_keeps_the_energy_of_both_kidneys(left_g: float, right_g: float, share: float) -> None:
    masses = [exact(left_g, DRAWS), exact(right_g, DRAWS)]
    sides = [("left kidney", masses[0], share), ("right kidney", masses[1], 1 - share)]
    kidneys = [tandem(r, term(r, m, amplitude_MBq=180.0 * f), mass_g=m) for r, m, f in sides]
    pair = kidney_pair(*kidneys, mass_left_g=masses[0], mass_right_g=masses[1])
    energy = sum(float(m.value * k.absorbed_dose_Gy.value) for m, k in zip(masses, kidneys, strict=True))
    assert pair.absorbed_dose_Gy.value * (left_g + right_g) == pytest.approx(energy, rel=1e-12)
    assert sum(n.absorbed_dose_Gy.value for n in pair.nuclides) == pytest.approx(pair.absorbed_dose_Gy.value)
    doses = [float(k.absorbed_dose_Gy.value) for k in kidneys]
    assert min(doses) * (1 - 1e-12) <= pair.absorbed_dose_Gy.value <= max(doses) * (1 + 1e-12)
    assert pair.bed_Gy is not None
    assert pair.bed_coefficient_Gy_per_MBq2 is not None
    expected = pair.absorbed_dose_Gy.value + quadratic_part(
        pair.bed_coefficient_Gy_per_MBq2.value, np.array([3700.0, 1850.0])
    )
    assert pair.bed_Gy.value == pytest.approx(expected, rel=1e-12)
    assert pair.mass_g == pytest.approx(left_g + right_g)


def test_the_bed_of_the_pair_is_not_below_that_of_its_mean_dose_rate() -> None:
    masses = exact(100.0, DRAWS), exact(200.0, DRAWS)
    left = tandem("left kidney", term("left kidney", masses[0]))
    right = tandem("right kidney", term("right kidney", masses[1]))
    pair = kidney_pair(left, right, mass_left_g=masses[0], mass_right_g=masses[1])
    mean_s = {n: exact(v * 150.0 / 150.0, DRAWS) for n, v in S.items()}  # (Ã + Ã)/(100 g + 200 g), S ∝ 1/m
    mean = tandem("kidneys", replace(term("kidneys"), s_Gy_per_MBq_h=mean_s))
    assert pair.absorbed_dose_Gy.value == pytest.approx(mean.absorbed_dose_Gy.value, rel=1e-9)
    assert pair.bed_Gy is not None
    assert mean.bed_Gy is not None
    assert mean.bed_Gy.value < pair.bed_Gy.value < 1.1 * mean.bed_Gy.value


def test_a_small_kidney_at_equal_uptake_warns_in_the_first_line() -> None:
    """100 g and 150 g with equal activity: the small one gets 1.25 × the pair."""
    masses = exact(100.0, DRAWS), exact(150.0, DRAWS)
    left = tandem("left kidney", term("left kidney", masses[0]))
    right = tandem("right kidney", term("right kidney", masses[1]))
    pair = kidney_pair(left, right, mass_left_g=masses[0], mass_right_g=masses[1])
    assert left.absorbed_dose_Gy.value / pair.absorbed_dose_Gy.value == pytest.approx(1.25)
    warning = next(d for d in pair.doubts if d.code == "single-kidney-above-pair")
    assert (warning.severity, warning.where) == ("first-line", "left kidney")
    assert "25 % above the pair" in warning.message


@pytest.mark.parametrize(
    ("left", "right", "pair", "codes"),
    [
        (10.0, 9.0, 9.5, {"larger-single-kidney"}),
        (22.0, 18.0, 20.0, {"larger-single-kidney"}),
        (23.5, 21.0, 22.0, {"larger-single-kidney", "single-kidney-above-limit"}),
        (28.0, 18.0, 22.0, {"larger-single-kidney", "single-kidney-above-limit", "single-kidney-above-pair"}),
    ],
)
def test_single_kidney_warnings_begin_at_15_percent_and_23_gray(
    left: float, right: float, pair: float, codes: set[str]
) -> None:
    assert {d.code for d in single_kidney_doubts(left, right, pair)} == codes


def test_draws_of_both_nuclides_share_the_curve() -> None:
    lu, y = (n.absorbed_dose_Gy.draws for n in tandem().nuclides)
    assert np.corrcoef(lu, y)[0, 1] > 0.999


def test_extrapolated_fraction_of_a_predicted_nuclide_needs_the_last_time() -> None:
    assert tandem().nuclides[1].extrapolated_fraction is None
    fraction = tandem(last_time_h=168.0).nuclides[1].extrapolated_fraction
    slow, fast = LN2 / 50 - LU + Y, LN2 - LU + Y
    late = math.exp(-slow * 168) / slow - math.exp(-fast * 168) / fast
    assert fraction == pytest.approx(late / (1 / slow - 1 / fast), rel=1e-9)


def test_missing_s_values_activities_and_mixed_nuclides_are_refused() -> None:
    with pytest.raises(PhysicsError, match=r"no S-value of Y-90"):
        tandem("left kidney", replace(term(), s_Gy_per_MBq_h={"Lu-177": exact(1e-3, DRAWS)}))
    with pytest.raises(PhysicsError, match=r"expected also Lu-177"):
        organ_dose("left kidney", [term()], {"Y-90": 3700.0})
    with pytest.raises(PhysicsError, match=r"one measured nuclide"):
        tandem("left kidney", term(), replace(term("liver"), fit=replace(curve("liver"), nuclide="Y-90")))
    with pytest.raises(PhysicsError, match=r"each source once"):
        tandem("left kidney", term(), term())


def test_kidneys_of_different_cycles_do_not_make_a_pair() -> None:
    one, other = tandem(), organ_dose("right kidney", [term("right kidney")], {"Lu-177": 7400.0, "Y-90": 0.0})
    with pytest.raises(PhysicsError, match="expected one cycle"):
        kidney_pair(one, other, mass_left_g=exact(150.0, DRAWS), mass_right_g=exact(150.0, DRAWS))
