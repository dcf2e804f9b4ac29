"""True kinetics: closed integrals against quadrature, and the nuclides that share them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide
from lutetia.phantom.biology import Biology, biological_rate_per_h, two_phase, washout

CURVES = {
    "washout": washout(0.02, 52.0),
    "uptake": washout(0.02, 52.0, uptake_half_time_h=1.5),
    "two phases": two_phase(0.05, 65.0, fast_share=0.2, fast_half_life_h=8.0),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("nuclide_name", ["Lu-177", "Y-90"])
def test_the_integral_is_the_area_under_the_curve(name: str, nuclide_name: str) -> None:
    curve = CURVES[name]
    area, _ = quad(lambda t: float(curve.activity_MBq(t, nuclide_name, 1000.0)), 0.0, 3000.0, limit=400)
    assert curve.time_integrated_activity_MBq_h(nuclide_name, 1000.0) == pytest.approx(area, rel=1e-6)


def test_the_effective_half_life_is_that_of_lutetium() -> None:
    curve = washout(0.02, 52.0)
    early, late = curve.activity_MBq([10.0, 62.0], "Lu-177", 1.0)
    assert late / early == pytest.approx(0.5)


def test_both_nuclides_differ_by_their_decay_only() -> None:
    curve, time = CURVES["uptake"], 30.0
    ratio = curve.activity_MBq(time, "Y-90", 1.0) / curve.activity_MBq(time, "Lu-177", 1.0)
    difference = nuclide("Y-90").decay_constant_per_h - nuclide("Lu-177").decay_constant_per_h
    assert ratio == pytest.approx(np.exp(-difference * time))


def test_an_effective_half_life_beyond_the_physical_one_is_refused() -> None:
    with pytest.raises(PhysicsError, match="longer than that of Lu-177"):
        biological_rate_per_h(170.0)


def test_rates_must_not_be_negative() -> None:
    with pytest.raises(PhysicsError):
        Biology((1.0,), (-0.1,))
