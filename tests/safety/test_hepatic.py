"""Liver screens of a trial: candidates with their rows and ALP, fold over baseline, peaks of the eDISH plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.small_trial import given, labs, subject, trial

from lutetia.safety.baseline import derive_baseline, derive_changes
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.hepatic import liver_candidates, liver_peaks
from lutetia.safety.visits import place_labs

BEFORE, FIRST, SECOND = "2026-01-05T07:00", "2026-02-01T07:00", "2026-02-10T07:00"


def screens(path: Path, alt: dict[str, object], bilirubin: dict[str, object], *, limits: bool = True) -> tuple[
    pd.DataFrame, pd.DataFrame
]:  # fmt: skip
    uln = ("40", "20", "120") if limits else ("", "", "")
    tables = {
        "subjects": [subject("S1")],
        "administrations": given("S1", 1, "2026-01-12", Lu_177=7400.0),
        "labs": [
            *labs("S1", "alt", alt, unit="U/L", uln=uln[0]),
            *labs("S1", "bilirubin", bilirubin, unit="umol/L", uln=uln[1]),
            *labs("S1", "alp", {FIRST: 60, "2026-02-09T07:00": 600}, unit="U/L", uln=uln[2]),
        ],
    }
    data = trial(path, tables)
    infusions = derive_infusions(data)
    placed = place_labs(data, infusions)
    start = derive_baseline(data, placed)
    changes = derive_changes(placed, start, infusions)
    return liver_candidates(changes, start), liver_peaks(changes)


def test_a_candidate_is_listed_with_its_rows_and_the_nearest_alp(tmp_path: Path) -> None:
    found, peaks = screens(tmp_path, {BEFORE: 80, FIRST: 130}, {BEFORE: 25, SECOND: 45})
    assert found["screen"].tolist() == ["hy"]  # 130 is not 3 × 80
    hit = found.iloc[0]
    assert (hit["transaminase"], hit["transaminase_multiple"], hit["bilirubin_multiple"]) == ("alt", 3.25, 2.25)
    assert (hit["transaminase_row"], hit["bilirubin_row"], hit["alp_x_uln"], hit["alp_row"]) == (3, 5, 0.5, 6.0)
    assert hit["adjudication"] == ""
    assert peaks.iloc[0][["quadrant", "alp_x_uln"]].tolist() == ["Hy's law range", 5.0]


def test_fold_over_baseline_finds_what_a_raised_baseline_hides_and_needs_no_limit_of_normal(tmp_path: Path) -> None:
    found, _ = screens(tmp_path / "a", {BEFORE: 80, FIRST: 240}, {BEFORE: 25, SECOND: 50})
    assert found["screen"].tolist() == ["hy", "fold"]
    found, peaks = screens(tmp_path / "b", {BEFORE: 80, FIRST: 240}, {BEFORE: 25, SECOND: 50}, limits=False)
    assert found["screen"].tolist() == ["fold"]
    assert np.isnan(found["alp_x_uln"].iloc[0])
    assert peaks["quadrant"].tolist() == [""]


def test_values_before_treatment_are_not_screened(tmp_path: Path) -> None:
    found, peaks = screens(tmp_path, {BEFORE: 400}, {BEFORE: 90})
    assert len(found) == 0
    assert peaks["alp_x_uln"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("alt", "bilirubin", "quadrant"),
    [(100, 30, "normal"), (120, 30, "Temple's corollary"), (100, 40, "cholestasis"), (120, 40, "Hy's law range")],
)
def test_the_quadrants_of_the_edish_plot_begin_at_their_cuts(
    tmp_path: Path, alt: int, bilirubin: int, quadrant: str
) -> None:
    _, peaks = screens(tmp_path, {FIRST: alt}, {FIRST: bilirubin})
    assert peaks["quadrant"].tolist() == [quadrant]
