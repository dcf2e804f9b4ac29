"""Laboratory values follow the doses, and toxicity on arrays is that of the protocol layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from lutetia.clinical.analytes import analytes
from lutetia.clinical.ctcae import grade_value, worst_grade
from lutetia.clinical.labs import LabValue, read_rows
from lutetia.clinical.renal import ckd_epi_2021
from lutetia.core.draws import FloatArray
from lutetia.protocol.findings import Patient
from lutetia.protocol.profile import read_protocol
from lutetia.protocol.rules import ACTIONS
from lutetia.protocol.toxicity import STAGES, TRANSITIONS, assess
from lutetia.simulate.clinic import OBSERVATIONS, VirtualClinic, transition_table, virtual_clinic
from lutetia.simulate.courses import Clinic
from lutetia.simulate.effects import creatinine_of, decline, grades, read_effects
from lutetia.simulate.population import packaged_measurement, read_population
from lutetia.simulate.trials import Block, draw_block, run_block

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def block_of(subjects: int, seed: int) -> Block:
    return draw_block(
        read_protocol("duonen"), read_population(), packaged_measurement(), trials=1, per_trial=subjects, seed=seed
    )


def test_the_change_is_greatest_at_the_nadir_and_a_share_stays() -> None:
    days = np.linspace(0.0, 400.0, 4001)
    course = decline(days, 30.0, 0.0)
    assert days[np.argmax(course)] == pytest.approx(30.0, abs=0.2)
    assert course.max() == pytest.approx(1.0, rel=1e-6)
    assert decline(np.array([2000.0]), 30.0, 0.3)[0] == pytest.approx(0.3, rel=1e-6)
    assert decline(np.array([-5.0]), 30.0, 0.3)[0] == 0.0


@pytest.mark.parametrize("female", [True, False])
def test_creatinine_gives_back_its_filtration_rate(female: bool) -> None:
    rates, age = np.array([20.0, 55.0, 85.0, 118.0]), np.full(4, 58.0)
    creatinine = creatinine_of(rates, age, np.full(4, female))
    back = ckd_epi_2021(creatinine, age, "female" if female else "male")
    np.testing.assert_allclose(back, rates, rtol=1e-9)


@pytest.mark.parametrize("analyte", ["platelets", "neutrophils", "haemoglobin", "lymphocytes", "creatinine", "alt"])
def test_grades_on_arrays_are_those_of_the_clinical_layer(analyte: str) -> None:
    generator = np.random.default_rng(3)
    row = read_effects().reporting[analyte]
    low, high, digits = row["lln"][0], row["uln"][0], row["digits"]
    values = np.round(generator.uniform(0.02 * low, 6.0 * high, 300), digits)
    values[:6] = [low, high, 75.0, 1.5, 100.0, 3 * high]
    for start in (round(0.9 * high, digits), round(1.4 * high, digits)):
        found = grades(analyte, values, lln=low, uln=high, baseline=start)
        for value, grade in zip(values, found, strict=True):
            exact = [Decimal(f"{x:.{digits}f}") for x in (value, low, high, start)]
            known = grade_value(analyte, exact[0], lln=exact[1], uln=exact[2], baseline=exact[3])
            assert grade == worst_grade(known), (analyte, value, start)


def test_transitions_on_arrays_are_those_of_the_protocol_layer() -> None:
    table = transition_table()
    for (stage, half, seen), after in TRANSITIONS.items():
        assert STAGES[table[STAGES.index(stage), int(half), OBSERVATIONS.index(seen)]] == after
    assert (table[STAGES.index("STOPPED")] == STAGES.index("STOPPED")).all()


class Recorder:
    """Asks a clinic and keeps its answers."""

    def __init__(self, clinic: VirtualClinic) -> None:
        self.clinic, self.answers = clinic, list[Clinic]()

    def __call__(self, cycle: int, days: FloatArray, true_Gy: FloatArray) -> Clinic:
        answer = self.clinic(cycle, days, true_Gy)
        self.answers.append(answer)
        return answer


def lab_values(clinic: VirtualClinic, row: int, until: float) -> list[LabValue]:
    rows = []
    for slot, day in enumerate(clinic.day[row]):
        if not np.isfinite(day) or day > until:
            continue
        for i, name in enumerate(clinic.analytes):
            report: Mapping[str, object] = clinic.effects.reporting[name]
            sex = int(clinic.female[row])
            digits = report["digits"]
            rows.append(
                {
                    "analyte": name,
                    "sample_id": str(slot),
                    "taken_at": (START + timedelta(days=float(day))).isoformat(),
                    "value": f"{clinic.value[row, slot, i]:.{digits}f}",
                    "unit": analytes()[name].unit,
                    "lln": str(report["lln"][sex]),  # type: ignore[index]
                    "uln": str(report["uln"][sex]),  # type: ignore[index]
                }
            )
    return read_rows(rows, "labs")


def test_toxicity_on_arrays_decides_as_the_protocol_layer_for_one_subject() -> None:
    """With slopes three times as steep, so that holds, half activities and stops occur."""
    effects = read_effects()
    steep = {n: dict(r) | {"slope_per_Gy": 3.0 * r["slope_per_Gy"]} for n, r in effects.counts.items()}
    block = block_of(160, 5)
    weights = block.subjects.values["weight_kg"]
    asked = {arm: Recorder(virtual_clinic(block, arm, replace(effects, counts=steep))) for arm in block.arms}
    courses = run_block(block, asked)
    seen = dict.fromkeys(ACTIONS, 0)
    for arm, recorder in asked.items():
        clinic, rows = recorder.clinic, np.flatnonzero(block.arm == block.arms.index(arm))
        given = courses[arm].given
        for row, k in zip(*np.nonzero((courses[arm].state >= 0)[:, 1:]), strict=True):
            answer = recorder.answers[k + 1]
            action, day = ACTIONS[answer.action[row]], answer.day[row]
            if answer.held[row] == 3:
                assert action == "stop"
                continue
            days = [START + timedelta(days=float(d)) for d in courses[arm].day[row][: k + 1][given[row, : k + 1]]]
            sex = "female" if clinic.female[row] else "male"
            patient = Patient(sex, float(np.floor(clinic.age[row])), round(float(weights[rows[row]]), 1))
            found = assess(
                lab_values(clinic, row, day), days, as_of=START + timedelta(days=float(day)), patient=patient
            )
            assert found.action == action, (arm, row, k, found.reasons)
            assert bool(found.no_increase) == bool(answer.no_increase[row])
            seen[action] += 1
    assert min(seen["none"], seen["half"], seen["stop"]) > 3


def nadir_change(effect: str) -> tuple[FloatArray, FloatArray]:
    """First-cycle marrow dose and log change of platelets to the nadir of the first cycle, arm by arm centred."""
    block, effects = block_of(400, 4), read_effects(effect)
    clinics = {arm: virtual_clinic(block, arm, effects) for arm in block.arms}
    dose, change = [], []
    for arm, courses in run_block(block, clinics).items():
        value = clinics[arm].value[:, :, clinics[arm].analytes.index("platelets")]
        log = np.log(np.fmin.reduce(value[:, 1:4], axis=1) / value[:, 0])
        kept = np.isfinite(log)
        first = courses.true_Gy[kept, 0, 1]
        dose.append(first - first.mean())
        change.append(log[kept] - log[kept].mean())
    return np.concatenate(dose), np.concatenate(change)


def test_a_planted_effect_is_there_and_no_effect_is_none() -> None:
    planted, none = (float(np.corrcoef(*nadir_change(mode))[0, 1]) for mode in ("planted", "none"))
    assert planted < -0.2
    assert abs(none) < 0.12


def test_blood_counts_fall_in_every_arm_and_lymphocytes_most() -> None:
    block, effects = block_of(400, 6), read_effects()
    clinics = {arm: virtual_clinic(block, arm, effects) for arm in block.arms}
    run_block(block, clinics)
    for clinic in clinics.values():
        lowest = np.fmin.reduce(clinic.value[:, 1:], axis=1) / clinic.value[:, 0]
        median = dict(zip(clinic.analytes, np.nanmedian(lowest, axis=0), strict=True))
        assert median["lymphocytes"] < median["platelets"] < median["haemoglobin"] < 1.0


def test_the_worst_grade_is_that_of_the_lowest_or_the_highest_value() -> None:
    block, effects = block_of(120, 6), read_effects("strong")
    clinics = {arm: virtual_clinic(block, arm, effects) for arm in block.arms}
    run_block(block, clinics)
    found = set()
    for clinic in clinics.values():
        for analyte in clinic.analytes:
            every = np.nan_to_num(clinic.grade(analyte, slice(1, None))).max(axis=1)
            np.testing.assert_array_equal(clinic.worst_grade(analyte, slice(1, None)), every)
            found |= set(every)
    assert len(found) >= 4
