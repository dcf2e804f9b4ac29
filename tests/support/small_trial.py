"""Trials of a few rows as exchange folders, for tests that work a rule out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lutetia.dataset.folder import Dataset, read_dataset, write_dataset
from lutetia.safety.reading import TrialData, read_trial

Row = dict[str, str]
STUDY = """schema = "lutetia.study/1"
title = "a small trial"
planned_n = 8
cycles = 2
ctcae = "5.0"

[protocol]
name = "small"
version = "1"

[category]
tolerance = 0.05

[arms."A"]
description = "fixed"
base_MBq = { "Lu-177" = 7400.0 }

[arms."B"]
description = "variable 90Y"
base_MBq = { "Lu-177" = 3700.0, "Y-90" = 3700.0 }
variable = "Y-90"

[[limits]]
id = "kidneys"
region = "kidneys"
metric = "absorbed_dose"
limit_Gy = 23.0
kind = "soft"

[[limits]]
id = "marrow"
region = "red marrow"
metric = "absorbed_dose"
limit_Gy = 2.0
kind = "hard"
method = "blood"

[[visits]]
name = "baseline"
window_days = [-28, 0]
[[visits]]
name = "week 2"
window_days = [7, 21]
[[visits]]
name = "week 4"
window_days = [22, 35]
"""
SNAPSHOT = {"schema": "lutetia.snapshot/1", "id": "small", "cut_at": "2026-12-31T12:00:00+00:00",
            "extracted_at": "2027-01-05T12:00:00+00:00"}  # fmt: skip


def rows(text: str, **same: str) -> list[Row]:
    """Rows from lines of cells; the first line names the columns, a dash is a missing value; `same` is on every row."""
    lines = [line.split() for line in text.strip().splitlines()]
    return [dict(zip(lines[0], ["" if c == "-" else c for c in line], strict=True)) | same for line in lines[1:]]


def subject(name: str = "S1", arm: str = "A", **more: str) -> Row:
    """A randomised subject."""
    return {
        "subject_id": name, "site": "01", "arm": arm, "stratum_entered": "x", "stratum_true": "x", "sex": "male",
        "age_years": "60", "height_cm": "175", "weight_kg": "80", "randomised_on": "2026-01-02" if arm else "",
        "prior_kidney_Gy": "0", "prior_marrow_Gy": "0",
    } | more  # fmt: skip


def given(name: str, cycle: int, day: str, **activities: float) -> list[Row]:
    """Administrations of one cycle at 09:00 UTC, as prescribed; nuclides are written Lu_177."""
    return [
        {
            "subject_id": name, "cycle": str(cycle), "nuclide": nuclide.replace("_", "-"),
            "started_at": f"{day}T09:00:00+00:00", "ended_at": f"{day}T09:30:00+00:00", "planned_MBq": "",
            "prescribed_MBq": f"{activity:g}", "administered_MBq": f"{activity:g}",
        }
        for nuclide, activity in activities.items()
    ]  # fmt: skip


def labs(name: str, analyte: str, values: Mapping[str, Any], *, unit: str, lln: str = "", uln: str = "") -> list[Row]:
    """Values by moment ("2026-01-05" or with a time in UTC, "2026-01-05T07:00")."""
    return [
        {
            "subject_id": name, "sample_id": f"{name}-{analyte}-{i}", "analyte": analyte,
            "taken_at": f"{moment}:00+00:00" if "T" in moment else moment, "value": str(value), "unit": unit,
            "lln": lln, "uln": uln,
        }
        for i, (moment, value) in enumerate(values.items())
    ]  # fmt: skip


def dose(name: str, cycle: int, region: str, **amounts: float | None) -> list[Row]:
    """Doses of one cycle by nuclide (written Lu_177) and `total`; None is a missing dose."""
    method = "blood" if region == "red marrow" else "own mass"
    return [
        {
            "subject_id": name, "cycle": str(cycle), "scope": "cycle", "region": region,
            "nuclide": nuclide.replace("_", "-"), "method": method,
            "basis": "missing" if amount is None else "measured",
            "absorbed_dose_Gy": "" if amount is None else f"{amount:g}",
            "absorbed_dose_sd_Gy": "" if amount is None else f"{0.1 * amount:g}",
        }
        for nuclide, amount in amounts.items()
    ]  # fmt: skip


def folder(path: Path, tables: Mapping[str, Sequence[Row]], *, study: str = STUDY, **snapshot: str) -> Dataset:
    """Write an exchange folder and read it back."""
    write_dataset(path, tables, files={"study.toml": study.encode()}, snapshot=SNAPSHOT | snapshot)
    return read_dataset(path)


def trial(path: Path, tables: Mapping[str, Sequence[Row]], *, study: str = STUDY, cut: str | None = None) -> TrialData:
    """A small trial as the analysis reads it."""
    return read_trial(folder(path / "data", tables, study=study), cut)
