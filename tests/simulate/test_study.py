"""Studies: the same numbers whatever the workers, resumed after an interruption, true to the published directions."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutetia.errors import InputError, OutputError, ProtocolError, UnknownNameError
from lutetia.protocol.profile import read_protocol
from lutetia.simulate import study as module
from lutetia.simulate.chunks import map_chunks
from lutetia.simulate.outcomes import group_median
from lutetia.simulate.study import Outcomes, StudySpec, run_chunk, run_study, study_result, study_spec
from lutetia.simulate.study_report import rejection_rows, study_document, study_rows, write_study


def small(trials: int = 90, subjects: int = 56, **options: Any) -> StudySpec:
    return study_spec(read_protocol("duonen"), subjects=subjects, trials=trials, seed=5, **options)


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    spec = small(100)
    return study_result(spec, run_study(spec))


def test_published_directions_show_in_most_trials(result: dict[str, Any]) -> None:
    share = {p["statement"]: p["share_of_trials"] for p in result["published"]}
    assert share["reductions predominate in arm B"] > 0.95
    assert share["reductions predominate in arm C"] > 0.95
    assert share["increases predominate in arm D"] > 0.95
    assert share["highest median kidney dose in arm C"] > 0.80
    assert share["highest median marrow dose in arm C"] > 0.75
    assert 26.0 < result["arms"]["C"]["kidneys true median Gy"]["mean"] < 33.0


def test_false_alarms_are_near_five_percent_and_the_planted_effect_is_found(result: dict[str, Any]) -> None:
    tests = result["tests"]
    for analyte in ("platelets", "lymphocytes"):
        assert tests[f"dose {analyte} no effect"]["rejected"] < 0.13
        assert tests[f"dose {analyte} effect"]["rejected"] > 0.45


def test_the_result_can_be_written_as_json_and_as_a_report(result: dict[str, Any], tmp_path: Path) -> None:
    write_study(result, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "study.json").read_text())["schema"] == "lutetia.study-result/1"
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "Arm C" in (tmp_path / "out" / "report.html").read_text()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html", "report.pdf", "study.json"]


def test_tables_name_every_arm_and_say_what_is_not_known(result: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in study_rows(result)}
    assert len(rows["Cycles given"]) == 4
    assert rows["Decisions: reduced"][0] == "–"
    assert len(rejection_rows(result)) == len(result["tests"])
    assert "Virtual subjects" in study_document(result).intended_use


def test_the_first_trials_do_not_depend_on_how_many_follow() -> None:
    few, more = run_study(small(10)), run_study(small(40))
    for name, values in few.items():
        np.testing.assert_array_equal(values, more[name][:10])


@pytest.fixture(scope="module")
def two_parts() -> tuple[StudySpec, Outcomes]:
    """A study of two parts and its outcomes from one process."""
    spec = replace(small(430, subjects=28), calibrated_blocks=1)
    return spec, run_study(spec)


def test_two_processes_give_the_numbers_of_one(two_parts: tuple[StudySpec, Outcomes]) -> None:
    spec, one = two_parts
    two = run_study(spec, workers=2)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name])


def test_an_interrupted_study_goes_on_where_it_stopped(
    two_parts: tuple[StudySpec, Outcomes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec, whole), calls = two_parts, list[int]()

    def counted(task: module.ChunkTask) -> module.Outcomes:
        calls.append(task.blocks[0])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_chunk(task)

    monkeypatch.setattr(module, "run_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        run_study(spec, tmp_path)
    assert len(list((tmp_path / "chunks").glob("chunk-*.npz"))) == 1
    resumed = run_study(spec, tmp_path)
    assert calls == [0, 6, 6]
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name])


def test_a_full_disk_is_named_and_leaves_no_broken_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        OutputError, match=r"No space left on device.*run the same command again: finished parts are kept"
    ):
        run_study(small(5), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.npz"))


def test_a_disk_that_fills_up_in_the_middle_of_a_study_costs_only_the_part_that_did_not_fit(
    two_parts: tuple[StudySpec, Outcomes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec, whole), written, calls = two_parts, Path.write_bytes, list[str]()

    def fills_up(self: Path, data: bytes) -> int:
        calls.append(self.name)
        if sum("chunk-" in name for name in calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(self, data)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", fills_up)
        with pytest.raises(OutputError, match="free space and run the same command again: finished parts are kept"):
            run_study(spec, tmp_path)
    assert [p.name for p in (tmp_path / "chunks").glob("*.npz")] == ["chunk-00000.npz"]
    assert not list(tmp_path.rglob("*.part"))
    resumed = run_study(spec, tmp_path)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name])


def test_parts_of_another_study_are_refused(tmp_path: Path) -> None:
    run_study(small(5), tmp_path)
    with pytest.raises(OutputError, match="holds the parts of another study"):
        run_study(small(6), tmp_path)


def test_the_fitted_level_shows_the_same_directions() -> None:
    spec = small(6, level="fitted")
    arms = study_result(spec, run_study(spec))["arms"]
    assert arms["B"]["category reduced"]["mean"] > 0.7
    assert arms["D"]["category increased"]["mean"] > 0.7


@pytest.mark.parametrize(("subjects", "trials"), [(0, 10), (10, 0), (-1, 1)])
def test_an_empty_study_is_refused(subjects: int, trials: int) -> None:
    with pytest.raises(InputError, match=f"found {subjects} subjects and {trials} trials; expected 1 or more"):
        small(trials, subjects=subjects)


def test_an_impossible_protocol_is_refused_before_anything_runs() -> None:
    protocol = read_protocol("duonen")
    low = replace(protocol, limits=(replace(protocol.limits[0], limit_Gy=1.0), *protocol.limits[1:]))
    with pytest.raises(ProtocolError, match=r"arm A: one cycle at the smallest activity gives 3\.\d+ Gy to kidneys"):
        study_spec(low, subjects=8, trials=1)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="known: analytic, fitted"):
        small(5, level="perfect")


def test_one_subject_in_a_trial_leaves_arms_empty_not_zero() -> None:
    outcomes = run_study(small(20, subjects=1))
    assert np.isnan(outcomes["kidneys true median Gy"]).sum() == 60
    np.testing.assert_array_equal(np.nansum(outcomes["subjects"], axis=1), np.ones(20))


def test_medians_of_groups_are_those_of_numpy() -> None:
    generator = np.random.default_rng(1)
    group, values = generator.integers(0, 30, 400), generator.normal(size=400)
    found = group_median(group, values, 31)
    assert np.isnan(found[30])
    for i in range(30):
        assert found[i] == pytest.approx(np.median(values[group == i]))


def square(value: int) -> int:
    return value * value


def test_chunks_come_back_with_their_index() -> None:
    for workers in (1, 2):
        assert dict(map_chunks(square, [1, 2, 3], workers=workers)) == {0: 1, 1: 4, 2: 9}


def test_no_workers_are_refused() -> None:
    with pytest.raises(InputError, match="workers: found 0; expected 1 or more"):
        list(map_chunks(square, [1], workers=0))
