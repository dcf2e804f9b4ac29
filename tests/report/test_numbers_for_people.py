"""Numbers as text: digits, signs, intervals, probabilities, nuclides and units."""

from __future__ import annotations

import math

import pytest

from lutetia.report import numbers
from lutetia.report.document import Span, plain

T = numbers.THIN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (23.0, "23.0"),
        (5.2449, "5.24"),
        (0.0731, "0.073"),
        (0.0004, "0.000"),
        (1620.0, f"1{T}620"),
        (-1.5, "−1.50"),
        (0.0, "0.0"),
    ],
)
def test_a_number_shows_about_three_digits(value: float, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "7", True])
def test_what_is_not_a_finite_number_is_not_evaluable_and_never_zero(value: object) -> None:
    assert numbers.known(value) is None
    assert numbers.number(numbers.known(value)) == "not evaluable"


def test_the_decimals_of_value_and_deviation_agree() -> None:
    assert numbers.with_sd(5.2449, 0.681) == f"5.24{T}±{T}0.68"
    assert numbers.with_sd(13.6158, 1.71) == f"13.6{T}±{T}1.7"
    assert numbers.with_sd(13.6158, None) == "13.6"
    assert numbers.with_sd(None, 0.1) == "not evaluable"


def test_an_interval_has_equal_decimals_and_survives_negative_bounds() -> None:
    assert numbers.interval([4.047, 16.61]) == "4.0–16.6"
    assert numbers.interval([-1.0, 2.0]) == "−1.00 to 2.00"
    assert numbers.interval([None, 2.0]) == "not evaluable"
    assert numbers.interval(None) == "not evaluable"


@pytest.mark.parametrize(
    ("activity", "text"), [(3700.0, "3.70"), (2250, "2.25"), (3725.0, "3.725"), (11100.0, "11.10")]
)
def test_an_activity_in_gigabecquerel_keeps_its_grid(activity: float, text: str) -> None:
    assert numbers.gigabecquerel(activity) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, f"<{T}1{T}%"), (0.004, f"<{T}1{T}%"), (0.5, f"50{T}%"), (0.31, f"31{T}%"), (1.0, f">{T}99{T}%")],
)
def test_a_probability_beyond_what_draws_can_tell_is_a_bound(value: float, text: str) -> None:
    assert numbers.probability(value) == text


def test_a_change_carries_its_sign() -> None:
    assert numbers.change(-0.39189) == f"−39{T}%"
    assert numbers.change(0.5) == f"+50{T}%"
    assert numbers.change(0.001) == "no change"


def test_last_bits_do_not_change_the_text() -> None:
    assert numbers.number(0.1 + 0.2) == numbers.number(0.3)
    assert numbers.fixed(2.0000000001 / 2, 2) == "1.00"
    assert numbers.fixed(-1e-9, 2) == "0.00"


def test_a_given_number_has_no_trailing_zeros() -> None:
    assert numbers.given_number(23.0) == "23"
    assert numbers.given_number(0.71) == "0.71"


def test_nuclides_and_powers_are_raised() -> None:
    spans = numbers.typeset("Y-90 predicted from 177Lu; 68 10^9/L")
    assert Span("90", raised=True) in spans
    assert Span("177", raised=True) in spans
    assert Span("9", raised=True) in spans
    assert plain(spans) == "⁹⁰Y predicted from ¹⁷⁷Lu; 68 10⁹/L"


@pytest.mark.parametrize("text", ["DUO-014", "L2-L4", "arm-90", "I-2", "Lu-177x", "xLu-177"])
def test_names_that_only_look_like_nuclides_are_left_alone(text: str) -> None:
    assert numbers.typeset(text) == (Span(text),)


def test_units_are_written_for_people() -> None:
    assert plain(numbers.unit("10^9/L")) == "10⁹/L"
    assert plain(numbers.unit("umol/L")) == "µmol/L"
    assert plain(numbers.unit("g/L")) == "g/L"
