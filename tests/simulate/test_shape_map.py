"""The map of unpublished assumptions: the packaged profile is at its declared place, and the map moves as it must."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from lutetia.errors import ProtocolError
from lutetia.protocol.profile import read_protocol
from lutetia.report.html import render_html
from lutetia.simulate.shape_map import (
    DEFAULT,
    DRIFTS,
    RATIOS,
    BASES_MBq,
    GridPoint,
    grid_points,
    map_document,
    map_record,
    map_rows,
    run_map,
    spec_at,
)
from lutetia.simulate.study import StudySpec, run_study, study_spec
from lutetia.simulate.trials import draw_block


def spec(trials: int = 12) -> StudySpec:
    return study_spec(read_protocol("duonen"), subjects=56, trials=trials, seed=3)


def median_of_arm_c(point: GridPoint) -> float:
    outcomes = run_study(spec_at(spec(), point))
    return float(outcomes["kidneys true median Gy"][:, 2].mean())


def test_the_packaged_profile_is_the_first_point_and_every_corner_is_there() -> None:
    points = grid_points()
    assert points[0] == DEFAULT
    assert len(points) == len(set(points)) == len(BASES_MBq) * len(RATIOS) * len(DRIFTS) + 2
    assert spec_at(spec(), DEFAULT).protocol == read_protocol("duonen")


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_ratio_of_the_typical_kidney_is_the_declared_one(ratio: float) -> None:
    at = spec_at(spec(), replace(DEFAULT, ratio=ratio))
    block = draw_block(at.protocol, at.population, at.measurement, trials=1, per_trial=4, seed=0)
    kidneys = block.population[0]
    assert kidneys[1] / kidneys[0] == pytest.approx(ratio, rel=1e-9)


def test_base_drift_and_ratio_raise_the_dose_of_arm_c() -> None:
    default = median_of_arm_c(DEFAULT)
    assert median_of_arm_c(replace(DEFAULT, base_MBq=1850.0)) < default - 4.0
    assert median_of_arm_c(replace(DEFAULT, ratio=4.8)) > default + 1.0
    assert median_of_arm_c(replace(DEFAULT, drift=1.08)) > default + 1.0


def test_with_half_the_90y_base_reductions_no_longer_predominate() -> None:
    outcomes = run_study(spec_at(spec(), replace(DEFAULT, base_MBq=1850.0, ratio=3.4)))
    assert np.nanmean(outcomes["category reduced"][:, 1:3]) < 0.5


def test_the_map_is_a_table_and_a_figure() -> None:
    study = spec(2)
    rows: list[dict[str, Any]] = run_map(study)
    assert len(rows) == len(grid_points())
    titles, lines = map_rows(rows)
    assert all(len(line) == len(titles) for line in lines)
    assert lines[0][:5] == ["3.70", "3.9", "1.00", "0.50", "0.50"]
    assert render_html(map_document(study, rows)).count("<svg") == len(DRIFTS)
    schema = json.loads((Path(__file__).parents[2] / "schemas" / "study-map.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(map_record(study, rows), schema)


def test_another_protocol_has_no_map() -> None:
    other = study_spec(read_protocol("menda-2018"), subjects=8, trials=1)
    with pytest.raises(ProtocolError, match="the map is about the published arms of duonen"):
        spec_at(other, DEFAULT)
