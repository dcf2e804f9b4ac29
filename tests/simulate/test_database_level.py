"""Level `database`: the trial's own workflow takes the decisions of the analytic level, with every record it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutetia.errors import InputError, TrialError
from lutetia.simulate.clinic import virtual_clinic
from lutetia.simulate.database import demonstrate, demonstration_start, fill_trial
from lutetia.simulate.database_staff import SITES, make_trial, teams
from lutetia.simulate.effects import read_effects
from lutetia.simulate.population import Population, packaged_measurement, read_population, without_errors
from lutetia.simulate.trials import Block, run_block
from lutetia.trial import ManualClock, SystemClock, Trial
from lutetia.trial.audit import bodies, verify, verify_data

FIRST = datetime(2025, 1, 7, 6, 30, tzinfo=UTC)
SUBJECTS, SEED = 8, 11


def sensitive() -> Population:
    """Blood counts that fall so far that cycles are held, halved and stopped."""
    population = read_population()
    spread = replace(population.quantities["marrow_sensitivity"], median=5.0)
    return replace(population, quantities={**population.quantities, "marrow_sensitivity": spread})


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trial, Block]]:
    trial = make_trial(
        tmp_path_factory.mktemp("database") / "trial", subjects=SUBJECTS, seed=SEED, draws=51, clock=ManualClock(FIRST)
    )
    exact = without_errors(packaged_measurement())
    block = fill_trial(
        trial, subjects=SUBJECTS, seed=SEED, first_day=FIRST, measurement=exact, population=sensitive(), events=False
    )
    yield trial, block
    trial.close()


def records(trial: Trial, table: str, **where: Any) -> list[dict[str, Any]]:
    with trial.read() as reader:
        return [dict(row) for row in reader.records(table, **where)]


def by_arm(trial: Trial) -> dict[str, list[str]]:
    """Subject numbers of every arm in the order of allocation."""
    found: dict[str, list[str]] = {}
    for row in sorted(records(trial, "allocations"), key=lambda r: int(r["record_id"])):
        found.setdefault(row["arm"], []).append(row["subject_id"])
    return found


def test_without_errors_the_workflow_prescribes_what_the_analytic_level_does(filled: tuple[Trial, Block]) -> None:
    trial, block = filled
    effects = read_effects()
    present = [arm for i, arm in enumerate(block.arms) if (block.arm == i).any()]
    clinics = {arm: virtual_clinic(block, arm, effects, all_analytes=True) for arm in present}
    courses = run_block(block, clinics)
    subjects, held = by_arm(trial), 0
    for arm in present:
        expected = courses[arm]
        for row, subject in enumerate(subjects[arm]):
            given = records(trial, "prescriptions", subject_id=subject, state="ADMINISTERED")
            found = {(int(r["cycle"]), r["nuclide"]): float(r["prescribed_MBq"]) for r in given}
            wanted = {
                (k + 1, nuclide): float(expected.prescribed_MBq[row, k, n])
                for k in np.flatnonzero(expected.given[row])
                for n, nuclide in enumerate(expected.rules.nuclides)
            }
            assert found == wanted, subject
            held += int(expected.held[row].sum())
    assert held > 0
    assert any((c.bound_by == c.rules.binding_names.index("toxicity")).any() for c in courses.values())


def test_holds_are_assessed_again_after_four_weeks(filled: tuple[Trial, Block]) -> None:
    trial, _ = filled
    seen: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in records(trial, "assessments"):
        seen.setdefault((row["subject_id"], int(row["cycle"])), []).append(row)
    repeated = [rows for rows in seen.values() if len(rows) > 1]
    assert repeated
    for rows in repeated:
        moments = sorted(datetime.fromisoformat(r["decided_at"]) for r in rows)
        assert all(later - earlier >= timedelta(days=27) for earlier, later in pairwise(moments))


def test_doses_in_the_database_are_the_true_doses_of_what_was_given(filled: tuple[Trial, Block]) -> None:
    trial, block = filled
    order = [subject for arm in block.arms for subject in by_arm(trial).get(arm, [])]
    index = {
        s: i
        for arm in block.arms
        for s, i in zip(by_arm(trial).get(arm, []), np.flatnonzero(block.arm == block.arms.index(arm)), strict=True)
    }
    compared = 0
    for subject in order:
        for row in records(trial, "doses", subject_id=subject, scope="cycle", region="kidneys"):
            if row["nuclide"] == "total":
                continue
            given = records(trial, "administrations", subject_id=subject, cycle=row["cycle"], nuclide=row["nuclide"])[0]
            coefficient = block.true[index[subject], int(row["cycle"]) - 1, 0, block.nuclides.index(row["nuclide"])]
            assert row["absorbed_dose_Gy"] == pytest.approx(coefficient * given["administered_MBq"], rel=1e-6)
            compared += 1
    assert compared > 10


def test_what_was_recorded_is_in_the_order_of_time_and_its_trail_holds(filled: tuple[Trial, Block]) -> None:
    trial, _ = filled
    with trial.read() as reader:
        assert verify(reader).rows > 500
        assert verify_data(reader) > 500
        times = [row["at"] for row, _ in bodies(reader)]
    assert times == sorted(times)


def test_a_trial_in_progress_stands_still_at_its_moment(tmp_path: Path) -> None:
    clock, until = ManualClock(FIRST), FIRST + timedelta(days=68)
    with make_trial(tmp_path / "trial", subjects=3, seed=2, draws=51, clock=clock) as trial:
        begun: list[int] = []
        fill_trial(
            trial, subjects=3, seed=2, first_day=FIRST, until=until, days_between=30.0,
            progress=lambda done, total: begun.append(done),
        )  # fmt: skip
        assert clock.moment == until
        assert max(begun) == 3
        states = {row["state"] for row in records(trial, "subjects")}
        assert "ON_TREATMENT" in states
        assert states & {"SCREENING", "ELIGIBLE", "RANDOMISED"}
        assert records(trial, "vitals")
        assert all(row["started_on"] <= until.date().isoformat() for row in records(trial, "adverse_events"))
        staff = teams(trial, [site for site, *_ in SITES])
        assert (
            len({a.user_id for t in staff.values() for a in (t.coordinator, t.physicist, t.physician, t.second)}) == 16
        )


@pytest.mark.parametrize("hour", [3, 10, 17, 23])
def test_a_demonstration_has_a_proposal_that_waits_for_a_physician(tmp_path: Path, hour: int) -> None:
    now = datetime(2026, 3, 4, hour, 12, tzinfo=UTC)
    start = demonstration_start(now, 2)
    with make_trial(tmp_path / "trial", subjects=2, seed=1, draws=21, clock=ManualClock(start)) as trial:
        demonstrate(trial, subjects=2, now=now)
        assert {row["state"] for row in records(trial, "prescriptions")} == {"PROPOSED"}
        assert len(records(trial, "subjects", state="SCREENING")) == 1
        assert trial.clock.now() == now
    early, late = demonstration_start(now, 2), demonstration_start(now, 24)
    assert early - late == timedelta(days=22 * 12)


def test_a_real_trial_is_never_filled(tmp_path: Path) -> None:
    with make_trial(tmp_path / "trial", subjects=4, seed=1, clock=ManualClock(FIRST)) as trial:
        with pytest.raises(TrialError, match="not marked as demonstration"):
            teams(replace(trial, demonstration=False), ["01"])
        with pytest.raises(InputError, match="opened with a clock set by hand"):
            fill_trial(replace(trial, clock=SystemClock()), subjects=4, seed=1, first_day=FIRST)
        with pytest.raises(InputError, match="found 1 trials of 0 subjects"):
            fill_trial(trial, subjects=0, seed=1, first_day=FIRST)
