"""`lutetia simulate`: the folder is complete, consistent with the rules, and a function of its seed."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from lutetia.clinical.labs import read_rows
from lutetia.core.draws import stream
from lutetia.dataset.folder import Dataset, read_dataset
from lutetia.errors import InputError, UnknownNameError
from lutetia.protocol.profile import read_protocol
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.trial_folder import write_trial


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "data"
    write_trial(simulate_trial(read_protocol("duonen"), subjects=24, seed=7), path)
    return path


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return read_dataset(folder)


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("same", 7), ("other", 8)):
        write_trial(simulate_trial(read_protocol("duonen"), subjects=24, seed=seed), tmp_path / name)
    first, same, other = (
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.iterdir()}
        for path in (folder, tmp_path / "same", tmp_path / "other")
    )
    assert first == same
    assert first["doses.csv"] != other["doses.csv"]


def test_cumulative_doses_are_the_sums_of_the_cycles(data: Dataset) -> None:
    rows = [r for r in data.tables["doses"] if r["nuclide"] == "total" and r["region"] == "kidneys"]
    for subject in {r["subject_id"] for r in rows}:
        own = [r for r in rows if r["subject_id"] == subject]
        cycles = [r for r in own if r["scope"] == "cycle"]
        if any(r["basis"] == "missing" for r in cycles):
            continue
        last = max((r for r in own if r["scope"] == "cumulative"), key=lambda r: int(r["cycle"]))
        total = sum(float(r["absorbed_dose_Gy"]) for r in cycles)
        assert float(last["absorbed_dose_Gy"]) == pytest.approx(total, rel=1e-5)


def test_arms_get_their_nuclides_and_fixed_ones_their_base(data: Dataset) -> None:
    arm = {r["subject_id"]: r["arm"] for r in data.tables["subjects"]}
    for row in data.tables["administrations"]:
        assert row["nuclide"] in (("Lu-177",) if arm[row["subject_id"]] in "AD" else ("Lu-177", "Y-90"))
        assert float(row["administered_MBq"]) == pytest.approx(float(row["prescribed_MBq"]), rel=0.06)


def test_every_given_cycle_is_prescribed_administered_and_dosed(data: Dataset) -> None:
    given = {(r["subject_id"], r["cycle"]) for r in data.tables["administrations"]}
    assert given == {(r["subject_id"], r["cycle"]) for r in data.tables["doses"]}
    assert given <= {(r["subject_id"], r["cycle"]) for r in data.tables["prescriptions"]}
    assert given == {(r["subject_id"], r["cycle"]) for r in data.tables["cycles"] if r["state"].startswith("DOSE")}


def test_infusions_are_eight_weeks_apart_or_more(data: Dataset) -> None:
    starts: dict[str, list[datetime]] = {}
    for row in data.tables["administrations"]:
        if row["nuclide"] == "Lu-177":
            starts.setdefault(row["subject_id"], []).append(datetime.fromisoformat(row["started_at"]))
    gaps = [(b - a).days for days in starts.values() for a, b in pairwise(days)]
    assert min(gaps) >= 55
    assert max(gaps) <= 113


def test_laboratory_rows_pass_the_checks_of_the_clinical_layer(data: Dataset) -> None:
    subject = data.tables["labs"][0]["subject_id"]
    rows = [r for r in data.tables["labs"] if r["subject_id"] == subject]
    values = read_rows(rows, "labs")
    assert len(values) == len(rows)
    assert {v.unit for v in values} >= {"g/L", "10^9/L", "umol/L", "U/L"}


def test_nothing_is_recorded_after_a_subject_left(data: Dataset) -> None:
    gone = {
        r["subject_id"]: date.fromisoformat(r["on"])
        for r in data.tables["disposition"]
        if r["event"] in ("withdrew", "lost", "died")
    }
    for row in data.tables["labs"]:
        if row["subject_id"] in gone:
            assert datetime.fromisoformat(row["taken_at"]).date() <= gone[row["subject_id"]]


def test_screen_failures_have_no_arm_and_no_doses(data: Dataset) -> None:
    failed = {r["subject_id"] for r in data.tables["disposition"] if r["event"] == "screen_failed"}
    assert all(not r["arm"] for r in data.tables["subjects"] if r["subject_id"] in failed)
    assert not failed & {r["subject_id"] for r in data.tables["doses"]}


def test_the_truth_stands_beside_what_was_measured(data: Dataset) -> None:
    true = {
        (r["subject_id"], r["cycle"]): float(r["value"])
        for r in data.tables["truth"]
        if r["quantity"] == "absorbed_dose_Gy" and r["item"] == "kidneys" and r["nuclide"] == "total"
    }
    for row in data.tables["doses"]:
        if (row["region"], row["scope"], row["nuclide"], row["basis"]) == ("kidneys", "cycle", "total", "measured"):
            ratio = float(row["absorbed_dose_Gy"]) / true[row["subject_id"], row["cycle"]]
            assert 0.6 < ratio < 1.6


def test_one_subject_is_enough_and_none_is_refused() -> None:
    assert len(simulate_trial(read_protocol("duonen"), subjects=1, seed=1).subjects) == 1
    with pytest.raises(InputError, match="found 1 trials of 0 subjects"):
        simulate_trial(read_protocol("duonen"), subjects=0, seed=1)


def test_an_unknown_effect_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: none, planted"):
        simulate_trial(read_protocol("duonen"), subjects=4, seed=1, effect="huge")


def test_streams_of_subjects_do_not_repeat() -> None:
    assert stream(7, "SIM-001", "vitals").random() != stream(7, "SIM-002", "vitals").random()
