"""Exchange of the physical decay: 177Lu to 90Y and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutetia.errors import PhysicsError
from lutetia.kinetics.integrate import time_integrated_activity
from lutetia.kinetics.transfer import transfer_nuclide
from lutetia.nuclear.nuclides import nuclide

LU, Y = nuclide("Lu-177").decay_constant_per_h, nuclide("Y-90").decay_constant_per_h


@given(
    st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.0, 2.0)), min_size=1, max_size=4),
    st.floats(0.05, 20.0),
)
def test_transfer_there_and_back_is_the_identity(parts: list[tuple[float, float]], ratio: float) -> None:
    c, k = np.array([p[0] for p in parts]), LU + np.array([p[1] for p in parts])
    there = transfer_nuclide(c, k, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=ratio)
    back = transfer_nuclide(*there, from_nuclide="Y-90", to_nuclide="Lu-177", administered_ratio=1 / ratio)
    np.testing.assert_allclose(back[0], c, rtol=1e-12)
    np.testing.assert_allclose(back[1], k, rtol=1e-12)


def test_no_washout_gives_pure_physical_decay_of_the_other_nuclide() -> None:
    c, k = transfer_nuclide([5.0, 0.0], [LU, 0.0], from_nuclide="177Lu", to_nuclide="90Y", administered_ratio=0.5)
    assert time_integrated_activity(c, k) == pytest.approx(2.5 / Y, rel=1e-12)
    assert k[1] == 0.0


def test_biological_half_life_is_kept() -> None:
    biological = np.log(2) / 80.0
    _, k = transfer_nuclide([1.0], [LU + biological], from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=1.0)
    assert k[0] == pytest.approx(Y + biological, rel=1e-12)


def test_a_later_start_of_the_other_nuclide_changes_nothing_and_an_earlier_one_moves_the_curve() -> None:
    c, k = np.array([100.0]), np.array([0.02])
    later, _ = transfer_nuclide(c, k, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=1, delay_h=2.0)
    earlier, _ = transfer_nuclide(c, k, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=1, delay_h=-2.0)
    assert later[0] == 100.0
    assert earlier[0] == pytest.approx(100 * np.exp(-0.04))


def test_ratios_may_differ_by_draw() -> None:
    c, k = np.ones((3, 4)), np.full((3, 4), 0.02)
    moved, _ = transfer_nuclide(
        c, k, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=np.array([1.0, 2.0, 3.0])
    )
    assert moved[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_a_rate_below_physical_decay_is_refused_with_the_remedy() -> None:
    with pytest.raises(PhysicsError, match=r"below the physical decay of Lu-177.*refit"):
        transfer_nuclide([1.0], [0.9 * LU], from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=1.0)


@pytest.mark.parametrize("ratio", [-1.0, float("nan")])
def test_an_impossible_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(PhysicsError, match="administered ratio"):
        transfer_nuclide([1.0], [0.1], from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=ratio)
