"""Statistics of virtual trials are those of the interim report, and stopping rules do what their boundaries say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kruskal

from lutetia.protocol.profile import read_protocol
from lutetia.safety.statistics.association import dose_effect
from lutetia.safety.statistics.boundaries import operating_characteristics
from lutetia.safety.statistics.results import Result
from lutetia.simulate.clinic import VirtualClinic, virtual_clinic
from lutetia.simulate.courses import Courses
from lutetia.simulate.effects import read_effects
from lutetia.simulate.population import REGIONS, packaged_measurement, read_population
from lutetia.simulate.statistics import (
    ANALYSED_TRIALS,
    CATEGORY_TRIALS,
    FIRST_CYCLE,
    flat,
    log_nadir,
    modification_score,
    trial_p_values,
)
from lutetia.simulate.stopping import (
    CROSSED,
    EVENTS,
    first_cycle_events,
    planned_per_arm,
    stopping_counts,
    stopping_record,
    stopping_rules,
)
from lutetia.simulate.trials import Block, draw_block, run_block

Ran = tuple[Block, dict[str, Courses], dict[str, VirtualClinic]]


def ran(trials: int, per_trial: int = 56, seed: int = 2, scale: float = 1.0) -> Ran:
    block = draw_block(
        read_protocol("duonen"),
        read_population(),
        packaged_measurement(),
        trials=trials,
        per_trial=per_trial,
        seed=seed,
    )
    effects = read_effects("planted")
    clinics = {arm: virtual_clinic(block, arm, effects) for arm in block.arms}
    for clinic in clinics.values():
        clinic.sensitivity = clinic.sensitivity * scale
    courses = run_block(block, clinics)
    for arm, clinic in clinics.items():
        clinic.follow_up(courses[arm])
    return block, courses, clinics


@pytest.fixture(scope="module")
def six() -> Ran:
    return ran(6)


def test_p_values_of_a_trial_are_those_of_the_interim_report(six: Ran) -> None:
    block, courses, clinics = six
    found = trial_p_values(block, courses, clinics)
    marrow = REGIONS.index("red marrow")
    for trial in (0, 5):
        dose, change, arms = [], [], []
        for arm in block.arms:
            own = np.flatnonzero(block.arm == block.arms.index(arm)) // block.per_trial == trial
            dose += list(courses[arm].measured_Gy[own, 0, marrow])
            change += list(log_nadir(clinics[arm], "platelets", FIRST_CYCLE)[own])
            arms += [arm] * int(own.sum())
        expected = dose_effect(dose, change, arms)
        assert isinstance(expected, Result)
        assert found["p dose platelets effect"][trial] == pytest.approx(expected.p, rel=1e-9)


def test_the_pooled_category_test_is_that_of_scipy_where_groups_are_large() -> None:
    block, courses, clinics = ran(1, per_trial=400)
    found = trial_p_values(block, courses, clinics)
    score = flat(block, {arm: modification_score(c) for arm, c in courses.items()})
    worst = flat(block, {arm: log_nadir(clinics[arm], "platelets", slice(1, None)) for arm in courses})
    groups = [worst[(score == value) & np.isfinite(worst)] for value in (-1.0, 0.0, 1.0)]
    assert min(len(g) for g in groups) >= 5
    assert found["p category pooled platelets"][0] == pytest.approx(kruskal(*groups).pvalue, rel=1e-9)


def test_only_the_first_trials_of_a_study_are_analysed(six: Ran) -> None:
    late = trial_p_values(*six, before=ANALYSED_TRIALS - 2)
    assert np.isfinite(late["p dose platelets effect"]).tolist() == [True, True, False, False, False, False]
    assert np.isnan(late["p category pooled platelets"]).all()
    some = trial_p_values(*six, before=CATEGORY_TRIALS - 3)
    assert np.isfinite(some["p category pooled platelets"]).sum() == 3
    assert np.isfinite(some["p dose platelets effect"]).all()


def test_events_are_counted_within_eight_weeks_of_the_first_infusion(six: Ran) -> None:
    block, courses, clinics = six
    arm = block.arms[0]
    clinic = clinics[arm]
    event, evaluable = first_cycle_events(courses[arm], clinic)
    for i in range(len(event)):
        samples = np.flatnonzero((clinic.day[i] > 0.0) & (clinic.day[i] <= 56.0))
        worst = max(
            (np.nan_to_num(clinic.grade(a, slice(None))[i, samples]) >= g).any()
            for a, g in {"haemoglobin": 3, "platelets": 3, "neutrophils": 3, "creatinine": 2}.items()
        )
        assert event[i] == worst
        assert evaluable[i] == (worst or clinic.observed_until[i] >= 56.0)


def test_a_rule_stops_as_often_as_its_exact_characteristics_say() -> None:
    block, courses, clinics = ran(250, per_trial=92, scale=5.0)
    counts = stopping_counts(block, courses, clinics)
    record = stopping_record(counts, block.arms, 92)
    events = counts[EVENTS].sum(axis=(0, 1))
    assert 0.05 < events[0] / events[1] < 0.5
    for i, rule in enumerate(stopping_rules(planned_per_arm(92, 4)).values()):
        for place, arm in enumerate(block.arms):
            rate = record["event_rate"][arm]
            expected = operating_characteristics(rule, [rate])[0].p_stop
            assert record["rules"][i]["exact"][arm] == pytest.approx(expected, rel=1e-5)
            # withdrawn subjects leave fewer than the last look, hence a little less often
            assert counts[CROSSED][:, i, place].mean() == pytest.approx(expected, abs=0.09)
        any_arm = counts[CROSSED][:, i, -1].mean()
        assert any_arm >= counts[CROSSED][:, i, :-1].mean(axis=0).max()


def test_the_strong_effect_is_four_times_as_steep_and_nothing_else() -> None:
    planted, strong = read_effects("planted"), read_effects("strong")
    assert strong.mode == "planted"
    for name, row in planted.counts.items():
        assert strong.counts[name] == {**row, "slope_per_Gy": 4.0 * row["slope_per_Gy"]}
    assert (strong.renal, strong.events) == (planted.renal, planted.events)


def test_arms_that_are_too_small_for_a_look_have_no_rules() -> None:
    assert stopping_rules(planned_per_arm(8, 4)) == {}
    assert stopping_rules(planned_per_arm(92, 4))["p0 .10, τ .95, at 14, 23"].looks == (14, 23)
