"""Checks, their page, and the simulated truths that the studies rest on."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lutetia.nuclear.nuclides import nuclide
from lutetia.validation.checks import Check, compared
from lutetia.validation.page import validation_page, write_page
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


def test_a_comparison_holds_within_its_tolerance_and_says_the_reference() -> None:
    near = compared("study", "figure", 102.9, 100.0, unit="keV", tolerance_percent=3.0)
    assert near.holds
    assert near.tolerance == "± 3 %"
    assert near.record()["reference"] == 100.0
    assert near.record()["difference_percent"] == pytest.approx(2.9)
    assert compared("study", "figure", 96.9, 100.0, unit="keV", tolerance_percent=3.0).fails


def test_a_documented_difference_must_be_there() -> None:
    between = [compared("s", "f", v, 1.0, unit="", tolerance_percent=(7.0, 10.0)) for v in (1.0, 1.06, 1.08, 1.11)]
    assert [check.holds for check in between] == [False, False, True, False]
    assert between[0].tolerance == "+7 to +10 %"


def test_what_was_not_run_neither_holds_nor_fails_and_the_page_says_so_loudly() -> None:
    absent = Check("a", "phantom", float("nan"), "", not_run="no phantom here")
    assert not absent.holds
    assert not absent.fails
    assert absent.record()["holds"] is None
    page = validation_page([Check("b", "good", 1.0, "mm", high=2.0), absent])
    assert "1 entries were NOT RUN; they prove nothing." in page
    assert "| phantom (no phantom here) |  | none | **NOT RUN** |" in page


def test_the_page_shows_ours_the_reference_the_difference_and_the_tolerance() -> None:
    page = validation_page([compared("a", "energy", 102.0, 100.0, unit="keV", tolerance_percent=3.0)])
    assert "| energy | 102 keV | 100 | +2.00 % | ± 3 % | yes |" in page


def test_the_page_is_written_with_a_picture_a_study(tmp_path: Path) -> None:
    checks = [
        compared("First study", "energy", 102.0, 100.0, unit="keV", tolerance_percent=3.0),
        Check("Second", "error", 1.0, "%", high=2.0),
        Check("Third", "phantom", float("nan"), "", not_run="absent"),
    ]
    write_page(tmp_path / "page.md", checks)
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((\S+\.svg)\)", page)
    assert links == ["figures/first-study.svg", "figures/second.svg"]
    for link in links:
        assert ElementTree.fromstring((tmp_path / link).read_bytes()).tag.endswith("svg")


def test_every_study_is_a_function_with_a_description() -> None:
    assert all(study.__doc__ for study in STUDIES.values())
