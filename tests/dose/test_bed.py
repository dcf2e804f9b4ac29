"""BED: closed form against numerical double integral, published check values, exact coefficients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutetia.dose.bed import (
    bed_coefficients,
    biologically_effective_dose,
    equivalent_dose_2Gy,
    quadratic_part,
    radiobiology,
)
from lutetia.errors import PhysicsError

KIDNEY = {"alpha_beta_Gy": 2.6, "repair_half_life_h": 2.8}
LN2 = math.log(2.0)


def lea_catcheside(amplitude, rate, start, *, alpha_beta_Gy, repair_half_life_h):
    """D + 2β/α ∫ R(t) ∫_{t'<t} R(t') e^(−μ(t−t')) dt' dt by panels of Gauss–Legendre points in both variables."""
    mu = LN2 / repair_half_life_h
    node, weight = np.polynomial.legendre.leggauss(24)
    first, end = min(start), max(start) + 45.0 / min(rate)
    edges = np.concatenate([np.linspace(0, 1, 25)[:-1], np.geomspace(1, end - first, 70)]) + first
    edges = np.unique(np.concatenate([edges, start]))
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2

    def dose_rate(t):
        terms = zip(amplitude, rate, start, strict=True)
        return sum(np.where(t >= s, a * np.exp(-r * np.maximum(t - s, 0)), 0.0) for a, r, s in terms)

    t = middle[:, None] + half[:, None] * node
    w = half[:, None] * weight
    damage = 0.0  # unrepaired damage at the left edge of the panel
    effect = 0.0
    for left, h, points, weights in zip(edges[:-1], half, t, w, strict=True):
        inner_half = (points - left) / 2
        tp = left + inner_half[:, None] * (node + 1.0)
        inner = np.sum(inner_half[:, None] * weight * dose_rate(tp) * np.exp(-mu * (points[:, None] - tp)), axis=1)
        effect += np.sum(weights * dose_rate(points) * (inner + damage * np.exp(-mu * (points - left))))
        own = np.sum(weights * dose_rate(points) * np.exp(-mu * (left + 2 * h - points)))
        damage = damage * np.exp(-mu * 2 * h) + own
    return np.sum(w * dose_rate(t)) + 2.0 / alpha_beta_Gy * effect


def test_nuclides_given_together_match_the_numerical_double_integral() -> None:
    amplitude = np.array([0.08, -0.03, 0.05, 0.2, -0.06])
    rate = np.array([LN2 / 50, 0.9, LN2 / 110, LN2 / 36, 1.0])
    expected = lea_catcheside(amplitude, rate, np.zeros(5), **KIDNEY)
    assert biologically_effective_dose(amplitude, rate, **KIDNEY) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("delay_h", [0.5, 4.0, 48.0, 300.0])
def test_a_nuclide_started_later_matches_the_numerical_double_integral(delay_h: float) -> None:
    amplitude, rate = np.array([0.08, -0.03, 0.2]), np.array([LN2 / 50, 0.9, LN2 / 36])
    start = np.array([0.0, 0.0, delay_h])
    expected = lea_catcheside(amplitude, rate, start, **KIDNEY)
    assert biologically_effective_dose(amplitude, rate, start_h=start, **KIDNEY) == pytest.approx(expected, rel=1e-6)


def test_repair_as_fast_as_clearance_is_no_special_case() -> None:
    mu = LN2 / KIDNEY["repair_half_life_h"]
    amplitude, rate, start = np.array([0.3, 0.2]), np.array([mu, mu]), np.array([0.0, 7.0])
    expected = lea_catcheside(amplitude, rate, start, **KIDNEY)
    assert biologically_effective_dose(amplitude, rate, start_h=start, **KIDNEY) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("half_life_h", "dose_Gy", "bed_Gy"),
    [(50.0, 5.0, 5.510), (1 / (1 / 50 - 1 / 159.528 + 1 / 64.1), 5.0, 5.730)],
    ids=["Lu-177", "Y-90"],
)
def test_five_gray_to_the_kidneys_give_the_known_bed(half_life_h: float, dose_Gy: float, bed_Gy: float) -> None:
    rate = LN2 / half_life_h
    assert biologically_effective_dose([dose_Gy * rate], [rate], **KIDNEY) == pytest.approx(bed_Gy, abs=6e-4)


def test_four_cycles_of_3_7_gray_give_a_bed_of_15_9_gray() -> None:
    rate = LN2 / 50.0
    assert 4 * biologically_effective_dose([3.7 * rate], [rate], **KIDNEY) == pytest.approx(15.9, abs=0.05)


def test_bed_of_nuclides_given_together_exceeds_the_sum_of_their_beds() -> None:
    """Known failure mode: separate sums are 3–10 % low."""
    lu, y = LN2 / 50.0, LN2 / 34.0
    apart = sum(float(biologically_effective_dose([5.0 * r], [r], **KIDNEY)) for r in (lu, y))
    together = float(biologically_effective_dose([5.0 * lu, 5.0 * y], [lu, y], **KIDNEY))
    assert 0.03 < (together - apart) / together < 0.10


def test_a_course_weeks_apart_is_the_sum_of_its_cycles() -> None:
    rate = np.full(2, LN2 / 50.0)
    both = biologically_effective_dose(3.7 * rate, rate, start_h=[0.0, 8 * 168.0], **KIDNEY)
    one = biologically_effective_dose(3.7 * rate[:1], rate[:1], **KIDNEY)
    assert both == pytest.approx(2 * one, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    amplitude=st.lists(st.floats(-0.05, 0.5), min_size=8, max_size=8),
    rate=st.lists(st.floats(0.004, 2.0), min_size=8, max_size=8),
    activity=st.lists(st.floats(10.0, 9000.0), min_size=2, max_size=2),
    delay_h=st.floats(0.0, 72.0),
)
def test_coefficients_reproduce_the_bed_exactly(amplitude, rate, activity, delay_h) -> None:
    per_MBq, rates = np.reshape(amplitude, (2, 4)) / 1e3, np.reshape(rate, (2, 4))
    given_MBq, start = np.array(activity), np.array([0.0, delay_h])
    q = bed_coefficients(per_MBq, rates, start_h=start, **KIDNEY)
    dose = np.sum(given_MBq[:, None] * per_MBq / rates)
    expected = biologically_effective_dose(
        (given_MBq[:, None] * per_MBq).ravel(), rates.ravel(), start_h=np.repeat(start, 4), **KIDNEY
    )
    scale = np.sum(given_MBq[:, None] * np.abs(per_MBq) / rates) ** 2
    assert dose + quadratic_part(q, given_MBq) == pytest.approx(expected, rel=1e-9, abs=1e-9 * scale)
    assert np.array_equal(q, q.T)


@settings(max_examples=40, deadline=None)
@given(factor=st.floats(0.01, 50.0), amplitude=st.floats(1e-3, 1.0), rate=st.floats(0.004, 2.0))
def test_the_quadratic_part_grows_with_the_square_of_the_dose(factor: float, amplitude: float, rate: float) -> None:
    base = biologically_effective_dose([amplitude], [rate], **KIDNEY) - amplitude / rate
    scaled = biologically_effective_dose([factor * amplitude], [rate], **KIDNEY) - factor * amplitude / rate
    assert scaled == pytest.approx(factor**2 * base, rel=1e-6)


def test_draws_are_a_leading_axis_and_padding_changes_nothing() -> None:
    generator = np.random.default_rng(3)
    amplitude, rate = generator.uniform(0.01, 0.2, (50, 3)), generator.uniform(0.005, 0.5, (50, 3))
    padded = np.concatenate([amplitude, np.zeros((50, 1))], axis=1), np.concatenate([rate, np.zeros((50, 1))], axis=1)
    one_by_one = [biologically_effective_dose(a, r, **KIDNEY) for a, r in zip(amplitude, rate, strict=True)]
    assert biologically_effective_dose(*padded, **KIDNEY) == pytest.approx(np.array(one_by_one), rel=1e-13)


def test_acute_and_endless_irradiation_are_the_limits() -> None:
    acute = biologically_effective_dose([2.0 * 1e4], [1e4], **KIDNEY)
    endless = biologically_effective_dose([2.0 * 1e-6], [1e-6], **KIDNEY)
    assert acute == pytest.approx(2.0 * (1 + 2.0 / 2.6), rel=1e-4)
    assert endless == pytest.approx(2.0, rel=1e-4)
    assert equivalent_dose_2Gy(acute, alpha_beta_Gy=2.6) == pytest.approx(2.0, rel=1e-4)


def test_a_component_that_never_decays_is_refused() -> None:
    with pytest.raises(PhysicsError, match=r"does not decay; expected rates > 0"):
        biologically_effective_dose([0.1, 0.1], [0.1, 0.0], **KIDNEY)


@pytest.mark.parametrize("bad", [{"alpha_beta_Gy": 0.0}, {"repair_half_life_h": -1.0}])
def test_radiobiology_outside_its_domain_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(PhysicsError, match="expected a finite value > 0"):
        biologically_effective_dose([0.1], [0.1], **(KIDNEY | bad))


def test_every_entry_of_the_table_says_where_it_comes_from() -> None:
    kidney = radiobiology("left kidney")
    assert kidney is not None
    assert (kidney.alpha_beta_Gy, kidney.repair_half_life_h, kidney.status) == (2.6, 2.8, "assumption")
    assert len(kidney.source) > 40
    assert radiobiology("red marrow") is None
    assert radiobiology("tumour 1") is None
