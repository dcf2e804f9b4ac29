"""Pictures of the studies: what is drawn, and that what lies outside is seen."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from lutetia.report import palette
from lutetia.validation.checks import Check, compared
from lutetia.validation.figures import study_figure, used_share

SVG = "{http://www.w3.org/2000/svg}"


def pair(value: float) -> Check:
    return compared("study", f"at {value:g}", value, 100.0, unit="keV", tolerance_percent=3.0)


def test_every_comparison_is_a_dot_with_its_difference() -> None:
    picture = ElementTree.fromstring(study_figure([pair(101.0), pair(98.0)]))
    words = [element.text for element in picture.iter(f"{SVG}text")]
    assert len(list(picture.iter(f"{SVG}circle"))) == 2
    assert {"at 101", "+1.00 %", "at 98", "−2.00 %"} <= set(words)


def test_dots_lie_in_the_order_of_the_differences() -> None:
    picture = ElementTree.fromstring(study_figure([pair(v) for v in (97.0, 100.0, 102.0, 110.0)]))
    x = [float(circle.attrib["cx"]) for circle in picture.iter(f"{SVG}circle")]
    assert x == sorted(x)
    assert (x[2] - x[1]) / (x[1] - x[0]) == pytest.approx(2.0 / 3.0, rel=1e-2)


def test_what_lies_outside_is_drawn_in_the_colour_of_danger() -> None:
    assert palette.DANGER not in study_figure([pair(101.0)]).decode()
    assert palette.DANGER in study_figure([pair(104.0)]).decode()


def test_without_references_the_used_share_of_the_bounds_is_drawn() -> None:
    picture = study_figure([Check("study", "error", 1.5, "mm", high=2.0)])
    assert "1.5 mm" in [element.text for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("check", "share"),
    [
        (Check("s", "n", 1.5, "", high=2.0), 0.75),
        (Check("s", "n", 96.0, "", low=92.0), 92.0 / 96.0),
        (Check("s", "n", 95.0, "", 92.0, 98.0), 0.0),
        (Check("s", "n", 98.0, "", 92.0, 98.0), 1.0),
        (Check("s", "n", 90.0, "", low=92.0), 92.0 / 90.0),
    ],
)
def test_the_used_share_is_one_at_the_bound_and_more_beyond(check: Check, share: float) -> None:
    assert used_share(check) == pytest.approx(share)
    assert check.holds == (share <= 1.0)


def test_a_study_that_was_not_run_has_no_picture() -> None:
    assert study_figure([Check("s", "n", float("nan"), "", not_run="absent")]) == b""
