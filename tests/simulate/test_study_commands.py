"""Commands `simulate` and `study`: records follow their schemas; bad input is refused with nothing left behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from lutetia.cli.simulate import simulate
from lutetia.cli.study import study
from lutetia.dataset.folder import read_dataset
from lutetia.errors import LutetiaError
from lutetia.simulate import chunks
from lutetia.simulate.population import read_population
from lutetia.trial import Trial
from lutetia.trial.audit import bodies

SCHEMAS = Path(__file__).parents[2] / "schemas"
app = typer.Typer()
app.command("simulate")(simulate)
app.command("study")(study)


def run(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*(str(a) for a in arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert isinstance(record, dict)
    return record


def check(record: dict[str, Any], name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(record, schema)


def test_a_study_follows_its_schema_on_paper_and_on_disk(tmp_path: Path) -> None:
    record = run("study", "--subjects", "28", "--trials", "6", "--out", tmp_path / "s")
    check(record, "study")
    assert json.loads((tmp_path / "s" / "study.json").read_text(encoding="utf-8")) == record


def test_the_schema_of_a_study_refuses_what_a_study_cannot_hold(tmp_path: Path) -> None:
    record = run("study", "--subjects", "8", "--trials", "2", "--out", tmp_path / "s")
    for change in ({"level": "database"}, {"trials": 0}, {"alpha": 5.0}, {"stopping": {}}):
        with pytest.raises(jsonschema.ValidationError):
            check({**record, **change}, "study")
    record.pop("calibration")
    with pytest.raises(jsonschema.ValidationError, match="'calibration' is a required property"):
        check(record, "study")


def test_one_subject_in_all_gives_nulls_that_the_schema_permits(tmp_path: Path) -> None:
    record = run("study", "--subjects", "1", "--trials", "1", "--out", tmp_path / "s")
    check(record, "study")
    known = [arm["kidneys true median Gy"]["mean"] for arm in record["arms"].values()]
    assert sum(value is not None for value in known) == 1


def test_a_comparison_of_schedules_holds_results_that_follow_the_schema(tmp_path: Path) -> None:
    record = run(
        "study", "--subjects", "8", "--trials", "2", "--schedule", "24,72", "--schedule", "own@72", "--out", tmp_path
    )
    check(record, "study-comparison")
    assert [variant["name"] for variant in record["variants"]] == ["24,72", "own@72"]
    for variant in record["variants"]:
        check(variant["result"], "study")
        assert variant["result"]["level"] == "fitted"


def test_single_scans_follow_their_schema(tmp_path: Path) -> None:
    check(run("study", "--single-time-point", "--out", tmp_path), "single-time-point")


def test_a_trial_without_effect_says_so(tmp_path: Path) -> None:
    record = run("simulate", "--subjects", "8", "--effect", "none", "--out", tmp_path / "d")
    assert record["subjects"] == 8
    assert read_dataset(tmp_path / "d").snapshot["dose_effect"] == "none"


def protocol_with_low_limit(folder: Path) -> Path:
    from importlib.resources import files

    text = (files("lutetia.protocol") / "versions" / "duonen.toml").read_text(encoding="utf-8")
    path = folder / "low.toml"
    path.write_text(text.replace("limit_Gy = 23.0", "limit_Gy = 1.0"), encoding="utf-8")
    return path


def population_with_negative_mass(folder: Path) -> Path:
    text = read_population().text.replace("kidneys_mass_g = { median = 300", "kidneys_mass_g = { median = -300")
    path = folder / "people.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["study", "simulate"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--subjects", "0"], "0 subjects"),
        (["--protocol", "LOW"], "one cycle at the smallest activity gives"),
        (["--population", "NEGATIVE"], "kidneys_mass_g: median: found -300"),
        (["--level", "exact"], "known: analytic, fitted"),
        (["--effect", "huge"], "known: none, planted, strong"),
        (["--protocol", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    command: str, options: list[str], message: str, tmp_path: Path
) -> None:
    places = {"LOW": str(protocol_with_low_limit(tmp_path)), "NEGATIVE": str(population_with_negative_mass(tmp_path))}
    arguments = [places.get(word, word) for word in options]
    with pytest.raises(LutetiaError, match=message):
        CliRunner().invoke(app, [command, *arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_an_unreachable_scheduler_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CONNECT_TIMEOUT_S", 1.0)
    arguments = ["study", "--subjects", "8", "--trials", "2", "--scheduler", "tcp://127.0.0.1:1"]
    with pytest.raises(LutetiaError, match=r"cannot be reached|install lutetia with the extra `dask`"):
        CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_subjects_go_into_a_new_trial_folder(tmp_path: Path) -> None:
    record = run("simulate", "--subjects", "2", "--seed", "4", "--into", tmp_path / "trial")
    assert record == {"folder": str(tmp_path / "trial"), "subjects": 2, "level": "database (analytic)"}
    with Trial.open(tmp_path / "trial") as trial, trial.read() as reader:
        assert trial.demonstration
        assert reader.count("subjects") == 2
        assert reader.count("administrations") > 0
        assert max(row["at"] for row, _ in bodies(reader)) < datetime.now(UTC).isoformat()
    with pytest.raises(LutetiaError, match="empty"):
        CliRunner().invoke(app, ["simulate", "--into", str(tmp_path / "trial")], catch_exceptions=False)


@pytest.mark.parametrize(
    ("options", "message"), [(["--subjects", "0"], "0 subjects"), (["--level", "exact"], "known: analytic, fitted")]
)
def test_bad_input_for_a_trial_folder_leaves_no_folder(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(LutetiaError, match=message):
        CliRunner().invoke(app, ["simulate", *options, "--into", str(tmp_path / "trial")], catch_exceptions=False)
    assert not (tmp_path / "trial").exists()
