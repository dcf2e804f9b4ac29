"""Activities, decisions with their categories, and the analysis sets with cross-overs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.small_trial import Row, dose, given, labs, subject, trial

from lutetia.safety.exposure import (
    categorise,
    derive_decisions,
    derive_exposure,
    derive_infusions,
    subject_category,
)
from lutetia.safety.sets import analysis_sets


def prescription(cycle: int, activity: float | str, *, version: int = 1, nuclide: str = "Y-90", **more: str) -> Row:
    return {
        "subject_id": "S1", "cycle": str(cycle), "version": str(version), "nuclide": nuclide, "state": "ADMINISTERED",
        "base_MBq": "3700", "prescribed_MBq": str(activity), "category": "",
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("ratio", "category"),
    [(0.9499, "reduced"), (0.95, "unchanged"), (1.0, "unchanged"), (1.05, "unchanged"), (1.0501, "increased")],
)
def test_a_category_begins_beyond_the_tolerance(ratio: float, category: str) -> None:
    assert categorise(3700.0 * ratio, 3700.0, 0.05, "") == category
    assert categorise(7400.0 * ratio, 7400.0, 0.05, "") == category


def test_without_activity_a_decision_is_withheld_or_stopped_as_recorded() -> None:
    assert categorise(np.nan, 3700.0, 0.05, "stopped") == "stopped"
    assert categorise(0.0, 3700.0, 0.05, "reduced") == "withheld"
    assert categorise(3700.0, np.nan, 0.05, "") is None


def test_decisions_are_of_the_variable_nuclide_against_base_and_previous(tmp_path: Path) -> None:
    own = [
        prescription(1, 3700), prescription(1, 3700, nuclide="Lu-177"), prescription(2, 1850, reason="kidney"),
        prescription(3, "", category="withheld"), prescription(4, 2500, override_by="a second physician"),
    ]  # fmt: skip
    data = trial(tmp_path, {"subjects": [subject("S1", "B")], "prescriptions": own})
    found = derive_decisions(data)
    assert found["category"].tolist() == ["unchanged", "reduced", "withheld", "reduced"]
    assert found["against_previous"].tolist() == [None, "reduced", "withheld", "increased"]
    assert found["override"].tolist() == [False, False, False, True]
    assert found["row"].tolist() == [2, 4, 5, 6]


def test_of_several_versions_the_administered_one_counts_else_the_last_that_is_not_void(tmp_path: Path) -> None:
    own = [
        prescription(1, 3700, version=1), prescription(1, 3000, version=2, state="VOID"),
        prescription(2, 1000, version=1, state="REJECTED"), prescription(2, 2000, version=2, state="RELEASED"),
        prescription(2, 3000, version=3, state="VOID"),
    ]  # fmt: skip
    administered = [{**row, "prescription_version": "1"} for row in given("S1", 1, "2026-01-12", Y_90=3700.0)]
    tables = {"subjects": [subject("S1", "B")], "prescriptions": own, "administrations": administered}
    found = derive_decisions(trial(tmp_path, tables))
    assert found[["cycle", "version", "given"]].to_numpy().tolist() == [[1, 1, True], [2, 2, False]]


@pytest.mark.parametrize("state", ["DRAFT", "PROPOSED", "OVERRIDE_PENDING"])
def test_a_proposal_that_nobody_released_is_no_decision(tmp_path: Path, state: str) -> None:
    own = [
        prescription(2, 3700), prescription(3, 1850, state="REJECTED"), prescription(3, 2500, version=2, state=state),
        prescription(4, 1000, state=state),
    ]  # fmt: skip
    found = derive_decisions(trial(tmp_path, {"subjects": [subject("S1", "B")], "prescriptions": own}))
    assert found[["cycle", "version"]].to_numpy().tolist() == [[2, 1], [3, 1]]


def test_the_category_of_a_subject_is_of_the_decided_cycles_with_activity(tmp_path: Path) -> None:
    own = [prescription(1, 3700), prescription(2, 3700), prescription(3, 2960), prescription(4, "", category="stopped")]
    data = trial(tmp_path, {"subjects": [subject("S1", "B")], "prescriptions": own})
    found = subject_category(derive_decisions(data), 0.05).iloc[0]
    assert (found["ratio"], found["category"], found["cycles"]) == (0.9, "reduced", 2)


def test_infusions_are_in_order_of_time_and_begin_with_the_first_nuclide(tmp_path: Path) -> None:
    later = {**given("S1", 1, "2026-01-12", Y_90=3700.0)[0], "started_at": "2026-01-12T08:00:00+00:00"}
    nothing = {**given("S1", 3, "2026-05-04", Lu_177=1.0)[0], "administered_MBq": "0"}
    tables = {
        "subjects": [subject("S1", "B")],
        "administrations": [
            *given("S1", 2, "2026-03-09", Lu_177=3700.0), *given("S1", 1, "2026-01-12", Lu_177=3700.0), later, nothing,
        ],
    }  # fmt: skip
    found = derive_infusions(trial(tmp_path, tables))
    assert found["cycle"].tolist() == [1, 2]
    assert found["started_at"].dt.hour.tolist() == [8, 9]
    assert found["rows"].tolist() == [(4, 3), (2,)]
    assert found["last"].tolist() == [False, True]


def test_exposure_takes_the_planned_activity_from_the_arm_where_the_row_has_none(tmp_path: Path) -> None:
    tables = {"subjects": [subject("S1", "B")], "administrations": given("S1", 1, "2026-01-12", Y_90=1850.0)}
    found = derive_exposure(trial(tmp_path, tables)).iloc[0]
    assert (found["planned_MBq"], found["prescribed_to_planned"], found["administered_to_prescribed"]) == (3700, 0.5, 1)


def everyone(tmp_path: Path) -> dict[str, list[Row]]:
    return {
        "subjects": [subject(f"S{i}", arm) for i, arm in enumerate(("A", "B", "B", "A", ""), start=1)],
        "administrations": [
            *given("S1", 1, "2026-01-12", Lu_177=7400.0),
            *given("S2", 1, "2026-01-12", Lu_177=3700.0, Y_90=3700.0),
            *given("S3", 1, "2026-01-12", Lu_177=3700.0),
        ],
        "doses": [
            *dose("S1", 1, "kidneys", total=3.0), *dose("S1", 1, "red marrow", total=0.1),
            *dose("S2", 1, "kidneys", total=9.0), *dose("S2", 1, "red marrow", total=None),
        ],
        "labs": [
            *labs("S1", "platelets", {"2026-01-05": 250, "2026-01-26": 200}, unit="10^9/L"),
            *labs("S2", "platelets", {"2026-01-05": 250}, unit="10^9/L"),
            *labs("S3", "platelets", {"2026-01-26": 250}, unit="10^9/L"),
        ],
    }  # fmt: skip


def test_analysis_sets_are_nested_as_defined(tmp_path: Path) -> None:
    sets = analysis_sets(trial(tmp_path, everyone(tmp_path)))
    assert sets.itt == ("S1", "S2", "S3", "S4")  # S5 was screened only
    assert sets.saf == ("S1", "S2", "S3")  # S4 was never treated
    assert sets.dos == ("S1",)  # S2 lacks a marrow dose, S3 every dose
    assert sets.lab == {"platelets": ("S1",)}  # S2 has no later value, S3 no baseline
    assert sets.of("SAF", "B") == ("S2", "S3")
    assert sets.of_lab("platelets", "B") == ()


def test_who_was_given_other_nuclides_is_listed_and_treated_as_the_one_arm_that_fits(tmp_path: Path) -> None:
    sets = analysis_sets(trial(tmp_path, everyone(tmp_path)))
    crossed = sets.cross_overs
    assert [(c.subject_id, c.arm, c.treated, c.cycles) for c in crossed] == [("S3", "B", "A", (1,))]
    assert sets.arm["S3"] == "B"
    assert sets.as_treated == {"S1": "A", "S2": "B", "S3": "A"}


def test_a_deviation_can_state_the_arm_as_treated(tmp_path: Path) -> None:
    deviations = [{"subject_id": "S3", "deviation_id": "1", "kind": "cross-over", "description": "as in arm B again"}]
    sets = analysis_sets(trial(tmp_path, everyone(tmp_path) | {"deviations": deviations}))
    assert sets.as_treated["S3"] == "B"
    assert len(sets.cross_overs) == 1


def test_a_trial_without_subjects_has_empty_sets(tmp_path: Path) -> None:
    sets = analysis_sets(trial(tmp_path, {}))
    assert (sets.itt, sets.saf, sets.dos, dict(sets.lab)) == ((), (), (), {})
