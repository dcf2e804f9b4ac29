"""The compartment model against an independent solver, and the effects that it is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lutetia.core.draws import FloatArray
from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.nuclides import nuclide
from lutetia.protocol.profile import read_protocol
from lutetia.simulate.compartments import (
    CompartmentModel,
    compartment_model,
    parameter_table,
    residence_times_h,
)
from lutetia.simulate.population import packaged_measurement, read_population
from lutetia.simulate.subjects import Subjects, draw_subjects
from lutetia.simulate.trials import draw_block

NUCLIDES = ("Lu-177", "Y-90")
KIDNEYS, TUMOUR = 0, 3


@pytest.fixture(scope="module")
def subjects() -> Subjects:
    return draw_subjects(read_population(), 400, 3)


def by_lsoda(model: CompartmentModel, i: int) -> FloatArray:
    """Residence times of one subject with scipy's LSODA; the equations are written out again on purpose."""
    volume, on, off, inside, out, back, renal, kept, peptide, infusion = parameter_table(model)[i]
    receptors, release = model.receptors_nmol[i], model.release_per_h[i]
    decay = [nuclide(n).decay_constant_per_h for n in NUCLIDES]

    def slope(t: float, y: FloatArray, inflow: float) -> FloatArray:
        plasma, space, bound, internal = y[0], y[1], y[2:6], y[6:10]
        net = on / volume * (receptors - bound) * plasma - off * bound
        change = np.empty(20)
        change[0] = inflow - (renal + out) * plasma + back * space - net.sum()
        change[1] = out * plasma - back * space
        change[2:6] = net - inside * bound
        change[6:10] = inside * bound - release * internal
        change[6] += kept * renal * plasma
        amounts = np.append(bound + internal, plasma)
        change[10:15], change[15:] = (amounts * np.exp(-rate * t) for rate in decay)
        return change

    state = np.zeros(20)
    for start, end, inflow in ((0.0, infusion, peptide / infusion), (infusion, 1500.0, 0.0)):
        solved = solve_ivp(slope, (start, end), state, method="LSODA", rtol=1e-8, atol=1e-10, args=(inflow,))
        state = solved.y[:, -1]
    return np.stack([state[10:15], state[15:]], axis=1) / peptide


def test_residence_times_are_those_of_an_independent_solver(subjects: Subjects) -> None:
    model = compartment_model(subjects)
    found = residence_times_h(model, NUCLIDES)
    for i in range(5):
        np.testing.assert_allclose(found[i], by_lsoda(model, i), rtol=1e-3)


def test_the_solver_converges_with_third_order(subjects: Subjects) -> None:
    model = compartment_model(subjects)
    exact = residence_times_h(model, NUCLIDES, tolerance=1e-9)
    errors = [np.abs(residence_times_h(model, NUCLIDES, tolerance=tol) / exact - 1.0).max() for tol in (1e-3, 1e-6)]
    assert errors[0] < 2e-3
    assert errors[1] < errors[0] / 50.0


def test_without_receptors_plasma_and_kidneys_follow_the_closed_form(subjects: Subjects) -> None:
    """Peptide that is filtered only: ∫ plasma = 1/(k_renal + λ) for a linear system without exchange."""
    model = compartment_model(subjects)
    shared = dict(model.shared) | {"plasma_to_space_per_h": 1e-12}
    bare = CompartmentModel(
        model.plasma_L, model.renal_per_h, model.peptide_nmol, 1e-9 * np.ones_like(model.receptors_nmol),
        model.release_per_h, shared,
    )  # fmt: skip
    decay, infusion = nuclide("Lu-177").decay_constant_per_h, shared["infusion_h"]
    delay = -np.expm1(-decay * infusion) / (decay * infusion)
    plasma = delay / (model.renal_per_h + decay)
    kidneys = shared["reabsorbed_share"] * model.renal_per_h * plasma / (model.release_per_h[:, KIDNEYS] + decay)
    found = residence_times_h(bare, ("Lu-177",))[:, :, 0]
    np.testing.assert_allclose(found[:, 4], plasma, rtol=1e-3)
    np.testing.assert_allclose(found[:, KIDNEYS], kidneys, rtol=1e-3)


def test_more_peptide_saturates_the_tumour_more_than_the_kidneys(subjects: Subjects) -> None:
    little, much = (residence_times_h(compartment_model(subjects, peptide_nmol=n), ("Lu-177",)) for n in (20.0, 200.0))
    change = np.median(much / little, axis=0)[:, 0]
    assert change[TUMOUR] < 0.5
    assert change[TUMOUR] < change[KIDNEYS] < 1.0


def test_a_larger_tumour_takes_peptide_from_kidneys_and_spleen(subjects: Subjects) -> None:
    found = []
    for factor in (1.0, 5.0):
        values = dict(subjects.values) | {"tumour_burden_mL": factor * subjects.values["tumour_burden_mL"]}
        found.append(residence_times_h(compartment_model(Subjects(values, subjects.female)), ("Lu-177",)))
    ratio = found[1] / found[0]
    assert (ratio[:, KIDNEYS] < 1.0).all()
    assert (np.median(ratio[:, (0, 1, 2), 0], axis=0) < 0.97).all()
    assert (ratio[:, TUMOUR] > 1.0).all()


def test_parameters_that_are_not_positive_are_refused(subjects: Subjects) -> None:
    model = compartment_model(subjects, peptide_nmol=0.0)
    with pytest.raises(PhysicsError, match="not finite and above 0"):
        residence_times_h(model, ("Lu-177",))


def test_the_mechanistic_biology_shows_the_sink_effect_in_the_true_doses() -> None:
    population, measurement = read_population(), packaged_measurement()
    found = {
        biology: draw_block(
            read_protocol("duonen"), population, measurement, trials=1, per_trial=600, seed=2, biology=biology
        )
        for biology in ("drawn", "compartment")
    }
    for block in found.values():
        burden = np.log(block.subjects.values["tumour_burden_mL"])
        assert np.corrcoef(burden, np.log(block.true[:, 0, 0, 0]))[0, 1] < -0.1
    medians = [float(np.median(block.true[:, 0, 0, 0])) for block in found.values()]
    assert medians[1] == pytest.approx(medians[0], rel=0.08)


def test_an_unknown_biology_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: compartment, drawn"):
        draw_block(
            read_protocol("duonen"),
            read_population(),
            packaged_measurement(),
            trials=1,
            per_trial=4,
            seed=1,
            biology="x",
        )
