"""Protocols and imaging schedules side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutetia.errors import InputError, UnknownNameError
from lutetia.protocol.profile import read_protocol
from lutetia.simulate.compare import (
    COLUMNS,
    comparison_document,
    comparison_rows,
    run_comparison,
    variants,
)
from lutetia.simulate.population import packaged_measurement, read_population, without_errors
from lutetia.simulate.schedules import schedule
from lutetia.simulate.study import study_spec
from lutetia.simulate.study_report import write_report
from lutetia.simulate.trials import draw_block, run_block

PACKAGED = packaged_measurement()


def test_words_of_a_schedule_become_scans() -> None:
    assert schedule("24,72", PACKAGED).scan_hours == (24.0, 72.0)
    single = schedule("own@72", PACKAGED)
    assert (single.single_point, single.single_hour, single.scan_hours) == ("own half-life", 72.0, PACKAGED.scan_hours)
    assert schedule("haenscheid@96", PACKAGED).single_point == "haenscheid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("24", "found one scan; expected two or more, or a method for one, such as madsen@72"),
        ("72,24", "increasing order"),
        ("24,24", "different hours"),
        ("24,400", "up to 336"),
        ("-4,24", "above 0"),
        ("a,b", "expected hours such as 4,24,72,168"),
        ("madsen@24,72", "found 2 hours; expected one after the @"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        schedule(text, PACKAGED)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: bayesian, haenscheid, madsen, own"):
        schedule("guess@72", PACKAGED)


def test_the_analytic_level_knows_no_schedule() -> None:
    with pytest.raises(InputError, match="knows no imaging schedule; choose level fitted"):
        draw_block(
            read_protocol("duonen"), read_population(), schedule("24,72", PACKAGED), trials=1, per_trial=4, seed=1
        )


def test_without_errors_the_own_half_life_of_unchanging_kidneys_gives_the_true_dose() -> None:
    population = read_population()
    still = {
        name: replace(s, within_cv=0.0) if name.endswith("half_life_h") else s
        for name, s in population.quantities.items()
    }
    for text, worst in (("own@72", 1e-6), ("madsen@72", 0.5)):
        block = draw_block(
            read_protocol("duonen"), replace(population, quantities=still), without_errors(schedule(text, PACKAGED)),
            trials=1, per_trial=100, seed=1, level="fitted",
        )  # fmt: skip
        error = np.abs(block.measured[:, 1:, 0, 0] / block.true[:, 1:, 0, 0] - 1.0)
        assert error.max() < worst
    assert error.max() > 0.05


def test_a_protocol_that_refuses_an_increase_after_one_scan_never_increases() -> None:
    block = draw_block(
        read_protocol("duonen"), read_population(), schedule("madsen@72", PACKAGED), trials=1, per_trial=80, seed=1,
        level="fitted",
    )  # fmt: skip
    prescribed = run_block(block)["D"].prescribed_MBq[:, :, 0]
    assert (np.diff(prescribed, axis=1) <= 0.0).all()
    assert (np.diff(run_block(replace(block, measurement=PACKAGED))["D"].prescribed_MBq[:, :, 0], axis=1) > 0.0).any()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    specs = [study_spec(read_protocol(name), subjects=16, trials=6, seed=3) for name in ("duonen", "uppsala")]
    return run_comparison(variants(specs, []), tmp_path_factory.mktemp("compare"))


def test_every_arm_of_every_protocol_has_a_row(record: dict[str, Any], tmp_path: Path) -> None:
    titles, rows = comparison_rows(record)
    assert len(titles) == 2 + len(COLUMNS)
    assert len(rows) == 4 + len(read_protocol("uppsala").arms)
    assert all(len(row) == len(titles) for row in rows)
    write_report(record, comparison_document(record), tmp_path, name="comparison")
    assert json.loads((tmp_path / "comparison.json").read_text())["schema"] == "lutetia.study-comparison/1"
    assert "uppsala" in (tmp_path / "comparison.html").read_text()


def test_a_study_in_a_comparison_is_the_study_alone(record: dict[str, Any]) -> None:
    from lutetia.simulate.study import run_study, study_result

    spec = study_spec(read_protocol("duonen"), subjects=16, trials=6, seed=3)
    assert record["variants"][0]["result"] == study_result(spec, run_study(spec))


def test_thresholds_are_ordered_and_bed_is_above_the_dose(record: dict[str, Any]) -> None:
    for variant in record["variants"]:
        for outcomes in variant["result"]["arms"].values():
            assert outcomes["kidneys BED over 40 Gy"]["mean"] <= outcomes["kidneys BED over 28 Gy"]["mean"]
            assert outcomes["kidneys true median BED Gy"]["mean"] > outcomes["kidneys true median Gy"]["mean"]


def test_the_same_study_twice_is_refused() -> None:
    spec = study_spec(read_protocol("duonen"), subjects=8, trials=2)
    with pytest.raises(InputError, match="expected different protocols and schedules"):
        variants([spec, spec], [])
    with pytest.raises(InputError, match="expected different protocols and schedules"):
        variants([spec], ["24,72", "24,72"])
