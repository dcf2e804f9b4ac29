"""Command `randomise`: simulation and replay of a revealed seed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lutetia.cli.randomise import randomise
from lutetia.errors import LutetiaError
from lutetia.trial.randomisation import next_arm
from lutetia.trial.randomisation_records import Allocated, RandomisationSpec
from lutetia.trial.randomisation_reveal import reveal_record

app = typer.Typer()
app.command("randomise")(randomise)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_scheme_is_simulated_from_the_command_line() -> None:
    text = run("simulate", "--scheme", "minimisation", "--factor", "diabetes=no,yes", "--trials", "40", "--json")
    record = json.loads(text)
    assert record["factors"] == {"site": ["01", "02", "03", "04", "05"], "diabetes": ["no", "yes"]}
    assert record["arm_size_range"]["mean"] < 2.5
    assert record["guessed_by_chance"] == 0.25
    assert "largest minus smallest arm" in run("simulate", "--trials", "5")


def test_a_revealed_seed_is_replayed_from_the_command_line(tmp_path: Path) -> None:
    seed = hashlib.sha256(b"x").digest()
    spec, allocated = RandomisationSpec("simple", ("A", "B"), (1, 1)), list[Allocated]()
    for _ in range(9):
        allocated.append(Allocated({}, next_arm(spec, seed, allocated, {})))
    file = tmp_path / "revealed.json"
    file.write_text(json.dumps(reveal_record(spec, seed, allocated)), encoding="utf-8")
    assert "9 allocations reproduced" in run("replay", str(file))
    assert json.loads(run("replay", str(file), "--json"))["reproduced"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulat",), "unknown action"),
        (("replay",), "found no file"),
        (("replay", "absent.json"), "cannot be read"),
        (("simulate", "--factor", "diabetes"), "--factor"),
        (("simulate", "--block-sizes", "4;8"), "--block-sizes"),
        (("simulate", "--block-sizes", "6"), "multiple of 4"),
        (("simulate", "--trials", "0"), "0 trials"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(LutetiaError, match=words):
        CliRunner().invoke(app, list(arguments), catch_exceptions=False)
