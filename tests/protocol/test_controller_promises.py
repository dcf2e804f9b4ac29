"""Promises of the controller over thousands of random histories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutetia.core.chain import Forecast
from lutetia.core.draws import Estimate
from lutetia.errors import PhysicsError
from lutetia.protocol.allocation import CourseDose, projected_dose_Gy
from lutetia.protocol.arrays import CATEGORIES, STATES, decide_arrays
from lutetia.protocol.controller import Decision, decide
from lutetia.protocol.explain import explain, signing_conditions
from lutetia.protocol.profile import packaged_protocols, read_protocol
from lutetia.protocol.records import Protocol
from lutetia.protocol.rules import ACTIONS, Rules, arm_rules, planned_sums

PROTOCOLS = {name: read_protocol(name) for name in packaged_protocols()}
ARMS = [(name, arm) for name, protocol in PROTOCOLS.items() for arm in protocol.arms]
SLACK = 1 + 1e-8
HISTORIES = 700


@dataclass
class History:
    protocol: Protocol
    arm: str
    forecast: Forecast
    settings: dict[str, Any]

    def decide(self, **changes: Any) -> Decision:
        return decide(self.protocol, self.arm, self.forecast, **{**self.settings, **changes})


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Any protocol and arm with random limits' kinds and risks, doses, spread, cycle, previous activity and flags."""
    name, arm = draw(st.sampled_from(ARMS))
    protocol = PROTOCOLS[name]
    kinds, risks = st.sampled_from(["hard", "soft", "advisory"]), st.sampled_from([0.05, 0.2, 0.5, 0.8])
    drift = draw(st.sampled_from([0.9, 1.0, 1.15]))
    protocol = replace(
        protocol,
        limits=tuple(replace(li, kind=draw(kinds), risk=draw(risks)) for li in protocol.limits),
        drift_per_cycle={li.region: drift for li in protocol.limits},
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chosen = protocol.arm(arm)
    factors = st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0, 1.3, 1.5])
    return History(
        protocol,
        arm,
        random_forecast(generator, protocol, arm, spread=draw(st.sampled_from([0.0, 0.1, 0.3]))),
        {
            "cycle": draw(st.integers(1, protocol.cycles + 1)),
            "previous_MBq": {n: draw(factors) * base for n, base in chosen.base_MBq.items()},
            "no_increase": draw(st.booleans()),
            "action": draw(st.sampled_from(["none", "none", "none", "hold", "half", "stop"])),
            "risk_factors": draw(st.sampled_from([None, [], ["diabetes"]])),
            "measured": draw(st.sampled_from([None, True])),
        },
    )


def random_forecast(generator: np.random.Generator, protocol: Protocol, arm: str, *, spread: float) -> Forecast:
    limits = protocol.limits_of(arm)
    regions = tuple(dict.fromkeys(li.region for li in limits))
    nuclides = protocol.arm(arm).nuclides
    r, n, count = len(regions), len(nuclides), 41
    size = np.array([next(li.limit_Gy for li in limits if li.region == region) for region in regions])
    given_Gy = size * generator.uniform(0, 1.1, r)
    linear = size[:, None] / 4 / 7400 * np.exp(generator.normal(0, 0.7, (r, n)))
    half = generator.uniform(0, 1e-5, (r, n, n)) * linear[:, :, None]
    quadratic = (half + half.swapaxes(1, 2)) / 2

    def estimate(value: Any) -> Estimate:
        return Estimate(value, value * np.exp(generator.normal(0, spread, (count, *value.shape))))

    return Forecast(
        regions, nuclides, estimate(given_Gy), estimate(given_Gy * 1.05), estimate(linear), estimate(quadratic)
    )


@given(histories())
@settings(max_examples=HISTORIES, deadline=None)
def test_a_proposal_keeps_every_hard_limit_at_its_risk(history: History) -> None:
    decision = history.decide()
    if decision.activities_MBq is None:
        return
    for outcome in decision.limits:
        if outcome.limit.kind != "hard":
            continue
        assert outcome.after_cycle is not None
        assert outcome.end_of_course is not None
        tolerated = outcome.limit.tolerance_Gy > 0
        if not tolerated:
            assert outcome.after_cycle.probability_over <= outcome.limit.risk + 1e-12
        if decision.measured and not tolerated:
            assert outcome.end_of_course.probability_over <= outcome.limit.risk + 1e-12


@given(histories())
@settings(max_examples=HISTORIES, deadline=None)
def test_a_proposal_without_override_keeps_every_soft_limit_at_its_risk(history: History) -> None:
    decision = history.decide()
    if decision.activities_MBq is None or decision.over_limit or not decision.measured:
        return
    for outcome in decision.limits:
        if outcome.limit.kind != "advisory" and not outcome.limit.tolerance_Gy:
            assert outcome.end_of_course is not None
            assert outcome.end_of_course.probability_over <= outcome.limit.risk + 1e-12


@given(histories(), st.floats(0.01, 0.5))
@settings(max_examples=HISTORIES, deadline=None)
def test_more_dose_given_never_allows_more_activity(history: History, extra: float) -> None:
    f = history.forecast
    more = replace(f, **{k: _scaled(getattr(f, k), 1 + extra) for k in ("given_Gy", "given_bed_Gy")})
    before, after = history.decide(), replace(history, forecast=more).decide()
    assert STATES.index(after.state) >= STATES.index(before.state)
    if after.activities_MBq is not None:
        assert before.activities_MBq is not None
        assert all(after.activities_MBq[n] <= before.activities_MBq[n] for n in f.nuclides)


@given(histories())
@settings(max_examples=HISTORIES, deadline=None)
def test_activities_stay_within_their_bounds_and_on_the_grid(history: History) -> None:
    decision, arm = history.decide(), history.protocol.arm(history.arm)
    if decision.activities_MBq is None:
        return
    for nuclide, base in arm.base_MBq.items():
        activity, before = decision.activities_MBq[nuclide], history.settings["previous_MBq"][nuclide]
        last = before if before > 0 else base
        if history.settings["action"] == "half":
            assert activity <= 0.5 * last * SLACK
        elif nuclide != arm.variable:
            assert activity == base
        if nuclide == arm.variable:
            _check_variable(decision, activity, before)


def _check_variable(decision: Decision, activity: float, before: float) -> None:
    arm = decision.protocol.arm(decision.arm)
    assert arm.variable is not None
    assert arm.minimum_MBq is not None
    base, grid = arm.base_MBq[arm.variable], decision.protocol.grid_MBq
    if arm.cap_MBq is not None:
        assert activity <= arm.cap_MBq[decision.cycle - 1] * SLACK
    on_grid = abs(activity / grid - round(activity / grid)) < 1e-6
    assert on_grid or any(abs(activity - x) < 1e-6 for x in (base, arm.minimum_MBq, before))
    if not decision.measured:
        return
    if arm.step_up is not None and before > 0:
        assert activity <= max(before * (1 + arm.step_up), arm.minimum_MBq) * SLACK
    if decision.no_increase and decision.state == "OK":
        assert activity <= (before if before > 0 else base) * SLACK
    if decision.action != "half" and not decision.no_increase:
        assert activity >= arm.minimum_MBq / SLACK


@given(histories())
@settings(max_examples=HISTORIES, deadline=None)
def test_state_category_and_binding_agree_and_are_explained(history: History) -> None:
    decision = history.decide()
    arm, nothing = history.protocol.arm(history.arm), decision.activities_MBq is None
    assert explain(decision)
    assert all(sentence.endswith(".") and "nan" not in sentence for sentence in explain(decision))
    assert bool(signing_conditions(decision)) >= (nothing or decision.over_limit)
    if decision.state in ("HELD", "COMPLETE"):
        assert nothing
    if decision.state == "OK":
        assert not nothing
        assert not decision.over_limit
    if decision.state == "COMPLETE":
        assert (decision.category, decision.bound_by) == (None, None)
        return
    assert decision.category is not None
    if nothing:
        assert set(decision.category.values()) == {"stopped" if decision.state == "STOP" else "withheld"}
        return
    assert decision.activities_MBq is not None
    for nuclide, category in decision.category.items():
        ratio = decision.activities_MBq[nuclide] / arm.base_MBq[nuclide]
        expected = "reduced" if ratio < 0.95 - 1e-9 else "increased" if ratio > 1.05 + 1e-9 else "unchanged"
        if nuclide != arm.variable and ratio == 1.0:
            expected = "fixed"
        assert category == expected


@given(histories())
@settings(max_examples=300, deadline=None)
def test_toxicity_never_raises_an_activity(history: History) -> None:
    free, half = history.decide(action="none"), history.decide(action="half")
    assert half.state == free.state
    if free.activities_MBq is not None:
        assert half.activities_MBq is not None
        assert all(half.activities_MBq[n] <= free.activities_MBq[n] for n in free.activities_MBq)
    assert history.decide(action="stop").activities_MBq is None
    assert history.decide(action="hold").activities_MBq is None


@given(histories())
@settings(max_examples=300, deadline=None)
def test_no_increase_never_raises_an_activity(history: History) -> None:
    free, still = history.decide(no_increase=False), history.decide(no_increase=True)
    if free.activities_MBq is not None:
        assert still.activities_MBq is not None
        assert all(still.activities_MBq[n] <= free.activities_MBq[n] for n in free.activities_MBq)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.draws * factor)


def cohort(rules: Rules, subjects: int, draws: int) -> CourseDose:
    generator = np.random.default_rng(5)
    shape, n = (draws, subjects, len(rules.limit_ids)), len(rules.nuclides)
    given_Gy = rules.limit_Gy * generator.uniform(0, 1.1, shape)
    linear = rules.limit_Gy[:, None] / 4 / 7400 * np.exp(generator.normal(0, 0.6, (*shape, n)))
    return CourseDose(given_Gy, linear, np.zeros((*shape, n, n)))


@pytest.mark.parametrize("arm", ["A", "B", "C", "D"])
def test_many_subjects_at_once_decide_as_each_alone(arm: str) -> None:
    rules = arm_rules(read_protocol("duonen"), arm)
    dose, generator = cohort(rules, 300, 11), np.random.default_rng(8)
    cycle = generator.integers(1, 6, 300)
    last = rules.base_MBq * generator.uniform(0.4, 1.5, (300, len(rules.nuclides)))
    still, action = generator.random(300) < 0.2, generator.integers(0, len(ACTIONS), 300)
    evaluable = generator.random((300, len(rules.limit_ids))) < 0.9
    together = decide_arrays(
        rules, dose, cycle=cycle, previous_MBq=last, no_increase=still, action=action, evaluable=evaluable
    )
    for i in range(300):
        one = CourseDose(dose.given_Gy[:, i], dose.linear_Gy_per_MBq[:, i], dose.quadratic_Gy_per_MBq2[:, i])
        alone = decide_arrays(
            rules,
            one,
            cycle=cycle[i],
            previous_MBq=last[i],
            no_increase=still[i],
            action=action[i],
            evaluable=evaluable[i],
        )
        np.testing.assert_array_equal(together.activity_MBq[i], alone.activity_MBq)
        assert together.state[i] == alone.state
        assert together.bound_by[i] == alone.bound_by
        np.testing.assert_array_equal(together.category[i], alone.category)
    assert len(set(together.state.tolist())) >= 4


def test_virtual_courses_never_pass_a_hard_limit_they_could_keep() -> None:
    """5,000 courses of arm D with known coefficients, planned cycle by cycle: the sum stays within both limits."""
    protocol = read_protocol("duonen")
    hard = replace(protocol, limits=tuple(replace(li, kind="hard") for li in protocol.limits))
    rules, generator = arm_rules(hard, "D"), np.random.default_rng(3)
    slope = np.array([[0.47e-3], [0.0145e-3]]) * np.exp(generator.normal(0, 0.5, (1, 5000, 2, 1)))
    total, last = np.zeros((5000, 2)), np.zeros((5000, 1))
    for cycle in range(1, 5):
        dose = CourseDose(total[None], slope, np.zeros((1, 5000, 2, 1, 1)))
        found = decide_arrays(rules, dose, cycle=cycle, previous_MBq=last)
        activity = np.nan_to_num(found.activity_MBq)
        total = projected_dose_Gy(dose, activity)[0]
        last = np.where(activity > 0, activity, last)
    assert (total <= np.array([23.0, 2.0]) * SLACK).all()
    assert (total[:, 0] > 22.0).mean() > 0.3


def test_a_planned_course_of_constant_biology_ends_at_the_limit() -> None:
    """With exact coefficients the even allocation proposes the same activity again, but for the grid."""
    rules = arm_rules(read_protocol("duonen"), "D")
    slope = np.array([[[0.7e-3], [0.01e-3]]])
    given_Gy, last, proposed = np.array([[0.7e-3 * 7400, 0.07]]), np.array([7400.0]), []
    for cycle in (2, 3, 4):
        dose = CourseDose(given_Gy, slope, np.zeros((1, 2, 1, 1)))
        activity = decide_arrays(rules, dose, cycle=cycle, previous_MBq=last).activity_MBq
        given_Gy, last = projected_dose_Gy(dose, activity), activity
        proposed.append(float(activity[0]))
    assert proposed == [8450.0, 8500.0, 8500.0]  # 8 486, then 8 504 and 8 507 MBq floored to the grid
    assert 23.0 - 0.7e-3 * 50 < given_Gy[0, 0] <= 23.0


def test_the_quantile_steers_to_the_accepted_risk() -> None:
    """A risk of 5 % at 13 % relative SD aims well below the limit: near 23 / (1 + 1.645 · 0.13) = 18.9 Gy."""
    protocol = read_protocol("duonen")
    cautious = replace(protocol, limits=(replace(protocol.limits[0], risk=0.05),))
    rules, generator = arm_rules(cautious, "D"), np.random.default_rng(1)
    factor = 1 + 0.13 * generator.standard_normal((20000, 1))
    given_Gy, slope = 8.0 * factor, (0.65e-3 * factor)[..., None]
    dose = CourseDose(given_Gy, slope, np.zeros((20000, 1, 1, 1)))
    found = decide_arrays(rules, dose, cycle=3, previous_MBq=[7400.0])
    end = projected_dose_Gy(dose, found.activity_MBq, planned_sums(rules, 3))
    assert (end > 23.0).mean() == pytest.approx(0.05, abs=0.005)
    assert np.median(end) == pytest.approx(18.9, abs=0.15)


def test_what_is_not_evaluable_does_not_act_and_what_is_broken_is_refused() -> None:
    rules = arm_rules(read_protocol("duonen"), "D")
    slope = np.array([[[0.3e-3], [np.nan]]])
    dose = CourseDose(np.array([[5.0, np.nan]]), slope, np.zeros((1, 2, 1, 1)))
    found = decide_arrays(rules, dose, cycle=2, previous_MBq=[7400.0], evaluable=[True, False], no_increase=True)
    assert found.activity_MBq.tolist() == [7400.0]
    with pytest.raises(PhysicsError, match="dose given: found negative values or values that are not finite"):
        decide_arrays(rules, dose, cycle=2)
    negative = CourseDose(np.array([[5.0, 0.1]]), np.array([[[0.3e-3], [-1e-6]]]), np.zeros((1, 2, 1, 1)))
    with pytest.raises(PhysicsError, match="dose coefficients"):
        decide_arrays(rules, negative, cycle=2)
    with pytest.raises(PhysicsError, match="cycle: found 0"):
        decide_arrays(rules, CourseDose(np.zeros((1, 2)), np.zeros((1, 2, 1)), np.zeros((1, 2, 1, 1))), cycle=0)
    assert CATEGORIES[int(found.category[0])] == "unchanged"
