"""Tables T1 to T6 and T15: numbers worked by hand, numbers traced to their rows, and damaged trials."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from tests.support.small_trial import Row, dose, given, labs, rows, subject, trial

from lutetia.dataset.folder import Dataset, read_dataset
from lutetia.protocol.profile import read_protocol
from lutetia.safety.adam import DATASETS, adam_files
from lutetia.safety.as_treated import as_treated_tables
from lutetia.safety.catalogue import TABLES
from lutetia.safety.cells import ALL, SafetyTable, expand, pooled
from lutetia.safety.context import Context, derive_context
from lutetia.safety.reading import read_trial
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.trial_folder import write_trial

OWN = ("T1", "T2", "T3", "T4", "T5", "T6", "T15", "T17")


def eight(path: Path, **more: list[Row]) -> Context:
    """Three subjects of arm A, three of B (one without marrow dose), one never treated, one screened only."""
    treated = {"S1": 2, "S2": 1, "S3": 2, "S4": 2, "S5": 2, "S6": 1}
    days = {1: "2026-01-12", 2: "2026-03-09"}
    people = [subject(f"S{i}", "A" if i <= 3 else "B", age_years=str(50 + i)) for i in range(1, 8)]
    administrations, doses, prescriptions = [], [], []
    for i, (name, cycles) in enumerate(treated.items(), start=1):
        for cycle in range(1, cycles + 1):
            if i <= 3:
                administrations += given(name, cycle, days[cycle], Lu_177=7400.0)
                doses += dose(name, cycle, "kidneys", Lu_177=3.0 * i, total=3.0 * i)
            else:
                second = 1850.0 if cycle == 2 else 3700.0
                administrations += given(name, cycle, days[cycle], Lu_177=3700.0, Y_90=second)
                doses += dose(name, cycle, "kidneys", Lu_177=2.0, Y_90=2.0 * i, total=2.0 + 2.0 * i)
                prescriptions.append(
                    {"subject_id": name, "cycle": str(cycle), "version": "1", "nuclide": "Y-90",
                     "state": "ADMINISTERED", "base_MBq": "3700", "prescribed_MBq": f"{second:g}",
                     "reason": "kidney" if cycle == 2 else ""}
                )  # fmt: skip
            doses += dose(name, cycle, "red marrow", total=None if name == "S5" and cycle == 2 else 0.2)
    tables = {
        "subjects": [*people, subject("S8", "")],
        "administrations": administrations,
        "doses": doses,
        "prescriptions": prescriptions,
        "disposition": rows(
            "subject_id event on reason\nS8 screened 2025-12-20 -\nS8 screen_failed 2025-12-22 eligibility\n"
            "S2 treatment_ended 2026-02-20 toxicity\nS2 died 2026-03-01 -"
        ),
        "labs": labs("S1", "platelets", {"2026-01-05": 250, "2026-01-26": 180}, unit="10^9/L", lln="150"),
        "deviations": rows("subject_id deviation_id on kind\nS1 1 2026-02-01 late\nS4 1 2026-02-01 late"),
    }
    return derive_context(trial(path, tables | more), resamples=200)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return eight(tmp_path_factory.mktemp("small"))


def value(table: SafetyTable, row: str, column: str, statistic: str = "count") -> object:
    found = table.value(row, column, statistic)
    assert found is not None, (row, column, statistic)
    return found


def test_t1_counts_who_came_how_far(small: Context) -> None:
    table = TABLES["T1"](small)
    assert [value(table, row, "all") for row in ("screened", "screen failed", "randomised", "treated")] == [8, 1, 7, 6]
    assert [value(table, "treated", arm) for arm in ("A", "B")] == [3, 3]
    assert [value(table, f"cycles given / {n}", "all") for n in (1, 2)] == [2, 4]
    assert value(table, "ended early / toxicity", "A") == 1
    assert value(table, "on treatment", "all") == 1  # S6: one of two cycles, not ended
    assert value(table, "died", "A") == 1
    assert [value(table, "DOS", arm) for arm in ("A", "B")] == [3, 2]
    cell = table.at("treated", "B")[0]
    assert (cell.n, expand(cell.source_rows)["administrations"]) == (4, (7, 8, 9, 10, 11, 12, 13, 14, 15, 16))


def test_t2_summarises_the_randomised_subjects(tmp_path: Path) -> None:
    items = rows("subject_id item value\nS1 liver_mets yes\nS2 liver_mets no\nS4 grade 2\nS1 ki67 4\nS4 ki67 10")
    table = TABLES["T2"](eight(tmp_path, baseline=items))
    assert [value(table, "age_years", arm, "median") for arm in ("A", "B", "all")] == [52.0, 55.5, 54.0]
    assert value(table, "sex / male", "all") == 7
    assert (value(table, "liver_mets", "A"), value(table, "liver_mets", "A", "percent")) == (1, 50.0)
    assert value(table, "ki67", "all", "median") == 7.0
    assert value(table, "grade / 2", "B") == 1
    assert table.at("liver_mets", "B")[0].reason == "no subjects"
    assert value(table, "baseline platelets", "A", "median") == 250.0


def test_t3_shows_activities_by_arm_cycle_and_nuclide_and_their_sum(small: Context) -> None:
    table = TABLES["T3"](small)
    assert value(table, "B / Y-90 / cycle 2", "prescribed_MBq", "median") == 1850.0
    assert value(table, "B / Y-90 / cycle 2", "planned_MBq", "median") == 3700.0
    assert value(table, "B / Y-90 / course", "administered_MBq", "median") == 5550.0
    assert value(table, "A / Lu-177 / cycle 1", "subjects") == 3
    assert value(table, "A / Lu-177 / cycle 2", "administered_to_prescribed", "median") == 100.0


def test_t4_counts_decisions_from_cycle_2_of_the_variable_nuclide(small: Context) -> None:
    table = TABLES["T4"](small)
    assert [row.key for row in table.rows] == ["B", "B / cycle 2", "all", "all / cycle 2"]
    assert value(table, "B", "decisions") == 2  # S4 and S5; S6 was given one cycle
    assert (value(table, "B", "reduced"), value(table, "B", "previous reduced")) == (2, 2)
    assert value(table, "B", "reason kidney", "percent") == 100.0
    assert value(table, "B", "override") == 0


def test_t5_gives_dose_per_activity_one_value_a_subject(small: Context) -> None:
    table = TABLES["T5"](small)
    head = "kidneys (own mass) / Gy_per_GBq"
    assert value(table, f"{head} / Lu-177", "A", "median") == pytest.approx(6.0 / 7.4)
    assert table.at(f"{head} / Lu-177", "A")[0].n == 3  # subjects, not cycles
    own = [(8.0 / 3.7 + 8.0 / 1.85) / 2, (10.0 / 3.7 + 10.0 / 1.85) / 2, 12.0 / 3.7]
    assert value(table, f"{head} / Y-90", "B", "median") == pytest.approx(np.median(own))
    assert table.at(f"{head} / Y-90", "A") == ()
    assert value(table, "kidneys (own mass) / absorbed_dose_Gy / Y-90 / cycle 2", "B", "median") == 9.0


def test_t6_sums_doses_by_arm_with_an_exact_interval_over_the_limit(small: Context) -> None:
    table = TABLES["T6"](small)
    # kidneys: A 6, 6, 18; B 20 (S4), 24 (S5, without marrow dose and so not in DOS), 14 (S6)
    assert value(table, "A / kidneys", "absorbed_dose_Gy", "median") == 6.0
    assert value(table, "B / kidneys", "subjects") == 2
    assert value(table, "B / kidneys", "absorbed_dose_Gy", "median") == 17.0
    assert [value(table, "B / kidneys", "range_Gy", s) for s in ("minimum", "maximum")] == [14.0, 20.0]
    assert value(table, "B / kidneys", "Y-90", "median") == 14.0
    assert value(table, "B / kidneys / completers", "absorbed_dose_Gy", "median") == 20.0
    assert value(table, "B / kidneys / 1 cycles", "absorbed_dose_Gy", "median") == 14.0
    assert table.at("A / kidneys", "bed_Gy")[0].reason == "no BED in the data"
    # 0 of 2 over the limit: the upper end is 1 − 0.025^(1/2)
    assert value(table, "B / kidneys", "over_limit") == 0
    assert value(table, "B / kidneys", "over_limit", "high") == pytest.approx(100.0 * (1.0 - np.sqrt(0.025)))
    assert {c.arm for c in table.cells if c.row.startswith("B /")} == {"B"}


def test_t6_shows_the_sensitivity_and_who_is_in_it(small: Context) -> None:
    table = TABLES["T6"](small)
    # the missing marrow dose of S5 has no dose by nuclide to fill it in: still missing, said by the number of subjects
    assert value(table, "B / red marrow / sensitivity", "subjects") == 2
    assert "A / red marrow / sensitivity" not in {row.key for row in table.rows}


def test_t6_as_treated_stands_beside_as_randomised_after_a_cross_over(tmp_path: Path, small: Context) -> None:
    extra = dose("S9", 1, "kidneys", Lu_177=5.0, total=5.0) + dose("S9", 1, "red marrow", total=0.1)
    assert not any("as treated" in row.key for row in TABLES["T6"](small).rows)
    tables = {
        "subjects": [subject("S1", "A"), subject("S9", "B")],
        "administrations": [*given("S1", 1, "2026-01-12", Lu_177=7400.0), *given("S9", 1, "2026-01-12", Lu_177=3700.0)],
        "doses": [*dose("S1", 1, "kidneys", total=3.0), *dose("S1", 1, "red marrow", total=0.1), *extra],
    }
    table = TABLES["T6"](derive_context(trial(tmp_path / "c", tables), resamples=200))
    assert value(table, "A / kidneys", "subjects") == 1
    assert value(table, "A / kidneys / as treated", "subjects") == 2
    assert value(table, "B / kidneys / as treated", "subjects") == 0
    changed = as_treated_tables(derive_context(trial(tmp_path / "d", tables), resamples=200), TABLES)
    exposed = changed["T3 as treated"]
    assert value(exposed, "A / Lu-177 / cycle 1", "subjects") == 2
    assert {cell.table for cell in exposed.cells} == {"T3 as treated"}
    assert as_treated_tables(small, TABLES) == {}


@pytest.mark.requirement(43)
def test_t17_keeps_forecast_and_later_measurement_side_by_side_with_the_bias(tmp_path: Path) -> None:
    forecasts = rows(
        "subject_id cycle version region horizon absorbed_dose_Gy absorbed_dose_sd_Gy p_over_limit\n"
        "S1 1 1 kidneys next 2.5 1.0 0.01\nS1 2 1 kidneys next 6.0 1.0 0.01\nS3 2 1 kidneys next 14.0 1.0 0.02\n"
        "S4 2 1 kidneys next 24.0 2.5 0.60"
    )
    asked = rows("subject_id cycle version nuclide state\nS1 1 1 Lu-177 ADMINISTERED\nS1 2 1 Lu-177 ADMINISTERED\n"
                 "S3 2 1 Lu-177 ADMINISTERED\nS4 2 1 Y-90 ADMINISTERED")  # fmt: skip
    table = TABLES["T17"](eight(tmp_path, forecasts=forecasts, prescriptions=asked))
    # measured − predicted after the cycle: S1 3 − 2.5 and 6 − 6, mean 0.25; S3 18 − 14; S4 20 − 24
    assert value(table, "kidneys / next / forecasts", "A") == 3
    assert value(table, "kidneys / next / bias", "A", "median") == pytest.approx((0.25 + 4.0) / 2)
    assert value(table, "kidneys / next / bias", "B", "median") == -4.0
    assert value(table, "kidneys / next / inside", "A") == 2  # 4 Gy are more than 1.96 sd of 1 Gy
    assert value(table, "kidneys / next / inside", "B") == 1
    assert value(table, "kidneys / next / P 0.5 to 0.75", "B", "percent") == 0.0
    cell = table.at("kidneys / next / bias", "B")[0]
    assert expand(cell.source_rows)["forecasts"] == (5,)


def test_t15_accounts_for_rows_deviations_and_missing_doses(tmp_path: Path) -> None:
    bad = labs("S1", "platelets", {"2026-01-05": 250, "2026-02-26": "many"}, unit="10^9/L")
    table = TABLES["T15"](eight(tmp_path, labs=bad))
    assert [value(table, "rows / labs", c) for c in ("read", "used", "listed")] == [2, 1, 1]
    assert value(table, "rows / labs / cannot be read", "listed") == 1
    assert expand(table.at("rows / labs / cannot be read", "listed")[0].source_rows) == {"labs": (3,)}
    assert [value(table, "deviations / late", c) for c in ("A", "B", "all")] == [1, 1, 2]
    assert [value(table, "missing doses / marrow", c) for c in ("A", "B")] == [0, 1]
    assert value(table, "findings / no limits of normal", "all") == 1
    assert value(table, "findings / never treated", "all") == 1


@pytest.fixture(scope="module")
def virtual(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve virtual subjects of the packaged protocol."""
    path = tmp_path_factory.mktemp("virtual") / "data"
    write_trial(simulate_trial(read_protocol("duonen"), subjects=12, seed=3), path)
    return read_dataset(path)


@pytest.fixture(scope="module")
def context(virtual: Dataset) -> Context:
    return derive_context(read_trial(virtual), resamples=200)


def test_every_summary_can_be_made_again_from_its_source_rows(virtual: Dataset, context: Context) -> None:
    raw, checked = virtual.tables, 0
    cells = [c for c in TABLES["T3"](context).cells if c.statistic == "median" and "/ cycle" in c.row]
    for cell in cells:
        if cell.column in ("administered_MBq", "prescribed_MBq"):
            numbers = expand(cell.source_rows)["administrations"]
            own = [float(raw["administrations"][number - 2][cell.column]) for number in numbers]
            assert cell.value == pytest.approx(np.median(own))
            assert cell.n == len(own)
            checked += 1
    for cell in TABLES["T2"](context).cells:
        if cell.row == "baseline platelets" and cell.statistic == "median":
            own = [float(raw["labs"][number - 2]["value"]) for number in expand(cell.source_rows)["labs"]]
            assert cell.value == pytest.approx(np.median(own))
            checked += 1
    assert checked > 40


def test_the_pooled_part_of_each_table_names_no_arm(context: Context) -> None:
    for name in OWN:
        part = pooled(TABLES[name](context))
        assert part.cells
        assert {c.arm for c in part.cells} == {ALL}
        assert not any(c.key in ("A", "B", "C", "D") for c in part.columns)


def test_datasets_hold_one_record_for_each_unit(context: Context) -> None:
    frames = {name: make(context) for name, make in DATASETS.items()}
    assert len(frames["ADSL"]) == len(context.data["subjects"])
    assert len(frames["ADEX"]) == len(context.data["administrations"])
    assert len(frames["ADLB"]) == len(context.grades)
    assert len(frames["ADAE"]) == len(context.events)
    assert len(frames["ADTTE"]) == len(context.durations)
    assert len(frames["ADXD"]) == len(context.nuclide_doses) + len(context.cycle_doses) + len(context.cumulative)
    adlb = frames["ADLB"]
    assert 0 not in set(adlb["ADY"].dropna())
    baseline = adlb[adlb["ABLFL"] == "Y"]
    assert (baseline["AVAL"] == baseline["BASE"]).all()
    assert (baseline["CHG"] == 0).all()
    worse = adlb[(adlb["TRTEMFL"] == "Y") & (adlb["BABNFL"] == "N") & (adlb["ATOXSCL"] != "baseline")]
    assert len(worse)
    assert (worse["ATOXGRL"] > worse["BTOXGR"]).all()


def test_datasets_are_the_same_bytes_twice(virtual: Dataset, context: Context) -> None:
    assert adam_files(context) == adam_files(derive_context(read_trial(virtual), resamples=200))


def damaged(dataset: Dataset, seed: int) -> Dataset:
    """The same trial with 300 random cells emptied, swapped or replaced by nonsense, and rows repeated or lost."""
    generator = random.Random(seed)
    junk = ["", "-3", "nan", "1e999", "2026-13-45", "2026-02", "yes", "x", "0", "99999", "2031-01-01"]
    tables = {name: [dict(row) for row in rows_] for name, rows_ in dataset.tables.items()}
    names = [name for name, rows_ in tables.items() if rows_ and name != "truth"]
    for _ in range(300):
        own = tables[generator.choice(names)]
        if not own:
            continue
        row, other = generator.choice(own), generator.choice(own)
        column = generator.choice(list(row))
        fault = generator.randrange(4)
        if fault == 0:
            row[column] = generator.choice(junk)
        elif fault == 1:
            own.append(dict(row))
        elif fault == 2:
            own.remove(row)
        else:
            row[column], other[column] = other[column], row[column]
    found = {name: tuple(rows_) for name, rows_ in tables.items()}
    return Dataset(found, dataset.study, dataset.snapshot, dataset.snapshot_sha256)


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_trial_still_makes_every_table_and_dataset(virtual: Dataset, seed: int) -> None:
    data = read_trial(damaged(virtual, seed))
    assert all(c.read == c.used + c.listed for c in data.accounting.counts)
    assert data.accounting.listed
    context = derive_context(data, resamples=200)
    tables = {name: TABLES[name](context) for name in OWN}
    assert tables["T15"].value("rows / labs", "all", "read") is None
    read = sum(int(str(tables["T15"].value(f"rows / {c.table}", "listed", "count"))) for c in data.accounting.counts)
    assert read == len(data.accounting.listed)
    assert set(adam_files(context)) == {f"{name}.csv" for name in DATASETS}


def test_an_empty_trial_makes_every_table(tmp_path: Path) -> None:
    context = derive_context(trial(tmp_path, {}), resamples=200)
    for name in OWN:
        table = TABLES[name](context)
        assert all(cell.value is not None or cell.reason or cell.n is not None for cell in table.cells)
    assert set(adam_files(context)) == {f"{name}.csv" for name in DATASETS}
