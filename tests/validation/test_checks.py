"""Checks, their page, and the simulated truths that the studies rest on."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.nuclear.nuclides import nuclide
from lutetia.validation.checks import Check
from lutetia.validation.page import validation_page
from lutetia.validation.studies import STUDIES
from lutetia.validation.tables import noise_free_study
from lutetia.validation.truths import FAMILIES, draw_curve


@pytest.mark.parametrize(
    ("value", "holds"), [(5.0, True), (5.0001, False), (-1e9, True), (float("nan"), False)], ids=str
)
def test_a_check_with_an_upper_bound_holds_up_to_it(value: float, holds: bool) -> None:
    assert Check("study", "figure", value, "%", high=5.0).holds is holds


def test_the_page_names_what_lies_outside_its_bounds() -> None:
    page = validation_page(
        [Check("a", "good", 1.0, "mm", high=2.0), Check("a", "bad", 3.0, "mm", 0.0, 2.0)], commit="abc"
    )
    assert "1 figures lie outside their bounds" in page
    assert "| bad | 3 mm | 0 to 2 | **no** |" in page
    assert "commit abc" in page


@pytest.mark.parametrize("family", FAMILIES)
def test_the_integral_of_a_true_curve_is_that_of_fine_trapezia(family: str) -> None:
    curve = draw_curve(family, np.random.default_rng(3))
    time = np.concatenate([np.linspace(0.0, 48.0, 200_001), np.linspace(48.0, 4000.0, 200_001)[1:]])
    expected = np.trapezoid(curve.activity_MBq(time), time)
    assert curve.time_integrated_activity_MBq_h() == pytest.approx(expected, rel=1e-4)


def test_a_true_mono_exponential_curve_has_its_analytic_integral_for_both_nuclides() -> None:
    curve = draw_curve("mono", np.random.default_rng(1), scale=2.0)
    lu, y = (nuclide(name).decay_constant_per_h for name in ("Lu-177", "Y-90"))
    of_lu = curve.time_integrated_activity_MBq_h("Lu-177", 100.0)
    biological = 200.0 / of_lu - lu
    assert curve.time_integrated_activity_MBq_h("Y-90", 100.0) == pytest.approx(200.0 / (biological + y), rel=1e-4)


def test_noise_free_tables_give_the_true_doses() -> None:
    assert all(check.holds for check in noise_free_study())


def test_every_study_is_a_function_with_a_description() -> None:
    assert all(study.__doc__ for study in STUDIES.values())
