"""Tables T7 to T14 and T16: numbers worked by hand and by plain loops over the rows of the folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest
from scipy.stats import chi2
from tests.support.small_trial import Row, dose, given, labs, rows, subject, trial

from lutetia.dataset.folder import Dataset, read_dataset
from lutetia.protocol.profile import read_protocol
from lutetia.safety.catalogue import TABLES
from lutetia.safety.cells import ALL, SafetyTable, expand
from lutetia.safety.context import Context, derive_context
from lutetia.safety.reading import read_trial
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.population import read_population
from lutetia.simulate.trial_folder import write_trial

OWN = ("T6b", "T7", "T7b", "T8", "T9", "T10", "T11", "T12", "T13", "T14", "T16", "T18")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Context, dict[str, SafetyTable]]:
    made = simulate_trial(
        read_protocol("duonen"), subjects=20, seed=4, level="analytic", effect="planted",
        population=read_population(None),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tables") / "data"
    write_trial(made, folder)
    dataset = read_dataset(folder)
    context = derive_context(read_trial(dataset), resamples=300)
    return dataset, context, {name: TABLES[name](context) for name in OWN}


def first_infusions(dataset: Dataset) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for row in dataset.tables["administrations"]:
        at = datetime.fromisoformat(row["started_at"])
        found[row["subject_id"]] = min(at, found.get(row["subject_id"], at))
    return found


def infusion(dataset: Dataset, name: str, cycle: int) -> datetime | None:
    times = [
        datetime.fromisoformat(r["started_at"])
        for r in dataset.tables["administrations"]
        if r["subject_id"] == name and r["cycle"] == str(cycle)
    ]
    return min(times) if times else None


def values(dataset: Dataset, name: str, analyte: str) -> list[tuple[datetime, float]]:
    own = [r for r in dataset.tables["labs"] if r["subject_id"] == name and r["analyte"] == analyte and r["value"]]
    return sorted((datetime.fromisoformat(r["taken_at"]), float(r["value"])) for r in own)


def last_day(dataset: Dataset, name: str) -> date:
    """Day of the last value of an analyte of the stopping rule."""
    analytes = ("haemoglobin", "platelets", "neutrophils", "creatinine")
    return max(at.date() for analyte in analytes for at, _ in values(dataset, name, analyte))


def first_nadir(dataset: Dataset, name: str, analyte: str) -> tuple[float, float] | None:
    """(baseline, nadir of cycle 1) by the rule in words."""
    start, second = infusion(dataset, name, 1), infusion(dataset, name, 2)
    if start is None:
        return None
    end = second or start + timedelta(days=84, hours=12)
    own = values(dataset, name, analyte)
    before = [v for at, v in own if at < start and start - at <= timedelta(days=28)]
    window = [v for at, v in own if start + timedelta(days=7) <= at + timedelta(hours=12) and at < end]
    return (before[-1], min(window)) if before and window else None


def arms(dataset: Dataset) -> dict[str, str]:
    return {r["subject_id"]: r["arm"] for r in dataset.tables["subjects"] if r["arm"]}


@pytest.mark.parametrize("analyte", ["platelets", "lymphocytes"])
def test_nadirs_of_the_first_cycle_are_those_of_a_plain_loop(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]], analyte: str
) -> None:
    dataset, _, tables = simulated
    for arm in "ABCD":
        pairs = [first_nadir(dataset, s, analyte) for s, a in arms(dataset).items() if a == arm]
        falls = [100.0 * (low / start - 1.0) for start, low in (p for p in pairs if p)]
        found = tables["T7"].at(f"{analyte} / nadir 1 change", arm)
        assert {c.statistic: c.value for c in found}["median"] == pytest.approx(median(falls))
        assert found[0].n == len(falls)


def test_the_primary_slope_is_that_of_least_squares_with_arm_intercepts(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    dataset, _, tables = simulated
    doses = {
        r["subject_id"]: float(r["absorbed_dose_Gy"])
        for r in dataset.tables["doses"]
        if r["region"] == "red marrow" and r["nuclide"] == "total" and r["scope"] == "cycle" and r["cycle"] == "1"
        and r["absorbed_dose_Gy"] and r["method"] == "blood"
    }  # fmt: skip
    people = [s for s in arms(dataset) if s in doses and first_nadir(dataset, s, "platelets")]
    change = [math.log(pair[1] / pair[0]) for s in people if (pair := first_nadir(dataset, s, "platelets"))]
    design = [[doses[s], *(float(arms(dataset)[s] == arm) for arm in "ABCD")] for s in people]
    slope = np.linalg.lstsq(np.array(design), np.array(change), rcond=None)[0][0]
    expected = 100.0 * math.expm1(0.1 * slope)
    assert tables["T13"].value("primary / slope", "platelets", "estimate") == pytest.approx(expected, rel=1e-9)
    assert tables["T13"].at("primary / slope", "platelets")[0].n == len(people)


def test_worst_grades_of_platelets_are_counted_by_the_cuts_of_ctcae(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    dataset, _, tables = simulated
    first = first_infusions(dataset)
    lln = {r["subject_id"]: float(r["lln"]) for r in dataset.tables["labs"] if r["analyte"] == "platelets"}

    def grade(value: float, limit: float) -> int:
        return sum(value < cut for cut in (limit, 75.0, 50.0, 25.0))

    for arm in "ABCD":
        worst = []
        for name in (s for s, a in arms(dataset).items() if a == arm and s in first):
            own = values(dataset, name, "platelets")
            start = [v for at, v in own if at < first[name]][-1]
            later = max(grade(v, lln[name]) for at, v in own if at >= first[name])
            worst.append(later if later > grade(start, lln[name]) else 0)
        place = {c.statistic: c.value for c in tables["T9"].at("Platelet count decreased / grades", arm)}
        assert [place[f"grade_{g}"] for g in range(5)] == [worst.count(g) for g in range(5)]


def test_adverse_events_are_counted_by_subject_and_not_by_event(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    dataset, _, tables = simulated
    first = first_infusions(dataset)
    events = [
        r for r in dataset.tables["adverse_events"] if r["subject_id"] in first and r["subject_id"] in arms(dataset)
    ]
    events = [r for r in events if r["started_on"] >= first[r["subject_id"]].date().isoformat()]
    for term in {r["term"] for r in events}:
        row = next(r.key for r in tables["T10"].rows if r.key.endswith(f" / {term}"))
        for arm in "ABCD":
            own = {r["subject_id"] for r in events if r["term"] == term and arms(dataset)[r["subject_id"]] == arm}
            assert tables["T10"].value(row, arm, "count") == len(own)


def test_events_by_class_are_not_the_sum_of_their_terms(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    _, _, tables = simulated
    table = tables["T10"]
    parents = [
        r.key for r in table.rows if any(o.key.startswith(f"{r.key} / ") for o in table.rows) and r.key != "rates"
    ]
    for parent in parents:
        counts = [table.value(r.key, "all", "count") for r in table.rows if r.key.startswith(f"{parent} / ")]
        own = table.value(parent, "all", "count")
        assert isinstance(own, int)
        assert max(c for c in counts if isinstance(c, int)) <= own


def test_the_rate_of_first_events_has_its_poisson_interval(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    _, context, tables = simulated
    place = {c.statistic: c.value for c in tables["T10"].at("rate / grade 3", "all")}
    events = context.events[context.events["emergent"] & (context.events["grade"].fillna(0) >= 3)]
    first = events.groupby("subject_id")["started_on"].min()
    at_risk = context.at_risk.set_index("subject_id")
    months = sum(
        ((first[s] - row["first_day"]).days + 1) / (365.25 / 12) if s in first.index else row["months"]
        for s, row in at_risk.iterrows()
    )
    count = len(first)
    assert place["events"] == count
    assert place["estimate"] == pytest.approx(100 * count / months)
    assert place["high"] == pytest.approx(100 * chi2.ppf(0.975, 2 * count + 2) / 2 / months)


def test_the_highest_transaminase_is_over_its_own_limit_of_normal(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    dataset, _, tables = simulated
    first, peaks = first_infusions(dataset), []
    for name in first:
        own = [r for r in dataset.tables["labs"] if r["subject_id"] == name and r["analyte"] == "alt" and r["value"]]
        own = [r for r in own if datetime.fromisoformat(r["taken_at"]) >= first[name]]
        peaks.append(max(float(r["value"]) / float(r["uln"]) for r in own))
    assert tables["T12"].value("peaks / alt_x_uln", "all", "median") == pytest.approx(median(peaks))


def test_arms_stand_at_their_events_of_evaluable_subjects(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    dataset, _, tables = simulated
    first, table = first_infusions(dataset), tables["T16"]
    for arm in "ABCD":
        own = [s for s, a in arms(dataset).items() if a == arm and s in first]
        long = [s for s in own if (last_day(dataset, s) - first[s].date()).days >= 56]
        row = f"haematology or kidney / {arm}"
        assert table.value(row, "evaluable", "count") == len(long)


def test_the_incidence_without_losses_is_the_share_of_subjects(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    _, context, tables = simulated
    own = context.durations[context.durations["endpoint"] == "lymphocytes ≥ G2"]
    month = 3 * 365.25 / 12
    for arm in "ABCD":
        among = own[own["arm"] == arm]
        if (among.loc[among["status"] != 1, "day"] < month).any():
            continue
        share = 100.0 * float(((among["status"] == 1) & (among["day"] <= month)).mean())
        assert tables["T18"].value("lymphocytes ≥ G2 / month 3", arm, "estimate") == pytest.approx(share)
        assert tables["T18"].value("lymphocytes ≥ G2 / events", arm, "events") == int((among["status"] == 1).sum())


def test_doses_of_two_arms_are_compared_by_the_median_of_all_differences(
    simulated: tuple[Dataset, Context, dict[str, SafetyTable]],
) -> None:
    _, context, tables = simulated
    own = context.limits[(context.limits["limit"] == "kidneys") & context.limits["subject_id"].isin(context.sets.dos)]
    first, second = (own.loc[own["arm"] == arm, "dose_Gy"].to_numpy() for arm in "AC")
    shift = float(np.median(np.subtract.outer(first, second)))
    assert tables["T6b"].value("kidneys / A - C", "estimate", "estimate") == pytest.approx(shift)
    assert tables["T6b"].value("kidneys / A", "estimate", "estimate") == pytest.approx(float(np.median(first)))


def test_every_cell_names_rows_that_exist(simulated: tuple[Dataset, Context, dict[str, SafetyTable]]) -> None:
    dataset, _, tables = simulated
    for table in tables.values():
        for cell in table.cells:
            for name, numbers in expand(cell.source_rows).items():
                assert min(numbers) >= 2
                assert max(numbers) <= len(dataset.tables[name]) + 1, (table.id, cell.row)


def test_cells_of_an_arm_say_so(simulated: tuple[Dataset, Context, dict[str, SafetyTable]]) -> None:
    _, _, tables = simulated
    for table in tables.values():
        revealing = {c.key: c.arm for c in table.columns if c.arm != ALL} | {
            r.key: r.arm for r in table.rows if r.arm != ALL
        }
        for cell in table.cells:
            expected = {revealing[key] for key in (cell.row, cell.column) if key in revealing}
            assert {cell.arm} == (expected or {ALL}), (table.id, cell.row, cell.column)


def small(path: Path, **more: list[Row]) -> Context:
    """Two subjects of each arm with platelets and creatinine worked out by hand."""
    administrations = [r for s in ("S1", "S2", "S3", "S4") for r in given(s, 1, "2026-01-12", Lu_177=7400.0)]
    platelets = {
        "S1": {"2026-01-05": 200, "2026-01-26": 100, "2026-02-09": 140},
        "S2": {"2026-01-05": 200, "2026-01-26": 160, "2026-02-09": 180},
        "S3": {"2026-01-05": 140, "2026-01-26": 70, "2026-02-09": 70},
        "S4": {"2026-01-05": 200, "2026-01-26": 40, "2026-02-09": 40},
    }
    tables = {
        "subjects": [subject(s, "A" if s in ("S1", "S2") else "B") for s in platelets],
        "administrations": administrations,
        "doses": [r for s in platelets for r in dose(s, 1, "red marrow", total=0.2)],
        "labs": [r for s, own in platelets.items() for r in labs(s, "platelets", own, unit="10^9/L", lln="150")],
        "adverse_events": rows(
            "subject_id ae_id seq started_on ended_on ongoing term system_organ_class grade serious related\n"
            "S1 1 1 2026-01-13 2026-01-14 no Nausea Gut 1 no probable\n"
            "S1 1 2 2026-01-14 2026-01-20 no Nausea Gut 3 no probable\n"
            "S1 2 1 2026-02-01 - yes Nausea Gut 1 no none\n"
            "S2 1 1 2026-01-02 2026-01-03 no Fall Injury 2 yes none\n"
            "S3 1 1 2026-01 - yes Rash Skin 2 no possible"
        ),
    }
    return derive_context(trial(path, tables | more), resamples=200)


def value(context: Context, table: str, row: str, column: str, statistic: str) -> object:
    return TABLES[table](context).value(row, column, statistic)


def test_shifts_by_hand(tmp_path: Path) -> None:
    context, term = small(tmp_path / "d"), "Platelet count decreased"
    assert value(context, "T8", f"{term} / 0 → 1", "A", "count") == 1
    assert value(context, "T8", f"{term} / 0 → 0", "A", "count") == 1
    assert value(context, "T8", f"{term} / 1 → 2", "B", "count") == 1
    assert value(context, "T8", f"{term} / 0 → 3", "B", "percent") == 50.0


def test_changes_by_hand(tmp_path: Path) -> None:
    context = small(tmp_path / "d")
    assert value(context, "T7", "platelets / nadir 1 change", "A", "median") == pytest.approx((-50.0 - 20.0) / 2)
    assert value(context, "T7", "platelets / last change", "A", "median") == pytest.approx((-30.0 - 10.0) / 2)
    ratio = mean([math.log(0.5), math.log(0.7)])
    own = context.course.set_index("subject_id")
    assert own.loc["S1", "percent_change"] == pytest.approx(100.0 * math.expm1(ratio))


def test_an_event_counts_at_its_worst_grade_and_only_after_the_first_infusion(tmp_path: Path) -> None:
    context = small(tmp_path / "d")
    assert value(context, "T10", "Gut / Nausea", "A", "count") == 1
    assert value(context, "T10", "Gut / Nausea", "A ≥ G3", "count") == 1
    assert value(context, "T10", "any", "A", "count") == 1
    assert value(context, "T10", "serious", "A", "count") == 0
    assert value(context, "T10", "Skin / Rash", "B", "count") == 1
    assert "1 events began before the first infusion" in " ".join(TABLES["T10"](context).footnotes)


WORSENED = (
    "subject_id ae_id seq started_on ended_on ongoing term system_organ_class grade serious related\n"
    "S1 1 1 2026-01-02 2026-01-20 no Nausea Gut 3 yes none\nS1 1 2 2026-01-20 - yes Nausea Gut 1 no none\n"
    "S2 1 1 2026-01-02 2026-02-01 no Rash Skin 1 no none\nS2 1 2 2026-02-01 - yes Rash Skin 2 no possible\n"
    "S3 1 1 2026-01-02 2026-02-01 no Pain Other 3 yes none\nS3 1 2 2026-02-01 2026-02-05 no Pain Other 2 no none\n"
    "S3 1 3 2026-02-05 - yes Pain Other 4 no none"
)


def test_an_event_from_before_the_infusion_counts_only_where_it_worsened_and_from_then_on(tmp_path: Path) -> None:
    own = small(tmp_path / "d", adverse_events=rows(WORSENED)).events.set_index("subject_id")
    assert own["emergent"].to_dict() == {"S1": False, "S2": True, "S3": True}  # S1 improved under treatment
    assert own["grade"].to_dict() == {"S1": 3, "S2": 2, "S3": 4}
    assert own["study_day"].to_dict() == {"S1": -10.0, "S2": 20.0, "S3": 24.0}
    assert own["serious"].to_dict() == {"S1": True, "S2": False, "S3": False}


def test_somebody_who_completed_the_trial_is_at_risk_until_then(tmp_path: Path) -> None:
    context = small(tmp_path / "d", disposition=rows("subject_id event on\nS1 completed 2026-02-10"))
    months = context.at_risk.set_index("subject_id")["months"]
    assert months["S1"] == pytest.approx(30 / (365.25 / 12))  # 12 January to 10 February, both counted
    assert months["S2"] > 11


def test_what_two_subjects_cannot_carry_says_why(tmp_path: Path) -> None:
    context = small(tmp_path / "d")
    for table, row, column in (("T13", "primary / slope", "platelets"), ("T14", "course / platelets", "within"),
                               ("T11", "slope", "A")):  # fmt: skip
        cells = TABLES[table](context).at(row, column)
        assert cells[0].value is None
        assert cells[0].reason, table


@pytest.mark.parametrize("name", OWN)
def test_a_table_of_an_empty_trial_is_built(tmp_path: Path, name: str) -> None:
    context = derive_context(trial(tmp_path / "d", {"subjects": [subject("S1", "")]}), resamples=200)
    build: Callable[[Context], SafetyTable] = TABLES[name]
    assert all(c.value is None or c.value == 0 or c.statistic in ("p", "probability", "estimate") or name == "T16"
               for c in build(context).cells)  # fmt: skip
