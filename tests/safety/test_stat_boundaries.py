"""Stopping boundaries: the worked example of the clinical reference, full enumeration, and what they refuse."""

from __future__ import annotations

from itertools import product

import pytest
from scipy.stats import beta

from lutetia.errors import InputError
from lutetia.safety.statistics import boundaries as b

EXAMPLE = b.StoppingRule(0.10, 0.95, b.looks_after_every(3, 23))


def test_the_worked_example_stops_at_these_events() -> None:
    points = {point.n: point.stop_at for point in b.boundary(EXAMPLE)}
    assert {n: points[n] for n in (3, 6, 10, 14, 18, 23)} == {3: 2, 6: 3, 10: 4, 14: 4, 18: 5, 23: 6}


def test_the_worked_example_stops_with_these_probabilities() -> None:
    found = b.operating_characteristics(EXAMPLE, [0.1, 0.2, 0.3, 0.4])
    assert [f"{c.p_stop:.3f}" for c in found] == ["0.098", "0.493", "0.843", "0.974"]


def test_two_looks_stop_with_these_probabilities() -> None:
    found = b.operating_characteristics(b.StoppingRule(0.10, 0.95, (14, 23)), [0.1, 0.2, 0.3, 0.4])
    assert [f"{c.p_stop:.2f}" for c in found] == ["0.05", "0.39", "0.78", "0.96"]


def test_any_arm_of_four_stops_more_often() -> None:
    one, four = (b.operating_characteristics(EXAMPLE, [0.1], arms=n)[0] for n in (1, 4))
    assert four.p_any_arm == pytest.approx(1.0 - (1.0 - one.p_stop) ** 4, rel=1e-12)
    assert b.any_arm([0.1, 0.5]) == pytest.approx(0.55)


@pytest.mark.parametrize("looks", [(3, 4, 5, 6, 7, 8), (4, 8), (8,)])
@pytest.mark.parametrize("rate", [0.1, 0.35])
def test_operating_characteristics_are_those_of_all_sequences(looks: tuple[int, ...], rate: float) -> None:
    rule = b.StoppingRule(0.15, 0.9, looks)
    stop = {point.n: point.stop_at for point in b.boundary(rule)}
    total = expected_n = events = 0.0
    for sequence in product((0, 1), repeat=8):
        probability = 1.0
        for value in sequence:
            probability *= rate if value else 1.0 - rate
        ended = next((n for n in looks if stop[n] is not None and sum(sequence[:n]) >= (stop[n] or 0)), None)
        total += probability * (ended is not None)
        expected_n += probability * (ended or 8)
        events += probability * sum(sequence[: ended or 8])
    found = b.operating_characteristics(rule, [rate])[0]
    assert (found.p_stop, found.expected_n, found.expected_events) == pytest.approx(
        (total, expected_n, events), rel=1e-12
    )
    assert found.p_stop_by[-1] == found.p_stop


def test_posterior_is_the_tail_of_the_beta_distribution() -> None:
    assert b.posterior_above(EXAMPLE, 3, 11) == pytest.approx(beta.sf(0.1, 0.2 + 3, 1.8 + 8), rel=1e-12)


def test_status_says_whether_the_boundary_is_crossed() -> None:
    assert b.boundary_status(EXAMPLE, 3, 6).crossed
    assert not b.boundary_status(EXAMPLE, 2, 6).crossed
    assert not b.boundary_status(EXAMPLE, 0, 0).crossed


def test_boundary_in_short_names_the_last_look_of_each_number_of_events() -> None:
    assert [(s.stop_at, s.n) for s in b.boundary_steps(EXAMPLE)] == [(2, 3), (3, 8), (4, 14), (5, 21), (6, 23)]


def test_a_look_at_which_nothing_can_stop_is_none() -> None:
    assert b.boundary(b.StoppingRule(0.6, 0.999, (1,)))[0].stop_at is None


@pytest.mark.parametrize(
    "given", [(0.0, 0.95, (3,)), (0.1, 0.4, (3,)), (0.1, 0.95, ()), (0.1, 0.95, (5, 3)), (0.1, 0.95, (0, 3))]
)
def test_impossible_rules_are_refused(given: tuple[float, float, tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="stopping rule"):
        b.StoppingRule(*given)


def test_impossible_rates_and_counts_are_refused() -> None:
    with pytest.raises(InputError, match="rates from 0 to 1"):
        b.operating_characteristics(EXAMPLE, [1.2])
    with pytest.raises(InputError, match="4 events of 3"):
        b.posterior_above(EXAMPLE, 4, 3)
