"""Shapes of beta spectra."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.beta import beta_spectrum, fermi_function


def test_without_charge_the_coulomb_factor_is_one() -> None:
    w = np.linspace(1.1, 5.0, 9)
    for order in (1, 2):
        np.testing.assert_allclose(fermi_function(w, 0, radius=0.01, order=order), 1.0, rtol=1e-12)


def test_a_spectrum_is_one_electron_and_ends_at_the_endpoint() -> None:
    energy = np.linspace(0.0, 0.6, 60001)
    density = beta_spectrum(energy, 0.4978, 72, mass_number=177)
    assert np.trapezoid(density, energy) == pytest.approx(1.0, abs=2e-3)
    assert density[energy >= 0.4978].max() == 0.0


def test_charge_of_the_daughter_softens_electrons_and_hardens_positrons() -> None:
    energy = np.linspace(1e-4, 0.65, 5000)
    mean = [
        float(np.average(energy, weights=beta_spectrum(energy, 0.6531, charge, mass_number=64)))
        for charge in (28, 0, -28)
    ]
    assert mean[0] < mean[1] < mean[2]


def test_the_unique_shape_of_yttrium_90_is_needed_for_its_mean_energy() -> None:
    energy = (np.arange(4000) + 0.5) * 2.2801 / 4000
    mean = {
        shape: float(np.average(energy, weights=beta_spectrum(energy, 2.2801, 40, mass_number=90, shape=shape)))
        for shape in ("allowed", "unique first-forbidden")
    }
    assert mean["unique first-forbidden"] == pytest.approx(0.9330, rel=1.5e-3)
    assert mean["allowed"] < 0.930


def test_unknown_shapes_and_impossible_endpoints_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="beta spectrum shape"):
        beta_spectrum(0.1, 0.5, 72, mass_number=177, shape="second")
    with pytest.raises(PhysicsError, match="endpoint"):
        beta_spectrum(0.1, -0.5, 72, mass_number=177)
