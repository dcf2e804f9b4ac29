"""What is packaged or written by hand for speed equals what it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from lutetia.dose.monotone import monotone_cubic
from lutetia.dose.point_kernels import PARTS, fold_kernel, point_kernel


@pytest.mark.parametrize("name", ["Lu-177", "Y-90"])
def test_packaged_point_kernels_are_those_of_the_present_tables(name: str) -> None:
    packaged, folded = point_kernel(name), fold_kernel(name)
    for part in PARTS:
        found, expected = getattr(packaged, part), getattr(folded, part)
        np.testing.assert_allclose(
            found, expected, rtol=1e-9, atol=1e-15, err_msg=f"run builders/build_folded_kernels.py ({part})"
        )


@pytest.mark.parametrize(
    "values",
    [
        np.cumsum(np.abs(np.random.default_rng(1).standard_normal(40))),
        np.random.default_rng(2).standard_normal(40),
        np.concatenate([np.zeros(10), np.ones(20), [0.2, 0.1, 0.0]]),
    ],
)
def test_monotone_interpolation_is_that_of_scipy(values: np.ndarray) -> None:
    nodes = np.linspace(-3.0, 5.0, values.size)
    x = np.linspace(-3.0, 5.0, 1001)
    np.testing.assert_allclose(monotone_cubic(nodes, values)(x), PchipInterpolator(nodes, values)(x), atol=1e-12)
