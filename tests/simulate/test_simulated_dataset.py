"""`lutetia simulate`: the folder is complete, consistent with the rules, and a function of its seed."""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lutetia.clinical.labs import read_rows
from lutetia.core.draws import stream
from lutetia.dataset.folder import Dataset, Row, read_dataset
from lutetia.errors import InputError, UnknownNameError
from lutetia.protocol.profile import read_protocol
from lutetia.safety.reading import read_trial
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.export_clinical import clinical_tables
from lutetia.simulate.export_doses import dose_tables
from lutetia.simulate.export_events import event_tables
from lutetia.simulate.mishaps import clinic_table
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
        share = float(row["administered_MBq"]) / float(row["prescribed_MBq"])
        assert share == pytest.approx(1.0, abs=0.06) or 0.70 < share < 0.94


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


def test_spreads_of_doses_come_from_draws(data: Dataset) -> None:
    rows = [r for r in data.tables["doses"] if r["absorbed_dose_sd_Gy"] and r["region"] == "kidneys"]
    shares = {
        (r["subject_id"], r["cycle"], r["scope"]): float(r["absorbed_dose_sd_Gy"]) / float(r["absorbed_dose_Gy"])
        for r in rows
        if r["nuclide"] == "total"
    }
    cycles = [share for (_, _, scope), share in shares.items() if scope == "cycle"]
    whole = [share for (_, cycle, scope), share in shares.items() if (cycle, scope) == ("4", "cumulative")]
    assert 0.09 < np.median(cycles) < 0.14
    assert len({round(share, 6) for share in cycles}) > 0.9 * len(cycles)
    # what cycles share does not average out
    assert np.median(cycles) / 2.0 < np.median(whole) < 0.8 * np.median(cycles)


def test_forecasts_are_wide_before_the_first_measurement_and_narrow_after(data: Dataset) -> None:
    spread: dict[str, list[float]] = {}
    for row in data.tables["forecasts"]:
        if (row["region"], row["horizon"]) == ("kidneys", "next"):
            share = float(row["absorbed_dose_sd_Gy"]) / float(row["absorbed_dose_Gy"])
            spread.setdefault(row["cycle"], []).append(share)
        assert 0.0 <= float(row["p_over_limit"]) <= 1.0
    assert np.median(spread["1"]) > 0.2
    assert np.median(spread["2"]) < 0.16
    assert np.median(spread["4"]) < np.median(spread["2"])


def test_bed_of_the_kidneys_is_above_their_dose(data: Dataset) -> None:
    rows = [r for r in data.tables["doses"] if r["bed_Gy"]]
    assert {(r["region"], r["nuclide"]) for r in rows} == {("kidneys", "total")}
    for row in rows:
        assert 1.005 < float(row["bed_Gy"]) / float(row["absorbed_dose_Gy"]) < 1.6


@pytest.fixture(scope="module")
def large() -> dict[str, list[Row]]:
    trial = simulate_trial(read_protocol("duonen"), subjects=240, seed=3)
    return {**clinical_tables(trial), **event_tables(trial), **dose_tables(trial)}


def test_a_dataset_shows_what_goes_otherwise_than_planned(large: dict[str, list[Row]]) -> None:
    kinds = {r["kind"] for r in large["deviations"]}
    assert kinds >= {"activity", "consent", "dosimetry missing", "laboratory", "nuclide unavailable", "visit window"}
    assert {r["kind"] for r in large["treatments"]} >= {"transfusion_red", "g_csf", "anticoagulant", "nephrotoxic"}
    assert any(r["qualifier"] == "<" and r["analyte"] == "bilirubin" for r in large["labs"])
    assert {r["missing_reason"] for r in large["labs"] if not r["value"]} >= {"not done", "haemolysed"}
    lowered = [r for r in large["prescriptions"] if r["prescribed_MBq"] != r["proposed_MBq"]]
    assert 5 < len(lowered) < 80
    assert all(float(r["prescribed_MBq"]) < float(r["proposed_MBq"]) for r in lowered)
    assert {r["state"] for r in large["prescriptions"]} >= {"ADMINISTERED", "VOID"}
    assert any(r.get("override_by") for r in large["prescriptions"])
    treated = {r["subject_id"] for r in large["administrations"]}
    randomised = {r["subject_id"] for r in large["subjects"] if r.get("arm")}
    assert 0 < len(randomised - treated) < 15


def test_values_below_the_limit_of_quantification_state_the_limit(large: dict[str, list[Row]]) -> None:
    for row in large["labs"]:
        if row["qualifier"] == "<":
            assert float(row["value"]) == clinic_table()["lloq"][row["analyte"]]


def test_adverse_events_are_plausible(large: dict[str, list[Row]]) -> None:
    rows = large["adverse_events"]
    assert not any(r.get("code") for r in rows)
    assert all(r["seriousness"] and r["reported_at"] > r["aware_at"] for r in rows if r["serious"] == "yes")
    assert all(r["serious"] == "yes" for r in rows if int(r["grade"]) >= 4)
    assert 0.01 < np.mean([r["serious"] == "yes" for r in rows]) < 0.12
    assert {r["related"] for r in rows} == {"none", "possible", "probable", "definite"}
    assert {"Anemia", "Platelet count decreased", "Lymphocyte count decreased"} <= {r["term"] for r in rows}
    assert any(len(r["started_on"]) == len("2026-05") for r in rows)
    assert all((r["ended_on"] == "") == (r["ongoing"] == "yes") for r in rows)


def test_grade_changes_of_one_event_follow_each_other(large: dict[str, list[Row]]) -> None:
    chains: dict[tuple[str, str], list[Row]] = {}
    for row in large["adverse_events"]:
        chains.setdefault((row["subject_id"], row["ae_id"]), []).append(row)
    longer = [chain for chain in chains.values() if len(chain) > 1]
    assert longer
    for chain in longer:
        assert [r["seq"] for r in chain] == [str(i + 1) for i in range(len(chain))]
        assert len({r["term"] for r in chain}) == 1
        assert all(a["grade"] != b["grade"] for a, b in pairwise(chain))


def test_a_stop_for_toxicity_keeps_the_samples_that_led_to_it(large: dict[str, list[Row]]) -> None:
    stopped = {(r["subject_id"], r["cycle"]) for r in large["prescriptions"] if r["category"] == "stopped"}
    stopped = {(subject, cycle) for subject, cycle in stopped if cycle != "1"}
    assert stopped
    for subject, cycle in stopped:
        visits = {r["visit"] for r in large["labs"] if r["subject_id"] == subject}
        assert f"cycle {int(cycle) - 1} week 8" in visits


def test_a_nuclide_that_was_unavailable_is_neither_given_nor_dosed(large: dict[str, list[Row]]) -> None:
    pattern = re.compile(r"cycle (\d) given without (.+)")
    found = 0
    for row in large["deviations"]:
        if match := pattern.fullmatch(row["description"]):
            key = (row["subject_id"], *match.groups())
            assert all((r["subject_id"], r["cycle"], r["nuclide"]) != key for r in large["administrations"])
            assert all((r["subject_id"], r["cycle"], r["nuclide"]) != key for r in large["doses"])
            found += 1
    assert found


def test_every_row_of_a_dataset_is_used_or_listed_with_a_reason(data: Dataset) -> None:
    accounting = read_trial(data).accounting
    assert all(count.read == count.used + count.listed for count in accounting.counts)
    assert {row.table for row in accounting.listed} <= {"labs"}
    assert {row.reason for row in accounting.listed} <= {"no value"}


def test_one_subject_is_enough_and_none_is_refused() -> None:
    assert len(simulate_trial(read_protocol("duonen"), subjects=1, seed=1).subjects) == 1
    with pytest.raises(InputError, match="found 1 trials of 0 subjects"):
        simulate_trial(read_protocol("duonen"), subjects=0, seed=1)


def test_an_unknown_effect_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: none, planted, strong"):
        simulate_trial(read_protocol("duonen"), subjects=4, seed=1, effect="huge")


def test_streams_of_subjects_do_not_repeat() -> None:
    assert stream(7, "SIM-001", "vitals").random() != stream(7, "SIM-002", "vitals").random()
