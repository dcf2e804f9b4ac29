"""The derived frames of a virtual trial against plain loops over its CSV rows, written independently of them."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from lutetia.clinical.ctcae import grade_value
from lutetia.dataset.folder import Dataset, read_dataset
from lutetia.protocol.profile import read_protocol
from lutetia.safety.context import Context, derive_context
from lutetia.safety.reading import read_trial
from lutetia.simulate.export import simulate_trial
from lutetia.simulate.trial_folder import write_trial

LOW = ("haemoglobin", "platelets", "leukocytes", "neutrophils", "lymphocytes", "albumin")
Sample = tuple[datetime, Decimal, dict[str, str]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Ten virtual subjects; values spread more, some below quantification, some doses lost."""
    path = tmp_path_factory.mktemp("loops") / "data"
    write_trial(simulate_trial(read_protocol("duonen"), subjects=10, seed=11), path)
    found = read_dataset(path)
    generator = random.Random(5)
    labs = []
    for row in found.tables["labs"]:
        factor = Decimal(str(round(generator.uniform(0.3, 2.5), 2)))
        changed = row | {"value": str(Decimal(row["value"]) * factor)} if row["value"] else dict(row)
        labs.append(changed | ({"qualifier": "<"} if generator.random() < 0.02 else {}))
    doses = [row for row in found.tables["doses"] if generator.random() > 0.01]
    tables = dict(found.tables) | {"labs": tuple(labs), "doses": tuple(doses)}
    return Dataset(tables, found.study, found.snapshot, found.snapshot_sha256)


@pytest.fixture(scope="module")
def context(dataset: Dataset) -> Context:
    return derive_context(read_trial(dataset), resamples=200)


def starts(dataset: Dataset) -> dict[str, list[datetime]]:
    found: dict[str, dict[str, datetime]] = defaultdict(dict)
    for row in dataset.tables["administrations"]:
        at = datetime.fromisoformat(row["started_at"])
        known = found[row["subject_id"]].get(row["cycle"])
        found[row["subject_id"]][row["cycle"]] = at if known is None else min(at, known)
    return {subject: sorted(cycles.values()) for subject, cycles in found.items()}


def samples(dataset: Dataset) -> dict[tuple[str, str], list[Sample]]:
    found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for row in dataset.tables["labs"]:
        if row["value"]:
            amount = Decimal(row["value"]) / (2 if row.get("qualifier") == "<" else 1)
            found[row["subject_id"], row["analyte"]].append((datetime.fromisoformat(row["taken_at"]), amount, row))
    return {key: sorted(values, key=lambda s: s[0]) for key, values in found.items()}


def baselines(dataset: Dataset) -> dict[tuple[str, str], Sample]:
    begin = starts(dataset)
    found = {}
    for (subject, analyte), values in samples(dataset).items():
        first = begin[subject][0]
        before = [s for s in values if s[0] < first and (first.date() - s[0].date()).days <= 28]
        if before:
            found[subject, analyte] = before[-1]
    return found


def test_baselines_agree(dataset: Dataset, context: Context) -> None:
    own = {key: float(sample[1]) for key, sample in baselines(dataset).items()}
    frame = context.baseline
    assert dict(zip(zip(frame["subject_id"], frame["analyte"], strict=True), frame["value"], strict=True)) == own


def test_nadirs_of_every_cycle_agree(dataset: Dataset, context: Context) -> None:
    own = {}
    start = baselines(dataset)
    for (subject, analyte), values in samples(dataset).items():
        begins = starts(dataset)[subject]
        for i, begin in enumerate(begins):
            end = begins[i + 1] if i + 1 < len(begins) else None
            window = [
                float(v) for at, v, _ in values
                if (at.date() - begin.date()).days >= 7 and at > begin
                and (at < end if end else (at.date() - begin.date()).days <= 84)
            ]  # fmt: skip
            if window:
                extreme = min(window) if analyte in LOW else max(window)
                base = float(start[subject, analyte][1]) if (subject, analyte) in start else np.nan
                own[subject, analyte, i + 1] = (extreme, 100.0 * (extreme / base - 1.0) if base else np.nan)
    frame = context.nadirs
    assert len(frame) == len(own) > 300
    for row in frame.itertuples():
        value, change = own[row.subject_id, row.analyte, row.cycle]
        assert row.value == value
        assert row.percent_change == pytest.approx(change, nan_ok=True)


def test_worst_grades_agree(dataset: Dataset, context: Context) -> None:
    worst: dict[tuple[str, str], int] = {}
    start = baselines(dataset)
    for (subject, analyte), values in samples(dataset).items():
        base = start.get((subject, analyte))
        for at, amount, row in values:
            if at < starts(dataset)[subject][0]:
                continue
            for grade in grade_value(
                analyte, amount, lln=row["lln"] or None, uln=row["uln"] or None,
                baseline=base[1] if base else None,
            ):  # fmt: skip
                if grade.grade is not None:
                    key = (subject, grade.term)
                    worst[key] = max(worst.get(key, 0), grade.grade)
    frame = context.worst
    found = dict(zip(zip(frame["subject_id"], frame["term"], strict=True), frame["worst_grade"], strict=True))
    assert found == worst
    assert {0, 1, 2, 3} <= set(worst.values())


def test_cumulative_doses_agree_and_are_missing_where_a_cycle_is(dataset: Dataset, context: Context) -> None:
    totals: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for row in dataset.tables["doses"]:
        if row["scope"] == "cycle" and row["nuclide"] == "total" and row["absorbed_dose_Gy"]:
            totals[row["subject_id"], row["region"]][row["cycle"]] = float(row["absorbed_dose_Gy"])
    missing = 0
    for row in context.cumulative.itertuples():
        cycles = totals[row.subject_id, row.region]
        if len(cycles) == len(starts(dataset)[row.subject_id]):
            assert row.absorbed_dose_Gy == pytest.approx(sum(cycles.values()))
        else:
            assert np.isnan(row.absorbed_dose_Gy)
            assert not row.complete
            missing += 1
    assert missing > 5


def test_visit_values_agree(dataset: Dataset, context: Context) -> None:
    windows = {v["name"]: v["window_days"] for v in dataset.study["visits"] if v["name"] != "baseline"}
    frame = context.labs[context.labs["selected"] & context.labs["on_treatment"]]
    found = {(r.subject_id, r.analyte, r.cycle, r.visit): r.value for r in frame.itertuples()}
    own = {}
    for (subject, analyte), values in samples(dataset).items():
        begins = starts(dataset)[subject]
        for i, begin in enumerate(begins):
            end = begins[i + 1] if i + 1 < len(begins) else begin + timedelta(days=9999)
            for name, (low, high) in windows.items():
                inside = [
                    (abs((at.date() - begin.date()).days - (low + high) / 2), -at.timestamp(), float(v))
                    for at, v, _ in values
                    if begin < at < end and low <= (at.date() - begin.date()).days <= high
                ]
                if inside:
                    own[subject, analyte, i + 1, name] = min(inside)[2]
    assert found == own
