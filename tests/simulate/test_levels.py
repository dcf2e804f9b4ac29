"""The levels of a simulation agree where nothing is measured wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.errors import UnknownNameError
from lutetia.protocol.profile import read_protocol
from lutetia.simulate.population import packaged_measurement, read_population, without_errors
from lutetia.simulate.trials import draw_block, run_block

POPULATION, MEASUREMENT = read_population(), packaged_measurement()


def test_without_errors_the_levels_take_the_same_decisions() -> None:
    protocol, exact = read_protocol("duonen"), without_errors(MEASUREMENT)
    blocks = [
        draw_block(protocol, POPULATION, exact, trials=2, per_trial=100, seed=11, level=level)
        for level in ("analytic", "fitted")
    ]
    np.testing.assert_allclose(blocks[1].measured, blocks[0].measured, rtol=2e-4)
    analytic, fitted = (run_block(block) for block in blocks)
    for arm, courses in analytic.items():
        np.testing.assert_array_equal(courses.prescribed_MBq, fitted[arm].prescribed_MBq)
        np.testing.assert_array_equal(courses.state, fitted[arm].state)
        np.testing.assert_array_equal(courses.category, fitted[arm].category)


def test_without_errors_what_is_measured_is_the_truth() -> None:
    block = draw_block(read_protocol("duonen"), POPULATION, without_errors(MEASUREMENT), trials=1, per_trial=50, seed=1)
    np.testing.assert_array_equal(block.measured, block.true)
    assert not block.missed.any()


@pytest.mark.parametrize("level", ["analytic", "fitted"])
def test_kidney_doses_are_wrong_by_about_thirteen_percent(level: str) -> None:
    block = draw_block(read_protocol("duonen"), POPULATION, MEASUREMENT, trials=5, per_trial=100, seed=2, level=level)
    error = np.log(block.measured[:, :, 0, 0] / block.true[:, :, 0, 0])
    assert 0.07 < error.std() < 0.15
    assert abs(error.mean()) < 0.01


def test_errors_of_the_two_nuclides_go_together() -> None:
    block = draw_block(read_protocol("duonen"), POPULATION, MEASUREMENT, trials=5, per_trial=100, seed=2)
    error = np.log(block.measured[:, 0, 0] / block.true[:, 0, 0])
    assert 0.8 < np.corrcoef(error.T)[0, 1] < 0.99


def test_an_unknown_level_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: analytic, fitted"):
        draw_block(read_protocol("duonen"), POPULATION, MEASUREMENT, trials=1, per_trial=4, seed=1, level="exact")
