"""Command `interim`: files, summary, and damaged folders that leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lutetia.cli.interim import interim
from lutetia.cli.simulate import simulate
from lutetia.errors import InputError, LutetiaError

app = typer.Typer()
app.command("simulate")(simulate)
app.command("interim")(interim)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "data"
    run("simulate", "--subjects", "5", "--seed", "2", "--out", str(folder))
    return folder


def test_a_simulated_trial_becomes_both_reports_and_a_summary(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    text = run("interim", str(data), "--out", str(out), "--resamples", "200")
    assert "Were activities modified?" in text
    assert {p.name for p in out.iterdir()} == {
        "interim.json", "closed.html", "closed.pdf", "open.html", "open.pdf", "adam", "listed_rows.csv",
    }  # fmt: skip
    record = json.loads((out / "interim.json").read_text(encoding="utf-8"))
    assert record["resamples"] == 200
    assert record["snapshot_sha256"] == json.loads((data / "snapshot.json").read_text())["snapshot_sha256"]


def without_study(folder: Path) -> None:
    (folder / "study.toml").unlink()


def changed_file(folder: Path) -> None:
    with (folder / "labs.csv").open("a") as file:
        file.write("\n")


def missing_file(folder: Path) -> None:
    (folder / "doses.csv").unlink()


def broken_snapshot(folder: Path) -> None:
    (folder / "snapshot.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize("damage", [without_study, changed_file, missing_file, broken_snapshot])
def test_a_damaged_folder_is_refused_and_leaves_nothing(
    data: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder, out = tmp_path / "data", tmp_path / "report"
    folder.mkdir()
    for path in data.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damage(folder)
    with pytest.raises(InputError):
        run("interim", str(folder), "--out", str(out))
    assert not out.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_a_cut_that_cannot_be_read_says_what_is_expected(data: Path, tmp_path: Path) -> None:
    with pytest.raises(LutetiaError, match="expected a day such as"):
        run("interim", str(data), "--out", str(tmp_path / "report"), "--cut", "last summer")
    assert not (tmp_path / "report").exists()
