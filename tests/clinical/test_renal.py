"""Renal function against the published equation."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lutetia.clinical.renal import ckd_epi_2021, cockcroft_gault, gfr_category
from lutetia.errors import PhysicsError

FILE = Path(__file__).parents[1] / "reference" / "ckdepi2021.csv"
ROWS = list(csv.DictReader(FILE.read_text(encoding="utf-8").splitlines()[1:]))
SEX = {"M": "male", "F": "female"}


def test_the_reference_table_is_complete() -> None:
    assert len(ROWS) == 64


def test_every_row_of_the_reference_table_is_reproduced() -> None:
    for row in ROWS:
        found = ckd_epi_2021(float(row["scr_mg_dl"]) * 88.42, float(row["age"]), SEX[row["sex"]])  # type: ignore[arg-type]
        assert float(found) == pytest.approx(float(row["egfr"]), abs=0.001)
        assert gfr_category(float(found)) == row["category"]


def test_arrays_broadcast() -> None:
    assert ckd_epi_2021(np.full((3, 1), 80.0), np.arange(40.0, 44.0), "female").shape == (3, 4)


def test_cockcroft_gault_by_hand() -> None:
    # (140 − 60) · 72 / (72 · 1.0 mg/dL) = 80 mL/min for a man, 68 for a woman
    assert float(cockcroft_gault(88.42, 60.0, "male", weight_kg=72.0)) == pytest.approx(80.0)
    assert float(cockcroft_gault(88.42, 60.0, "female", weight_kg=72.0)) == pytest.approx(68.0)


@pytest.mark.parametrize(
    ("egfr", "category"), [(90.0, "G1"), (89.999, "G2"), (59.999, "G3a"), (44.9, "G3b"), (14.9, "G5")]
)
def test_categories_are_taken_from_the_unrounded_value(egfr: float, category: str) -> None:
    assert gfr_category(egfr) == category


def test_impossible_inputs_are_refused() -> None:
    with pytest.raises(PhysicsError, match="creatinine: found 0"):
        ckd_epi_2021(0, 60.0, "male")
    with pytest.raises(PhysicsError, match="sex: found 'm'"):
        ckd_epi_2021(80.0, 60.0, "m")  # type: ignore[arg-type]
    with pytest.raises(PhysicsError, match="weight"):
        cockcroft_gault(80.0, 60.0, "male", weight_kg=-1.0)
    with pytest.raises(PhysicsError, match="filtration rate"):
        gfr_category(float("nan"))
