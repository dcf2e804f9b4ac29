"""Virtual subjects and their courses at level ``analytic``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lutetia.dose.s_values import organ_s_value
from lutetia.errors import InputError, ProtocolError
from lutetia.protocol.allocation import CourseDose
from lutetia.protocol.arrays import CATEGORIES, decide_arrays
from lutetia.protocol.profile import packaged_protocols, read_protocol
from lutetia.protocol.rules import arm_rules
from lutetia.simulate.courses import Courses
from lutetia.simulate.population import REGIONS, packaged_measurement, read_population, without_errors
from lutetia.simulate.subjects import draw_subjects, s_ratios
from lutetia.simulate.trials import arm_doses, draw_block, run_block

POPULATION, MEASUREMENT = read_population(), packaged_measurement()
KIDNEY, MARROW = REGIONS.index("kidneys"), REGIONS.index("red marrow")


@pytest.fixture(scope="module")
def courses() -> dict[str, Courses]:
    block = draw_block(read_protocol("duonen"), POPULATION, MEASUREMENT, trials=50, per_trial=56, seed=3)
    return run_block(block)


def share(courses: Courses, name: str) -> float:
    """Share of a category among decisions about cycles 2 and later of the variable nuclide."""
    assert courses.rules.variable is not None
    decided = courses.state[:, 1:] >= 0
    return float((courses.category[:, 1:, courses.rules.variable][decided] == CATEGORIES.index(name)).mean())


def test_reductions_predominate_in_b_and_c_and_increases_in_d(courses: dict[str, Courses]) -> None:
    assert share(courses["B"], "reduced") > 0.75
    assert share(courses["C"], "reduced") > 0.75
    assert share(courses["D"], "increased") > 0.80


def test_arm_c_has_the_highest_median_kidney_and_marrow_dose_and_passes_23_Gy(courses: dict[str, Courses]) -> None:
    for region in (KIDNEY, MARROW):
        medians = {arm: float(np.median(c.cumulative_true_Gy[:, region])) for arm, c in courses.items()}
        assert max(medians, key=lambda arm: medians[arm]) == "C"
    assert 25.0 < np.median(courses["C"].cumulative_true_Gy[:, KIDNEY]) < 35.0
    assert np.median(courses["D"].cumulative_true_Gy[:, KIDNEY]) < 23.0


def test_only_the_variable_nuclide_varies(courses: dict[str, Courses]) -> None:
    for arm, fixed in (("B", 0), ("C", 1)):
        values = courses[arm].prescribed_MBq[..., fixed]
        assert set(np.unique(values[np.isfinite(values)])) == {3700.0}
    grid = courses["D"].prescribed_MBq
    assert np.all(grid[np.isfinite(grid)] % 50.0 == 0.0)


def test_every_decision_is_that_of_the_controller_for_the_subject_alone() -> None:
    protocol = read_protocol("duonen")
    exact = without_errors(MEASUREMENT)
    block = draw_block(protocol, POPULATION, exact, trials=1, per_trial=40, seed=5)
    doses, courses = arm_doses(block, "C"), run_block(block)["C"]
    rules, subject, cycle = arm_rules(protocol, "C"), 2, 2
    given = courses.true_Gy[subject, :cycle, :2].sum(axis=0)
    linear = doses.true[subject, cycle - 1, :2]
    decision = decide_arrays(
        rules,
        CourseDose(given[None], linear[None], np.zeros((1, 2, 2, 2))),
        cycle=cycle + 1,
        previous_MBq=courses.prescribed_MBq[subject, cycle - 1],
    )
    np.testing.assert_array_equal(decision.activity_MBq, courses.prescribed_MBq[subject, cycle])


def test_ratios_of_s_values_come_from_the_dose_layer() -> None:
    people = draw_subjects(POPULATION, 200, 1)
    ratio = s_ratios(people, "Y-90")[:, 0]
    who = int(np.flatnonzero(people.female)[0])
    mass = people.values["kidneys_mass_g"][who]
    direct = [float(organ_s_value(n, "kidneys", "kidneys", "female", mass).Gy_per_MBq_h) for n in ("Y-90", "Lu-177")]
    assert ratio[who] == pytest.approx(direct[0] / direct[1], rel=1e-3)


def test_published_dose_per_activity_and_ratio_are_met() -> None:
    block = draw_block(read_protocol("duonen"), POPULATION, MEASUREMENT, trials=60, per_trial=56, seed=1)
    kidney = block.true[:, 0, KIDNEY]
    assert np.median(kidney[:, 0]) * 1e3 == pytest.approx(0.47, abs=0.02)
    assert 3.6 < np.median(kidney[:, 1] / kidney[:, 0]) < 4.6
    low, high = np.quantile(block.true[:, 0, MARROW, 0] * 1e3, [0.05, 0.95])
    assert low > 0.007
    assert high < 0.030


def test_lower_renal_function_goes_with_more_kidney_dose_and_more_marrow_dose() -> None:
    block = draw_block(read_protocol("duonen"), POPULATION, MEASUREMENT, trials=60, per_trial=56, seed=2)
    filtration = np.log(block.subjects.values["egfr_mL_per_min"])
    for region in (KIDNEY, MARROW):
        assert np.corrcoef(filtration, np.log(block.true[:, 0, region, 0]))[0, 1] < -0.2


def test_the_first_trials_of_a_block_do_not_depend_on_anything_but_the_seed() -> None:
    protocol = read_protocol("duonen")
    first = draw_block(protocol, POPULATION, MEASUREMENT, trials=4, per_trial=10, seed=9)
    again = draw_block(protocol, POPULATION, MEASUREMENT, trials=4, per_trial=10, seed=9)
    other = draw_block(protocol, POPULATION, MEASUREMENT, trials=4, per_trial=10, seed=10)
    np.testing.assert_array_equal(first.measured, again.measured)
    assert not np.array_equal(first.measured, other.measured)


@pytest.mark.parametrize("name", packaged_protocols())
def test_every_packaged_protocol_runs(name: str) -> None:
    block = draw_block(read_protocol(name), POPULATION, MEASUREMENT, trials=2, per_trial=24, seed=4)
    for courses in run_block(block).values():
        assert np.isfinite(courses.true_Gy).all()
        assert courses.given[:, 0].mean() > 0.5


def test_zero_subjects_are_refused() -> None:
    with pytest.raises(InputError, match="found 1 trials of 0 subjects; expected 1 or more"):
        draw_block(read_protocol("duonen"), POPULATION, MEASUREMENT, trials=1, per_trial=0, seed=1)


def test_a_limit_below_one_minimum_activity_is_refused() -> None:
    protocol = read_protocol("duonen")
    kidneys = replace(protocol.limits[0], limit_Gy=2.0)
    impossible = replace(protocol, limits=(kidneys, *protocol.limits[1:]))
    with pytest.raises(ProtocolError, match="one cycle at the smallest activity gives"):
        draw_block(impossible, POPULATION, MEASUREMENT, trials=1, per_trial=8, seed=1)


def test_a_population_with_negative_masses_is_refused(tmp_path: Path) -> None:
    text = POPULATION.text.replace("kidneys_mass_g = { median = 300", "kidneys_mass_g = { median = -300")
    path = tmp_path / "population.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="kidneys_mass_g: median: found -300; expected a finite number above 0"):
        read_population(path)


def test_contradictory_correlations_are_refused(tmp_path: Path) -> None:
    text = POPULATION.text.replace(
        '["alt", "ast", 0.75]', '["alt", "ast", 0.99], ["alt", "alp", -0.99], ["ast", "alp", 0.9]'
    )
    path = tmp_path / "population.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="correlations contradict each other"):
        read_population(path)
